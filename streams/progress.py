"""The delivery watermark of one connection: the time until which all that the exchange sent has come.

Read by the aggregator's thread, written by the one that reads the connection. TCP keeps the order, so that the
exchange's time in the last message, or the answer to a ping, proves that all before it has come.
"""

import re
import time
from collections.abc import Callable
from functools import partial

from model.pacing import SlidingWindow
from model.ports import Link
from model.protocol import KeepAlive

AHEAD_MS = 1_000  # a message further ahead of now proves nothing: clocks differ by less
PROBE_EVERY_S = 0.9  # one for each second that ends
PROBES_KEPT = 16


class DeliveryProgress:
    """A model.records.Delivery of one connection. `last` is the last payload that went to the callback."""

    def __init__(
        self,
        link: Link,
        recover: Callable[[str], object],
        pong_timeout_s: float,
        sent: re.Pattern[bytes],
        keep_alive: KeepAlive,
        clock: Callable[[], float] = time.monotonic,
        pacer: SlidingWindow | None = None,
    ) -> None:
        """`sent` finds the exchange's time in a payload; `pacer` counts messages to the exchange."""
        self.last = b""
        self._sent_time, self._keep_alive, self._pacer = sent, keep_alive, pacer
        self._link: Link | None = link
        self._recover, self._pong_timeout_s, self._clock = recover, pong_timeout_s, clock
        self._read, self._read_ms = b"", 0  # the payload whose time was read last, and that time
        self._proven_ms = 0
        self._not_before_s = float("-inf")
        self._count = self._beats = 0
        self._sent: dict[str, int] = {}  # req_id -> the time it proves, oldest first
        self._forgotten = 0  # older ones without an answer: an exchange that names no ping answers these first
        self._waiting: tuple[float, int] | None = None  # when the oldest was sent, and the last frame before it

    def watermark_ms(self, now_ms: int) -> int:
        """See Delivery. Any thread."""
        payload = self.last
        if payload is not self._read:
            found = self._sent_time.search(payload)
            self._read, self._read_ms = payload, int(found[1]) if found else 0
        if self._proven_ms > now_ms + AHEAD_MS:
            self._proven_ms = 0  # the clock was ahead when that ping was sent
        return max(self._proven_ms, self._read_ms if self._read_ms <= now_ms + AHEAD_MS else 0)

    def probe(self, now_ms: int) -> None:
        """See Delivery. Any thread."""
        link, now_s = self._link, self._clock()
        if link is not None and now_s >= self._not_before_s:
            self._not_before_s = now_s + PROBE_EVERY_S
            link.call_soon(partial(self._ping, now_ms))

    def recover(self, symbol: str) -> None:
        """See Delivery. Any thread."""
        link = self._link
        if link is not None:
            link.call_soon(partial(self._recover, symbol))

    # -- the thread that reads --------------------------------------------------------------------------

    def _ping(self, now_ms: int) -> None:
        if self._link is None or (self._pacer and not self._pacer.take(self._clock())):
            return
        self._count += 1
        self._waiting = self._waiting or (self._clock(), self._link.last_frame_ms)
        self._send(self._link, f"p{self._count}", now_ms)

    def heartbeat(self) -> None:
        """Send a ping that proves no more than that the connection is alive; raises ConnectionError."""
        if self._link is not None:
            self._beats += 1
            if self._pacer:
                self._pacer.take(self._clock(), must=True)
            self._send(self._link, f"h{self._beats}", 0)

    def _send(self, link: Link, req_id: str, proves_ms: int) -> None:
        self._sent[req_id] = proves_ms
        while len(self._sent) > PROBES_KEPT:
            del self._sent[next(iter(self._sent))]
            self._forgotten += 1
        if self._keep_alive.text is None:
            link.send_ping_frame(req_id.encode())
        else:
            link.send(self._keep_alive.text(req_id))

    def answered(self, req_id: str) -> None:
        """Take a pong; one that names no ping answers the oldest."""
        if not self._sent or (req_id and req_id not in self._sent):
            return
        self._waiting = None
        if not req_id and self._forgotten:
            self._forgotten -= 1
            return
        self._forgotten = 0
        answered = req_id or next(iter(self._sent))
        while self._sent:
            key = next(iter(self._sent))
            self._proven_ms = max(self._proven_ms, self._sent.pop(key))
            if key == answered:
                break

    def is_unanswered(self, now_s: float) -> bool:
        """Whether a ping has had no answer for too long, and nothing else came since."""
        if self._waiting is None or self._link is None:
            return False
        sent_s, frame_ms = self._waiting
        if self._link.last_frame_ms != frame_ms:
            self._waiting = None
            return False
        return now_s - sent_s > self._pong_timeout_s

    def end(self) -> None:
        """Release the connection, which has ended; a reference cycle would keep it until a full gc."""
        self._link = None
        self._recover = lambda _symbol: None
