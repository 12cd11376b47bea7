"""One authenticated client: its connection, its coding, and the messages that wait while it reads too slowly.

The event loop's thread. Writes whole frames to the connection's transport; the library that keeps the connection
(websockets) writes control frames to the same one; its state is checked before each write.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence

from websockets.asyncio.server import ServerConnection
from websockets.protocol import State

from consumers.web.frames import Coding, Message

CHUNK_BYTES = 64 * 1024  # per write: what a stopped reader may leave in a transport's buffer is about twice that
LIMIT_BYTES = 32 * 1024 * 1024  # a client this far behind does not catch up; shared, so 50 of them cost it once

Chunk = tuple[bytes, Sequence[Message]]
"""Frames joined to one piece, and the messages they are of."""


class ClientBacklog:
    """The messages that wait for one client, bounded.

    Tickers and prices conflate to the newest; everything else keeps its order and counts towards the bound. Messages
    are shared with the other clients: a backlog holds references, not copies.
    """

    def __init__(self, limit: int, limit_bytes: int = LIMIT_BYTES) -> None:
        self._limit = limit
        self._limit_bytes = limit_bytes
        self._ordered: deque[Message] = deque()
        self._bytes = 0
        self._newest: OrderedDict[object, Message] = OrderedDict()
        self.conflated = 0

    def __len__(self) -> int:
        return len(self._ordered) + len(self._newest)

    def add(self, message: Message) -> bool:
        """Add one at the end; False where the client is over its bound."""
        for part in message.parts or (message,):
            if part.conflate is not None:
                self.conflated += part.conflate in self._newest
                self._newest[part.conflate] = part
                continue
            self._ordered.append(part)
            self._bytes += len(part.payload)
        return len(self._ordered) <= self._limit and self._bytes <= self._limit_bytes

    def take(self, about_bytes: int) -> list[Message]:
        """Take out the oldest, about so many bytes; those that conflate come after those that do not."""
        taken: list[Message] = []
        while about_bytes > 0 and (self._ordered or self._newest):
            if self._ordered:
                message = self._ordered.popleft()
                self._bytes -= len(message.payload)
            else:
                _, message = self._newest.popitem(last=False)
            about_bytes -= len(message.payload)
            taken.append(message)
        return taken

    def clear(self) -> None:
        """Drop everything."""
        self._ordered.clear()
        self._newest.clear()
        self._bytes = 0


class Client:
    """One client. Everything sent to it passes here, in order."""

    def __init__(
        self, connection: ServerConnection, coding: Coding, limit: int, on_slow: "Callable[[Client], object]"
    ) -> None:
        self.connection = connection
        self.coding = coding
        self.is_slow = False
        self.backlog = ClientBacklog(limit)
        self._is_congested = False
        self._on_slow = on_slow

    @property
    def is_open(self) -> bool:
        """Whether data may still be sent."""
        return self.connection.protocol.state is State.OPEN and not self.is_slow

    def send(self, message: Message) -> None:
        """Send an answer, or let it wait behind what waits."""
        self.send_chunks([(message.frame(self.coding), (message,))])

    def send_chunks(self, chunks: Sequence[Chunk]) -> None:
        """Send frames that all clients of a group share; what does not fit waits."""
        if not self.is_open:
            return
        for number, (frames, _) in enumerate(chunks):
            if self._is_congested or self.backlog or not self.is_open:
                self._wait([message for _, messages in chunks[number:] for message in messages])
                return
            self.connection.transport.write(frames)

    def congested(self, is_congested: bool) -> None:
        """Record that the transport's buffer is full, or has room again, and send what waits."""
        self._is_congested = is_congested
        while self.backlog and self.is_open and not self._is_congested:
            frames = b"".join([message.frame(self.coding) for message in self.backlog.take(CHUNK_BYTES)])
            self.connection.transport.write(frames)

    def is_idle(self) -> bool:
        """Return whether everything was handed to the kernel, or never will be."""
        return not (self.is_open and (self.backlog or self.connection.transport.get_write_buffer_size()))

    def _wait(self, messages: list[Message]) -> None:
        for message in messages:
            if not self.backlog.add(message):
                self.is_slow = True
                self.backlog.clear()
                self._on_slow(self)
                return
