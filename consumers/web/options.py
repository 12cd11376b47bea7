"""The options of the web server, its certificate, and the compression it offers.

Pure but for reading the certificate. Opens nothing.
"""

import ssl
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory

from consumers.web.awaited import AwaitedKlines
from consumers.web.dialect import RawFeedBridge
from consumers.web.http import Routes, SessionFactory, Sessions
from consumers.web.klines import KlineFeed
from consumers.web.login_throttle import LoginThrottle
from model.dialect import Dialect

AUTH_LIMIT_S = 10.0  # for the first message, as in the legacy system
CLIENT_QUEUE = 10_000  # messages: a boundary's burst of 7,200 klines fits
MAX_CLIENTS = 1_000  # sockets, authenticated or not: a flood of connections must not take all descriptors
WINDOW_BITS, DEFLATE_MEMORY = 12, 5  # of deflate: 4 KB see all of a small message


@dataclass(frozen=True)
class WebOptions:
    """The options of the server: address, login, bounds. Port 0 takes a free one; TLS needs both certificate and key.

    `compression` is deflate (negotiated), gzip (binary messages) or none. `descriptors()` is the number of the first
    descriptor that no client may have: it is kept for streams, files and the rest. `dialect` is the exchange's own
    protocol, where it is served beside ours, without a login where `dialect_is_open`; `bridge` brings its raw payloads
    and open klines. `serves_envelopes`: the output of the collector's own protocol is served, which needs a login;
    `routes` and `sessions` are what else is, `klines` what brings those of sessions, `awaited` those of routes.
    `may_move`: a port that is taken is left for the next free one.
    """

    host: str = "127.0.0.1"
    port: int = 9500
    path: str = "/"
    user: str = ""
    key: str = field(default="", repr=False)
    tls_cert: Path | None = None
    tls_key: Path | None = None
    compression: str = "deflate"
    client_queue: int = CLIENT_QUEUE
    max_clients: int = MAX_CLIENTS
    descriptors: Callable[[], int] = lambda: sys.maxsize
    auth_limit_s: float = AUTH_LIMIT_S
    dialect: Dialect | None = None
    dialect_is_open: bool = False
    open_klines_s: float = 1.0
    login_throttle: LoginThrottle = field(default_factory=LoginThrottle)
    bridge: RawFeedBridge = field(default_factory=RawFeedBridge)
    serves_envelopes: bool = True
    may_move: bool = False
    routes: Routes = field(default_factory=dict)
    sessions: Sessions = field(default_factory=dict)
    klines: KlineFeed | None = None
    awaited: AwaitedKlines | None = None

    @property
    def name(self) -> str:
        """The name of the output: `websocket` where it sends envelopes."""
        return "websocket" if self.serves_envelopes else "web"

    @property
    def has_login(self) -> bool:
        """Whether anybody can log in."""
        return bool(self.user and self.key)

    def dialect_of(self, path: str) -> Dialect | None:
        """Return the dialect where `path` is one of its paths."""
        return self.dialect if self.dialect and path in self.dialect.paths else None

    def session_of(self, path: str) -> SessionFactory | None:
        """Return what begins a session on `path`, where that is not a path of envelopes or of the dialect."""
        is_other = (self.serves_envelopes and path == self.path) or self.dialect_of(path)
        return None if is_other else self.sessions.get(path)


def tls_errors(options: WebOptions) -> list[str]:
    """Return one line per mistake of the certificate."""
    if (options.tls_cert is None) != (options.tls_key is None):
        return ["WEBSOCKET_TLS_CERT, WEBSOCKET_TLS_KEY: both or neither"]
    try:
        tls_context(options)
    except OSError as error:  # ssl.SSLError is one
        return [f"WEBSOCKET_TLS_CERT, WEBSOCKET_TLS_KEY: cannot be loaded: {error}"]
    return []


def tls_context(options: WebOptions) -> ssl.SSLContext | None:
    """Return the server's TLS context; None where no certificate is given."""
    if options.tls_cert is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options.tls_cert, options.tls_key)
    return context


def deflate() -> ServerPerMessageDeflateFactory:
    """Return an offer of permessage-deflate without context takeover: a frame for one client is the frame for all."""
    return ServerPerMessageDeflateFactory(
        server_no_context_takeover=True,
        client_no_context_takeover=True,
        server_max_window_bits=WINDOW_BITS,
        client_max_window_bits=WINDOW_BITS,
        compress_settings={"memLevel": DEFLATE_MEMORY},
    )
