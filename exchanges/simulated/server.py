"""The WebSocket port and the loop that makes the market move.

One asyncio event loop does everything but REST's sockets. The `websockets` library does handshake, reading, pings and
closing; market data is written as ready frames, many per write, behind its back.
"""

import asyncio
import ssl
import time
import uuid
from collections import deque
from collections.abc import Callable
from http import HTTPStatus

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.protocol import State

from .bybit.topics import CATEGORIES
from .hub import Hub, Session
from .rest import reset

PATHS = {f"/v5/public/{category}": category for category in CATEGORIES}
PATHS |= {"/v5/private": "private", "/v5/trade": "trade"}
CONNECT_WINDOW_S = 300.0  # Bybit counts new connections over five minutes
MAX_REQUEST_BYTES = 1 << 17  # a subscribe frame of 21,000 characters fits many times
FLOOD_HIGH_BYTES = 1 << 20  # a flood waits while a client has this much unread
IDLE_CODE = 1000
MAX_CONTROL_BACKLOG = 64  # client messages read ahead of being answered

Handle = Callable[[Session, str | bytes], None]  # answers one message of a client


class Connection(ServerConnection):
    """One client's socket, with its `session` in the hub."""

    session: Session | None = None
    last_activity_s = 0.0
    stalled_until_s = 0.0

    def data_received(self, data: bytes) -> None:
        """Record that the client is alive, which any byte proves."""
        self.last_activity_s = time.monotonic()
        super().data_received(data)

    @property
    def unread_bytes(self) -> int:
        """Bytes written that the client has not read yet."""
        return self.transport.get_write_buffer_size()

    def flush(self, now_s: float) -> None:
        """Write all waiting frames in one call."""
        session = self.session
        if session is None or not session.pending or self.stalled_until_s > now_s:
            return
        if self.state is State.OPEN:
            self.transport.write(b"".join(session.pending))
            self.last_activity_s = now_s
        session.pending.clear()

    def stall(self, until_s: float, keeps: bool) -> None:
        """Stop reading and writing: not even a ping is answered. With `keeps` the messages follow afterwards."""
        self.stalled_until_s = until_s
        self.transport.pause_reading()
        if self.session is not None:
            self.session.is_muted = not keeps

    def end_stall(self) -> None:
        """End a stall: read and write again."""
        self.stalled_until_s = 0.0
        self.transport.resume_reading()
        if self.session is not None:
            self.session.is_muted = False


class WsServer:
    """Accepts connections, answers control frames, flushes. Event loop thread only."""

    def __init__(
        self, hub: Hub, handle: Handle, idle_timeout_s: float, connect_limit: int, ban_s: float, max_buffer: int
    ) -> None:
        self._hub, self._handle = hub, handle
        self._idle_timeout_s, self._connect_limit, self._ban_s = idle_timeout_s, connect_limit, ban_s
        self._max_buffer = max_buffer
        self._connect_times: deque[float] = deque()
        self.banned_until_s = self.out_until_s = 0.0
        self.connections: set[Connection] = set()
        self._server: Server | None = None

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Listen; returns the port. Compression is never agreed on, keepalive pings are the client's business."""
        self._server = await serve(
            self._serve_client,
            host,
            port,
            process_request=self._admit,
            create_connection=Connection,
            compression=None,
            ping_interval=None,
            max_size=MAX_REQUEST_BYTES,
            max_queue=MAX_CONTROL_BACKLOG,
            close_timeout=2,
            reuse_address=True,
            ssl=tls,
        )
        port_taken: int = next(iter(self._server.sockets)).getsockname()[1]
        return port_taken

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        """Admit a handshake: 403 while banned or over the connect limit, 404 on an unknown path, none in an outage."""
        now_s = time.monotonic()
        if now_s < self.out_until_s:
            self._hub.counters["handshakes_refused"] += 1
            connection.transport.abort()
            return None
        times = self._connect_times
        while times and times[0] < now_s - CONNECT_WINDOW_S:
            times.popleft()
        times.append(now_s)
        if len(times) > self._connect_limit and now_s >= self.banned_until_s:
            self.banned_until_s = now_s + self._ban_s
        if now_s < self.banned_until_s:
            self._hub.counters["handshakes_refused"] += 1
            return connection.respond(HTTPStatus.FORBIDDEN, "access too frequent\n")
        if request.path.partition("?")[0] not in PATHS:
            self._hub.counters["handshakes_refused"] += 1
            return connection.respond(HTTPStatus.NOT_FOUND, "no such stream\n")
        return None

    def abort(self) -> None:
        """Close every connection now, without waiting for a client that does not read."""
        for connection in list(self.connections):
            connection.transport.abort()

    def lift_ban(self) -> None:
        """Lift a ban and drop the connections that led to it."""
        self.banned_until_s = 0.0
        self._connect_times.clear()

    async def _serve_client(self, connection: ServerConnection) -> None:
        assert isinstance(connection, Connection)
        assert connection.request is not None
        category = PATHS[connection.request.path.partition("?")[0]]
        connection.last_activity_s = time.monotonic()
        connection.session = session = self._hub.open(category, str(uuid.uuid4()))
        self.connections.add(connection)
        try:
            async for message in connection:
                self._handle(session, message)
                connection.flush(time.monotonic())
        except ConnectionClosed:
            pass
        finally:
            self.connections.discard(connection)
            self._hub.close(session)

    def flush(self) -> None:
        """Write the waiting frames of every session; a client that reads too slowly is disconnected."""
        now_s = time.monotonic()
        for connection in list(self.connections):
            connection.flush(now_s)
            stalled_bytes = 0
            if connection.stalled_until_s and connection.session is not None:
                stalled_bytes = sum(map(len, connection.session.pending))
            if connection.unread_bytes + stalled_bytes > self._max_buffer:
                self._hub.counters["slow_dropped"] += 1
                reset(connection.transport)

    @property
    def is_congested(self) -> bool:
        """Whether a client has so much unread that a flood must wait for it."""
        return any(
            connection.unread_bytes > FLOOD_HIGH_BYTES or connection.stalled_until_s for connection in self.connections
        )

    def tend(self) -> None:
        """End stalls that are over and connections that were idle too long."""
        now_s = time.monotonic()
        for connection in list(self.connections):
            if connection.stalled_until_s and connection.stalled_until_s <= now_s:
                connection.end_stall()
            elif now_s - connection.last_activity_s > self._idle_timeout_s:
                self._hub.counters["idle_closed"] += 1
                close_soon(connection, IDLE_CODE)


_closing: set[asyncio.Task[None]] = set()


def close_soon(connection: Connection, code: int) -> None:
    """Start a clean closing handshake without waiting for it."""
    task = asyncio.get_running_loop().create_task(connection.close(code))
    _closing.add(task)
    task.add_done_callback(_closing.discard)
