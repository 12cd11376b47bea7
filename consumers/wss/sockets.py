"""The sockets that are open, and how many may be: half-open ones and those that do not log in must not fill the house.

The event loop's thread. The total is bounded; a newcomer to a full house takes the place of the socket that has
been here for longest without being let in, and one address holds only so many of those.
"""

import asyncio
import socket
from collections import Counter
from collections.abc import Callable
from typing import Any

from websockets.asyncio.server import ServerConnection

from consumers.wss.door import network_of

STRANGERS_PER_ADDRESS = 200  # sockets of one address that are not let in yet; 10 seconds each at most

SEND_BUFFER_BYTES = (
    256 * 1024
)  # in the kernel, per client (Linux doubles it); left alone it takes 4 MB for each slow one


class Sockets:
    """Counts sockets from the moment they are accepted (with TLS: from the end of its handshake)."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._strangers: dict[GuardedConnection, str] = {}  # oldest first
        self._per_address: Counter[str] = Counter()
        self._known: set[GuardedConnection] = set()
        self.turned_away = 0

    def __len__(self) -> int:
        return len(self._strangers) + len(self._known)

    def opened(self, connection: "GuardedConnection") -> None:
        """Count a new socket, or cut it off; may cut off another in its stead."""
        network = network_of(connection.address)
        if self._per_address[network] >= STRANGERS_PER_ADDRESS or not self._make_room():
            self.turned_away += 1
            connection.transport.abort()
            return
        self._strangers[connection] = network
        self._per_address[network] += 1

    def let_in(self, connection: "GuardedConnection") -> None:
        """It is no stranger any more."""
        if self._forget_stranger(connection):
            self._known.add(connection)

    def closed(self, connection: "GuardedConnection") -> None:
        """Forget it."""
        self._forget_stranger(connection)
        self._known.discard(connection)

    def abort(self) -> None:
        """Cut off whoever is left."""
        for connection in [*self._strangers, *self._known]:
            connection.transport.abort()

    def _make_room(self) -> bool:
        if len(self) < self._limit:
            return True
        oldest = next(iter(self._strangers), None)
        if oldest is None:
            return False
        self.turned_away += 1
        self._forget_stranger(oldest)
        oldest.transport.abort()
        return True

    def _forget_stranger(self, connection: "GuardedConnection") -> bool:
        network = self._strangers.pop(connection, None)
        if network is None:
            return False
        self._per_address[network] -= 1
        if not self._per_address[network]:
            del self._per_address[network]
        return True


class GuardedConnection(ServerConnection):
    """websockets' connection (17.4), which tells when its socket opens, closes, is full and has room again."""

    sockets: Sockets
    on_congestion: Callable[[bool], Any] | None = None
    address = "unknown"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the socket as soon as there is one."""
        peer, sock = transport.get_extra_info("peername"), transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        if isinstance(peer, tuple):
            self.address = str(peer[0])
        super().connection_made(transport)
        self.sockets.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Give its place free."""
        self.sockets.closed(self)
        super().connection_lost(exc)

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
