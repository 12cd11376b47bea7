"""Symbols that come and go while the collector runs: processes, sockets and a file that is edited."""

import json
import time

import pytest

from tests.acceptance.harness import MAIN, CollectorProcess, Subscriber, completes, wrong_klines
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until

WITHIN_S = 2.0  # what is promised
SLACK = 20  # a machine that much busier: how long it took is in the summary


@pytest.fixture
def settings(valkey):
    return {"REDIS_PORT": valkey.port, "RECONNECT_DELAY": 0.1, "KLINE_INTERVALS": "1s", "RAW_STREAMS": "trades,ticker"}


def save(path, *coins):
    """As editors do: a file beside it, renamed."""
    aside = path.with_suffix(".new")
    aside.write_text(json.dumps({"coins": list(coins)}))
    aside.replace(path)


def seconds_until(predicate):
    begin_s = time.monotonic()
    wait_until(predicate, WITHIN_S * SLACK)
    return time.monotonic() - begin_s


def complete(subscriber):
    """The symbols of the complete klines so far."""
    return [kline["symbol"] for kline in subscriber.klines() if kline["complete"]]


def followed(sim):
    """How many subscriptions, over how many connections."""
    stats = sim.stats()
    return stats["subscriptions"], stats["connections"]


def test_coins_json_is_followed_while_it_runs(tmp_path, valkey, settings, record_property):
    """Added and removed within 2 s on the connections that are there; a wrong file and unknown coins change nothing."""
    coins = tmp_path / "coins.json"
    with (
        SimulatorProcess("--rate", 400, "--symbols", 8, "--true-seconds") as sim,
        Subscriber(valkey.port) as subscriber,
    ):
        save(coins, "BTCUSDT", "ETH")
        settings |= {"BYBIT_WS_URL": sim.ws_url("linear"), "BYBIT_REST_URL": sim.rest_url, "COINS_FILE": coins}
        with CollectorProcess(tmp_path, **settings) as collector:
            wait_until(lambda: followed(sim) == (4, 2), 20)
            connects = sim.stats()["connects"]
            save(coins, "BTCUSDT", "ETH", "SOL", "XRPUSDT")
            added_s = seconds_until(lambda: followed(sim) == (8, 2))
            save(coins, "SOL", "BTCUSDT", "XRPUSDT")
            removed_s = seconds_until(lambda: followed(sim) == (6, 2))
            coins.write_text('{"coins": ["BTCUSDT",\n "SOL"')
            problem = collector.wait_for("coins_file_wrong", WITHIN_S * SLACK)
            save(coins, "SOL", "BTCUSDT", "NOSUCH", "DOGEUSDT")
            changed_s = seconds_until(lambda: followed(sim) == (6, 2) and collector.events("symbols_unknown"))
            gone_ms = sim.stats()["now_ms"]
            wait_until(lambda: complete(subscriber).count("DOGEUSDT") > 3 and completes(subscriber) > 20, 60)

            assert "line 2" in problem["problem"]
            assert collector.events("symbols_unknown")[-1]["symbols"] == ["NOSUCH"]
            assert sim.stats()["connects"] == connects
            assert collector.events("stream_ended") == collector.events("outage_over") == []
            assert collector.stop() == 0
        compared, wrong = wrong_klines(subscriber.klines(), sim)

    assert (compared > 10, wrong) == (True, [])
    assert not [k for k in subscriber.klines() if k["symbol"] == "XRPUSDT" and k["timestamp"] > gone_ms + 5_000]
    assert max(added_s, removed_s, changed_s) < WITHIN_S * SLACK
    record_property("summary", f"coins: added {added_s:.2f} s, removed {removed_s:.2f} s, both {changed_s:.2f} s")


def test_a_coins_file_that_appears_takes_over_and_the_last_good_list_stays(tmp_path, settings):
    """SYMBOLS until then; a file that is gone changes nothing. Nobody needs REST for it."""
    coins = tmp_path / "coins.json"
    with SimulatorProcess("--rate", 50, "--symbols", 8) as sim:
        settings |= {"BYBIT_WS_URL": sim.ws_url("linear"), "SYMBOLS": "BTCUSDT", "COINS_FILE": coins}
        with CollectorProcess(tmp_path, **settings) as collector:
            wait_until(lambda: followed(sim) == (2, 2), 20)
            save(coins, "ETH", "SOLUSDT", "BTC")
            seconds_until(lambda: followed(sim) == (6, 2))
            coins.unlink()
            collector.wait_for("coins_file_gone", WITHIN_S * SLACK)
            assert followed(sim) == (6, 2)
            assert collector.stop() == 0


def test_all_symbols_are_followed_through_listings_and_delistings(tmp_path, settings):
    """A new one comes, a delisted one goes, the others keep their connections."""
    with SimulatorProcess("--rate", 100, "--symbols", 12) as sim:
        sim.command("refuse", topics=["XRPUSDT"])
        settings |= {"BYBIT_WS_URL": sim.ws_url("linear"), "BYBIT_REST_URL": sim.rest_url, "SOCKET_POOL_SIZE": 10}
        settings |= {"LOAD_ALL_SYMBOLS": True, "SYMBOLS_REFRESH": 0.5, "ENABLE_SPOT_STREAM": True}
        with CollectorProcess(tmp_path, **settings) as collector:
            wait_until(lambda: followed(sim) == (44, 8), 20)
            connects = sim.stats()["connects"]
            sim.command("allow")
            seconds_until(lambda: followed(sim) == (48, 8))
            sim.command("refuse", topics=["ETHUSDT"])
            seconds_until(lambda: followed(sim) == (44, 8))
            assert sim.stats()["connects"] == connects
            assert collector.stop() == 0


def test_the_most_traded_are_chosen_up_to_the_limit(tmp_path, settings):
    """By the exchange's figures of 24 hours."""
    with SimulatorProcess("--rate", 100, "--symbols", 12) as sim:
        settings |= {"BYBIT_WS_URL": sim.ws_url("linear"), "BYBIT_REST_URL": sim.rest_url, "RAW_STREAMS": "trades"}
        settings |= {"LOAD_ALL_SYMBOLS": True, "SYMBOLS_LIMIT": 3}
        wait_until(lambda: sim.stats()["trades"] > 200, 20)
        sim.command("rate", rate=0)
        rows = sim.get("/v5/market/tickers", category="linear").json()["result"]["list"]
        top = sorted(rows, key=lambda row: -float(row["turnover24h"]))[:3]
        with CollectorProcess(tmp_path, **settings) as collector:
            wait_until(lambda: followed(sim) == (3, 1), 20)
            chosen = collector.wait_for("collecting")["first_symbols"]["linear"]
            assert collector.stop() == 0

    assert sorted(chosen) == sorted(row["symbol"] for row in top)


def test_dry_run_prints_the_plan_and_connects_to_nothing(tmp_path, settings):
    """Sockets, topics, characters; the listing is read, no stream is opened, no output either."""
    with SimulatorProcess("--rate", 0, "--symbols", 12) as sim:
        settings |= {"BYBIT_WS_URL": sim.ws_url("linear"), "BYBIT_REST_URL": sim.rest_url, "SOCKET_POOL_SIZE": 5}
        with CollectorProcess(tmp_path, MAIN, "--dry-run", LOAD_ALL_SYMBOLS=True, **settings) as collector:
            assert collector.wait() == 0
        assert sim.stats()["connects"] == 0
    output = "\n".join(collector.output)

    assert "6 sockets, 24 topics, 6 threads" in output
    assert sim.ws_url("linear") in output


def test_wrong_settings_end_a_dry_run_as_they_end_a_start(tmp_path):
    """Exit code 2, every mistake named."""
    with CollectorProcess(tmp_path, MAIN, "--dry-run", KLINE_INTERVALS="1x") as collector:
        assert collector.wait() == 2
    assert "KLINE_INTERVALS" in "\n".join(collector.output)


def test_two_shards_share_the_market_without_overlap_or_hole(tmp_path, valkey, settings):
    """Every symbol of a list that both follow is in one process; together they make each candle once, all true."""
    coins = tmp_path / "coins.json"
    args = ("--rate", 600, "--symbols", 12, "--true-seconds")
    with SimulatorProcess(*args) as sim, Subscriber(valkey.port) as subscriber:
        names = [row["symbol"] for row in sim.get("/v5/market/tickers", category="linear").json()["result"]["list"]]
        save(coins, *names[:8])
        settings |= {"BYBIT_WS_URL": sim.ws_url("linear"), "BYBIT_REST_URL": sim.rest_url, "COINS_FILE": coins}
        settings |= {"RAW_STREAMS": "trades", "KLINE_STORE_PATH": tmp_path / "store", "REDIS_EMBEDDED": "never"}
        with (
            CollectorProcess(tmp_path, SHARD="1/2", **settings) as first,
            CollectorProcess(tmp_path, SHARD="2/2", **settings) as second,
        ):
            wait_until(lambda: followed(sim) == (8, 2), 20)
            save(coins, *names)
            seconds_until(lambda: followed(sim) == (12, 2))
            wait_until(lambda: completes(subscriber) > 40 and set(complete(subscriber)) >= set(names[:9]), 40)
            assert (first.stop(), second.stop()) == (0, 0)
        compared, wrong = wrong_klines(subscriber.klines(), sim)
    keys = [(k["symbol"], k["interval"], k["timestamp"], k["revision"]) for k in subscriber.klines()]

    assert len(keys) == len(set(keys))
    assert (compared > 20, wrong) == (True, [])
    assert {path.name for path in (tmp_path / "store").glob("bybit*")} == {
        "bybit_linear_shard1of2.sqlite",
        "bybit_linear_shard2of2.sqlite",
    }
