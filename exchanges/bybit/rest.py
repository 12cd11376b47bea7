"""Bybit's REST for one market: candles, recent trades, the exchange's time.

Blocks the calling thread, and no longer than its limits allow. Requests go through the API client's engine: one
transport, one table of errors, one limit per address for the whole process. Documentation pages: market/kline,
market/recent-trade, market/time.
"""

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Any, TypeVar

import msgspec
import requests
import structlog

from exchanges.bybit.client.connection import CONNECT_TIMEOUT_S, ConnectionManager
from exchanges.bybit.client.engine import Engine, RetryPolicy
from exchanges.bybit.client.errors import BadAnswerError, BybitError, ClosedError
from exchanges.bybit.client.limits import HostLimits
from exchanges.bybit.client.pybit_http import Call
from exchanges.bybit.client.steps import SyncDriver
from exchanges.bybit.client.transport import Transport
from exchanges.bybit.intervals import INTERVALS
from model.intervals import LONGEST_MONTH_MS, SHORTEST_MONTH_MS
from model.ports import HistoryError
from model.records import Candle, PastTrade, unreadable_trade
from network.http import Session

PAGE = 1000  # candles per answer, the most Bybit gives
COLUMNS = 7  # start, open, high, low, close, volume, turnover
PAGES_SPARE, PAGES_TIMES = (
    20,
    10,
)  # a range may need so many pages, and so many times those it fills: answers may be cut
TRADES = 1000  # the most recent-trade gives
TRADES_SPOT = 60

READ_TIMEOUT_S = 5.0  # between two pieces of an answer; Bybit answers in tens of milliseconds
REQUEST_TIMEOUT_S = 15.0  # from the name to the last byte
POOL_SIZE = 8  # connections kept; more threads than this at once open and close their own
RETRIES = RetryPolicy(refusals=4)  # a read that is refused so often fails, and is left to its caller to repeat

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
    """The history of one market (linear, inverse, spot; option without candles): model.ports.HistorySource.

    Thread safe. Nothing is opened before the first request. Setting `stop` ends every wait with HistoryError.
    """

    def __init__(
        self,
        market: str,
        *,
        url: str | None = None,
        testnet: bool = False,
        stop: threading.Event | None = None,
        limits: HostLimits | None = None,
        retries: RetryPolicy = RETRIES,
        read_timeout_s: float = READ_TIMEOUT_S,
        session: requests.Session | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`url` (scheme, host, port) replaces the exchange's own; `limits` and `session` None: the process's, its own.

        Raises CertificatesError where certificates are named that are not there.
        """
        self.market = market
        self.candle_steps_ms: Sequence[int] = () if market == "option" else tuple(INTERVALS)
        self._stop = stop or threading.Event()
        timeout = (CONNECT_TIMEOUT_S, read_timeout_s)
        connection = ConnectionManager(testnet=testnet and url is None, url=url, timeout=timeout)
        self.url: str = connection.base_url
        session = session or Session(REQUEST_TIMEOUT_S, POOL_SIZE, self._stop)
        self._transport = Transport(connection, session, clock)
        self._driver = SyncDriver(self._transport, self._stop)
        self._engine = Engine(
            connection, limits=limits, round_prices=False, retries=retries, stop=self._stop, clock=clock
        )
        self._odd, self._next_odd_s = 0, float("-inf")

    def close(self) -> None:
        """Close the kept connections."""
        self._transport.close()

    def server_time_ms(self) -> int:
        """The exchange's clock; raises HistoryError."""
        time_ms = self._get("time", _Time).timeNano // 1_000_000
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
            answer = self._get("recent-trade", Rows, **query)
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
            answer = self._get("kline", Rows, start=first_ms, end=end_ms - 1, **query)
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

    def _get(self, page: str, shape: type[T], **query: Any) -> T:
        """The `result` of one GET as `shape`; raises HistoryError with the last failure."""
        params = {name: str(value) for name, value in query.items()}
        call = Call("GET", f"/v5/market/{page}", params, is_signed=False)
        if self._stop.is_set():
            raise HistoryError(f"{call.endpoint} {query}: stopped")
        try:
            return self._driver.run(self._engine.read(call, lambda result: _converted(result, shape)))
        except ClosedError as error:
            raise HistoryError(f"{call.endpoint} {query}: stopped") from error
        except BybitError as error:
            text = str(error).removeprefix(f"{call.endpoint}: ")
            raise HistoryError(f"{call.endpoint} {query}: {text}", is_final=error.remedy == "none") from error


def _converted(result: Any, shape: type[T]) -> T:
    try:
        return msgspec.convert(result, shape, strict=False)
    except msgspec.ValidationError as error:
        raise BadAnswerError(f"the answer makes no sense: {error}", is_retry_safe=True) from error


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
