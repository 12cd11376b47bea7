"""The rows of KuCoin's REST answers as records: candles, trades, instruments, turnover. Pure.

A row that makes no sense costs itself. Documentation pages: market data of spot and futures.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec

from exchanges.candles import CandleShape
from exchanges.kucoin.trades import NS_PER_MS
from exchanges.rest_rows import amount_of, dollars_of, past_trade, read_row, rows_of, size_of
from exchanges.trades import Id
from model.records import Instrument, PastTrade

CANDLE: Mapping[str, CandleShape] = MappingProxyType(
    {"spot": CandleShape(high=3, low=4, close=2, unit_ms=1000), "linear": CandleShape()}
)
"""Spot: [s, open, close, high, low, volume, turnover]; futures: [ms, open, high, low, close, lots, turnover]."""

COINS: Mapping[str, str] = MappingProxyType({"XBT": "BTC"})
"""KuCoin's names of coins that all others call otherwise: of whole names, for AIXBT is another coin."""


class TradeRow(msgspec.Struct):
    """A trade of spot (time, no id) or of futures (ts)."""

    sequence: Id
    price: float
    size: float
    tradeId: str = ""  # noqa: N815 - KuCoin's name
    time: int = 0
    ts: int = 0


class SymbolRow(msgspec.Struct):
    symbol: str
    baseCurrency: str = ""  # noqa: N815 - KuCoin's names
    quoteCurrency: str = ""  # noqa: N815
    enableTrading: bool = True  # noqa: N815

    def instrument(self, turnover: float = 0.0, **more: Any) -> Instrument:
        """The symbol, its base and quote as others call them."""
        base, quote = (COINS.get(coin, coin) for coin in (self.baseCurrency, self.quoteCurrency))
        return Instrument(self.symbol, base, quote, turnover, **more)


class ContractRow(SymbolRow):
    status: str = "Open"
    multiplier: Any = None
    isInverse: bool = False  # noqa: N815
    expireDate: int | None = None  # noqa: N815
    turnoverOf24h: Any = None  # noqa: N815

    def instrument(self, turnover: float = 0.0, **more: Any) -> Instrument:
        """The contract; turnover is in dollars, and a lot so much of the base coin."""
        more = {"is_dated": self.expireDate is not None, "contract_size": size_of(self.multiplier), **more}
        return super().instrument(turnover or amount_of(self.turnoverOf24h), **more)


class TickerRow(msgspec.Struct):
    symbol: str
    last: Any = None
    volValue: Any = None  # noqa: N815


def tickers_of(body: Mapping[str, Any]) -> Sequence[object]:
    """Return the rows of allTickers; ValueError where there are none."""
    return rows_of(body.get("data"), "ticker")


def trade_of(row: object) -> PastTrade | None:
    """Read one row of trades; None where it makes no sense."""
    raw = read_row(row, TradeRow)
    if raw is None:
        return None
    ms = (raw.time or raw.ts) // NS_PER_MS
    trade_id = raw.tradeId if raw.ts else str(raw.sequence)  # of spot as its stream has it
    return past_trade(trade_id, ms, raw.price, raw.size, raw.sequence)


def turnovers_of(symbols: Sequence[SymbolRow], tickers: Sequence[TickerRow]) -> dict[str, float]:
    """The turnovers of 24 hours of spot by symbol, in dollars; 0 where that cannot be known."""
    coins = {row.symbol: (row.baseCurrency, row.quoteCurrency) for row in symbols}
    known = [each for each in tickers if each.symbol in coins]
    last = {coins[each.symbol]: amount_of(each.last) for each in known}
    return {each.symbol: amount_of(each.volValue) * dollars_of(coins[each.symbol][1], last) for each in known}
