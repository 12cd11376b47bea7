"""The rows of Bybit's REST answers as records: candles, trades, instruments, turnover. Pure.

A row that makes no sense costs itself: it is returned beside the records, for the log. Documentation pages:
market/kline, market/recent-trade, market/instruments-info, market/tickers.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import msgspec

from exchanges.candles import CandleShape
from exchanges.contract import TradeRules
from exchanges.rest_rows import amount_of, is_time, past_trade, read_row, with_unreadable
from model.records import Candle, PastTrade, TradeId, unreadable_trade

CANDLE = CandleShape()
LAST_SEQ = 2**62  # more is no sequence of an int64


class Rows(msgspec.Struct):
    """The `list` of an answer, its rows not yet read: a row that makes no sense costs itself alone. null is empty."""

    rows: Sequence[Any] | None = msgspec.field(name="list")


class TradeRow(msgspec.Struct):
    execId: str  # noqa: N815 - Bybit's name
    price: float
    size: float
    time: int
    seq: int | None = 0
    isBlockTrade: bool | None = False  # noqa: N815 - Bybit's name
    isRPITrade: bool | None = False  # noqa: N815 - Bybit's name


class TimeOfRow(msgspec.Struct):
    time: int


class ServerTime(msgspec.Struct):
    timeNano: int  # noqa: N815 - Bybit's name


class InstrumentRow(msgspec.Struct):
    symbol: str
    baseCoin: str | None = None  # noqa: N815 - Bybit's names
    quoteCoin: str | None = None  # noqa: N815
    contractType: str | None = None  # noqa: N815


class InstrumentRows(Rows):
    nextPageCursor: str | None = None  # noqa: N815


class TickerRow(msgspec.Struct):
    symbol: str
    turnover24h: str | float | None = None
    volume24h: str | float | None = None
    usdIndexPrice: str | float | None = None  # noqa: N815


def candles_of(rows: Sequence[object], first_ms: int, end_ms: int) -> tuple[dict[int, Candle], list[object]]:
    """Read rows of market/kline: the candles within the bounds by their start, and the rows that make no sense.

    Columns that Bybit may add are ignored. Two different rows for one start are both left out.
    """
    candles: dict[int, Candle] = {}
    odd: list[object] = []
    contradicted = set()
    for row in rows:
        candle = CANDLE.read(row)
        if candle is None:
            odd.append(row)
        elif first_ms <= candle.start_ms < end_ms and candles.setdefault(candle.start_ms, candle) != candle:
            odd.append(row)
            contradicted.add(candle.start_ms)
    return {start: candle for start, candle in candles.items() if start not in contradicted}, odd


def trades_of(rows: Sequence[object], rules: TradeRules) -> tuple[list[PastTrade], list[object]]:
    """Read rows of market/recent-trade (newest first): the trades, oldest first, and the rows that make no sense.

    A row that makes no sense is among the trades too, as unreadable, at its own time or else at its neighbours' times.
    """
    found: list[PastTrade | None] = []
    odd: list[object] = []
    known: dict[TradeId, PastTrade] = {}
    for row in rows:
        raw = read_row(row, TradeRow)
        trade = _past_trade(raw, rules) if raw else None
        if trade and trade == known.setdefault(trade.trade_id, trade) and trade is not known[trade.trade_id]:
            continue  # the same row twice
        if trade is None or known[trade.trade_id] is not trade:
            odd.append(row)
            when = read_row(row, TimeOfRow)
            found.append(unreadable_trade(when.time) if when and is_time(when.time) else None)
        else:
            found.append(trade)
    times_ms = [trade.event_ms for trade in found if trade]
    if sum((older > newer) - (older < newer) for older, newer in itertools.pairwise(times_ms)) > 0:
        found.reverse()  # most are newest first: one wrong time, at an end too, proves nothing
    return list(with_unreadable(found)), odd


def _past_trade(raw: TradeRow, rules: TradeRules) -> PastTrade | None:
    seq = raw.seq or 0
    if not raw.execId or not 0 <= seq <= LAST_SEQ:
        return None
    is_counted = (rules.count_block_trades or not raw.isBlockTrade) and (rules.count_rpi_trades or not raw.isRPITrade)
    return past_trade(raw.execId, raw.time, raw.price, raw.size, seq, is_counted=is_counted)


def turnover_of(market: str, ticker: TickerRow) -> float:
    """The turnover of 24 h, in dollars where that is known: inverse counts volume in dollars, spot has coin pairs."""
    volume, turnover, price = map(amount_of, (ticker.volume24h, ticker.turnover24h, ticker.usdIndexPrice))
    if market == "inverse":
        return volume
    return volume * price if price else turnover
