"""The result of a call: the `result` part of Bybit's answer as a dict, and its rows typed. Pure."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic

import structlog
from pydantic import ValidationError
from typing_extensions import TypeVar

from exchanges.bybit.client.errors import BadAnswerError

log = structlog.get_logger()

R = TypeVar("R", default=Any)

Row = dict[str, Any]
"""A row without a model: as Bybit sent it."""

FRAME = frozenset({"category", "symbol", "nextPageCursor", "success", "updatedTime", "accountType"})
"""The fields around a list: a result of these alone has no row."""
FAULT_CHARACTERS = 300


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
        super().__init__(result if isinstance(result, dict) else {"list": [] if result is None else result})
        self.raw, self.headers = raw, headers or {}
        self._build = build
        self._models: tuple[R, ...] | None = None

    @property
    def models(self) -> tuple[R, ...]:
        """The rows of the answer, typed; decoded at the first look. Raises BadAnswerError where they are not theirs."""
        if self._models is None:
            self._models = tuple(built(rows_of(self), self._build))
        return self._models

    def page(self) -> Sequence[R]:
        """The rows as part of something longer, which one odd row alone on its page does not end."""
        return built(rows_of(self), self._build, may_be_odd=1)

    @property
    def model(self) -> R:
        """The first row, for answers that have one; raises BadAnswerError where there is none."""
        if not self.models:
            raise BadAnswerError("the answer has no rows")
        return self.models[0]

    @property
    def next_cursor(self) -> str:
        """Where the next page begins; "" on the last one. Raises BadAnswerError for what is no cursor."""
        cursor = self.get("nextPageCursor")
        if cursor is not None and not isinstance(cursor, str | int):
            raise BadAnswerError(f"nextPageCursor is {cursor!r:.60}")
        return str(cursor or "")

    @property
    def time_ms(self) -> int:
        """The exchange's clock when it answered; 0 where the answer has no time."""
        time_ms = self.raw.get("time")
        return time_ms if isinstance(time_ms, int) else 0


def rows_of(result: Mapping[str, Any]) -> Sequence[Any]:
    """The rows of a result: its list, none where that is null or left out; or itself, where it is one row."""
    if "list" not in result and not result.keys() <= FRAME:
        return [result]
    rows = result.get("list")
    if rows is not None and not isinstance(rows, list):
        raise BadAnswerError(f"the list is {rows!r:.60}")
    return rows or []


def built(rows: Sequence[Any], build: Callable[[Any], R] | None, *, may_be_odd: int = 0) -> Sequence[R]:
    """Make every row typed.

    A field that cannot be read becomes None, a row without a field that it must have is left out, and both are logged.
    Raises BadAnswerError where no row is left of more than `may_be_odd`.
    """
    if build is None:
        return [row for row in rows if row is not None]
    found: list[R] = []
    faults: list[str] = []
    for row in rows:
        try:
            found.append(_built(row, build, faults))
        except (ValidationError, TypeError) as error:
            faults.append(str(error))
    if faults and not found and len(rows) > may_be_odd:
        raise BadAnswerError(f"the answer makes no sense: {faults[-1]}")
    if faults:
        log.warning("rest_rows_odd", count=len(faults), of=len(rows), first=faults[0][:FAULT_CHARACTERS])
    return found


def _built(row: Any, build: Callable[[Any], R], faults: list[str]) -> R:
    """Make one row typed, without odd fields where it can do without them."""
    try:
        return build(row)
    except ValidationError as error:
        places = [fault["loc"] for fault in error.errors()]
        if not isinstance(row, dict | list) or not all(places):
            raise
        rest = copy.deepcopy(row)
        for place in places:
            _blank(rest, place)
        typed = build(rest)
        faults.append(str(error))
        return typed


def _blank(row: Any, place: Sequence[Any]) -> None:
    """Set the field at the path to None; a path that leads nowhere changes nothing."""
    for step in place[:-1]:
        try:
            row = row[step]
        except (LookupError, TypeError):
            return
    if isinstance(row, dict) or (isinstance(row, list) and isinstance(place[-1], int)):
        row[place[-1]] = None
