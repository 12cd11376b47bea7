"""What the store knows of what was published: marks, what nobody confirmed, and what the next run finds."""

import sqlite3
from contextlib import closing

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from aggregation.recovery.backfill_spans import EarlierRun
from consumers.redis.checkpoint.store import CheckpointOptions, KlineCheckpoint
from consumers.store.published import INCOMPLETE_MS, RECENT_MS, REPAIRABLE_MS, EarlierStore
from model.envelope import Envelope
from model.intervals import MINUTE_MS, MONTH, parse_interval
from model.records import LastPublished
from tests.support.klines import kline as any_kline

BTC = ("linear", "BTCUSDT", MINUTE_MS)
KEEP_FOR_EVER = 1 << 62


def kline(number=0, **changes):
    return any_kline(number + 20_000, **changes)  # two weeks after the first


def envelope(*klines):
    return Envelope("bybit", "linear", "klines", klines)


@pytest.fixture
def redis(store):
    """Have Redis confirm klines, and the store noted of it."""
    checkpoint = KlineCheckpoint(CheckpointOptions("p"), lambda one: store.deliver([one]))

    def confirm(*klines):
        checkpoint.confirm(checkpoint.stage(envelope(*klines).json))
        checkpoint.note_all()

    return confirm


def at(number, revision=0, *, complete=True):
    return LastPublished(kline(number).timestamp, revision, complete)


def left(path, known=None):
    """What a next run makes of it: the klines' minutes and revisions."""
    earlier = EarlierStore.read(path)
    found = earlier.published(earlier.held(earlier.marks if known is None else known))
    first_ms = kline(0).timestamp
    recent, again = (
        [((k.timestamp - first_ms) // MINUTE_MS, k.revision, k.complete) for _, k in some]
        for some in (found.recent, found.unconfirmed)
    )
    return recent, again


def test_marks_are_what_redis_confirmed(store, redis, path):
    """The newest of each series; a month of the calendar is one series; nothing moves back."""
    month = any_kline(0, interval=31 * 86_400_000, timestamp=1_767_225_600_000)
    for each in (kline(1), kline(2, revision=1, complete=False), kline(1, revision=4), month):
        store.deliver([envelope(each)])
        redis(each)
    store.deliver([envelope(kline(3))])

    assert EarlierStore.read(path).marks == {
        BTC: at(2, 1, complete=False),
        ("linear", "BTCUSDT", MONTH): LastPublished(month.timestamp, 0, True),
    }


def test_a_mark_may_come_before_its_kline(store, redis, path):
    """Redis was quicker than the disk: the series is there with it."""
    redis(kline(1))
    assert EarlierStore.read(path).marks == {BTC: at(1)}


def test_what_ended_lately_comes_back_whole_and_what_is_incomplete_too(store, redis, path):
    """To the last digit, with its market, and only what was published."""
    odd = kline(1, complete=False, volume=any_kline().volume * 1000, source="exchange", revision=2)
    store.deliver([envelope(odd, *(kline(number) for number in range(2, 9)))])
    redis(odd, *(kline(number) for number in range(2, 8)))

    published = EarlierStore.read(path).published(EarlierStore.read(path).marks)
    assert published.recent == [("linear", odd), ("linear", kline(6)), ("linear", kline(7))]
    assert published.unconfirmed == []


def test_every_second_of_two_minutes_comes_back(store, redis, path):
    """And incomplete ones, as far as trades can repair them."""
    start_ms = kline(0).timestamp
    seconds = [kline(interval=1_000, timestamp=start_ms + n * 1_000, complete=n not in (5, 300)) for n in range(800)]
    store.deliver([envelope(*seconds)])
    redis(*seconds)
    earlier = EarlierStore.read(path)
    recent = [(k.timestamp - start_ms) // 1_000 for _, k in earlier.published(earlier.marks).recent]

    assert recent == [300, *range(800 - RECENT_MS // 1_000, 800)]
    assert REPAIRABLE_MS == 600_000


def test_what_is_incomplete_for_a_week_stays_so(store, redis, path):
    """No start reads the whole past again."""
    klines = [kline(-INCOMPLETE_MS // MINUTE_MS, complete=False), kline(-9_000, complete=False), kline(1)]
    store.deliver([envelope(*klines)])
    redis(*klines)
    assert left(path) == ([(-9_000, 0, False), (1, 0, True)], [])


def test_a_revision_that_nobody_confirmed_is_found(store, redis, path):
    """Of an old kline, and of the newest; a later confirmation settles it, of an older revision none does."""
    first = [kline(number) for number in range(1, 9)]
    store.deliver([envelope(*first)])
    redis(*first)
    for number, revision in ((1, 2), (2, 1), (8, 1)):
        store.deliver([envelope(kline(number, revision=revision))])
    assert left(path) == ([(7, 0, True), (8, 1, True)], [(1, 2, True), (2, 1, True), (8, 1, True)])

    redis(kline(1, revision=1))
    redis(kline(2, revision=1))
    redis(kline(8, revision=1))
    assert left(path)[1] == [(1, 2, True)]


def test_what_redis_has_and_the_store_lacks_is_made_anew(store, redis, path):
    """Killed before the last batch: the series goes back to what is stored, where that is not long ago."""
    store.deliver([envelope(kline(1))])
    redis(kline(1), kline(2))
    earlier = EarlierStore.read(path)
    assert earlier.marks == {BTC: at(2)}
    assert earlier.held(earlier.marks) == {BTC: at(1)}
    hours = {BTC: at(200)}
    assert earlier.held(hours) == hours, "the store was switched off meanwhile"
    other = {("linear", "NEW", MINUTE_MS): at(2)}
    assert earlier.held(other) == other


def test_a_series_that_began_just_before_a_kill_goes_on_from_its_first_kline(store, redis, path):
    """None of it was confirmed, so that it may be lost; what is older and unknown is not collected any more."""
    month = any_kline(0, symbol="NEWUSDT", interval=31 * 86_400_000, timestamp=1_767_225_600_000)
    store.deliver([envelope(*(kline(number, symbol="NEWUSDT") for number in (7, 8)), month)])
    store.deliver([envelope(kline(-90, symbol="OLDUSDT"))])
    store.deliver([envelope(kline(8))])
    redis(kline(8))
    earlier = EarlierStore.read(path)
    new = ("linear", "NEWUSDT", MINUTE_MS)
    known = earlier.held(earlier.marks)
    assert known == {BTC: at(8), new: at(6), (*new[:2], MONTH): LastPublished(1_764_547_200_000, 0, True)}
    published = earlier.published(known)
    assert [k.symbol for _, k in published.recent] == ["BTCUSDT"]
    starts = {
        key: start_ms
        for key, _, start_ms in EarlierRun(
            published.last, published.recent, [parse_interval("1m"), parse_interval("1M")], [key[:2] for key in known]
        ).starts()
    }
    assert (starts[BTC], starts[new]) == (kline(9).timestamp, kline(7).timestamp)
    assert starts[*new[:2], MONTH] == month.timestamp


def test_a_revision_that_redis_has_and_the_store_lacks_is_not_trusted(store, redis, path):
    """It may have been taken back: it is read again, and goes out higher than Redis's."""
    store.deliver([envelope(kline(1))])
    assert left(path, {BTC: at(1, 3, complete=False)}) == ([(1, 3, False)], [])


def test_klines_beyond_the_mark_were_not_published(store, redis, path):
    """Redis was away: they go out from the mark on, of the exchange's values."""
    store.deliver([envelope(*(kline(number, revision=1, complete=number != 3) for number in range(1, 9)))])
    redis(kline(1, revision=1))
    assert left(path) == ([(1, 1, True)], [])


def test_without_redis_what_is_written_counts_as_published(open_store, path):
    """A run whose outputs are others goes on from the store alone; what an earlier one left unconfirmed is settled."""
    first = open_store()
    redis = KlineCheckpoint(CheckpointOptions("p"), lambda one: first.deliver([one]))
    first.deliver([envelope(kline(1))])
    redis.confirm(redis.stage(envelope(kline(1)).json))
    redis.note_all()
    first.deliver([envelope(kline(1, revision=1))])
    first.stop()
    assert left(path)[1] == [(1, 1, True)]
    alone = open_store(marks_published=True)
    alone.deliver([envelope(kline(1, revision=11), kline(2), kline(3, complete=False))])

    assert EarlierStore.read(path).marks == {BTC: at(3, complete=False)}
    assert left(path) == ([(2, 0, True), (3, 0, False)], [])


def test_only_a_stop_leaves_the_store_certain(open_store, path):
    """What ended within the last two minutes before a kill may have been revised in its last moment."""
    store = open_store(marks_published=True)
    store.deliver([envelope(kline(1))])
    earlier = EarlierStore.read(path)
    assert not earlier.is_certain
    assert earlier.published(earlier.marks).certain_until_ms == kline(2).timestamp - RECENT_MS
    store.stop()
    earlier = EarlierStore.read(path)
    assert earlier.published(earlier.marks).certain_until_ms == KEEP_FOR_EVER


def test_a_file_without_the_newer_tables_gets_them(open_store, path):
    """Its klines stay."""
    store = open_store()
    store.deliver([envelope(kline(1))])
    store.stop()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE unconfirmed")
        connection.execute("DROP TABLE state")
        connection.commit()
    with capture_logs():
        assert EarlierStore.read(path).marks == {}
    store = open_store()
    store.deliver([envelope(kline(1, revision=1))])
    assert store.reader.klines(*BTC) == [kline(1, revision=1)]


@pytest.mark.parametrize("content", [b"", b"no database at all" * 100])
def test_what_is_no_store_counts_as_empty(path, content):
    """Nothing, another file: the collector starts all the same, and nothing is changed."""
    assert EarlierStore.read(path).marks == {}
    path.parent.mkdir()
    path.write_bytes(content)
    with capture_logs() as logs:
        earlier = EarlierStore.read(path)
        assert earlier.published({BTC: at(1)}).last == {BTC: at(1)}
    assert (earlier.marks, earlier.is_certain, path.read_bytes()) == ({}, True, content)
    assert [line["event"] for line in logs] == ["store_unreadable_at_start"] * bool(content)


def test_a_damaged_store_counts_as_empty(open_store, path):
    """Its writer sets it aside afterwards."""
    store = open_store(marks_published=True)
    store.deliver([envelope(*(replace(kline(n), symbol=f"S{n}") for n in range(3_000)))])
    store.stop()
    content = bytearray(path.read_bytes())
    content[8192:] = b"\xff" * (len(content) - 8192)
    path.write_bytes(content)
    with capture_logs() as logs:
        assert EarlierStore.read(path).marks == {}
    assert [line["event"] for line in logs] == ["store_unreadable_at_start"]
