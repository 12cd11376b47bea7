"""What the release of commit 611104e left on disk is read: checkpoint, recent klines, spill file.

The files in `data/611104e` were written by that commit's own code: a publisher that sent klines of two markets and a
month's, was stopped, and one that was stopped while Redis was away. `redis.json` is what it left in Redis, for
tests/integration/consumers/redis/test_last_release.py.
"""

import shutil
from pathlib import Path

import pytest

from consumers.redis.backlog import KlineBacklog, spilled_klines
from consumers.redis.checkpoint.load import sent_from_file, with_spilled
from consumers.redis.checkpoint.old_files import read_old_files
from consumers.redis.checkpoint.store import CheckpointOptions
from model.records import LastPublished, SeriesKey

DATA = Path(__file__).parent / "data" / "611104e"
START_MS = 1_795_999_980_000
MINUTE_MS = 60_000
NOW_MS = START_MS + 3_600_000  # an hour later
KNOWN: dict[SeriesKey, LastPublished] = {
    ("linear", "BTCUSDT", MINUTE_MS): LastPublished(START_MS + MINUTE_MS, 0, True),
    ("linear", "ETHUSDT", MINUTE_MS): LastPublished(START_MS + MINUTE_MS, 0, True),
    ("linear", "BTCUSDT", 0): LastPublished(1_790_812_800_000, 0, True),
    ("spot", "币安人生USDT", MINUTE_MS): LastPublished(START_MS, 0, True),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy, for a start moves and removes files."""
    shutil.copytree(DATA, tmp_path / "state")
    return tmp_path / "state"


@pytest.fixture
def options(folder: Path) -> CheckpointOptions:
    return CheckpointOptions("bybit-streamer", folder / "bybit_linear.published.json")


def test_its_checkpoint_file_is_read(options: CheckpointOptions) -> None:
    """Every market, symbol and interval, a month as 0."""
    assert options.old_path
    assert read_old_files(options.old_path)[0] == KNOWN


def test_its_recent_klines_are_read_from_both_files(options: CheckpointOptions) -> None:
    """The last revision of each; the incomplete one was repaired."""
    assert options.old_path
    found = [
        (market, kline.symbol, kline.timestamp, kline.revision, kline.source)
        for market, kline in read_old_files(options.old_path)[1]
        if kline.interval == MINUTE_MS
    ]

    assert sorted(found) == [
        ("linear", "BTCUSDT", START_MS, 0, "trades"),
        ("linear", "BTCUSDT", START_MS + MINUTE_MS, 0, "trades"),
        ("linear", "ETHUSDT", START_MS, 1, "exchange"),
        ("linear", "ETHUSDT", START_MS + MINUTE_MS, 0, "trades"),
        ("spot", "币安人生USDT", START_MS, 0, "trades"),
    ]


def test_its_spill_file_is_sent_but_for_what_was_published(folder: Path) -> None:
    """In its order; the first message is known as published, the others move the checkpoint on."""
    spill_path = folder / "bybit_linear.jsonl"
    lines = spill_path.read_bytes().splitlines()
    known = with_spilled(KNOWN, spilled_klines(spill_path, NOW_MS))
    sent = sent_from_file(spill_path, KNOWN)
    backlog = KlineBacklog(spill_path)

    assert (sent, backlog.load(sent)) == (1, 2)
    assert known["linear", "BTCUSDT", MINUTE_MS] == LastPublished(START_MS + 3 * MINUTE_MS, 0, False)
    for line in lines[1:]:
        message = backlog.take(NOW_MS)
        assert message is not None
        assert message.line() == line + b"\n"
    assert backlog.take(NOW_MS) is None
    assert not spill_path.exists()
