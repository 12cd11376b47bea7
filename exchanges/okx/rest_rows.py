"""The rows of OKX's REST answers as records: candles, trades, instruments, turnover. Pure.

A row that makes no sense costs itself: it is returned beside the records, for the log. Documentation pages: REST,
market data (candlesticks, trades, tickers), public data (instruments).
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal

import msgspec

from exchanges.candles import CandleShape
from exchanges.okx.trades import RPI, Count
from exchanges.rest_rows import amount_of, dollars_of, past_trade, read_row, size_of
from exchanges.trades import Id
from model.markets import Contract
from model.records import PastTrade

CANDLE: Mapping[Contract, CandleShape] = {
    "spot": CandleShape(volume=5, turnover=7),
    "linear": CandleShape(volume=6, turnover=7),
    "inverse": CandleShape(volume=7, turnover=6),
}
"""Volume in base coin and quote; of inverse contracts in dollars and the coin. Column 5 of swaps is in contracts."""


class TradeRow(msgspec.Struct):
    tradeId: Id  # noqa: N815 - OKX's names
    px: float
    sz: float
    ts: int
    count: Count = 1
    source: str = "0"


class InstrumentRow(msgspec.Struct):
    instId: str  # noqa: N815 - OKX's names
    state: str = "live"
    baseCcy: str = ""  # noqa: N815
    quoteCcy: str = ""  # noqa: N815
    instFamily: str = ""  # noqa: N815
    uly: str = ""
    ctType: str = ""  # noqa: N815
    ctVal: str = ""  # noqa: N815
    ctMult: str = ""  # noqa: N815

    def coins(self) -> tuple[str, str]:
        """Base and quote; of swaps, which leave them empty, they are in the family: BTC-USDT."""
        base, _, quote = (self.instFamily or self.uly).partition("-")
        return self.baseCcy or base, self.quoteCcy or quote

    def contract_size(self) -> Decimal | None:
        """How much of the base coin, of inverse contracts how many dollars, a contract is; None where it says not."""
        return size_of(self.ctVal, self.ctMult or 1)


class TickerRow(msgspec.Struct):
    instId: str  # noqa: N815 - OKX's names
    last: str = ""
    vol24h: str = ""
    volCcy24h: str = ""  # noqa: N815


class TimeRow(msgspec.Struct):
    ts: int


def trade_of(row: object, *, counts_rpi: bool) -> PastTrade | None:
    """Read one row of trades; None where it makes no sense."""
    raw = read_row(row, TradeRow)
    if raw is None:
        return None
    is_counted = counts_rpi or raw.source != RPI
    return past_trade(raw.tradeId, raw.ts, raw.px, raw.sz, raw.tradeId, raw.count, is_counted=is_counted)


def turnovers_of(
    contract: Contract, instruments: Sequence[InstrumentRow], tickers: Sequence[TickerRow]
) -> dict[str, float]:
    """The turnovers of 24 hours by symbol, all in dollars; 0 where that cannot be known."""
    found: dict[str, float] = {}
    last: dict[tuple[str, str], float] = {}
    for each in tickers:
        price, volume, volume_coin = map(amount_of, (each.last, each.vol24h, each.volCcy24h))
        base, _, quote = each.instId.partition("-")
        last[base, quote] = price
        found[each.instId] = {"linear": volume_coin * price, "spot": volume_coin, "inverse": volume}[contract]
    for row in instruments:
        if contract == "inverse":
            found[row.instId] = found.get(row.instId, 0.0) * float(row.contract_size() or 0)
        elif contract == "spot":
            found[row.instId] = found.get(row.instId, 0.0) * dollars_of(row.coins()[1], last)
    return found
