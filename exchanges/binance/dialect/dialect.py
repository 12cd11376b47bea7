"""Binance's public WebSocket streams for a server: what is collected, in Binance's own frames.

Implements model/dialect.py. The event loop's thread. Streams begin with the next message, as at Binance: a book of
changes is joined to the REST API's by its ids, which also show clients where messages were lost.
"""

from collections.abc import Callable, Collection, Sequence

import structlog

from exchanges.binance.dialect.klines import kline_message
from exchanges.binance.dialect.session import BinanceSession, answer, refusal
from exchanges.binance.dialect.streams import Form, Paths, Stream, Streams, topic_of
from exchanges.open_klines import OpenKlines
from model.clock import now_ms
from model.dialect import DialectClient, DialectOptions, RawPayload, Topic, TopicPublisher
from model.pacing import ThrottledLogger
from model.records import Kline

log = structlog.get_logger()

NO_PERMISSION = -2015
ANY_MARKET = ""  # the publisher's market: a client's streams may be of several, and are told apart by key


class BinanceDialect:
    """The streams of all markets; see model.dialect.Dialect for the methods."""

    name = "Binance"

    def __init__(self, options: DialectOptions) -> None:
        self.options = options
        self.paths = Paths()
        self.streams = Streams(options)
        self.unreadable = 0
        self._publisher: TopicPublisher
        self._forms: dict[Topic, dict[str, Form]] = {}  # of what clients have subscribed, by the key of each
        self._open = OpenKlines()
        self._logger = ThrottledLogger(log)

    def start(self, publisher: TopicPublisher) -> None:
        self._publisher = publisher

    def session(self, path: str, client: DialectClient) -> Callable[[str | bytes], None]:
        """Return what answers the messages of a client; the streams that its URL names are subscribed at once."""
        return BinanceSession(client, path, self).received

    def authorized(self, connection_id: str) -> str:  # noqa: ARG002 - answers carry no id of a connection
        """Return the answer to a right login: Binance's own to any request."""
        return answer(None, None)

    def unauthorized(self, connection_id: str) -> str:  # noqa: ARG002
        """Return Binance's answer to a wrong key."""
        return refusal(NO_PERMISSION, "Invalid API-key, IP, or permissions for action.", None)

    def topic_of(self, payload: bytes) -> str:
        return topic_of(payload)

    def subscribe(self, stream: Stream, name: str, *, is_combined: bool) -> str:
        """Return the publisher's topic of a stream as a client wants it; its messages go there while it is wanted."""
        key = f"{stream.market}/{'stream' if is_combined else 'ws'}/{name}"
        forms = self._forms.setdefault((stream.market, stream.topic), {})
        if key not in forms:
            forms[key] = Form(stream, name, is_combined)
        return key

    def latest(self, market: str, topic: str) -> bytes | None:  # noqa: ARG002 - none is kept
        return None

    def first_message(self, stream: Stream, name: str, *, is_combined: bool) -> bytes | None:
        """Return the state that a new subscriber begins with: that of an open kline; None where there is none."""
        kline = self._open.get(stream.market, stream.topic)
        message = self._message(stream.market, stream.topic, kline, is_closed=False) if kline else None
        return Form(stream, name, is_combined)(message) if message else None

    def take_raw(self, payloads: Sequence[RawPayload], lost: Collection[Topic]) -> None:  # noqa: ARG002 - ids show it
        """Publish payloads to those who subscribed to a stream that is made of them."""
        if not self._forms:
            return
        for market, payload in payloads:
            topic = topic_of(payload)
            if (market, topic) in self._forms:
                self._publish(market, topic, payload)

    def closed(self, market: str, klines: Sequence[Kline]) -> None:
        for kline in klines:
            topic = self.streams.kline_topic(market, kline)
            if topic is not None:
                self._open.closed(market, topic, kline)
                self._publish_kline(market, topic, kline, is_closed=True)

    def opened(self, klines: Sequence[tuple[str, Kline]]) -> None:
        """Publish the present state of the open klines that changed."""
        for market, kline in klines:
            if topic := self.streams.kline_topic(market, kline):
                self._open.opened(market, topic, kline)
        for market, topic, kline in self._open.take_changed():
            self._publish_kline(market, topic, kline, is_closed=False)

    def _publish_kline(self, market: str, topic: str, kline: Kline, *, is_closed: bool) -> None:
        if (market, topic) in self._forms and (message := self._message(market, topic, kline, is_closed=is_closed)):
            self._publish(market, topic, message, None if is_closed else kline.timestamp)

    def _message(self, market: str, topic: str, kline: Kline, *, is_closed: bool) -> bytes | None:
        """Write a kline; None where it is not known yet what a contract is."""
        size = self.options.contract_sizes(market, kline.symbol) if market == "inverse" else None
        if market == "inverse" and not size:
            return None
        return kline_message(topic, kline, now_ms(), is_closed=is_closed, contract_size=size)

    def _publish(self, market: str, topic: str, payload: bytes, conflate: object = None) -> None:
        forms = self._forms[market, topic]
        for key, form in list(forms.items()):
            if not self._publisher.is_wanted(ANY_MARKET, key):
                del forms[key]
                continue
            try:
                message = form(payload)
            except (ValueError, RecursionError):  # msgspec.DecodeError is a ValueError
                self.unreadable += 1
                self._logger.warning("websocket_payload_unreadable", topic=topic)
                continue
            self._publisher.publish(ANY_MARKET, key, message, conflate and (key, conflate))
        if not forms:
            del self._forms[market, topic]
