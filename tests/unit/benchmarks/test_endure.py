"""What an endurance run counts against the collector, and what it does not."""

import os
from collections import Counter
from decimal import Decimal
from typing import cast

import pytest

from benchmarks.endure_harness import GARBAGE, Faults, Harness
from benchmarks.endure_watch import (
    Downstream,
    Sample,
    failings,
    grown_mb,
    judge,
    kline_table,
    memory_table,
    sample,
    windows,
    within,
)
from exchanges.simulated import faults as simulated

MINUTE_MS = 60_000
VALUES = {"open": "1", "high": "2", "low": "1", "close": "2", "volume": "3", "turnover": "5"}


def kline(start_ms=0, interval=MINUTE_MS, **changes):
    numbers = {name: Decimal(text) for name, text in VALUES.items()}
    fixed = {"symbol": "A", "interval": interval, "timestamp": start_ms, "revision": 0}
    return {**fixed, "complete": True, "source": "trades", **numbers, **changes}


def judged(klines, truths, until_ms=10 * MINUTE_MS):
    by_key = {(each["symbol"], each["interval"], each["timestamp"]): each for each in klines}
    interval = klines[0]["interval"] if klines else MINUTE_MS
    return judge(by_key, lambda _symbol, _interval: truths, ["A"], [interval], 0, until_ms, [])[interval]


def samples_of(*rss, threads=20):
    return [Sample(60.0 * minute, mb, mb / 2, threads, 30) for minute, mb in enumerate(rss)]


@pytest.fixture
def downstream():
    found = Downstream.__new__(Downstream)  # without a server: only what it keeps is looked at
    found.klines, found.counts = {}, Counter()
    return found


def test_the_highest_revision_is_kept(downstream):
    """An earlier revision that comes late replaces nothing."""
    downstream.keep([kline(revision=1, close=Decimal(7)), kline(revision=0)])
    assert downstream.klines["A", MINUTE_MS, 0]["close"] == 7


def test_one_revision_with_two_values_is_a_contradiction(downstream):
    """Sent again is harmless, sent again with another value is not."""
    downstream.keep([kline(), kline(), kline(close=Decimal(9))])
    assert (downstream.counts["twice"], downstream.counts["contradictions"]) == (2, 1)


def test_a_kline_equal_to_the_truth_is_not_wrong():
    """Decimals are compared as numbers, not as text."""
    found = judged([kline(volume=Decimal("3.0"))], {0: VALUES})
    assert (found["due"], found["wrong"], found["missing"]) == (1, 0, 0)


def test_a_wrong_and_a_missing_minute_fail():
    """Both count, each under its name."""
    found = judged(
        [kline(close=Decimal(9)), kline(2 * MINUTE_MS)], dict.fromkeys((0, MINUTE_MS, 2 * MINUTE_MS), VALUES)
    )
    assert failings({MINUTE_MS: found}) == {"missing": 1, "wrong": 1, "incomplete": 0}


def test_what_came_before_the_first_kline_is_counted_apart():
    """A symbol that has not traded yet has no kline to miss."""
    found = judged([kline(MINUTE_MS)], {0: VALUES, MINUTE_MS: VALUES})
    assert (found["before the first trade"], found["missing"]) == (1, 0)


def test_a_symbol_that_never_sent_one_is_missing_everything():
    """No kline at all is no excuse."""
    assert judged([], {0: VALUES})["missing"] == 1


def test_below_a_minute_only_a_false_complete_fails():
    """A second may be incomplete and wrong; it must not claim otherwise."""
    honest = judged([kline(interval=1000, complete=False, close=Decimal(9))], {0: VALUES})
    lying = judged([kline(interval=1000, close=Decimal(9))], {0: VALUES})
    assert (failings({1000: honest}), failings({1000: lying})) == (
        {"wrong, said complete": 0},
        {"wrong, said complete": 1},
    )


def test_what_ended_after_the_run_is_not_due():
    """It may still be on its way."""
    assert judged([kline()], {0: VALUES}, until_ms=MINUTE_MS - 1)["due"] == 0


def test_five_per_cent_or_eight_megabytes_are_the_same():
    """The larger of both is allowed, in either direction."""
    assert grown_mb(samples_of(80), samples_of(88))[2]
    assert not grown_mb(samples_of(80), samples_of(88.1))[2]
    assert grown_mb(samples_of(400), samples_of(420))[2]
    assert not grown_mb(samples_of(400), samples_of(379))[2]


def test_an_hour_compares_minutes_eight_to_twelve_with_the_last_four():
    """As the documented rule; a short run takes quarters."""
    assert windows(65) == ((8, 12), (61, 65))
    assert windows(4) == ((1, 2), (3, 4))


def test_samples_are_chosen_by_minute():
    """From the first moment, to before the last."""
    assert [each.rss for each in within(samples_of(1, 2, 3, 4), (1, 3))] == [2, 3]


def test_tables_have_a_line_per_five_minutes_and_per_interval():
    """Also where the last span is short."""
    assert "| 5 to 7 | 6.5 | 7.0 |" in memory_table(samples_of(1, 2, 3, 4, 5, 6, 7), 7)
    assert "| 60 s | 1 |" in kline_table({MINUTE_MS: {"due": 1}})


def test_a_living_process_is_read():
    """Ours has memory, a thread and files."""
    seen = sample(os.getpid(), 1.0)
    assert seen.rss >= seen.private > 1
    assert seen.threads >= 1
    assert seen.files >= 3


class Recorded:
    """A harness that only remembers what would have been done to it."""

    def __init__(self):
        self.done = []
        self.exchange = self

    def command(self, name, **body):
        self.done.append((name, body))

    def restart_redis(self, away_s):
        self.done.append(("redis", away_s))

    def kill(self, dead_s):
        self.done.append(("kill", dead_s))


def test_faults_follow_from_the_seed():
    """A run that found something can be had again; the process is killed only where that was asked for."""

    def happened(seed, *, may_kill):
        harness = Recorded()
        faults = Faults(cast(Harness, harness), seed, may_kill=may_kill)
        for _ in range(300):
            faults.happen()
        return harness.done

    assert happened(1, may_kill=False) == happened(1, may_kill=False) != happened(2, may_kill=False)
    assert "kill" not in dict(happened(1, may_kill=False))
    assert "kill" in dict(happened(1, may_kill=True))


def test_messages_are_lost_only_on_connections_that_end():
    """A short stall keeps them, as TCP does; one that does not is longer than it takes to notice."""
    harness = Recorded()
    faults = Faults(cast(Harness, harness), 1, may_kill=False)
    for _ in range(300):
        faults.happen()
    stalls = [body for name, body in harness.done if name == "stall"]
    assert {body["keep"] for body in stalls} == {True, False}
    assert all(body["keep"] or body["s"] >= 60 for body in stalls)


def test_the_simulator_has_all_the_garbage():
    """An unknown name would end the run."""
    assert set(GARBAGE) <= set(simulated.GARBAGE)
