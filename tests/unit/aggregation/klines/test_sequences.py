"""Consecutive ids: what is new, what is there already, what is missing. Ids and times are the test's."""

import numpy as np
import pytest

from aggregation.klines.dedupe import DUPLICATE, NEW, UNKNOWN
from aggregation.klines.sequences import HOLE_MOST, ConsecutiveIds, covers

EMPTY = np.zeros(0, np.int64)


class Ids(ConsecutiveIds):
    """Ids of row 0 by default, with what was reported."""

    def __init__(self):
        self.causes: list[str] = []
        super().__init__(lambda cause, _sample: self.causes.append(cause))

    def put(self, ids, ms=None, *, row=0, matches=None, uncounted=(), is_past=False):
        """The verdicts of trades; each id is its own time unless told."""
        verdicts = self.classify(
            np.full(len(ids), row),
            np.array(ids, np.int64),
            None if matches is None else np.array(matches),
            np.array(ids if ms is None else ms, np.int64),
            np.full(len(uncounted), row),
            np.array(uncounted, np.int64),
            is_past=is_past,
        )
        return [NEW] * len(ids) if verdicts is None else verdicts.tolist()

    def holes(self):
        """The ids and times of the holes that were found."""
        found = [(hole.ids, hole.from_ms, hole.until_ms) for hole in self.opened]
        self.opened.clear()
        return found


@pytest.fixture
def ids():
    return Ids()


def test_ids_that_continue_each_other_are_new_and_nothing_is_missing(ids):
    """In one batch and in the next; each row for itself."""
    assert ids.put([10, 11]) == ids.put([12, 13]) == [NEW, NEW]
    assert ids.put([500], row=1) == [NEW]
    assert ids.holes() == []
    assert (ids.last_id(0), ids.last_id(1)) == (13, 500)


def test_a_trade_of_several_matches_begins_after_the_last_one(ids):
    """OKX's count: the id is the last match's."""
    ids.put([10])
    assert ids.put([20, 21], matches=[10, 1]) == [NEW, NEW]
    assert ids.holes() == []
    ids.put([30], matches=[3])
    assert ids.holes() == [((22, 27), 21, 30)]


def test_what_is_there_is_a_duplicate(ids):
    """However often, in the same batch too."""
    ids.put([10, 11, 12])
    assert ids.put([12], [12]) == [DUPLICATE]
    assert ids.put([11, 12, 13, 13]) == [DUPLICATE, DUPLICATE, NEW, DUPLICATE]
    assert ids.holes() == []


def test_a_missing_id_is_a_hole_between_the_times_of_its_sides(ids):
    """Nothing has to disconnect."""
    ids.put([10])
    assert ids.put([15, 16]) == [NEW, NEW]
    assert ids.holes() == [((11, 14), 10, 15)]


def test_late_trades_fill_a_hole(ids):
    """In any order; the last one closes it."""
    ids.put([10])
    ids.put([14])
    ids.holes()
    assert ids.put([12]) == [NEW]
    assert ids.put([12]) == [DUPLICATE]
    assert ids.put([13, 11]) == [NEW, NEW]
    assert [hole.ids for hole in ids.filled] == [(11, 13)]


def test_trades_of_one_batch_may_change_places(ids):
    """That is no hole."""
    ids.put([10])
    assert ids.put([12, 11, 13]) == [NEW] * 3
    assert (ids.holes(), ids.filled) == ([], [])


def test_ids_that_do_not_count_are_there(ids):
    """Binance's placeholders; between trades, at the end, alone, and where one is missing."""
    ids.put([10])
    assert ids.put([12], uncounted=[11, 13]) == [NEW]
    assert ids.put([], uncounted=[14]) == []
    assert ids.put([15]) == [NEW]
    assert ids.holes() == []
    ids.put([19], uncounted=[17])
    assert [hole.missing for hole in ids.opened] == [[(16, 16), (18, 18)]]


def test_hole_before_an_id_that_does_not_count_lasts_until_the_next_trade(ids):
    """Such an id has no time: what is missing before it may lie in any window since the trade before the hole."""
    ids.put([10], [1_000])
    ids.put([], uncounted=[13])
    assert ids.holes() == []
    ids.put([15], [5_000], uncounted=[14])
    assert [hole.missing for hole in ids.opened] == [[(11, 12)]]
    assert ids.holes() == [((11, 14), 1_000, 5_000)]


def test_trade_that_comes_after_a_later_id_that_does_not_count_is_new(ids):
    """It is newer than the last trade, whose id is less; the next trade continues both."""
    ids.put([10])
    ids.put([], uncounted=[12])
    assert ids.put([11]) == [NEW]
    assert ids.put([13]) == [NEW]
    assert (ids.holes(), ids.filled, ids.causes) == ([], [], [])


def test_an_older_trade_than_the_first_is_new_once(ids):
    """What the exchange's recent trades have from before the start."""
    ids.put([100])
    assert ids.put([90, 91, 99], is_past=True) == [NEW] * 3
    assert ids.put([90, 95], is_past=True) == [DUPLICATE, NEW]
    assert ids.holes() == []
    assert ids.put([80]) == [NEW]
    assert ids.holes() == [((81, 89), 80, 100)]


@pytest.mark.parametrize("garbage", [2**62, 2**63 - 1, -1, -(2**60), 10 + HOLE_MOST + 2, 9_000_000])
def test_one_garbage_id_is_refused_and_its_own_is_a_hole(ids, garbage):
    """The sequence goes on as if it had not come."""
    ids.put([10])
    assert ids.put([garbage], [11]) == [UNKNOWN]
    assert ids.put([12, 13]) == [NEW, NEW]
    assert ids.holes() == [((11, 11), 10, 12)]
    assert len(ids.causes) == 1


def test_the_largest_hole_is_asked_for_and_a_larger_one_is_not(ids):
    """A jump that goes on is another sequence: nothing is known of what lies between."""
    ids.put([10])
    ids.put([11 + HOLE_MOST], [20])
    assert [hole.ids for hole in ids.opened] == [(11, 10 + HOLE_MOST)]
    ids.opened.clear()
    far = 10_000_000
    assert ids.put([far, far + 1], [30, 31]) == [UNKNOWN, NEW]
    assert ids.holes() == [(None, 20, 30), ((far, far), 30, 31)]


def test_a_relisted_symbol_begins_anew(ids):
    """Ids from 1 on, newer than all before: the second one proves it, and the first is a hole."""
    ids.put([500, 501])
    assert ids.put([1], [600]) == [UNKNOWN]
    assert ids.put([2, 3], [601, 602]) == [NEW, NEW]
    assert ids.holes() == [(None, 501, 600), ((1, 1), 600, 601)]
    assert ids.causes == ["trade_id_backwards", "trade_ids_began_anew"]
    assert not ids.continues(0, 501)


def test_times_that_go_back_begin_nothing(ids):
    """A replay of old trades is no new listing."""
    ids.put([1, 2, 500], [1, 2, 3])
    ids.opened.clear()
    assert ids.put([1, 2], [1, 2]) == [DUPLICATE, DUPLICATE]
    assert ids.last_id(0) == 500


def test_a_wrong_id_a_little_ahead_does_not_stay(ids):
    """Newer trades with lower ids show it: the state begins anew, and what lies between stays unproven."""
    ids.put([10])
    ids.put([1_010], [11])
    ids.opened.clear()
    assert ids.put([12, 13], [12, 13]) == [UNKNOWN, NEW]
    assert ids.holes() == [(None, 11, 12), ((12, 12), 12, 13)]
    assert ids.put([14], [14]) == [NEW]


def test_a_trade_that_is_there_in_part_is_not_counted(ids):
    """It cannot be cut."""
    ids.put([10, 11])
    assert ids.put([13], [11], matches=[3]) == [DUPLICATE]
    assert ids.splits(0, [(11, 13)])
    assert not ids.splits(0, [(10, 11), (12, 13)])


def test_a_hole_is_covered_by_all_of_its_ids_each_once():
    """And by no trade that reaches beyond it."""
    assert covers((3, 6), [(5, 6), (3, 4)])
    assert not covers((3, 6), [(3, 4), (6, 6)])
    assert not covers((3, 6), [(2, 4), (5, 6)])
    assert not covers((3, 6), [(3, 4), (4, 6)])
    assert not covers((3, 6), [])
