"""The files of versions before the store: read once, renamed when the store has what they had."""

import json
import os
import time

import pytest
from structlog.testing import capture_logs

from consumers.redis.checkpoint.load import load_published
from consumers.redis.checkpoint.old_files import newest_of, read_old_files, rename_old_files
from consumers.redis.checkpoint.store import CheckpointOptions
from consumers.redis.options import RedisOptions
from consumers.redis.standalone import RedisPublisher
from consumers.store.published import EarlierStore
from consumers.store.store import StoreConsumer, StoreOptions
from model.envelope import Envelope
from model.intervals import MINUTE_MS
from model.records import LastPublished
from tests.support.klines import kline as any_kline

BTC = ("linear", "BTCUSDT", MINUTE_MS)
NOW_MS = int(time.time() * 1000) // MINUTE_MS * MINUTE_MS


def kline(number, **changes):
    """One of the last twenty minutes."""
    return any_kline(timestamp=NOW_MS - (20 - number) * MINUTE_MS, **changes)


def klines(number, **changes):
    return Envelope("bybit", "linear", "klines", (kline(number, **changes),))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "bybit_linear.published.json"


@pytest.fixture
def store_path(tmp_path):
    return tmp_path / "store" / "bybit_linear.sqlite"


def write(path, number=5):
    """Files as those versions left them, one kline incomplete."""
    head = {"symbol": "BTCUSDT", "interval": MINUTE_MS, "timestamp": kline(number).timestamp}
    path.write_text(json.dumps({"linear": [{**head, "complete": True, "revision": 0}]}))
    recent = path.with_suffix(".recent.jsonl")
    recent.with_name(f"{recent.name}.1").write_bytes(klines(1, complete=False).json + b"\n")
    recent.write_bytes(klines(number).json + b"\n" + klines(number).json[:50])


def load(path, store_path):
    options = CheckpointOptions("p", path)
    return load_published(None, options, ["linear"], None, EarlierStore.read(store_path), NOW_MS)


def test_they_are_read_where_the_store_has_no_marks(path, store_path):
    """The newest by series, and the newest klines whole with the incomplete ones; a line cut by a kill costs itself."""
    write(path)
    with capture_logs() as logs:
        loaded = load(path, store_path)
    assert loaded.confirmed == loaded.published.last == {BTC: LastPublished(kline(5).timestamp, 0, True)}
    assert loaded.published.recent == [("linear", kline(1, complete=False)), ("linear", kline(5))]
    assert [line["event"] for line in logs] == ["checkpoint_file_read"]


def test_the_store_takes_them_over_and_then_they_are_renamed(path, store_path):
    """A publisher hands the store what it read; the next start finds it there, and reads the files no more."""
    write(path)
    noted: list[Envelope] = []
    one = RedisPublisher(RedisOptions("redis://127.0.0.1:1/0", checkpoint=CheckpointOptions("p", path)))
    one.note_with(noted.append)
    one.load_checkpoint(["linear"], EarlierStore.read(store_path))
    one._save_unsent(0)
    store = StoreConsumer(StoreOptions(store_path))
    store.setup()
    store.deliver(noted)
    store.stop()
    assert path.exists()

    write(path, 9)
    with capture_logs() as logs:
        loaded = load(path, store_path)
    assert loaded.published.last == {BTC: LastPublished(kline(5).timestamp, 0, True)}
    assert loaded.published.recent == [("linear", kline(1, complete=False)), ("linear", kline(5))]
    names = [f"bybit_linear.published{ending}.read" for ending in (".json", ".recent.jsonl.1", ".recent.jsonl")]
    assert sorted(each.name for each in path.parent.glob("bybit*")) == names
    assert [line["event"] for line in logs] == ["checkpoint_file_renamed"] * 3


def test_without_a_store_they_are_left_alone(path):
    """KLINE_STORE=false: the hash alone remembers."""
    write(path)
    loaded = load_published(None, CheckpointOptions("p", path), ["linear"], None, None, NOW_MS)
    assert (loaded.confirmed, [*loaded.published.recent], path.exists()) == ({}, [], True)


def test_nothing_to_be_read_is_nothing(path):
    """Nothing is logged either: every start of a new collector is like that."""
    with capture_logs() as logs:
        assert read_old_files(path) == ({}, [])
        rename_old_files(path)
    assert logs == []


@pytest.mark.parametrize("content", [b"", b"{", b'{"linear":[{"symbol":1}]}', b"\xff\xfe", b"[1]"])
def test_an_unreadable_file_counts_as_empty(path, content):
    """The collector starts all the same."""
    path.write_bytes(content)
    assert read_old_files(path) == ({}, [])


def test_what_is_no_file_is_not_opened(path):
    """FIFOs in the place of all: read as nothing, and logged."""
    recent = path.with_suffix(".recent.jsonl")
    for odd in (path, recent, recent.with_name(f"{recent.name}.1")):
        os.mkfifo(odd)
    with capture_logs() as logs:
        assert read_old_files(path) == ({}, [])
    assert [line["event"] for line in logs] == ["checkpoint_file_unreadable", *["recent_klines_unreadable"] * 2]


def test_an_older_revision_does_not_move_back():
    """Files are read in their order, and a message may be sent twice."""
    revisions = [("linear", kline(1, revision=2)), ("linear", kline(1, revision=1))]
    assert newest_of(revisions) == revisions[:1]
