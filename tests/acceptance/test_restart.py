"""A collector that was away: what closed meanwhile is sent first, and nothing is sent twice."""

import signal
import time

from tests.acceptance.harness import CollectorProcess, Subscriber, latest, wrong_klines
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until

MINUTE_MS = 60_000
AWAY_MINUTES = 5
SYMBOLS = ("BTCUSDT", "ETHUSDT")


def test_minutes_between_two_runs_are_sent_in_order(tmp_path, valkey):
    """The checkpoint in Redis is where the last run ended: the exchange's candles since then go out, oldest first."""
    last_ms = int(time.time()) // 60 * MINUTE_MS - AWAY_MINUTES * MINUTE_MS
    with valkey.client() as client:
        fields = {f"{symbol}:{MINUTE_MS}": f"{last_ms},0,1" for symbol in SYMBOLS}
        client.hset("bybit-streamer:last-published:linear", mapping=fields)
    settings = {"SYMBOLS": "BTCUSDT,ETHUSDT", "REDIS_PORT": valkey.port, "KLINE_INTERVALS": "1m"}
    with SimulatorProcess("--rate", 200, "--symbols", 2) as sim, Subscriber(valkey.port) as subscriber:
        settings |= {"BYBIT_WS_URL": sim.ws_url(), "BYBIT_REST_URL": sim.rest_url, "RAW_STREAMS": "trades"}
        with CollectorProcess(tmp_path, **settings) as collector:
            wait_until(lambda: len(subscriber.klines()) >= 2 * (AWAY_MINUTES - 1))
            assert collector.stop() == 0
        compared, wrong = wrong_klines(subscriber.klines(), sim)

    assert (compared >= 2 * (AWAY_MINUTES - 1), wrong) == (True, [])
    for symbol in SYMBOLS:
        starts = [k["timestamp"] for k in subscriber.klines() if k["symbol"] == symbol]
        assert starts == [last_ms + (i + 1) * MINUTE_MS for i in range(len(starts))]


def test_seconds_over_a_kill_have_no_hole_and_are_true(tmp_path, valkey):
    """SIGKILL while it publishes: the next run makes the seconds between from the exchange's trades, in order."""
    settings = {
        "SYMBOLS": "BTCUSDT,ETHUSDT",
        "REDIS_PORT": valkey.port,
        "KLINE_INTERVALS": "1s",
        "REDIS_EMBEDDED": "never",
    }
    args = ("--rate", 40, "--symbols", 2, "--illiquid", 0, "--true-seconds", "--categories", "linear")
    with SimulatorProcess(*args) as sim, Subscriber(valkey.port) as subscriber:
        settings |= {"BYBIT_WS_URL": sim.ws_url(), "BYBIT_REST_URL": sim.rest_url, "RAW_STREAMS": "trades"}
        wait_until(lambda: sim.stats()["trades"] > 60)  # the exchange has traded before
        with CollectorProcess(tmp_path, **settings) as collector:
            wait_until(lambda: len(subscriber.klines()) >= 10 or collector.process.poll() is not None)
            assert collector.process.poll() is None, collector.newest_output()
            collector.stop(signal.SIGKILL)
        killed_ms = int(time.time() * 1000)
        with CollectorProcess(tmp_path, **settings) as collector:
            wait_until(lambda: min(newest_starts(subscriber).values()) > killed_ms + 8_000)
            wait_until(lambda: all(k["complete"] for s in SYMBOLS for k in between(subscriber.klines(), s, killed_ms)))
            assert collector.stop() == 0
        klines = subscriber.klines()
        compared, wrong = wrong_klines(klines, sim)

    assert (compared >= 20, wrong) == (True, [])
    for symbol in SYMBOLS:
        starts = list(dict.fromkeys(k["timestamp"] for k in klines if k["symbol"] == symbol))
        assert starts == list(range(starts[0], starts[0] + len(starts) * 1000, 1000))
        assert [k["complete"] for k in between(klines, symbol, killed_ms)] == [True] * 3


def between(klines, symbol, killed_ms):
    """The newest issues of the three seconds around the kill."""
    first_ms = killed_ms - 1_000
    return [k for key, k in latest(klines).items() if key[1] == symbol and 0 < key[3] - first_ms < 3_000]


def newest_starts(subscriber):
    """Symbol -> the newest start received."""
    newest = dict.fromkeys(SYMBOLS, 0)
    for kline in subscriber.klines():
        newest[kline["symbol"]] = max(newest[kline["symbol"]], kline["timestamp"])
    return newest
