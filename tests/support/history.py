"""The exchange's REST API as a test wants it: a HistorySource whose answers are functions."""

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

Read = Callable[..., Any]


def _no_answer(*_what: Any) -> None:
    """Stand in for an exchange that does not answer."""


class FakeHistory:
    """Answers `candles`, `recent_trades` and `trades_by_id` by the functions given, and has a clock of the test.

    `steps_ms` is of all markets, or by market.
    """

    def __init__(
        self,
        *,
        candles: Read = _no_answer,
        recent_trades: Read = _no_answer,
        trades_by_id: Read = _no_answer,
        steps_ms: Sequence[int] | Mapping[str, Sequence[int]] = (),
        now_ms: Callable[[], int] = lambda: 0,
    ) -> None:
        self.candles, self.recent_trades, self.trades_by_id = candles, recent_trades, trades_by_id
        self._steps_ms = steps_ms
        self.clock: Any = SimpleNamespace(
            now_ms=now_ms, sure_ms=now_ms, is_known=True, changes=0, offset_ms=0, span_of=lambda ms: (ms, ms)
        )

    def candle_steps_ms(self, market: str) -> Sequence[int]:
        """Return those of all markets, or of the one."""
        return self._steps_ms[market] if isinstance(self._steps_ms, Mapping) else self._steps_ms

    def look_at_clock(self) -> None:
        """Leave the clock as it is."""

    def wait_for_clock(self, limit_s: float) -> None:
        """Return at once."""
