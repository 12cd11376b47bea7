"""The sockets that are open, and how many may be: half-open ones and those that do not log in must not fill the house.

The event loop's thread. The total is bounded, and so are the descriptors taken; a newcomer to a full house takes the
place of the socket that has been here for longest without being let in, and one address holds only so many of those.
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

STRANGERS_PER_ADDRESS = 200  # sockets of one address that are not let in yet; 10 seconds each at most
NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE)
LEAVING_MOST = 16  # descriptors beyond the bound, until those that were cut off are closed
PAUSE_S = 0.5  # after an accept for which there was none: asyncio would try 100 times, and log each

SEND_BUFFER_BYTES = (
    256 * 1024
)  # in the kernel, per client (Linux doubles it); left alone it takes 4 MB for each slow one


class AcceptedSocket(socket.socket):
    """A client's socket, which tells when it is closed."""

    number = -1  # its descriptor, also after the end
    network = ""
    transport: asyncio.BaseTransport | None = None  # once there is a WebSocket on it: with TLS, after the handshake
    on_close: Callable[["AcceptedSocket"], object] | None = None

    def close(self) -> None:
        """Close it, and tell once."""
        super().close()
        on_close, self.on_close = self.on_close, None
        if on_close:
            on_close(self)

    def cut_off(self) -> None:
        """End the connection at once; what serves it sees that, and closes it."""
        if isinstance(self.transport, asyncio.Transport):
            self.transport.abort()
        else:
            with contextlib.suppress(OSError):
                self.shutdown(socket.SHUT_RDWR)


class Sockets:
    """Counts sockets from the moment they are accepted, before TLS. `descriptors()` bounds their numbers."""

    def __init__(self, limit: int, descriptors: Callable[[], int] = lambda: sys.maxsize) -> None:
        self._limit, self._descriptors = limit, descriptors
        self._open: dict[int, AcceptedSocket] = {}  # by descriptor
        self._strangers: dict[AcceptedSocket, None] = {}  # oldest first
        self._per_address: Counter[str] = Counter()
        self._known: set[AcceptedSocket] = set()
        self._leaving: set[AcceptedSocket] = set()  # cut off, and not closed yet
        self.turned_away = 0

    def __len__(self) -> int:
        return len(self._strangers) + len(self._known)

    @property
    def is_clearing(self) -> bool:
        """Whether those that were cut off must be closed first, which takes a turn or two of the loop."""
        return len(self._leaving) >= LEAVING_MOST

    def guard(self, server: asyncio.Server) -> None:
        """Have a server that does not serve yet accept through `admit`."""
        listening = server._sockets  # type: ignore[attr-defined]  # the one private name (CPython 3.11 to 3.13)
        listening[:] = [Listener(self, each) for each in listening]

    def admit(self, accepted: AcceptedSocket, address: str) -> bool:
        """Count a new socket, or refuse it, which is the caller's to close then; may cut off another for its sake."""
        network = network_of(address)
        if self._per_address[network] >= STRANGERS_PER_ADDRESS or not self._make_room(accepted.fileno()):
            self.turned_away += 1
            return False
        accepted.number, accepted.network, accepted.on_close = accepted.fileno(), network, self._closed
        self._open[accepted.number] = accepted
        self._strangers[accepted] = None
        self._per_address[network] += 1
        return True

    def serve(self, descriptor: int, transport: asyncio.BaseTransport) -> None:
        """There is a WebSocket on it."""
        self._open[descriptor].transport = transport

    def let_in(self, descriptor: int) -> None:
        """It is no stranger any more."""
        accepted = self._open.get(descriptor)
        if accepted and self._forget_stranger(accepted):
            self._known.add(accepted)

    def abort(self) -> None:
        """Cut off whoever is left."""
        for accepted in [*self._strangers, *self._known]:
            accepted.cut_off()

    def _closed(self, accepted: AcceptedSocket) -> None:
        self._forget_stranger(accepted)
        self._known.discard(accepted)
        self._leaving.discard(accepted)
        del self._open[accepted.number]

    def _make_room(self, descriptor: int) -> bool:
        """Whether a newcomer has a place, or the oldest stranger's, whose descriptor is free in a moment."""
        if len(self) < self._limit and descriptor < self._descriptors():
            return True
        oldest = next(iter(self._strangers), None)
        if oldest is None or self.is_clearing:
            return False
        self._forget_stranger(oldest)
        self._leaving.add(oldest)
        oldest.cut_off()
        self.turned_away += 1
        return True

    def _forget_stranger(self, accepted: AcceptedSocket) -> bool:
        if accepted not in self._strangers:
            return False
        del self._strangers[accepted]
        self._per_address[accepted.network] -= 1
        if not self._per_address[accepted.network]:
            del self._per_address[accepted.network]
        return True


class Listener(socket.socket):
    """Takes the place of a listening socket of asyncio's, and hands on only what `sockets` admit.

    Without a descriptor for a newcomer it uses the one it keeps aside, to turn the newcomer away: else that would wait
    in the kernel, and the event loop run in circles for it.
    """

    def __init__(self, sockets: Sockets, listening: socket.socket) -> None:
        super().__init__(listening.family, listening.type, listening.proto, fileno=listening.detach())
        self.setblocking(False)
        self._sockets = sockets
        self._aside: int | None = os.dup(self.fileno())
        self._paused_until_s = 0.0

    def accept(self) -> tuple[AcceptedSocket, Any]:
        """Accept the next one; raises BlockingIOError where there is none for now, or it has to wait in the kernel."""
        if time.monotonic() < self._paused_until_s or self._sockets.is_clearing:
            raise BlockingIOError
        try:
            accepted, address = self._accept_one()
        except OSError as error:
            if error.errno not in NO_DESCRIPTOR:
                raise
            self._turn_away(error)
            raise BlockingIOError from error
        if self._sockets.admit(accepted, str(address[0])):
            return accepted, address
        accepted.close()
        raise BlockingIOError  # one at a time: the loop has others to serve

    def close(self) -> None:
        """Close it, and what it keeps aside."""
        super().close()
        self._drop_aside()

    def _accept_one(self) -> tuple[AcceptedSocket, Any]:
        descriptor, address = self._accept()  # type: ignore[attr-defined]  # as socket.accept does
        accepted = AcceptedSocket(self.family, self.type, self.proto, fileno=descriptor)
        return accepted, address

    def _turn_away(self, error: OSError) -> None:
        """Take the next one by the descriptor kept aside; without one, raise for asyncio, which pauses for a second."""
        if self._aside is None:
            self._paused_until_s = time.monotonic() + PAUSE_S
            self._keep_aside()
            raise error
        self._drop_aside()
        with contextlib.suppress(OSError):
            self._accept_one()[0].close()
            self._sockets.turned_away += 1
        self._keep_aside()

    def _keep_aside(self) -> None:
        with contextlib.suppress(OSError):
            self._aside = os.dup(self.fileno())

    def _drop_aside(self) -> None:
        if self._aside is not None:
            os.close(self._aside)
            self._aside = None


class GuardedConnection(ServerConnection):
    """websockets' connection (17.4), which tells when it opens, is full and has room again."""

    sockets: Sockets
    on_congestion: Callable[[bool], Any] | None = None
    address = "unknown"
    descriptor = -1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Make itself known as soon as there is one."""
        peer, sock = transport.get_extra_info("peername"), transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
            self.descriptor = sock.fileno()
            self.sockets.serve(self.descriptor, transport)
        if isinstance(peer, tuple):
            self.address = str(peer[0])
        super().connection_made(transport)

    def pause_writing(self) -> None:
        """The transport's buffer is above its mark."""
        super().pause_writing()
        if self.on_congestion:
            self.on_congestion(True)

    def resume_writing(self) -> None:
        """The transport's buffer has room."""
        super().resume_writing()
        if self.on_congestion:
            self.on_congestion(False)
