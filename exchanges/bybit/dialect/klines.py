"""The collector's klines as Bybit's kline messages (docs: websocket/public/kline).

Pure; the event loop's thread. Closed klines have confirm true, once per issue: a correction is sent again. Open klines
have confirm false, never after the closed one of the same start.
"""

import msgspec

from exchanges.bybit.intervals import INTERVALS
from model.intervals import step_of
from model.records import Kline

_write = msgspec.json.Encoder().encode


class KlineData(msgspec.Struct):
    """One candle as Bybit shows it."""

    start: int
    end: int
    interval: str
    open: str
    close: str
    high: str
    low: str
    volume: str
    turnover: str
    confirm: bool
    timestamp: int


class KlineMessage(msgspec.Struct):
    """A message of a kline topic."""

    topic: str
    data: list[KlineData]
    ts: int
    type: str = "snapshot"


def kline_topic(kline: Kline) -> str | None:
    """Return the topic at Bybit; None for an interval that Bybit does not have."""
    name = INTERVALS.get(step_of(kline.interval, kline.timestamp))
    return f"kline.{name}.{kline.symbol}" if name else None


def kline_message(topic: str, kline: Kline, now_ms: int, *, confirm: bool) -> bytes:
    """Write the message. `timestamp` is the last trade's at Bybit; here it is now, or the end where that is over."""
    end_ms = kline.timestamp + kline.interval - 1
    data = KlineData(
        start=kline.timestamp,
        end=end_ms,
        interval=topic.split(".", 2)[1],
        open=f"{kline.open:f}",
        close=f"{kline.close:f}",
        high=f"{kline.high:f}",
        low=f"{kline.low:f}",
        volume=f"{kline.volume:f}",
        turnover=f"{kline.turnover:f}",
        confirm=confirm,
        timestamp=min(end_ms, now_ms),
    )
    return _write(KlineMessage(topic, [data], now_ms))


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
