"""Status events of a stream, each change once."""

import pytest

from streams.events import StreamEvents
from tests.support.events import RecordedEvents
from tests.support.protocol import events_of

TOPICS = ("orderbook.50.BTCUSDT", "orderbook.50.ETHUSDT")


@pytest.fixture
def sink() -> RecordedEvents:
    return RecordedEvents()


@pytest.fixture
def events(sink: RecordedEvents) -> StreamEvents:
    return events_of(sink, "orderbook", TOPICS)


def test_a_stream_that_never_connected_is_reported_once(events: StreamEvents, sink: RecordedEvents) -> None:
    """A hundred attempts are one state; all its symbols are without data."""
    for _ in range(100):
        events.disconnected("refused")
    fields = {"market": "linear", "kind": "orderbook", "symbols": ["BTCUSDT", "ETHUSDT"], "reason": "refused"}
    assert sink.emitted == [("disconnected", fields)]


def test_down_and_up_are_emitted_as_often_as_they_happen(events: StreamEvents, sink: RecordedEvents) -> None:
    """A disconnect names what was up."""
    for _ in range(2):
        events.connected(TOPICS[:1])
        events.disconnected("reset")
        events.disconnected("refused")
    assert [(event, fields["symbols"]) for event, fields in sink.emitted] == [
        ("connected", ["BTCUSDT"]),
        ("disconnected", ["BTCUSDT"]),
    ] * 2


def test_only_new_topics_are_emitted_as_connected(events: StreamEvents, sink: RecordedEvents) -> None:
    """A topic that comes out of quarantine later; one that was subscribed anew was never down."""
    events.connected(TOPICS[:1])
    events.connected(TOPICS)
    events.connected(TOPICS)
    assert [fields["symbols"] for _, fields in sink.emitted] == [["BTCUSDT"], ["ETHUSDT"]]


def test_a_long_reason_is_cut(events: StreamEvents, sink: RecordedEvents) -> None:
    """A proxy's error page is no reason."""
    events.disconnected("x" * 10_000)
    assert len(sink.emitted[0][1]["reason"]) == 200


def test_topics_not_wanted_any_more_are_emitted_and_leave_the_others_up(
    events: StreamEvents, sink: RecordedEvents
) -> None:
    """The connection stays: its end later names what was left of it."""
    events.connected(TOPICS)
    events.set_topics(TOPICS[1:])
    events.unsubscribed([TOPICS[0], "orderbook.50.NEVERUP"])
    events.disconnected("reset")
    assert [(event, fields["symbols"]) for event, fields in sink.emitted] == [
        ("connected", ["BTCUSDT", "ETHUSDT"]),
        ("disconnected", ["BTCUSDT"]),
        ("disconnected", ["ETHUSDT"]),
    ]
