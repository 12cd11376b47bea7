"""Why a candle is as it is."""

from typing import Any

import pytest

from consumers.web.live.reasons import Causes
from consumers.web.live.rows import INCOMPLETE, REPAIRED, REVISED, row_of_kline
from model.events import Connected, Disconnected, Gap, Repaired, SinkDown, StatusEvent
from tests.unit.consumers.web.live.test_rows import MINUTE_MS, kline

OF: Any = {"market": "linear", "symbols": ("BTCUSDT", "ETHUSDT")}
START_MS = 600_000  # 00:10:00
GAP = Gap(**OF, kind="trades", from_ms=START_MS + 3_000, until_ms=START_MS + 9_000, reason="closed by the other side")
FILLED = Repaired(**OF, how="ids", from_ms=START_MS + 3_000, until_ms=START_MS + 9_000)
CANDLE = Repaired(**OF, how="candle", interval=MINUTE_MS, from_ms=START_MS, until_ms=START_MS + MINUTE_MS)
LOST = Disconnected(**OF, kind="trades", reason="no answer to ping")


def explained(*events: StatusEvent, flags: int = INCOMPLETE, started_ms: int = 0, source: str = "trades"):
    causes = Causes(started_ms)
    for event in events:
        causes.add(START_MS + 10_000, event)
    row = row_of_kline(kline(10, revision=1, source=source), flags)
    return causes.explained(row, START_MS, START_MS + MINUTE_MS, causes.of("linear", "BTCUSDT"))


@pytest.mark.parametrize(
    ("events", "flags", "text"),
    [
        ([], INCOMPLETE, "Not proven that every trade of it arrived"),
        ([LOST], INCOMPLETE, "No connection since 00:10:10 UTC (no answer to ping)"),
        ([LOST, GAP], INCOMPLETE, "Trades missing 00:10:03 to 00:10:09 UTC (closed by the other side)"),
        ([CANDLE], REPAIRED, "Replaced by the exchange's own candle"),
        ([], REPAIRED, "Filled from the exchange's trades"),
        ([], REVISED, "Issued again: trades of it came late"),
    ],
)
def test_a_sentence_says_what_happened(events: list[StatusEvent], flags: int, text: str) -> None:
    """With times of day, and the words of the event."""
    row, reason = explained(*events, flags=flags)
    assert (row.flags, reason) == (flags, text)


def test_a_candle_whose_missed_trades_were_filled_in_before_it_closed_is_repaired() -> None:
    """It goes out complete at once, and still says what happened in it."""
    row, reason = explained(GAP, FILLED, flags=0)
    assert row.flags == REPAIRED
    assert reason == (
        "Trades missing 00:10:03 to 00:10:09 UTC (closed by the other side); "
        "filled from the exchange's trades by their ids"
    )


def test_a_usual_candle_has_no_reason_whatever_happened_beside_it() -> None:
    """Another symbol, another minute, a candle of another length, events of other kinds."""
    others: Any = {"market": "linear", "symbols": ("ETHUSDT",)}
    beside = [
        Repaired(**others, how="ids", from_ms=START_MS, until_ms=START_MS + 5_000),
        Repaired(**OF, how="ids", from_ms=START_MS - 5_000, until_ms=START_MS),
        Repaired(**OF, how="ids", from_ms=START_MS + MINUTE_MS, until_ms=START_MS + MINUTE_MS + 1),
        Repaired(**OF, how="candle", interval=5 * MINUTE_MS, from_ms=START_MS, until_ms=START_MS + 5 * MINUTE_MS),
        Repaired(**OF, how="snapshot", topic="book", from_ms=START_MS, until_ms=START_MS + 5_000),
        Connected(**OF, kind="trades"),
        SinkDown(sink="redis", reason="refused"),
    ]
    row, reason = explained(*beside, flags=0)
    assert (row.flags, reason) == (0, "")


def test_the_candle_in_which_the_collector_started_says_so() -> None:
    """It cannot be complete, and nothing was wrong."""
    _, reason = explained(started_ms=START_MS + 30_000)
    assert reason == "The collector started at 00:10:30 UTC, within this candle"


def test_every_candle_of_an_outage_says_so_while_it_lasts_and_the_next_one_does_not() -> None:
    """Also the one that closed a moment before the end of the connection was seen."""
    causes = Causes(0)
    row = row_of_kline(kline(), INCOMPLETE)

    def reason(at_ms: int) -> str:
        return causes.explained(row, at_ms, at_ms + 1_000, causes.of("linear", "BTCUSDT"))[1]

    causes.add(START_MS, LOST)
    assert (
        reason(START_MS - 1_000) == reason(START_MS + 60_000) == "No connection since 00:10:00 UTC (no answer to ping)"
    )
    causes.add(START_MS + 90_000, Connected(**OF, kind="trades"))
    assert reason(START_MS + 60_000) == "No connection from 00:10:00 to 00:11:30 UTC (no answer to ping)"
    assert reason(START_MS + 90_000) == "Not proven that every trade of it arrived"


def test_gaps_that_overlap_are_told_as_one() -> None:
    """Ids prove a hole within an outage that is known already."""
    ids = Gap(**OF, kind="trades", from_ms=START_MS + 4_000, until_ms=START_MS + 8_000, reason="7 trade ids missing")
    _, reason = explained(GAP, ids, FILLED, flags=REPAIRED)
    assert reason == (
        "Trades missing 00:10:03 to 00:10:09 UTC (closed by the other side, 7 trade ids missing); "
        "filled from the exchange's trades by their ids"
    )


def test_what_was_filled_in_without_a_gap_has_its_time() -> None:
    """At a start nothing was known to be missing."""
    _, reason = explained(FILLED, flags=0)
    assert reason == "Filled from the exchange's trades by their ids, 00:10:03 to 00:10:09 UTC"


def test_many_causes_are_cut_short() -> None:
    """A day of trouble is not told whole."""
    gaps = [Gap(**OF, kind="trades", from_ms=START_MS + n * 1000, until_ms=START_MS + n * 1000 + 5) for n in range(10)]
    _, reason = explained(*gaps)
    assert reason.endswith("; and 7 more")
