"""A small simulated market on a clock that tests turn by hand."""

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from exchanges.simulated.bybit.control import Control
from exchanges.simulated.bybit.dialect import DIALECT
from exchanges.simulated.hub import Hub, Session
from exchanges.simulated.market import Market
from exchanges.simulated.options import Options

START_MS = 1_760_000_040_000  # 2025-10-09 08:54:00 UTC, the start of a minute and of three


def payloads(session: Session) -> list[Any]:
    """Take out what waits for a client, frames undone, JSON read."""
    texts = []
    for frame in session.pending:
        head = {126: 4, 127: 10}.get(frame[1], 2)
        texts.append(json.loads(frame[head:]))
    session.pending.clear()
    return texts


@dataclass
class Harness:
    """Hub, market and control frames, without a socket."""

    options: Options
    now_ms: int = START_MS
    hub: Hub = field(default_factory=Hub)

    def __post_init__(self) -> None:
        self.market = Market(self.options, self.hub, lambda: self.now_ms * 1000, DIALECT)
        self.control = Control(self.hub, self.market.find, self.market.snapshots, lambda: self.now_ms)

    def client(self, category: str) -> Session:
        """A connection's session."""
        return self.hub.open(category, "conn-1")

    def ask(self, session: Session, **request: Any) -> list[Any]:
        """Send a control frame, take the answers."""
        self.control.handle(session, json.dumps(request))
        return payloads(session)

    def subscribe(self, category: str, *topics: str) -> Session:
        """A session that has these topics and nothing waiting."""
        session = self.client(category)
        answers = self.ask(session, op="subscribe", args=list(topics))
        assert answers[-1]["success"] is True, answers[-1]
        return session

    def run(self, events: int, step_ms: int = 7) -> None:
        """Let events happen, the clock moving on after each handful."""
        for _ in range(events // 10):
            self.market.step(10)
            self.now_ms += step_ms


@pytest.fixture
def harness() -> Harness:
    """Three symbols in each of the four categories."""
    return Harness(
        Options(categories=("linear", "spot", "inverse", "option"), symbols=3, illiquid=0, true_seconds=True)
    )
