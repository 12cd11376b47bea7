"""The web server: HTTP and WebSockets on one port.

The event loop of the thread `consumer-websocket`, where it is the output that sends envelopes to authenticated
clients, else of `consumer-web`. Sends nothing before a login, encodes nothing twice, and never waits for a client: one
that falls behind is closed. Logs no credentials. Serves the exchange's own protocol too, by a dialect.
"""

import asyncio
import contextlib
import errno
import inspect
import logging
from collections.abc import Callable, Iterable
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple
from urllib.parse import unquote

import structlog
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.http11 import Request, Response

from consumers.base import BaseConsumer
from consumers.web.access import Access, is_upgrade, method_refused
from consumers.web.auth import POLICY_VIOLATION, Authenticator, Login
from consumers.web.client import CHUNK_BYTES, Client
from consumers.web.connection import ClientConnection
from consumers.web.dialect import DialectFanout, DialectPeer
from consumers.web.envelopes import LastClosed, publish
from consumers.web.fanout import Fanout
from consumers.web.frames import GZIP, PLAIN, Answer, Coding
from consumers.web.http import HttpAnswer, HttpRequest, Session, SessionFactory, route_of
from consumers.web.native import SHUTDOWN, NativeSession
from consumers.web.options import WebOptions, deflate, tls_context, tls_errors
from consumers.web.sockets import GuardedConnection, Sockets
from model.dialect import Dialect
from model.envelope import Envelope
from model.pacing import Backoff, ThrottledLogger
from network.addresses import is_loopback

log = structlog.get_logger()

INBOUND_BYTES = 64 * 1024  # of one message: requests are short
INBOUND_WAITING = 4  # messages of a client that may wait to be read, before its socket is not read further
CLOSE_LIMIT_S = 1.0  # for the closing handshake: a client that does not read cannot answer it
SLOW_CLOSE_S = 10.0  # for that of a slow one, which must read what was sent before it to see the reason
IDLE_POLL_S = 0.02  # at the end, between two looks at what is still to be sent
GOING_AWAY = 1001
LARGE_BYTES, UNSENT_MOST_BYTES = 128 * 1024, 64 * 1024 * 1024  # of answers that clients do not read: those are memory
UNREAD = "Too many answers wait for clients that do not read them: try again in some seconds."
EVERY_ADDRESS = ("", "0.0.0.0", "::")  # noqa: S104 - compared, not bound
PORTS_TRIED = 50  # the one of the settings, and those behind it
SERVED = MappingProxyType({"/": "The page", "/readyz": "/readyz", "/metrics": "/metrics"})  # for a line of the log
PORT_REMEDY = "end what listens there, or set WEBSOCKET_PORT to a free port; it is tried again"
BIND_FIRST_S, BIND_CAP_S = 1.0, 60.0  # pauses between attempts to bind a port that is taken

# Of its own and never at DEBUG, where the library would write out headers and first messages: the key.
_library_log = logging.getLogger("consumers.web.server.library")
_library_log.setLevel(logging.CRITICAL)  # scanners fail handshakes all day; we count and log what matters


class FanoutSession(NamedTuple):
    """The session of a client of a fan-out."""

    received: Callable[[str | bytes], object]
    client: Client
    fanout: Fanout

    def closed(self) -> None:
        """Take the client out."""
        self.fanout.leave(self.client)


class WebServer(BaseConsumer):
    """The server and its clients."""

    queue_size: ClassVar[int] = 50_000  # envelopes: tickers of a whole market come beside the klines

    def __init__(self, options: WebOptions) -> None:
        super().__init__(options.name)
        self._options = options
        self._fanout = Fanout()
        self._dialect_fanout = DialectFanout(self._close_interrupted)
        self._dialect, self._bridge = options.dialect, options.bridge
        self._last_closed = LastClosed()
        self._sockets = Sockets(options.max_clients, options.descriptors, is_local=is_loopback(options.host))
        self._authenticator = Authenticator(options)
        self._access = Access(options, self._authenticator)
        self._closing: set[asyncio.Task[None]] = set()
        self._open_klines: asyncio.Task[None] | None = None
        self._binding: asyncio.Task[None] | None = None
        self._server: Server | None = None
        self._http: set[ClientConnection] = set()
        self._clients: dict[Client, bool] = {}  # whether it uses the dialect
        self._connections = self._requests = self._slow = 0
        self._logger = ThrottledLogger(log)

    # -- any thread ------------------------------------------------------------------------------------

    def validate(self) -> None:
        """Raise ValueError naming every setting that is missing or wrong."""
        options = self._options
        wrong = tls_errors(options)
        if options.serves_envelopes:
            dialect = options.dialect_of(options.path)
            wrong = [
                *(["WSS_AUTH_USER: required by the websocket output"] if not options.user else []),
                *(["WSS_AUTH_KEY: required by the websocket output"] if not options.key else []),
                *(["WEBSOCKET_PATH: must begin with /"] if not options.path.startswith("/") else []),
                *([f"WEBSOCKET_PATH: {options.path} is {dialect.name}'s"] if dialect else []),
                *wrong,
            ]
        if wrong:
            raise ValueError("; ".join(wrong))

    @property
    def port(self) -> int | None:
        """The port that is bound, or None."""
        if self._server is None or not self._server.sockets:
            return None
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def url(self) -> str | None:
        """Where a browser on this machine finds it; None while no port is bound."""
        port, host = self.port, self._options.host
        if host in EVERY_ADDRESS:
            host = "127.0.0.1"
        scheme = "https" if self._options.tls_cert else "http"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/" if port else None

    def counters(self) -> dict[str, float]:
        """Return clients and groups of equal filters now, and counts since the start."""
        authenticator, throttle = self._authenticator, self._authenticator.throttle
        return {
            "clients": len(self._clients),
            "groups": len(self._fanout) + len(self._dialect_fanout),
            "sockets": len(self._sockets),
            "connections": self._connections,
            "requests": self._requests,
            "refused": throttle.wrong + throttle.blocked + authenticator.timed_out,
            "turned_away": self._sockets.turned_away,
            "closed_slow": self._slow,
            "raw_dropped": self._bridge.dropped,
            "raw_unreadable": self._dialect.unreadable if self._dialect else 0,
        }

    # -- the consumer's event loop ---------------------------------------------------------------------

    async def setup(self) -> None:
        """Bind; raises OSError where the port is taken. Without envelopes nobody asked for it: it tries again later."""
        try:
            await self._bind()
        except OSError as error:
            if self._options.serves_envelopes:
                raise
            self._binding = asyncio.ensure_future(self._bind_later(error))

    async def _bind_later(self, error: OSError) -> None:
        where = {"host": self._options.host, "port": self._options.port}
        sentence = f"No page, /readyz and /metrics: {error.strerror}. What to do: {PORT_REMEDY}."
        log.warning("web_not_listening", sentence=sentence, **where, error=error.strerror, remedy=PORT_REMEDY)
        backoff = Backoff(BIND_FIRST_S, BIND_CAP_S, floor=0.5)
        while self._server is None:
            await asyncio.sleep(backoff.next_s())
            with contextlib.suppress(OSError):
                await self._bind()

    async def _bind(self) -> None:
        """Bind the port of the options, or where it may move and is taken, the next free one."""
        first = self._options.port
        most = PORTS_TRIED if self._options.may_move and first else 1
        for port in range(first, min(first + most, 65_536)):
            try:
                server = await self._serve(port)
                break
            except OSError as error:
                if error.errno != errno.EADDRINUSE or port == min(first + most, 65_536) - 1:
                    raise
        self._sockets.guard(server.server)
        await server.start_serving()
        self._server = server
        if self._dialect:
            self._dialect.start(self._dialect_fanout)
            self._bridge.start(self._dialect)
            self._open_klines = asyncio.ensure_future(self._send_open_klines(self._dialect))
        if self._options.klines:
            self._options.klines.start()
        moved = {"taken": first} if first and self.port != first else {}
        self._log_listening(moved)

    def _log_listening(self, moved: dict[str, int]) -> None:
        options = self._options
        served = [name for path, name in SERVED.items() if path in options.routes]
        what = ", ".join(served) or "The web server"
        taken = f"; port {options.port} is taken" if moved else ""
        log.info(
            f"{options.name}_listening",
            sentence=f"{what} at {self.url}{taken}.",
            url=self.url,
            host=options.host,
            port=self.port,
            tls=bool(options.tls_cert),
            **moved,
        )

    async def _serve(self, port: int) -> Server:
        options = self._options

        def connect(*arguments: Any, **named: Any) -> ClientConnection:
            return ClientConnection(self, is_upgrade, lambda: GuardedConnection(*arguments, **named))

        create_connection: Any = connect  # not a class of theirs, but asked for nothing else than asyncio's protocol
        return await serve(
            self._serve_client,
            options.host,
            port,
            ssl=tls_context(options),
            ssl_handshake_timeout=options.auth_limit_s if options.tls_cert else None,
            start_serving=False,
            process_request=self._check_handshake,
            extensions=[deflate()] if options.compression == "deflate" else None,
            compression=None,
            max_size=INBOUND_BYTES,
            max_queue=INBOUND_WAITING,
            write_limit=(CHUNK_BYTES, CHUNK_BYTES // 4),
            close_timeout=CLOSE_LIMIT_S,
            server_header=None,
            logger=_library_log,
            create_connection=create_connection,
        )

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
        if self._binding:
            self._binding.cancel()
        if self._server is None:
            return
        if self._open_klines:
            self._open_klines.cancel()
        self._bridge.stop()
        if self._options.klines:
            self._options.klines.stop()
        try:
            self._fanout.flush()
            self._dialect_fanout.flush()
            for client in self._fanout.clients():
                client.send(Answer(SHUTDOWN))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._all_idle(), CLOSE_LIMIT_S)
        finally:
            self._server.close(code=GOING_AWAY, reason="server shutdown")
            for connection in [*self._http]:
                connection.close()
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

    async def _check_handshake(self, connection: ServerConnection, request: Request) -> Response | None:
        """Refuse a WebSocket before its handshake; None lets that begin."""
        assert isinstance(connection, GuardedConnection)
        if self._options.session_of(request.path.partition("?")[0]):
            return await self._access.check_session(connection, request)
        if self._options.serves_envelopes:
            return await self._authenticator.check_basic(connection.address, connection.connection_lost_waiter, request)
        return self._access.not_found()

    # -- consumers.web.connection.HttpServer -----------------------------------------------------------

    @property
    def sockets(self) -> Sockets:
        """As HttpServer.sockets."""
        return self._sockets

    def opened(self, connection: ClientConnection) -> None:
        """As HttpServer.opened."""
        self._http.add(connection)

    def closed(self, connection: ClientConnection) -> None:
        """As HttpServer.closed."""
        self._http.discard(connection)

    async def answer(self, connection: ClientConnection, request: Request) -> Response:
        """As HttpServer.answer."""
        path = request.path.partition("?")[0]
        self._requests += 1
        route = route_of(self._options.routes, unquote(path))
        refuse = route.refuse if route else HttpAnswer.text
        try:
            asked = HttpRequest.of(request)
        except ValueError as error:
            return refuse(HTTPStatus.BAD_REQUEST, str(error)).response()
        try:
            if refusal := await self._access.check_route(connection, request, route):
                return refusal
            assert route is not None
            answer = route.handler(asked)
            if inspect.isawaitable(answer):
                answer = await answer
        except Exception:  # a handler's mistake costs its own request
            self._logger.exception("web_request_failed", path=path)
            answer = refuse(HTTPStatus.INTERNAL_SERVER_ERROR, "This failed here; the log says why.")
        if len(answer.body) > LARGE_BYTES and self._unsent_bytes() + len(answer.body) > UNSENT_MOST_BYTES:
            answer = refuse(HTTPStatus.SERVICE_UNAVAILABLE, UNREAD)
        return answer.response()

    def _unsent_bytes(self) -> int:
        """What clients have not taken of their answers yet, beside what the kernel holds."""
        return sum(each.unsent_bytes for each in self._http)

    def refuse(self, method: str, path: str, status: int, text: str) -> HttpAnswer:
        """As HttpServer.refuse."""
        route = route_of(self._options.routes, unquote(path))
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            return method_refused(method, route)
        return (route.refuse if route else HttpAnswer.text)(status, text)

    async def _serve_client(self, connection: ServerConnection) -> None:
        assert isinstance(connection, GuardedConnection)
        assert connection.request is not None
        self._connections += 1
        path, _, query = connection.request.path.partition("?")
        with contextlib.suppress(ConnectionClosed):
            if begin := self._options.session_of(path):
                await self._serve_session(connection, path, begin)
            elif (login := await self._authenticator.authenticate(connection, path)) is not None:
                await self._serve_session(connection, path, lambda client: self._begin(client, login, path, query))

    def _begin(self, client: Client, login: Login, path: str, query: str) -> Session:
        """Begin a session of envelopes, or of the dialect."""
        dialect = self._options.dialect_of(path)
        self._clients[client] = dialect is not None
        self._count_subscribers()
        if dialect:
            received = dialect.session(path, DialectPeer(client, self._dialect_fanout))
            return FanoutSession(received, client, self._dialect_fanout)
        native = NativeSession(client, self._fanout, self._last_closed)
        native.begin(login, query)
        return FanoutSession(native.received, client, self._fanout)

    async def _serve_session(self, connection: GuardedConnection, path: str, begin: SessionFactory) -> None:
        self._sockets.authenticated(connection.descriptor)
        is_native = self._options.serves_envelopes and path == self._options.path
        coding = self._coding(connection, allows_gzip=is_native)
        client = Client(connection, coding, self._options.client_queue, self._close_slow)
        connection.on_congestion = client.congested
        self._clients[client] = False
        session: Session | None = None
        try:
            session = begin(client)
            async for message in connection:
                session.received(message)
                await asyncio.sleep(0)  # a client that floods requests alternates with the others
        finally:
            if session:
                session.closed()
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
        self._close(client, POLICY_VIOLATION, f"too slow: more than {limit} messages behind")

    def _close_interrupted(self, client: Client) -> None:
        """Close a connection on which messages are missing that the exchange had sent."""
        self._close(client, GOING_AWAY, "the exchange's own stream was interrupted: connect again")

    def _close(self, client: Client, code: int, reason: str) -> None:
        client.connection.close_timeout = SLOW_CLOSE_S
        closing = asyncio.ensure_future(client.connection.close(code, reason))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
