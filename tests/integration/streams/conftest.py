"""A scripted exchange, and streams against it that are stopped whatever happens."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from streams import ConnectBudget, Dialer, Supervisor
from streams.feed import FeedOptions, MarketFeed
from streams.reader import Reader
from tests.support.callbacks import Recorded
from tests.support.protocol import protocol_of
from tests.support.scripted_exchange import ScriptedExchange
from tests.support.waiting import LIMIT_S, wait_until

STOP_S = 20.0


class Harness:
    """A supervisor with what the collector would give it, against a scripted exchange."""

    def __init__(self, exchange: ScriptedExchange, reader: Reader | None = None) -> None:
        self.exchange = exchange
        self.reader = reader
        self.faults: list[tuple[str, bytes]] = []
        self.budget = ConnectBudget()
        self.streams: list[dict[str, Any]] = []
        self.supervisor: Supervisor | None = None

    def feed(self, market: str = "linear", *, dialer: Dialer | None = None, **options: Any) -> MarketFeed:
        """A feed with deadlines short enough for a test."""
        timeouts = {"ping_interval_s": 0.2, "pong_timeout_s": 0.4, "subscribe_timeout_s": 1.0, "silence_timeout_s": 0.6}
        parts = {name: options.pop(name) for name in ("events", "observe", "trade_watch") if name in options}
        dial = (dialer or Dialer(self.budget, connect_timeout_s=2.0, reader=self.reader)).open
        feed_options = FeedOptions(**{**timeouts, **options})
        return MarketFeed(
            protocol_of(market, stream=self.exchange.url), feed_options, dial=dial, report=self.report, **parts
        )

    def report(self, cause: str, sample: bytes) -> None:
        self.faults.append((cause, sample))

    @property
    def causes(self) -> list[str]:
        return [cause for cause, _ in self.faults]

    def start(self, *entries: tuple[str, Callable[..., object], tuple[Any, ...]], **options: Any) -> Supervisor:
        self.streams += [{"name": name, "func": func, "args": args} for name, func, args in entries]
        defaults = {"reconnect_delay_s": 0.05, "reconnect_cap_s": 0.1}
        self.supervisor = Supervisor(self.streams, **{**defaults, **options})
        self.supervisor.start()
        return self.supervisor

    def wait(self, predicate: Callable[[], object], limit_s: float = LIMIT_S) -> None:
        """As main does: tick while waiting."""
        supervisor = self.supervisor
        assert supervisor is not None
        wait_until(lambda: supervisor.tick() or predicate(), limit_s)

    def state(self, name: str = "T") -> str:
        assert self.supervisor is not None
        return next((status.state for status in self.supervisor.status() if status.name == name), "absent")


@pytest.fixture
def exchange() -> Iterator[ScriptedExchange]:
    with ScriptedExchange() as scripted:
        yield scripted


@pytest.fixture(params=["own thread", "reader"])
def harness(
    request: pytest.FixtureRequest, exchange: ScriptedExchange, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Harness]:
    """Every promise is kept on either thread."""
    is_shared = request.param == "reader"
    monkeypatch.setattr(Recorded, "never_blocks", is_shared)
    reader = Reader() if is_shared else None
    built = Harness(exchange, reader)
    yield built
    if built.supervisor is not None:
        assert built.supervisor.stop(STOP_S) == []
    if reader is not None:
        reader.stop()
        assert "reader" not in {thread.name for thread in threading.enumerate()}
