"""What the exchange remembers, for those who only want an answer or none: all its markets, and its clock.

Blocks the thread that asks (repair, audit). Failures are reported here and come back as None. What the exchange
refuses for good, such as an unknown symbol, is not asked again for a while: the answer is empty.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from exchanges.clock import ExchangeClock
from model.ports import HistoryError, MarketHistory, Report
from model.records import Candle, PastTrade

REFUSED_S = 600.0  # how long a symbol that the exchange refused is not asked about: it may be listed later

T = TypeVar("T")


class ExchangeMemory:
    """Histories by market, the main one first. `stop()` ends every question that waits.

    Trades are left out as they are in the stream: see `count_block_trades` and `count_rpi_trades`.
    """

    def __init__(
        self,
        histories: Mapping[str, MarketHistory],
        stop: threading.Event,
        report: Report,
        *,
        count_block_trades: bool = True,
        count_rpi_trades: bool = True,
        clock: ExchangeClock | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` None: the exchange's, on this machine's."""
        self._histories = histories
        self._stop = stop
        self._report = report
        self._count_block, self._count_rpi = count_block_trades, count_rpi_trades
        self._monotonic = monotonic
        self._refused_until_s: dict[tuple[str, str], float] = {}  # market and symbol; one entry each, ever
        self._has_looked = threading.Event()
        main = next(iter(histories.values()))
        self.url = main.url
        self.candle_steps_ms: Sequence[int] = main.candle_steps_ms
        self.clock = clock or ExchangeClock(main.server_time_ms)

    def candles(self, market: str, symbol: str, step_ms: int, start_ms: int, end_ms: int) -> Sequence[Candle] | None:
        """As MarketHistory.candles; None where it cannot be asked now."""
        history = self._histories[market]
        return self._asked(market, symbol, lambda: history.candles(symbol, step_ms, start_ms, end_ms))

    def recent_trades(self, market: str, symbol: str) -> Sequence[PastTrade] | None:
        """As MarketHistory.recent_trades, but for what does not count; None where it cannot be asked."""
        found = self._asked(market, symbol, lambda: self._histories[market].recent_trades(symbol))
        if found is None or (self._count_block and self._count_rpi):
            return found
        return [trade for trade in found if self._counts(trade)]

    def look_at_clock(self) -> None:
        """Measure the exchange's time where that is due."""
        if self.clock.seconds_to_refresh() == 0:
            self.clock.refresh()
        self._has_looked.set()

    def wait_for_clock(self, limit_s: float) -> None:
        """Wait until `look_at_clock` has been called once, by another thread, whatever came of it."""
        self._has_looked.wait(limit_s)

    def stop(self) -> None:
        """Ask nothing any more. Any thread."""
        self._stop.set()

    def _counts(self, trade: PastTrade) -> bool:
        return (self._count_block or not trade.is_block) and (self._count_rpi or not trade.is_rpi)

    def _asked(self, market: str, symbol: str, question: Callable[[], Sequence[T]]) -> Sequence[T] | None:
        if self._monotonic() < self._refused_until_s.get((market, symbol), 0.0):
            return ()
        try:
            return question()
        except HistoryError as error:
            if not self._stop.is_set():
                self._report("history_unreadable", str(error).encode())
            if not error.is_final:
                return None
            self._refused_until_s[market, symbol] = self._monotonic() + REFUSED_S
            return ()
