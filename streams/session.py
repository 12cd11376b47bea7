"""The session of one connection: subscribes, separates data from control, marks feeds up and down.

Runs on the thread that reads the connection. Parses no market data: payloads go to the callback as they came. What a
message is, and how one is written, the exchange's protocol says.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import structlog

from model.batches import batches
from model.clock import now_ms
from model.pacing import LogThrottle, SlidingWindow
from model.ports import Callback, Link, Observe, PayloadSink, Report, ignore_time
from model.protocol import (
    NEVER,
    Answer,
    Backlog,
    Data,
    KindFrames,
    Malformed,
    Notice,
    Ping,
    Pong,
    Problem,
    StreamProtocol,
    Welcome,
)
from model.records import FeedMarker, Kind
from streams.events import StreamEvents
from streams.progress import DeliveryProgress
from streams.subscription import NOTHING, Change, Request, Subscription
from streams.watch import SequenceWatch, TradeWatch

log = structlog.get_logger()

HOUR_S = 3600.0
WELCOME_S = 10.0  # from the handshake to the first message of an exchange that begins with one
WHOLLY_SILENT_S = 5.0  # without any data for so long the connection is at fault, not one topic
LISTING_ID = "0"  # of requests for topics of the listing: the answer is nobody's, for others begin with 1
REPLACE_AGAIN_S = 60.0  # how often an old connection asks to be replaced, where that failed
LARGE_MESSAGE = "large_message"  # the one fault of the frame layer whose message is delivered all the same


class StreamSilentError(ConnectionError):
    """Data or the answer to a ping did not come for too long, although the connection is open."""

    cause = "silent"


class ConnectionReplacedError(ConnectionError):
    """Another connection has taken the stream over: this one is closed."""


@dataclass(frozen=True)
class SessionKind:
    """The kind of a session and its frames, how long it may be silent (None: for ever), and how long a pong may take.

    `is_wanted`: which payloads of a topic that is of all symbols go to the callback.
    """

    kind: Kind
    frames: KindFrames
    silence_timeout_s: float | None
    pong_timeout_s: float = 10.0
    is_wanted: Callable[[bytes], bool] | None = None


class Session:
    """The receiver of one connection; a model.ports.Receiver."""

    def __init__(
        self,
        link: Link,
        protocol: StreamProtocol,
        about: SessionKind,
        subscription: Subscription,
        callback: Callback,
        report: Report,
        events: StreamEvents,
        *,
        tracebacks: LogThrottle,
        watch: SequenceWatch | TradeWatch | None = None,
        changed: Callable[[], list[str] | None] = lambda: None,
        observe_time: Observe = ignore_time,
        noticed: Callable[[str], object] = lambda _reason: None,
        relisted: Callable[[], object] = lambda: None,
        replace_at_s: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`changed()` returns the topics that are desired from now on, None where they are those of before.

        `tracebacks` limits those of a failing callback, over all connections of a feed. `noticed(reason)` is called
        where the exchange is going to close the connection: it says so, or `replace_at_s` (of `clock`) has come.
        `relisted()`: where it says that what it lists has changed.
        """
        self._tracebacks, self._clock = tracebacks, clock
        self.prefix, self.floor = NEVER, about.frames.floor
        self.send_to(callback)
        self._watch = watch
        self._replace_at_s, self._is_replaced = replace_at_s, False
        self._changed = changed
        self._observe_time, self._noticed, self._relisted = observe_time, noticed, relisted
        if watch:
            watch.resubscribe = self._resubscribe
        self._link, self._protocol = link, protocol
        self._about, self._frames = about, about.frames
        self._subscription = subscription
        self._report = report
        self._events = events
        self._unannounced: list[str] = []
        self._lost: set[str] = set()  # active topics marked down since the last tick, for an unreadable message
        self._renewed: set[str] = set()  # topics that were resubscribed on this connection
        self._silent_since_ms: int | None = None  # since when a connection that was found silent is marked down
        limits = protocol.limits
        self._pacer = SlidingWindow(limits.messages_per_s, 1.0) if limits.messages_per_s else None
        self._requests = SlidingWindow(limits.requests_per_hour, HOUR_S) if limits.requests_per_hour else None
        self._outbox: deque[Request] = deque()
        self.delivery = DeliveryProgress(
            link, self._recover, about.pong_timeout_s, self._frames.sent, protocol.keep_alive, clock, self._pacer
        )
        self._active_since_s: float | None = None
        self._welcome_due_s: float | None = None  # by when the exchange must have welcomed us, before any request
        self._topics = {protocol.key_of(about.kind, topic): topic for topic in subscription.topics}  # by key

    def send_to(self, callback: Callback) -> None:
        """Hand payloads and markers to `callback` from now on. On the thread that reads, once there is one."""
        sink = callback if isinstance(callback, PayloadSink) else None  # else a function of the user's
        self._callback = callback
        self.never_blocks = sink is not None and sink.never_blocks
        self._put_all = sink.put_all if sink else None
        self._mark = sink.mark if sink else None

    @property
    def is_up(self) -> bool:
        """Whether some topics are active and no answer is awaited. Any thread."""
        return self._subscription.is_settled and bool(self._subscription.active)

    @property
    def keys(self) -> set[bytes]:
        """The keys of the active topics. Any thread."""
        return {self._protocol.key_of(self._about.kind, topic) for topic in list(self._subscription.active)}

    @property
    def last_sent_ms(self) -> int:
        """The exchange's time of the last payload, 0 where there is none."""
        found = self._frames.sent.search(self.delivery.last)
        return int(found[1]) if found else 0

    def leave(self) -> None:
        """End the connection, which another has replaced: raises ConnectionReplacedError. On the thread that reads."""
        self._is_replaced = True
        raise ConnectionReplacedError("replaced by another connection")

    def begin(self) -> None:
        """Send the subscribe requests, or wait for the exchange's welcome."""
        if self._protocol.keep_alive.is_welcomed:
            self._welcome_due_s = self._clock() + WELCOME_S
        self._apply(self._subscription.begin(self._clock()))
        if self._about.kind == "trades" and (topics := self._protocol.listing_topics):
            self._outbox += [Request(LISTING_ID, batch) for batch in batches(topics, self._protocol.limits)]
            self._send_requests(self._clock())
        self._warn_if_none_is_left()

    def ended(self) -> None:
        """Mark every active topic down, as of the last frame, or of now where it is replaced; it has ended."""
        since_ms = self._silent_since_ms or self._link.last_frame_ms
        at_ms = now_ms() if self._is_replaced else min(since_ms, self._link.last_frame_ms)
        self._mark_down(sorted(self._subscription.active), at_ms)
        self.delivery.end()
        self._noticed = lambda _reason: None  # else a cycle, which keeps the connection until a full gc
        if self._watch:
            self._watch.resubscribe = lambda *_: False  # as above

    def deliver(self, payload: bytes) -> None:
        """Hand one payload to the callback, then to the watch, whatever the callback raises."""
        if self._about.is_wanted is not None and not self._about.is_wanted(payload):
            return
        try:
            self._callback(payload)
        finally:
            self.delivery.last = payload
            if self._watch:
                self._watch.observe((payload,))

    @property
    def deliver_all(self) -> Callable[[Sequence[bytes]], object] | None:
        """See `Receiver`. Not stored: a bound method would be a cycle, and keep the connection until a full gc."""
        if self._put_all is None:
            return None
        return self._deliver_all if self._about.is_wanted is None else self._deliver_wanted

    def _deliver_all(self, payloads: Sequence[bytes]) -> None:
        """Hand many payloads to the callback at once, then to the watch."""
        assert self._put_all is not None
        try:
            self._put_all(payloads)
        finally:
            self.delivery.last = payloads[-1]
            if self._watch:
                self._watch.observe(payloads)

    def _deliver_wanted(self, payloads: Sequence[bytes]) -> None:
        """Hand on those payloads of a market-wide topic that are of the stream's symbols."""
        assert self._about.is_wanted is not None
        if wanted := [payload for payload in payloads if self._about.is_wanted(payload)]:
            self._deliver_all(wanted)

    def ping(self) -> None:
        """See `Receiver`."""
        self.delivery.heartbeat()

    def pong(self, payload: bytes) -> None:
        """Take the answer to a ping frame."""
        if payload:
            self.delivery.answered(payload.decode(errors="replace"))

    def other(self, payload: bytes) -> bool:
        """Take a message without the prefix: control, data while subscriptions are awaited, garbage."""
        if self._frames.is_data(payload):
            return self._own_kind(payload)
        message = self._protocol.read(payload)
        if isinstance(message, Data):
            if message.is_listing:
                self._relisted()
            return (not message.is_listing or self._about.kind == "topics") and self._data(message.topic, payload)
        if isinstance(message, Answer):
            self._apply(self._subscription.answered(message, self._clock()))
        elif isinstance(message, Pong):
            if message.time_ms:
                self._observe_time(message.time_ms, "pong")
            self.delivery.answered(message.req_id)
        elif isinstance(message, Ping):
            self._link.send(message.reply)
        elif isinstance(message, Backlog):
            self._apply(self._subscription.data_received(message.topic))
        elif isinstance(message, Welcome):
            self._welcome_due_s = None
            self._send_requests(self._clock())
        elif isinstance(message, Notice):
            log.warning("connection_closes_soon", market=self._protocol.market, reason=message.reason[:200])
            self._noticed(message.reason)
        elif isinstance(message, Problem):
            self._report("exchange_error", payload)
            held = self._tracebacks.allow(f"exchange_error {self._protocol.market}", self._clock())
            if held is not None:
                log.error("exchange_error", market=self._protocol.market, message=message.message[:200], held_back=held)
        elif isinstance(message, Malformed):
            return self._malformed(payload)
        else:
            self._report("unknown_message", payload)
            self._mark_lost(payload)
        return False

    def failed(self, payload: bytes, error: BaseException) -> None:
        """Count a failure of the callback; trades are marked lost, for it is not known which were processed."""
        self._count_failure(payload, error)
        if self._mark is not None and self._about.kind == "trades":
            self._mark_lost(b"")

    def _count_failure(self, payload: bytes, error: BaseException) -> None:
        """Report a failure of the callback; its traceback once a minute at most, over all connections of the feed."""
        self._report("callback_error", payload)
        market, kind = self._protocol.market, self._about.kind
        held = self._tracebacks.allow(f"{market} {kind} {type(error).__name__}", self._clock())
        if held is not None:
            log.error("callback_failed", market=market, kind=kind, held_back=held, exc_info=error)

    def fault(self, cause: str, sample: bytes) -> None:
        """Report a fault of the frame layer; its message was not delivered, unless it is only large."""
        self._report(cause, sample)
        if cause != LARGE_MESSAGE:
            self._mark_lost(sample)

    def tick(self, now_s: float) -> None:
        """Apply changed topics; keep the deadlines of subscriptions, quarantine and silence."""
        if self._lost:
            regained = tuple(sorted(self._lost & self._subscription.active))
            self._lost.clear()
            self._send_mark("up", regained, now_ms())
        if self._welcome_due_s is not None and now_s >= self._welcome_due_s:
            raise StreamSilentError(f"the exchange did not welcome us within {WELCOME_S:g} s")
        if self.delivery.is_unanswered(now_s):
            raise StreamSilentError(f"no answer to ping within {self._about.pong_timeout_s:g} s")
        if (topics := self._changed()) is not None:
            self._set_topics(topics, now_s)
        if now_s >= self._replace_at_s:
            self._replace_at_s = now_s + REPLACE_AGAIN_S
            self._noticed("the exchange ends it soon, by its age")
        if (change := self._subscription.due(now_s)) is not NOTHING:
            self._apply(change)
        elif self._outbox:
            self._send_requests(now_s)
        if self._watch:
            self._watch.tick(now_s, self._subscription.active)
        limit_s, since_s = self._about.silence_timeout_s, self._active_since_s
        if limit_s is None or since_s is None:
            return
        silent_s = now_s - max(since_s, self._link.last_data_s or 0.0)
        if silent_s > limit_s:
            self._events.stale(sorted(self._subscription.active), silent_s=round(silent_s, 1))
            raise StreamSilentError(f"no {self._about.kind} data for {silent_s:.0f} s")

    def _set_topics(self, topics: list[str], now_s: float) -> None:
        # Those of before stay: their data, and the answers to them, may still come.
        self._topics |= {self._protocol.key_of(self._about.kind, topic): topic for topic in topics}
        if self._watch:
            self._watch.set_topics(topics)
        self._events.set_topics(topics)
        self._apply(self._subscription.set_topics(topics, now_s))

    def _own_kind(self, payload: bytes) -> bool:
        """Deliver a message of the subscribed kind while acknowledgements are awaited, or one that is cut off."""
        if not payload.endswith(b"}"):
            self._report("malformed_json", payload)
            self._mark_lost(payload)
        elif not self._subscription.is_settled:
            self._apply(self._subscription.data_received(self._topic_in(payload)))
        self.deliver(payload)
        return True

    def _topic_in(self, payload: bytes) -> str:
        """Return the topic of a payload of the subscribed kind; "" where it is none that was desired."""
        return self._topics.get(self._frames.key_in(payload), "")

    def _data(self, topic: str, payload: bytes) -> bool:
        of = self._protocol.read_topic(topic)
        if self._about.kind not in ("topics", of and of[0]):
            self._report("unknown_topic", payload)
            if of is None:
                self._mark_lost(payload)
        self._apply(self._subscription.data_received(topic))
        self.deliver(payload)
        return True

    def _malformed(self, payload: bytes) -> bool:
        """Drop what is no JSON, but deliver what begins like data."""
        self._report("malformed_json", payload)
        self._mark_lost(payload)
        if not payload.startswith(self._frames.prefix.partition(b":")[0]):
            return False
        self.deliver(payload)
        return True

    def _resubscribe(self, topic: str, since_ms: int | None = None) -> bool:
        """Resubscribe a topic; it is marked down since `since_ms`, or since the last frame.

        Where trades are missed and no topic brings any, the connection is ended; one topic alone is first resubscribed.
        """
        is_worth_another_try = len(self._subscription.active) == 1 and topic not in self._renewed
        now_s = self._clock()
        silent_s = now_s - max(self._active_since_s or now_s, self._link.last_data_s or 0.0)
        if self._about.kind == "trades" and not is_worth_another_try and silent_s > WHOLLY_SILENT_S:
            self._silent_since_ms = since_ms
            self._events.stale(sorted(self._subscription.active))
            raise StreamSilentError("no trades, though there were some")
        change = self._subscription.resubscribe(topic, now_s)
        if change is None:
            return False
        self._renewed.add(topic)
        self._mark_down([topic], self._link.last_frame_ms if since_ms is None else since_ms)
        self._apply(change)
        return True

    def _recover(self, symbol: str) -> None:
        """Resubscribe the topics of a symbol: the exchange has trades that did not come."""
        for topic in [topic for topic in self._subscription.active if self._protocol.symbol_of(topic) == symbol]:
            last_data_s = self._watch.last_data_s(topic) if isinstance(self._watch, TradeWatch) else 0.0
            silent_s = round(self._clock() - last_data_s, 1) if last_data_s else None
            log.warning("topic_silent", topic=topic, **({} if silent_s is None else {"silent_s": silent_s}))
            if self._resubscribe(topic):
                self._events.stale([topic], topic=topic, silent_s=silent_s)

    def _mark_lost(self, payload: bytes) -> None:
        """Mark the topics lost that an undelivered message may be of: those it names, or else all.

        Trades are down until the next tick: one gap, however many such messages come at a time. Books and tickers begin
        with a snapshot: their watch resubscribes them.
        """
        active = self._subscription.active
        keys = (rest.partition(b'"') for rest in payload.split(self._frames.marker)[1:])
        named = {self._topics.get(key, "") for key, end, _ in keys if end} & active
        topics = sorted((named or active) - self._lost)
        if self._about.kind == "trades":
            self._lost.update(topics)
            self._send_mark("down", tuple(topics), self._link.last_frame_ms)
        elif isinstance(self._watch, SequenceWatch):
            self._watch.mark_lost(topics, payload)

    def _mark_down(self, topics: Iterable[str], at_ms: int) -> None:
        self._send_mark("down", tuple(topic for topic in topics if topic not in self._lost), at_ms)
        self._lost.difference_update(topics)

    def _apply(self, change: Change) -> None:
        for topic, message in change.quarantined:
            self._log_refused(topic, message[:200])
            self._events.quarantined(topic, message)
        if change.unsubscribed:
            self._mark_down(change.unsubscribed, self._link.last_frame_ms)
            self._events.unsubscribed(change.unsubscribed)
        if change.active:
            self._link.succeeded()
            self._active_since_s = self._active_since_s or self._clock()
            self._send_mark("up", change.active, now_ms())
            self._unannounced += change.active
        if self._unannounced and self._subscription.is_settled:
            self._events.connected(topic for topic in self._unannounced if topic in self._subscription.active)
            self._unannounced.clear()
        self._outbox += change.send
        if self._outbox:
            self._send_requests(self._clock())
        self.prefix = self._frames.prefix if self._subscription.is_settled else NEVER
        if change.quarantined:
            self._warn_if_none_is_left()

    def _send_requests(self, now_s: float) -> None:
        """Send the requests that wait, as many as the exchange allows now."""
        while self._outbox and self._may_send(now_s):
            request = self._outbox.popleft()
            self._subscription.sent(request.req_id, now_s)
            write = self._protocol.subscribe if request.op == "subscribe" else self._protocol.unsubscribe
            self._link.send(write(request.req_id, request.topics))
        for request in self._outbox:
            self._subscription.postponed(request.req_id)

    def _may_send(self, now_s: float) -> bool:
        return self._welcome_due_s is None and all(
            window.take(now_s) for window in (self._pacer, self._requests) if window
        )

    def _log_refused(self, topic: str, message: str) -> None:
        """Log a topic that is refused for the first time, not at every attempt."""
        market = self._protocol.market
        sentence = f"The exchange refuses {topic} of {market}: {message}. It is tried again every few minutes."
        remedy = "see that the exchange lists its symbol, and write it as the exchange does"
        log.warning("topic_refused", sentence=sentence, topic=topic, market=market, message=message, remedy=remedy)

    def _warn_if_none_is_left(self) -> None:
        """Log that no topic is left. The connection stays, because refused topics are tried again on it."""
        if self._subscription.is_settled and not self._subscription.active:
            market, kind = self._protocol.market, self._about.kind
            sentence = f"A stream of {market} {kind} has no topic left that the exchange does not refuse."
            log.error("all_topics_refused", sentence=sentence, market=market, kind=kind)

    def _send_mark(self, kind: Literal["up", "down"], topics: tuple[str, ...], at_ms: int) -> None:
        if self._mark is None or not topics:
            return
        symbols = tuple(map(self._protocol.symbol_of, topics))
        marker = FeedMarker(kind, self._protocol.market, symbols, at_ms, id(self), self.delivery)
        try:
            self._mark(marker)
        except Exception as error:  # noqa: BLE001 - a user's callback
            self._count_failure(repr(marker).encode(), error)
