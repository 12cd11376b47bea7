"""What waits for one client that does not read as fast as messages come.

Pure; the event loop's thread. Tickers and prices conflate to the newest; everything else keeps its order and counts
towards the bound. Messages are shared with the other clients: a backlog holds references, not copies.
"""

from collections import OrderedDict, deque

from consumers.web.frames import Message

LIMIT_BYTES = 32 * 1024 * 1024  # a client this far behind does not catch up; shared, so 50 of them cost it once


class ClientBacklog:
    """A bounded line of messages for one client."""

    def __init__(self, limit: int, limit_bytes: int = LIMIT_BYTES) -> None:
        self._limit = limit
        self._limit_bytes = limit_bytes
        self._line: deque[Message] = deque()
        self._bytes = 0
        self._newest: OrderedDict[object, Message] = OrderedDict()
        self.conflated = 0

    def __len__(self) -> int:
        return len(self._line) + len(self._newest)

    def add(self, message: Message) -> bool:
        """Put one at the end; False where the client is over its bound."""
        for part in message.parts or (message,):
            if part.conflate is not None:
                self.conflated += part.conflate in self._newest
                self._newest[part.conflate] = part
                continue
            self._line.append(part)
            self._bytes += len(part.payload)
        return len(self._line) <= self._limit and self._bytes <= self._limit_bytes

    def take(self, about_bytes: int) -> list[Message]:
        """Take out the oldest, about so many bytes of them; what conflates comes after what does not."""
        taken: list[Message] = []
        while about_bytes > 0 and (self._line or self._newest):
            if self._line:
                message = self._line.popleft()
                self._bytes -= len(message.payload)
            else:
                _, message = self._newest.popitem(last=False)
            about_bytes -= len(message.payload)
            taken.append(message)
        return taken

    def clear(self) -> None:
        """Forget everything."""
        self._line.clear()
        self._newest.clear()
        self._bytes = 0
