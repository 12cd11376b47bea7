"""The rows of BingX's REST answers as records: candles, trades, instruments, turnover. Pure.

A row that makes no sense costs itself. Documentation pages: swap and spot market data.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from exchanges.candles import CandleShape
from exchanges.rest_rows import amount_of, dollars_of, past_trade, read_row
from exchanges.trades import Id
from model.records import PastTrade

SWAP_CANDLE = CandleShape("time", "open", "high", "low", "close", "volume", None)
SPOT_CANDLE = CandleShape(turnover=7)  # column 6 is the last ms


class TradeRow(msgspec.Struct):
    """A trade; spot alone has an id, which orders those of one ms."""

    time: int
    price: float
    qty: float
    id: Id = 0


class InstrumentRow(msgspec.Struct):
    """A contract, or a pair of spot, whose coins are in its name alone."""

    symbol: str
    status: int = 0
    asset: str = ""
    currency: str = ""

    def coins(self) -> tuple[str, str]:
        """Base and quote."""
        base, _, quote = self.symbol.rpartition("-")
        return self.asset or base, self.currency or quote


class TickerRow(msgspec.Struct):
    symbol: str
    lastPrice: Any = None  # noqa: N815 - BingX's names
    quoteVolume: Any = None  # noqa: N815


class _Time(msgspec.Struct):
    serverTime: int  # noqa: N815


def rows_of(body: object) -> Sequence[object]:
    """Return the rows of an answer, where null means none; ValueError where it has no data."""
    data = body.get("data", "") if isinstance(body, dict) else ""
    if data is not None and not isinstance(data, list):
        raise ValueError("it has no list of data")
    return data or []


def symbols_of(body: object) -> Sequence[object]:
    """Return the instruments of an answer: of spot they are one level deeper."""
    data = body.get("data") if isinstance(body, dict) else None
    return rows_of({"data": data["symbols"]} if isinstance(data, dict) and "symbols" in data else body)


def time_of(body: object) -> int | None:
    """Return the time of an answer; None where it has none."""
    row = read_row(body.get("data"), _Time) if isinstance(body, dict) else None
    return row.serverTime if row else None


def trade_of(row: object) -> PastTrade | None:
    """Read one row of trades; None where it makes no sense."""
    raw = read_row(row, TradeRow)
    return past_trade("", raw.time, raw.price, raw.qty, raw.id) if raw else None


def turnovers_of(instruments: Sequence[InstrumentRow], tickers: Sequence[TickerRow]) -> dict[str, float]:
    """The turnovers of 24 hours by symbol, all in dollars; 0 where that cannot be known."""
    coins = {row.symbol: row.coins() for row in instruments}
    last = {coins[each.symbol]: amount_of(each.lastPrice) for each in tickers if each.symbol in coins}
    return {
        each.symbol: amount_of(each.quoteVolume) * dollars_of(coins[each.symbol][1], last)
        for each in tickers
        if each.symbol in coins
    }
