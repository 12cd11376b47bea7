"""What is told when: begins and ends as pairs, together what belongs together, at most so many an hour."""

import re

import pytest

from app.alerts.outages import Problem
from model.events import Delisted, Disconnected, Listed
from tests.unit.app.alerts.timeline import Timeline, most_in_an_hour

TRADES, BOOKS = "linear trades", "linear orderbook"


@pytest.fixture
def timeline():
    timeline = Timeline(has_klines=False)
    timeline.up(TRADES, BOOKS)
    return timeline


def test_an_outage_is_told_after_a_minute_with_its_begin_and_its_end_with_its_length(timeline):
    timeline.run(3)
    timeline.down(TRADES, reason="ConnectionLostError: closed")
    timeline.run(59)
    assert timeline.alerts == []
    timeline.run(35)
    assert timeline.texts == ["Trades of bybit linear (2 symbols) down since 12:00:03 UTC (closed)."]
    timeline.up(TRADES)
    timeline.run(60)
    assert timeline.texts[1:] == ["Trades of bybit linear (2 symbols) back after 94 s."]
    (_, begin), (_, end) = timeline.alerts
    assert (begin.event, begin.title, end.event, end.title) == (
        "begin",
        "bybit linear: Trades down",
        "end",
        "bybit linear: Trades back",
    )
    assert begin.incident == end.incident


def test_why_it_stays_down_is_told_not_how_it_began(timeline):
    """A connection ends in one way, and is not let in again for another reason."""
    timeline.down(TRADES, reason="closed by the other side")
    timeline.run(30)
    timeline.why = "stream.bybit.com refuses this address: it is banned for now, or its country is blocked"
    timeline.run(60)
    assert timeline.texts[0].endswith(f"down since 12:00:00 UTC ({timeline.why}).")


def test_an_outage_of_less_than_a_minute_is_not_told(timeline):
    timeline.down(TRADES)
    timeline.run(59)
    timeline.up(TRADES)
    timeline.run(600)
    assert timeline.alerts == []


def test_what_goes_down_together_is_one_message_and_its_end_another(timeline):
    """A dead network is noticed by each connection in its own time, and each returns in its own."""
    timeline.down(TRADES)
    timeline.run(20)
    timeline.down(BOOKS)
    timeline.sink_down()
    timeline.run(300)
    assert timeline.events == ["begin"]
    assert [line.partition(" down")[0] for line in timeline.texts[0].splitlines()] == [
        "Trades of bybit linear (2 symbols)",
        "Order books of bybit linear (2 symbols)",
        "Output redis",
    ]
    timeline.up(BOOKS)
    timeline.run(7)
    timeline.up(TRADES)
    timeline.sink_up(raw_dropped=1234, klines_waiting=1)
    timeline.run(300)
    assert timeline.events == ["begin", "end"]
    assert "Output redis back after 307 s: 1,234 raw messages dropped and 1 kline that waited is sent now." in (
        timeline.texts[1].replace("5 min 7 s", "307 s")
    )


def test_what_holds_for_several_kinds_of_data_alike_is_one_sentence(timeline):
    timeline.planner.look("state", {"klines behind": Problem("8 s")}, 0.0)
    timeline.down(TRADES, BOOKS)
    timeline.run(60)
    assert sorted(timeline.texts[0].splitlines()) == [
        "Klines behind since 12:00:00 UTC (8 s).",
        "Trades and order books of bybit linear (2 symbols) down since 12:00:00 UTC (it went).",
    ]
    assert timeline.alerts[0][1].title == "bybit linear: Trades and order books down"


def test_connections_of_one_class_are_one_sentence_with_all_their_symbols(timeline):
    timeline.up("linear trades 2", symbols=("SOLUSDT",))
    timeline.down("linear trades 2", symbols=("SOLUSDT",))
    timeline.run(61)
    timeline.down(TRADES)
    timeline.run(70)
    assert "Trades of bybit linear (1 of 3 symbols) down" in timeline.texts[0]
    timeline.up(TRADES)
    timeline.up("linear trades 2", symbols=("SOLUSDT",))
    timeline.run(100)
    timeline.down(TRADES)
    timeline.down("linear trades 2", symbols=("SOLUSDT",))
    timeline.run(100)
    assert "Trades of bybit linear (3 symbols) down" in timeline.texts[-1]


def test_what_stays_down_while_the_rest_is_back_is_told_and_ends_by_itself(timeline):
    timeline.down(TRADES, BOOKS)
    timeline.run(100)
    timeline.up(BOOKS)
    timeline.run(100)
    assert timeline.events == ["begin", "update"]
    assert timeline.texts[1].splitlines() == [
        "Order books of bybit linear (2 symbols) back after 100 s.",
        "Trades of bybit linear (2 symbols): not over after 2 min 40 s.",
    ]
    timeline.up(TRADES)
    timeline.run(100)
    assert timeline.events == ["begin", "update", "end"]
    assert timeline.texts[2] == "Trades of bybit linear (2 symbols) back after 3 min 20 s."


def test_flapping_is_told_once_and_its_end_once(timeline):
    """However short each outage is."""
    for _ in range(9):
        timeline.down(TRADES)
        timeline.run(20)
        timeline.up(TRADES)
        timeline.run(40)
    assert timeline.events == ["begin"]
    assert "flapping: 5 outages in 10 minutes" in timeline.texts[0]
    timeline.run(600)
    assert timeline.events == ["begin", "end"]
    assert re.search(r"steady since 12:08:20 UTC, after 9 outages in 8 min 20 s", timeline.texts[1])
    timeline.run(3600)
    assert timeline.events == ["begin", "end"]


def test_long_outages_that_follow_each_other_become_flapping_not_a_message_each(timeline):
    for _ in range(10):
        timeline.down(BOOKS)
        timeline.run(62)
        timeline.up(BOOKS)
        timeline.run(15)
    timeline.run(900)
    assert timeline.events == ["begin", "end"] * 5
    assert [("flapping" in text) for text in timeline.texts[::2]] == [False] * 4 + [True]


def test_what_is_silent_is_told_together_although_it_is_seen_when_it_is_late(timeline):
    """Each class has a limit of its own: the first is due at once when its silence is known."""
    silences = {}
    timeline.now_s = 100.0
    for kind, since_s in (("ticker", 40.0), ("orderbook", 42.0), ("trades", 45.0)):
        silences[f"linear {kind}"] = Problem("no data for 60 s", since_s, ("linear", kind))
        timeline.planner.look("silence", silences, timeline.now_s)
        timeline.run(1)
    timeline.run(20)
    assert timeline.events == ["begin"]
    assert timeline.alerts[0][1].title == "bybit linear: Tickers, order books and trades silent"


def test_connections_that_are_opened_anew_because_they_are_silent_do_not_flap(timeline):
    silence = {"linear orderbook": Problem("no data for 60 s", None, ("linear", "orderbook"))}
    for second in range(900):
        timeline.planner.look("silence", silence, timeline.now_s)
        if second % 60 == 30:
            timeline.down(BOOKS)
            timeline.up(BOOKS)
        timeline.run(1)
    timeline.planner.look("silence", {}, timeline.now_s)
    timeline.run(60)
    assert timeline.texts == [
        "Order books of bybit linear silent since 12:00:00 UTC (no data for 60 s).",
        "Order books of bybit linear back after 15 min.",
    ]
    assert [alert.title for _, alert in timeline.alerts] == [
        "bybit linear: Order books silent",
        "bybit linear: Order books back",
    ]


def test_what_flapped_and_then_stays_down_is_told_to_be_down(timeline):
    for _ in range(6):
        timeline.down(TRADES)
        timeline.run(20)
        timeline.up(TRADES)
        timeline.run(20)
    timeline.down(TRADES)
    timeline.run(700)
    assert timeline.events == ["begin", "update"]
    assert "down since 12:04:00 UTC" in timeline.texts[1]
    timeline.up(TRADES)
    timeline.run(400)
    assert timeline.events == ["begin", "update", "end"]


@pytest.mark.parametrize("reason", ["stopped", "not wanted any more"])
def test_what_is_not_wanted_any_more_is_no_outage(timeline, reason):
    timeline.down(TRADES, reason=reason)
    timeline.run(300)
    assert timeline.alerts == []


def test_the_outage_of_a_stream_that_is_removed_meanwhile_ends_with_it(timeline):
    """No event tells of that: it was down already."""
    timeline.down(TRADES)
    timeline.run(100)
    timeline.gone.add(TRADES)
    timeline.run(30)
    assert timeline.events == ["begin", "end"]
    assert timeline.texts[1] == "Trades of bybit linear (2 symbols): not collected any more."
    assert all(key.name != TRADES for key in timeline.planner.outages.subjects)


def test_a_second_connection_that_brings_the_same_makes_the_loss_of_one_no_outage(timeline):
    timeline.up("linear trades 2")
    timeline.down(TRADES)
    timeline.run(600)
    assert timeline.alerts == []
    timeline.down("linear trades 2")
    timeline.run(58)
    assert timeline.alerts == []
    timeline.run(10)
    assert timeline.events == ["begin"], "with the last one it is"
    assert "(2 symbols)" in timeline.texts[0]


def test_a_stream_that_is_given_up_keeps_its_class(timeline):
    """The event of the runner has no market."""
    timeline.down(TRADES)
    timeline.emit(Disconnected(stream=TRADES, reason="out of attempts", final=True))
    timeline.run(70)
    assert timeline.texts == ["Trades of bybit linear (2 symbols) down since 12:00:00 UTC (out of attempts)."]


def test_an_outage_that_ended_while_nobody_looked_is_told_all_the_same(timeline):
    """The main thread may be held up: both are told, one after the other."""
    timeline.down(TRADES)
    timeline.now_s += 100
    timeline.up(TRADES)
    timeline.run(100)
    assert timeline.events == ["begin", "end"]
    assert timeline.texts[1] == "Trades of bybit linear (2 symbols) back after 100 s."


def test_a_full_disk_is_told_at_once_and_its_end(timeline):
    timeline.planner.look("disk", {"output": Problem("0.5 GB are free, 1.0%")}, 0.0)
    timeline.run(1)
    timeline.planner.look("disk", {}, 500.0)
    timeline.run(500)
    timeline.run(30)
    assert timeline.texts == [
        "Disk of output nearly full since 12:00:00 UTC (0.5 GB are free, 1.0%).",
        "Disk of output has space again after 8 min 20 s.",
    ]
    assert [alert.title for _, alert in timeline.alerts] == [
        "bybit linear: Disk of output nearly full",
        "bybit linear: Disk of output: over",
    ]


def test_listings_are_told_together_and_only_where_they_are_asked_for():
    for is_asked in (True, False):
        timeline = Timeline(listings=is_asked)
        timeline.emit(Listed(market="linear", symbols=("AUSDT", "BUSDT")))
        timeline.run(20)
        timeline.emit(Delisted(market="spot", symbols=("CUSDT",)))
        timeline.run(100)
        expected = ["Listed at bybit linear: AUSDT, BUSDT.\nDelisted at bybit spot: CUSDT."]
        assert timeline.texts == (expected if is_asked else [])


def test_what_the_audit_finds_is_summed_up(timeline):
    for second in range(300):
        timeline.planner.audited("1m" if second % 3 else "5m", 1, timeline.now_s)
        timeline.run(1)
    assert timeline.events == ["note"]
    assert timeline.texts[0] == (
        "60 candles of the audit's sample differ from the exchange's: 20 of 5m and 40 of 1m. The log has each."
    )
    timeline.run(600)
    assert [text.split()[0] for text in timeline.texts] == ["60", "240"]


def test_a_stop_closes_what_is_open(timeline):
    timeline.down(TRADES)
    timeline.run(100)
    timeline.stop()
    assert timeline.events == ["begin", "end"]
    assert timeline.texts[1].endswith("Trades of bybit linear (2 symbols): not over after 100 s.")


def test_an_end_of_the_collector_that_nobody_asked_for_is_told(timeline):
    timeline.stop("a thread died and could not be revived")
    assert timeline.texts == ["The collector ends: a thread died and could not be revived."]


def test_what_is_held_back_is_summed_up_in_the_next_message():
    """Of 2 an hour one is a begin, and the other is kept for its end."""
    timeline = Timeline(has_klines=False, most_per_hour=2)
    timeline.up(TRADES)
    for _ in range(4):
        timeline.down(TRADES)
        timeline.run(100)
        timeline.up(TRADES)
        timeline.run(650)
    assert timeline.events == ["begin", "end"]
    assert "held back" in timeline.texts[0], "the reader knows that silence means nothing now"
    timeline.run(700)
    timeline.down(TRADES)
    timeline.run(100)
    assert timeline.texts[2].splitlines()[1] == "Held back before this: 3 outages of trades."
    timeline.up(TRADES)
    timeline.run(60)
    assert timeline.events == ["begin", "end"] * 2
    assert most_in_an_hour([at_s for at_s, _ in timeline.alerts]) <= 2


def test_what_is_held_back_is_told_when_nothing_else_is():
    timeline = Timeline(has_klines=False, most_per_hour=2)
    timeline.up(TRADES)
    for _ in range(2):
        timeline.down(TRADES)
        timeline.run(100)
        timeline.up(TRADES)
        timeline.run(650)
    timeline.run(4000)
    assert timeline.texts[2:] == ["Held back before this: 1 outage of trades."]


def test_an_outage_that_lasts_is_told_when_there_is_room_again():
    timeline = Timeline(has_klines=False, most_per_hour=2)
    timeline.up(TRADES, BOOKS)
    timeline.down(TRADES)
    timeline.run(100)
    timeline.up(TRADES)
    timeline.run(100)
    timeline.down(BOOKS)
    timeline.run(3600)
    assert "Order books of bybit linear (2 symbols) down since 12:03:20 UTC" in timeline.texts[2]
