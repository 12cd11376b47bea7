"""One connection's conversation, with a link that only remembers."""

import json
from collections.abc import Callable
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from model.pacing import LogThrottle
from model.records import FeedMarker, Kind
from streams.session import Session, SessionKind, StreamSilentError
from streams.subscription import Quarantine, Subscription
from streams.watch import SequenceWatch, TradeWatch
from tests.support.callbacks import Recorded
from tests.support.clock import FakeClock
from tests.support.events import RecordedEvents
from tests.support.protocol import events_of, frames_of, protocol_of

TRADE = b'{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1,"data":[]}'


class Link:
    """Remembers what was sent."""

    last_frame_ms = 1234
    last_data_s: float | None = None
    stopped = False

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.successes = 0

    def send(self, text: str) -> None:
        self.sent.append(json.loads(text))

    def send_ping_frame(self, payload: bytes) -> None:
        raise NotImplementedError

    def succeeded(self) -> None:
        self.successes += 1

    def call_soon(self, action: Callable[[], object]) -> None:
        action()

    def read_until_closed(self, *args: object, **kwargs: object) -> None:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


class Harness:
    """A session with everything around it."""

    def __init__(
        self,
        kind: str = "trades",
        market: str = "linear",
        topics: tuple[str, ...] = (),
        *,
        is_watched: bool = False,
        tracebacks: LogThrottle | None = None,
    ) -> None:
        self.clock, self.events = FakeClock(), RecordedEvents()
        self.topics_changed: list[str] | None = None
        self.times: list[tuple[int, str]] = []
        self.link, self.sink, self.reports = Link(), Recorded(), list[tuple[str, bytes]]()
        wanted = topics or ("publicTrade.BTCUSDT", "publicTrade.ETHUSDT")
        self.subscription = Subscription(wanted, lambda batch: [tuple(batch)], Quarantine(300), 10)
        protocol, frames = protocol_of(market), frames_of(kind, wanted, market)
        about = SessionKind(cast(Kind, kind), frames, 60.0 if kind in ("orderbook", "ticker") else None)
        events = events_of(self.events, kind, wanted, market)
        self.watch: Any = (  # SequenceWatch or TradeWatch, whose ways to resubscribe differ
            TradeWatch(protocol, frames, wanted, None, events)
            if kind == "trades"
            else SequenceWatch(
                protocol, frames, list(wanted), silence_s=60.0, noncontiguous=set(), report=self.report, events=events
            )
        )
        self.session = Session(
            self.link,
            protocol,
            about,
            self.subscription,
            self.sink,
            self.report,
            events,
            tracebacks=tracebacks or LogThrottle(),
            watch=self.watch if is_watched else None,
            changed=self._take_topics,
            observe_time=lambda time_ms, source: self.times.append((time_ms, source)),
            clock=self.clock,
        )
        self.session.begin()

    def report(self, cause: str, sample: bytes) -> None:
        self.reports.append((cause, sample))

    def _take_topics(self) -> list[str] | None:
        topics, self.topics_changed = self.topics_changed, None
        return topics

    def emitted(self) -> list[tuple[str, list[str]]]:
        """Names and symbols of the events."""
        return [(event, fields["symbols"]) for event, fields in self.events.emitted]

    def answer(self, **change: object) -> bool:
        ack = {"success": True, "ret_msg": "", "req_id": self.link.sent[-1]["req_id"], "op": "subscribe", **change}
        return self.session.other(json.dumps(ack).encode())

    def markers(self) -> list[FeedMarker]:
        return [item for item in self.sink.seen if isinstance(item, FeedMarker)]

    def kinds(self) -> list[str]:
        return [item.kind if isinstance(item, FeedMarker) else "data" for item in self.sink.seen]

    def causes(self) -> list[str]:
        return [cause for cause, _ in self.reports]


def test_the_acknowledgement_marks_up_and_opens_the_fast_path() -> None:
    """Before it every message is looked at, after it none that begins right."""
    harness = Harness()
    assert not TRADE.startswith(harness.session.prefix)
    assert harness.answer() is False
    (marker,) = harness.sink.seen
    assert isinstance(marker, FeedMarker)
    assert (marker.kind, marker.market, marker.symbols) == ("up", "linear", ("BTCUSDT", "ETHUSDT"))
    assert TRADE.startswith(harness.session.prefix)
    assert harness.link.successes == 1
    assert harness.emitted() == [("connected", ["BTCUSDT", "ETHUSDT"])]


def test_data_before_the_acknowledgement_is_marked_up_before_it_is_delivered() -> None:
    """The aggregator gets "up" first, for the one symbol that is proven."""
    harness = Harness()
    assert harness.session.other(TRADE) is True
    harness.answer()
    assert harness.kinds() == ["up", "data", "up"]
    assert harness.sink.seen[0].symbols == ("BTCUSDT",)  # type: ignore[union-attr]
    assert harness.sink.seen[2].symbols == ("ETHUSDT",)  # type: ignore[union-attr]
    assert harness.sink.seen[1] == TRADE


def test_the_end_marks_down_what_was_up_as_of_the_last_frame() -> None:
    """What came after that frame is not proven."""
    harness = Harness()
    harness.session.other(TRADE)
    harness.session.ended()
    assert harness.sink.seen[-1] == FeedMarker("down", "linear", ("BTCUSDT",), 1234)


def test_a_connection_that_was_never_up_leaves_no_marker() -> None:
    """Nothing became worse."""
    harness = Harness()
    harness.session.ended()
    assert harness.sink.seen == []


def test_a_refused_topic_is_not_marked_up() -> None:
    """Only the neighbours are, after their second request."""
    harness = Harness()
    harness.answer(success=False, ret_msg="error:handler not found,topic:publicTrade.ETHUSDT")
    assert harness.link.sent[-1]["args"] == ["publicTrade.BTCUSDT"]
    harness.answer()
    (marker,) = harness.sink.seen
    assert marker.symbols == ("BTCUSDT",)  # type: ignore[union-attr]
    assert harness.emitted() == [("quarantined", ["ETHUSDT"]), ("connected", ["BTCUSDT"])]
    message = "error:handler not found,topic:publicTrade.ETHUSDT"
    assert harness.events.emitted[0][1] == {
        "market": "linear",
        "kind": "trades",
        "symbols": ["ETHUSDT"],
        "topic": "publicTrade.ETHUSDT",
        "message": message,
    }


@pytest.mark.parametrize(
    ("payload", "causes", "is_delivered", "lost"),
    [
        (b"garbage", ["malformed_json"], False, ("BTCUSDT", "ETHUSDT")),
        (b"\xff\xfe\xfd", ["malformed_json"], False, ("BTCUSDT", "ETHUSDT")),
        (b"", ["malformed_json"], False, ("BTCUSDT", "ETHUSDT")),
        (b"\xff" + TRADE[1:], ["malformed_json"], False, ("BTCUSDT",)),
        (b'{"topic":' + b"[" * 100_000, ["malformed_json"], True, ("BTCUSDT", "ETHUSDT")),
        (b'{"topic":"publicTrade.BTCUSDT","da', ["malformed_json"], True, ("BTCUSDT",)),
        (b'{"topic":cut', ["malformed_json"], True, ("BTCUSDT", "ETHUSDT")),
        (b'{"topic":"tickers.BTCUSDT","data":{}}', ["unknown_topic"], True, ()),
        (b'{"topic":"publicTrades2.BTCUSDT","data":[]}', ["unknown_topic"], True, ("BTCUSDT", "ETHUSDT")),
        (b'{"topic":"publicTrade.NEWUSDT","data":[]}', [], True, ()),
        (b'{"type":"snapshot","topic":"publicTrade.BTCUSDT","data":[]}', [], True, ()),
        (b'{"hello":1}', ["unknown_message"], False, ("BTCUSDT", "ETHUSDT")),
        (b"[" + TRADE + b"]", ["unknown_message"], False, ("BTCUSDT",)),
        (b'{"args":["1"],"op":"pong"}', [], False, ()),
    ],
)
def test_bad_input_is_counted_by_cause_and_marks_what_it_may_concern(
    payload: bytes, causes: list[str], is_delivered: bool, lost: tuple[str, ...]
) -> None:
    """The stream lives through all of it, and data goes out as it came."""
    harness = Harness()
    harness.answer()
    harness.sink.seen.clear()
    assert harness.session.other(payload) is is_delivered
    assert harness.causes() == causes
    assert [item for item in harness.sink.seen if isinstance(item, bytes)] == ([payload] if is_delivered else [])
    assert [(m.kind, m.symbols, m.at_ms) for m in harness.markers()] == ([("down", lost, 1234)] if lost else [])
    harness.session.tick(0.0)
    assert [(m.kind, m.symbols) for m in harness.markers()[1:]] == ([("up", lost)] if lost else [])


@pytest.mark.parametrize("cause", ["compressed_frame", "not_text", "protocol_error"])
def test_a_frame_that_cannot_be_read_is_an_outage_of_what_it_may_concern(cause: str) -> None:
    """A large message was delivered: it is none."""
    harness = Harness()
    harness.answer()
    harness.session.fault("large_message", TRADE)
    harness.session.fault(cause, TRADE)
    assert [(m.kind, m.symbols) for m in harness.markers()[1:]] == [("down", ("BTCUSDT",))]


def test_what_a_raising_callback_was_given_is_an_outage() -> None:
    """It may have got nowhere; which of a batch raised is not known."""
    harness = Harness()
    harness.answer()
    harness.session.failed(TRADE, ValueError())
    assert [(m.kind, m.symbols) for m in harness.markers()[1:]] == [("down", ("BTCUSDT", "ETHUSDT"))]


def test_a_flood_of_garbage_is_one_outage() -> None:
    """Down once, until a tick has passed; the end of the connection takes nothing down twice."""
    harness = Harness()
    harness.answer()
    for payload in [b"\xff" + TRADE[1:], b"garbage"] * 100:
        harness.session.other(payload)
    harness.session.ended()
    assert [(m.kind, m.symbols) for m in harness.markers()[1:]] == [("down", ("BTCUSDT",)), ("down", ("ETHUSDT",))]


def test_a_ticker_whose_message_cannot_be_read_is_resubscribed() -> None:
    """It begins with a snapshot, so that no field is missed. A book proves by its u what it missed."""
    harness = Harness("ticker", topics=("tickers.BTCUSDT", "tickers.ETHUSDT"), is_watched=True)
    harness.answer()
    harness.session.other(b'\xff"topic":"tickers.ETHUSDT"}')
    assert (harness.link.sent[-1]["op"], harness.link.sent[-1]["args"]) == ("unsubscribe", ["tickers.ETHUSDT"])
    assert ("gap", ["ETHUSDT"]) in harness.emitted()
    book = Harness("orderbook", topics=("orderbook.50.BTCUSDT",), is_watched=True)
    book.answer()
    book.session.fault("compressed_frame", b"")
    assert book.link.sent[-1]["op"] == "subscribe"


def test_option_data_is_delivered_though_an_id_comes_first() -> None:
    """By the fast path, once the answer is there."""
    payload = b'{"id":"publicTrade.BTC-1","topic":"publicTrade.BTC","ts":1,"data":[]}'
    harness = Harness(market="option", topics=("publicTrade.BTC",))
    assert harness.session.other(payload) is True
    assert harness.kinds() == ["up", "data"]
    harness.answer()
    assert payload.startswith(harness.session.prefix)
    assert harness.causes() == []


def test_a_raising_callback_is_counted() -> None:
    """Its traceback is logged, the stream goes on."""
    harness = Harness()
    harness.session.failed(TRADE, ValueError("boom"))
    assert harness.reports == [("callback_error", TRADE)]


def test_a_raising_mark_is_counted_and_the_data_goes_on() -> None:
    """The marker's receiver is the user's too."""
    harness = Harness()
    harness.sink.is_failing = True
    assert harness.answer() is False
    assert harness.causes() == ["callback_error"]


def test_silent_books_are_a_failure_and_silent_trades_are_not() -> None:
    """A quiet symbol may trade once an hour; its book is repeated."""
    book = Harness("orderbook", topics=("orderbook.50.BTCUSDT",))
    book.answer()
    since_s = book.clock.now_s
    book.session.tick(since_s + 59)
    book.link.last_data_s = since_s + 30
    book.session.tick(since_s + 89)
    with pytest.raises(StreamSilentError, match="no orderbook data for 61 s"):
        book.session.tick(since_s + 91)
    assert book.emitted()[-1] == ("stale", ["BTCUSDT"])
    assert book.events.emitted[-1][1]["silent_s"] == 61.0
    trades = Harness()
    trades.answer()
    trades.session.tick(since_s + 86_400)


def test_a_book_that_is_not_active_yet_cannot_be_silent() -> None:
    """That is the subscribe deadline's affair, or a quarantined topic's."""
    book = Harness("orderbook", topics=("orderbook.50.BADUSDT",))
    book.answer(success=False, ret_msg="error:handler not found,topic:orderbook.50.BADUSDT")
    book.session.tick(1e9)
    assert book.link.sent[-1]["args"] == ["orderbook.50.BADUSDT"]


BOOK = "orderbook.50.BTCUSDT"


def book(kind: str, update: int) -> bytes:
    return f'{{"topic":"{BOOK}","type":"{kind}","ts":1,"data":{{"s":"BTCUSDT","b":[],"a":[],"u":{update}}}}}'.encode()


def test_a_gap_in_a_book_is_repaired_on_the_same_connection() -> None:
    """Unsubscribed, then subscribed again; marked down and up in the data's order; payloads untouched."""
    harness = Harness("orderbook", topics=(BOOK, "orderbook.50.ETHUSDT"), is_watched=True)
    harness.answer()
    sent = [book("snapshot", 1), book("delta", 2), book("delta", 4)]
    for payload in sent:
        harness.session.deliver(payload)
    assert {**harness.link.sent[-1], "req_id": ""} == {"op": "unsubscribe", "req_id": "", "args": [BOOK]}
    harness.answer(op="unsubscribe")
    assert {**harness.link.sent[-1], "req_id": ""} == {"op": "subscribe", "req_id": "", "args": [BOOK]}
    assert harness.session.other(book("snapshot", 9)) is True
    harness.answer()
    assert book("delta", 10).startswith(harness.session.prefix)
    harness.session.deliver(book("delta", 10))

    assert harness.kinds() == ["up", "data", "data", "data", "down", "up", "data", "data"]
    assert [item for item in harness.sink.seen if isinstance(item, bytes)][:3] == sent
    assert [event for event, _ in harness.emitted()] == ["connected", "gap", "repaired"]
    assert harness.causes() == ["book_gap"]


def test_a_watched_topic_that_is_refused_on_its_return_is_quarantined() -> None:
    """Delisted meanwhile: quarantined, and connected when it is back."""
    harness = Harness("orderbook", topics=(BOOK,), is_watched=True)
    harness.answer()
    harness.session.deliver(book("delta", 2))
    harness.answer(op="unsubscribe")
    harness.answer(success=False, ret_msg=f"error:handler not found,topic:{BOOK}")
    harness.link.last_data_s = harness.clock.now_s + 1000  # others speak
    harness.session.tick(harness.clock.now_s + 1000)
    harness.answer()
    assert [event for event, _ in harness.emitted()] == ["connected", "gap", "quarantined", "connected"]


def test_other_topics_wanted_are_followed_on_the_same_connection() -> None:
    """Unsubscribed, subscribed, marked down and emitted once the exchange answered; other topics stay."""
    harness = Harness()
    harness.answer()
    harness.topics_changed = ["publicTrade.ETHUSDT", "publicTrade.SOLUSDT"]
    harness.session.tick(harness.clock.now_s)
    leave, ask = harness.link.sent[1:]
    assert (leave["op"], leave["args"]) == ("unsubscribe", ["publicTrade.BTCUSDT"])
    assert (ask["op"], ask["args"]) == ("subscribe", ["publicTrade.SOLUSDT"])
    harness.sink.seen.clear()
    harness.events.events.clear()
    harness.session.other(json.dumps({"success": True, "op": "unsubscribe", "req_id": leave["req_id"]}).encode())
    harness.session.other(json.dumps({"success": True, "op": "subscribe", "req_id": ask["req_id"]}).encode())

    assert [(mark.kind, mark.symbols) for mark in harness.sink.seen if isinstance(mark, FeedMarker)] == [
        ("down", ("BTCUSDT",)),
        ("up", ("SOLUSDT",)),
    ]
    assert harness.emitted() == [
        ("disconnected", ["BTCUSDT"]),
        ("connected", ["SOLUSDT"]),
    ]


def test_books_of_other_topics_are_watched_when_they_are_wanted() -> None:
    """A new book with a gap is resubscribed, as the first ones are."""
    book = "orderbook.50.SOLUSDT"
    harness = Harness("orderbook", topics=("orderbook.50.BTCUSDT",), is_watched=True)
    harness.answer()
    harness.topics_changed = [book]
    harness.session.tick(harness.clock.now_s)
    harness.answer()
    for kind, update in (("snapshot", 1), ("delta", 2), ("delta", 9)):
        payload = f'{{"topic":"{book}","type":"{kind}","ts":1,"data":{{"s":"S","b":[],"a":[],"u":{update},"seq":1}}}}'
        harness.session.deliver(payload.encode())

    assert (harness.link.sent[-1]["op"], harness.link.sent[-1]["args"]) == ("unsubscribe", [book])
    assert harness.causes() == ["book_gap"]


def test_a_pong_with_a_time_feeds_the_exchanges_clock() -> None:
    """One without a time does not."""
    harness = Harness()
    harness.session.other(b'{"args":["1672916271846"],"op":"pong"}')
    harness.session.other(b'{"success":true,"ret_msg":"pong","conn_id":"0970e817","op":"ping"}')
    assert harness.times == [(1672916271846, "pong")]


def test_a_callback_that_fails_is_one_traceback_a_minute() -> None:
    """Of all its connections, and over every reconnect; each failure is counted."""
    tracebacks = LogThrottle()
    with capture_logs() as logs:
        for _ in range(3):
            harness = Harness(tracebacks=tracebacks)
            for _ in range(5):
                harness.session.failed(TRADE, ValueError("mine"))
        Harness(market="spot", tracebacks=tracebacks).session.failed(TRADE, ValueError("mine"))
    assert [(line["event"], line["market"]) for line in logs] == [
        ("callback_failed", "linear"),
        ("callback_failed", "spot"),
    ]


class TestMissedTrades:
    """The exchange, a ticker or another connection had trades that did not come."""

    def harness(self, *, data_s: float, topics: tuple[str, ...] = ()) -> Harness:
        harness = Harness(topics=topics, is_watched=True)
        harness.answer()
        harness.clock.now_s += 60.0
        harness.link.last_data_s = harness.clock.now_s - data_s
        return harness

    def test_of_one_topic_resubscribe_it_alone(self) -> None:
        harness = self.harness(data_s=1.0)
        harness.session.delivery.recover("BTCUSDT")
        assert (harness.link.sent[-1]["op"], harness.link.sent[-1]["args"]) == ("unsubscribe", ["publicTrade.BTCUSDT"])
        assert harness.emitted()[-1] == ("stale", ["BTCUSDT"])
        harness.session.delivery.recover("NEVERSEEN")

    def test_of_a_connection_that_brings_nothing_cost_the_connection(self) -> None:
        harness = self.harness(data_s=30.0)
        harness.link.last_frame_ms = 99_999
        with pytest.raises(StreamSilentError):
            harness.watch.resubscribe("publicTrade.BTCUSDT", 7_000)
        harness.session.ended()
        assert (harness.markers()[-1].kind, harness.markers()[-1].at_ms) == ("down", 7_000), "silent since then"

    def test_of_the_only_topic_resubscribe_it_first(self) -> None:
        harness = self.harness(data_s=30.0, topics=("publicTrade.BTCUSDT",))
        assert harness.watch.resubscribe("publicTrade.BTCUSDT", 7_000)
        for _ in range(2):  # left, and asked for again
            harness.session.other(
                json.dumps(
                    {"success": True, "req_id": harness.link.sent[-1]["req_id"], "op": harness.link.sent[-1]["op"]}
                ).encode()
            )
        with pytest.raises(StreamSilentError):
            harness.watch.resubscribe("publicTrade.BTCUSDT", 7_000)


def test_a_ping_on_demand_proves_and_its_silence_ends_the_connection() -> None:
    """A ping on demand is answered through the session, or ends the connection."""
    harness = Harness()
    harness.answer()
    harness.session.delivery.probe(5_000)
    assert harness.link.sent[-1]["op"] == "ping"
    pong = {"success": True, "ret_msg": "pong", "req_id": harness.link.sent[-1]["req_id"], "op": "ping"}
    harness.session.other(json.dumps(pong).encode())
    assert harness.session.delivery.watermark_ms(6_000) == 5_000
    harness.session.deliver(b'{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":5900,"data":[]}')
    assert harness.session.delivery.watermark_ms(6_000) == 5_900
    harness.clock.now_s += 1.0
    harness.session.delivery.probe(6_000)
    harness.session.tick(harness.clock.now_s)
    with pytest.raises(StreamSilentError):
        harness.session.tick(harness.clock.now_s + 10.5)
