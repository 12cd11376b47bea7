"""What the blocking and the awaited client share: services, the websocket service, closing."""

import functools
from typing import Generic

from exchanges.bybit.client.account import AccountService, PositionService
from exchanges.bybit.client.connection import ConnectionManager
from exchanges.bybit.client.engine import Engine, server_time_ms
from exchanges.bybit.client.market import MarketDataService
from exchanges.bybit.client.names import Param
from exchanges.bybit.client.order import OrderService
from exchanges.bybit.client.results import Result, Row
from exchanges.bybit.client.service import PathService, Service
from exchanges.bybit.client.steps import Driver, M, N, Steps, SyncDriver, endpoint
from exchanges.bybit.client.transport import Transport
from exchanges.bybit.client.websocket import WebSocketService


class BaseClient(Service[M, N], Generic[M, N]):
    """The services and calls that both clients have."""

    def __init__(self, api: Engine, transport: Transport, driver: Driver, number: type, data_dir: str | None) -> None:
        super().__init__(api, driver, number)
        self.transport, self.data_dir = transport, data_dir
        self.market: MarketDataService[M, N] = MarketDataService(api, driver, number)
        self.account: AccountService[M, N] = AccountService(api, driver, number)
        self.position: PositionService[M, N] = PositionService(api, driver, number)
        self.api_client: PathService[M, N] = PathService(api, driver, number)
        self.order: OrderService[M, N] = OrderService(api, driver, number)

    @property
    def connection(self) -> ConnectionManager:
        """The addresses and keys."""
        return self.api.connection

    @endpoint
    def get_server_time(self) -> Steps[int]:
        """The exchange's clock, ms since the epoch."""
        envelope = yield from self.api.ask("get_server_time", {})
        return server_time_ms(envelope.result)

    @endpoint
    def sync_time(self) -> Steps[int]:
        """Measure the exchange's time; returns the offset of this machine's clock, ms. Done by itself where needed."""
        return self.api.measure_time()

    @endpoint
    def verify_credentials(self) -> Steps[bool]:
        """Whether the exchange accepts the key; False without one. Other failures are raised."""
        return self.account._verify()

    @endpoint
    def call(self, name: str, /, **params: Param) -> Steps[Result[Row]]:
        """Call any endpoint of pybit's by its name, with the same limits and errors: call("get_coin_greeks")."""
        return self._ask(name, Row, **params)

    @functools.cached_property
    def websocket(self) -> WebSocketService:
        """Streams and order entry; callbacks may be coroutine functions on the async client."""
        return WebSocketService(self.api, SyncDriver(self.transport, self.api.stop), getattr(self, "_pool", None))

    def close(self) -> None:
        """End waits and streams, close connections. Calls made later raise ClosedError where they would wait."""
        self.api.stop.set()
        if "websocket" in self.__dict__:
            self.websocket.stop()
        self.transport.close()

    def __repr__(self) -> str:
        """Address and whether there is a key; never the key."""
        return f"<{type(self).__name__} {self.connection.name} {'with' if self.connection.keys else 'without'} a key>"
