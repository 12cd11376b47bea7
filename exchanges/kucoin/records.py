"""KuCoin's tickers and trades as records. Pure. Every ticker is whole.

Documentation pages: Symbol Snapshot and Match Execution of spot and futures.
"""

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from exchanges.records import EventMessage, Records
from model.records import Record

TRADE_NAMES = {"trade_id": "tradeId", "seq": "sequence"}  # as exchanges have them; `timestamp` is put before
TICKER_NAMES = {
    "highPrice24h": "highPrice", "lowPrice24h": "lowPrice", "prevPrice24h": "price24HoursBefore",
    "price24hPcnt": "priceChgPct", "volume24h": "volume", "turnover24h": "turnover",
    "bid1Price": "buy", "bid1Size": "bidSize", "ask1Price": "sell", "ask1Size": "askSize",
}  # fmt: skip
SPOT_FIELDS: Mapping[str, str] = MappingProxyType(
    {
        "lastPrice": "lastTradedPrice", "highPrice": "high", "lowPrice": "low", "price24HoursBefore": "open",
        "priceChgPct": "changeRate", "volume": "vol", "turnover": "volValue",
    }
)  # fmt: skip
"""What futures call a field of a ticker, and spot's name of it: one exchange, one table of names."""


class SpotTicker(msgspec.Struct, gc=False):
    """A snapshot of spot: the ticker is in a `data` within `data`; futures' names are put before its own."""

    data: Record

    def __post_init__(self) -> None:
        ticker = self.data.get("data")
        if isinstance(ticker, dict):
            self.data = {**{name: ticker.get(own) for name, own in SPOT_FIELDS.items()}, **ticker}


def _time_of(trade: Record) -> Record:
    """The time of a trade in ms: it has nanoseconds, as a text (spot) or a number."""
    ns = str(trade.get("time") or trade.get("ts") or "")
    return {"timestamp": int(ns) // 1_000_000} if ns.isdecimal() else {}


def _records(tickers: type) -> Records:
    texts = frozenset({"symbol", "symbolCode", "baseCurrency", "quoteCurrency", "market"})
    return Records(tickers=tickers, price="lastPrice", texts=texts, trades=EventMessage, trade_head=_time_of)


RECORDS: Mapping[str, Records] = MappingProxyType({"spot": _records(SpotTicker), "linear": _records(EventMessage)})
