"""Klines that wait: in order, through memory and file, across a restart."""

import os
import shutil
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from consumers.redis.backlog import (
    MAX_AGE_MS,
    SPILL_BATCH,
    BacklogLimits,
    KlineBacklog,
    QueuedMessage,
    parse_line,
    spilled_klines,
)
from model.files import temp_path


def item(number: int, received_ms: int = 1_000) -> QueuedMessage:
    return QueuedMessage(received_ms, 1, "stream:bybit_klines", b'{"n":%d}' % number)


def take_all(backlog: KlineBacklog, now_ms: int = 1_000) -> list[QueuedMessage]:
    return list(iter(lambda: backlog.take(now_ms), None))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spill" / "klines.jsonl"


def test_order_is_kept_through_memory_file_and_memory(path):
    """Ten times what memory may hold comes out as it went in."""
    items = [item(number) for number in range(10 * SPILL_BATCH + 7)]
    backlog = KlineBacklog(path, BacklogLimits(100))
    for one in items:
        backlog.append(one)
    assert backlog.on_disk > 0
    assert len(backlog) == len(items)
    assert take_all(backlog) == items
    assert not path.exists()


def test_appending_while_taking_keeps_the_order(path):
    """Redis is back, and klines still come: none overtakes another."""
    backlog = KlineBacklog(path, BacklogLimits(10))
    taken = []
    for number in range(5_000):
        backlog.append(item(number))
        if number > 1_000 and number % 3:
            taken.append(backlog.take(1_000))
    assert taken + take_all(backlog) == [item(number) for number in range(5_000)]


def test_nothing_overtakes_what_was_on_its_way_to_the_file(path):
    """The file is read out, a few wait behind it in memory, and memory is free at the front again."""
    backlog = KlineBacklog(path, BacklogLimits(10))
    count = 10 + SPILL_BATCH + 5
    for number in range(count):
        backlog.append(item(number))
    taken = [backlog.take(1_000) for _ in range(10 + SPILL_BATCH - 3)]
    assert backlog.on_disk == 0
    backlog.append(item(count))
    assert taken + take_all(backlog) == [item(number) for number in range(count + 1)]


def test_large_messages_go_to_the_file_sooner(path):
    """Memory is bounded by bytes as well, and what is read back is; the order stays."""
    items = [QueuedMessage(1_000, 1, "c", b'{"n":%04d, "x":"%b"}' % (n, b"x" * 1_000)) for n in range(3 * SPILL_BATCH)]
    backlog = KlineBacklog(path, BacklogLimits(memory_bytes=10_000, refill_bytes=5_000))
    for one in items:
        backlog.append(one)
    assert (len(backlog), backlog.on_disk) == (len(items), 2 * SPILL_BATCH)
    taken = [backlog.take(1_000) for _ in range(20)]
    backlog.put_back([one for one in taken[15:] if one])
    assert taken[:15] + take_all(backlog) == items
    assert backlog.memory_bytes == 0


def test_a_refusing_disk_costs_bounded_memory(tmp_path):
    """The oldest go, counted."""
    (tmp_path / "spill").write_text("a file where a folder should be")
    backlog = KlineBacklog(tmp_path / "spill/x", BacklogLimits(memory=1, unspilled_bytes=50_000))
    items = [QueuedMessage(1_000, 1, "c", b'{"n":%04d, "x":"%b"}' % (n, b"x" * 1_000)) for n in range(100)]
    for one in items:
        backlog.append(one)
    kept = take_all(backlog)
    assert kept == [items[0], *items[-len(kept) + 1 :]]
    assert backlog.dropped == 100 - len(kept) > 50


@pytest.mark.parametrize("what", ["folder", "file", "replaced"])
def test_a_file_that_was_removed_costs_nothing(path, what):
    """What it held is read all the same, and what comes goes to a new one."""
    items = [item(number) for number in range(10 + 3 * SPILL_BATCH)]
    backlog = KlineBacklog(path, BacklogLimits(10))
    for one in items[: 10 + SPILL_BATCH]:
        backlog.append(one)
    taken = [backlog.take(1_000) for _ in range(10)]
    shutil.rmtree(path.parent) if what == "folder" else path.unlink()
    if what == "replaced":
        path.write_bytes(b"another program's\n")
    with capture_logs() as logs:
        for one in items[10 + SPILL_BATCH :]:
            backlog.append(one)
    assert [line["event"] for line in logs] == ["backlog_file_gone"]
    assert path.read_bytes().count(b"\n") == 3 * SPILL_BATCH
    assert taken + take_all(backlog) == items
    assert (backlog.dropped, backlog.spill_errors) == (0, 0)


def test_a_fifo_in_the_place_of_a_removed_file_waits_for_nobody_and_costs_nothing(path):
    """While it stands there klines stay in memory; it is one line when the file is written anew."""
    backlog = KlineBacklog(path, BacklogLimits(10))
    items = [item(number) for number in range(10 + 4 * SPILL_BATCH)]
    for one in items[: 10 + SPILL_BATCH]:
        backlog.append(one)
    path.unlink()
    os.mkfifo(path)
    with capture_logs() as logs:
        for one in items[10 + SPILL_BATCH : 10 + 3 * SPILL_BATCH]:
            backlog.append(one)
        assert logs == []
        path.unlink()
        for one in items[10 + 3 * SPILL_BATCH :]:
            backlog.append(one)
    assert [line["event"] for line in logs] == ["backlog_file_gone"]
    assert take_all(backlog) == items
    assert backlog.dropped == 0


def test_a_removed_file_is_saved_at_the_end(path):
    """For the next start."""
    backlog = KlineBacklog(path, BacklogLimits(10))
    items = [item(number) for number in range(10 + SPILL_BATCH)]
    for one in items:
        backlog.append(one)
    shutil.rmtree(path.parent)
    assert backlog.save() == 0
    again = KlineBacklog(path)
    assert again.load() == len(items)
    assert take_all(again) == items


def test_what_is_no_file_is_no_place_for_klines(path):
    """A FIFO in its place, or in that of the file it is saved through: klines stay in memory, counted."""
    path.parent.mkdir()
    os.mkfifo(path)
    backlog = KlineBacklog(path, BacklogLimits(10))
    assert backlog.load() == 0
    items = [item(number) for number in range(10 + SPILL_BATCH)]
    for one in items:
        backlog.append(one)
    assert (backlog.on_disk, backlog.spill_errors) == (0, 2)
    assert take_all(backlog) == items
    assert list(spilled_klines(path, 1_000)) == []
    path.unlink()
    os.mkfifo(temp_path(path))
    backlog.append(items[0])
    assert backlog.save() == 1


def test_what_is_put_back_leaves_first(path):
    """An unconfirmed kline is older than all that wait."""
    backlog = KlineBacklog(path, BacklogLimits(2))
    for number in range(1_000):
        backlog.append(item(number))
    first = [backlog.take(1_000) for _ in range(3)]
    backlog.put_back([one for one in first if one])
    assert take_all(backlog) == [item(number) for number in range(1_000)]


def test_a_kline_over_its_age_is_counted_and_not_sent(path):
    """A day-old candle is the exchange's history."""
    backlog = KlineBacklog(path)
    backlog.append(item(1, received_ms=0))
    backlog.append(item(2, received_ms=10))
    assert backlog.take(MAX_AGE_MS + 5) == item(2, received_ms=10)
    assert backlog.expired == 1


def test_saved_klines_are_there_at_the_next_start(path):
    """A stop while Redis is away loses nothing."""
    items = [item(number) for number in range(3 * SPILL_BATCH + 5)]
    before = KlineBacklog(path, BacklogLimits(50))
    for one in items:
        before.append(one)
    assert before.take(1_000) == items[0]
    assert before.save() == 0
    after = KlineBacklog(path, BacklogLimits(50))
    assert after.load() == len(items) - 1
    after.append(item(9_999))
    assert take_all(after) == [*items[1:], item(9_999)]


def test_a_line_cut_by_a_crash_is_left_out(path):
    """A SIGKILL may cut the last line; the others are good."""
    path.parent.mkdir()
    path.write_bytes(item(1).line() + item(2).line()[:-4])
    backlog = KlineBacklog(path)
    backlog.load()
    assert take_all(backlog) == [item(1)]
    assert backlog.spill_errors == 1


def test_a_refusing_disk_keeps_klines_in_memory(tmp_path):
    """The file cannot be made: the failure is counted, and nothing is lost or reordered."""
    (tmp_path / "spill").write_text("a file where a folder should be")
    backlog = KlineBacklog(tmp_path / "spill" / "klines", BacklogLimits(memory=10))
    items = [item(number) for number in range(1_000)]
    for one in items:
        backlog.append(one)
    assert backlog.spill_errors > 0
    assert take_all(backlog) == items


def test_two_collectors_do_not_share_a_file(path):
    """The second takes a file of its own, and leaves the first's alone."""
    first, second = (KlineBacklog(path, BacklogLimits(1)) for _ in range(2))
    for number in range(SPILL_BATCH + 1):
        first.append(item(number))
    assert second.load() == 0
    for number in range(SPILL_BATCH + 1):
        second.append(item(-number))
    assert take_all(first) == [item(number) for number in range(SPILL_BATCH + 1)]
    assert take_all(second) == [item(-number) for number in range(SPILL_BATCH + 1)]


def test_a_line_reads_back_as_it_was():
    """Payloads hold spaces."""
    one = QueuedMessage(5, 2, "stream:bybit_klines", b'{"a": "b c"}')
    assert parse_line(one.line()) == one
