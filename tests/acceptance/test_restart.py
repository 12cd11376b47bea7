"""A collector that was away: what closed meanwhile is sent first, and nothing is sent twice."""

import signal
import sqlite3
import time
from contextlib import closing
from decimal import Decimal

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


SECONDS = {"SYMBOLS": "BTCUSDT,ETHUSDT", "KLINE_INTERVALS": "1s", "RAW_STREAMS": "trades", "KLINE_STORE_PATH": "store"}
TRUE_SECONDS = ("--rate", 40, "--symbols", 2, "--illiquid", 0, "--true-seconds", "--categories", "linear")


def test_seconds_over_a_kill_have_no_hole_and_are_true(tmp_path, valkey):
    """SIGKILL while it publishes, and Redis loses everything: the next run goes on from the store.

    It makes the seconds between from the exchange's trades, in order. The store has all that was ever published.
    """
    settings = SECONDS | {"REDIS_PORT": valkey.port, "REDIS_EMBEDDED": "never"}
    with SimulatorProcess(*TRUE_SECONDS) as sim, Subscriber(valkey.port) as subscriber:
        settings |= {"BYBIT_WS_URL": sim.ws_url(), "BYBIT_REST_URL": sim.rest_url}
        wait_until(lambda: sim.stats()["trades"] > 60)  # the exchange has traded before
        with CollectorProcess(tmp_path, **settings) as collector:
            wait_until(lambda: len(subscriber.klines()) >= 10 or collector.process.poll() is not None)
            assert collector.process.poll() is None, collector.newest_output()
            collector.stop(signal.SIGKILL)
        killed_ms = int(time.time() * 1000)
        with valkey.client() as client:
            client.flushall()
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
    kept = {key[1:]: (k["revision"], k["complete"], k["close"]) for key, k in latest(klines).items()}
    assert kept == {
        (k["symbol"], 1_000, k["timestamp"]): (k["revision"], k["complete"], k["close"]) for k in stored(tmp_path)
    }


def test_a_run_without_redis_goes_on_from_the_store(tmp_path):
    """Killed and started again, with files as its only output: no second is missing, each is what the exchange has."""
    settings = SECONDS | {"ENABLED_CONSUMERS": "file"}
    with SimulatorProcess(*TRUE_SECONDS) as sim:
        settings |= {"BYBIT_WS_URL": sim.ws_url(), "BYBIT_REST_URL": sim.rest_url}
        wait_until(lambda: sim.stats()["trades"] > 60)
        live_and_be_killed(tmp_path, settings)
        live_and_be_killed(tmp_path, settings)
        klines = [{"channel": "linear", **kline} for kline in stored(tmp_path)]
        compared, wrong = wrong_klines(klines, sim)

    assert (compared >= 10, wrong) == (True, [])
    for symbol in SYMBOLS:
        own = [k for k in klines if k["symbol"] == symbol]
        first_ms = own[0]["timestamp"]
        assert [k["timestamp"] for k in own] == list(range(first_ms, first_ms + len(own) * 1000, 1000))
        assert [k["complete"] for k in own[2:-2]] == [True] * (len(own) - 4)


FIELDS = ("symbol", "timestamp", "open", "high", "low", "close", "volume", "turnover", "complete", "source", "revision")


def stored(folder):
    """The klines of the store as a program reads them that knows SQLite alone; numbers as exact decimals."""
    path = folder / "store" / "bybit_linear.sqlite"
    if not path.exists():
        return []
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        columns = ", ".join("start_ms" if name == "timestamp" else name for name in FIELDS)
        try:
            rows = connection.execute(f"SELECT {columns} FROM candles ORDER BY start_ms").fetchall()
        except sqlite3.OperationalError:  # there are no tables yet
            return []
    return [
        dict(zip(FIELDS, row, strict=True))
        | {"interval": 1_000, "complete": bool(row[8])}
        | {name: Decimal(row[place]) for place, name in enumerate(FIELDS) if 2 <= place < 8}
        for row in rows
    ]


def live_and_be_killed(folder, settings):
    """Run a collector until the store has some seconds of its own that are complete."""
    begin_ms = int(time.time() * 1000)
    with CollectorProcess(folder, **settings) as collector:
        wait_until(lambda: completes_since(folder, begin_ms) >= 4 or collector.process.poll() is not None)
        collector.stop(signal.SIGKILL)


def completes_since(folder, begin_ms):
    """How many complete seconds of the store began after a time."""
    return sum(k["complete"] and k["timestamp"] > begin_ms for k in stored(folder))


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
