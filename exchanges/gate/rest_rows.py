"""The rows of Gate's REST answers as records: candles, trades, instruments, turnover. Pure.

A row that makes no sense costs itself. Documentation pages: REST v4, spot and futures.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal

import msgspec

from exchanges.candles import CandleShape
from exchanges.rest_rows import EARLIEST_MS, amount_of, dollars_of, past_trade, read_row, size_of
from exchanges.trades import Id
from model.records import PastTrade

CANDLE: Mapping[str, CandleShape] = {
    "spot": CandleShape(0, 5, 3, 4, 2, 6, 1, unit_ms=1000),
    "linear": CandleShape("t", "o", "h", "l", "c", "v", "sum", unit_ms=1000),
}
"""Of each market; the volume of linear is in contracts."""


class SpotRow(msgspec.Struct):
    id: Id
    create_time_ms: float
    amount: float
    price: float
    sequence_id: Id = 0


class FuturesRow(msgspec.Struct):
    id: Id
    create_time_ms: float  # seconds (measured), although streams have ms
    size: float  # negative where the taker sold
    price: float
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
    def is_listed(self) -> bool:
        """Whether it is traded: of some pairs one side alone is allowed."""
        return self.trade_status != "untradable" and self.status == "trading"

    def coins(self) -> tuple[str, str]:
        """Base and quote, which contracts have in their name alone."""
        base, _, quote = self.name.rpartition("_")
        return self.base or base, self.quote or quote

    def contract_size(self) -> Decimal | None:
        """How much of the base coin a contract is; None where it is none: inverse ones have 0."""
        return size_of(self.quanto_multiplier)


class TickerRow(msgspec.Struct):
    currency_pair: str = ""
    contract: str = ""
    last: str = ""
    quote_volume: str = ""
    volume_24h_quote: str = ""


def spot_trade(row: object) -> PastTrade | None:
    """Read one row of trades of spot, its time in ms; None where it makes no sense."""
    raw = read_row(row, SpotRow)
    number = (raw.sequence_id or raw.id) if raw else 0
    return past_trade(number, int(raw.create_time_ms), raw.price, raw.amount, number) if raw else None


def futures_trade(row: object) -> PastTrade | None:
    """Read one row of trades of futures, its time in seconds; None where it makes no sense."""
    raw = read_row(row, FuturesRow)
    if raw is None:
        return None
    ms = round(raw.create_time_ms * (1000 if raw.create_time_ms < EARLIEST_MS else 1))
    return past_trade(raw.id, ms, raw.price, abs(raw.size), raw.id, is_counted=not raw.is_internal)


def turnovers_of(instruments: Sequence[InstrumentRow], tickers: Sequence[TickerRow]) -> dict[str, float]:
    """The turnovers of 24 hours by symbol, in dollars; 0 where that cannot be known."""
    found, last = {}, {}
    for each in tickers:
        symbol = each.contract or each.currency_pair
        found[symbol] = amount_of(each.volume_24h_quote or each.quote_volume)
        base, _, quote = symbol.rpartition("_")
        last[base, quote] = amount_of(each.last)
    return {each.symbol: found.get(each.symbol, 0.0) * dollars_of(each.coins()[1], last) for each in instruments}
