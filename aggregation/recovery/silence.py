"""Asks the exchange about symbols that are silent against their rhythm: were there trades that did not come?

Called on the repair thread, a few questions at a time; the aggregator asks, and gets what is found through its queue.
"""

from collections import deque
from collections.abc import Callable, Sequence

from aggregation.trade_queue import Silence
from model.records import PastTrade

AT_A_TIME = 3  # questions per look, and there is about one a second: a small part of what the exchange allows
WAITING_LIMIT = 1_000  # beyond it the oldest are forgotten, and come again
LAG_MS = 3_000  # a trade younger than that may not be in the exchange's memory yet, or be on its way to us

ReadTrades = Callable[[str, str], Sequence[PastTrade] | None]


class SilenceChecker:
    """`submit(market, silence)` takes what was found; where the exchange does not answer nothing is given."""

    def __init__(
        self, read_trades: ReadTrades, give: Callable[[str, Silence], object], now_ms: Callable[[], int]
    ) -> None:
        self._read_trades, self._submit, self._now_ms = read_trades, give, now_ms
        self._waiting: deque[tuple[str, str, int]] = deque(maxlen=WAITING_LIMIT)

    def ask(self, market: str, symbol: str, since_ms: int) -> None:
        """Nothing came of a symbol since then. Any thread."""
        self._waiting.append((market, symbol, since_ms))

    def step(self) -> None:
        """Ask for a few."""
        for _ in range(min(AT_A_TIME, len(self._waiting))):
            market, symbol, since_ms = self._waiting.popleft()
            until_ms = self._now_ms() - LAG_MS
            trades = self._read_trades(market, symbol)
            if not trades or max(trade.event_ms for trade in trades) < since_ms - LAG_MS:
                continue  # it cannot be asked, or is behind us
            is_missed = any(since_ms < trade.event_ms <= until_ms for trade in trades)
            self._submit(market, Silence(symbol, since_ms, until_ms, is_missed))
