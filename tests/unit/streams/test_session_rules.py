"""A session under rules that Bybit does not have: limits of messages, ping frames, notices, topics of all symbols."""

import json
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from structlog.testing import capture_logs

from exchanges.bybit.protocol import BybitProtocol
from exchanges.contract import Endpoints
from model.pacing import LogThrottle
from model.protocol import (
    Backlog,
    Data,
    KeepAlive,
    KindFrames,
    Message,
    Notice,
    Ping,
    Problem,
    StreamLimits,
    Welcome,
)
from model.records import FeedMarker, Kind
from streams.session import WELCOME_S, Session, SessionKind, StreamSilentError
from streams.subscription import Quarantine, SubscribeTimeoutError, Subscription
from tests.support.callbacks import Recorded
from tests.support.clock import FakeClock
from tests.support.events import RecordedEvents
from tests.support.protocol import events_of, frames_of

TIMEOUT_S = 10.0
TOPICS = tuple(f"publicTrade.{name}USDT" for name in "ABCDE")


def trade(symbol: str) -> bytes:
    return b'{"topic":"publicTrade.%s","type":"snapshot","ts":1,"data":[]}' % symbol.encode()


class OtherProtocol(BybitProtocol):
    """Bybit's frames under other rules; `read` returns what `said` has for a payload."""

    def __init__(
        self,
        limits: StreamLimits = StreamLimits(),  # noqa: B008 - it is frozen
        keep_alive: KeepAlive = BybitProtocol.keep_alive,
        said: dict[bytes, Message] | None = None,
    ) -> None:
        super().__init__("linear", Endpoints())
        self.limits, self.keep_alive, self.said = limits, keep_alive, said or {}

    def read(self, payload: bytes) -> Message:
        return self.said.get(payload) or super().read(payload)


class Link:
    """Remembers what was sent, and when."""

    last_frame_ms = 1234
    last_data_s: float | None = None

    def __init__(self, clock: FakeClock) -> None:
        self.sent: list[tuple[float, str]] = []
        self.frames: list[bytes] = []
        self._clock = clock

    def send(self, text: str) -> None:
        self.sent.append((self._clock(), text))

    def send_ping_frame(self, payload: bytes) -> None:
        self.frames.append(payload)

    def succeeded(self) -> None: ...

    def call_soon(self, action: Callable[[], object]) -> None:
        action()


class Harness:
    """A session of several topics, one request each."""

    def __init__(
        self,
        protocol: OtherProtocol,
        topics: Iterable[str] = TOPICS,
        frames: KindFrames | None = None,
        is_wanted: Callable[[bytes], bool] | None = None,
        kind: Kind = "trades",
    ) -> None:
        self.relisted = 0
        self.clock, self.sink, self.reports = FakeClock(), Recorded(), list[str]()
        self.begin_s = self.clock()
        self.link, self.notices, self.changed = Link(self.clock), list[str](), list[list[str]]()
        topics = tuple(topics)
        self.subscription = Subscription(
            topics, lambda batch: [(topic,) for topic in batch], Quarantine(300), TIMEOUT_S
        )
        self.session = Session(
            self.link,  # type: ignore[arg-type]
            protocol,
            SessionKind(kind, frames or frames_of("trades", topics), None, is_wanted=is_wanted),
            self.subscription,
            self.sink,
            lambda cause, _sample: self.reports.append(cause),
            events_of(RecordedEvents(), "trades", topics),
            tracebacks=LogThrottle(),
            changed=lambda: self.changed.pop() if self.changed else None,
            noticed=self.notices.append,
            relisted=self._count_relisted,
            clock=self.clock,
        )
        self.session.begin()

    def _count_relisted(self) -> None:
        self.relisted += 1

    def tick(self, seconds: float) -> None:
        self.clock.now_s += seconds
        self.session.tick(self.clock.now_s)

    def answer_all(self) -> None:
        for request in self.requests("subscribe"):
            self.session.other(json.dumps({"success": True, "op": "subscribe", "req_id": request["req_id"]}).encode())

    def requests(self, op: str) -> list[dict[str, Any]]:
        return [request for _, text in self.link.sent if (request := json.loads(text))["op"] == op]

    @property
    def sent_s(self) -> list[float]:
        return [at_s - self.begin_s for at_s, _ in self.link.sent]

    def markers(self) -> list[FeedMarker]:
        return [item for item in self.sink.seen if isinstance(item, FeedMarker)]


def test_no_more_messages_are_sent_in_a_second_than_the_exchange_takes() -> None:
    """The rest follows in later ticks, in its order; none is lost, and none of them is late by that."""
    harness = Harness(OtherProtocol(StreamLimits(messages_per_s=2)))
    assert len(harness.link.sent) == 2
    for _ in range(12):
        harness.answer_all()
        harness.tick(0.25)
    assert [topic for request in harness.requests("subscribe") for topic in request["args"]] == list(TOPICS)
    assert all(after - before >= 1.0 for before, after in zip(harness.sent_s, harness.sent_s[2:], strict=False))
    assert harness.sent_s[-1] == 2.0
    assert harness.subscription.active == {*TOPICS}


def test_no_more_requests_are_sent_in_an_hour_than_the_exchange_takes() -> None:
    """A topic that waits for its request is no failure, however long it takes."""
    harness = Harness(OtherProtocol(StreamLimits(requests_per_hour=4)))
    harness.answer_all()
    harness.tick(3599.0)
    assert len(harness.link.sent) == 4
    assert not harness.subscription.is_settled
    harness.tick(1.0)
    harness.answer_all()
    assert harness.subscription.active == {*TOPICS}
    assert harness.subscription.is_settled


def test_an_answer_may_take_its_time_from_when_the_request_was_sent() -> None:
    """Not from when it was made."""
    harness = Harness(OtherProtocol(StreamLimits(messages_per_s=1)), TOPICS[:2])
    harness.answer_all()
    harness.tick(TIMEOUT_S)
    assert harness.sent_s == [0.0, TIMEOUT_S]
    harness.tick(TIMEOUT_S - 0.1)
    with pytest.raises(SubscribeTimeoutError):
        harness.tick(0.1)


def test_pings_count_as_messages_and_those_that_only_prove_wait() -> None:
    """A heartbeat is sent whatever the exchange takes: without it the connection is lost."""
    harness = Harness(OtherProtocol(StreamLimits(messages_per_s=2)), TOPICS[:1])
    delivery = harness.session.delivery
    delivery.probe(1_000)
    harness.clock.now_s += 0.95
    delivery.probe(2_000)
    assert [ping["req_id"] for ping in harness.requests("ping")] == ["p1"]
    harness.session.ping()
    assert [ping["req_id"] for ping in harness.requests("ping")] == ["p1", "h1"]
    harness.clock.now_s += 0.95
    delivery.probe(3_000)
    assert [ping["req_id"] for ping in harness.requests("ping")] == ["p1", "h1", "p2"]


def test_ping_frames_prove_what_they_were_sent_for() -> None:
    """Where the exchange has no pings of its own; a pong frame that answers none proves nothing."""
    harness = Harness(OtherProtocol(keep_alive=KeepAlive()), TOPICS[:1])
    harness.session.delivery.probe(1_700_000_000_000)
    harness.session.ping()
    assert harness.link.frames == [b"p1", b"h1"]
    for payload in (b"", b"other", b"\xff"):
        harness.session.pong(payload)
        assert harness.session.delivery.watermark_ms(1_700_000_000_500) == 0
    harness.session.pong(b"p1")
    assert harness.session.delivery.watermark_ms(1_700_000_000_500) == 1_700_000_000_000
    assert not harness.requests("ping")


def test_a_ping_of_the_exchange_is_answered_with_what_its_protocol_says() -> None:
    """It is no data, and no fault."""
    harness = Harness(OtherProtocol(said={b'{"ping":7}': Ping('{"op":"pong","n":7}')}))
    assert harness.session.other(b'{"ping":7}') is False
    assert harness.link.sent[-1][1] == '{"op":"pong","n":7}'
    assert (harness.sink.seen, harness.reports) == ([], [])


def test_nothing_is_subscribed_before_the_exchange_welcomes_us() -> None:
    """Then all is, in its order, however long that took; no topic is late by it."""
    protocol = OtherProtocol(keep_alive=KeepAlive(is_welcomed=True), said={b'{"type":"welcome"}': Welcome()})
    harness = Harness(protocol)
    harness.tick(WELCOME_S - 1.0)
    assert harness.link.sent == []
    assert harness.session.other(b'{"type":"welcome"}') is False
    assert [topic for request in harness.requests("subscribe") for topic in request["args"]] == list(TOPICS)
    harness.tick(TIMEOUT_S - 0.1)
    harness.answer_all()
    assert harness.subscription.active == {*TOPICS}
    assert harness.reports == []


def test_an_exchange_that_never_welcomes_us_is_given_up() -> None:
    """Its connection is of no use."""
    harness = Harness(OtherProtocol(keep_alive=KeepAlive(is_welcomed=True)))
    with pytest.raises(StreamSilentError, match="did not welcome us within 10 s"):
        harness.tick(WELCOME_S)


def test_trades_of_before_the_subscription_prove_the_topic_and_are_not_delivered() -> None:
    """They would count twice after each reconnect; its answer, later, changes nothing."""
    backlog = b'{"action":"snapshot","data":[1,2,3]}'
    harness = Harness(OtherProtocol(said={backlog: Backlog(TOPICS[0])}), TOPICS[:1])
    assert harness.session.other(backlog) is False
    assert [marker.kind for marker in harness.markers()] == ["up"]
    assert harness.subscription.active == {TOPICS[0]}
    harness.answer_all()
    harness.session.other(backlog)
    harness.session.deliver(trade("AUSDT"))
    assert [item for item in harness.sink.seen if isinstance(item, bytes)] == [trade("AUSDT")]
    assert harness.reports == []


def test_a_notice_is_told_and_loses_nothing() -> None:
    """The connection goes on until it is replaced."""
    harness = Harness(OtherProtocol(said={b'{"bye":1}': Notice("64008 upgrade")}))
    harness.answer_all()
    with capture_logs() as logs:
        assert harness.session.other(b'{"bye":1}') is False
    assert harness.notices == ["64008 upgrade"]
    assert [(line["event"], line["reason"]) for line in logs] == [("connection_closes_soon", "64008 upgrade")]
    assert [marker.kind for marker in harness.markers()] == ["up"] * len(TOPICS)
    assert harness.reports == []


def test_a_problem_is_counted_and_written_once_a_minute() -> None:
    """It belongs to no topic: none is lost."""
    harness = Harness(OtherProtocol(said={b'{"error":1}': Problem("64007 internal error")}))
    harness.answer_all()
    with capture_logs() as logs:
        for _ in range(3):
            assert harness.session.other(b'{"error":1}') is False
        harness.clock.now_s += 61
        harness.session.other(b'{"error":1}')
    assert [(line["event"], line["message"], line["held_back"]) for line in logs] == [
        ("exchange_error", "64007 internal error", 0), ("exchange_error", "64007 internal error", 2)
    ]  # fmt: skip
    assert harness.reports == ["exchange_error"] * 4
    assert {marker.kind for marker in harness.markers()} == {"up"}


def test_of_a_topic_of_all_symbols_only_the_wanted_messages_go_on() -> None:
    """One by one, many at once, and while its answer is awaited."""
    harness = Harness(OtherProtocol(), TOPICS[:1], is_wanted=lambda payload: b"AUSDT" in payload)
    wanted, other = trade("AUSDT"), trade("ZUSDT")
    assert harness.session.other(other) is True
    harness.answer_all()
    harness.session.deliver(other)
    harness.session.deliver(wanted)
    deliver_all = harness.session.deliver_all
    assert deliver_all is not None
    deliver_all([other, wanted, other])
    deliver_all([other])
    assert [item for item in harness.sink.seen if isinstance(item, bytes)] == [wanted, wanted]
    assert harness.session.delivery.last == wanted


def test_what_is_below_the_floor_is_read_although_it_begins_like_data() -> None:
    """A notice in the form of data, before and after the answer; data go on."""
    frames = KindFrames(b'{"topic":"', b'{"topic":"', frames_of("trades").sent, floor=b'{"topic":"0')
    notice, data = b'{"topic":"!bye"}', trade("AUSDT")
    harness = Harness(OtherProtocol(said={notice: Notice("bye")}), TOPICS[:1], frames)
    assert harness.session.floor == frames.floor
    assert harness.session.other(notice) is False
    harness.answer_all()
    assert harness.session.other(notice) is False
    assert harness.session.other(data) is True
    assert harness.notices == ["bye", "bye"]
    assert [item for item in harness.sink.seen if isinstance(item, bytes)] == [data]


def test_an_unreadable_message_of_a_topic_that_is_being_left_costs_the_others_nothing() -> None:
    """Its name is known until it is left."""
    harness = Harness(OtherProtocol())
    harness.answer_all()
    harness.changed.append(list(TOPICS[1:]))
    harness.tick(0.1)
    harness.session.other(trade("AUSDT")[:-1])
    assert [marker.symbols for marker in harness.markers() if marker.kind == "down"] == [("AUSDT",)]


def test_data_of_a_topic_that_is_not_wanted_any_more_stand_for_its_answer() -> None:
    """Else the connection would be ended for an answer that did not come."""
    harness = Harness(OtherProtocol(), TOPICS[:1])
    harness.changed.append([*TOPICS[1:2]])
    harness.tick(0.1)
    harness.session.other(trade("AUSDT"))
    harness.tick(TIMEOUT_S)
    assert [request["args"] for request in harness.requests("unsubscribe")] == [[TOPICS[0]]]


def test_a_name_that_is_cut_off_names_no_topic() -> None:
    """It may be the beginning of another's: all may have lost something."""
    harness = Harness(OtherProtocol(), ("publicTrade.ETHUSD", "publicTrade.ETHUSDH25"))
    harness.answer_all()
    harness.session.other(b'{"topic":"publicTrade.ETHUSD')
    assert [marker.symbols for marker in harness.markers() if marker.kind == "down"] == [("ETHUSD", "ETHUSDH25")]


def test_an_answer_that_begins_as_data_is_read_where_it_lacks_their_infix() -> None:
    """As Gate's: all its messages begin with their time."""
    infix = b'"event":"update"'
    frames = KindFrames(b'{"topic":"', b'{"topic":"', frames_of("trades").sent, infix=infix)
    pong = b'{"topic":"pong","event":""}'
    harness = Harness(OtherProtocol(said={pong: Ping("answer")}), TOPICS[:1], frames)
    data = b'{"topic":"%s","event":"update"}' % TOPICS[0].encode()
    assert harness.session.other(data) is True
    assert harness.session.other(pong) is False
    assert [item for item in harness.sink.seen if isinstance(item, bytes)] == [data]
    assert harness.link.sent[-1][1] == "answer"
    assert harness.reports == []


def test_what_is_listed_is_told_of_beside_trades() -> None:
    """In a request that nobody waits for, whose answer is of no other; a change is no data, but where it is wanted."""
    news = b'{"topic":"lists.all","data":[1]}'
    protocol = OtherProtocol(said={news: Data("lists.all", is_listing=True)})
    protocol.listing_topics = ("lists.all",)
    harness = Harness(protocol)
    assert [request["args"] for request in harness.requests("subscribe")] == [
        *([each] for each in TOPICS),
        ["lists.all"],
    ]
    harness.answer_all()
    assert harness.subscription.active == {*TOPICS}
    harness.session.other(news)
    assert (harness.relisted, harness.reports) == (1, [])
    assert news not in harness.sink.seen

    other = Harness(protocol, kind="topics")
    assert ["lists.all"] not in [request["args"] for request in other.requests("subscribe")]
    other.session.other(news)
    assert (other.relisted, other.sink.seen[-1]) == (1, news)
