"""The files of the checkpoint: one writer of the state, and the klines published lately, whole."""

import os
import shutil
from decimal import Decimal

import pytest
from structlog.testing import capture_logs

from consumers.redis.checkpoint.files import RECENT_MS, REPAIRABLE_MS, RecentKlines, StateFile, load_recent, newest_of
from consumers.redis.checkpoint.store import CheckpointOptions, KlineCheckpoint
from tests.support.klines import kline, klines

MINUTE_MS = 60_000
MANY = 2 * RECENT_MS // MINUTE_MS


@pytest.fixture
def recent_path(tmp_path):
    return tmp_path / "state" / "published.recent.jsonl"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / "published.json"


def test_the_second_one_writes_nothing(path):
    """Else each would lose what the other wrote."""
    first, second = StateFile(path), StateFile(path)
    assert first.acquire_lock()
    first.write(b"first")
    assert not second.acquire_lock()
    second.write(b"second")
    assert (second.is_written, path.read_bytes()) == (False, b"first")
    first.release_lock()


def test_a_released_file_may_be_locked(path):
    """By the next run."""
    first, second = StateFile(path), StateFile(path)
    first.acquire_lock()
    first.release_lock()
    assert second.acquire_lock()
    second.release_lock()


def test_locking_twice_is_locking_once(path):
    """Its own lock is not in its way."""
    file = StateFile(path)
    assert file.acquire_lock()
    assert file.acquire_lock()
    file.release_lock()


def test_a_removed_folder_is_locked_anew(path):
    """Its lock went with it: the process that came meanwhile is the writer now."""
    first, second = StateFile(path), StateFile(path)
    first.acquire_lock()
    shutil.rmtree(path.parent)
    first.write(b"first")
    assert path.read_bytes() == b"first"
    assert not second.acquire_lock()
    shutil.rmtree(path.parent)
    third = StateFile(path)
    assert third.acquire_lock()
    first.write(b"second")
    assert (first.is_written, path.exists()) == (False, False)
    third.release_lock()


def test_a_folder_that_something_else_stands_in_for_is_locked_when_it_is_back(path):
    """A file in its place, or a link to itself, is a disk that refuses; the lock is kept."""
    first, second = StateFile(path), StateFile(path)
    first.acquire_lock()
    shutil.rmtree(path.parent)
    for replace in (path.parent.touch, lambda: path.parent.symlink_to(path.parent.name)):
        replace()
        with pytest.raises(OSError, match=path.parent.name):
            first.write(b"first")
        path.parent.unlink()
    first.write(b"first")
    assert path.read_bytes() == b"first"
    assert not second.acquire_lock()
    first.release_lock()


@pytest.mark.parametrize("name", [".published.json.part", ".published.json.lock"])
def test_what_is_no_file_is_not_written_to(path, name):
    """A FIFO in its way is a disk that refuses."""
    path.parent.mkdir()
    os.mkfifo(path.parent / name)
    file = StateFile(path)
    assert file.acquire_lock()
    if name.endswith("part"):
        with pytest.raises(OSError, match="no regular file"):
            file.write(b"{}")
    else:
        file.write(b"{}")
        assert path.read_bytes() == b"{}"
    file.release_lock()


def test_no_path_is_no_file():
    """Nothing to lock, nothing to write."""
    file = StateFile(None)
    assert file.acquire_lock()
    file.write(b"{}")
    assert not file.is_written


def test_a_checkpoint_whose_file_is_taken_is_in_redis_alone(path):
    """It goes on, and leaves the other's files as they are."""
    one, other = (KlineCheckpoint(CheckpointOptions("bybit-streamer", path)) for _ in range(2))
    one.acquire_lock()
    other.acquire_lock()
    other.confirm(other.stage(klines(1).json))
    other.save()
    assert not path.exists()
    assert not path.with_suffix(".recent.jsonl").exists()
    assert len(other.known()) == 1
    one.file.release_lock()


# -- the klines published lately --------------------------------------------------------------------------------


def keep(recent, payload):
    recent.add(payload)
    recent.take()()


def found(recent_path):
    return [(kline.timestamp, kline.revision, kline.complete) for _, kline in load_recent(recent_path)]


def start(number):
    return kline(number).timestamp


def test_klines_come_back_as_they_were_published(recent_path):
    """Whole and exact, the last revision of each, with its market."""
    recent = RecentKlines(recent_path)
    for revision in (0, 1):
        keep(recent, klines(1, revision=revision, volume=Decimal("33.404285")).json)

    assert load_recent(recent_path) == [("linear", kline(1, revision=1, volume=Decimal("33.404285")))]


def test_complete_klines_are_kept_for_a_while_and_incomplete_ones_longer(recent_path, clock):
    """Both files are rotated; the kline that was never repaired stays, the repaired one goes."""
    recent = RecentKlines(recent_path, clock=clock)
    for number in (1, 2):
        keep(recent, klines(number, complete=False).json)
    keep(recent, klines(2, revision=1).json)
    for number in range(3, 20):
        clock.now_s += 60
        keep(recent, klines(number).json)

    starts = [at for at, *_ in found(recent_path)]
    assert starts == [start(1), start(18), start(19)]
    assert len(recent_path.read_bytes().splitlines()) < 5


def test_nothing_is_dropped_before_its_time(recent_path, clock):
    """What ended within the time to keep is there at every moment, whichever file was rotated last."""
    recent = RecentKlines(recent_path, clock=clock)
    for number in range(1, 200):
        clock.now_s += 1
        keep(recent, klines(number, interval=1000, timestamp=start(0) + number * 1000).json)

        assert len(found(recent_path)) == min(number, RECENT_MS // 1000)


def test_seconds_that_cannot_be_repaired_any_more_are_dropped(recent_path, clock):
    """Trades reach back for an hour at most."""
    recent = RecentKlines(recent_path, clock=clock)
    keep(recent, klines(0, complete=False, interval=1000).json)
    keep(recent, klines(0, complete=False, timestamp=start(0) + REPAIRABLE_MS + 1000).json)
    clock.now_s += RECENT_MS
    keep(recent, klines(0, timestamp=start(0) + REPAIRABLE_MS + 61_000).json)
    clock.now_s += RECENT_MS
    keep(recent, klines(0, timestamp=start(0) + REPAIRABLE_MS + 121_000).json)

    assert found(recent_path)[0] == (start(0) + REPAIRABLE_MS + 1000, 0, False)


def test_many_messages_are_written_together(recent_path):
    """One line each, in their order; nothing is written twice."""
    recent = RecentKlines(recent_path)
    for number in (1, 2, 3):
        recent.add(klines(number).json)
    assert recent.has_unwritten
    assert not recent_path.exists()
    recent.take()()
    recent.take()()

    assert not recent.has_unwritten
    assert recent_path.read_bytes().splitlines() == [klines(number).json for number in (1, 2, 3)]


def test_restart_goes_on_with_what_was_found(recent_path):
    """In one new file; a second kill right after it finds the same."""
    before = RecentKlines(recent_path)
    keep(before, klines(1, complete=False).json)
    keep(before, klines(2).json)
    after = RecentKlines(recent_path)
    after.begin(load_recent(recent_path))

    assert found(recent_path) == [(start(1), 0, False), (start(2), 0, True)]
    keep(after, klines(1, revision=10).json)
    assert found(recent_path)[0] == (start(1), 10, True)


def test_restart_leaves_one_file(recent_path, clock):
    """What both had is in it; the older one would bring back klines that are long over."""
    before = RecentKlines(recent_path, clock=clock)
    for number in (1, 2):
        clock.now_s += RECENT_MS / 1000
        keep(before, klines(number).json)
    older = recent_path.with_name(f"{recent_path.name}.1")
    assert older.exists()
    RecentKlines(recent_path).begin(load_recent(recent_path))

    assert not older.exists()


def test_line_cut_by_a_kill_costs_itself(recent_path):
    """The others are read."""
    keep(RecentKlines(recent_path), klines(1).json)
    with recent_path.open("ab") as file:
        file.write(klines(2).json[:50])

    assert found(recent_path) == [(start(1), 0, True)]


def test_what_waits_to_be_published_counts():
    """It leaves the disk before any new kline does."""
    assert load_recent(None, spilled=[klines(1).json, klines(1, revision=1).json]) == [("linear", kline(1, revision=1))]


def test_disk_that_refuses_costs_no_message(tmp_path):
    """It is counted."""
    (tmp_path / "in_the_way").write_text("")
    recent = RecentKlines(tmp_path / "in_the_way" / "recent")
    keep(recent, klines(1).json)

    assert recent.errors == 2


def test_a_removed_folder_is_made_anew(recent_path):
    """What is published from then on is kept."""
    recent = RecentKlines(recent_path)
    recent.begin([])
    keep(recent, klines(1).json)
    shutil.rmtree(recent_path.parent)
    keep(recent, klines(2).json)
    assert len(found(recent_path)) == 1
    assert recent.errors == 0


def test_what_is_no_file_is_not_opened(recent_path):
    """FIFOs in the place of both files: read as nothing, and logged."""
    recent_path.parent.mkdir()
    for odd in (recent_path, recent_path.with_name(f"{recent_path.name}.1")):
        os.mkfifo(odd)
    with capture_logs() as logs:
        assert load_recent(recent_path) == []
    assert [line["event"] for line in logs] == ["recent_klines_unreadable"] * 2


def test_what_waits_for_a_stuck_disk_is_bounded(recent_path):
    """It is not taken out: it is dropped, counted, and goes on."""
    recent = RecentKlines(recent_path, unwritten_bytes=1_000)
    for number in range(101):
        recent.add(klines(number).json)
    assert recent.errors > 0
    recent.take()()
    assert 0 < recent_path.stat().st_size <= 1_000


def test_the_incomplete_klines_kept_are_bounded(recent_path, clock):
    """The oldest go first."""
    recent = RecentKlines(recent_path, clock=clock, incomplete_limit=10)
    recent.begin([("linear", kline(number, complete=False)) for number in range(10)])
    keep(recent, klines(10, complete=False).json)
    for number in (11, 12):
        clock.now_s += RECENT_MS / 1000
        keep(recent, klines(number, complete=number == 12).json)

    assert [at for at, _, complete in found(recent_path) if not complete] == [start(number) for number in range(2, 12)]


def test_older_revision_does_not_move_back():
    """Files are read in their order, and a message may be sent twice."""
    revisions = [("linear", kline(1, revision=2)), ("linear", kline(1, revision=1))]
    assert newest_of(revisions) == revisions[:1]
