"""Which trades are new."""

import tracemalloc
import uuid

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregation.klines.dedupe import DUPLICATE, NEW, UNKNOWN, DedupeLimits, RecentIds, hashes_of

NOW = 1_700_000_000_000


def classify(recent, *trades, now_ms=NOW):
    """Verdicts on (id, ms) or (id, ms, row)."""
    rows = [trade[2] if len(trade) > 2 else 0 for trade in trades]
    ids, ms = [trade[0] for trade in trades], [trade[1] for trade in trades]
    verdicts = recent.classify(ids, np.array(rows), np.array(ms), now_ms)
    return [NEW] * len(ids) if verdicts is None else verdicts.tolist()


@pytest.fixture
def small():
    """Two trades to a chunk, four kept at least, for a second at least."""
    return RecentIds(DedupeLimits(chunk_ids=2, kept_ids=4, kept_ms=1_000))


def test_second_delivery_is_found_by_position():
    """In a later batch as in the same one, of a newer time or an older."""
    recent = RecentIds()

    assert classify(recent, ("a", 1), ("b", 2)) == [NEW, NEW]
    assert classify(recent, ("c", 2), ("a", 1), ("d", 3), ("d", 3)) == [NEW, DUPLICATE, NEW, DUPLICATE]
    assert classify(recent, ("c", 2), ("d", 3)) == [DUPLICATE, DUPLICATE]


def test_trades_that_come_late_are_new():
    """Older than others of their symbol, and never seen."""
    recent = RecentIds()

    assert classify(recent, ("a", 5), ("b", 9)) == [NEW, NEW]
    assert classify(recent, ("c", 4), ("d", 9), ("a", 5)) == [NEW, NEW, DUPLICATE]


def test_ids_of_two_symbols_may_be_equal():
    """In one batch and in different ones, of equal times and of older ones; duplicates of each are still found."""
    recent = RecentIds()

    assert classify(recent, ("1", 5, 0), ("1", 5, 1), ("2", 6, 1)) == [NEW, NEW, NEW]
    assert classify(recent, ("2", 5, 0), ("1", 5, 2), ("2", 6, 1)) == [NEW, NEW, DUPLICATE]
    assert classify(recent, ("2", 5, 0), ("1", 5, 1), ("1", 5, 2), ("1", 5, 3)) == [
        DUPLICATE,
        DUPLICATE,
        DUPLICATE,
        NEW,
    ]
    assert classify(recent, ("3", 9, 0), ("3", 9, 1), ("3", 9, 0)) == [NEW, NEW, DUPLICATE]


MATCHED_MS = {"a": 3, "b": 1, "c": 3, "d": 5}  # of a trade of any symbol, by its id


@given(
    st.lists(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 2)), min_size=1, max_size=6)),
    st.integers(1, 30),
)
def test_a_trade_is_new_once_for_its_symbol(batches, chunk_ids):
    """However symbols share ids and trades are cut into batches, the first of an id and symbol is new, no other is.

    Of a chunk that is full as of the one that is written.
    """
    recent, seen = RecentIds(DedupeLimits(chunk_ids=chunk_ids)), set()
    for batch in batches:
        verdicts = classify(recent, *((trade_id, MATCHED_MS[trade_id], row) for trade_id, row in batch))
        for trade, verdict in zip(batch, verdicts, strict=True):
            assert verdict == (DUPLICATE if trade in seen else NEW)
            seen.add(trade)


def test_empty_id_is_never_a_duplicate():
    """Of an exchange without ids no duplicate can be found."""
    recent = RecentIds()

    assert classify(recent, ("", 1), ("", 1), ("a", 1)) == [NEW, NEW, NEW]
    assert classify(recent, ("", 1)) == [NEW]
    assert len(recent) == 1


def test_ids_are_kept_for_a_time_however_many_come(small):
    """What came within it is known."""
    classify(small, ("first", 1))
    for i in range(50):
        classify(small, (f"{i}", 2 + i), now_ms=NOW + i)

    assert classify(small, ("first", 1), now_ms=NOW + 1_000) == [DUPLICATE]


def test_so_many_ids_are_kept_however_long_ago(small):
    """The last trades of a quiet market are kept for hours."""
    for i in range(5):
        classify(small, (f"{i}", i), now_ms=NOW + i * 3_600_000)

    assert classify(small, ("2", 2), ("3", 3), now_ms=NOW + 10**9) == [DUPLICATE, DUPLICATE]


def test_memory_is_bounded():
    """A flood is forgotten early: never more than the limit, a chunk and a batch."""
    recent = RecentIds(DedupeLimits(chunk_ids=30, most_ids=100))
    for i in range(1_000):
        classify(recent, *((f"{i}-{k}", i) for k in range(10)))

    assert len(recent) <= 100 + 30 + 10


def test_an_id_takes_eight_bytes():
    """But for those of the newest chunk; ids are of 36 characters, as Bybit's."""
    recent = RecentIds(DedupeLimits(chunk_ids=1_000))
    tracemalloc.start()
    for i in range(100):
        classify(recent, *((f"{uuid.UUID(int=i * 1_000 + k)}", i * 1_000 + k) for k in range(1_000)))
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert len(recent) == 100_000
    assert used < 1_000 * 200 + 99_000 * 9
    assert classify(recent, (f"{uuid.UUID(int=7)}", 7), ("another", 7)) == [DUPLICATE, NEW]


def test_hashes_of_one_id_differ_by_symbol_and_those_of_one_symbol_by_id():
    """Of ids that are texts, and of numbers that follow each other."""
    for ids in ([f"{i}" for i in range(300)], range(300)):
        of_rows = [hashes_of(np.full(300, row), ids) for row in range(300)]

        assert len({*np.concatenate(of_rows).tolist()}) == 90_000


def test_trade_that_may_be_forgotten_is_unknown_and_not_new(small):
    """Of each symbol on its own: a quiet one's old trades are as forgotten as the busy one's that pushed them out."""
    classify(small, ("quiet", 7, 1), ("x", 1, 0))
    for i in range(20):
        classify(small, (f"{i}", 100 + i), now_ms=NOW + i * 1_000)

    now_ms = NOW + 30_000
    assert classify(small, ("quiet", 7, 1), ("late", 6, 1), now_ms=now_ms) == [UNKNOWN, UNKNOWN]
    assert classify(small, ("newer", 8, 1), ("another", 50, 2), now_ms=now_ms) == [NEW, NEW]
    assert classify(small, ("19", 119), ("3", 103), now_ms=now_ms) == [DUPLICATE, UNKNOWN]
    assert [small.may_have_forgotten(1, ms) for ms in (7, 8)] == [True, False]
