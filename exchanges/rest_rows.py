"""Rows of REST answers: what the venues' readers of candles, trades and instruments share. Pure, but for RowLog."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeVar

import msgspec
from structlog.typing import FilteringBoundLogger

from model.pacing import ThrottledLogger
from model.ports import HistoryError
from model.records import Instrument, PastTrade, TradeId, unreadable_trade
from model.symbols import is_symbol

EARLIEST_MS = 1_483_228_800_000  # 2017-01-01: none of the exchanges is older
LATEST_MS = 4_102_444_800_000  # 2100-01-01: a later time is garbage
SIZES_S = 600.0  # how long sizes of contracts are taken for right
MOST_DIGITS = 60  # before or after the point: 1E+999999999 would fill the memory
DOLLARS = ("USDT", "USDC", "FDUSD", "USD1", "TUSD", "BUSD", "USD")  # what turnovers are compared in, each worth one

T = TypeVar("T")


def rows_of(body: object, name: str = "") -> Sequence[object]:
    """Return the rows of an answer, which is a list, or has one called so; ValueError where it has none."""
    rows = (body.get(name) if isinstance(body, dict) else None) if name else body
    if not isinstance(rows, list):
        raise ValueError(f"it has no list {name}".strip())  # noqa: TRY004 - the client reads again what raises ValueError
    return rows


def read_row(row: object, shape: type[T]) -> T | None:
    """Read one row as `shape`, decimals exact; None where the row makes no sense."""
    try:
        return msgspec.convert(row, shape, strict=False)
    except (msgspec.ValidationError, ValueError, OverflowError):
        return None


def is_time(ms: int) -> bool:
    """Return whether a time can be one of an exchange's."""
    return EARLIEST_MS < ms < LATEST_MS


def checked_time(ms: int | None, what: str) -> int:
    """Return the exchange's time; HistoryError where it can be none."""
    if ms is None or not is_time(ms):
        raise HistoryError(f"{what}: {ms} ms is no time of today")
    return ms


def decimals_of(values: Sequence[object]) -> list[Decimal] | None:
    """Read numbers of a row exactly; None where one is none, or has more digits than money can have."""
    numbers = read_row(list(values), list[Decimal])
    if numbers is None or not all(n.is_finite() and abs(n.adjusted()) < MOST_DIGITS for n in numbers):
        return None
    return numbers


def is_candle(prices: Sequence[Decimal], *amounts: Decimal) -> bool:
    """Return whether open, high, low and close, and what was traded, can be those of a candle."""
    opened, high, low, closed = prices
    return 0 < low <= min(opened, closed) <= max(opened, closed) <= high and min(amounts) >= 0


def is_positive(*numbers: float) -> bool:
    """Return whether all are finite and above 0."""
    return all(0 < number < math.inf for number in numbers)


def amount_of(value: Any) -> float:
    """Read an amount; 0 where it is none: NaN would leave the order of all others to chance."""
    try:
        number = float(value or 0)
    except (TypeError, ValueError):
        return 0.0
    return number if 0 <= number < math.inf else 0.0


def size_of(*factors: object) -> Decimal | None:
    """The product of numbers as the size of a contract; None where that can be none."""
    if (numbers := decimals_of(factors)) is None:
        return None
    size = math.prod(numbers, start=Decimal(1))
    return size if size > 0 and abs(size.adjusted()) < MOST_DIGITS else None


def dollars_of(quote: str, last: Mapping[tuple[str, str], float]) -> float:
    """What one of a quote coin is worth by the last prices of pairs; 0 where that is not known."""
    if quote in DOLLARS:
        return 1.0
    for dollar in DOLLARS:
        if price := last.get((quote, dollar)):
            return price
        if price := last.get((dollar, quote)):  # USDTTRY
            return 1 / price
    return 0.0


def past_trade(
    trade_id: TradeId, ms: int, price: float, size: float, seq: int = 0, matches: int = 1, *, is_counted: bool = True
) -> PastTrade | None:
    """Return a trade of REST; None where its time, price or size can be none."""
    if not is_time(ms) or not is_positive(price, size):
        return None
    return PastTrade(trade_id, ms, price, size, seq, matches, is_counted)


def id_of(trade: PastTrade) -> int:
    """The id of a trade that was read, of an exchange whose ids are numbers."""
    assert isinstance(trade.trade_id, int)
    return trade.trade_id


def with_unreadable(trades: Sequence[PastTrade | None]) -> Iterator[PastTrade]:
    """Yield trades (oldest first), one that could not be read as unreadable ones at both its neighbours' times."""
    for position, trade in enumerate(trades):
        if trade is not None:
            yield trade
            continue
        older = next((each for each in reversed(trades[:position]) if each), None)
        newer = next((each for each in trades[position:] if each), None)
        yield from (unreadable_trade(each.event_ms) for each in (older, newer) if each)


class ContractSizes:
    """How much a contract of each symbol of a market is, for volumes of REST. Thread safe.

    The listing is read for the first symbol, for one that it does not have, and where it is older than SIZES_S: sizes
    may change.
    """

    def __init__(
        self, read: Callable[[], Mapping[str, Decimal | None]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._read, self._clock = read, clock
        self._sizes: Mapping[str, Decimal | None] = {}
        self._due_s = -math.inf

    def know(self, sizes: Mapping[str, Decimal | None]) -> None:
        """Take what the listing says now: whoever reads it has it read, too."""
        self._sizes, self._due_s = sizes, self._clock() + SIZES_S

    def of(self, symbol: str) -> Decimal:
        """Return the size of a contract; raises HistoryError, a final one where the exchange lists none."""
        if symbol not in self._sizes or self._clock() >= self._due_s:
            self.know(self._read())
        if (size := self._sizes.get(symbol)) is None:
            raise HistoryError(f"candles of {symbol}: the exchange does not list its contract size", is_final=True)
        return size


class RowLog:
    """Logs what of a market's answers makes no sense, in one line a minute for each sort. Thread safe as its logger."""

    def __init__(self, log: FilteringBoundLogger, market: str) -> None:
        self._log, self._market = ThrottledLogger(log), market

    def readable(self, rows: Sequence[object], shape: type[T], path: str) -> list[T]:
        """Return the rows that make sense; the others are logged."""
        read = [(row, read_row(row, shape)) for row in rows]
        self.odd([row for row, made in read if made is None], path)
        return [made for _, made in read if made is not None]

    def odd(self, rows: Sequence[object], path: str, symbol: str = "") -> None:
        """Log rows that make no sense."""
        if rows:
            self._log.warning(
                "rest_rows_odd",
                path=path,
                market=self._market,
                symbol=symbol,
                rows=len(rows),
                sample=repr(rows[0])[:200],
            )

    def trades(
        self, rows: Sequence[object], read: Callable[[object], PastTrade | None], path: str, symbol: str
    ) -> list[PastTrade | None]:
        """Return the trades of rows, in their order; None for one that makes no sense, which is logged."""
        trades = [read(row) for row in rows]
        self.odd([row for row, trade in zip(rows, trades, strict=True) if trade is None], path, symbol)
        return trades

    def listed(self, instruments: Iterable[Instrument]) -> list[Instrument]:
        """Return the instruments that a stream can carry, each symbol once: the last of it. Others are logged.

        So are those without the size of a contract: no candles can be made of them.
        """
        found = {each.symbol: each for each in instruments}
        named = [each for each in found.values() if is_symbol(each.symbol)]
        self.symbols("symbols_unsupported", found.keys() - {each.symbol for each in named})
        self.symbols("contract_size_unknown", (each.symbol for each in named if each.contract_size is None))
        return named

    def symbols(self, event: str, names: Iterable[str]) -> None:
        """Log symbols that are left out, and why."""
        if found := sorted(names):
            self._log.warning(event, market=self._market, count=len(found), symbols=found[:20])
