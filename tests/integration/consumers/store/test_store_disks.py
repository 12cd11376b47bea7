"""The store on a disk that is full, beside another output; and read by another process while it is written."""

import sqlite3
import subprocess
import sys
import time

import pytest

from consumers.manager import ConsumerManager, ConsumerOptions
from consumers.store.store import StoreOptions
from model.events import SinkDown, SinkUp
from model.intervals import MINUTE_MS
from model.ports import StoreError
from tests.support.disks import fill
from tests.support.events import RecordedEvents
from tests.support.klines import kline, klines
from tests.support.waiting import wait_until

SERIES = "linear", "BTCUSDT", MINUTE_MS
READ = """import sqlite3, sys
opened = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True)
print(*opened.execute(sys.argv[2]).fetchone())"""


def manager_of(path, events, **options):
    store = StoreOptions(path=path / "store" / "one.sqlite", retry_s=0.1, **options)
    return ConsumerManager([], ConsumerOptions(store=store, lasting_s=0.2), events)


def count_in(manager):
    """How many klines there are."""
    try:
        return len(manager.candle_store.klines(*SERIES))
    except StoreError:
        return -1


@pytest.mark.parametrize("is_full_at_the_start", [False, True])
def test_a_full_disk_costs_nothing_once_there_is_room(small_disk, is_full_at_the_start):
    """It is down, counted and tried again; what waited is there then, and what was there before still is."""
    events = RecordedEvents()
    manager = manager_of(small_disk, events)
    filler = fill(small_disk) if is_full_at_the_start else None
    manager.start()
    count = 0
    if filler is None:
        for count in range(1, 201):
            manager.publish(klines(count))
        wait_until(lambda: count_in(manager) == 200)
        filler = fill(small_disk)
    while not any(isinstance(event, SinkDown) for event in events.events) and count < 5_000:
        count += 1
        manager.publish(klines(count))
        time.sleep(0.002)
    filler.unlink()
    wait_until(lambda: count_in(manager) == count)
    wait_until(lambda: isinstance(events.events[-1], SinkUp))
    stats = manager.stats()["store"]
    assert (stats.dropped, stats.extra["records_dropped"], stats.extra["files_set_aside"]) == (0, 0, 0)
    assert manager.stop(time.monotonic() + 10) == []


def test_another_process_reads_while_it_is_written(tmp_path):
    """It needs nothing but SQLite, and makes nobody wait."""
    manager = manager_of(tmp_path, RecordedEvents())
    manager.start()
    manager.publish(klines(0))
    wait_until(lambda: count_in(manager) == 1)
    path = tmp_path / "store" / "one.sqlite"
    told = subprocess.run(
        [sys.executable, "-c", READ, path, "SELECT symbol, start_ms, close, source FROM candles"],
        capture_output=True, check=True, text=True,
    )  # fmt: skip
    assert told.stdout.split() == ["BTCUSDT", str(kline().timestamp), "92846.1", "trades"]
    other = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)
    other.execute("BEGIN")
    assert other.execute("SELECT count(*) FROM klines").fetchone() == (1,)
    manager.publish(klines(1))
    wait_until(lambda: count_in(manager) == 2)
    assert other.execute("SELECT count(*) FROM klines").fetchone() == (1,), "its snapshot stands"
    other.close()
    assert manager.stop(time.monotonic() + 10) == []
    assert [each.name for each in path.parent.iterdir() if each.name.startswith("one")] == ["one.sqlite"], (
        "no log is left"
    )
