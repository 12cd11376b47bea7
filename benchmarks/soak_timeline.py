"""The soak's virtual time: planned actions run at their moments, seeded, as fast as the machine can. Pure."""

import heapq
import random
from collections import Counter
from collections.abc import Callable
from itertools import count

BEGIN_MS = 1_700_002_800_000  # the exchange opens on a full hour
TICK_MS = (20, 180)  # how often the collector's threads run

Do = Callable[[], object]


class Timeline:
    """Virtual time, one random source, counts of faults; `is_faulty` until the quiet at the end."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.now = BEGIN_MS
        self.is_faulty = True
        self.faults: Counter[str] = Counter()
        self._number, self._plans = count(), list[tuple[int, int, Do]]()

    def run_until(self, end_ms: int, step: Do) -> None:
        """Let time pass until `end_ms`; `step` is called every so often."""
        while self.now < end_ms:
            turn_ms = min(self.now + self.span(TICK_MS), end_ms)
            while self._plans[0][0] <= turn_ms:
                at_ms, _, do = heapq.heappop(self._plans)
                self.now = max(self.now, at_ms)
                do()
            self.now = turn_ms
            step()

    def plan(self, in_ms: float, do: Do) -> None:
        """Plan an action at a later moment."""
        heapq.heappush(self._plans, (self.now + int(in_ms), next(self._number), do))

    def plan_every(self, mean_ms: float, do: Do) -> None:
        """Plan an action again and again, at random intervals."""

        def again() -> None:
            do()
            self.plan_every(mean_ms, do)

        self.plan(self.wait_ms(mean_ms), again)

    def span(self, limits: tuple[int, int]) -> int:
        """A whole number between two, both included."""
        return self.rng.randint(*limits)

    def wait_ms(self, mean_ms: float) -> float:
        """A random wait with the given mean, ms."""
        return self.rng.expovariate(1 / mean_ms)

    def chance(self, share: float) -> bool:
        """Whether it happens this time."""
        return self.rng.random() < share
