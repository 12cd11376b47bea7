"""The WSS output: a server that sends every envelope to every authorized client.

`consumer-websocket` thread (its event loop). Sends nothing before authorization, nothing twice encoded, and
never waits for a client: one that falls behind is closed. Logs no credentials.
"""

import asyncio
import contextlib
import logging
import ssl
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from consumers.base import BaseConsumer
from consumers.clients import POLICY_VIOLATION, Client, Credentials
from consumers.envelope import Envelope

log = structlog.get_logger()

AUTH_LIMIT_S = 10.0  # the seed's time for the first message
CLIENT_QUEUE = 10_000  # envelopes: a boundary's burst of 7,200 klines fits
CONNECTION_LIMIT = 1_000  # sockets, authorized or not: a flood of connections must not take all descriptors
INBOUND_BYTES = 64 * 1024  # clients have little to say
CLOSE_LIMIT_S = 1.0  # for the closing handshake: a client that does not read cannot answer it
WRONG_PATH = 4404
GOING_AWAY = 1001

# Of its own and never at DEBUG, where the library would write out headers and first messages: the key.
_library_log = logging.getLogger("consumers.websocket.library")
_library_log.setLevel(logging.CRITICAL)  # scanners fail handshakes all day; we count and log what matters


@dataclass(frozen=True)
class WebSocketOptions:
    """Where to listen and who may listen in. Port 0 takes a free one; TLS needs both certificate and key."""

    host: str = "127.0.0.1"
    port: int = 9500
    path: str = "/"
    user: str = ""
    key: str = field(default="", repr=False)
    tls_cert: Path | None = None
    tls_key: Path | None = None
    client_queue: int = CLIENT_QUEUE
    auth_limit_s: float = AUTH_LIMIT_S


class WebSocketConsumer(BaseConsumer):
    """The server and its clients."""

    def __init__(self, options: WebSocketOptions) -> None:
        super().__init__("websocket")
        self._options = options
        self._credentials = Credentials(options.user, options.key)
        self._clients: set[Client] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self._server: Server | None = None
        self._connections = self._refused = self._slow = 0

    # -- any thread ------------------------------------------------------------------------------------

    def validate(self) -> None:
        """Raise ValueError naming every setting that is missing or wrong."""
        options = self._options
        wrong = [
            *(["WSS_AUTH_USER: required by the websocket output"] if not options.user else []),
            *(["WSS_AUTH_KEY: required by the websocket output"] if not options.key else []),
            *(["WEBSOCKET_PATH: must begin with /"] if not options.path.startswith("/") else []),
            *self._tls_errors(),
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
        """Return clients now, and connections, refusals and slow clients so far."""
        return {
            "clients": len(self._clients),
            "connections": self._connections,
            "refused": self._refused,
            "closed_slow": self._slow,
        }

    # -- the consumer's event loop ---------------------------------------------------------------------

    async def setup(self) -> None:
        """Bind; raises OSError where the port is taken."""
        options = self._options
        self._server = await serve(
            self._serve_client,
            options.host,
            options.port,
            ssl=self._tls_context(),
            process_request=self._check_request,
            compression=None,
            max_size=INBOUND_BYTES,
            close_timeout=CLOSE_LIMIT_S,
            logger=_library_log,
        )
        log.info("websocket_listening", host=options.host, port=self.port, tls=options.tls_cert is not None)

    async def deliver(self, envelopes: list[Envelope]) -> None:
        """Hand a batch to every client's queue."""
        if not self._clients:
            return
        for envelope in envelopes:
            self._broadcast(envelope.json.decode())
        await asyncio.sleep(0)

    async def stop(self) -> None:
        """Tell the clients, let their queues drain as far as the stop deadline allows, close."""
        self._is_running = False
        if self._server is None:
            return
        try:
            self._broadcast('{"status":"server_shutdown"}')
            if self._clients:
                drained = [asyncio.ensure_future(client.drained()) for client in self._clients]
                await asyncio.wait(drained, timeout=CLOSE_LIMIT_S)
        finally:
            self._server.close(code=GOING_AWAY, reason="server shutdown")
        await self._server.wait_closed()

    def _broadcast(self, text: str) -> None:
        for client in [client for client in self._clients if not client.offer(text)]:
            self._clients.discard(client)
            self._slow += 1
            log.warning("websocket_client_slow", peer=_peer(client.connection), limit=self._options.client_queue)
            closing = asyncio.ensure_future(
                client.connection.close(POLICY_VIOLATION, f"too slow: {self._options.client_queue} messages behind")
            )
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    def _check_request(self, connection: ServerConnection, request: Request) -> Response | None:
        assert self._server is not None
        if len(self._server.connections) >= CONNECTION_LIMIT:
            return connection.respond(503, "too many connections\n")
        header = request.headers.get("Authorization")
        if header is None or self._credentials.match_basic(header):
            return None
        self._note_refused(connection, "wrong HTTP Basic credentials")
        response = connection.respond(401, "wrong user or key\n")
        response.headers["WWW-Authenticate"] = 'Basic realm="klines"'
        return response

    async def _serve_client(self, connection: ServerConnection) -> None:
        self._connections += 1
        with contextlib.suppress(ConnectionClosed):
            assert connection.request is not None
            if connection.request.path.partition("?")[0] != self._options.path:
                await connection.close(WRONG_PATH, "wrong path")
            elif await self._authorize(connection, connection.request):
                await self._attend(connection)

    async def _authorize(self, connection: ServerConnection, request: Request) -> bool:
        if "Authorization" not in request.headers:  # else it was checked before the handshake
            try:
                message = await asyncio.wait_for(connection.recv(), self._options.auth_limit_s)
            except TimeoutError:
                self._note_refused(connection, "no credentials in time")
                await connection.close(POLICY_VIOLATION, "authorization timed out")
                return False
            if not self._credentials.match_message(message):
                self._note_refused(connection, "wrong credentials")
                await connection.send('{"status":"error","message":"wrong user or key"}')
                await connection.close(POLICY_VIOLATION, "wrong user or key")
                return False
        await connection.send('{"status":"authenticated"}')
        return True

    async def _attend(self, connection: ServerConnection) -> None:
        client = Client(connection, self._options.client_queue)
        self._clients.add(client)
        writer = asyncio.ensure_future(client.write())
        try:
            async for message in connection:
                if message == "ping":
                    client.offer("pong")
        finally:
            self._clients.discard(client)
            writer.cancel()

    def _note_refused(self, connection: ServerConnection, reason: str) -> None:
        self._refused += 1
        log.warning("websocket_refused", peer=_peer(connection), reason=reason)

    def _tls_errors(self) -> list[str]:
        if (self._options.tls_cert is None) != (self._options.tls_key is None):
            return ["WEBSOCKET_TLS_CERT, WEBSOCKET_TLS_KEY: both or neither"]
        try:
            self._tls_context()
        except OSError as error:  # ssl.SSLError is one
            return [f"WEBSOCKET_TLS_CERT, WEBSOCKET_TLS_KEY: cannot be loaded: {error}"]
        return []

    def _tls_context(self) -> ssl.SSLContext | None:
        if self._options.tls_cert is None:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._options.tls_cert, self._options.tls_key)
        return context


def _peer(connection: ServerConnection) -> str:
    address = connection.remote_address
    return f"{address[0]}:{address[1]}" if address else "unknown"
