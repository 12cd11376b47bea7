"""The collector's klines as messages of Binance's kline streams (documentation page: Kline/Candlestick Streams). Pure.

What our klines do not have is left out, never made up: the ids of the first and the last trade (f, L), and the volumes
of taker buys (V, Q).
"""

from decimal import Decimal

import msgspec

from exchanges.binance.dialect.streams import combined
from model.records import Kline

_write = msgspec.json.Encoder().encode


class KlineData(msgspec.Struct):
    """One candle as Binance shows it: `v` in contracts and `q` in the coin where those of the market are so."""

    t: int
    T: int
    s: str
    i: str
    o: str
    c: str
    h: str
    l: str  # noqa: E741 - Binance's name
    v: str
    n: int
    x: bool
    q: str


class KlineEvent(msgspec.Struct):
    """The event of a kline stream."""

    e: str
    E: int
    s: str
    k: KlineData


def kline_message(topic: str, kline: Kline, now_ms: int, *, is_closed: bool, contract_size: Decimal | None) -> bytes:
    """Write the message of the combined stream. `contract_size`: dollars of a contract where volume is in contracts."""
    volume = kline.volume if contract_size is None else kline.volume / contract_size
    data = KlineData(
        t=kline.timestamp,
        T=kline.timestamp + kline.interval - 1,
        s=kline.symbol,
        i=topic.rpartition("_")[2],
        o=f"{kline.open:f}",
        c=f"{kline.close:f}",
        h=f"{kline.high:f}",
        l=f"{kline.low:f}",
        v=f"{volume:f}",
        n=kline.trade_count,
        x=is_closed,
        q=f"{kline.turnover:f}",
    )
    return combined(topic, _write(KlineEvent("kline", now_ms, kline.symbol, data)))
