"""The base of all services: the client's engine and driver, rows typed by its choice of numbers, pages, any path."""

from collections.abc import Callable, Hashable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Generic

from exchanges.bybit.client.connection import ConnectionManager
from exchanges.bybit.client.engine import Engine
from exchanges.bybit.client.errors import CursorLoopError
from exchanges.bybit.client.limits import HostLimits
from exchanges.bybit.client.models import Execution, Instrument, Model, Order, Position
from exchanges.bybit.client.names import Param, camel_names
from exchanges.bybit.client.pybit_http import make_call
from exchanges.bybit.client.results import R, Result, Row
from exchanges.bybit.client.steps import Caller, Driver, M, N, Page, Pages, Steps, Sync, SyncDriver, endpoint
from exchanges.bybit.client.times import When, span_ms
from exchanges.bybit.client.transport import Transport
from model.intervals import WEEK_MS

PAGES_MOST = 100_000  # of one iteration: whatever a server invents, it ends
ROWS_REMEMBERED = 100_000  # of one iteration, to give none twice: equal rows are on neighbouring pages
PUBLIC_PATHS = ("/v5/market/", "/v5/announcements/", "/v5/system/")
NUMBERS: Mapping[str, type] = {"decimal": Decimal, "float": float}

KEYS: Mapping[type, tuple[str, ...]] = {
    Order: ("order_id",),
    Execution: ("exec_id", "order_id"),
    Position: ("symbol", "position_idx"),
    Instrument: ("symbol",),
}


class Service(Caller[M], Generic[M, N]):
    """A group of calls. Thread safe; holds no state of its own."""

    def __init__(self, api: Engine, driver: Driver, number: type) -> None:
        self.api, self.driver, self.number = api, driver, number

    def _ask(self, endpoint: str, model: type[R], /, **params: Param) -> Steps[Result[R]]:
        """Call an endpoint by pybit's name; a Result with rows of `model` (Row: as they came)."""
        envelope = yield from self.api.ask(endpoint, params)
        return Result(envelope.result, envelope.raw, envelope.headers, self._builder(model))

    def _pages(self, endpoint: str, model: type[R], /, **params: Param) -> Pages[R]:
        """Yield every row once, following the cursor to its end; raises CursorLoopError where a cursor repeats.

        A row that a page has in common with an earlier one, because something was added or the cursor led back, is
        left out.
        """
        seen: set[str] = set()
        rows: dict[Hashable, None] = {}
        for _ in range(PAGES_MOST):
            result = yield from self._ask(endpoint, model, **params)
            yield Page(_unseen(result, rows, KEYS.get(model)))
            cursor = result.next_cursor
            if not cursor:
                return
            if cursor in seen:
                raise CursorLoopError(f"{endpoint}: the cursor {cursor[:60]!r} came a second time", params=params)
            seen.add(cursor)
            params["cursor"] = cursor
        raise CursorLoopError(f"{endpoint}: more than {PAGES_MOST} pages", params=params)

    def _weeks(self, endpoint: str, model: type[R], start: When, end: When, /, **params: Param) -> Pages[R]:
        """Yield every row of any span [start, end), week after week: the longest span of one request."""
        for first_ms, last_ms in spans(*span_ms(start, end), WEEK_MS):
            yield from self._pages(endpoint, model, **params, start_time=first_ms, end_time=last_ms)

    def _builder(self, model: type[R]) -> Callable[[Any], R]:
        """The function that makes a typed row of one of Bybit's, numbers by the client's choice."""
        typed: Any = model
        is_model = isinstance(typed, type) and issubclass(typed, Model)  # dict[str, Any] is no class from 3.13 on
        build: Callable[[Any], R] = typed[self.number].model_validate if is_model else _as_it_came
        return build


class PathService(Service[M, N]):
    """Requests by method and path, for endpoints that have no method of their own: `client.api_client`.

    The same limits, signature, errors and repeats as every call. A service of your own takes one, or an ApiClient.
    """

    @property
    def limits(self) -> HostLimits:
        """The limits of the process at this exchange."""
        return self.api.limits

    @property
    def connection(self) -> ConnectionManager:
        """The addresses and keys."""
        return self.api.connection

    @property
    def mode(self) -> str:
        """Whether calls wait for a permit or raise: "wait", "raise"."""
        return self.api.mode

    @endpoint
    def request(
        self, method: str, path: str, params: Mapping[str, Param] | None = None, *, signed: bool | None = None
    ) -> Steps[Result[Row]]:
        """Request any path; `signed` None: derived from the path. GETs are repeated, other methods are not."""
        is_signed = not path.startswith(PUBLIC_PATHS) if signed is None else signed
        call = make_call(method.upper(), path, camel_names(params or {}), is_signed)
        envelope = yield from self.api.perform(call)
        return Result(envelope.result, envelope.raw, envelope.headers)


class ApiClient(PathService[Sync]):
    """A PathService of its own, for a service that is given a ConnectionManager."""

    def __init__(self, connection: ConnectionManager) -> None:
        engine = Engine(connection)
        super().__init__(engine, SyncDriver(Transport(connection), engine.stop), float)


def _unseen(result: Result[R], seen: dict[Hashable, None], names: tuple[str, ...] | None) -> list[R]:
    """The page's rows that no earlier page had; they are remembered, the last ROWS_REMEMBERED of all."""
    models = result.page()
    keys = [_key(model, names) for model in models]
    new = [model for model, key in zip(models, keys, strict=True) if key not in seen]
    seen.update(dict.fromkeys(keys))
    while len(seen) > ROWS_REMEMBERED:
        del seen[next(iter(seen))]
    return new


def _key(model: Any, names: tuple[str, ...] | None) -> Hashable:
    """The key of a row: its ids, or its whole content where it has none."""
    ids = tuple(getattr(model, name) for name in names or ())
    if any(value is not None for value in ids):
        return ids
    return repr(model)


def _as_it_came(row: Any) -> Any:
    return row


def spans(start_ms: int, end_ms: int, most_ms: int) -> Iterator[tuple[int, int]]:
    """Cut [start_ms, end_ms) into [first, last] pieces of at most `most_ms`, oldest first, both ends included."""
    for first_ms in range(start_ms, end_ms, most_ms):
        yield first_ms, min(first_ms + most_ms, end_ms) - 1
