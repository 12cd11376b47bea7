"""Files: their names, their wholeness, their end."""

import gzip
import json
import os
import random
import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from consumers.files.jsonl import FileConsumer, FileOptions
from model.envelope import Envelope
from tests.support.klines import klines, price, write_file

NOON = datetime(2026, 1, 12, 15, 0, 0, 118_938, tzinfo=UTC)
KIND = ("bybit", "linear", "klines")


def made(tmp_path: Path, **options: object) -> FileConsumer:
    consumer = FileConsumer(FileOptions(tmp_path / "out", **options))  # type: ignore[arg-type]
    consumer.validate()
    consumer.setup()
    return consumer


@pytest.fixture
def consumer(tmp_path: Path) -> FileConsumer:
    return made(tmp_path)


def files(base: Path) -> list[Path]:
    return sorted(path for path in base.rglob("*") if path.is_file())


def test_path_is_the_legacy_systems(tmp_path):
    """Downstream programs find files by this name."""
    path = write_file(tmp_path, KIND, [b"{}\n"], NOON)
    assert path.relative_to(tmp_path).as_posix() == "bybit/2026/01/12/15/20260112_150000_118938_linear_klines.jsonl"
    assert files(tmp_path) == [path]


def test_lines_carry_metadata_and_data(consumer, tmp_path):
    """One line per envelope, with channel, type and time of writing."""
    consumer.deliver([klines(1), klines(2), price()])
    consumer.stop()
    found = files(tmp_path / "out")
    assert [path.name.split("_", 3)[3] for path in found] in (
        ["linear_klines.jsonl", "linear_price.jsonl"],
        ["linear_price.jsonl", "linear_klines.jsonl"],
    )
    lines = next(path for path in found if "klines" in path.name).read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert [record["data"][0]["timestamp"] for record in records] == [1767717000000, 1767717060000]
    assert records[0]["channel"] == "linear"
    assert records[0]["data_type"] == "klines"
    assert abs(records[0]["timestamp"] - time.time() * 1000) < 60_000


def test_a_file_collects_for_a_second(consumer, tmp_path, monkeypatch):
    """A thousand prices a second make one file, not a thousand."""
    now_s = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now_s[0])
    consumer.deliver([price()])
    consumer.deliver([price()])
    assert files(tmp_path) == []
    now_s[0] += 1.0
    consumer.tick()
    (path,) = files(tmp_path)
    assert path.read_text().count("\n") == 2


def test_a_refusing_disk_is_tried_again(consumer, tmp_path):
    """What could not be written is in the next file; the failure is counted."""
    (tmp_path / "out" / "bybit").write_text("in the way")
    consumer.deliver([price()])
    consumer.stop()
    assert consumer.counters()["write_errors"] == 1
    assert isinstance(consumer.trouble, OSError), "for the worker to report"
    (tmp_path / "out" / "bybit").unlink()
    consumer.stop()
    assert consumer.trouble is None
    (path,) = files(tmp_path)
    assert path.read_text().count("\n") == 1


def test_a_disk_that_works_again_is_logged_once_all_is_written(consumer, tmp_path, monkeypatch):
    """One kind written is no end of the trouble while another waits; then it is logged, once."""
    now_s = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now_s[0])
    (tmp_path / "out" / "bybit").write_text("in the way")
    consumer.deliver([price()])
    now_s[0] += 2
    consumer.tick()
    consumer.deliver([Envelope("elsewhere", "linear", "price", price().data)])
    now_s[0] += 1
    with capture_logs() as logs:
        consumer.tick()
        assert len(files(tmp_path / "out")) == 2, "the other kind has its file"
        assert isinstance(consumer.trouble, OSError)
        (tmp_path / "out" / "bybit").unlink()
        now_s[0] += 1
        consumer.tick()
        consumer.deliver([price()])
        consumer.stop()
    assert consumer.trouble is None
    (line,) = [entry for entry in logs if entry["event"] == "file_up"]
    assert (line["log_level"], line["failed_s"]) == ("info", 2.0)
    assert "bybit" in line["after"]


def test_a_full_disk_leaves_nothing_half_written(tmp_path, monkeypatch):
    """A file that appears is complete."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        write_file(tmp_path, KIND, [b"{}\n"], NOON)
    assert files(tmp_path) == []


def test_waiting_lines_are_bounded(tmp_path):
    """A disk full for a night costs the oldest lines, counted, not the process."""
    consumer = made(tmp_path, pending_bytes=1_000)
    (tmp_path / "out" / "bybit").write_text("in the way")
    for number in range(10):
        consumer.deliver([klines(number)])
    consumer.stop()
    (tmp_path / "out" / "bybit").unlink()
    consumer.stop()
    (path,) = files(tmp_path)
    kept = path.read_text().splitlines()
    assert consumer.counters()["lines_dropped"] == 10 - len(kept)
    assert json.loads(kept[-1])["data"][0]["timestamp"] == 1767716940000 + 9 * 60_000


def test_the_bound_is_of_all_kinds_and_the_largest_gives(tmp_path):
    """A flood of prices costs prices."""
    consumer = made(tmp_path, pending_bytes=2_000)
    (tmp_path / "out" / "bybit").write_text("in the way")
    consumer.deliver([klines(1)])
    for number in range(50):
        consumer.deliver([price(str(number))])
    consumer.stop()
    (tmp_path / "out" / "bybit").unlink()
    consumer.stop()
    lines = {path.name[23:]: path.read_text().splitlines() for path in files(tmp_path)}
    assert len(lines["linear_klines.jsonl"]) == 1
    kept = lines["linear_price.jsonl"]
    assert consumer.counters()["lines_dropped"] == 50 - len(kept) > 20
    assert json.loads(kept[-1])["data"][0]["price"] == 49


def test_a_crashs_file_is_recovered_to_its_last_whole_line(tmp_path):
    """Half a line is no JSON; the whole ones before it are data."""
    folder = tmp_path / "bybit/2026/01/12/15"
    folder.mkdir(parents=True)
    crashed = folder / ".20260112_150000_118938_linear_klines.jsonl.part"
    crashed.write_bytes(b'{"a":1}\n{"b"')
    empty = folder / ".20260112_150001_118938_linear_klines.jsonl.part"
    empty.write_bytes(b'{"b"')
    living = folder / ".20260112_150002_118938_linear_klines.jsonl.part"
    living.write_bytes(b'{"c":1}\n')
    for path in (crashed, empty):
        os.utime(path, (0, 0))
    FileConsumer(FileOptions(tmp_path)).setup()
    assert files(tmp_path) == [living, folder / "20260112_150000_118938_linear_klines.jsonl"]
    assert files(tmp_path)[1].read_bytes() == b'{"a":1}\n'


def test_only_our_own_files_expire(tmp_path):
    """Cleaning removes what this output wrote and is over its time, nothing else a user keeps there."""
    now = datetime.now(UTC)
    old = write_file(tmp_path, KIND, [b"{}\n"], now - timedelta(hours=5))
    write_file(tmp_path, KIND, [b"{}\n"], now - timedelta(hours=4, seconds=1))
    young = write_file(tmp_path, KIND, [b"{}\n"], now - timedelta(hours=3, minutes=59))
    mine = old.parent / "notes.txt"
    mine.write_text("mine")
    copy = tmp_path / old.name  # named as ours, kept where this output writes nothing
    copy.write_text("mine")
    FileConsumer(FileOptions(tmp_path)).tick()
    assert files(tmp_path) == sorted([young, mine, copy])


def test_other_collectors_files_stay(tmp_path):
    """Another exchange's and another market's in the same folder; what this one writes is its own, settings or not."""
    old = datetime.now(UTC) - timedelta(days=1)
    kinds = [("other", "linear", "klines"), ("bybit", "spot", "klines"), ("bybit", "linear", "tickers-klines")]
    paths = [write_file(tmp_path, kind, [b"{}\n"], old) for kind in kinds]
    for path in paths[:2]:
        hidden = path.with_name(f".{path.name}.part")
        hidden.write_bytes(b"{}\n")
        os.utime(hidden, (0, 0))
    consumer = FileConsumer(FileOptions(tmp_path, max_gb=1 / 1e9))
    consumer.setup()
    consumer.tick()
    assert [path.exists() for path in paths] == [True, True, False]
    assert (consumer.counters()["files_removed"], consumer.counters()["files_recovered"]) == (1, 0)
    spot = FileConsumer(FileOptions(tmp_path, markets=("linear", "spot")))
    spot.tick()
    assert [path.exists() for path in paths] == [True, False, False]


def test_a_folder_that_was_removed_is_made_anew(tmp_path):
    """And logged."""
    consumer = FileConsumer(FileOptions(tmp_path / "out"))
    consumer.deliver([klines(1)])
    consumer.stop()
    shutil.rmtree(tmp_path / "out")
    consumer.deliver([klines(2)])
    with capture_logs() as logs:
        consumer.stop()
    assert len(files(tmp_path)) == 1
    assert [line["event"] for line in logs] == ["output_folder_gone"]


def test_a_folder_that_cannot_be_made_anew_is_logged_once(tmp_path):
    """A file stands in its place: that it refuses is one line, and what waits is written when it is back."""
    consumer = FileConsumer(FileOptions(tmp_path / "out", collect_s=0.0))
    consumer.deliver([klines(1)])
    consumer.stop()
    shutil.rmtree(tmp_path / "out")
    (tmp_path / "out").touch()
    with capture_logs() as logs:
        for number in range(2, 5):
            consumer.deliver([klines(number)])
            consumer.tick()
        (tmp_path / "out").unlink()
        consumer.stop()
    assert [line["event"] for line in logs] == ["file_down", "output_folder_gone", "file_up"]
    assert consumer.counters()["lines_dropped"] == 0


def test_the_oldest_go_when_all_are_too_large(tmp_path):
    """A limit on size holds whatever the age, also before the next five minutes are over."""
    now = datetime.now(UTC)
    paths = [write_file(tmp_path, KIND, [b"x" * 1_000], now - timedelta(minutes=age)) for age in (4, 3, 2, 1)]
    consumer = FileConsumer(FileOptions(tmp_path, max_gb=2_500 / 1e9))
    consumer.tick()
    assert files(tmp_path) == paths[2:]
    consumer.deliver([price()] * 10)
    consumer.stop()
    consumer.tick()
    kept = files(tmp_path)
    assert sum(path.stat().st_size for path in kept) <= 2_500
    assert paths[2] not in kept, "the oldest went first"
    assert consumer.counters()["files_removed"] == 3


def test_gzip_by_choice(tmp_path):
    """A compressed file is complete when it appears too; any gzip reader reads it."""
    consumer = FileConsumer(FileOptions(tmp_path, compression="gzip"))
    consumer.deliver([klines(number) for number in range(100)])
    consumer.stop()
    (path,) = files(tmp_path)
    assert path.name.endswith("_linear_klines.jsonl.gz")
    lines = gzip.decompress(path.read_bytes()).splitlines()
    assert [json.loads(line)["data"][0]["timestamp"] for line in lines][::99] == [1767716940000, 1767722880000]
    assert consumer.counters()["bytes"] == path.stat().st_size < len(b"".join(lines)) / 5


def test_a_crashs_gzip_is_recovered_to_its_last_whole_line(tmp_path):
    """What a cut compressed file still holds is kept."""
    folder = tmp_path / "bybit/2026/01/12/15"
    folder.mkdir(parents=True)
    lines = b"".join(b'{"a":%d}\n' % random.getrandbits(64) for _ in range(2_000))
    crashed = folder / ".20260112_150000_118938_linear_klines.jsonl.gz.part"
    crashed.write_bytes(gzip.compress(lines)[:9_000])
    noise = folder / ".20260112_150001_118938_linear_klines.jsonl.gz.part"
    noise.write_bytes(b"no gzip at all")
    for path in (crashed, noise):
        os.utime(path, (0, 0))
    FileConsumer(FileOptions(tmp_path)).setup()
    (path,) = files(tmp_path)
    text = gzip.decompress(path.read_bytes())
    assert lines.startswith(text)
    assert text.endswith(b"}\n")


def test_cleaning_removes_empty_folders(tmp_path):
    """A year of hours must not be left as empty folders."""
    write_file(tmp_path, KIND, [b"{}\n"], datetime.now(UTC) - timedelta(days=40))
    consumer = FileConsumer(FileOptions(tmp_path))
    consumer.tick()
    assert not (tmp_path / "bybit").exists()
    assert consumer.counters()["files_removed"] == 1


def test_retention_zero_keeps_for_ever(tmp_path):
    """0 is a choice, below 0 a mistake."""
    path = write_file(tmp_path, KIND, [b"{}\n"], NOON)
    FileConsumer(FileOptions(tmp_path, retention_hours=0)).tick()
    assert path.exists()
    with pytest.raises(ValueError, match="FILE_CONSUMER_RETENTION_HOURS"):
        FileConsumer(FileOptions(tmp_path, retention_hours=-1)).validate()
    with pytest.raises(ValueError, match="FILE_CONSUMER_MAX_GB"):
        FileConsumer(FileOptions(tmp_path, max_gb=-1)).validate()
