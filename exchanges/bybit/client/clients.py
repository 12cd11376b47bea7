"""BybitClient and AsyncBybitClient: the same services over the same engine, blocking and awaited.

Making one opens nothing and starts nothing. Thread safe. See README.md for every call.
"""

import functools
import importlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypedDict, Unpack, overload

from exchanges.bybit.client.base_client import BaseClient
from exchanges.bybit.client.connection import ConnectionManager, LimitMode
from exchanges.bybit.client.engine import Engine
from exchanges.bybit.client.limits import HostLimits
from exchanges.bybit.client.service import NUMBERS
from exchanges.bybit.client.steps import Async, AsyncDriver, N, Sync, SyncDriver
from exchanges.bybit.client.transport import Transport

if TYPE_CHECKING:
    from exchanges.bybit.client.data import DataService

THREADS = 32  # of the async client: requests on their way at once


class Options(TypedDict, total=False):
    """The options of a client; ConnectionManager describes the first ones."""

    testnet: bool
    api_key: str
    api_secret: str
    recv_window: int
    demo: bool
    rsa_authentication: bool
    domain: str
    tld: str
    url: str | None
    ws_url: str | None
    timeout: tuple[float | None, float | None] | float | None
    proxies: Mapping[str, str]
    pool_size: int
    uid: str | None
    limits: LimitMode  # "wait" for a permit, or "raise" RateLimitError
    round_prices: bool  # of orders, to the instrument's steps
    data_dir: str | None  # where client.data keeps candles
    host_limits: HostLimits | None  # instead of the process's own, for tests


class BybitClient(BaseClient[Sync, N]):
    """The blocking client. `with BybitClient(...) as client:` or `close()` in the end."""

    @overload
    def __init__(
        self: "BybitClient[Decimal]", *, numbers: Literal["decimal"] = "decimal", **options: Unpack[Options]
    ) -> None: ...
    @overload
    def __init__(self: "BybitClient[float]", *, numbers: Literal["float"], **options: Unpack[Options]) -> None: ...
    def __init__(self, *, numbers: str = "decimal", **options: Unpack[Options]) -> None:
        """`numbers`: Decimal or float in models; dicts hold Bybit's texts either way."""
        api = _engine(options)
        transport = Transport(api.connection)
        self._build(api, transport, NUMBERS[numbers], options.get("data_dir"))

    def _build(self, api: Engine, transport: Transport, number: type, data_dir: str | None) -> None:
        super().__init__(api, transport, SyncDriver(transport, api.stop), number, data_dir)

    @functools.cached_property
    def data(self) -> "DataService[N]":
        """History with a cache, live prices and books. Raises ModuleNotFoundError without requirements-client.txt."""
        service: DataService[N] = importlib.import_module("exchanges.bybit.client.data").DataService(
            self, data_dir=self.data_dir
        )
        return service

    def __enter__(self) -> Self:
        """The client."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()


class AsyncBybitClient(BaseClient[Async, N]):
    """The awaited client: the same calls, `await client.market.get_tickers()`. `sync` is the blocking one beside it."""

    @overload
    def __init__(
        self: "AsyncBybitClient[Decimal]", *, numbers: Literal["decimal"] = "decimal", **options: Unpack[Options]
    ) -> None: ...
    @overload
    def __init__(self: "AsyncBybitClient[float]", *, numbers: Literal["float"], **options: Unpack[Options]) -> None: ...
    def __init__(self, *, numbers: str = "decimal", **options: Unpack[Options]) -> None:
        """As BybitClient."""
        api = _engine(options)
        transport, self._pool = Transport(api.connection), ThreadPoolExecutor(THREADS, "bybit-client")
        driver = AsyncDriver(transport, api.stop, self._pool)
        super().__init__(api, transport, driver, NUMBERS[numbers], options.get("data_dir"))

    @functools.cached_property
    def sync(self) -> BybitClient[N]:
        """The blocking client on the same connection and limits, for `data` and for threads."""
        client: BybitClient[N] = BybitClient.__new__(BybitClient)
        client._build(self.api, self.transport, self.number, self.data_dir)
        return client

    def close(self) -> None:
        """As BybitClient.close; requests on their way are not waited for."""
        if "sync" in self.__dict__:
            self.sync.close()
        super().close()
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def __aenter__(self) -> Self:
        """The client."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()


def _engine(options: Options) -> Engine:
    """Make the engine of the options; TypeError for an option that does not exist."""
    given: dict[str, Any] = {name: value for name, value in options.items() if name != "data_dir"}
    mode, limits = given.pop("limits", "wait"), given.pop("host_limits", None)
    round_prices = given.pop("round_prices", True)
    return Engine(ConnectionManager(**given), mode, limits=limits, round_prices=round_prices)
