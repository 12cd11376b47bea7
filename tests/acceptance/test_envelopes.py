"""Envelopes, storage and streams of a running collector, read by a plain Redis client."""

import json
from collections import defaultdict
from decimal import Decimal
from typing import Any

import redis

from tests.acceptance.harness import CollectorProcess, Subscriber
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until

MAIN_KEY = "stream:everything"  # a name that the harness's subscriber matches too
SETTINGS = {
    "SYMBOLS": "BTCUSDT,ETHUSDT",
    "RAW_STREAMS": "trades,ticker",
    "ENABLE_SPOT_STREAM": "true",
    "KLINE_INTERVALS": "1s",
    "STATUS_INTERVAL": 1,
}


def by_market_and_type(subscriber):
    found: dict[tuple[str, str], list[Any]] = defaultdict(list)
    for message in list(subscriber.received[MAIN_KEY]):
        envelope = json.loads(message, parse_float=Decimal)
        assert list(envelope) == ["exchange", "channel", "data_type", "data"]
        found[envelope["channel"], envelope["data_type"]] += envelope["data"]
    return found


def test_every_envelope_of_both_markets_on_the_main_key_and_in_the_keys(tmp_path, valkey):
    """Ticker, price, trades and klines of linear and spot, apart by their channel; storage holds the newest."""
    on: dict[str, object] = {f"ENABLE_{name}_STREAM": "true" for name in ("TICKER", "PRICE", "TRADES")}
    on |= {"STORAGE_ENABLED": "true", "STORAGE_BUFFER_FLUSH_INTERVAL": 0.2, "REDIS_MAIN_KEY": MAIN_KEY}
    on |= {"REDIS_STREAMS": "true", "REDIS_STREAMS_KINDS": "klines,trades"}
    with (
        SimulatorProcess("--rate", 300, "--symbols", 2) as sim,
        Subscriber(valkey.port) as subscriber,
        redis.Redis(port=valkey.port, decode_responses=True) as client,
        CollectorProcess(tmp_path, BYBIT_WS_URL=sim.ws_url(), REDIS_PORT=valkey.port, **SETTINGS, **on) as collector,
    ):
        kinds = [(market, kind) for market in ("linear", "spot") for kind in ("ticker", "price", "trades", "klines")]
        wait_until(lambda: all(by_market_and_type(subscriber)[kind] for kind in kinds))
        wait_until(lambda: client.exists("bybit_spot:BTC", "bybit_futures:ETH") == 2)
        wait_until(lambda: client.exists(f"{MAIN_KEY}:last-closed:spot:1s"))
        status = collector.wait_for("status", count=2)
        assert collector.stop() == 0, collector.newest_output()
        subscriber.catch_up()
        found = by_market_and_type(subscriber)

        assert not collector.events("fault")
        assert status["envelopes"]["dropped"] == status["envelopes"]["failures"] == 0
        spot, linear = found["spot", "ticker"][-1], found["linear", "ticker"][-1]
        assert "usdIndexPrice" in spot
        assert "fundingRate" not in spot
        assert {type(linear[name]) for name in ("lastPrice", "bid1Size", "fundingRate")} <= {int, Decimal}
        assert linear["curPreListingPhase"] == ""
        assert all(set(price) == {"symbol", "price"} for price in found["linear", "price"])
        raw = [trade for m in subscriber.received["stream:bybit_trades"] for trade in json.loads(m)["data"]]
        assert found["linear", "trades"] == raw, "every trade, in order, every field as it came"

        kept = client.hgetall(f"{MAIN_KEY}:tickers:linear")
        newest = {ticker["symbol"]: ticker for ticker in found["linear", "ticker"]}
        assert {symbol: json.loads(text, parse_float=Decimal) for symbol, text in kept.items()} == newest
        assert client.hget("bybit_spot:BTC", "original_symbol") == "BTCUSDT"
        assert client.hgetall(f"{MAIN_KEY}:price:spot").keys() == {"BTCUSDT", "ETHUSDT"}

        history = [fields["data"].encode() for _, fields in client.xrange("stream:bybit_klines")]
        assert history == subscriber.received["stream:bybit_klines"]
        trades = [fields["data"].encode() for _, fields in client.xrange("stream:bybit_trades")]
        assert trades == subscriber.received["stream:bybit_trades"]


def test_storage_alone_needs_no_other_switch(tmp_path, valkey):
    """Prices are stored, and not sent, where only the storage wants them; the ticker stream is subscribed for it."""
    on = {"STORAGE_ENABLED": "true", "RAW_STREAMS": "trades", "ENABLED_CONSUMERS": "console"}
    with (
        SimulatorProcess("--rate", 300, "--symbols", 2) as sim,
        Subscriber(valkey.port) as subscriber,
        redis.Redis(port=valkey.port, decode_responses=True) as client,
        CollectorProcess(tmp_path, BYBIT_WS_URL=sim.ws_url(), REDIS_PORT=valkey.port, **(SETTINGS | on)) as collector,
    ):
        wait_until(lambda: client.hget("bybit_spot:ETH", "ltp"))
        wait_until(lambda: client.hgetall("bybit-streamer:last-closed:linear:1s"))
        assert collector.stop() == 0, collector.newest_output()
        assert not subscriber.counts()
        assert not [line for line in collector.output if line.startswith("BTC|")], "no price line on the console"


def test_a_full_redis_costs_storage_and_history_alone(tmp_path, valkey):
    """maxmemory with noeviction: Pub/Sub goes on, both outputs are reported down and come back, with every kline."""
    on = {"STORAGE_ENABLED": "true", "REDIS_STREAMS": "true"}
    with (
        SimulatorProcess("--rate", 300, "--symbols", 2) as sim,
        Subscriber(valkey.port) as subscriber,
        redis.Redis(port=valkey.port, decode_responses=True) as client,
        CollectorProcess(tmp_path, BYBIT_WS_URL=sim.ws_url(), REDIS_PORT=valkey.port, **(SETTINGS | on)) as collector,
    ):
        wait_until(lambda: client.exists("bybit_spot:BTC") and client.exists("stream:bybit_klines"))
        client.config_set("maxmemory", "1")
        try:
            before = len(subscriber.klines())
            wait_until(lambda: len(subscriber.klines()) > before + 8)
            of = lambda name: collector.status["consumers"][name]["extra"]  # noqa: E731
            wait_until(lambda: of("storage")["refused"] > 0 and of("history")["klines_waiting"] > 0)
        finally:
            client.config_set("maxmemory", "0")
        wait_until(lambda: client.xlen("stream:bybit_klines") >= len(subscriber.received["stream:bybit_klines"]))
        assert collector.stop() == 0, collector.newest_output()
        subscriber.catch_up()
        history = [fields["data"].encode() for _, fields in client.xrange("stream:bybit_klines")]
        assert history == subscriber.received["stream:bybit_klines"]


def test_a_coin_taken_off_the_list_leaves_the_storage(tmp_path, valkey):
    """What is no longer collected is not shown as if it were."""
    coins = tmp_path / "coins.json"
    coins.write_text('{"coins": ["BTCUSDT", "ETHUSDT"]}')
    on = {"STORAGE_ENABLED": "true", "COINS_FILE": coins}
    with (
        SimulatorProcess("--rate", 300, "--symbols", 2) as sim,
        redis.Redis(port=valkey.port, decode_responses=True) as client,
        CollectorProcess(tmp_path, BYBIT_WS_URL=sim.ws_url(), REDIS_PORT=valkey.port, **(SETTINGS | on)) as collector,
    ):
        wait_until(lambda: client.exists("bybit_spot:ETH", "bybit_futures:ETH") == 2)
        coins.write_text('{"coins": ["BTCUSDT"]}')
        wait_until(lambda: not client.exists("bybit_spot:ETH", "bybit_futures:ETH"))
        wait_until(lambda: client.hkeys("bybit-streamer:tickers:linear") == ["BTCUSDT"])
        assert collector.stop() == 0, collector.newest_output()
