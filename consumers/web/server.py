"""The web output: a WebSocket server that sends every envelope to every authenticated client that wants it.

`consumer-websocket` thread (its event loop). Sends nothing before a login, encodes nothing twice, and never waits for a
client: one that falls behind is closed. Logs no credentials. Serves the exchange's own protocol too, by a dialect.
"""

import asyncio
import contextlib
import logging
from collections.abc import Iterable
from typing import ClassVar

import structlog
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import PerMessageDeflate

from consumers.base import BaseConsumer
from consumers.web.auth import POLICY_VIOLATION, Authenticator, Login
from consumers.web.client import CHUNK_BYTES, Client
from consumers.web.dialect import DialectFanout, DialectPeer
from consumers.web.envelopes import LastClosed, publish
from consumers.web.fanout import Fanout
from consumers.web.frames import GZIP, PLAIN, Answer, Coding
from consumers.web.native import SHUTDOWN, NativeSession
from consumers.web.options import WebSocketOptions, deflate, tls_context, tls_errors
from consumers.web.sockets import GuardedConnection, Sockets
from model.dialect import Dialect
from model.envelope import Envelope
from model.pacing import ThrottledLogger

log = structlog.get_logger()

INBOUND_BYTES = 64 * 1024  # of one message: requests are short
INBOUND_WAITING = 4  # messages of a client that may wait to be read, before its socket is not read further
CLOSE_LIMIT_S = 1.0  # for the closing handshake: a client that does not read cannot answer it
SLOW_CLOSE_S = 10.0  # for that of a slow one, which must read what was sent before it to see the reason
IDLE_POLL_S = 0.02  # at the end, between two looks at what is still to be sent
GOING_AWAY = 1001

# Of its own and never at DEBUG, where the library would write out headers and first messages: the key.
_library_log = logging.getLogger("consumers.web.server.library")
_library_log.setLevel(logging.CRITICAL)  # scanners fail handshakes all day; we count and log what matters


class WebSocketConsumer(BaseConsumer):
    """The server and its clients."""

    queue_size: ClassVar[int] = 50_000  # envelopes: tickers of a whole market come beside the klines

    def __init__(self, options: WebSocketOptions) -> None:
        super().__init__("websocket")
        self._options = options
        self._fanout = Fanout()
        self._dialect_fanout = DialectFanout()
        self._dialect, self._bridge = options.dialect, options.bridge
        self._last_closed = LastClosed()
        self._sockets = Sockets(options.max_clients, options.descriptors)
        self._authenticator = Authenticator(options)
        self._closing: set[asyncio.Task[None]] = set()
        self._open_klines: asyncio.Task[None] | None = None
        self._server: Server | None = None
        self._clients: dict[Client, bool] = {}  # whether it uses the dialect
        self._connections = self._slow = 0
        self._logger = ThrottledLogger(log)

    # -- any thread ------------------------------------------------------------------------------------

    def validate(self) -> None:
        """Raise ValueError naming every setting that is missing or wrong."""
        options = self._options
        dialect = options.dialect_of(options.path)
        wrong = [
            *(["WSS_AUTH_USER: required by the websocket output"] if not options.user else []),
            *(["WSS_AUTH_KEY: required by the websocket output"] if not options.key else []),
            *(["WEBSOCKET_PATH: must begin with /"] if not options.path.startswith("/") else []),
            *([f"WEBSOCKET_PATH: {options.path} is {dialect.name}'s"] if dialect else []),
            *tls_errors(options),
        ]
        if wrong:
            raise ValueError("; ".join(wrong))

    @property
    def port(self) -> int | None:
        """The port that is bound, or None."""
        if self._server is None or not self._server.sockets:
            return None
        return int(self._server.sockets[0].getsockname()[1])

    def counters(self) -> dict[str, float]:
        """Return clients and groups of equal filters now, and counts since the start."""
        authenticator, throttle = self._authenticator, self._authenticator.throttle
        return {
            "clients": len(self._clients),
            "groups": len(self._fanout) + len(self._dialect_fanout),
            "sockets": len(self._sockets),
            "connections": self._connections,
            "refused": throttle.wrong + throttle.blocked + authenticator.timed_out,
            "turned_away": self._sockets.turned_away,
            "closed_slow": self._slow,
            "raw_dropped": self._bridge.dropped,
            "raw_unreadable": self._dialect.unreadable if self._dialect else 0,
        }

    # -- the consumer's event loop ---------------------------------------------------------------------

    async def setup(self) -> None:
        """Bind; raises OSError where the port is taken."""
        options = self._options
        GuardedServerConnection = type("GuardedServerConnection", (GuardedConnection,), {"sockets": self._sockets})  # noqa: N806
        self._server = await serve(
            self._serve_client,
            options.host,
            options.port,
            ssl=tls_context(options),
            ssl_handshake_timeout=options.auth_limit_s if options.tls_cert else None,
            start_serving=False,
            process_request=self._authenticator.check_request,
            extensions=[deflate()] if options.compression == "deflate" else None,
            compression=None,
            max_size=INBOUND_BYTES,
            max_queue=INBOUND_WAITING,
            write_limit=(CHUNK_BYTES, CHUNK_BYTES // 4),
            close_timeout=CLOSE_LIMIT_S,
            server_header=None,
            logger=_library_log,
            create_connection=GuardedServerConnection,
        )
        self._sockets.guard(self._server.server)
        await self._server.start_serving()
        if self._dialect:
            self._dialect.start(self._dialect_fanout)
            self._bridge.start(self._dialect)
            self._open_klines = asyncio.ensure_future(self._send_open_klines(self._dialect))
        log.info("websocket_listening", host=options.host, port=self.port, tls=options.tls_cert is not None)

    async def deliver(self, envelopes: list[Envelope]) -> None:
        """Hand a batch to the clients that want it."""
        for envelope in envelopes:
            if envelope.data_type == "klines":
                self._last_closed.add(envelope)
                if self._dialect:
                    self._dialect.closed(envelope.channel, envelope.data)
            publish(self._fanout, envelope)
        await asyncio.sleep(0)

    async def stop(self) -> None:
        """Send the notice of the shutdown, and what is queued as far as the stop deadline allows, and close."""
        self._is_running = False
        if self._server is None:
            return
        if self._open_klines:
            self._open_klines.cancel()
        self._bridge.stop()
        try:
            self._fanout.flush()
            self._dialect_fanout.flush()
            for client in self._fanout.clients():
                client.send(Answer(SHUTDOWN))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._all_idle(), CLOSE_LIMIT_S)
        finally:
            self._server.close(code=GOING_AWAY, reason="server shutdown")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._server.wait_closed()), CLOSE_LIMIT_S + 2 * IDLE_POLL_S)
        self._sockets.abort()
        await self._server.wait_closed()

    async def _all_idle(self) -> None:
        while not all(client.is_idle() for client in self._clients):
            await asyncio.sleep(IDLE_POLL_S)

    async def _send_open_klines(self, dialect: Dialect) -> None:
        while True:
            await asyncio.sleep(self._options.open_klines_s)
            try:
                dialect.opened(self._bridge.take_open())
            except Exception:  # the task's outermost: the next ones may be sound
                self._logger.exception("websocket_open_klines_failed")

    async def _serve_client(self, connection: ServerConnection) -> None:
        assert isinstance(connection, GuardedConnection)
        assert connection.request is not None
        self._connections += 1
        path, _, query = connection.request.path.partition("?")
        with contextlib.suppress(ConnectionClosed):
            login = await self._authenticator.authenticate(connection, path)
            if login is not None:
                self._sockets.authenticated(connection.descriptor)
                await self._serve_session(connection, login, path, query)

    async def _serve_session(self, connection: GuardedConnection, login: Login, path: str, query: str) -> None:
        dialect = self._options.dialect_of(path)
        coding = self._coding(connection, allows_gzip=dialect is None)
        client = Client(connection, coding, self._options.client_queue, self._close_slow)
        connection.on_congestion = client.congested
        fanout = self._dialect_fanout if dialect else self._fanout
        self._clients[client] = dialect is not None
        self._count_subscribers()
        try:
            if dialect:
                received = dialect.session(path, DialectPeer(client, fanout))
            else:
                native = NativeSession(client, fanout, self._last_closed)
                native.begin(login, query)
                received = native.received
            async for message in connection:
                received(message)
                await asyncio.sleep(0)  # a client that floods requests alternates with the others
        finally:
            fanout.leave(client)
            self._clients.pop(client, None)
            self._count_subscribers()

    def _count_subscribers(self) -> None:
        self._bridge.has_subscribers = any(self._clients.values())

    def _coding(self, connection: ServerConnection, *, allows_gzip: bool) -> Coding:
        if self._options.compression == "gzip":
            return GZIP if allows_gzip else PLAIN
        negotiated: Iterable[PerMessageDeflate] = (
            extension for extension in connection.protocol.extensions if isinstance(extension, PerMessageDeflate)
        )
        return next((Coding("deflate", extension.local_max_window_bits) for extension in negotiated), PLAIN)

    def _close_slow(self, client: Client) -> None:
        """Send it nothing more, and close it; called in the middle of a write to all."""
        self._slow += 1
        self._clients.pop(client, None)
        limit = self._options.client_queue
        assert isinstance(client.connection, GuardedConnection)
        self._logger.warning("websocket_client_slow", address=client.connection.address, limit=limit)
        client.connection.close_timeout = SLOW_CLOSE_S
        reason = f"too slow: more than {limit} messages behind"
        closing = asyncio.ensure_future(client.connection.close(POLICY_VIOLATION, reason))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
