"""When a candle may call itself complete: the rules one by one. test_soundness.py holds them all together."""

from itertools import pairwise

import pytest

from tests.support.arithmetic import FIRST_TRADE
from tests.unit.aggregation.klines.test_table import MINUTE, T0, table, trades

NAN = float("nan")


def fed(*names, **options):
    """A table whose symbol has been fed for a minute, its first candle behind it."""
    kt = table(*names, **options)
    kt.feed.up(["BTCUSDT"], T0 - MINUTE)
    kt.add(trades((-MINUTE, 10, 1)))
    return kt


def complete(klines):
    """Minutes after T0 -> complete, of the last issue of each candle of a minute."""
    return {(k.timestamp - T0) // MINUTE: k.complete for k in klines if k.interval == MINUTE and k.timestamp >= T0}


def test_flat_candle_after_a_gap_waits_for_a_trade():
    """What was traded in the gap may have moved the price: flat candles at the old one prove nothing."""
    kt = fed("1m")
    kt.feed.down(["BTCUSDT"], T0 + 5)
    kt.feed.up(["BTCUSDT"], T0 + MINUTE + 5)

    klines = kt.close_until(T0 + 4 * MINUTE)
    klines += kt.add(trades((4 * MINUTE + 1, 12, 1)))
    klines += kt.close_until(T0 + 7 * MINUTE)

    assert complete(klines) == {0: False, 1: False, 2: False, 3: False, 4: False, 5: True, 6: True}


def test_flat_candle_at_an_unknown_price_spoils_the_longer_one():
    """An hour is not complete where one of its minutes opened at a price that is not certain."""
    kt = fed("1m", "5m")
    kt.feed.down(["BTCUSDT"], T0 + 5)
    kt.feed.up(["BTCUSDT"], T0 + 6)

    fives = [k for k in kt.close_until(T0 + 30 * MINUTE) if k.interval == 5 * MINUTE]

    assert fives
    assert not any(k.complete for k in fives)


def test_first_trade_rule_needs_no_price_from_before_the_gap():
    """KLINE_OPEN=first_trade: a traded candle stands for itself, a flat one does not."""
    kt = fed("1m", arithmetic=FIRST_TRADE)
    kt.feed.down(["BTCUSDT"], T0 + 5)
    kt.feed.up(["BTCUSDT"], T0 + 6)

    klines = kt.add(trades((2 * MINUTE, 12, 1), (3 * MINUTE, 12, 1)))

    assert complete(klines) == {0: False, 1: False, 2: True}


def test_flat_candle_that_a_late_trade_opens_no_longer_needs_the_price_before():
    """KLINE_OPEN=first_trade: it opened at a price from before a gap, and stands for itself since it has a trade."""
    kt = fed("1m", arithmetic=FIRST_TRADE)
    kt.feed.down(["BTCUSDT"], T0 + 5)
    kt.feed.up(["BTCUSDT"], T0 + 6)
    klines = kt.close_until(T0 + 3 * MINUTE)
    klines += kt.add(trades((MINUTE, 12, 1), (3 * MINUTE, 12, 1)))
    (row,) = kt.symbols.known(["BTCUSDT"])
    kt.feed.suspect[row] = T0 + MINUTE
    klines += kt.feed.confirm_quiet("BTCUSDT", T0 + 3 * MINUTE)
    klines += kt.feed.verify_late({}, 0, T0 + 3 * MINUTE)

    assert complete(klines) == {0: False, 1: True, 2: True}


def test_bad_trade_spoils_every_candle_it_may_belong_to():
    """It came with others: no window of the symbol that they touch or open is complete, the next one is."""
    kt = fed("1m")

    klines = kt.add(trades((1, 10, 1), (MINUTE, 10, 1), (MINUTE + 1, NAN, 1), (2 * MINUTE, 10, 1)))
    klines += kt.add(trades((3 * MINUTE, 10, 1), (4 * MINUTE, 10, 1), (5 * MINUTE, 10, 1)))

    assert complete(klines) == {0: False, 1: False, 2: False, 3: False, 4: True}


def test_bad_trade_spoils_its_own_symbol_alone():
    """Garbage of one symbol leaves another verified."""
    kt = fed("1m")
    kt.add(trades((1, NAN, 1, "OTHER"), (1, 10, 1)))

    assert complete(kt.close_until(T0 + MINUTE)) == {0: True}


def test_bad_trade_that_is_late_takes_the_candle_back():
    """The candle it belongs to has gone out as complete: it is sent again."""
    kt = fed("1m")
    kt.close_until(T0 + MINUTE)

    (kline,) = kt.add(trades((30_000, NAN, 1)))

    assert (kline.timestamp, kline.complete, kline.revision) == (T0, False, 1)


def test_unreadable_trade_spoils_the_window_of_now():
    """Of a trade that cannot be read at all it is known only that it came by now."""
    kt = fed("1m")
    garbage = trades()
    garbage.broken = ["BTCUSDT", "NEVERSEEN"]
    kt.add(garbage, T0 + MINUTE + 5)

    klines = kt.add(trades((MINUTE + 10, 10, 1)), T0 + MINUTE + 10)
    klines += kt.close_until(T0 + 3 * MINUTE)

    assert complete(klines) == {0: False, 1: False, 2: True}


def test_bad_trade_while_the_feed_is_down_proves_nothing():
    """Garbage is no sign of life."""
    kt = fed("1m")
    kt.feed.down(["BTCUSDT"], T0 + 5)
    kt.add(trades((MINUTE, NAN, 1), (MINUTE, 10, 1)), T0 + MINUTE)

    assert set(complete(kt.close_until(T0 + 5 * MINUTE)).values()) == {False}


@pytest.mark.parametrize("field", ["event_ms", "seqs"])
@pytest.mark.parametrize("value", [2**63, -(2**70)])
def test_number_beyond_64_bits_costs_only_its_trade(field, value):
    """A time or sequence that no integer holds does not take the batch with it."""
    kt = fed("1m")
    batch = trades((1, 10, 1), (2, 10, 1), (3, 10, 1))
    getattr(batch, field)[1] = value
    kt.add(batch)

    (kline,) = (k for k in kt.close_until(T0 + MINUTE) if k.timestamp == T0)

    assert kline.trade_count == (2 if field == "event_ms" else 3)


def test_trade_far_ahead_of_the_clock_is_refused():
    """It would close every candle until then."""
    kt = fed("1m")
    kt.add(trades((MINUTE * 3, 10, 1)), T0)

    assert kt.counts.refused == 1
    assert kt.close_until(T0)[-1].timestamp == T0 - MINUTE


def test_stalled_connection_beside_a_younger_one_leaves_a_gap():
    """The second came up after the first had fallen silent: between them nothing was delivered."""
    kt = fed("1m")
    kt.feed.up(["BTCUSDT"], T0 + 3 * MINUTE)
    klines = kt.close_until(T0 + 4 * MINUTE)
    klines += kt.feed.down(["BTCUSDT"], T0 + MINUTE + 5)
    klines += kt.add(trades((4 * MINUTE + 1, 10, 1)))
    klines += kt.close_until(T0 + 6 * MINUTE)

    assert complete(klines) == {0: True, 1: False, 2: False, 3: False, 4: False, 5: True}


def test_gap_reaches_every_interval_but_no_candle_before_it():
    """A gap found late takes back what ended after it began, at every interval."""
    kt = fed("1m", "3m")
    first = kt.add(trades(*((i * MINUTE, 10, 1) for i in range(10))))
    again = kt.feed.down(["BTCUSDT"], T0 + 8 * MINUTE + 1)

    assert {(k.interval // MINUTE, (k.timestamp - T0) // MINUTE) for k in again} == {(1, 8)}
    assert all(not k.complete and k.revision == 1 for k in again)
    assert all(k.complete for k in first if k.interval == MINUTE and k.timestamp >= T0)


def test_late_trade_of_an_incomplete_candle_leaves_it_incomplete():
    """Gap first, late trade after: the value is corrected, the flag is not, revisions count on."""
    kt = fed("1m")
    kt.close_until(T0 + MINUTE)
    kt.feed.down(["BTCUSDT"], T0 + 30_000)

    (kline,) = kt.add(trades((10, 14, 1)))

    assert (kline.close, kline.complete, kline.revision) == (14, False, 2)


def test_clock_set_back_closes_nothing_twice():
    """A time that was counted already changes nothing."""
    kt = fed("1m")
    klines = kt.close_until(T0 + 3 * MINUTE)
    klines += kt.close_until(T0 - 60 * MINUTE)
    klines += kt.close_until(T0 + 4 * MINUTE)

    starts = [k.timestamp for k in klines]
    assert all(later - earlier == MINUTE for earlier, later in pairwise(starts))


@pytest.mark.parametrize("event_clock", [False, True])
def test_a_symbol_without_a_feed_is_never_complete(event_clock):
    """A message may name symbols that no stream subscribed; their gaps prove nothing either. A feed begins anew."""
    kt = table("1m", needs_feed=True, event_clock=event_clock)
    kt.feed.up(["BTCUSDT"], T0 - MINUTE)
    kt.feed.up(["GONE"], T0 - MINUTE)
    kt.add(trades((-MINUTE, 10, 1), (-MINUTE, 10, 1, "FOREIGN"), (-MINUTE, 10, 1, "GONE")))
    klines = kt.feed.down(["GONE"], T0 - 1)
    kt.feed.drop(["GONE"])
    klines += kt.feed.mark_lost(T0, T0 + 5)
    for minute in range(4):
        for second in (1, 2):
            rows = [(minute * MINUTE + second, 10, 1, name) for name in ("BTCUSDT", "FOREIGN", "GONE")]
            klines += kt.add(trades(*rows, (minute * MINUTE + second, NAN, 1, "FOREIGN")))
        klines += kt.close_until(T0 + (minute + 1) * MINUTE)
    complete_of = {name: {k.complete for k in klines if k.symbol == name} for name in ("BTCUSDT", "FOREIGN", "GONE")}

    assert True in complete_of["BTCUSDT"]
    assert complete_of["FOREIGN"] == {False}
    assert True not in complete_of["GONE"]
    assert (kt.feed.has_feed("BTCUSDT"), kt.feed.has_feed("FOREIGN"), kt.feed.has_feed("NEVERSEEN")) == (
        True,
        False,
        False,
    )
    kt.feed.up(["FOREIGN"], T0 + 4 * MINUTE)
    klines = kt.add(trades(*((minute * MINUTE, 10, 1, "FOREIGN") for minute in range(4, 9))))
    assert klines[-1].complete


def test_symbols_that_only_trades_name_are_bounded():
    """Each takes memory for all its windows: beyond the bound they are refused, and the earlier ones go on."""
    reported: list[str] = []
    kt = table("1m", report=lambda cause, _sample: reported.append(cause), most_symbols=3)
    kt.feed.up(["BTCUSDT"], T0 - MINUTE)
    kt.add(trades((1, 10, 1), *((2, 10, 1, f"FOREIGN{number}") for number in range(3))))
    kt.feed.up(["ETHUSDT", "SOLUSDT", "XRPUSDT"], T0 - MINUTE)

    assert reported == ["too_many_symbols"]
    assert {k.symbol for k in kt.close_until(T0 + MINUTE)} == {"BTCUSDT"}
    assert kt.add(trades((MINUTE, 10, 1, "XRPUSDT"))) == []
    assert [k.symbol for k in kt.close_until(T0 + 2 * MINUTE) if k.timestamp == T0 + MINUTE] == ["BTCUSDT", "XRPUSDT"]
