"""The open klines of a dialect, by topic: what a new subscriber begins with, and what changed.

Pure; the event loop's thread.
"""

from model.records import Kline


class OpenKlines:
    """The newest open kline per topic; one that closed meanwhile is not shown as open again."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, str], Kline] = {}
        self._changed: set[tuple[str, str]] = set()
        self._closed_ms: dict[tuple[str, str], int] = {}

    def closed(self, market: str, topic: str, kline: Kline) -> None:
        """Record that a kline closed."""
        key = market, topic
        self._closed_ms[key] = max(kline.timestamp, self._closed_ms.get(key, 0))
        known = self._open.get(key)
        if known is not None and known.timestamp <= self._closed_ms[key]:
            del self._open[key]
            self._changed.discard(key)

    def opened(self, market: str, topic: str, kline: Kline) -> None:
        """Record the state of an open kline."""
        key = market, topic
        if kline.timestamp > self._closed_ms.get(key, 0) and kline != self._open.get(key):
            self._open[key] = kline
            self._changed.add(key)

    def get(self, market: str, topic: str) -> Kline | None:
        """Return the open kline of a topic; None where there is none."""
        return self._open.get((market, topic))

    def take_changed(self) -> list[tuple[str, str, Kline]]:
        """Take out the klines that changed since the last call."""
        changed, self._changed = self._changed, set()
        return [(*key, self._open[key]) for key in changed if key in self._open]
