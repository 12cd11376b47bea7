"""The open sockets and their bound: half-open connections and clients that do not log in must not exhaust it.

The event loop's thread. The total is bounded, and so are the descriptors taken; a new connection at the bound takes the
place of one that is kept without a request, or of the oldest unauthenticated one, but of none that is being answered.
One address holds only so many of those. While requests for HTTP come, a new one waits in the kernel for its place.
"""

import asyncio
import contextlib
import errno
import os
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from websockets.asyncio.server import ServerConnection

from consumers.web.login_throttle import network_of

UNAUTHENTICATED_PER_ADDRESS = 200  # sockets of one address without a login; 10 seconds each at most
LISTEN_MOST = 2_000  # connections that wait in the kernel to be accepted; it takes its own bound where that is less
NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE)
ABORTED_MOST = 16  # descriptors beyond the bound, until those that were aborted are closed
REQUEST_S = 3.0  # within which an honest client sends its request, however busy it is
REQUESTS_S = 10.0  # after the last request for HTTP, what is silent goes at once
FULL_PAUSE_S = 0.02  # while all places are taken by requests
PAUSE_S = 0.5  # after an accept for which there was none: asyncio would try 100 times, and log each


class AcceptedSocket(socket.socket):
    """A client's socket, with a call when it is closed."""

    number = -1  # its descriptor, also after the end
    network = ""
    accepted_s = 0.0  # monotonic
    is_counted = False  # as one of its address without a login
    transport: asyncio.BaseTransport | None = None  # with TLS, after the handshake
    on_close: Callable[["AcceptedSocket"], object] | None = None

    def close(self) -> None:
        """Close it, and call `on_close` once."""
        super().close()
        on_close, self.on_close = self.on_close, None
        if on_close:
            on_close(self)

    def abort(self) -> None:
        """End the connection at once; its server task notices, and closes it."""
        if isinstance(self.transport, asyncio.Transport):
            self.transport.abort()
        else:
            with contextlib.suppress(OSError):
                self.shutdown(socket.SHUT_RDWR)


class Sockets:
    """Counts sockets from the moment they are accepted, before TLS. `descriptors()` bounds their numbers.

    `per_address`: the most of one address without a login. `is_local`: those that have asked something do not count for
    that, for all clients of a machine have one address, and need no login.
    """

    def __init__(
        self,
        limit: int,
        descriptors: Callable[[], int] = lambda: sys.maxsize,
        per_address: int = UNAUTHENTICATED_PER_ADDRESS,
        *,
        is_local: bool = False,
    ) -> None:
        self._limit, self._descriptors, self._most, self._is_local = limit, descriptors, per_address, is_local
        self._open: dict[int, AcceptedSocket] = {}  # by descriptor
        self._unauthenticated: dict[AcceptedSocket, None] = {}  # oldest first
        self._asking: set[AcceptedSocket] = set()  # of those, whose request is being answered
        self._idle: dict[str, dict[AcceptedSocket, None]] = {}  # by address, those that were answered; oldest first
        self._per_address: Counter[str] = Counter()
        self._authenticated: set[AcceptedSocket] = set()
        self._server: asyncio.Server | None = None
        self._is_paused = False
        self._requested_s = float("-inf")  # when the last request for HTTP came
        self.aborted: set[AcceptedSocket] = set()  # and not closed yet
        self.turned_away = 0

    def __len__(self) -> int:
        return len(self._unauthenticated) + len(self._authenticated)

    @property
    def is_clearing(self) -> bool:
        """Whether aborted sockets must be closed first, which takes an iteration or two of the loop."""
        return len(self.aborted) >= ABORTED_MOST

    def guard(self, server: asyncio.Server) -> None:
        """Make a server that does not serve yet accept through `admit`."""
        self._server = server
        listening = server._sockets  # type: ignore[attr-defined]  # the one private name (CPython 3.11 to 3.13)
        listening[:] = [Listener(self, each) for each in listening]

    def admit(self, accepted: AcceptedSocket, address: str) -> bool:
        """Count a new socket; False where the caller is to close it. May abort an unauthenticated one for it."""
        network = network_of(address)
        has_place = self._per_address[network] < self._most or self._end_idle(network)
        if not has_place or not self._make_room(accepted.fileno()):
            self.turned_away += 1
            return False
        accepted.number, accepted.network, accepted.on_close = accepted.fileno(), network, self._closed
        accepted.accepted_s = time.monotonic()
        self._open[accepted.number] = accepted
        self._unauthenticated[accepted] = None
        accepted.is_counted = True
        self._per_address[network] += 1
        return True

    def serve(self, descriptor: int, transport: asyncio.BaseTransport) -> None:
        """Record the transport of a socket."""
        self._open[descriptor].transport = transport

    def asks(self, descriptor: int) -> None:
        """Record that a socket's client has asked something: it keeps its place until `answered`."""
        self._requested_s = time.monotonic()
        if accepted := self._open.get(descriptor):
            self._not_idle(accepted)
            self._asking.add(accepted)
            if self._is_local:
                self._uncount(accepted)

    def answered(self, descriptor: int) -> None:
        """Record that a socket's client has its answer, and the socket is kept for another request."""
        if (accepted := self._open.get(descriptor)) and accepted in self._asking:
            self._asking.discard(accepted)
            self._idle.setdefault(accepted.network, {})[accepted] = None

    def authenticated(self, descriptor: int) -> None:
        """Record that a socket's client has logged in."""
        accepted = self._open.get(descriptor)
        if accepted and self._pop_unauthenticated(accepted):
            self._authenticated.add(accepted)

    def is_full_for_now(self, listening: socket.socket) -> bool:
        """Whether there is no room, but will be in a moment, as requests for HTTP are being sent and answered."""
        now_s = time.monotonic()
        if self._idle or now_s - self._requested_s > REQUESTS_S:
            return False
        is_crowded = self._is_local and max(self._per_address.values(), default=0) >= self._most
        if not is_crowded and len(self) < self._limit and _next_descriptor(listening) < self._descriptors():
            return False
        oldest = next((each for each in self._unauthenticated if each not in self._asking), None)
        return now_s - oldest.accepted_s < REQUEST_S if oldest else bool(self._asking)

    def pause(self) -> None:
        """Leave new connections in the kernel for a moment."""
        loop, server = asyncio.get_running_loop(), self._server
        if self._is_paused or server is None:
            return
        self._is_paused = True
        for listening in server.sockets:
            loop.remove_reader(listening.fileno())
        loop.call_later(FULL_PAUSE_S, self._resume, server)

    def _resume(self, server: asyncio.Server) -> None:
        self._is_paused = False
        if server.is_serving():
            server._serving = False  # type: ignore[attr-defined]  # private, as `_start_serving` is (CPython 3.11 to 3.14)
            server._start_serving()  # type: ignore[attr-defined]

    def abort(self) -> None:
        """Abort every socket that is left."""
        for accepted in [*self._unauthenticated, *self._authenticated]:
            accepted.abort()

    def _closed(self, accepted: AcceptedSocket) -> None:
        self._pop_unauthenticated(accepted)
        self._authenticated.discard(accepted)
        self.aborted.discard(accepted)
        del self._open[accepted.number]

    def _make_room(self, descriptor: int) -> bool:
        """Return whether there is room, aborting a socket for it where necessary."""
        if len(self) < self._limit and descriptor < self._descriptors():
            return True
        idle = next((next(iter(each)) for each in self._idle.values()), None)
        oldest = idle or next((each for each in self._unauthenticated if each not in self._asking), None)
        if oldest is None or self.is_clearing:
            return False
        self._end(oldest)
        self.turned_away += oldest is not idle
        return True

    def _end_idle(self, network: str) -> bool:
        """Make room for another socket of an address: where one of its own is idle, that goes."""
        if network not in self._idle or self.is_clearing:
            return False
        self._end(next(iter(self._idle[network])))
        return True

    def _end(self, accepted: AcceptedSocket) -> None:
        self._pop_unauthenticated(accepted)
        self.aborted.add(accepted)
        accepted.abort()

    def _not_idle(self, accepted: AcceptedSocket) -> None:
        idle = self._idle.get(accepted.network, {})
        idle.pop(accepted, None)
        if not idle:
            self._idle.pop(accepted.network, None)

    def _pop_unauthenticated(self, accepted: AcceptedSocket) -> bool:
        if accepted not in self._unauthenticated:
            return False
        del self._unauthenticated[accepted]
        self._asking.discard(accepted)
        self._not_idle(accepted)
        self._uncount(accepted)
        return True

    def _uncount(self, accepted: AcceptedSocket) -> None:
        """Take a socket out of the count of its address."""
        if accepted.is_counted:
            accepted.is_counted = False
            self._per_address[accepted.network] -= 1
            if not self._per_address[accepted.network]:
                del self._per_address[accepted.network]


def _next_descriptor(listening: socket.socket) -> int:
    """The number that the next descriptor will have; sys.maxsize where there is none."""
    try:
        number = os.dup(listening.fileno())
    except OSError:
        return sys.maxsize
    os.close(number)
    return number


class Listener(socket.socket):
    """A listening socket that replaces asyncio's and accepts only what `sockets` admit.

    Out of descriptors, it accepts by the spare one it keeps, and closes the connection: else that would wait in the
    kernel, and the event loop would spin on it.
    """

    def __init__(self, sockets: Sockets, listening: socket.socket) -> None:
        super().__init__(listening.family, listening.type, listening.proto, fileno=listening.detach())
        self.setblocking(False)
        self.sockets = sockets
        self._spare: int | None = os.dup(self.fileno())
        self._paused_until_s = 0.0

    def accept(self) -> tuple[AcceptedSocket, Any]:
        """Accept the next one; raises BlockingIOError where there is none for now, or it has to wait in the kernel."""
        if time.monotonic() < self._paused_until_s or self.sockets.is_clearing:
            raise BlockingIOError
        if self.sockets.is_full_for_now(self):
            self.sockets.pause()
            raise BlockingIOError
        try:
            accepted, address = self._accept_one()
        except OSError as error:
            if error.errno not in NO_DESCRIPTOR:
                raise
            self._turn_away(error)
            raise BlockingIOError from error
        if self.sockets.admit(accepted, str(address[0])):
            return accepted, address
        accepted.close()
        raise BlockingIOError  # one at a time: the loop has other tasks

    def listen(self, _backlog: int = 0, /) -> None:
        """Let more connections wait in the kernel than asyncio does: beyond that they come a second later, or three."""
        super().listen(LISTEN_MOST)

    def close(self) -> None:
        """Close the listener and its spare descriptor."""
        super().close()
        self._close_spare()

    def _accept_one(self) -> tuple[AcceptedSocket, Any]:
        descriptor, address = self._accept()  # type: ignore[attr-defined]  # as socket.accept does
        accepted = AcceptedSocket(self.family, self.type, self.proto, fileno=descriptor)
        return accepted, address

    def _turn_away(self, error: OSError) -> None:
        """Accept and close the next one by the spare descriptor; without it, raise for asyncio, which pauses 1 s."""
        if self._spare is None:
            self._paused_until_s = time.monotonic() + PAUSE_S
            self._open_spare()
            raise error
        self._close_spare()
        with contextlib.suppress(OSError):
            self._accept_one()[0].close()
            self.sockets.turned_away += 1
        self._open_spare()

    def _open_spare(self) -> None:
        with contextlib.suppress(OSError):
            self._spare = os.dup(self.fileno())

    def _close_spare(self) -> None:
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None


class GuardedConnection(ServerConnection):
    """websockets' connection (17.4), which reports its congestion to `on_congestion`."""

    on_congestion: Callable[[bool], object] | None = None
    address = "unknown"
    descriptor = -1

    def pause_writing(self) -> None:
        """Report that the transport's buffer is above its high-water mark."""
        super().pause_writing()
        if self.on_congestion:
            self.on_congestion(True)

    def resume_writing(self) -> None:
        """Report that the transport's buffer has room again."""
        super().resume_writing()
        if self.on_congestion:
            self.on_congestion(False)
