"""The REST APIs of all markets of an exchange, and its clock, for callers that need an answer or None.

Blocks the calling thread (repair, audit). Failures are reported here and returned as None. A request that the exchange
refuses for good, such as an unknown symbol's, is not repeated for a while: the answer is empty.
"""

import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from exchanges.clock import ExchangeClock
from model.ports import HistoryError, MarketHistory, Report
from model.problems import NO_OUTAGES, OutageSink, part_of
from model.records import Candle, PastTrade

ADDRESS_REFUSED = frozenset({403, 418, 429, 451})  # HTTP statuses that have causes of their own
REFUSED_S = 600.0  # how long no request for a refused symbol is sent: it may be listed later

T = TypeVar("T")


class ExchangeRest:
    """A model.ports.HistorySource over the REST API of each market."""

    def __init__(
        self,
        make: Callable[[str, threading.Event], MarketHistory],
        markets: Sequence[str],
        report: Report,
        *,
        clock: ExchangeClock | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        outages: OutageSink = NO_OUTAGES,
    ) -> None:
        """`make(market, stop)` makes the REST API of a market; those of `markets` now, the main one first.

        `clock` None: the exchange's, over REST of the main market. `outages` takes what keeps REST from being reached.
        """
        self._make, self._stop = make, threading.Event()
        self._histories = {market: make(market, self._stop) for market in markets}
        self._report, self._monotonic, self._outages = report, monotonic, outages
        self._refused_until_s: dict[tuple[str, str], float] = {}  # market and symbol; one entry each, ever
        self._looking, self._has_looked = threading.Lock(), threading.Event()
        main = self._histories[markets[0]]
        self.url = main.url
        self.clock = clock or ExchangeClock(lambda: self._watched(markets[0], main.server_time_ms))

    def candle_steps_ms(self, market: str) -> Sequence[int]:
        """As MarketHistory.candle_steps_ms."""
        return self._history(market).candle_steps_ms

    def candles(self, market: str, symbol: str, step_ms: int, start_ms: int, end_ms: int) -> Sequence[Candle] | None:
        """As MarketHistory.candles; None where it cannot be read now."""
        history = self._history(market)
        return self._request(market, symbol, lambda: history.candles(symbol, step_ms, start_ms, end_ms))

    def recent_trades(self, market: str, symbol: str) -> Sequence[PastTrade] | None:
        """As MarketHistory.recent_trades; None where it cannot be read now."""
        history = self._history(market)
        return self._request(market, symbol, lambda: history.recent_trades(symbol))

    def trades_by_id(self, market: str, symbol: str, first_id: int, last_id: int) -> Sequence[PastTrade] | None:
        """As MarketHistory.trades_by_id; None where it cannot be read now."""
        history = self._history(market)
        return self._request(market, symbol, lambda: history.trades_by_id(symbol, first_id, last_id))

    def begin_clock(self) -> None:
        """Have the exchange's time measured once by a thread of its own, which ends then; returns at once."""
        threading.Thread(target=self._look_early, name="clock", daemon=True).start()

    def _look_early(self) -> None:
        """Measure once; where that fails, as before the network is up, the next look is due at once."""
        with self._looking:
            if self.clock.refresh():
                self._has_looked.set()

    def look_at_clock(self) -> None:
        """Measure the exchange's time where that is due; waits for another thread that is at it."""
        with self._looking:
            if not self._has_looked.is_set() or self.clock.seconds_to_refresh() == 0:
                self.clock.refresh()
        self._has_looked.set()

    def wait_for_clock(self, limit_s: float) -> None:
        """Wait until `begin_clock` has measured, or `look_at_clock` was called once, whatever came of that."""
        self._has_looked.wait(limit_s)

    def stop(self) -> None:
        """End every request, and send none any more. Any thread."""
        self._stop.set()

    def _history(self, market: str) -> MarketHistory:
        """The REST API of a market; made at its first request where only an entry of the user's names it."""
        return self._histories.get(market) or self._histories.setdefault(market, self._make(market, self._stop))

    def _request(self, market: str, symbol: str, request: Callable[[], Sequence[T]]) -> Sequence[T] | None:
        if self._monotonic() < self._refused_until_s.get((market, symbol), 0.0):
            return ()
        try:
            return self._watched(market, request)
        except HistoryError as error:
            if not self._stop.is_set():
                self._report(_cause_of(error), str(error).encode())
            if not error.is_final:
                return None
            self._refused_until_s[market, symbol] = self._monotonic() + REFUSED_S
            return ()

    def _watched(self, market: str, request: Callable[[], T]) -> T:
        """Make a request, and record whether the exchange was reached."""
        try:
            found = request()
        except HistoryError as error:
            if error.problem and not self._stop.is_set():
                self._outages.failed(part_of(market), error.problem)
            raise
        self._outages.works(part_of(market))
        return found


def _cause_of(error: HistoryError) -> str:
    if error.problem is None:
        return "history_unreadable"
    return error.problem.cause if error.problem.status in ADDRESS_REFUSED else "history_unreached"
