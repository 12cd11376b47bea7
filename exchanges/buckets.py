"""One endpoint's requests per second: a bucket of tokens that come back one window after their request arrived.

Any thread may call, nothing blocks: a caller without tokens gets the seconds to wait. Pacing at the sender alone would
let requests bunch up on the way, so a token counts from when its answer proves that the request had arrived. Two
processes of one UID share the limit by headers and refusals alone: without the learned share a third of their requests
would be refused (tests/unit/exchanges/test_buckets.py), which ends in a ban.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import takewhile

WINDOW_S = 1.0  # docs: rate-limit, "rolling 1 s window"
MARGIN_S = 0.02  # clocks tick in ms; and a crack through which another process of the UID gets its first place
ARRIVAL_MOST_S = 2.0  # a request without an answer has arrived by then, or never will
POLL_S = 0.003  # between looks at a token whose answer is due
CUT = 0.7  # of the own share after a refusal: two processes of one UID make room for each other
YIELD = 1.0  # tokens of the own share given up at each sign of another process, while it is more than half
GROWTH_PER_S = 1.0  # tokens of the own share regained per second without a refusal
CERTAIN_SAMPLES = 20  # round trips seen before the quickest of them counts
JITTERS = 2  # how many times the usual jitter is taken off the quickest round trip: its ways may not have been so both


@dataclass(eq=False, slots=True)
class Token:
    """One request's place in the window; `back_s` is None while it is not known when it comes back."""

    taken_s: float
    back_s: float | None = None


@dataclass(eq=False, slots=True)
class Ticket:
    """A place in the queue of a bucket, for `cost` tokens."""

    cost: int
    tokens: tuple[Token, ...] = ()


class Bucket:
    """At most `limit` requests in any `window_s` seconds, as counted where they arrive. Thread safe."""

    def __init__(
        self,
        limit: int,
        window_s: float = WINDOW_S,
        clock: Callable[[], float] = time.monotonic,
        *,
        cut: float = CUT,
        given_up: float = YIELD,
    ) -> None:
        self.limit, self.window_s = limit, window_s
        self._cut, self._given_up = cut, given_up
        self.refusals = 0
        self._clock = clock
        self._lock = threading.Lock()
        self._out: list[Token] = []
        self._queue: deque[Ticket] = deque()
        self._share = float(limit)
        self._share_s = clock()
        self._paused_until_s = clock()
        self._quickest_s = float("inf")
        self._samples = 0
        self._usual_s = 0.0  # a round trip, smoothed

    @property
    def allowed(self) -> int:
        """The tokens that may be out at once now: the limit, or less after refusals."""
        return max(1, min(self.limit, int(self._share)))

    def enqueue(self, cost: int = 1) -> Ticket:
        """Append a ticket to the queue; `leave` must follow, whatever happens."""
        with self._lock:
            ticket = Ticket(min(cost, self.limit))
            self._queue.append(ticket)
            return ticket

    def try_acquire(self, ticket: Ticket) -> float:
        """Take the ticket's tokens and return 0, or take none and return the seconds to wait."""
        with self._lock:
            now_s = self._clock()
            self._collect(now_s)
            ahead = sum(other.cost for other in takewhile(lambda other: other is not ticket, self._queue))
            missing = ahead + ticket.cost - (self.allowed - len(self._out))
            if self._out and self.allowed < ticket.cost and ahead == 0:
                missing = len(self._out)  # more than the share: alone, once everything is back
            elif not self._out and ahead == 0:
                missing = 0
            if missing > 0 or now_s < self._paused_until_s:
                return max(self._wait_s(now_s, missing), self._paused_until_s - now_s, POLL_S)
            ticket.tokens = tuple(Token(now_s) for _ in range(ticket.cost))
            self._out.extend(ticket.tokens)
            self._queue.remove(ticket)
            return 0.0

    def leave(self, ticket: Ticket) -> None:
        """Remove a ticket from the queue; without effect once it has its tokens."""
        with self._lock:
            if not ticket.tokens and ticket in self._queue:
                self._queue.remove(ticket)

    def answered(self, ticket: Ticket, sent_s: float, back_s: float) -> None:
        """Record that the ticket's request arrived between two moments."""
        with self._lock:
            self._observe_trip(back_s - sent_s)
            come_back_s = min(back_s, sent_s + ARRIVAL_MOST_S) + self.window_s + MARGIN_S - self._certain_trip_s()
            for token in ticket.tokens:
                token.back_s = come_back_s

    def adjust(self, limit: int, left: int) -> None:
        """Apply the exchange's headers: its limit, and what is left of it.

        What is used and not by this process another one uses: the own share shrinks for it, down to half of the limit.
        """
        with self._lock:
            if limit > 0 and limit != self.limit:
                self._share = self._share * limit / self.limit
                self.limit = limit
            now_s = self._clock()
            self._collect(now_s)
            foreign = min(self.limit, self.limit - left - len(self._out))
            self._out.extend(Token(now_s, now_s + self.window_s) for _ in range(foreign))
            if foreign > 0 and self._share > self.limit / 2:
                self._share = max(self.limit / 2, self._share - self._given_up)

    def refused(self, wait_s: float) -> None:
        """Record a refusal for the rate: all requests wait, and go on with a smaller share."""
        with self._lock:
            now_s = self._clock()
            self.refusals += 1
            if now_s >= self._paused_until_s:  # once per window, however many were refused together
                self._share = max(1.0, self._share * self._cut)
            self._share_s = self._paused_until_s = max(self._paused_until_s, now_s + wait_s)

    def _collect(self, now_s: float) -> None:
        self._out = [token for token in self._out if self._back_s(token) > now_s]
        if self._share < self.limit and now_s > self._share_s:
            self._share = min(float(self.limit), self._share + (now_s - self._share_s) * GROWTH_PER_S)
            self._share_s = now_s

    def _back_s(self, token: Token) -> float:
        return token.taken_s + ARRIVAL_MOST_S + self.window_s if token.back_s is None else token.back_s

    def _wait_s(self, now_s: float, missing: int) -> float:
        """Seconds until that many tokens have come back, as far as is known now."""
        due = sorted(self._due_s(token, now_s) for token in self._out)
        if not due:
            return POLL_S
        rounds, index = divmod(max(missing, 1) - 1, len(due))
        return due[index] + rounds * self.window_s - now_s

    def _due_s(self, token: Token, now_s: float) -> float:
        if token.back_s is not None:
            return token.back_s
        return max(token.taken_s + self._usual_s + self.window_s - self._certain_trip_s(), now_s + POLL_S)

    def _observe_trip(self, trip_s: float) -> None:
        self._samples += 1
        self._quickest_s = min(self._quickest_s, trip_s)
        self._usual_s = trip_s if self._samples == 1 else 0.8 * self._usual_s + 0.2 * trip_s

    def _certain_trip_s(self) -> float:
        """The part of a round trip that every request takes: on arrival two requests are so much further apart."""
        if self._samples < CERTAIN_SAMPLES:
            return 0.0
        return max(0.0, self._quickest_s - JITTERS * (self._usual_s - self._quickest_s))
