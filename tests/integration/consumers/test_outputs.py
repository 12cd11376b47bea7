"""The built-in outputs together, through the manager, as main.py uses them."""

import json
import os
import time

import redis

from consumers import ConsumerManager
from consumers.console.console import ConsoleOptions
from consumers.files.jsonl import FileOptions
from consumers.manager import ConsumerOptions
from consumers.redis.options import RedisOptions
from tests.support.klines import klines
from tests.support.waiting import wait_until


def test_every_output_has_every_kline(valkey, tmp_path):
    """One publish reaches Redis, a file and the console; the stop leaves nothing behind."""
    reading, writing = os.pipe()
    options = ConsumerOptions(
        redis=RedisOptions(valkey.connection_url),
        file=FileOptions(tmp_path),
        console=ConsoleOptions(writing),
    )
    manager = ConsumerManager(["redis", "file", "console"], options)
    with redis.Redis(port=valkey.port) as client, client.pubsub(ignore_subscribe_messages=True) as listener:
        listener.subscribe("stream:bybit_klines")
        assert listener.get_message(timeout=5) is None
        assert manager.start() == {}
        for number in range(100):
            manager.publish(klines(number))
        assert manager.stop(time.monotonic() + 5) == []
        got = []
        wait_until(lambda: got.append(listener.get_message(timeout=0.1)) or len([m for m in got if m]) == 100)
    os.close(writing)
    with os.fdopen(reading) as lines:
        assert len(lines.readlines()) == 100
    written = [json.loads(line) for path in sorted(tmp_path.rglob("*.jsonl")) for line in path.read_text().splitlines()]
    sent = [json.loads(message["data"]) for message in got if message]
    assert [record["data"] for record in written] == [record["data"] for record in sent]
    assert [record["data"][0]["timestamp"] for record in sent] == sorted(
        klines(number).data[0].timestamp for number in range(100)
    )


def test_a_reader_that_hangs_does_not_hold_up_the_end():
    """A console nobody reads costs its own lines; the stop is on time and names it."""
    reading, writing = os.pipe()
    manager = ConsumerManager(["console"], ConsumerOptions(console=ConsoleOptions(writing)))
    manager.start()
    for number in range(5_000):
        manager.publish(klines(number))
    started = time.monotonic()
    assert manager.stop(started + 1.0) == ["console"]
    assert time.monotonic() - started < 20
    os.close(reading)  # frees the thread
    wait_until(lambda: manager.stats()["console"].delivered >= 500)
    os.close(writing)
