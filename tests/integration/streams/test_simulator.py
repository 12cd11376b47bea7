"""The feeds against the simulated exchange: all kinds and markets, to the last byte; and its failures."""

import hashlib
from collections.abc import Iterator

import pytest

from model.records import Kind
from streams import ConnectBudget, Dialer, Supervisor
from streams.feed import FeedOptions, MarketFeed
from tests.integration.streams.conftest import STOP_S
from tests.support.callbacks import Recorded
from tests.support.events import RecordedEvents
from tests.support.protocol import protocol_of
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until

KINDS: dict[tuple[str, Kind], str] = {
    ("linear", "trades"): "trades",
    ("linear", "orderbook"): "orderbook",
    ("linear", "ticker"): "ticker",
    ("spot", "trades"): "trades",
    ("spot", "orderbook"): "orderbook",
    ("inverse", "ticker"): "ticker",
}


class Streams:
    """One stream per kind and market above, with its sink."""

    def __init__(self, simulator: SimulatorProcess) -> None:
        self.faults: list[tuple[str, bytes]] = []
        self.events = RecordedEvents()
        self.sinks = {key: Recorded() for key in KINDS}
        dial = Dialer(ConnectBudget()).open
        feeds = {
            market: MarketFeed(
                protocol_of(market, stream=simulator.ws_url(market)),
                FeedOptions(),
                dial=dial,
                report=self._report,
                events=self.events,
            )
            for market in ("linear", "spot", "inverse")
        }
        symbols = {"linear": ["BTCUSDT", "ETHUSDT"], "spot": ["BTCUSDT", "ETHUSDT"], "inverse": ["BTCUSD", "ETHUSD"]}
        entries = [
            {
                "name": f"{market}_{kind}",
                "func": feeds[market].run,
                "args": (kind, symbols[market], self.sinks[market, kind]),
            }
            for market, kind in KINDS
        ]
        self.supervisor = Supervisor(entries, reconnect_delay_s=0.1, reconnect_cap_s=0.2)

    def _report(self, cause: str, sample: bytes) -> None:
        self.faults.append((cause, sample))

    def all_live(self) -> bool:
        """Whether every stream has its subscription."""
        self.supervisor.tick()
        return all(status.state == "live" for status in self.supervisor.status())

    def received(self) -> int:
        """Payloads of all sinks."""
        return sum(len(sink.payloads) for sink in self.sinks.values())


@pytest.fixture
def simulator() -> Iterator[SimulatorProcess]:
    with SimulatorProcess("--rate", "3000", "--symbols", "3", "--digest", "--history-minutes", "1") as process:
        yield process


@pytest.fixture
def streams(simulator: SimulatorProcess) -> Iterator[Streams]:
    built = Streams(simulator)
    built.supervisor.start()
    yield built
    assert built.supervisor.stop(STOP_S) == []


def test_every_byte_of_every_kind_arrives_in_order(simulator: SimulatorProcess, streams: Streams) -> None:
    """The digest of what a sink got is the digest of what its connection was sent."""
    wait_until(streams.all_live)
    wait_until(lambda: streams.received() > 3000)
    final = simulator.command("stop_market")
    wait_until(lambda: streams.received() == sum(final["sent"].values()))
    wanted = sorted(digest for entry in final["digests"] for digest in entry["sha256"].values())
    got = [hashlib.sha256(b"".join(p + b"\n" for p in sink.payloads)) for sink in streams.sinks.values()]
    assert sorted(digest.hexdigest() for digest in got) == wanted
    assert streams.faults == []


def test_a_killed_exchange_finds_every_stream_back(simulator: SimulatorProcess, streams: Streams) -> None:
    """Twice: down and up stand in each sink as often, and data flows again."""
    for round_number in (1, 2):
        wait_until(streams.all_live)
        simulator.kill()
        wait_until(lambda: all(sink.marks[-1][0] == "down" for sink in streams.sinks.values()))
        before = streams.received()
        simulator.start()
        wait_until(lambda: streams.all_live() and streams.received() > before + 100)  # noqa: B023 - called at once
        for sink in streams.sinks.values():
            assert [kind for kind, _ in sink.marks].count("down") == round_number
    assert streams.faults == []


def test_garbage_is_counted_by_cause_and_costs_no_connection(simulator: SimulatorProcess, streams: Streams) -> None:
    """All that the simulator can throw and a WebSocket can carry; then a masked frame, which ends it."""
    wait_until(streams.all_live)
    causes = {
        "malformed_json": "malformed_json",
        "not_an_object": "unknown_message",
        "not_utf8": "malformed_json",
        "binary": "not_text",
        "unknown_topic": "unknown_topic",
        "huge": "large_message",
        "rsv1": "compressed_frame",
    }
    for what in (*causes, "negative_size", "bad_price", "fragmented", "bad_pong"):
        simulator.command("garbage", what=what, category="linear", topic="publicTrade.BTCUSDT")
    wait_until(lambda: len(streams.faults) >= len(causes))
    assert sorted(cause for cause, _ in streams.faults) == sorted(causes.values())
    assert all(status.connects == 1 for status in streams.supervisor.status())
    simulator.command("garbage", what="masked", category="linear", topic="publicTrade.BTCUSDT")
    wait_until(lambda: streams.supervisor.status()[0].connects == 2 and streams.all_live())
    assert streams.faults[-1][0] == "protocol_error"


def test_a_symbol_that_is_gone_does_not_silence_its_neighbours(simulator: SimulatorProcess, streams: Streams) -> None:
    """Delisted between two connections: the batch is refused, the other topic runs."""
    wait_until(streams.all_live)
    simulator.command("refuse", topics=["publicTrade.ETHUSDT"])
    simulator.command("drop", code="rst", category="spot", topic="publicTrade.BTCUSDT")
    sink = streams.sinks["spot", "trades"]
    wait_until(lambda: sink.marks[-1] == ("up", ("BTCUSDT",)))
    assert [kind for kind, _ in sink.marks].count("down") == 1


def test_a_jump_in_a_book_costs_that_topic_a_snapshot_and_no_connection(
    simulator: SimulatorProcess, streams: Streams
) -> None:
    """Two messages that change places are a gap; the neighbour's book and all payloads go on."""
    wait_until(streams.all_live)
    simulator.command("reorder", topic="orderbook.50.BTCUSDT", count=1)
    wait_until(lambda: "repaired" in streams.events.names)
    for market in ("linear", "spot"):
        sink = streams.sinks[market, "orderbook"]
        assert [symbols for kind, symbols in sink.marks if kind == "down"] in ([], [("BTCUSDT",)])
    assert {cause for cause, _ in streams.faults} == {"book_gap"}
    assert all(status.connects == 1 for status in streams.supervisor.status())
    assert {tuple(fields["symbols"]) for event, fields in streams.events.emitted if event == "gap"} == {("BTCUSDT",)}
    assert simulator.stats()["counters"]["unsubscribe_accepted"] >= 1
