"""Books that are only changes, each naming the one before: a gap ends with the message that shows it.

No snapshot comes. So are those of Binance, of which spot's count on and futures' name the one before.
"""

import dataclasses
import re

import pytest

from model.protocol import BookSequence, KindFrames
from streams.watch import FRUITLESS_LIMIT, STABLE_S, SequenceWatch
from tests.support.events import RecordedEvents
from tests.support.protocol import events_of, frames_of, protocol_of

TOPIC = "orderbook.50.BTCUSDT"
OWN = re.compile(rb'"u":(\d{1,18})\b')
NAMING = dataclasses.replace(
    frames_of("orderbook", (TOPIC,)), snapshot=None, sequence=BookSequence(b'"pu":%d,', 0, OWN)
)
COUNTING = dataclasses.replace(NAMING, sequence=BookSequence(b'"U":%d,', 1, OWN))


def naming(before: int, own: int) -> bytes:
    return b'{"topic":"%s","ts":7,"data":{"U":%d,"u":%d,"pu":%d,"b":[]}}' % (TOPIC.encode(), own - 1, own, before)


def counting(before: int, own: int) -> bytes:
    return b'{"topic":"%s","ts":7,"data":{"U":%d,"u":%d,"b":[]}}' % (TOPIC.encode(), before + 1, own)


class Harness:
    """A watch of one book, with a clock that stands."""

    def __init__(self, frames: KindFrames) -> None:
        self.now_s = 1000.0
        self.events, self.reports = RecordedEvents(), list[str]()
        self.resubscribed, self.noncontiguous = list[str](), set[str]()
        self.watch = SequenceWatch(
            protocol_of(),
            frames,
            [TOPIC],
            silence_s=60.0,
            noncontiguous=self.noncontiguous,
            report=lambda cause, _: self.reports.append(cause),
            events=events_of(self.events, "orderbook", [TOPIC]),
            clock=lambda: self.now_s,
        )
        self.watch.resubscribe = self.resubscribe

    def resubscribe(self, topic: str) -> bool:
        self.resubscribed.append(topic)
        return True


@pytest.fixture(params=[(NAMING, naming, "pu"), (COUNTING, counting, "U")], ids=["naming", "counting"])
def shape(request):
    return request.param


def test_changes_in_order_are_let_be(shape):
    """From the first on, whatever its id; one that is repeated, too."""
    frames, book, _ = shape
    harness = Harness(frames)
    harness.watch.observe([book(70, 77), book(77, 80), book(77, 80), book(80, 95)])
    assert (harness.reports, harness.events.emitted, harness.resubscribed) == ([], [], [])


@pytest.mark.parametrize("between", [0, 30, 3_000])
@pytest.mark.parametrize("is_before", [True, False], ids=["before", "behind"])
def test_own_id_is_found_wherever_it_stands(is_before, between):
    """Before the link or behind it, beside it or with all levels between."""

    def book(before: int, own: int) -> bytes:
        parts = [b'"u":%d,' % own, b'"b":"%b",' % (b"x" * between), b'"pu":%d,' % before]
        return b'{"topic":"%s",%b"ts":7}' % (TOPIC.encode(), b"".join(parts if is_before else reversed(parts)))

    frames = dataclasses.replace(NAMING, sequence=BookSequence(b'"pu":%d,', 0, OWN, is_at_end=not is_before))
    harness = Harness(frames)
    harness.watch.observe([book(70, 77), book(77, 80), book(80, 95)])
    assert harness.reports == []
    harness.watch.observe([book(94, 99)])
    assert harness.reports == ["book_gap"]


def test_a_jump_is_a_gap_that_ends_with_the_message_that_shows_it(shape):
    """Nothing is resubscribed, for that brings no snapshot; the book is to be read anew."""
    frames, book, name = shape
    harness = Harness(frames)
    harness.watch.observe([book(70, 77), book(90, 95), book(95, 99)])
    assert harness.reports == ["book_gap"]
    assert harness.events.names == ["gap", "repaired"]
    step = frames.sequence.step
    came, due = 90 + step, 77 + step
    assert harness.events.emitted[0][1]["reason"] == f"{name} {came} where {due} was due: read the book anew"
    assert harness.events.emitted[1][1]["how"] == "stream"
    assert harness.resubscribed == []


def test_jumps_without_end_are_taken_as_normal(shape):
    """Else there would be two events for every message; jumps that are rare are told for ever."""
    frames, book, _ = shape
    harness = Harness(frames)
    for number in range(40):
        harness.watch.observe([book(10 * number, 10 * number + 5)])
    assert harness.events.names == ["gap", "repaired"] * FRUITLESS_LIMIT
    assert harness.noncontiguous == {TOPIC}

    harness = Harness(frames)
    for number in range(40):
        harness.watch.observe([book(10 * number, 10 * number + 5)])
        harness.now_s += STABLE_S + 1
    assert harness.events.names == ["gap", "repaired"] * 39


def test_a_book_that_was_silent_goes_on_without_a_snapshot(shape):
    """Its gap ends with the next message."""
    frames, book, _ = shape
    harness = Harness(frames)
    harness.noncontiguous.add(TOPIC)
    harness.watch.observe([book(70, 77)])
    harness.watch.mark_lost([TOPIC], b"cut")
    harness.watch.observe([book(90, 95)])
    assert harness.events.names == ["gap", "repaired"]
    assert harness.events.emitted[1][1]["how"] == "stream"


def test_a_message_without_an_id_is_no_gap(shape):
    """A whole book of some levels has none."""
    frames, book, _ = shape
    harness = Harness(frames)
    harness.watch.observe([book(70, 77), b'{"topic":"%s","data":{"b":[]}}' % TOPIC.encode(), book(77, 80)])
    assert harness.events.emitted == []
