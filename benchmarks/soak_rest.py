"""The soak's REST: the exchange's candles, trades and time, late, lagging and often failing. Pure; virtual time."""

from collections.abc import Mapping, Sequence

from benchmarks.soak_market import CANDLE_STEPS_MS, Symbol
from benchmarks.soak_timeline import Stage
from model.ports import HistoryError
from model.records import Candle, PastTrade

DOWN_EVERY_MS, DOWN_MS, LONG_DOWN_MS, LONG_SHARE = 180_000, (1_000, 25_000), (40_000, 120_000), 0.15
FAILS = 0.05  # of all questions
DOWN_AT_START = 0.25
LAG_MS = (0, 1_500)  # how far the recent trades are behind the stream


class Rest:
    """What the exchange remembers; raises HistoryError. Satisfies model.ports.MarketHistory."""

    url = ""
    candle_steps_ms: Sequence[int] = CANDLE_STEPS_MS

    def __init__(self, stage: Stage, market: Mapping[str, Symbol]) -> None:
        self._stage, self._market = stage, market
        self._down_until = 0

    def begin(self) -> None:
        """Fail now and then from here on."""
        self._stage.plan_every(DOWN_EVERY_MS, self._go_down)

    def candles(self, symbol: str, step_ms: int, start_ms: int, end_ms: int) -> list[Candle]:
        """The exchange's own candles."""
        self._fail_sometimes()
        rows = self._market[symbol].candles(step_ms, start_ms, end_ms, self._stage.now)
        return [Candle(*row) for row in rows]

    def recent_trades(self, symbol: str) -> list[PastTrade]:
        """The newest trades, but for those of just now."""
        self._fail_sometimes()
        until_ms = self._stage.now - self._stage.span(LAG_MS)
        return [PastTrade(*trade) for trade in self._market[symbol].newest if trade.event_ms <= until_ms]

    def server_time_ms(self) -> int:
        """The exchange's time."""
        self._fail_sometimes()
        return self._stage.now

    def _fail_sometimes(self) -> None:
        stage = self._stage
        if stage.is_faulty and (stage.now < self._down_until or stage.chance(FAILS)):
            stage.faults["REST failures"] += 1
            raise HistoryError("REST fails")

    def begin_life(self) -> None:
        """A collector begins; now and then it finds nobody who answers."""
        if self._stage.chance(DOWN_AT_START):
            self._go_down(LONG_DOWN_MS)

    def _go_down(self, limits: tuple[int, int] | None = None) -> None:
        stage = self._stage
        stage.faults["REST outages"] += stage.is_faulty
        self._down_until = stage.now + stage.span(limits or (LONG_DOWN_MS if stage.chance(LONG_SHARE) else DOWN_MS))
