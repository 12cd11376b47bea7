"""A disk that is full, or slow: it costs the output that writes there, is counted, and heals."""

import gzip
import json
import os
import threading
import time
from pathlib import Path

import pytest

from consumers.base import BaseConsumer
from consumers.files.jsonl import FileConsumer, FileOptions
from consumers.files.parquet import ParquetOptions
from consumers.files.recorder import RawRecorder, RecorderOptions
from consumers.manager import ConsumerManager, ConsumerOptions
from model.envelope import Envelope
from tests.support.disks import fill
from tests.support.klines import klines
from tests.support.waiting import wait_until

ENVELOPES = 200


class Beside(BaseConsumer):
    """Another output, which notices nothing."""

    seen = 0

    def consume(self, data: dict[str, object]) -> None:
        """Count."""
        type(self).seen += 1


@pytest.fixture(autouse=True)
def beside():
    """Count what another output has."""
    Beside.seen = 0
    ConsumerManager.register_consumer("beside", Beside)
    yield
    ConsumerManager.registered.clear()


def noise(number: int) -> Envelope:
    """A kilobyte that no compression makes small."""
    return Envelope("bybit", "linear", "trades", ({"s": f"S{number % 3}", "i": os.urandom(512).hex()},))


def test_a_full_disk_costs_nothing_once_there_is_room(small_disk):
    """Files, Parquet and a recording on one full disk: logged, counted, retried; nothing lost, others unharmed."""
    options = ConsumerOptions(
        file=FileOptions(small_disk / "files", collect_s=0.05),
        parquet=ParquetOptions(small_disk / "parquet", flush_s=0.1, retry_s=0.1),
    )
    manager = ConsumerManager(["file", "parquet", "beside"], options)
    raw = RawRecorder(RecorderOptions(small_disk, block_s=0.05, retry_s=0.1))
    assert manager.start() == {}
    raw.start()
    record = raw.sink("linear", "trades")
    assert record is not None
    filler = fill(small_disk)
    for number in range(ENVELOPES):
        manager.publish(noise(number))
        record([b'{"n":"%b"}' % os.urandom(512).hex().encode()])

    def errors() -> list[float]:
        extra = {name: stats.extra for name, stats in manager.stats().items()}
        return [extra["file"]["write_errors"], extra["parquet"]["write_errors"], raw.stats()["write_errors"]]

    wait_until(lambda: all(errors()))
    wait_until(lambda: Beside.seen == ENVELOPES)
    assert not list((small_disk / "files").rglob("*.jsonl")), "half a file is none"
    filler.unlink()
    manager.publish(klines())
    record([b'{"n":2}'])
    wait_until(lambda: manager.stats()["parquet"].extra["rows"] == ENVELOPES + 1)
    deadline_s = time.monotonic() + 20
    assert raw.stop(deadline_s)
    assert manager.stop(deadline_s) == []
    lines = [line for path in (small_disk / "files").rglob("*.jsonl") for line in path.read_bytes().splitlines()]
    assert len([json.loads(line) for line in lines]) == ENVELOPES + 1
    (path,) = small_disk.glob("bybit/*.txt.gz")
    assert len(gzip.decompress(path.read_bytes()).splitlines()) == ENVELOPES + 1
    stats = manager.stats()
    assert (stats["file"].extra["lines_dropped"], stats["parquet"].extra["rows_dropped"]) == (0, 0)
    assert raw.stats()["dropped"] == 0


def test_a_slow_disk_costs_its_own_output_alone(tmp_path, monkeypatch):
    """A write that hangs: its queue fills and drops, counted; the others have everything; then it goes on."""
    is_quick, real = threading.Event(), Path.replace

    class Short(FileConsumer):
        queue_size = 50

        def __init__(self) -> None:
            super().__init__(FileOptions(tmp_path, collect_s=0.05))

    def hang(self: Path, target: Path) -> Path:
        is_quick.wait(60)
        return real(self, target)

    monkeypatch.setattr(Path, "replace", hang)
    ConsumerManager.register_consumer("short", Short)
    manager = ConsumerManager(["short", "beside"])
    manager.start()
    manager.publish(klines())
    wait_until(lambda: manager.stats()["short"].lag_s > 0.1 or manager.stats()["short"].delivered == 1)
    time.sleep(0.1)  # the collecting time is over: the next one is written, and hangs
    manager.publish(klines())
    wait_until(lambda: manager.stats()["short"].queued == 0)
    for number in range(ENVELOPES):
        manager.publish(klines(number))
    wait_until(lambda: Beside.seen == ENVELOPES + 2)
    assert manager.stats()["short"].dropped >= ENVELOPES - 51
    is_quick.set()
    manager.publish(klines())
    assert manager.stop(time.monotonic() + 20) == []
    lines = [line for path in tmp_path.rglob("*.jsonl") for line in path.read_bytes().splitlines()]
    assert len(lines) == ENVELOPES + 3 - manager.stats()["short"].dropped


def test_a_slow_disk_never_holds_up_a_stream_thread(tmp_path, monkeypatch):
    """While the recorder's write hangs, payloads are taken and the oldest dropped, counted and noted."""
    is_quick, is_hanging, real = threading.Event(), threading.Event(), os.write

    def hang(descriptor: int, data: bytes) -> int:
        if threading.current_thread().name == "recorder":
            is_hanging.set()
            is_quick.wait(60)
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", hang)
    raw = RawRecorder(RecorderOptions(tmp_path, queue_payloads=100, block_s=0.05))
    raw.start()
    record = raw.sink("linear", "trades")
    assert record is not None
    record([b'{"n":0}'])
    assert is_hanging.wait(20)
    begin_s = time.monotonic()
    for number in range(10_000):
        record([b'{"n":%d}' % number])
    assert time.monotonic() - begin_s < 5
    assert raw.stats()["dropped"] == 9_900
    is_quick.set()
    assert raw.stop(time.monotonic() + 20)
    (path,) = tmp_path.glob("bybit/*.txt.gz")
    lines = gzip.decompress(path.read_bytes()).splitlines()
    assert lines[1] == b"# 9900 payloads are missing here"
    assert lines[-1].endswith(b'{"n":9999}')
    assert len(lines) == 1 + 1 + 100
