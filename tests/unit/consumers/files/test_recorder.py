"""The raw feed on disk: what is in the files, and what a disk that refuses costs."""

import gzip
import os
import shutil
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from consumers.files import recorder
from consumers.files.recorder import RawRecorder, RecorderOptions, line_of, recover_recording
from model.files import AtomicAppend, temp_path
from tests.support.events import RecordedEvents

PAYLOAD = b'{"topic":"publicTrade.BTCUSDT","data":[%d]}'


@pytest.fixture
def events() -> RecordedEvents:
    return RecordedEvents()


class Clock:
    """The time of day that the recorder has; it stands until a test moves it."""

    at = datetime(2026, 1, 12, 15, 59, 58, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make(tmp_path: Path, events: RecordedEvents, clock: Clock):
    """A recorder that writes every step's payloads at once, and whose disk may be tried again at once."""

    def make(**options: object) -> RawRecorder:
        quick = {"kinds": ("trades", "ticker"), "lasting_s": 0.0, "block_s": -1.0, "retry_s": 0.0, **options}
        return RawRecorder(RecorderOptions(tmp_path, **quick), events, clock)  # type: ignore[arg-type]

    return make


@pytest.fixture
def made(make) -> RawRecorder:
    return make()


def sink_of(made: RawRecorder, market: str = "linear", kind: str = "trades"):
    """What takes one payload."""
    sink = made.sink(market, kind)
    assert sink is not None
    return lambda payload: sink((payload,))


def files(base: Path) -> list[Path]:
    return sorted(path for path in base.rglob("*") if path.is_file())


def lines(path: Path) -> list[bytes]:
    return gzip.decompress(path.read_bytes()).splitlines()


def full(*_: object) -> int:
    raise OSError(28, "No space left on device")


def test_a_line_has_time_market_and_payload(made, tmp_path):
    """Every byte as it came, in the order it came over all topics and markets."""
    before_ns = time.time_ns()
    trades, spot = sink_of(made), sink_of(made, "spot", "ticker")
    trades(b'{"a": 1.10}')
    spot(b'{"b":"\xc3\xa4"}')
    trades(b'{"a":2}')
    made.finish()
    (path,) = files(tmp_path)
    assert path.parent == tmp_path / "bybit"
    assert path.name.endswith("_bybit_linear.txt.gz")
    found = [line.split(b" ", 2) for line in lines(path)]
    assert [(market, body) for _, market, body in found] == [
        (b"linear", b'{"a": 1.10}'),
        (b"spot", b'{"b":"\xc3\xa4"}'),
        (b"linear", b'{"a":2}'),
    ]
    assert before_ns <= int(found[0][0]) <= int(found[2][0]) <= time.time_ns()
    assert made.stats()["recorded"] == 3


def test_only_chosen_kinds_are_recorded(made):
    """Order books are nine tenths of the feed; who does not want them does not pay."""
    assert made.sink("linear", "orderbook") is None


@pytest.mark.parametrize("payload", [b'{"a":\n1}', b"not json", b"", b'{"a":1}\r', b"=x"])
def test_any_payload_is_one_line(payload):
    """What a broken feed sends is recorded too, and spoils no neighbour."""
    line = line_of(b"1 linear ", payload)
    assert line.startswith(b"1 linear =")
    assert line.count(b"\n") == 1


def test_a_file_appears_when_it_is_whole(made, tmp_path):
    """Nobody reads half an hour; blocks are on disk meanwhile, each whole on its own."""
    sink = sink_of(made)
    for number in range(3):
        sink(PAYLOAD % number)
        made.step()
    (temp,) = files(tmp_path)
    assert temp.name.startswith(".")
    assert len(lines(temp)) == 3
    made.finish()
    (path,) = files(tmp_path)
    assert temp_path(path) == temp


def test_every_hour_is_a_file(made, clock, tmp_path):
    """The hour that is over appears, the next one begins."""
    sink = sink_of(made)
    sink(PAYLOAD % 1)
    made.step()
    clock.at += timedelta(seconds=2)
    sink(PAYLOAD % 2)
    made.step()
    living, over = sorted(files(tmp_path), key=lambda path: path.name)
    assert living.name.startswith(".")
    assert lines(over)[0].endswith(PAYLOAD % 1)
    assert made.stats()["files"] == 1
    made.finish()


def test_a_full_queue_drops_the_oldest_and_notes_it_in_the_file(make, tmp_path):
    """A reader of the file finds where payloads are missing."""
    made = make(queue_payloads=5)
    sink = sink_of(made)
    for number in range(8):
        sink(PAYLOAD % number)
    made.finish()
    (path,) = files(tmp_path)
    note, first, *_ = lines(path)
    assert note == b"# 3 payloads are missing here"
    assert first.endswith(PAYLOAD % 3)
    assert made.stats()["dropped"] == 3


def test_a_full_disk_is_tried_again(made, events, tmp_path, monkeypatch):
    """What could not be written is written when there is room; half a block never stays."""
    sink, real_write = sink_of(made), os.write
    sink(PAYLOAD % 1)
    made.step()

    def half(descriptor: int, data: memoryview) -> int:
        if len(data) > 10:
            return real_write(descriptor, data[:10])
        return full()

    monkeypatch.setattr(os, "write", half)
    sink(PAYLOAD % 2)
    made.step()
    made.step()
    assert made.stats()["write_errors"] == 2
    assert len(lines(files(tmp_path)[0])) == 1
    monkeypatch.setattr(os, "write", real_write)
    made.finish()
    assert [line[-2:] for line in lines(files(tmp_path)[0])] == [b"]}", b"]}"]
    assert made.stats()["dropped"] == 0
    assert events.names == ["sink_down", "sink_up"]


def test_a_file_that_cannot_be_named_is_no_success(made, clock, events, tmp_path, monkeypatch):
    """What follows is written into it, and no sink_up is emitted before the file has its name."""
    sink = sink_of(made)
    sink(PAYLOAD % 1)
    made.step()
    clock.at += timedelta(seconds=2)
    monkeypatch.setattr(Path, "replace", full)
    sink(PAYLOAD % 2)
    made.step()
    assert events.names == ["sink_down"]
    monkeypatch.undo()
    with capture_logs() as logs:
        made.step()
        made.finish()
    assert events.names == ["sink_down", "sink_up"]
    assert [entry["event"] for entry in logs] == ["recorder_up"]
    assert len(lines(files(tmp_path)[0])) == 2


def test_what_waits_for_a_disk_is_bounded(make, tmp_path, monkeypatch):
    """A disk full for a night costs the oldest blocks, counted and noted."""
    made = make(pending_bytes=300)
    real_write = os.write
    monkeypatch.setattr(os, "write", full)
    sink = sink_of(made)
    for number in range(20):
        sink(PAYLOAD % number)
        made.step()
    monkeypatch.setattr(os, "write", real_write)
    sink(PAYLOAD % 20)
    made.finish()
    lost = made.stats()["dropped"]
    assert 0 < lost < 20
    (path,) = files(tmp_path)
    assert len([line for line in lines(path) if not line.startswith(b"#")]) == 21 - lost
    noted = [int(line.split()[1]) for line in lines(path) if line.startswith(b"#")]
    assert noted
    assert sum(noted) <= lost


def test_a_crashs_recording_is_named_up_to_its_last_whole_block(made, tmp_path):
    """The next start finds what the last one could not finish."""
    sink = sink_of(made)
    for number in range(3):
        sink(PAYLOAD % number)
        made.step()
    (temp,) = files(tmp_path)
    assert not recover_recording(temp), "it is being written"
    (tmp_path / "crashed").mkdir()
    crashed = tmp_path / "crashed" / temp.name
    shutil.copy(temp, crashed)  # nobody holds a lock on it
    with crashed.open("ab") as file:
        file.truncate(temp.stat().st_size - 5)
    assert recover_recording(crashed)
    (path,) = files(tmp_path / "crashed")
    assert [line.rpartition(b" ")[2] for line in lines(path)] == [PAYLOAD % 0, PAYLOAD % 1]


def test_a_crash_before_the_first_block_leaves_nothing(tmp_path):
    """No empty recordings."""
    file = AtomicAppend(tmp_path / "x.txt.gz")
    file.close()
    assert not recover_recording(temp_path(file.path))
    assert files(tmp_path) == []


def test_old_recordings_go(made, clock, tmp_path):
    """By their hour's end, so that no minute is lost before its time."""
    folder = tmp_path / "bybit"
    folder.mkdir()
    names = [(clock.at - timedelta(hours=age)).strftime(recorder.NAME_TIME) for age in (74, 72.5, 1)]
    for name in names:
        (folder / f"{name}_bybit_linear.txt.gz").write_bytes(b"x")
    made.step()
    assert [path.name[:22] for path in files(tmp_path)] == names[1:]


def test_other_recordings_stay(made, tmp_path):
    """Another exchange's, another market's; and another's that is being written is not taken over."""
    folder, other = tmp_path / "bybit", tmp_path / "other"
    names = [folder / "20250112_100000_000000_bybit_spot.txt.gz", other / "20250112_100000_000000_bybit_linear.txt.gz"]
    hidden = temp_path(folder / "20250112_100000_000000_my_bybit_linear.txt.gz")
    for path in (*names, hidden):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    made.recover()
    made.step()
    assert files(tmp_path) == sorted([*names, hidden])


@pytest.mark.parametrize("what", ["file", "folder", "replaced"])
def test_a_file_that_was_removed_is_begun_anew(made, tmp_path, what):
    """What was in it went with it; what comes is in a new one, from the next block on."""
    sink = sink_of(made)
    sink(PAYLOAD % 1)
    made.step()
    (first,) = files(tmp_path)
    shutil.rmtree(tmp_path / "bybit") if what == "folder" else first.unlink()
    if what == "replaced":
        first.write_bytes(b"mine")
    sink(PAYLOAD % 2)
    with capture_logs() as logs:
        made.step()
        made.finish()
    assert [line["event"] for line in logs] == ["recorder_file_gone"]
    named = [path for path in files(tmp_path) if not path.name.startswith(".")]
    assert [line.split(b" ", 2)[2] for line in lines(named[0])] == [PAYLOAD % 2]
    assert (made.stats()["queued"], made.stats()["write_errors"]) == (0, 0)


def test_an_end_without_the_file_ends(made, tmp_path):
    """Its hour is over, and it is not there any more: nothing waits for it."""
    sink_of(made)(PAYLOAD % 1)
    made.step()
    shutil.rmtree(tmp_path / "bybit")
    made.finish()
    assert made.stats()["write_errors"] == 0


def test_the_thread_records_and_ends(made, tmp_path):
    """Started, fed, stopped: a whole file."""
    made.start()
    sink_of(made)(PAYLOAD % 1)
    assert "recorder" in {thread.name for thread in threading.enumerate()}
    assert made.stop(time.monotonic() + 20)
    (path,) = files(tmp_path)
    assert len(lines(path)) == 1
