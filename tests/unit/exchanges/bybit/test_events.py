"""Changes of a stream's state, each told once."""

from typing import Any

import pytest

from exchanges.bybit.events import StreamNews

TOPICS = ("orderbook.50.BTCUSDT", "orderbook.50.ETHUSDT")


@pytest.fixture
def told() -> list[dict[str, Any]]:
    return []


@pytest.fixture
def news(told: list[dict[str, Any]]) -> StreamNews:
    return StreamNews(lambda event, **fields: told.append({"event": event, **fields}), "linear", "orderbook", TOPICS)


def test_a_stream_that_never_connected_is_told_of_once(news: StreamNews, told: list[dict[str, Any]]) -> None:
    """A hundred attempts are one state; all its symbols are without data."""
    for _ in range(100):
        news.disconnected("refused")
    assert told == [
        {
            "event": "disconnected",
            "market": "linear",
            "kind": "orderbook",
            "symbols": ["BTCUSDT", "ETHUSDT"],
            "reason": "refused",
        }
    ]


def test_down_and_up_are_told_as_often_as_they_happen(news: StreamNews, told: list[dict[str, Any]]) -> None:
    """Down names what was up."""
    for _ in range(2):
        news.connected(TOPICS[:1])
        news.disconnected("reset")
        news.disconnected("refused")
    assert [(item["event"], item["symbols"]) for item in told] == [
        ("connected", ["BTCUSDT"]),
        ("disconnected", ["BTCUSDT"]),
    ] * 2


def test_only_what_is_new_is_told_connected(news: StreamNews, told: list[dict[str, Any]]) -> None:
    """A topic that comes out of quarantine later; one that was subscribed anew was never told down."""
    news.connected(TOPICS[:1])
    news.connected(TOPICS)
    news.connected(TOPICS)
    assert [item["symbols"] for item in told] == [["BTCUSDT"], ["ETHUSDT"]]


def test_a_long_reason_is_cut(news: StreamNews, told: list[dict[str, Any]]) -> None:
    """A proxy's error page is no reason."""
    news.disconnected("x" * 10_000)
    assert len(told[0]["reason"]) == 200


def test_topics_not_wanted_any_more_are_told_and_leave_the_others_up(
    news: StreamNews, told: list[dict[str, Any]]
) -> None:
    """The connection stays: its end later names what was left of it."""
    news.connected(TOPICS)
    news.follow(TOPICS[1:])
    news.left([TOPICS[0], "orderbook.50.NEVERUP"])
    news.disconnected("reset")
    assert [(event["event"], event["symbols"]) for event in told] == [
        ("connected", ["BTCUSDT", "ETHUSDT"]),
        ("disconnected", ["BTCUSDT"]),
        ("disconnected", ["ETHUSDT"]),
    ]
