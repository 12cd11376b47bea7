"""The embedded server and its collectors: what a subscriber that comes back finds."""

import os
import signal
import time

import pytest
import redis

from tests.acceptance.harness import CollectorProcess, Subscriber, listens
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until

SIMULATED = ("--rate", 40, "--symbols", 2, "--illiquid", 0, "--true-seconds", "--categories", "linear")


@pytest.fixture
def exchange(free_port):
    """A simulated one that has traded before, as settings of a collector."""
    with SimulatorProcess(*SIMULATED) as sim:
        wait_until(lambda: sim.stats()["trades"] > 60)
        yield {
            "SYMBOLS": "BTCUSDT,ETHUSDT",
            "REDIS_PORT": free_port,
            "KLINE_INTERVALS": "1s",
            "RAW_STREAMS": "trades",
            "BYBIT_WS_URL": sim.ws_url(),
            "BYBIT_REST_URL": sim.rest_url,
        }


def starts(subscriber):
    """The starts of one symbol's klines, each once, as they came."""
    return list(dict.fromkeys(kline["timestamp"] for kline in subscriber.klines() if kline["symbol"] == "BTCUSDT"))


def has_no_hole(found):
    return found == list(range(found[0], found[0] + len(found) * 1000, 1000))


def test_a_killed_server_is_started_again_and_no_kline_is_missed(tmp_path, exchange, free_port):
    """The kernel runs out of memory: klines wait for the server, and then for its subscribers."""
    with CollectorProcess(tmp_path, **exchange) as collector:
        collector.wait_for("embedded_server_started")
        with Subscriber(free_port) as subscriber:
            wait_until(lambda: len(starts(subscriber)) >= 3)
            with redis.Redis(port=free_port) as client:
                os.kill(client.info("server")["process_id"], signal.SIGKILL)
            killed_ms = int(time.time() * 1000)
            wait_until(lambda: starts(subscriber)[-1] > killed_ms + 4_000)
            assert collector.stop() == 0
        assert collector.events("embedded_server_ended")[0]["restart_in_s"] == 0.0
    assert has_no_hole(starts(subscriber))
    wait_until(lambda: not listens(free_port))


def test_what_is_backfilled_after_a_kill_is_received(tmp_path, exchange, free_port):
    """The server went with the collector: the next one's is new, and whoever subscribed is on the way back."""
    with CollectorProcess(tmp_path, **exchange) as first:
        first.wait_for("embedded_server_started")
        with Subscriber(free_port) as subscriber:
            wait_until(lambda: len(starts(subscriber)) >= 4)
            first.stop(signal.SIGKILL)
            killed_ms = int(time.time() * 1000)
            with CollectorProcess(tmp_path, **exchange) as second:
                wait_until(lambda: starts(subscriber)[-1] > killed_ms + 5_000)
                assert second.stop() == 0
    assert has_no_hole(starts(subscriber))


def test_the_second_collector_goes_on_with_a_server_of_its_own(tmp_path, exchange, free_port):
    """Two share an address; the one that had started the server ends."""
    (tmp_path / "second").mkdir()
    other = exchange | {"SYMBOLS": "ETHUSDT", "STORAGE_ENABLED": "true", "REDIS_MAIN_KEY": "second"}
    with CollectorProcess(tmp_path, **(exchange | {"SYMBOLS": "BTCUSDT"})) as first:
        first.wait_for("embedded_server_started")
        with CollectorProcess(tmp_path / "second", **other) as second:
            second.wait_for("embedded_server_shared")
            second.wait_for("redis_up")
            assert first.stop() == 0
            second.wait_for("embedded_server_started")
            wait_until(lambda: listens(free_port))
            with Subscriber(free_port) as subscriber:
                wait_until(lambda: subscriber.klines())
            assert second.stop() == 0
    assert {kline["symbol"] for kline in subscriber.klines()} == {"ETHUSDT"}
