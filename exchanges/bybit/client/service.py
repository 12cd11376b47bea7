"""What the services have in common: the client's engine and driver, and rows typed by its choice of numbers."""

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Generic

from exchanges.bybit.client.engine import Engine
from exchanges.bybit.client.errors import CursorLoopError
from exchanges.bybit.client.models import Model
from exchanges.bybit.client.names import Param
from exchanges.bybit.client.results import R, Result
from exchanges.bybit.client.steps import Driver, M, N, Page, Pages, Steps

PAGES_MOST = 100_000  # of one iteration: whatever a server invents, it ends


class Service(Generic[M, N]):
    """A group of calls. Thread safe; holds no state of its own."""

    def __init__(self, api: Engine, driver: Driver, number: type) -> None:
        self.api, self.driver, self.number = api, driver, number

    def _ask(self, name: str, model: type[R], params: Mapping[str, Param]) -> Steps[Result[R]]:
        """Call pybit's endpoint `name`; a Result with rows of `model` (Row: as they came)."""
        envelope = yield from self.api.ask(name, params)
        return Result(envelope.result, envelope.raw, envelope.headers, self._builder(model))

    def _pages(self, name: str, model: type[R], params: Mapping[str, Param]) -> Pages[R]:
        """Every row, following the cursor to its end; raises CursorLoopError where a cursor comes again."""
        seen: set[str] = set()
        asked = dict(params)
        for _ in range(PAGES_MOST):
            result = yield from self._ask(name, model, asked)
            yield Page(result.models)
            cursor = result.next_cursor
            if not cursor:
                return
            if cursor in seen:
                raise CursorLoopError(f"{name}: the cursor {cursor[:60]!r} came a second time", params=params)
            seen.add(cursor)
            asked["cursor"] = cursor
        raise CursorLoopError(f"{name}: more than {PAGES_MOST} pages", params=params)

    def _builder(self, model: type[R]) -> Callable[[Any], R]:
        """From a row of Bybit's to a typed one, numbers as the client was asked for them."""
        typed: Any = model
        build: Callable[[Any], R] = typed[self.number].model_validate if issubclass(typed, Model) else _as_it_came
        return build


def _as_it_came(row: Any) -> Any:
    return row


def spans(start_ms: int, end_ms: int, most_ms: int) -> Iterator[tuple[int, int]]:
    """Cut [start_ms, end_ms) into [first, last] pieces of at most `most_ms`, oldest first, both ends included."""
    for first_ms in range(start_ms, end_ms, most_ms):
        yield first_ms, min(first_ms + most_ms, end_ms) - 1


NUMBERS: Mapping[str, type] = {"decimal": Decimal, "float": float}
