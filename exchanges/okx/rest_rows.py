"""The rows of OKX's REST answers as records: candles, trades, instruments, turnover. Pure.

A row that makes no sense costs itself: it is returned beside the records, for the log. Documentation pages: REST,
market data (candlesticks, trades, tickers), public data (instruments).
"""

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation

import msgspec

from exchanges.okx.trades import RPI, Count
from exchanges.rest_rows import MOST_DIGITS, decimals_of, is_candle, is_positive, is_time, read_row
from exchanges.trades import Id
from model.markets import Contract
from model.records import Candle, PastTrade

COLUMNS = 8  # start, open, high, low, close, vol, volCcy, volCcyQuote; then whether it is closed
VOLUME_AND_TURNOVER: Mapping[Contract, tuple[int, int]] = {"spot": (5, 7), "linear": (6, 7), "inverse": (7, 6)}
"""Columns in base coin and quote; of inverse contracts in dollars and the coin. `vol` of swaps is in contracts."""

DOLLARS = frozenset({"USD", "USDT", "USDC"})  # what turnovers are compared in; none is worth a rate of its own


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
        try:
            size = Decimal(self.ctVal) * Decimal(self.ctMult or 1)
        except InvalidOperation:
            return None
        return size if size.is_finite() and size > 0 and abs(size.adjusted()) < MOST_DIGITS else None


class TickerRow(msgspec.Struct):
    instId: str  # noqa: N815 - OKX's names
    last: str = ""
    vol24h: str = ""
    volCcy24h: str = ""  # noqa: N815


class TimeRow(msgspec.Struct):
    ts: int


def data_of(body: object) -> Sequence[object]:
    """Return the rows of an answer; ValueError where it has none."""
    rows = body.get("data") if isinstance(body, dict) else None
    if not isinstance(rows, list):
        raise ValueError("it has no list of data")  # noqa: TRY004 - the client reads again what raises ValueError
    return rows


def start_of(row: object) -> int | None:
    """The start of a row of candles, whatever else of it makes no sense."""
    start = read_row(row[0], int) if isinstance(row, list) and row else None
    return start if start is not None and is_time(start) else None


def candle_of(contract: Contract, row: object) -> Candle | None:
    """Read one row of candles; None where no candle can look like it."""
    if not isinstance(row, list) or len(row) < COLUMNS or (start := start_of(row)) is None:
        return None
    if (numbers := decimals_of(row[:COLUMNS])) is None:
        return None
    opened, high, low, closed = prices = numbers[1:5]
    volume, turnover = (numbers[column] for column in VOLUME_AND_TURNOVER[contract])
    if not is_candle(prices, volume, turnover):
        return None
    return Candle(start, opened, high, low, closed, volume, turnover)


def trade_of(row: object, *, counts_rpi: bool) -> PastTrade | None:
    """Read one row of trades; None where it makes no sense."""
    raw = read_row(row, TradeRow)
    if raw is None or not is_time(raw.ts) or not is_positive(raw.px, raw.sz):
        return None
    return PastTrade(
        raw.tradeId,
        raw.ts,
        raw.px,
        raw.sz,
        raw.tradeId,
        matches=raw.count,
        is_counted=counts_rpi or raw.source != RPI,
    )


def turnovers_of(
    contract: Contract, instruments: Sequence[InstrumentRow], tickers: Sequence[TickerRow]
) -> dict[str, float]:
    """The turnovers of 24 hours by symbol, all in dollars; 0 where that cannot be known."""
    last = {each.instId: _number(each.last) for each in tickers}
    found: dict[str, float] = {}
    for each in tickers:
        volume, volume_coin = _number(each.vol24h), _number(each.volCcy24h)
        found[each.instId] = volume_coin * _number(each.last) if contract == "linear" else volume
        if contract == "spot":
            found[each.instId] = volume_coin  # in the quote
    for row in instruments:
        if contract == "inverse":
            found[row.instId] = found.get(row.instId, 0.0) * float(row.contract_size() or 0)
        elif contract == "spot":
            found[row.instId] = found.get(row.instId, 0.0) * _dollars(row.coins()[1], last)
    return found


def _dollars(quote: str, last: Mapping[str, float]) -> float:
    """What one of a quote coin is worth."""
    if quote in DOLLARS:
        return 1.0
    for dollar in sorted(DOLLARS, reverse=True):
        if price := last.get(f"{quote}-{dollar}"):
            return price
        if price := last.get(f"{dollar}-{quote}"):
            return 1 / price
    return 0.0


def _number(text: str) -> float:
    try:
        number = float(text or 0)
    except ValueError:
        return 0.0
    return number if 0 <= number < math.inf else 0.0  # NaN would leave the order of all others to chance
