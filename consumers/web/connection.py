"""A client's connection: HTTP requests one after another, or a WebSocket once one asks for it.

The event loop's thread. websockets' own connection is made only for a WebSocket, for its handshake costs more than an
answer. Bounded: a request's head, the time for it and its answer, and how long a connection is kept without one.
"""

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Protocol

from websockets.http11 import Request, Response
from websockets.streams import StreamReader

from consumers.web.http import HttpAnswer
from consumers.web.sockets import GuardedConnection, Sockets

SEND_BUFFER_BYTES = 256 * 1024  # in the kernel, per client (Linux doubles it); its default is 4 MB for each slow one
LINE_BYTES, HEAD_BYTES = 8_000, 16_384  # of a request's first line, and of all before its body
ANSWERED_S = 10.0  # for a request's head, its answer, and the client to take that
KEPT_S = 60.0  # a connection without a request is closed after it; Bybit's own HTTP servers keep them for a minute
REFUSED_CLOSE_S = 1.0  # after a refusal, for its sender to read it

BODY_METHODS = (b"POST ", b"PUT ", b"PATCH ")
BODY = re.compile(rb"(?i)(^|\n)(transfer-encoding:|content-length:[ \t]*0*[1-9])")
END = b"\r\n\r\n"


class HttpServer(Protocol):
    """The port of a connection to the server. `refuse(method, path, status, sentence)` writes a refusal."""

    @property
    def sockets(self) -> Sockets:
        """Where the connection is counted."""

    def answer(self, connection: "ClientConnection", request: Request, /) -> Awaitable[Response]:
        """Answer a request for HTTP; never raises."""

    def refuse(self, method: str, path: str, status: int, text: str, /) -> HttpAnswer:
        """Refuse a request that is not read to its end."""

    def opened(self, connection: "ClientConnection", /) -> object:
        """Take note of a connection, until `closed`."""

    def closed(self, connection: "ClientConnection", /) -> object:
        """Forget a connection, which has ended or is a WebSocket now."""


class ClientConnection(asyncio.Protocol):
    """The asyncio protocol of one client; `upgrade()` makes websockets' in its place."""

    def __init__(
        self, server: HttpServer, is_upgrade: Callable[[Request], bool], upgrade: Callable[[], GuardedConnection]
    ) -> None:
        self._server, self._is_upgrade, self._upgrade = server, is_upgrade, upgrade
        self._loop = asyncio.get_running_loop()
        self.address, self.port, self._descriptor = "unknown", 0, -1
        self._transport: asyncio.Transport | None = None
        self._received = b""  # of requests that are not answered yet
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_congested = self._is_last = self._is_closing = False
        self.lost: asyncio.Future[None] = self._loop.create_future()
        """Done when the connection has ended."""

    # -- asyncio's calls -----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Bound the send buffer, and wait for a request."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        peer, own = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        if isinstance(peer, tuple):
            self.address, self.port = str(peer[0]), int(own[1])
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        self._descriptor = sock.fileno()
        self._server.sockets.serve(self._descriptor, transport)
        self._server.opened(self)
        transport.set_write_buffer_limits(0)
        self._end_after(ANSWERED_S)

    def connection_lost(self, _error: Exception | None) -> None:
        """Forget it, and end the answer that is being made: those of clients that have left would pile up."""
        self._stop_timer()
        if self._task:
            self._task.cancel()
        self._transport = None
        self._server.closed(self)
        if not self.lost.done():
            self.lost.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Take a part of a request, or several."""
        if self._is_last:
            return
        if not self._received and self._task is None and not self._is_congested:
            self._end_after(ANSWERED_S)
        self._received += data
        if self._task is None and not self._is_congested:
            self._next_request()
        if len(self._received) > HEAD_BYTES and self._transport:
            self._transport.pause_reading()

    def pause_writing(self) -> None:
        """Wait for the client to take its answer, before another is made."""
        self._is_congested = True

    def resume_writing(self) -> None:
        """Go on: the client has taken its answer."""
        self._is_congested = False
        if self._task is None and not self._is_last:
            self._go_on()

    @property
    def unsent_bytes(self) -> int:
        """The part of its answer that the client has not taken yet, beside what the kernel holds."""
        return self._transport.get_write_buffer_size() if self._transport else 0

    # -- requests ------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close it once what was asked is answered."""
        self._is_closing = True
        if self._task is None and not self._received and not self._is_last:
            self._finish()

    def _next_request(self) -> None:
        """Answer the next request that is whole, or hand the connection over to a WebSocket."""
        head, end, rest = self._received.partition(END)
        if refusal := self._refusal(head, is_whole=bool(end)):
            self._refuse(refusal)
        elif end:
            try:
                request = parsed(head + end)
            except Exception as error:  # noqa: BLE001 - of the library's parser, which raises a dozen of them
                self._refuse(self._refused(head, HTTPStatus.BAD_REQUEST, f"this is no request: {error}"[:200]))
                return
            if self._is_upgrade(request):
                self._hand_over()
                return
            self._received = rest
            self._server.sockets.asks(self._descriptor)
            self._task = self._loop.create_task(self._answer(request))

    async def _answer(self, request: Request) -> None:
        response = await self._server.answer(self, request)
        self._task = None
        if self._transport is None:
            return
        is_last = self._is_closing or request.protocol != "HTTP/1.1" or _wants_end(request)
        if not is_last:
            response.headers.pop("Connection", None)
            response.headers["Connection"] = "keep-alive"
        if request.method == "HEAD":  # a refusal too: its body would be read as the next answer
            response.body = b""
        self._transport.write(response.serialize())
        if is_last:
            self._finish()
        elif not self._is_congested:
            self._go_on()

    def _go_on(self) -> None:
        """Wait for the next request, which may be there already."""
        if self._is_closing and not self._received:
            self._finish()
            return
        self._server.sockets.answered(self._descriptor)
        self._end_after(ANSWERED_S if self._received else KEPT_S)
        if self._transport and len(self._received) <= HEAD_BYTES:  # else what one sends ahead would be kept here
            self._transport.resume_reading()
        if self._received:
            self._next_request()

    def _finish(self) -> None:
        """Close the connection when everything is sent."""
        self._is_last = True
        if self._transport:
            self._transport.close()

    def _hand_over(self) -> None:
        """Have websockets go on from the beginning of the request."""
        transport, received = self._transport, self._received
        assert transport is not None
        self._received = b""
        self._stop_timer()
        self._server.closed(self)
        connection = self._upgrade()
        connection.address, connection.descriptor = self.address, self._descriptor
        transport.set_protocol(connection)
        connection.connection_made(transport)
        transport.resume_reading()
        connection.data_received(received)

    # -- refusals ------------------------------------------------------------------------------------------

    def _refusal(self, head: bytes, *, is_whole: bool) -> HttpAnswer | None:
        """What refuses a request with a body, or without an end, in the form of its path."""
        line, has_line, headers = head.partition(b"\r\n")
        if len(line) > LINE_BYTES:
            return self._refused(head, HTTPStatus.REQUEST_URI_TOO_LONG, "the address is too long")
        if len(head) > HEAD_BYTES:
            return self._refused(head, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the headers are too long")
        if not (has_line or is_whole):
            return None
        if head.startswith(BODY_METHODS):
            return self._refused(head, HTTPStatus.METHOD_NOT_ALLOWED, "")
        if BODY.search(headers):
            return self._refused(head, HTTPStatus.BAD_REQUEST, "a request has no body here")
        return None

    def _refused(self, head: bytes, status: int, text: str) -> HttpAnswer:
        method, path = (*head[:HEAD_BYTES].partition(b"\r\n")[0].decode("latin-1").split(" ", 2), "", "")[:2]
        return self._server.refuse(method, path.partition("?")[0], status, text)

    def _refuse(self, refusal: HttpAnswer) -> None:
        """Refuse, and close after a moment: closed at once, what its sender still sends resets it."""
        assert self._transport is not None
        self._is_last = True
        self._received = b""
        self._transport.write(refusal.response().serialize())
        self._end_after(REFUSED_CLOSE_S)
        if self._transport.can_write_eof():
            self._transport.write_eof()

    # -- time ----------------------------------------------------------------------------------------------

    def _end_after(self, seconds: float) -> None:
        self._stop_timer()
        self._timer = self._loop.call_later(seconds, self._abort)

    def _abort(self) -> None:
        if self._task:
            self._task.cancel()
        if self._transport:
            self._transport.abort()

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()


def parsed(head: bytes) -> Request:
    """Parse the head of a request as websockets does; raises what that raises."""
    reader = StreamReader()
    reader.feed_data(head)
    parsing = Request.parse(reader.read_line)
    try:
        next(parsing)
    except StopIteration as done:
        request: Any = done.value
        assert isinstance(request, Request)
        return request
    raise ValueError("it does not end")


def _wants_end(request: Request) -> bool:
    return any("close" in value.lower() for value in request.headers.get_all("Connection"))
