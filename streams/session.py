"""The session of one connection with Bybit: subscribes, separates data from control, marks feeds up and down.

Runs on the thread that reads the connection. Parses no market data: payloads go to the callback as they came.
"""

import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import structlog

from exchanges.bybit.protocol import (
    TOPIC_KINDS,
    Ack,
    Data,
    Malformed,
    Pong,
    Unknown,
    fast_prefix,
    read_message,
    request_message,
    symbol_of,
)
from model.clock import now_ms
from model.pacing import LogThrottle
from model.ports import Callback, Link, Observe, PayloadSink, Report, ignore_time
from model.records import FeedMarker
from streams.events import StreamEvents
from streams.progress import DeliveryProgress
from streams.subscription import NOTHING, Change, Subscription
from streams.watch import SequenceWatch, TradeWatch

log = structlog.get_logger()

_TOPIC = re.compile(rb'"topic"\s*:\s*"([^"]+)"')
OTHER_KINDS = tuple(filter(None, TOPIC_KINDS.values()))  # data of these is none of another
_NEVER = b"\x00"  # no JSON begins with it: every message goes to `other`
WHOLLY_SILENT_S = 5.0  # without any data for so long the connection is at fault, not one topic
LARGE_MESSAGE = "large_message"  # the one fault of the frame layer whose message is delivered all the same


class StreamSilentError(ConnectionError):
    """Data or the answer to a ping did not come for too long, although the connection is open."""


@dataclass(frozen=True)
class SessionKind:
    """The market and kind of a session, how long it may be silent (None: for ever), and how long a pong may take."""

    market: str
    kind: str
    silence_timeout_s: float | None
    pong_timeout_s: float = 10.0


class Session:
    """The receiver of one connection; a model.ports.Receiver."""

    def __init__(
        self,
        link: Link,
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
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`changed()` returns the topics that are desired from now on, None where they are those of before.

        `tracebacks` limits those of a failing callback, over all connections of a feed.
        """
        self._tracebacks, self._clock = tracebacks, clock
        self.prefix = _NEVER
        self._callback = callback
        sink = callback if isinstance(callback, PayloadSink) else None  # else a function of the user's
        self.never_blocks = sink is not None and sink.never_blocks
        self._put_all = sink.put_all if sink else None
        self._mark = sink.mark if sink else None
        self._watch = watch
        self._changed = changed
        self._observe_time = observe_time
        if watch:
            watch.resubscribe = self._resubscribe
        self._link = link
        self._about = about
        self._subscription = subscription
        self._report = report
        self._events = events
        self._unannounced: list[str] = []
        self._lost: set[str] = set()  # active topics marked down since the last tick, for an unreadable message
        self._renewed: set[str] = set()  # topics that were resubscribed on this connection
        self._silent_since_ms: int | None = None  # since when a connection that was found silent is marked down
        self.delivery = DeliveryProgress(link, self._recover, about.pong_timeout_s, clock)
        self._fast = fast_prefix(about.market, about.kind)
        self._topic_kind = TOPIC_KINDS[about.kind]
        self._active_since_s: float | None = None

    def begin(self) -> None:
        """Send the subscribe requests."""
        self._apply(self._subscription.begin(self._clock()))
        self._warn_if_none_is_left()

    def ended(self) -> None:
        """Mark every active topic down, as of the last frame; the connection has ended."""
        since_ms = self._silent_since_ms or self._link.last_frame_ms
        self._mark_down(sorted(self._subscription.active), min(since_ms, self._link.last_frame_ms))
        self.delivery.end()
        if self._watch:
            self._watch.resubscribe = lambda *_: False  # else a cycle, which keeps the connection until a full gc

    def deliver(self, payload: bytes) -> None:
        """Hand one payload to the callback, then to the watch, whatever the callback raises."""
        try:
            self._callback(payload)
        finally:
            self.delivery.last = payload
            if self._watch:
                self._watch.observe((payload,))

    @property
    def deliver_all(self) -> Callable[[Sequence[bytes]], object] | None:
        """See `Receiver`. Not stored: a bound method would be a cycle, and keep the connection until a full gc."""
        return self._deliver_all if self._put_all else None

    def _deliver_all(self, payloads: Sequence[bytes]) -> None:
        """Hand many payloads to the callback at once, then to the watch."""
        assert self._put_all is not None
        try:
            self._put_all(payloads)
        finally:
            self.delivery.last = payloads[-1]
            if self._watch:
                self._watch.observe(payloads)

    def other(self, payload: bytes) -> bool:
        """Take a message without the prefix: control, data while subscriptions are awaited, garbage."""
        if payload.startswith(self._fast):
            return self._own_kind(payload)
        message = read_message(payload)
        if isinstance(message, Data):
            return self._data(message.topic, payload)
        if isinstance(message, Ack):
            self._apply(self._subscription.answered(message, self._clock()))
        elif isinstance(message, Pong):
            if message.time_ms:
                self._observe_time(message.time_ms, "pong")
            self.delivery.answered(message.req_id)
        elif isinstance(message, Malformed):
            return self._malformed(payload)
        elif isinstance(message, Unknown):
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
        about = self._about
        held = self._tracebacks.allow(f"{about.market} {about.kind} {type(error).__name__}", self._clock())
        if held is not None:
            log.error("callback_failed", market=about.market, kind=about.kind, held_back=held, exc_info=error)

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
        if self.delivery.is_unanswered(now_s):
            raise StreamSilentError(f"no answer to ping within {self._about.pong_timeout_s:g} s")
        if (topics := self._changed()) is not None:
            self._set_topics(topics, now_s)
        if (change := self._subscription.due(now_s)) is not NOTHING:
            self._apply(change)
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
        if self._watch:
            self._watch.set_topics(topics)
        self._events.set_topics(topics)
        self._apply(self._subscription.set_topics(topics, now_s))

    def _own_kind(self, payload: bytes) -> bool:
        """Deliver a message of the subscribed kind while acknowledgements are awaited, or one that is cut off."""
        if not payload.endswith(b"}"):
            self._report("malformed_json", payload)
            self._mark_lost(payload)
        elif not self._subscription.is_settled and (found := _TOPIC.search(payload)):
            self._apply(self._subscription.data_received(found[1].decode(errors="replace")))
        self.deliver(payload)
        return True

    def _data(self, topic: str, payload: bytes) -> bool:
        if not topic.startswith(self._topic_kind):
            self._report("unknown_topic", payload)
            if not topic.startswith(OTHER_KINDS):
                self._mark_lost(payload)
        self._apply(self._subscription.data_received(topic))
        self.deliver(payload)
        return True

    def _malformed(self, payload: bytes) -> bool:
        """Drop what is no JSON, but deliver what begins like data."""
        self._report("malformed_json", payload)
        self._mark_lost(payload)
        if not payload.startswith((b'{"topic"', self._fast)):
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
        for topic in [topic for topic in self._subscription.active if symbol_of(topic) == symbol]:
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
        named = {topic.decode(errors="replace") for topic in _TOPIC.findall(payload)} & active
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
        for topic, message in change.refused:
            log.warning("topic_refused", topic=topic, market=self._about.market, message=message[:200])
        for topic, message in change.quarantined:
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
        for request in change.send:
            self._link.send(request_message(request.op, request.req_id, request.topics))
        self.prefix = self._fast if self._subscription.is_settled else _NEVER
        if change.refused:
            self._warn_if_none_is_left()

    def _warn_if_none_is_left(self) -> None:
        """Log that no topic is left. The connection stays, because refused topics are tried again on it."""
        if self._subscription.is_settled and not self._subscription.active:
            log.error("all_topics_refused", market=self._about.market, kind=self._about.kind)

    def _send_mark(self, kind: Literal["up", "down"], topics: tuple[str, ...], at_ms: int) -> None:
        if self._mark is None or not topics:
            return
        symbols = tuple(symbol_of(topic) for topic in topics)
        marker = FeedMarker(kind, self._about.market, symbols, at_ms, id(self), self.delivery)
        try:
            self._mark(marker)
        except Exception as error:  # noqa: BLE001 - a user's callback
            self._count_failure(repr(marker).encode(), error)
