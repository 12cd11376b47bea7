"""Opens connections: asks the budget, shakes hands with websocket-client (TLS, proxies), maps its errors.

Runs on the stream's thread. The one place that turns a URL into a socket.
"""

import ssl
from urllib.parse import urlsplit

import certifi
import websocket

from streams.budget import ConnectBudget
from streams.connection import Connection, shut_down
from streams.context import current
from streams.reader import Reader
from streams.tls import BulkTls

CONNECT_TIMEOUT_S = 10.0  # per step: name and TCP, TLS, upgrade
FORBIDDEN_PAUSE_S = 600.0  # Bybit lifts an address ban after 10 minutes without a connect (docs: rate-limit)
HTTP_FORBIDDEN = 403


class ConnectFailedError(ConnectionError):
    """No connection came about: name, TCP, TLS, proxy or the upgrade failed."""


class ConnectForbiddenError(ConnectFailedError):
    """HTTP 403 at the upgrade: this address is banned or may not use the exchange. The breaker is open."""


def default_tls() -> ssl.SSLContext:
    """A verifying context; with certifi's roots on a system whose Python brings none (python.org on macOS)."""
    paths = ssl.get_default_verify_paths()
    return ssl.create_default_context(cafile=None if paths.cafile or paths.capath else certifi.where())


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
    ) -> None:
        """`tls` replaces the default context, which trusts what the system trusts and is made once for all streams.

        `reader` reads what never blocks; None: every stream reads on its own thread.
        """
        self._reader = reader
        self._budget = budget
        self._timeout_s = connect_timeout_s
        self._forbidden_pause_s = forbidden_pause_s
        self._tls = BulkTls(tls or default_tls())

    def open(self, url: str) -> Connection | None:
        """A connection to `url` within budget and timeout; None when the calling stream was stopped meanwhile.

        Blocks. Raises ConnectFailedError, and ConnectForbiddenError after opening the breaker. The caller closes it.
        """
        context = current()
        host = urlsplit(url).hostname or url
        context.state = "waiting_for_budget"
        if not self._budget.acquire(host, context.stop):
            return None
        context.state = "connecting"
        ws = websocket.WebSocket(sslopt={"context": self._tls})
        ws.settimeout(self._timeout_s)
        context.stats.connects += 1
        try:
            with context.on_abort(lambda: shut_down(ws)):
                ws.connect(url)  # type: ignore[no-untyped-call]
        except websocket.WebSocketBadStatusException as error:
            raise self._refused(host, error) from error
        except (OSError, ssl.SSLError, ValueError, websocket.WebSocketException) as error:
            if context.stop.is_set():
                return None
            raise ConnectFailedError(f"{type(error).__name__}: {error}") from error
        context.state = "connected"
        return Connection(ws, context, reader=self._reader)

    def _refused(self, host: str, error: websocket.WebSocketBadStatusException) -> ConnectFailedError:
        if error.status_code == HTTP_FORBIDDEN:
            self._budget.trip(host, self._forbidden_pause_s)
            return ConnectForbiddenError(f"HTTP 403 from {host}")
        return ConnectFailedError(f"HTTP {error.status_code} from {host}")
