"""The soak's REST: the exchange's candles, trades and time, late, lagging and often failing. Pure; virtual time."""

from collections.abc import Mapping, Sequence

from benchmarks.soak_exchange import Exchange, NumberedSymbol
from benchmarks.soak_market import CANDLE_STEPS_MS, Symbol
from benchmarks.soak_timeline import Timeline
from model.ports import HistoryError
from model.records import Candle, PastTrade

DOWN_EVERY_MS, DOWN_MS, LONG_DOWN_MS, LONG_SHARE = 180_000, (1_000, 25_000), (40_000, 120_000), 0.15
FAILS = 0.05  # of all requests
DOWN_AT_START = 0.25
LIMITED_SHARE, LIMITED_MS = 0.004, (2_000, 20_000)  # of an exchange that answers 429, and its pause
LAG_MS = (0, 1_500)  # how far the recent trades are behind the stream


class Rest:
    """The exchange's history, which fails at random with HistoryError. A model.ports.MarketHistory."""

    url = ""

    def __init__(
        self, timeline: Timeline, market: Mapping[str, Symbol], steps_ms: Sequence[int] = CANDLE_STEPS_MS
    ) -> None:
        self._timeline, self._market = timeline, market
        self.candle_steps_ms = steps_ms
        self._down_until = 0

    def begin(self) -> None:
        """Fail now and then from here on."""
        self._timeline.plan_every(DOWN_EVERY_MS, self._go_down)

    def candles(self, symbol: str, step_ms: int, start_ms: int, end_ms: int) -> list[Candle]:
        """The exchange's own candles."""
        self._fail_sometimes()
        return self._market[symbol].candles(step_ms, start_ms, end_ms, self._timeline.now)

    def recent_trades(self, symbol: str) -> list[PastTrade]:
        """The newest trades, without those of the last moments."""
        self._fail_sometimes()
        until_ms = self._timeline.now - self._timeline.span(LAG_MS)
        return [trade for trade in self._market[symbol].newest if trade.event_ms <= until_ms]

    def trades_by_id(self, _symbol: str, _first_id: int, _last_id: int) -> list[PastTrade]:
        """Nothing: its ids are unique, not numbers."""
        return []

    def server_time_ms(self) -> int:
        """The exchange's time."""
        self._fail_sometimes()
        return self._timeline.now

    def _fail_sometimes(self) -> None:
        timeline = self._timeline
        if timeline.is_faulty and (timeline.now < self._down_until or timeline.chance(FAILS)):
            timeline.faults["REST failures"] += 1
            raise HistoryError("REST fails")

    def begin_run(self) -> None:
        """Start an outage now and then when a collector begins."""
        if self._timeline.chance(DOWN_AT_START):
            self._go_down(LONG_DOWN_MS)

    def _go_down(self, limits: tuple[int, int] | None = None) -> None:
        timeline = self._timeline
        timeline.faults["REST outages"] += timeline.is_faulty
        self._down_until = timeline.now + timeline.span(
            limits or (LONG_DOWN_MS if timeline.chance(LONG_SHARE) else DOWN_MS)
        )


class NumberedRest(Rest):
    """The history of an exchange with numbered trades, as far as it has them; it limits requests."""

    def __init__(self, timeline: Timeline, market: Mapping[str, Symbol], exchange: Exchange) -> None:
        super().__init__(timeline, market, exchange.steps_ms)
        self._exchange = exchange
        self._limited_until = 0

    def recent_trades(self, symbol: str) -> list[PastTrade]:
        """The newest trades, without those of the last moments."""
        self._fail_sometimes()
        return self._exchange.recent(self._numbered(symbol), self._timeline.now - self._timeline.span(LAG_MS))

    def trades_by_id(self, symbol: str, first_id: int, last_id: int) -> list[PastTrade]:
        """The trades with these ids, without those of the last moments."""
        self._fail_sometimes()
        until_ms = self._timeline.now - self._timeline.span(LAG_MS)
        return self._exchange.by_id(self._numbered(symbol), first_id, last_id, until_ms)

    def _numbered(self, name: str) -> NumberedSymbol:
        symbol = self._market[name]
        assert isinstance(symbol, NumberedSymbol)
        return symbol

    def _fail_sometimes(self) -> None:
        timeline = self._timeline
        if timeline.is_faulty and timeline.now >= self._limited_until and timeline.chance(LIMITED_SHARE):
            timeline.faults["REST limits (429)"] += 1
            self._limited_until = timeline.now + timeline.span(LIMITED_MS)
        if timeline.is_faulty and timeline.now < self._limited_until:
            timeline.faults["REST refused (429)"] += 1
            raise HistoryError("429: too many requests")
        super()._fail_sometimes()
