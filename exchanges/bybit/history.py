"""What one market of Bybit remembers: candles, recent trades, the time.

Blocks the thread that asks, and no longer than its limits say; keeps Bybit's request limits together with every other
asker of the process. Documentation pages: market/kline, market/recent-trade, market/time.
"""

import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Any, TypeVar

import msgspec
import structlog

from exchanges.bybit.intervals import INTERVALS
from exchanges.bybit.limits import SHARED, NoTurnError, RestLimiter
from exchanges.bybit.rest import BybitRest, RestError
from model.intervals import LONGEST_MONTH_MS, SHORTEST_MONTH_MS
from model.ports import HistoryError
from model.records import Candle, PastTrade, unreadable_trade

PAGE = 1000  # candles per answer, the most Bybit gives
COLUMNS = 7  # start, open, high, low, close, volume, turnover
PAGES_SPARE, PAGES_TIMES = (
    20,
    10,
)  # a range may need so many pages, and so many times those it fills: answers may be cut
TRADES = 1000  # the most recent-trade gives
TRADES_SPOT = 60

ATTEMPTS = 4
BACKOFF_S = 0.3  # the first of the doubling, jittered waits after a failure
LIMIT_WAIT_S = 1.0  # after 10006 without a time that lies ahead
LIMIT_WAIT_MOST_S = 30.0  # a reset time further away than this is somebody's wrong clock

ODD_EVERY_S = 60.0  # between two log lines about rows that make no sense
EARLIEST_MS = 1_514_764_800_000  # 2018-01-01: there was no Bybit before
LATEST_MS = 4_102_444_800_000  # 2100-01-01: a later time is garbage
LAST_SEQ = 2**62  # more is no sequence of an int64
MOST_DIGITS = 60  # before or after the point: all the money there is has 16, and 1E+999999999 would fill the memory

log = structlog.get_logger()

T = TypeVar("T")


class Rows(msgspec.Struct):
    """The `list` of an answer, each row still as it came: one that makes no sense costs itself. null is empty."""

    rows: Sequence[Any] | None = msgspec.field(name="list")


class _Trade(msgspec.Struct):
    execId: str  # noqa: N815 - Bybit's name
    price: float
    size: float
    time: int
    seq: int | None = 0
    isBlockTrade: bool | None = False  # noqa: N815 - Bybit's name
    isRPITrade: bool | None = False  # noqa: N815 - Bybit's name


class _When(msgspec.Struct):
    time: int


class _Time(msgspec.Struct):
    timeNano: int  # noqa: N815 - Bybit's name


class BybitHistory:
    """One market (linear, inverse, spot; option without candles). Satisfies exchanges.contract.History.

    Thread safe. Nothing is opened before the first request. Setting `stop` ends every wait with HistoryError.
    """

    def __init__(
        self,
        market: str,
        *,
        url: str | None = None,
        testnet: bool = False,
        limiter: RestLimiter = SHARED,
        stop: threading.Event | None = None,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        """`url` (scheme, host, port) replaces the exchange's own."""
        self.market = market
        self.candle_steps_ms: Sequence[int] = () if market == "option" else tuple(INTERVALS)
        self._limiter = limiter
        self._stop = stop or threading.Event()
        self._rest = BybitRest(url, testnet, self._stop)
        self.url: str = self._rest.http.endpoint
        self._wall_ms = wall_ms
        self._odd, self._next_odd_s = 0, float("-inf")

    def close(self) -> None:
        """Close the kept connections."""
        self._rest.close()

    def server_time_ms(self) -> int:
        """The exchange's clock; raises HistoryError."""
        time_ms = self._ask("time", self._rest.server_time, _Time).timeNano // 1_000_000
        if not EARLIEST_MS < time_ms < LATEST_MS:
            raise HistoryError(f"GET /v5/market/time: {time_ms} ms is no time of today")
        return time_ms

    def candles(self, symbol: str, step_ms: int, start_ms: int, end_ms: int) -> list[Candle]:
        """Candles with start_ms <= start < end_ms, oldest first, the open one included; raises HistoryError.

        A candle that Bybit does not give (before listing, lagging, a row that makes no sense) is not there. ValueError
        for a step that Bybit does not have.
        """
        if step_ms not in self.candle_steps_ms:
            raise ValueError(f"step is {step_ms!r} ms, Bybit {self.market} has {list(self.candle_steps_ms)}")
        found: dict[int, Candle] = {}
        reach_ms, longest_ms = (step_ms or SHORTEST_MONTH_MS) * PAGE, step_ms or LONGEST_MONTH_MS
        last_ms, pages_left = end_ms, PAGES_SPARE + PAGES_TIMES * (end_ms - start_ms) // reach_ms
        while last_ms > start_ms:
            first_ms = max(start_ms, last_ms - reach_ms)
            oldest_ms, newest_ms = self._read_page(found, symbol, step_ms, first_ms, last_ms)
            is_empty = newest_ms < first_ms
            while not is_empty and newest_ms + 2 * longest_ms <= last_ms:  # cut off at its newer end, or a hole
                _, beyond_ms = self._read_page(found, symbol, step_ms, newest_ms + 1, last_ms)
                newest_ms = beyond_ms if beyond_ms > newest_ms else last_ms
            if oldest_ms - first_ms >= longest_ms and not (is_empty and first_ms == start_ms):
                first_ms = self._older(found, symbol, step_ms, (start_ms, first_ms, oldest_ms))
            last_ms, pages_left = first_ms, pages_left - 1
            if pages_left < 0:
                raise HistoryError(f"kline of {symbol}: {(end_ms - start_ms) // reach_ms + 1} pages do not end")
        return [found[start] for start in sorted(found)]

    def recent_trades(self, symbol: str) -> list[PastTrade]:
        """The newest trades, at most 1000 (spot 60), oldest first, without a hole; raises HistoryError.

        A row that makes no sense is there as an `unreadable_trade`.
        """
        limit = TRADES_SPOT if self.market == "spot" else TRADES
        query = {"category": self.market, "symbol": symbol, "limit": limit}
        for _ in range(2):  # an answer of which nothing makes sense is asked for once more
            answer = self._ask("recent-trade", self._rest.recent_trade, Rows, **query)
            trades, odd = trades_of(answer.rows or ())
            if trades or not odd:
                break
        self._warn_of(odd, "recent-trade", symbol)
        return trades

    def _older(self, found: dict[int, Candle], symbol: str, step_ms: int, span: tuple[int, int, int]) -> int:
        """Where to go on below a page that does not reach its own begin, which may be the end, cut off, or a hole.

        One answer about all that is left proves an end; an empty one about the hole proves that it is one, for an
        empty answer is of its whole span however many rows a page may have.
        """
        start_ms, first_ms, oldest_ms = span
        _, below_ms = self._read_page(found, symbol, step_ms, start_ms, oldest_ms)
        if below_ms < start_ms:
            return start_ms
        if below_ms + 1 + (step_ms or LONGEST_MONTH_MS) > oldest_ms:
            return below_ms  # nothing is between
        between_ms, _ = self._read_page(found, symbol, step_ms, below_ms + 1, oldest_ms)
        return below_ms if between_ms >= oldest_ms else first_ms

    def _read_page(
        self, found: dict[int, Candle], symbol: str, step_ms: int, first_ms: int, end_ms: int
    ) -> tuple[int, int]:
        """Put the candles of one answer into `found`; returns the oldest and the newest start in it.

        Those are `end_ms` and before `first_ms` where nothing is there. A row with a start counts for them, whatever
        else of it makes no sense.
        """
        if first_ms >= end_ms:
            return end_ms, first_ms - 1
        query = {"category": self.market, "symbol": symbol, "interval": INTERVALS[step_ms], "limit": PAGE}
        for _ in range(2):  # an answer of which nothing makes sense is asked for once more
            answer = self._ask("kline", self._rest.kline, Rows, start=first_ms, end=end_ms - 1, **query)
            candles, odd = candles_of(answer.rows or (), first_ms, end_ms)
            if candles or not odd:
                break
        self._warn_of(odd, "kline", symbol)
        found.update(candles)
        seen = [*candles, *(start for start in map(start_of, odd) if first_ms <= start < end_ms)]
        return min(seen, default=end_ms), max(seen, default=first_ms - 1)

    def _warn_of(self, odd: Sequence[object], page: str, symbol: str = "") -> None:
        """Tell of rows that make no sense, in one line a minute."""
        self._odd += len(odd)
        if odd and time.monotonic() >= self._next_odd_s:
            self._next_odd_s = time.monotonic() + ODD_EVERY_S
            log.warning(
                "rest_rows_odd", page=page, market=self.market, symbol=symbol, rows=self._odd, sample=repr(odd[0])[:200]
            )
            self._odd = 0

    def _ask(self, page: str, call: Callable[..., Any], shape: type[T], **query: Any) -> T:
        """One answer, whatever it takes within the limits; raises HistoryError with the last failure."""
        asked = f"GET /v5/market/{page} {query}"
        failure: RestError | None = None
        for attempt in range(ATTEMPTS):
            try:
                self._limiter.acquire(self._stop)
                return read(call(**query), shape)
            except NoTurnError as error:
                raise HistoryError(f"{asked}: {error}" + (f" (before: {failure})" if failure else "")) from error
            except RestError as error:
                failure = error
                if not self._remedy(error, attempt):
                    break
        is_final = failure is not None and failure.remedy == "none"
        raise HistoryError(f"{asked}: {failure}", is_final=is_final) from failure

    def _remedy(self, error: RestError, attempt: int) -> bool:
        """Do what the failure asks for; whether another attempt makes sense."""
        if error.remedy == "breaker":
            self._limiter.ban()
        elif error.remedy == "wait":
            self._limiter.pause(self._limit_wait_s(error.reset_ms))
            return True
        elif error.remedy == "retry":
            wait_s = random.uniform(0.5, 1.0) * BACKOFF_S * 2**attempt  # noqa: S311 - jitter, not cryptography
            return attempt + 1 < ATTEMPTS and not self._stop.wait(wait_s)
        return False

    def _limit_wait_s(self, reset_ms: int) -> float:
        left_s = (reset_ms - self._wall_ms()) / 1000
        return min(left_s, LIMIT_WAIT_MOST_S) if left_s > 0 else LIMIT_WAIT_S


def read(result: Any, shape: type[T]) -> T:
    """The `result` of an answer as `shape`; RestError where it makes no sense."""
    try:
        return msgspec.convert(result, shape, strict=False)
    except msgspec.ValidationError as error:
        raise RestError("retry", f"the answer makes no sense: {error}") from error


def read_row(row: object, shape: type[T]) -> T | None:
    """One row as `shape`, decimals exact; None where it makes no sense."""
    try:
        return msgspec.convert(row, shape, strict=False)
    except (msgspec.ValidationError, ValueError, OverflowError):
        return None


def candles_of(rows: Sequence[object], first_ms: int, end_ms: int) -> tuple[dict[int, Candle], list[object]]:
    """The candles of these rows within the bounds, by start, and the rows that make no sense.

    Columns that Bybit may add are left alone. Of two rows for one start that are not equal neither is believed.
    """
    candles: dict[int, Candle] = {}
    odd: list[object] = []
    contradicted = set()
    for row in rows:
        candle = candle_of(row)
        if candle is None:
            odd.append(row)
        elif first_ms <= candle.start_ms < end_ms and candles.setdefault(candle.start_ms, candle) != candle:
            odd.append(row)
            contradicted.add(candle.start_ms)
    return {start: candle for start, candle in candles.items() if start not in contradicted}, odd


def candle_of(row: object) -> Candle | None:
    """The candle that a row of market/kline is; None where it can be none."""
    if (
        not isinstance(row, list | tuple)
        or (read := read_row(row[:COLUMNS], list[Decimal])) is None
        or len(read) < COLUMNS
    ):
        return None
    if not all(number.is_finite() and abs(number.adjusted()) < MOST_DIGITS for number in read):
        return None
    start, opened, high, low, closed, volume, turnover = read
    if start != int(start) or volume < 0 or turnover < 0:
        return None
    if not 0 < low <= min(opened, closed) <= max(opened, closed) <= high:
        return None
    return Candle(int(start), opened, high, low, closed, volume, turnover)


def start_of(row: object) -> int:
    """The start that a row of market/kline has; -1 where it has none."""
    first = row[0] if isinstance(row, list | tuple) and row else None
    return start if (start := read_row(first, int)) is not None else -1


def trades_of(rows: Sequence[object]) -> tuple[list[PastTrade], list[object]]:
    """The trades of these rows (newest first), oldest first, and the rows that make no sense.

    Each of the latter is among the trades as well, as unreadable, at its own time or else at those of its neighbours.
    """
    found: list[PastTrade | None] = []
    odd: list[object] = []
    known: dict[str, PastTrade] = {}
    for row in rows:
        raw = read_row(row, _Trade)
        trade = _past_trade(raw) if raw else None
        if trade and trade == known.setdefault(trade.trade_id, trade) and trade is not known[trade.trade_id]:
            continue  # the same row twice
        if trade is None or known[trade.trade_id] is not trade:
            odd.append(row)
            when = read_row(row, _When)
            found.append(unreadable_trade(when.time) if when and EARLIEST_MS < when.time < LATEST_MS else None)
        else:
            found.append(trade)
    times_ms = [trade.event_ms for trade in found if trade]
    if sum((older > newer) - (older < newer) for older, newer in itertools.pairwise(times_ms)) > 0:
        found.reverse()  # most are newest first: one wrong time, at an end too, says nothing
    return list(_with_neighbours_times(found)), odd


def _past_trade(raw: _Trade) -> PastTrade | None:
    numbers = (raw.price, raw.size)
    if not raw.execId or not all(0 < n < float("inf") for n in numbers) or not EARLIEST_MS < raw.time < LATEST_MS:
        return None
    seq = raw.seq or 0
    if not 0 <= seq <= LAST_SEQ:
        return None
    return PastTrade(raw.execId, raw.time, raw.price, raw.size, seq, bool(raw.isBlockTrade), bool(raw.isRPITrade))


def _with_neighbours_times(found: Sequence[PastTrade | None]) -> Iterator[PastTrade]:
    """`found` (oldest first) with unreadable trades in the place of what has no time: it may be any of both times."""
    for position, trade in enumerate(found):
        if trade is not None:
            yield trade
            continue
        older = next((each for each in reversed(found[:position]) if each), None)
        newer = next((each for each in found[position:] if each), None)
        yield from (unreadable_trade(each.event_ms) for each in (older, newer) if each)
