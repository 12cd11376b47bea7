"""One client that was let in: its connection, its coding, and what waits for it.

The event loop's thread. Writes whole frames to the connection's transport; the library that keeps the connection
(websockets) writes control frames to the same one, and is asked before each write whether it is open.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from websockets.asyncio.server import ServerConnection
from websockets.protocol import State

from consumers.web.backlog import ClientBacklog
from consumers.web.frames import Coding, Message

if TYPE_CHECKING:
    from consumers.web.fanout import Group

CHUNK_BYTES = 64 * 1024  # per write: what a stopped reader may leave in a transport's buffer is about twice that

Chunk = tuple[bytes, Sequence[Message]]
"""Frames joined to one piece, and the messages they are of."""


class Client:
    """Everything sent to one client goes through here, in order."""

    def __init__(
        self, connection: ServerConnection, coding: Coding, limit: int, on_slow: "Callable[[Client], Any]"
    ) -> None:
        self.connection = connection
        self.coding = coding
        self.group: Group | None = None
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
            if not self._is_free():
                self._wait([message for _, messages in chunks[number:] for message in messages])
                return
            self.connection.transport.write(frames)

    def congested(self, is_congested: bool) -> None:
        """The transport's buffer is full, or has room again."""
        self._is_congested = is_congested
        while self._has_waiting() and not self._is_congested:
            frames = b"".join([message.frame(self.coding) for message in self.backlog.take(CHUNK_BYTES)])
            self.connection.transport.write(frames)

    def is_idle(self) -> bool:
        """Whether everything was handed to the kernel, or never will be."""
        if not self.is_open:
            return True
        return not self.backlog and not self.connection.transport.get_write_buffer_size()

    def _has_waiting(self) -> bool:
        return self.is_open and len(self.backlog) > 0

    def _is_free(self) -> bool:
        return self.is_open and not self._is_congested and not self.backlog

    def _wait(self, messages: list[Message]) -> None:
        for message in messages:
            if not self.backlog.add(message):
                self.is_slow = True
                self.backlog.clear()
                self._on_slow(self)
                return
