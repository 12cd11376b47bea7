"""What a call returns: the `result` part of Bybit's answer as the dict it is, and the same typed. Pure."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic

from pydantic import ValidationError
from typing_extensions import TypeVar

from exchanges.bybit.client.errors import BadAnswerError

R = TypeVar("R", default=Any)

Row = dict[str, Any]
"""A row without a model: as Bybit sent it."""


class Result(dict[str, Any], Generic[R]):
    """`result["list"][0]["lastPrice"]` as Bybit sent it; `result.models` typed; `result.raw` the whole answer.

    `headers` are the answer's HTTP headers.
    """

    def __init__(
        self,
        result: Any,
        raw: Mapping[str, Any],
        headers: Mapping[str, str] | None = None,
        build: Callable[[Any], R] | None = None,
    ) -> None:
        super().__init__(result if isinstance(result, dict) else {"list": result})
        self.raw, self.headers = raw, headers or {}
        self._build = build
        self._models: tuple[R, ...] | None = None

    @property
    def models(self) -> tuple[R, ...]:
        """The rows of the answer, typed; decoded at the first look. Raises BadAnswerError where they are not theirs."""
        if self._models is None:
            self._models = tuple(built(rows_of(self), self._build))
        return self._models

    @property
    def model(self) -> R:
        """The first row, for answers that have one; raises BadAnswerError where there is none."""
        if not self.models:
            raise BadAnswerError("the answer has no rows")
        return self.models[0]

    @property
    def next_cursor(self) -> str:
        """Where the next page begins; "" on the last one."""
        return str(self.get("nextPageCursor") or "")

    @property
    def time_ms(self) -> int:
        """The exchange's clock when it answered; 0 where it did not say."""
        return int(self.raw.get("time") or 0)


def rows_of(result: Mapping[str, Any]) -> Sequence[Any]:
    """The rows of a result: its list, or itself; an option candle's category stays outside."""
    rows = result.get("list", result)
    return rows if isinstance(rows, list) else [result]


def built(rows: Sequence[Any], build: Callable[[Any], R] | None) -> Sequence[R]:
    """Every row typed; raises BadAnswerError with the first that cannot be."""
    if build is None:
        return rows
    try:
        return [build(row) for row in rows]
    except (ValidationError, TypeError) as error:
        raise BadAnswerError(f"the answer makes no sense: {error}") from error
