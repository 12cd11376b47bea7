"""Connections and topics that look alive and bring nothing: no candle over them is complete and wrong."""

import pytest

from tests.acceptance.harness import CollectorProcess, Subscriber, completes, latest, wrong_klines
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until

SYMBOLS = "BTCUSDT,ETHUSDT"
ARGS = ("--rate", 40, "--symbols", 2, "--illiquid", 0, "--true-seconds", "--categories", "linear")


@pytest.fixture
def settings(valkey):
    return {
        "SYMBOLS": SYMBOLS,
        "REDIS_PORT": valkey.port,
        "KLINE_INTERVALS": "1s",
        "RAW_STREAMS": "trades",
        "RECONNECT_DELAY": 0.2,
        "STATUS_INTERVAL": 1,
    }


def test_candles_over_a_half_open_connection_are_never_complete(tmp_path, valkey, settings):
    """With the default ping of 20 s: no issue of any candle is complete and false, and it is found within some 10 s."""
    with SimulatorProcess(*ARGS) as sim, Subscriber(valkey.port) as subscriber:
        settings |= {"BYBIT_WS_URL": sim.ws_url(), "BYBIT_REST_URL": sim.rest_url}
        with CollectorProcess(tmp_path, **settings) as collector:
            wait_until(lambda: completes(subscriber) > 6)
            connects, closed = sim.stats()["connects"], len(subscriber.klines())
            sim.command("stall", s=60, keep=False)
            wait_until(lambda: sim.stats()["connects"] > connects, 25)  # before the pong of that ping is missed
            assert len(subscriber.klines()) > closed + 4, "nothing is withheld for long"
            done = completes(subscriber)
            wait_until(lambda: completes(subscriber) > done + 8)
            assert collector.stop() == 0
        compared, wrong = wrong_klines(subscriber.klines(), sim, every_issue=True)

    assert (compared > 14, wrong) == (True, [])


def test_a_market_at_rest_is_complete_at_once(tmp_path, valkey, settings):
    """Nobody trades, and the connection proves that it lives: every flat candle is complete in its first issue."""
    with SimulatorProcess(*ARGS) as sim, Subscriber(valkey.port) as subscriber:
        settings |= {"BYBIT_WS_URL": sim.ws_url(), "BYBIT_REST_URL": sim.rest_url}
        with CollectorProcess(tmp_path, **settings) as collector:
            wait_until(lambda: completes(subscriber) > 6)
            sim.command("rate", trades=0)
            begun = max(kline["timestamp"] for kline in subscriber.klines())
            flat = lambda: [k for k in subscriber.klines() if k["timestamp"] > begun + 1_000]  # noqa: E731
            wait_until(lambda: len(flat()) >= 24)
            found = flat()
            assert collector.stop() == 0
        compared, wrong = wrong_klines(subscriber.klines(), sim)

    late = [k for k in found if not k["complete"] or k["revision"]]
    assert len(late) <= len(found) // 4, (
        "an answer that comes a second late, on a busy machine, costs its candles alone"
    )
    assert (compared > 20, wrong) == (True, [])


def test_a_silent_topic_is_found_by_its_rhythm_and_the_exchanges_trades(tmp_path, valkey, settings):
    """Subscribed, its neighbour delivers, pings are answered, no ticker is collected: its candles are healed."""
    with SimulatorProcess(*ARGS) as sim, Subscriber(valkey.port) as subscriber:
        settings |= {"BYBIT_WS_URL": sim.ws_url(), "BYBIT_REST_URL": sim.rest_url}
        wait_until(lambda: sim.stats()["trades"] > 100)
        with CollectorProcess(tmp_path, **settings) as collector:
            wait_until(lambda: completes(subscriber) > 10)
            sim.command("silence", topic="publicTrade.BTCUSDT")
            collector.wait_for("topic_silent")
            sim.command("silence", off=True)

            def unhealed() -> list[object]:
                last = latest(subscriber.klines()).values()
                newest = max(kline["timestamp"] for kline in last)
                return [k for k in last if not k["complete"] and k["timestamp"] < newest - 3_000]

            done = completes(subscriber)
            wait_until(lambda: completes(subscriber) > done + 6 and not unhealed())
            assert collector.stop() == 0
        compared, wrong = wrong_klines(subscriber.klines(), sim)

    assert (compared > 20, wrong) == (True, [])
    assert {e["topic"] for e in collector.events("topic_silent")} == {"publicTrade.BTCUSDT"}
