"""The rows of Binance's REST answers as records: candles, trades, instruments, turnover. Pure.

A row that makes no sense costs itself. Documentation pages: market data endpoints of spot, USD-M and COIN-M futures.
"""

import itertools
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from exchanges.candles import CandleShape
from exchanges.rest_rows import amount_of, dollars_of, id_of, is_positive, is_time, past_trade, read_row, size_of
from exchanges.trades import Id
from model.records import PastTrade

CANDLE = CandleShape(turnover=7)  # of COIN-M volume is in contracts, turnover in the coin; column 6 is the last ms


class TradeRow(msgspec.Struct):
    id: Id
    price: float
    qty: float
    time: int
    isRPITrade: bool = False  # noqa: N815 - Binance's name


class AggregateRow(msgspec.Struct):
    """Matches of one order at one price, of futures within 100 ms: `f` and `l` are the ids of the first and the last.

    `nq` is the size without retail price improvement, where it is given.
    """

    a: Id
    p: float
    q: float
    f: Id
    l: Id  # noqa: E741 - Binance's name
    T: int
    nq: float | None = None


class InstrumentRow(msgspec.Struct):
    symbol: str
    status: str = ""
    contractStatus: str = ""  # noqa: N815 - Binance's names
    contractType: str = ""  # noqa: N815
    baseAsset: str = ""  # noqa: N815
    quoteAsset: str = ""  # noqa: N815
    isSpotTradingAllowed: bool = True  # noqa: N815
    contractSize: Decimal | None = None  # noqa: N815

    @property
    def state(self) -> str:
        """TRADING where it can be traded; COIN-M has another name for it."""
        return self.contractStatus or self.status

    @property
    def contract_size(self) -> Decimal | None:
        """How many dollars a contract of COIN-M is; None where that is not given."""
        return size_of(self.contractSize)

    @property
    def is_dated(self) -> bool:
        """Whether it is a contract that expires."""
        return bool(self.contractType) and not self.contractType.endswith("PERPETUAL")


class TickerRow(msgspec.Struct):
    symbol: str
    lastPrice: Any = None  # noqa: N815 - Binance's names
    volume: Any = None
    quoteVolume: Any = None  # noqa: N815


def trade_of(row: object, *, counts_rpi: bool) -> PastTrade | None:
    """Read one row of trades; None where it makes no sense."""
    raw = read_row(row, TradeRow)
    if raw is None:
        return None
    return past_trade(raw.id, raw.time, raw.price, raw.qty, raw.id, is_counted=counts_rpi or not raw.isRPITrade)


def aggregate_of(row: object) -> AggregateRow | None:
    """Read one row of aggTrades; None where it makes no sense."""
    raw = read_row(row, AggregateRow)
    if raw is None or not is_time(raw.T) or not is_positive(raw.p, raw.q) or raw.l < raw.f:
        return None
    return raw


def trades_of_aggregates(rows: Sequence[AggregateRow], *, counts_rpi: bool) -> list[PastTrade]:
    """One trade for each aggregate, ascending, with what stands for the ids between two that follow each other.

    It has the id of its last match. Among its ids may be some that do not count: they have no size.
    """
    found: list[PastTrade] = []
    for _, run in itertools.groupby(enumerate(rows), lambda each: each[1].a - each[0]):
        found += with_uncounted([_trade_of_aggregate(raw, counts_rpi=counts_rpi) for _, raw in run])
    return found


def _trade_of_aggregate(raw: AggregateRow, *, counts_rpi: bool) -> PastTrade:
    size = raw.q if counts_rpi or raw.nq is None else raw.nq
    return PastTrade(raw.l, raw.T, raw.p, size, raw.l, matches=raw.l - raw.f + 1, is_counted=size > 0)


def with_uncounted(trades: Sequence[PastTrade]) -> list[PastTrade]:
    """Add what stands for the ids between the trades of one answer: Binance leaves out those that are not of the book.

    Trades of insurance and auto-deleveraging, and placeholders.
    """
    found = list(trades[:1])
    for older, newer in itertools.pairwise(trades):
        first = id_of(newer) - newer.matches + 1
        if (count := first - id_of(older) - 1) > 0:
            found.append(PastTrade(first - 1, newer.event_ms, 0.0, 0.0, first - 1, matches=count, is_counted=False))
        found.append(newer)
    return found


def overlapping(trades: Iterable[PastTrade], first_id: int, last_id: int) -> list[PastTrade]:
    """The trades that have one of these ids."""
    return [each for each in trades if first_id <= id_of(each) and id_of(each) - each.matches < last_id]


def turnovers_of(market: str, instruments: Sequence[InstrumentRow], tickers: Sequence[TickerRow]) -> dict[str, float]:
    """The turnovers of 24 hours by symbol, all in dollars; 0 where that cannot be known."""
    by_symbol = {each.symbol: each for each in tickers}
    last = {
        (row.baseAsset, row.quoteAsset): amount_of(by_symbol[row.symbol].lastPrice)
        for row in instruments
        if row.symbol in by_symbol and not row.is_dated
    }
    found: dict[str, float] = {}
    for row in instruments:
        ticker = by_symbol.get(row.symbol)
        if ticker is None:
            continue
        if market == "inverse":
            found[row.symbol] = amount_of(ticker.volume) * float(row.contract_size or 0)
        else:
            found[row.symbol] = amount_of(ticker.quoteVolume) * dollars_of(row.quoteAsset, last)
    return found
