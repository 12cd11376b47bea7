"""A planner in virtual time, as main drives it: a step each second."""

from typing import Any

from app.alerts.planner import Alert, AlertPlanner, PlannerOptions
from model.events import Connected, Disconnected, SinkDown, SinkUp, StatusEvent

BEGIN_MS = 1_795_176_000_000  # 12:00 UTC
SYMBOLS = ("BTCUSDT", "ETHUSDT")


class Timeline:
    """`alerts` with the second they were sent in; a stream's name is `market kind`."""

    def __init__(self, **options: Any) -> None:
        self.planner = AlertPlanner(PlannerOptions("bybit", "bybit linear", **options))
        self.now_s = 0.0
        self.alerts: list[tuple[float, Alert]] = []
        self.gone: set[str] = set()
        self.streams: set[str] = set()
        self.why = ""

    @property
    def now_ms(self) -> int:
        """The wall clock."""
        return BEGIN_MS + round(self.now_s * 1000)

    @property
    def texts(self) -> list[str]:
        """What was told so far."""
        return [alert.text for _, alert in self.alerts]

    @property
    def events(self) -> list[str]:
        """Of which kind each alert was."""
        return [alert.event for _, alert in self.alerts]

    def emit(self, event: StatusEvent) -> None:
        """Hand over one event now."""
        self.planner.take(event, self.now_s, self.now_ms)

    def up(self, *names: str, symbols: tuple[str, ...] = SYMBOLS) -> None:
        """Connect streams."""
        for name in names:
            self.streams.add(name)
            market, kind = name.split()[:2]
            self.emit(Connected(stream=name, market=market, kind=kind, symbols=symbols))

    def down(self, *names: str, reason: str = "it went", symbols: tuple[str, ...] = SYMBOLS) -> None:
        """Disconnect streams."""
        for name in names:
            market, kind = name.split()[:2]
            self.emit(Disconnected(stream=name, market=market, kind=kind, symbols=symbols, reason=reason))

    def sink_down(self) -> None:
        """Have Redis refuse."""
        self.emit(SinkDown(sink="redis", reason="refused", from_ms=self.now_ms))

    def sink_up(self, **lost: int) -> None:
        """Have Redis take again."""
        self.emit(SinkUp(sink="redis", **lost))

    def run(self, seconds: float) -> None:
        """Let time pass."""
        until_s = self.now_s + seconds
        while self.now_s < until_s:
            self.now_s = min(self.now_s + 1.0, until_s)
            self.step()

    def step(self) -> None:
        """Ask what is to be told now."""
        running = dict.fromkeys(self.streams - self.gone, self.why)
        found = self.planner.step(self.now_s, self.now_ms, lambda: running)
        self.alerts += [(self.now_s, alert) for alert in found]

    def stop(self, problem: str | None = None) -> None:
        """End the collector."""
        self.alerts += [(self.now_s, alert) for alert in self.planner.stop(self.now_s, self.now_ms, problem)]


def most_in_an_hour(times_s: list[float]) -> int:
    """The most messages in any hour."""
    return max((sum(at_s <= other < at_s + 3600 for other in times_s) for at_s in times_s), default=0)
