"""Opens connections: asks the budget, opens a socket (proxy, TLS), upgrades it, maps what fails.

Runs on the stream's thread. The one place that turns a URL into a stream.
"""

import ssl
import sys
from collections.abc import Mapping
from urllib.parse import urlsplit

import websocket

from model.context import StreamContext, current
from network.certificates import client_context
from network.deadline import Deadline
from network.proxies import proxy_of
from network.sockets import open_socket
from streams.budget import ConnectBudget
from streams.connection import Connection
from streams.descriptors import DescriptorBudget
from streams.reader import Reader
from streams.tls import BulkTls
from streams.upgrade import UpgradeRefusedError, upgrade

CONNECT_TIMEOUT_S = 10.0  # for all of it: name, TCP, proxy, TLS, upgrade
FORBIDDEN_PAUSE_S = 600.0  # Bybit lifts an address ban after 10 minutes without a connect (docs: rate-limit)
HTTP_FORBIDDEN = 403
PORTS = {"ws": 80, "wss": 443}


class ConnectFailedError(ConnectionError):
    """No connection came about: name, TCP, TLS, proxy or the upgrade failed, or all of it took too long."""


class ConnectForbiddenError(ConnectFailedError):
    """HTTP 403 at the upgrade: this address is banned or may not use the exchange. The breaker is open."""


class Dialer:
    """`open(url)` for every stream of the process. Thread safe; shares one budget."""

    def __init__(
        self,
        budget: ConnectBudget,
        *,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        forbidden_pause_s: float = FORBIDDEN_PAUSE_S,
        tls: ssl.SSLContext | None = None,
        reader: Reader | None = None,
        proxies: Mapping[str, str] | None = None,
        descriptors: DescriptorBudget | None = None,
    ) -> None:
        """`tls` replaces the environment's context, which is made once for all streams; raises CertificatesError.

        `reader` reads what never blocks; None: every stream reads on its own thread. `proxies` as requests takes them
        win over the environment's. `descriptors` None: no bound.
        """
        self._descriptors = descriptors or DescriptorBudget(lambda: sys.maxsize)
        self._reader = reader
        self._budget = budget
        self._timeout_s = connect_timeout_s
        self._forbidden_pause_s = forbidden_pause_s
        self._tls = BulkTls(tls or client_context())
        self._proxies = proxies

    def open(self, url: str) -> Connection | None:
        """A connection to `url` within budget and timeout; None when the calling stream was stopped meanwhile.

        Blocks. Raises ConnectFailedError, and ConnectForbiddenError after opening the breaker. The caller closes it.
        """
        context = current()
        context.state = "waiting_for_descriptor"
        if not self._descriptors.acquire(context.stop):
            return None
        try:
            return self._open(url, context)
        finally:
            self._descriptors.release()

    def _open(self, url: str, context: StreamContext) -> Connection | None:
        host = urlsplit(url).hostname or url
        context.state = "waiting_for_budget"
        if not self._budget.acquire(host, context.stop):
            return None
        context.state = "connecting"
        context.stats.connects += 1
        deadline = Deadline(self._timeout_s, context.stop)
        try:
            with deadline:
                ws = self._upgraded(url, deadline)
        except UpgradeRefusedError as error:
            raise self._refused(host, error.status) from error
        except (OSError, ValueError) as error:
            if context.stop.is_set():
                return None
            raise ConnectFailedError(f"{type(error).__name__}: {deadline.problem or error}") from error
        context.state = "connected"
        return Connection(ws, context, reader=self._reader)

    def _upgraded(self, url: str, deadline: Deadline) -> websocket.WebSocket:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or PORTS.get(parts.scheme)
        if not host or port is None:
            raise ValueError(f"{url!r} is no ws:// or wss:// address")
        plain = open_socket(host, port, deadline, proxy_of(url, self._proxies))
        try:
            plain.settimeout(deadline.left_s())
            sock = self._tls.wrap_socket(plain, server_hostname=host) if parts.scheme == "wss" else plain
            upgrade(sock, url)
            sock.settimeout(self._timeout_s)
        except BaseException:
            plain.close()
            raise
        ws = websocket.WebSocket()
        ws.sock, ws.connected = sock, True  # type: ignore[assignment]  # all that it needs of one
        return ws

    def _refused(self, host: str, status: int) -> ConnectFailedError:
        if status == HTTP_FORBIDDEN:
            self._budget.trip(host, self._forbidden_pause_s)
            return ConnectForbiddenError(f"HTTP 403 from {host}")
        return ConnectFailedError(f"HTTP {status} from {host}")
