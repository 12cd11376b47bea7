"""Changes of a stream's state, each told once."""

from typing import Any

import pytest

from exchanges.bybit.events import StreamEvents

TOPICS = ("orderbook.50.BTCUSDT", "orderbook.50.ETHUSDT")


@pytest.fixture
def told() -> list[dict[str, Any]]:
    return []


@pytest.fixture
def events(told: list[dict[str, Any]]) -> StreamEvents:
    return StreamEvents(lambda event, **fields: told.append({"event": event, **fields}), "linear", "orderbook", TOPICS)


def test_a_stream_that_never_connected_is_told_of_once(events: StreamEvents, told: list[dict[str, Any]]) -> None:
    """A hundred attempts are one state; all its symbols are without data."""
    for _ in range(100):
        events.disconnected("refused")
    assert told == [
        {
            "event": "disconnected",
            "market": "linear",
            "kind": "orderbook",
            "symbols": ["BTCUSDT", "ETHUSDT"],
            "reason": "refused",
        }
    ]


def test_down_and_up_are_told_as_often_as_they_happen(events: StreamEvents, told: list[dict[str, Any]]) -> None:
    """Down names what was up."""
    for _ in range(2):
        events.connected(TOPICS[:1])
        events.disconnected("reset")
        events.disconnected("refused")
    assert [(item["event"], item["symbols"]) for item in told] == [
        ("connected", ["BTCUSDT"]),
        ("disconnected", ["BTCUSDT"]),
    ] * 2


def test_only_what_is_new_is_told_connected(events: StreamEvents, told: list[dict[str, Any]]) -> None:
    """A topic that comes out of quarantine later; one that was subscribed anew was never told down."""
    events.connected(TOPICS[:1])
    events.connected(TOPICS)
    events.connected(TOPICS)
    assert [item["symbols"] for item in told] == [["BTCUSDT"], ["ETHUSDT"]]


def test_a_long_reason_is_cut(events: StreamEvents, told: list[dict[str, Any]]) -> None:
    """A proxy's error page is no reason."""
    events.disconnected("x" * 10_000)
    assert len(told[0]["reason"]) == 200


def test_topics_not_wanted_any_more_are_told_and_leave_the_others_up(
    events: StreamEvents, told: list[dict[str, Any]]
) -> None:
    """The connection stays: its end later names what was left of it."""
    events.connected(TOPICS)
    events.set_topics(TOPICS[1:])
    events.unsubscribed([TOPICS[0], "orderbook.50.NEVERUP"])
    events.disconnected("reset")
    assert [(event["event"], event["symbols"]) for event in told] == [
        ("connected", ["BTCUSDT", "ETHUSDT"]),
        ("disconnected", ["BTCUSDT"]),
        ("disconnected", ["ETHUSDT"]),
    ]
