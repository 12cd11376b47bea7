"""The klines published lately, whole: what is kept of them, and what a restart finds."""

import os
import shutil
from decimal import Decimal

import pytest
from structlog.testing import capture_logs

from consumers.redis.checkpoint.files import KEEP_MS, OPEN_FINE_MS, OPEN_LIMIT, RecentKlines, lately, load_recent
from tests.support.clock import FakeClock
from tests.support.klines import kline, klines

MINUTE_MS = 60_000
MANY = 2 * KEEP_MS // MINUTE_MS


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "published.recent.jsonl"


@pytest.fixture
def clock():
    return FakeClock()


def keep(recent, payload):
    recent.add(payload)
    recent.write()


def found(path):
    return [(kline.timestamp, kline.revision, kline.complete) for _, kline in load_recent(path)]


def start(number):
    return kline(number).timestamp


def test_klines_come_back_as_they_were_published(path):
    """Whole and exact, the last issue of each, with its market."""
    recent = RecentKlines(path)
    for revision in (0, 1):
        keep(recent, klines(1, revision=revision, volume=Decimal("33.404285")).json)

    assert load_recent(path) == [("linear", kline(1, revision=1, volume=Decimal("33.404285")))]


def test_complete_klines_are_remembered_for_a_while_and_incomplete_ones_longer(path, clock):
    """Both files turn; the one kline that was never healed stays, the healed one goes."""
    recent = RecentKlines(path, clock=clock)
    for number in (1, 2):
        keep(recent, klines(number, complete=False).json)
    keep(recent, klines(2, revision=1).json)
    for number in range(3, 20):
        clock.now_s += 60
        keep(recent, klines(number).json)

    starts = [at for at, *_ in found(path)]
    assert starts == [start(1), start(18), start(19)]
    assert len(path.read_bytes().splitlines()) < 5


def test_nothing_is_forgotten_before_its_time(path, clock):
    """What ended within the time to keep is there at every moment, whichever file turned last."""
    recent = RecentKlines(path, clock=clock)
    for number in range(1, 200):
        clock.now_s += 1
        keep(recent, klines(number, interval=1000, timestamp=start(0) + number * 1000).json)

        assert len(found(path)) == min(number, KEEP_MS // 1000)


def test_seconds_that_nobody_can_heal_any_more_are_forgotten(path, clock):
    """Trades reach back for an hour at most."""
    recent = RecentKlines(path, clock=clock)
    keep(recent, klines(0, complete=False, interval=1000).json)
    keep(recent, klines(0, complete=False, timestamp=start(0) + OPEN_FINE_MS + 1000).json)
    clock.now_s += KEEP_MS
    keep(recent, klines(0, timestamp=start(0) + OPEN_FINE_MS + 61_000).json)
    clock.now_s += KEEP_MS
    keep(recent, klines(0, timestamp=start(0) + OPEN_FINE_MS + 121_000).json)

    assert found(path)[0] == (start(0) + OPEN_FINE_MS + 1000, 0, False)


def test_many_messages_are_written_together(path):
    """One line each, in their order; nothing is written twice."""
    recent = RecentKlines(path)
    for number in (1, 2, 3):
        recent.add(klines(number).json)
    assert recent.has_unwritten
    assert not path.exists()
    recent.write()
    recent.write()

    assert not recent.has_unwritten
    assert path.read_bytes().splitlines() == [klines(number).json for number in (1, 2, 3)]


def test_restart_goes_on_with_what_was_found(path):
    """In one new file; a second kill right after it finds the same."""
    before = RecentKlines(path)
    keep(before, klines(1, complete=False).json)
    keep(before, klines(2).json)
    after = RecentKlines(path)
    after.begin(load_recent(path))

    assert found(path) == [(start(1), 0, False), (start(2), 0, True)]
    keep(after, klines(1, revision=10).json)
    assert found(path)[0] == (start(1), 10, True)


def test_line_cut_by_a_kill_costs_itself(path):
    """The others are read."""
    keep(RecentKlines(path), klines(1).json)
    with path.open("ab") as file:
        file.write(klines(2).json[:50])

    assert found(path) == [(start(1), 0, True)]


def test_what_waits_to_be_published_counts():
    """It leaves the disk before any new kline does."""
    assert load_recent(None, waiting=[klines(1).json, klines(1, revision=1).json]) == [("linear", kline(1, revision=1))]


def test_disk_that_refuses_costs_no_message(tmp_path):
    """It is counted."""
    (tmp_path / "in_the_way").write_text("")
    recent = RecentKlines(tmp_path / "in_the_way" / "recent")
    keep(recent, klines(1).json)

    assert recent.errors == 2


def test_a_removed_folder_is_made_anew(path):
    """What is published from then on is kept."""
    recent = RecentKlines(path)
    recent.begin([])
    keep(recent, klines(1).json)
    shutil.rmtree(path.parent)
    keep(recent, klines(2).json)
    assert len(found(path)) == 1
    assert recent.errors == 0


def test_what_is_no_file_is_not_opened(path):
    """FIFOs in the place of both files: read as nothing, and told."""
    path.parent.mkdir()
    for odd in (path, path.with_name(f"{path.name}.1")):
        os.mkfifo(odd)
    with capture_logs() as logs:
        assert load_recent(path) == []
    assert [line["event"] for line in logs] == ["recent_klines_unreadable"] * 2


def test_what_waits_for_a_stuck_disk_is_bounded(path, monkeypatch):
    """Nobody takes it out: it is forgotten, counted, and goes on."""
    monkeypatch.setattr("consumers.redis.checkpoint.files.UNWRITTEN_BYTES", 1_000)
    recent = RecentKlines(path)
    for number in range(100):
        recent.add(klines(number).json)
    assert recent.errors > 0
    assert sum(map(len, recent._unwritten)) <= 1_000


def test_memory_of_incomplete_klines_is_bounded(path):
    """The oldest go first."""
    recent = RecentKlines(path)
    recent.begin([("linear", kline(number, complete=False)) for number in range(OPEN_LIMIT)])
    keep(recent, klines(OPEN_LIMIT, complete=False).json)

    assert len(recent._open) == OPEN_LIMIT
    assert ("linear", "BTCUSDT", MINUTE_MS, start(0)) not in recent._open


def test_older_issue_does_not_move_back():
    """Files are read in their order, and a message may be sent twice."""
    issues = [("linear", kline(1, revision=2)), ("linear", kline(1, revision=1))]
    assert lately(issues) == issues[:1]
