"""Where envelopes of klines come in, and become the messages that wait for Redis.

`offer` may be called by any thread; the rest is the output's own thread's.
"""

from collections import deque
from collections.abc import Callable, Iterable

from consumers.redis.backlog import KlineBacklog, Waiting
from consumers.redis.channels import klines_channel
from model.envelope import Envelope

Parts = Callable[[str, Envelope], Iterable[tuple[str, Envelope]]]


def whole(channel: str, envelope: Envelope) -> Iterable[tuple[str, Envelope]]:
    """Send an envelope as one message."""
    return ((channel, envelope),)


class KlineInbox:
    """An inbox that any thread fills, and the backlog that the output's thread empties it into.

    `parts(channel, envelope)` says as which messages an envelope goes; a main key gets it whole, before.
    """

    def __init__(self, backlog: KlineBacklog, main_key: str | None = None, parts: Parts = whole) -> None:
        self.backlog = backlog
        self._main_key, self._parts = main_key, parts
        self._inbox: deque[Envelope] = deque()  # emptied several times a second; the backlog has the bound

    def __len__(self) -> int:
        return len(self._inbox) + len(self.backlog)

    @property
    def has_new(self) -> bool:
        """Say whether `absorb` has something to do."""
        return bool(self._inbox)

    def offer(self, envelope: Envelope) -> None:
        """Take one envelope of klines; any thread."""
        self._inbox.append(envelope)

    def absorb(self, now_ms: int) -> None:
        """Move what came to the backlog."""
        while self._inbox:
            envelope = self._inbox.popleft()
            if self._main_key:  # counted as klines once, though sent twice
                self.backlog.append(Waiting(now_ms, 0, self._main_key, envelope.json))
            for channel, part in self._parts(klines_channel(envelope.exchange), envelope):
                self.backlog.append(Waiting(now_ms, len(part.data), channel, part.json))
