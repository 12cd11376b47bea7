"""Books and tickers watched as they pass. Time is an argument."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.watch import FRUITLESS_LIMIT, REPEAT_S, STABLE_S, SequenceWatch
from tests.support.events import RecordedEvents
from tests.support.protocol import events_of, frames_of, protocol_of

BTC, ETH = "orderbook.50.BTCUSDT", "orderbook.50.ETHUSDT"
SILENCE_S = 60.0


def linear_book(kind: str, update: int, topic: str = BTC) -> bytes:
    """As recorded from linear: type before ts."""
    data = f'{{"s":"BTCUSDT","b":[["1","2"]],"a":[],"u":{update},"seq":7961638724}}'
    return f'{{"topic":"{topic}","type":"{kind}","ts":1672304484978,"data":{data},"cts":1672304484976}}'.encode()


def spot_book(kind: str, update: int, topic: str = BTC) -> bytes:
    """As recorded from spot: ts before type."""
    return (
        f'{{"topic":"{topic}","ts":1672304484978,"type":"{kind}",'
        f'"data":{{"s":"BTCUSDT","b":[],"a":[],"u":{update},"seq":1}},"cts":1}}'
    ).encode()


def odd_book(kind: str, update: int, topic: str = BTC) -> bytes:
    """A form that is not sent yet: spaces, u last, type last."""
    return (
        f'{{ "data": {{"s": "BTCUSDT", "b": [], "seq": 1, "u": {update}}}, '
        f'"topic": "{topic}", "ts": 1, "type": "{kind}"}}'
    ).encode()


def ticker(kind: str, topic: str = "tickers.BTCUSDT") -> bytes:
    return f'{{"topic":"{topic}","type":"{kind}","data":{{"symbol":"BTCUSDT","lastPrice":"1"}},"cs":1,"ts":2}}'.encode()


class Harness:
    """A watch with a clock that stands and a session that only remembers."""

    def __init__(self, kind: str = "orderbook", topics: tuple[str, ...] = (BTC, ETH)) -> None:
        self.now_s = 1000.0
        self.resubscribed: list[str] = []
        self.can_resubscribe = True
        self.reports: list[str] = []
        self.events = RecordedEvents()
        self.passed: list[bytes] = []
        self.noncontiguous: set[str] = set()
        self.active = set(topics)
        self.watch = SequenceWatch(
            protocol_of(),
            frames_of(kind, topics),
            list(topics),
            silence_s=SILENCE_S,
            noncontiguous=self.noncontiguous,
            report=lambda cause, _: self.reports.append(cause),
            events=events_of(self.events, kind, topics),
            clock=lambda: self.now_s,
        )
        self.watch.resubscribe = self.resubscribe

    def deliver(self, *payloads: bytes) -> None:
        """What a session does: the callback first, then the watch."""
        self.passed += payloads
        self.watch.observe(payloads)

    def resubscribe(self, topic: str) -> bool:
        if self.can_resubscribe:
            self.resubscribed.append(topic)
        return self.can_resubscribe

    def tick(self, seconds: float = 0.0) -> None:
        self.now_s += seconds
        self.watch.tick(self.now_s, self.active)


@pytest.mark.parametrize("book", [linear_book, spot_book, odd_book])
def test_a_book_in_order_is_let_be(book: Any) -> None:
    """Snapshot, deltas, a repeated delta, a snapshot anywhere, u == 1: none is a gap, whatever the order of keys."""
    harness = Harness()
    sent = [book("snapshot", 7), book("delta", 8), book("delta", 9), book("delta", 9), book("delta", 10)]
    sent += [book("snapshot", 500), book("delta", 501), book("snapshot", 1), book("delta", 2), book("delta", 1)]
    for payload in [*sent, book("delta", 2)]:
        harness.deliver(payload)
    assert harness.passed[: len(sent)] == sent
    assert (harness.resubscribed, harness.reports, harness.events.emitted) == ([], [], [])


@pytest.mark.parametrize("book", [linear_book, spot_book, odd_book])
@pytest.mark.parametrize("wrong", [6, 10, 4_000_000_000])
def test_a_jump_is_a_gap_until_the_next_snapshot(book: Any, wrong: int) -> None:
    """Counted once, emitted with its beginning, the topic alone resubscribed; then repaired."""
    harness = Harness()
    for payload in (book("snapshot", 7), book("delta", 8), book("delta", wrong), book("delta", wrong + 1)):
        harness.deliver(payload)
    assert (harness.resubscribed, harness.reports, harness.events.names) == ([BTC], ["book_gap"], ["gap"])
    gap = harness.events.emitted[0][1]
    assert (gap["symbols"], gap["kind"], gap["topic"]) == (["BTCUSDT"], "orderbook", BTC)
    assert gap["reason"] == f"u {wrong} where 9 was due"
    harness.deliver(book("snapshot", wrong + 2))
    harness.deliver(book("delta", wrong + 3))
    assert harness.events.names == ["gap", "repaired"]
    assert (harness.events.emitted[1][1]["from"], harness.events.emitted[1][1]["how"]) == (gap["from"], "snapshot")


@pytest.mark.parametrize("book", [linear_book, spot_book, odd_book])
def test_a_delta_before_its_snapshot_is_a_gap(book: Any) -> None:
    """And so is one of the neighbour, on its own."""
    harness = Harness()
    harness.deliver(book("delta", 8))
    harness.deliver(book("snapshot", 8, ETH))
    harness.deliver(book("delta", 9, ETH))
    assert (harness.resubscribed, harness.reports) == ([BTC], ["book_gap"])
    assert harness.events.emitted[0][1]["reason"] == "a delta before its snapshot"


def test_a_level_one_book_repeats_itself_and_jumps() -> None:
    """Snapshots only: the same u every 3 s, then any other."""
    harness = Harness(topics=("orderbook.1.BTCUSDT",))
    for update in (5, 5, 5, 900, 2):
        harness.deliver(spot_book("snapshot", update, "orderbook.1.BTCUSDT"))
    assert (harness.resubscribed, harness.events.emitted) == ([], [])


def test_tickers_have_no_numbers_but_a_beginning() -> None:
    """Deltas after the snapshot are whole, before it they are not."""
    harness = Harness("ticker", ("tickers.BTCUSDT", "tickers.ETHUSDT"))
    for payload in (ticker("snapshot"), ticker("delta"), ticker("delta"), ticker("snapshot")):
        harness.deliver(payload)
    assert harness.events.emitted == []
    harness.deliver(ticker("delta", "tickers.ETHUSDT"))
    assert (harness.resubscribed, harness.reports) == (["tickers.ETHUSDT"], ["ticker_gap"])


@pytest.mark.parametrize(
    "payload",
    [
        b"garbage",
        b"",
        b'{"topic":"orderbook.50.BTCUSDT","type":"delta","da',
        linear_book("delta", 900, "orderbook.50.NEWUSDT"),
        b'{"topic":"tickers.50.BTCUSDT","type":"delta","u":900}',
        b'{"topic":"orderbook.50.BTCUSDT","type":"delta","data":{"u":"x"}}',
    ],
)
def test_what_is_no_book_of_ours_changes_nothing(payload: bytes) -> None:
    """It is delivered, and counted by those who are to judge it."""
    harness = Harness()
    for sent in (linear_book("snapshot", 7), payload, linear_book("delta", 8)):
        harness.deliver(sent)
    assert harness.passed[1] == payload
    assert (harness.resubscribed, harness.reports) == ([], [])


def test_many_at_once_are_watched_as_one_by_one() -> None:
    """One read may bring a book, its jump and the books after it."""
    harness = Harness()
    harness.deliver(
        linear_book("snapshot", 7), linear_book("delta", 8), linear_book("delta", 10), linear_book("delta", 11)
    )
    assert [event for event, _ in harness.events.emitted] == ["gap"]
    assert harness.resubscribed == [BTC]


def test_a_gap_is_resubscribed_in_growing_steps() -> None:
    """Where no snapshot comes: at once, after 5 s, 10 s, 20 s; emitted and counted once."""
    harness = Harness()
    harness.deliver(linear_book("delta", 8))
    times = []
    for _ in range(80):
        before = len(harness.resubscribed)
        harness.tick(1.0)
        times += [harness.now_s - 1000.0] * (len(harness.resubscribed) - before)
    assert times == [REPEAT_S, 3 * REPEAT_S, 7 * REPEAT_S, 15 * REPEAT_S]
    assert harness.events.names == ["gap"]


def test_what_cannot_be_resubscribed_now_is_resubscribed_soon() -> None:
    """An answer about the topic is still awaited."""
    harness = Harness()
    harness.can_resubscribe = False
    harness.deliver(linear_book("delta", 8))
    harness.can_resubscribe = True
    harness.tick(1.0)
    assert harness.resubscribed == [BTC]


def test_jumps_that_no_snapshot_ends_are_normal_for_that_topic() -> None:
    """After so many subscriptions they are let be, on this connection and the next; a neighbour's are not."""
    harness = Harness()
    harness.active = {BTC}
    update = 7
    for _ in range(FRUITLESS_LIMIT + 1):
        harness.deliver(linear_book("snapshot", update))
        harness.deliver(linear_book("delta", update + 10))
        harness.tick(50.0)
        update += 100
    assert len(harness.resubscribed) >= FRUITLESS_LIMIT
    assert harness.noncontiguous == {BTC}
    harness.deliver(linear_book("delta", 5000))
    harness.deliver(linear_book("delta", 6000))
    assert harness.events.names == ["gap", "repaired"] * FRUITLESS_LIMIT
    harness.deliver(linear_book("snapshot", 1, ETH))
    harness.deliver(linear_book("delta", 9, ETH))
    assert harness.resubscribed[-1] == ETH


def test_a_stable_book_begins_anew() -> None:
    """A jump now and then is a gap each time, for ever."""
    harness = Harness()
    harness.active = {BTC}
    for update in range(0, 1000, 100):
        harness.deliver(linear_book("snapshot", update))
        harness.tick(STABLE_S + 1)
        harness.deliver(linear_book("delta", update + 50))
    assert harness.resubscribed.count(BTC) >= 10
    assert harness.noncontiguous == set()


def test_a_silent_topic_among_others_with_data_is_resubscribed_alone() -> None:
    """Its data comes every 2.5 s, and then no more; its neighbour's goes on. Back, its timeout is longer."""
    harness = Harness()
    number = 0

    def speak(seconds: float, *topics: str) -> None:
        nonlocal number
        for _ in range(int(seconds / 2.5)):
            number += 1
            for topic in topics:
                harness.deliver(linear_book("snapshot", number, topic))
            harness.tick(2.5)

    speak(200, BTC, ETH)
    speak(55, ETH)
    assert harness.resubscribed == []
    speak(10, ETH)
    assert harness.resubscribed == [BTC]
    assert harness.events.names == ["stale"]
    assert harness.events.emitted[0][1]["silent_s"] == pytest.approx(62.5, abs=2.6)
    speak(2.5, BTC, ETH)
    assert harness.events.names == ["stale", "repaired"]
    speak(110, ETH)
    assert harness.resubscribed == [BTC]
    speak(30, ETH)
    assert harness.events.names == ["stale", "repaired", "stale"]


def test_a_topic_of_slow_rhythm_is_given_its_time() -> None:
    """A topic with data every half minute may pause for ten."""
    harness = Harness()
    for second in range(0, 600 + 500, 5):
        harness.deliver(linear_book("snapshot", second, ETH))
        if second < 600 and second % 30 == 0:
            harness.deliver(linear_book("snapshot", second, BTC))
        harness.tick(5.0)
    assert harness.resubscribed == []


def test_silence_of_all_topics_is_no_topics_fault() -> None:
    """The connection's own watchdog takes care of that; a topic in quarantine is not waited for."""
    harness = Harness()
    for topic in (BTC, ETH):
        harness.deliver(linear_book("snapshot", 1, topic))
    harness.tick(1.0)
    harness.tick(10_000.0)
    assert harness.resubscribed == []
    harness.active = {ETH}
    for number in range(100):
        harness.deliver(linear_book("snapshot", number * 2, ETH))
        harness.tick(10.0)
    assert harness.resubscribed == []


@given(st.lists(st.integers(0, 3), max_size=60), st.sampled_from([linear_book, spot_book, odd_book]))
def test_gaps_are_emitted_exactly_where_a_slow_reader_finds_them(steps: list[int], book: Any) -> None:
    """Step 1 is the next delta, 0 the same again, 3 a snapshot; what is left is a jump."""
    harness = Harness()
    harness.deliver(book("snapshot", 10))
    update, is_whole, holes = 10, True, 0
    for step in steps:
        if step == 3:
            update += 5
            is_whole = True
            harness.deliver(book("snapshot", update))
            continue
        update += step
        holes += is_whole and step == 2
        is_whole = is_whole and step != 2
        harness.deliver(book("delta", update))
    assert harness.events.names.count("gap") == min(holes, FRUITLESS_LIMIT)
    assert harness.events.names.count("repaired") in (
        harness.events.names.count("gap"),
        harness.events.names.count("gap") - 1,
    )


def test_other_topics_are_watched_when_other_ones_are_wanted() -> None:
    """A removed book is not resubscribed, a new one is watched from its snapshot, one that stays keeps its state."""
    harness, sol = Harness(), "orderbook.50.SOLUSDT"
    for payload in (linear_book("snapshot", 7), linear_book("snapshot", 7, ETH)):
        harness.deliver(payload)
    harness.watch.set_topics([ETH, sol])
    harness.deliver(linear_book("delta", 90, BTC))
    harness.deliver(linear_book("delta", 8, ETH))
    harness.deliver(linear_book("snapshot", 3, sol))
    assert harness.resubscribed == []
    harness.deliver(linear_book("delta", 90, sol))
    harness.deliver(linear_book("delta", 90, ETH))
    assert harness.resubscribed == [sol, ETH]


def test_an_update_of_many_digits_costs_itself() -> None:
    """It is no number of an update; more of them than Python reads ended the connection."""
    harness, absurd = Harness(), linear_book("delta", 0).replace(b'"u":0', b'"u":' + b"9" * 5_000)
    for payload in (linear_book("snapshot", 10), absurd, linear_book("delta", 11)):
        harness.deliver(payload)
    assert harness.events.emitted == []
