"""What outages cost: candles that stay incomplete, and how what was missed was repaired."""

from typing import Any

import pytest

from app.alerts.losses import STAYS_S, Cost, Losses
from app.alerts.words import repaired
from model.events import Repaired
from tests.support.klines import kline
from tests.unit.app.alerts.timeline import BEGIN_MS, Timeline

MINUTE_MS = 60_000
BOTH = ("BTCUSDT", "ETHUSDT")


def incomplete(symbol: str = "BTCUSDT", minute: int = 0, **changes: Any):
    """A candle that went out incomplete."""
    values: dict[str, Any] = {"symbol": symbol, "timestamp": BEGIN_MS + minute * MINUTE_MS, "complete": False}
    return kline(**(values | changes))


def complete(symbol: str = "BTCUSDT", minute: int = 0, **changes: Any):
    """Its revision."""
    return incomplete(symbol, minute, complete=True, revision=1, **changes)


@pytest.fixture
def losses():
    return Losses(has_klines=True)


def span(minutes: float = 1.0) -> tuple[int, int]:
    return BEGIN_MS + 10_000, BEGIN_MS + 10_000 + round(minutes * MINUTE_MS)


def spliced(*symbols: str, how: str = "trades") -> Repaired:
    return Repaired(market="linear", symbols=symbols, how=how, from_ms=span()[0], until_ms=span()[1] + 500)


def test_an_outage_is_settled_when_the_trades_of_all_its_symbols_are_spliced_in(losses):
    losses.take(spliced("BTCUSDT"))
    assert not losses.is_settled("linear", BOTH, span(), 5.0)
    losses.take(spliced("ETHUSDT", how="ids"))
    assert losses.is_settled("linear", BOTH, span(), 5.0)
    assert losses.cost("linear", BOTH, span()) == Cost(("ids", "trades"))


def test_else_it_is_when_the_last_candle_that_it_touched_is_replaced(losses):
    for minute in range(2):
        losses.take_klines("linear", [incomplete(minute=minute)], 0.0)
        assert not losses.is_settled("linear", ["BTCUSDT"], span(), 50.0)
        losses.take_klines("linear", [complete(minute=minute)], 0.0)
        start = BEGIN_MS + minute * MINUTE_MS
        losses.take(
            Repaired(market="linear", symbols=("BTCUSDT",), how="candle", from_ms=start, until_ms=start + MINUTE_MS)
        )
        assert losses.is_settled("linear", ["BTCUSDT"], span(), 50.0) is (minute == 1)
    assert losses.cost("linear", ["BTCUSDT"], span()) == Cost(("candle",))


def test_what_is_incomplete_still_after_minutes_is_its_cost(losses):
    klines = [incomplete(), incomplete("ETHUSDT"), incomplete(interval=5 * MINUTE_MS), incomplete(minute=30)]
    losses.take_klines("linear", klines, 0.0)
    losses.take_klines("spot", [incomplete()], 0.0)
    assert not losses.is_settled("linear", BOTH, span(), 179.0)
    assert losses.is_settled("linear", BOTH, span(), 180.0)
    assert losses.cost("linear", BOTH, span()) == Cost((), (("1m", 2), ("5m", 1)))
    assert {lost.window.market for lost in losses.take_lasting((), STAYS_S)} == {"linear", "spot"}, "the others"
    assert losses.take_lasting((), STAYS_S) == []


@pytest.mark.parametrize(
    ("cost", "text"),
    [
        (Cost(("ids",)), "repaired by ids, nothing missing"),
        (
            Cost(("trades", "candle")),
            "repaired by the exchange's trades and by the exchange's candles, nothing missing",
        ),
        (Cost((), (("1m", 3),)), "3 candles of 1m stay incomplete"),
        (Cost(("candle",), (("1m", 1),)), "repaired by the exchange's candles, but 1 candle of 1m stays incomplete"),
        (Cost(), "no candle incomplete"),
    ],
)
def test_the_cost_is_told_in_a_few_words(cost, text):
    assert repaired(cost) == text


def test_candles_shorter_than_a_minute_are_left_out(losses):
    losses.take_klines("linear", [incomplete(interval=1_000)], 0.0)
    assert losses.take_lasting((), 1e6) == []


def test_without_klines_nothing_is_waited_for_or_claimed():
    losses = Losses(has_klines=False)
    assert losses.is_settled("linear", BOTH, span(), 0.0)
    assert losses.cost("linear", BOTH, span()) is None


def test_incomplete_candles_are_told_in_one_message_after_some_minutes_and_that_they_are_complete():
    timeline = Timeline()
    timeline.planner.take_klines("linear", [incomplete(), incomplete("ETHUSDT")], 0.0)
    timeline.run(30)
    timeline.planner.take_klines("linear", [incomplete(minute=1)], timeline.now_s)
    timeline.run(290)
    assert timeline.alerts == []
    timeline.run(100)
    assert timeline.texts == [
        "3 candles of linear stay incomplete: 3 of 1m, from 12:00:00 UTC to 12:02:00 UTC (BTCUSDT, ETHUSDT)."
    ]
    timeline.planner.take_klines("linear", [complete(), complete("ETHUSDT")], timeline.now_s)
    timeline.run(1000)
    assert len(timeline.alerts) == 1
    timeline.planner.take_klines("linear", [complete(minute=1)], timeline.now_s)
    timeline.run(100)
    assert timeline.texts[1] == "All candles told as incomplete (3) are complete by now."


def test_a_candle_that_is_repaired_in_time_is_not_told():
    timeline = Timeline()
    timeline.planner.take_klines("linear", [incomplete()], 0.0)
    timeline.run(200)
    timeline.planner.take_klines("linear", [complete()], timeline.now_s)
    timeline.run(1000)
    assert timeline.alerts == []


def test_candles_of_an_outage_are_told_with_its_end_alone():
    """However long it is."""
    timeline = Timeline()
    timeline.up("linear trades")
    timeline.down("linear trades")
    for minute in range(20):
        timeline.planner.take_klines("linear", [incomplete(minute=minute)], timeline.now_s)
        timeline.run(60)
    assert timeline.events == ["begin"]
    timeline.up("linear trades")
    timeline.run(1000)
    assert timeline.events == ["begin", "end"]
    assert timeline.texts[1].endswith("back after 20 min: 20 candles of 1m stay incomplete.")


def test_more_candles_than_are_remembered_cost_no_more_memory(losses, monkeypatch):
    monkeypatch.setattr("app.alerts.losses.CANDLES_MOST", 100)
    for minute in range(500):
        losses.take_klines("linear", [incomplete(minute=minute)], 0.0)
    assert len(losses.take_lasting((), STAYS_S)) == 100


def test_candles_that_were_told_and_forgotten_are_not_told_as_complete(losses, monkeypatch):
    """More are incomplete than are remembered: nobody looks whether the oldest become complete."""
    monkeypatch.setattr("app.alerts.losses.CANDLES_MOST", 2)
    losses.take_klines("linear", [incomplete(minute=minute) for minute in range(2)], 0.0)
    assert len(losses.take_lasting((), STAYS_S)) == 2
    losses.take_klines("linear", [incomplete(minute=2)], STAYS_S)  # the first one is forgotten for it
    losses.take_klines("linear", [complete(minute=1)], STAYS_S)
    assert losses.take_completed(STAYS_S) == 1
