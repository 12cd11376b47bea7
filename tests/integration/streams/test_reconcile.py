"""Symbols that come and go on a running connection, against the simulated exchange."""

from collections.abc import Iterator
from typing import Any

import pytest

from streams import ConnectBudget, Dialer, Supervisor
from streams.feed import FeedOptions, MarketFeed
from streams.plan import LiveSymbols
from tests.integration.streams.conftest import STOP_S
from tests.support.callbacks import Recorded
from tests.support.protocol import protocol_of
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def simulator() -> Iterator[SimulatorProcess]:
    with SimulatorProcess("--rate", "300", "--symbols", "40", "--history-minutes", "1") as process:
        yield process


class Stream:
    """One stream of changeable symbols."""

    def __init__(self, simulator: SimulatorProcess, market: str, kind: str, symbols: list[str]) -> None:
        self.simulator, self.market, self.sink = simulator, market, Recorded()
        self.symbols = LiveSymbols(symbols)
        self.faults: list[str] = []
        feed = MarketFeed(
            protocol_of(market, stream=simulator.ws_url(market)),
            FeedOptions(),
            dial=Dialer(ConnectBudget()).open,
            report=lambda cause, _sample: self.faults.append(cause),
        )
        entry: dict[str, Any] = {"name": "S", "func": feed.run, "args": (kind, self.symbols, self.sink)}
        self.supervisor = Supervisor([entry], reconnect_delay_s=0.1)

    def __enter__(self) -> "Stream":
        self.supervisor.start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self.supervisor.stop(STOP_S) == []

    def marked(self, kind: str) -> list[str]:
        """The symbols of all markers of a kind."""
        return [symbol for mark, symbols in self.sink.marks for symbol in symbols if mark == kind]

    @property
    def subscriptions(self) -> int:
        count: int = self.simulator.stats()["subscriptions"]
        return count


@pytest.mark.parametrize("market", ["linear", "spot"])
@pytest.mark.parametrize("kind", ["trades", "orderbook"])
def test_symbols_come_and_go_on_the_same_connection(simulator: SimulatorProcess, market: str, kind: str) -> None:
    """More than one spot message can carry, both ways; one connect, and a marker for each that came or went."""
    listed = [row["symbol"] for row in simulator.get("/v5/market/tickers", category=market).json()["result"]["list"]]
    first, then = listed[:25], listed[12:37]
    with Stream(simulator, market, kind, first) as stream:
        wait_until(lambda: stream.subscriptions == 25)
        connects = simulator.stats()["connects"]
        stream.symbols.replace(then)
        wait_until(lambda: len(stream.sink.marks) >= 3 and stream.subscriptions == 25)
        wait_until(
            lambda: {s for kind, marked in stream.sink.marks for s in marked if kind == "up"} == set(listed[:37])
        )
        gone = [symbol for kind, marked in stream.sink.marks for symbol in marked if kind == "down"]

        assert sorted(gone) == sorted(listed[:12])
        assert simulator.stats()["connects"] == connects
        assert stream.faults == []


def test_a_symbol_the_exchange_refuses_does_not_cost_its_neighbours(simulator: SimulatorProcess) -> None:
    """It goes to quarantine, the other new one comes."""
    with Stream(simulator, "linear", "trades", ["BTCUSDT"]) as stream:
        wait_until(lambda: stream.subscriptions == 1)
        stream.symbols.replace(["BTCUSDT", "NOSUCHUSDT", "ETHUSDT", "not a symbol"])
        stream.symbols.replace(["BTCUSDT", "NOSUCHUSDT", "ETHUSDT"])
        wait_until(lambda: ("up", ("ETHUSDT",)) in stream.sink.marks)

        assert stream.subscriptions == 2
        assert stream.supervisor.status()[0].connects == 1
