"""What the exchange remembers, for those who only want an answer or none: all its markets, and its clock.

Blocks the thread that asks (repair, audit). Failures are reported here and come back as None.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from exchanges.clock import ExchangeClock
from exchanges.contract import Candle, History, HistoryError, PastTrade, Report

T = TypeVar("T")


class ExchangeMemory:
    """Histories by market, the main one first. `stop()` ends every question that waits."""

    def __init__(self, histories: Mapping[str, History], stop: threading.Event, report: Report) -> None:
        self._histories = histories
        self._stop = stop
        self._report = report
        self._has_looked = threading.Event()
        main = next(iter(histories.values()))
        self.candle_steps_ms: Sequence[int] = main.candle_steps_ms
        self.clock = ExchangeClock(main.server_time_ms)

    def candles(self, market: str, symbol: str, step_ms: int, start_ms: int, end_ms: int) -> Sequence[Candle] | None:
        """As exchanges.contract.History.candles; None where it cannot be asked now."""
        return self._asked(lambda: self._histories[market].candles(symbol, step_ms, start_ms, end_ms))

    def recent_trades(self, market: str, symbol: str) -> Sequence[PastTrade] | None:
        """As exchanges.contract.History.recent_trades; None where it cannot be asked now."""
        return self._asked(lambda: self._histories[market].recent_trades(symbol))

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

    def _asked(self, question: Callable[[], T]) -> T | None:
        try:
            return question()
        except HistoryError as error:
            if not self._stop.is_set():
                self._report("history_unreadable", str(error).encode())
            return None
