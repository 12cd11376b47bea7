"""REDUNDANCY=2: of two connections with the same trades either may be lost at any time, and nothing is."""

import json

from tests.acceptance.harness import CollectorProcess, Subscriber, completes, latest, wrong_klines
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until

SYMBOLS = "BTCUSDT,ETHUSDT,SOLUSDT"
SUBSCRIPTIONS = 6  # three topics on each of two connections
KILLS = 20
TEST_MS = 15_000  # of candles that both connections were there for, one apart
IN_FLIGHT_MS = 1500  # at the end both are gone: what was under way then is not proven, as without redundancy
TRADES = "stream:bybit_trades"


def test_losing_either_of_two_sockets_costs_nothing(tmp_path, valkey):
    """One of the two killed twenty times: every message once and in order, every kline complete and true."""
    settings = {
        "SYMBOLS": SYMBOLS,
        "REDIS_PORT": valkey.port,
        "RAW_STREAMS": "trades",
        "KLINE_INTERVALS": "1s,5s",
        "RECONNECT_DELAY": 0.05,
        "STATUS_INTERVAL": 1,
        "REDUNDANCY": 2,
        "REDUNDANT_SYMBOLS": "all",
    }
    args = ("--rate", 0, "--symbols", 5, "--true-seconds")
    with SimulatorProcess(*args) as sim, Subscriber(valkey.port) as subscriber:
        settings |= {"BYBIT_WS_URL": sim.ws_url(), "BYBIT_REST_URL": sim.rest_url}
        with CollectorProcess(tmp_path, **settings) as collector:
            both_up(sim)
            sim.command("rate", trades=600)
            wait_until(lambda: completes(subscriber) > 6)
            from_ms = max(k["timestamp"] for k in subscriber.klines())
            for number in range(KILLS):
                sim.command("drop", topic="publicTrade.BTCUSDT", connections=1, code="rst" if number % 2 else "abort")
                both_up(sim)
                # what the one that lives was sent before the other was back must have been read
                generated = sim.stats()["generated"]["trades"]
                wait_until(lambda least=generated: len(subscriber.received[TRADES]) >= least)  # type: ignore[misc]
            wait_until(lambda: max(k["timestamp"] for k in subscriber.klines()) > from_ms + TEST_MS)
            until_ms = sim.stats()["now_ms"] - IN_FLIGHT_MS
            sent = sim.command("stop_market")["generated"]["trades"]
            wait_until(lambda: len(subscriber.received[TRADES]) >= sent)
            closed = len(subscriber.klines())
            wait_until(lambda: len(subscriber.klines()) > closed)
            status = collector.wait_for("status", count=len(collector.events("status")) + 2)
            assert collector.stop() == 0
        compared, wrong = wrong_klines(subscriber.klines(), sim)
    received = [json.loads(message) for message in subscriber.received[TRADES]]
    of_symbol = {s: [m["data"][0]["seq"] for m in received if m["data"][0]["s"] == s] for s in SYMBOLS.split(",")}
    later = [k for k in latest(subscriber.klines()).values() if from_ms < k["timestamp"] < until_ms - k["interval"]]

    assert sim_kills(subscriber) == KILLS
    assert len(received) == len({json.dumps(message) for message in received}) == sent
    assert all(seqs == sorted(seqs) for seqs in of_symbol.values())
    assert len(later) > KILLS
    assert [k for k in later if not k["complete"]] == []
    assert (compared > len(later) // 2, wrong) == (True, [])
    assert status["merged"] > sent // 2
    assert status["partly_seen"] == 0


def both_up(sim: SimulatorProcess) -> None:
    wait_until(lambda: sim.stats()["subscriptions"] == SUBSCRIPTIONS)


def sim_kills(subscriber: Subscriber) -> int:
    """How often the status channel reported one of the two gone, the end apart."""
    events = [json.loads(message) for message in subscriber.received["stream:bybit_status"]]
    return sum(m["event"] == "disconnected" and m["reason"] != "stopped" for m in events)
