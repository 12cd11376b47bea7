"""Which silences are worth a question; no clock but the test's."""

import numpy as np

from aggregation.recovery.liveness import ASK_EVERY_MS, LEAST_MS, UNANSWERED_MS, TradeRhythm

T0 = 1_700_000_000_000


class Market:
    """Symbols that trade every so many ms, checked once a second."""

    def __init__(self, *gaps_ms):
        self.rhythm, self.now, self.gaps_ms = TradeRhythm(), T0, gaps_ms
        self.newest, self.up_ms = np.full(len(gaps_ms), T0), np.full(len(gaps_ms), T0)
        self.asked: list[tuple[int, int]] = []
        self.unanswered: set[int] = set()

    def run(self, seconds, *silent):
        for _ in range(seconds):
            self.now += 1_000
            for row, gap_ms in enumerate(self.gaps_ms):
                if row not in silent:
                    self.newest[row] = T0 + (self.now - T0) // gap_ms * gap_ms
            asked, unanswered = self.rhythm.check(self.newest, self.up_ms, self.now)
            self.asked += [(row, (self.now - self.newest[row]) // 1_000) for row in asked.tolist()]
            self.unanswered |= set(unanswered.tolist())


def test_a_busy_symbol_is_looked_up_after_seconds():
    """A dozen trades a second, and then none."""
    market = Market(80)
    market.run(60)
    assert market.asked == []
    market.run(10, 0)
    assert [row for row, _ in market.asked] == [0]
    assert market.asked[0][1] <= LEAST_MS // 1_000 + 1


def test_a_quiet_symbol_is_left_to_its_rhythm():
    """One trade a minute is no silence once that is the rhythm; three minutes are."""
    market = Market(60_000)
    market.run(1_200)
    market.asked.clear()
    market.run(600)
    assert market.asked == []
    market.run(400, 0)
    assert market.asked


def test_without_an_answer_it_is_looked_up_later_and_later():
    """And after long enough a silence without an answer counts as missed."""
    market = Market(200)
    market.run(60)
    market.run(300, 0)
    assert 4 <= len(market.asked) <= 7
    gaps = np.diff([after for _, after in market.asked]).tolist()
    assert gaps == sorted(gaps)
    assert gaps[0] >= ASK_EVERY_MS // 1_000
    assert market.unanswered == {0}


def test_an_answer_that_nothing_was_missed_counts():
    """Such a silence is of its nature: the next is looked up only when it is longer."""
    market = Market(200)
    market.run(60)
    for _ in range(600):
        market.run(1, 0)
        if market.asked and market.asked[-1][1] == (market.now - market.newest[0]) // 1_000:
            market.rhythm.confirm_quiet(0, market.now)
    assert market.unanswered == set()
    assert len(market.asked) < 10
    market.newest[0] = market.now
    market.asked.clear()
    market.run(UNANSWERED_MS // 1_000, 0)
    assert market.asked == []


def test_a_time_without_a_feed_is_no_gap():
    """Nor is one in which a symbol was removed: after it a silence is found as soon as before."""
    market = Market(200)
    market.run(60)
    market.run(3_600, 0)
    market.up_ms[0] = market.now
    market.run(60)
    market.asked.clear()
    market.run(10, 0)
    assert [row for row, _ in market.asked] == [0]


def test_more_symbols_may_come():
    """A row that is new gets a rhythm like any other."""
    market = Market(200)
    market.run(30)
    market.gaps_ms, market.newest, market.up_ms = (200, 300), np.append(market.newest, 0), np.append(market.up_ms, T0)
    market.run(30)
    assert market.asked == []
