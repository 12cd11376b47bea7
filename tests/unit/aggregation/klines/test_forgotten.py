"""Trades so old that their ids are forgotten: never counted twice, and no kline over them is complete."""

from dataclasses import replace
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from aggregation.klines.dedupe import DedupeLimits
from aggregation.trade_queue import FeedGap
from model.records import PastTrade
from tests.unit.aggregation.klines.test_soundness import (
    Harness,
    last_revisions,
    moments,
    play,
    values,
)
from tests.unit.aggregation.klines.test_table import T0, table, trades
from tests.unit.aggregation.reference import true_candle

FEW = DedupeLimits(chunk_ids=2, kept_ids=2, kept_ms=5_000)


class Forgetful(Harness):
    """A line that brings old trades again, to a table that keeps few ids."""

    def __init__(self, *, event_clock):
        super().__init__(event_clock=event_clock, dedupe=FEW)

    def again(self, back):
        """The last trade but `back` comes once more."""
        if len(self.delivered) > back and self.silent_since is None:
            self.queue.put(str(sorted(self.delivered)[-1 - back]).encode())


def truth_is_kept(harness):
    everything = [s.trade for s in harness.traded]
    for kline in last_revisions(harness.klines).values():
        if kline.complete:
            assert values(kline) == true_candle(everything, kline.timestamp, kline.interval)


@settings(max_examples=250, deadline=None)
@given(st.lists(st.one_of(moments, st.tuples(st.just("again"), st.integers(0, 12))), max_size=40), st.booleans())
def test_what_is_complete_is_true_however_few_ids_are_kept(script, event_clock):
    """Whatever comes late, twice, or after a gap: counted once, or the kline is not complete."""
    harness = Forgetful(event_clock=event_clock)
    play(harness, [m if not event_clock or m[0] != "trade" else (*m[:3], 0) for m in script])

    truth_is_kept(harness)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 9), max_size=6))
def test_no_trade_is_counted_twice(backs):
    """However long ago it came first; what may be a duplicate is refused, and reported."""
    harness = Forgetful(event_clock=False)
    for number in range(12):
        harness.trade(Decimal(100 + number), Decimal(1), 0)
        harness.run(6_000)
    before = harness.aggregator.stats()["trades"]
    for back in backs:
        harness.again(back)
    harness.run(1_000)
    stats = harness.aggregator.stats()

    assert stats["trades"] == before == len(harness.traded)
    assert stats["duplicates"] + stats["forgotten"] == len(backs)
    truth_is_kept(harness)


def test_late_trade_where_ids_are_forgotten_is_refused_and_its_klines_are_incomplete():
    """It may be a duplicate: it is refused and reported, and the klines since are not complete."""
    harness = Forgetful(event_clock=False)
    harness.run(10_000)
    harness.trade(Decimal(105), Decimal(1), 40_000)
    late_ms = harness.now
    for _ in range(7):
        harness.run(6_000)
        harness.trade(Decimal(100), Decimal(1), 0)
    harness.finish()
    klines = last_revisions(harness.klines)

    assert harness.aggregator.stats()["forgotten"] == 1
    assert not any(k.complete for (length, start), k in klines.items() if start <= late_ms < start + length)


def test_trades_inserted_where_ids_are_forgotten_verify_nothing():
    """The exchange's answer comes when the ids counted are forgotten: its candles repair, not its trades."""
    harness = Forgetful(event_clock=False)
    harness.run(10_000)
    harness.trade(Decimal(102), Decimal(1), 0)
    harness.run(1_000)
    harness.silence()
    harness.trade(Decimal(110), Decimal(1), 0)
    harness.reconnect(0)
    for _ in range(8):
        harness.trade(Decimal(103), Decimal(1), 0)
        harness.run(6_000)
    harness.ask(1000)
    harness.finish()

    assert (harness.aggregator.stats()["spliced"], harness.aggregator.stats()["unspliced"]) == (0, 2)
    truth_is_kept(harness)


def named(*rows):
    """Rows of (ms after T0, symbol, id), each at its own price."""
    found = trades(*((ms, 10 + ms / 1000, 1, symbol) for ms, symbol, _ in rows))
    return replace(found, ids=[row[2] for row in rows])


def test_trades_of_a_quiet_symbol_are_inserted_however_long_it_was_quiet():
    """Its last trade is forgotten, but its id is the gap's: what the exchange lists after it was never counted."""
    gaps: list[FeedGap] = []
    kt = table("1s", on_gap=gaps.append, dedupe=FEW)
    kt.feed.up(["QUIET", "BUSY"], T0 - 1_000)
    kt.add(named((500, "QUIET", "b")), T0 + 500)
    kt.feed.down(["QUIET"], T0 + 400)
    kt.feed.up(["QUIET"], T0 + 900)
    for ms in range(1_000, 40_000, 1_000):
        kt.add(named((ms, "BUSY", f"busy-{ms}"), (ms + 1, "BUSY", f"busier-{ms}")), T0 + ms)
    kt.add(named((40_000, "QUIET", "d")), T0 + 40_000)
    listed = (("a", -9, 10.0), ("b", 500, 11.0), ("c", 800, 11.0), ("d", 40_000, 11.0))
    past = [PastTrade(trade_id, T0 + ms, price, 1.0, 0) for trade_id, ms, price in listed]
    klines = kt.insert_trades(gaps[-1], past, T0 + 41_000)

    assert klines is not None
    assert [(k.trade_count, k.close) for k in klines if k.timestamp == T0] == [(2, 11)]
    assert all(k.complete for k in klines if k.timestamp > T0)
