"""The WebSocket port and the loop that makes the market move.

One asyncio event loop does everything but REST's sockets. The `websockets` library does handshake, reading, pings and
closing; market data is written as ready frames, many per write, behind its back.
"""

import asyncio
import ssl
import time
import uuid
from collections import deque
from http import HTTPStatus
from typing import Protocol

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import Event, State

from .hub import Hub, Session
from .limits import SocketLimits, Window
from .rest import reset

FLOOD_HIGH_BYTES = 1 << 20  # a flood waits while a client has this much unread
MAX_CONTROL_BACKLOG = 64  # client messages read ahead of being answered
PING_FRAME = b"\x89\x00"


class Answers(Protocol):
    """Who answers clients: the service of a dialect, late where that was asked for."""

    def channel(self, path: str) -> str | None:
        """The name of a path; None where there is none."""

    def opened(self, session: Session, target: str) -> None:
        """A connection was accepted: path and query of its URL."""

    def handle(self, session: Session, message: str | bytes) -> None:
        """A client's message."""

    def notice(self, session: Session) -> str:
        """What announces the end of a connection; "" nothing."""

    def ping(self, session: Session) -> str:
        """The text of a ping that is a message; "" for a ping frame."""

    def refusal(self, target: str) -> tuple[int, str] | None:
        """Status and text that refuse a handshake; None for none."""


class Connection(ServerConnection):
    """One client's socket, with its `session` in the hub."""

    session: Session | None = None
    opened_s = last_activity_s = last_pong_s = last_ping_s = bare_since_s = 0.0
    asked_s = 0.0  # when the first of the pings was sent that have no answer yet
    stalled_until_s = 0.0
    ends_s = 0.0  # when the exchange ends it, 0 never
    is_announced = False
    pings_keep_alive = data_keep_alive = True
    inbound: Window | None = None  # its messages of the last second, where they are limited

    def data_received(self, data: bytes) -> None:
        """Record that the client is alive, which any byte proves on most exchanges."""
        if self.pings_keep_alive:
            self.last_activity_s = time.monotonic()
        super().data_received(data)

    def process_event(self, event: Event) -> None:
        """Count a client's frame, whatever it is."""
        if isinstance(event, Frame):
            now_s = time.monotonic()
            if self.inbound is not None:
                self.inbound.add(now_s)
            if event.opcode is Opcode.PONG:
                self.last_pong_s = now_s
            elif event.opcode is not Opcode.PING:
                self.last_activity_s = now_s
        super().process_event(event)

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
            if self.data_keep_alive:
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

    def __init__(self, hub: Hub, answers: Answers, limits: SocketLimits, max_buffer: int) -> None:
        self._hub, self._answers, self.limits, self._max_buffer = hub, answers, limits, max_buffer
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
            max_size=self.limits.max_message_bytes,
            max_queue=MAX_CONTROL_BACKLOG,
            close_timeout=2,
            reuse_address=True,
            ssl=tls,
        )
        port_taken: int = next(iter(self._server.sockets)).getsockname()[1]
        return port_taken

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        """Admit a handshake: refused while banned or over the limit, 404 on an unknown path, none in an outage."""
        now_s = time.monotonic()
        if now_s < self.out_until_s:
            self._hub.counters["handshakes_refused"] += 1
            connection.transport.abort()
            return None
        times = self._connect_times
        while times and times[0] < now_s - self.limits.connects_window_s:
            times.popleft()
        times.append(now_s)
        if len(times) > self.limits.connects and now_s >= self.banned_until_s:
            self.banned_until_s = now_s + self.limits.ban_s
        if now_s < self.banned_until_s:
            self._hub.counters["handshakes_refused"] += 1
            return connection.respond(HTTPStatus(self.limits.refused_status), "access too frequent\n")
        refusal = self._answers.refusal(request.path)
        if self._answers.channel(request.path.partition("?")[0]) is None:
            refusal = HTTPStatus.NOT_FOUND, "no such stream\n"
        elif self.limits.open_most and len(self.connections) >= self.limits.open_most:
            refusal = self.limits.refused_status, "too many connections\n"
        if refusal is None:
            return None
        self._hub.counters["handshakes_refused"] += 1
        return connection.respond(HTTPStatus(refusal[0]), refusal[1])

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
        target = connection.request.path
        channel = self._answers.channel(target.partition("?")[0])
        assert channel is not None  # else the handshake was refused
        limits = self.limits
        connection.opened_s = connection.last_activity_s = connection.last_ping_s = now_s = time.monotonic()
        connection.last_pong_s = connection.bare_since_s = now_s
        connection.pings_keep_alive, connection.data_keep_alive = limits.pings_keep_alive, limits.data_keep_alive
        connection.ends_s = now_s + limits.life_s if limits.life_s else 0.0
        connection.inbound = Window(limits.messages_window_s) if limits.messages_per_s else None
        connection.session = session = self._hub.open(channel, str(uuid.uuid4()))
        session.headers = {name.lower(): value for name, value in connection.request.headers.raw_items()}
        self.connections.add(connection)
        self._answers.opened(session, target)
        connection.flush(now_s)
        try:
            async for message in connection:
                self._answers.handle(session, message)
                connection.flush(time.monotonic())
                self._end_where_due(connection, time.monotonic())
        except ConnectionClosed:
            pass
        finally:
            self.forget(connection)

    def forget(self, connection: Connection) -> None:
        """Remove a connection, its session and its subscriptions: nothing is sent to it any more."""
        self.connections.discard(connection)
        if connection.session is not None:
            self._hub.close(connection.session)

    def flush(self) -> None:
        """Write the waiting frames of every session; a client that reads too slowly is disconnected."""
        now_s = time.monotonic()
        for connection in list(self.connections):
            connection.flush(now_s)
            if connection.session is not None and connection.session.ending is not None:
                self._end_where_due(connection, now_s)
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
        """End stalls that are over, and connections that are idle, dead or old; announce what ends soon; ping."""
        now_s, limits = time.monotonic(), self.limits
        for connection in list(self.connections):
            if connection.stalled_until_s and connection.stalled_until_s <= now_s:
                connection.end_stall()
            elif now_s - connection.last_activity_s > limits.idle_s:
                self._hub.counters["idle_closed"] += 1
                close_soon(connection, limits.idle_code)
            elif connection.ends_s and not connection.stalled_until_s:
                self._grow_old(connection, now_s)
            if connection.session is not None:
                self._ping(connection, connection.session, now_s)
                self._end_bare(connection, connection.session, now_s)
            self._end_where_due(connection, now_s)  # pings alone may be too many

    def _ping(self, connection: Connection, session: Session, now_s: float) -> None:
        limits = session.limits or self.limits
        if not limits.ping_every_s:
            return
        if session.is_alive:
            session.is_alive, connection.last_pong_s = False, now_s
        is_answered = connection.asked_s <= connection.last_pong_s
        if not is_answered and now_s - connection.asked_s > limits.pong_within_s:
            self._hub.counters["pongless_closed"] += 1
            reset(connection.transport)
        elif now_s - connection.last_ping_s >= limits.ping_every_s:
            connection.asked_s = now_s if is_answered else connection.asked_s
            connection.last_ping_s, text = now_s, self._answers.ping(session)
            session.pending.append(session.wrap(text.encode()) if text else PING_FRAME)

    def _end_bare(self, connection: Connection, session: Session, now_s: float) -> None:
        if session.topics or session.private_topics:
            connection.bare_since_s = now_s
        elif self.limits.bare_s and now_s - connection.bare_since_s > self.limits.bare_s:
            self._hub.counters["bare_closed"] += 1
            connection.bare_since_s = now_s
            close_soon(connection, self.limits.bare_code, "no subscription")

    def _grow_old(self, connection: Connection, now_s: float) -> None:
        left_s = connection.ends_s - now_s
        if left_s <= 0:
            self._hub.counters["life_ended"] += 1
            close_soon(connection, self.limits.life_code)
        elif not connection.is_announced and left_s <= self.limits.notice_s:
            self.announce(connection)

    def announce(self, connection: Connection) -> None:
        """Tell a client, in the exchange's words, that its connection ends."""
        assert connection.session is not None
        connection.is_announced = True
        if text := self._answers.notice(connection.session):
            self._hub.counters["notices"] += 1
            connection.session.push_text(text)

    def _end_where_due(self, connection: Connection, now_s: float) -> None:
        """End a connection that its dialect ended, or whose client sends too much."""
        session = connection.session
        limits = self.limits if session is None or session.limits is None else session.limits
        if session is not None and session.ending is not None:
            connection.flush(now_s)
            close_soon(connection, *session.ending)
            session.ending = None
        elif connection.inbound is not None and connection.inbound.most > limits.messages_per_s:
            connection.inbound = None  # it ends once
            self._hub.counters["too_many_messages"] += 1
            close_soon(connection, limits.messages_code, "Too many requests")


_closing: set[asyncio.Task[None]] = set()


def close_soon(connection: Connection, code: int, reason: str = "") -> None:
    """Start a clean closing handshake without waiting for it; close without one where the code is 1006."""
    if code == CloseCode.ABNORMAL_CLOSURE:
        connection.transport.close()
        return
    task = asyncio.get_running_loop().create_task(connection.close(code, reason))
    _closing.add(task)
    task.add_done_callback(_closing.discard)
