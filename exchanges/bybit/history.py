"""What one market of Bybit remembers: candles, recent trades, the time.

Blocks the thread that asks, and no longer than its limits say; keeps Bybit's request limits together with every other
asker of the process. Documentation pages: market/kline, market/recent-trade, market/time.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from types import MappingProxyType
from typing import Any, TypeVar

import msgspec

from exchanges.bybit.limits import SHARED, NoTurnError, RestLimiter
from exchanges.bybit.rest import BybitRest, RestError
from exchanges.contract import Candle, HistoryError, PastTrade

MINUTE_MS = 60_000
DAY_MS = 86_400_000
MONTH = 0  # the contract's length of a calendar month
SHORTEST_MONTH_MS = 28 * DAY_MS
MINUTES = (1, 3, 5, 15, 30, 60, 120, 240, 360, 720)
INTERVALS = MappingProxyType(
    {**{m * MINUTE_MS: str(m) for m in MINUTES}, DAY_MS: "D", 7 * DAY_MS: "W", MONTH: "M"}
)  # length in ms -> Bybit's name

PAGE = 1000  # candles per answer, the most Bybit gives
TRADES = 1000  # the most recent-trade gives
TRADES_SPOT = 60

ATTEMPTS = 4
BACKOFF_S = 0.3  # the first of the doubling, jittered waits after a failure
LIMIT_WAIT_S = 1.0  # after 10006 without a time that lies ahead
LIMIT_WAIT_MOST_S = 30.0  # a reset time further away than this is somebody's wrong clock

T = TypeVar("T")


class _Klines(msgspec.Struct):
    list: list[tuple[int, Decimal, Decimal, Decimal, Decimal, Decimal, Decimal]]


class _Trade(msgspec.Struct):
    execId: str  # noqa: N815 - Bybit's name
    price: float
    size: float
    time: int
    seq: int = 0
    isBlockTrade: bool = False  # noqa: N815 - Bybit's name
    isRPITrade: bool = False  # noqa: N815 - Bybit's name


class _Trades(msgspec.Struct):
    list: list[_Trade]


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

    def close(self) -> None:
        """Close the kept connections."""
        self._rest.close()

    def server_time_ms(self) -> int:
        """The exchange's clock; raises HistoryError."""
        answer = self._ask("time", self._rest.server_time, _Time)
        return answer.timeNano // 1_000_000

    def candles(self, symbol: str, step_ms: int, start_ms: int, end_ms: int) -> list[Candle]:
        """Candles with start_ms <= start < end_ms, oldest first, the open one included; raises HistoryError.

        A candle that Bybit does not give (before listing, lagging) is not there. ValueError for a step that Bybit
        does not have.
        """
        if step_ms not in self.candle_steps_ms:
            raise ValueError(f"step is {step_ms!r} ms, Bybit {self.market} has {list(self.candle_steps_ms)}")
        found: list[Candle] = []
        for first_ms, last_ms in self._pages(step_ms, start_ms, end_ms):
            page = self._page(symbol, step_ms, first_ms, last_ms)
            if found and not page:
                break  # older than the listing
            found = page + found
        return found

    def recent_trades(self, symbol: str) -> list[PastTrade]:
        """The newest trades, at most 1000 (spot 60), oldest first, without a hole; raises HistoryError."""
        limit = TRADES_SPOT if self.market == "spot" else TRADES
        query = {"category": self.market, "symbol": symbol, "limit": limit}
        answer = self._ask("recent-trade", self._rest.recent_trade, _Trades, **query)
        return [
            PastTrade(t.execId, t.time, t.price, t.size, t.seq, t.isBlockTrade, t.isRPITrade)
            for t in reversed(answer.list)
        ]

    def _pages(self, step_ms: int, start_ms: int, end_ms: int) -> Iterator[tuple[int, int]]:
        """First and last moment of each page, newest page first. No page can hold more than one answer gives.

        The bounds come from arithmetic and not from the answers, so that no answer can make a hole or a double.
        """
        reach_ms = (step_ms or SHORTEST_MONTH_MS) * PAGE
        if end_ms - start_ms > reach_ms:
            end_ms = min(end_ms, self.server_time_ms() + 1)  # pages of the future are empty
        for last_ms in range(end_ms, start_ms, -reach_ms):
            yield max(start_ms, last_ms - reach_ms), last_ms - 1

    def _page(self, symbol: str, step_ms: int, first_ms: int, last_ms: int) -> list[Candle]:
        query = {"category": self.market, "symbol": symbol, "interval": INTERVALS[step_ms], "limit": PAGE}
        answer = self._ask("kline", self._rest.kline, _Klines, start=first_ms, end=last_ms, **query)
        rows = {row[0]: row for row in answer.list if first_ms <= row[0] <= last_ms}
        return [Candle(*rows[start]) for start in sorted(rows)]

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
    """The `result` of an answer as `shape`, decimals exact; RestError where it makes no sense."""
    try:
        answer = msgspec.convert(result, shape, strict=False)
    except msgspec.ValidationError as error:
        raise RestError("retry", f"the answer makes no sense: {error}") from error
    if isinstance(answer, _Klines):
        check(answer)
    return answer


def check(klines: _Klines) -> None:
    """RestError unless every candle can be one."""
    for _, opened, high, low, closed, volume, turnover in klines.list:
        numbers = (opened, high, low, closed, volume, turnover)
        if not all(n.is_finite() for n in numbers) or not low <= min(opened, closed) <= max(opened, closed) <= high:
            raise RestError("retry", f"the answer makes no sense: candle {[str(n) for n in numbers]}")
