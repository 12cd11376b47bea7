"""How many alerts an hour are sent. Pure; time is an argument."""

from collections import deque

HOUR_S = 3600.0


class Quota:
    """Allows `most` alerts in any hour, and keeps one slot for the end of each incident that was told."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._sent_s: deque[float] = deque()

    def allows(self, now_s: float, kept: int) -> bool:
        """Whether one more alert may be sent now where `kept` slots are kept for ends, its own among them."""
        while self._sent_s and now_s - self._sent_s[0] >= HOUR_S:
            self._sent_s.popleft()
        return len(self._sent_s) + kept < self._most

    def count(self, now_s: float) -> None:
        """Count one that is sent."""
        self._sent_s.append(now_s)
