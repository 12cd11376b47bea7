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
