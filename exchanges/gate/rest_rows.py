"""The rows of Gate's REST answers as records: candles, trades, instruments, turnover. Pure.

A row that makes no sense costs itself. Documentation pages: REST v4, spot and futures.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal

import msgspec

from exchanges.candles import ONE, CandleShape
from exchanges.rest_rows import EARLIEST_MS, amount_of, dollars_of, past_trade, read_row, size_of
from exchanges.trades import Id
from model.records import PastTrade

CANDLE: Mapping[str, CandleShape] = {
    "spot": CandleShape(0, 5, 3, 4, 2, 6, 1, unit_ms=1000),
    "linear": CandleShape("t", "o", "h", "l", "c", "v", "sum", unit_ms=1000),
}
"""Of each market; the volume of linear is in contracts."""


class TradeRow(msgspec.Struct):
    id: Id
    create_time_ms: float  # of spot ms with decimals; of futures seconds (measured), although streams have ms
    price: float
    amount: float = 0.0
    size: float = 0.0  # of futures; negative where the taker sold
    sequence_id: Id = 0  # of spot
    is_internal: bool = False


class InstrumentRow(msgspec.Struct):
    """A currency pair of spot, or a contract: it has a name in the place of an id, and a size."""

    id: str = ""
    base: str = ""
    quote: str = ""
    trade_status: str = "tradable"
    name: str = ""
    status: str = "trading"
    is_pre_market: bool = False
    quanto_multiplier: str = ""

    @property
    def symbol(self) -> str:
        """Its symbol."""
        return self.name or self.id

    @property
    def contract_size(self) -> Decimal | None:
        """How much of the base coin a contract is; None where it is none: inverse ones have 0."""
        return size_of(self.quanto_multiplier) if self.name else ONE

    def coins(self) -> tuple[str, str]:
        """Base and quote, which contracts have in their name alone."""
        base, _, quote = self.name.rpartition("_")
        return self.base or base, self.quote or quote


class TickerRow(msgspec.Struct):
    currency_pair: str = ""
    contract: str = ""
    last: str = ""
    quote_volume: str = ""
    volume_24h_quote: str = ""


def trade_of(row: object) -> PastTrade | None:
    """Read one row of trades; None where it makes no sense."""
    raw = read_row(row, TradeRow)
    if raw is None:
        return None
    ms, number = raw.create_time_ms, raw.sequence_id or raw.id
    ms = round(ms * 1000) if ms < EARLIEST_MS else int(ms)
    return past_trade(number, ms, raw.price, raw.amount or abs(raw.size), number, is_counted=not raw.is_internal)


def turnovers_of(instruments: Sequence[InstrumentRow], tickers: Sequence[TickerRow]) -> dict[str, float]:
    """The turnovers of 24 hours by symbol, in dollars; 0 where that cannot be known."""
    found, last = {}, {}
    for each in tickers:
        symbol = each.contract or each.currency_pair
        found[symbol] = amount_of(each.volume_24h_quote or each.quote_volume)
        base, _, quote = symbol.rpartition("_")
        last[base, quote] = amount_of(each.last)
    return {each.symbol: found.get(each.symbol, 0.0) * dollars_of(each.coins()[1], last) for each in instruments}
