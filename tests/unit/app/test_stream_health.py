"""app.stream_health: which streams are down or silent, in a time of its own."""

import pytest

from app.stream_health import DOWN_AFTER_S, STARTING_S, STEADY_SHARE, USUAL_GAPS, Rhythm, StreamWatch
from streams.supervisor import StreamStatus

SILENCE_S = 60.0
LIMIT_S = SILENCE_S * STEADY_SHARE
RHYTHMS: dict[str, Rhythm] = {"trades": "usual", "ticker": "steady", "orderbook": "steady", "liquidations": "any"}


def stream(kind="trades", number=1, *, state="live", age_s=0.0, messages=1_000_000, market="linear"):
    return StreamStatus(f"{kind}_{number}", state, messages, 1, 0, 0, age_s, market, kind)


def user(state):
    return StreamStatus("mine", state, 0, 0, 0, 0, None)


@pytest.fixture
def watch():
    return StreamWatch(lambda _market, kind: RHYTHMS[kind], SILENCE_S)


def reasons(found):
    return [each.reason for each in found]


def test_live_streams_with_data_are_well(watch):
    """At once, and later."""
    for now_s in (0.0, 1.0, 1e6):
        assert watch.look([stream(), stream("ticker"), stream("liquidations", messages=0, age_s=None)], now_s) == []


def test_a_short_reconnect_is_no_outage_and_a_longer_one_is_since_its_begin(watch):
    """It is red until the connection is live again, and counts anew after that."""
    others = [stream(number=2), stream("ticker")]
    watch.look([stream(), *others], 0.0)
    for now_s in (10.0, 10.0 + DOWN_AFTER_S - 0.1):
        assert watch.look([stream(state="backoff"), *others], now_s) == []
    (trouble,) = watch.look([stream(state="connecting"), *others], 10.0 + DOWN_AFTER_S)
    assert trouble == ("stream_down", "linear trades: 1 of 2 connections are down", 10.0)
    assert watch.look([stream(), *others], 20.0) == []
    assert watch.look([stream(state="running"), *others], 21.0) == []


def test_a_class_that_was_never_live_is_starting_and_then_down(watch):
    """Each class for itself."""
    streams = [stream(state="connecting", age_s=None, messages=0), stream("ticker")]
    assert reasons(watch.look(streams, 0.0)) == ["starting"]
    assert reasons(watch.look(streams, STARTING_S - 1)) == ["starting"]
    assert watch.look(streams, STARTING_S) == [("stream_down", "linear trades: 1 of 1 connections are down", 0.0)]


def test_a_steady_kind_is_silent_where_none_of_its_symbols_brings_anything(watch):
    """One live connection with data is enough; without, the age is that of the newest."""
    old = [stream("ticker", number, age_s=LIMIT_S + number) for number in (1, 2)]
    watch.look(old, 0.0)
    assert watch.look([*old, stream("ticker", 3)], 100.0) == []
    (trouble,) = watch.look(old, 100.0)
    assert (trouble.reason, trouble.since_s) == ("stream_silent", 100.0 - LIMIT_S - 1)


def test_a_steady_kind_that_never_brought_anything_is_silent_since_it_is_live(watch):
    """There is no message that could have an age."""
    never = [stream("ticker", age_s=None, messages=0)]
    assert watch.look(never, 5.0) == []
    (trouble,) = watch.look(never, 5.0 + LIMIT_S)
    assert (trouble.reason, trouble.since_s) == ("stream_silent", 5.0)


def test_the_snapshots_of_connections_that_are_opened_anew_end_no_silence(watch):
    """A stalled exchange goes on to answer subscriptions; data that comes for some seconds ends it."""
    watch.look([stream("orderbook")], 0.0)
    found = []
    for second in range(1, 400):  # the last data of all at 100 s, then a snapshot every minute
        last_s = second if second <= 100 else 100 + (second - 100) // SILENCE_S * SILENCE_S
        found += watch.look([stream("orderbook", age_s=second - last_s)], float(second))
    assert {trouble.since_s for trouble in found} == {100.0}
    assert len(found) == 400 - 100 - LIMIT_S
    assert [len(watch.look([stream("orderbook")], 400.0 + second)) for second in range(8)] == [1] * 5 + [0] * 3


def test_a_quiet_illiquid_symbol_is_no_fault(watch):
    """Trades of every ten minutes may stay away for hours; liquidations for ever, and trades before the first."""
    watch.look([stream(messages=0, age_s=None), stream("liquidations", messages=0, age_s=None)], 0.0)
    day_s = 86_400.0
    rare = [stream(messages=144, age_s=3 * 3600.0), stream("liquidations", messages=1_000, age_s=day_s)]
    assert watch.look(rare, day_s) == []
    assert watch.look([stream(messages=0, age_s=None)], 2 * day_s) == []


def test_slower_trades_may_cease_for_longer(watch):
    """A hundred of their mean gaps, here of ten seconds."""
    watch.look([stream(messages=0, age_s=None)], 0.0)
    assert watch.look([stream(messages=1_000, age_s=USUAL_GAPS * 10.0 - 1)], 10_000.0) == []
    assert reasons(watch.look([stream(messages=1_000, age_s=USUAL_GAPS * 10.0)], 10_000.0)) == ["stream_silent"]


def test_lively_trades_that_cease_are_silent(watch):
    """But no sooner than the steady kinds."""
    watch.look([stream(messages=0, age_s=None)], 0.0)
    assert watch.look([stream(messages=10_000, age_s=LIMIT_S - 1)], 1_000.0) == []
    assert reasons(watch.look([stream(messages=10_000, age_s=LIMIT_S)], 1_000.0)) == ["stream_silent"]


def test_a_function_of_the_users_is_well_while_it_runs_and_forgotten_with_its_entry(watch):
    """It reports no connection of its own."""
    assert watch.look([user("running")], 0.0) == []
    watch.look([user("backoff")], 1.0)
    (trouble,) = watch.look([user("backoff")], 1.0 + DOWN_AFTER_S)
    assert (trouble.reason, "mine" in trouble.what) == ("stream_down", True)
    assert watch.look([], 20.0) == []
    assert watch.look([user("backoff")], 100.0) == []
