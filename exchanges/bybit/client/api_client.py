"""`client.api_client`: requests by path, for endpoints that nobody has written a method for.

The same turn, signature, errors and repeats as every call. Services of your own take it, or a ConnectionManager.
"""

from collections.abc import Mapping

from exchanges.bybit.client.connection import ConnectionManager
from exchanges.bybit.client.engine import Engine
from exchanges.bybit.client.limits import HostLimits
from exchanges.bybit.client.names import Param, camel_names
from exchanges.bybit.client.pybit_http import make_call
from exchanges.bybit.client.results import Result, Row
from exchanges.bybit.client.service import Service
from exchanges.bybit.client.steps import M, N, Steps, Sync, SyncDriver, endpoint
from exchanges.bybit.client.transport import Transport

PUBLIC_PATHS = ("/v5/market/", "/v5/announcements/", "/v5/system/")


class PathService(Service[M, N]):
    """Requests by method and path."""

    @property
    def limits(self) -> HostLimits:
        """The process's limits at this exchange."""
        return self.api.limits

    @property
    def connection(self) -> ConnectionManager:
        """Where and who."""
        return self.api.connection

    @property
    def mode(self) -> str:
        """Whether calls wait for a turn or raise."""
        return self.api.mode

    @endpoint
    def request(
        self, method: str, path: str, params: Mapping[str, Param] | None = None, *, signed: bool | None = None
    ) -> Steps[Result[Row]]:
        """Ask any path; `signed` is worked out from it where it is not said. GETs are repeated, the rest is not."""
        is_signed = not path.startswith(PUBLIC_PATHS) if signed is None else signed
        call = make_call(method.upper(), path, camel_names(params or {}), is_signed)
        envelope = yield from self.api.perform(call)
        return Result(envelope.result, envelope.raw, envelope.headers)


class ApiClient(PathService[Sync]):
    """A PathService of its own, for a service that is given a ConnectionManager."""

    def __init__(self, connection: ConnectionManager) -> None:
        engine = Engine(connection)
        super().__init__(engine, SyncDriver(Transport(connection), engine.stop), float)
