"""Binance's public WebSocket streams for a server, in Binance's own frames: what is collected, and all else passed on.

Implements model/dialect.py. The event loop's thread. Streams begin with the next message, as at Binance: a book of
changes is joined to the REST API's by its ids, which also show clients where messages were lost. Klines are passed on:
Binance's have volumes of taker buys and ids of trades, which ours do not.
"""

from collections.abc import Callable, Collection, Sequence

import structlog

from exchanges.binance.dialect.session import BinanceSession, answer, refusal
from exchanges.binance.dialect.streams import Form, Paths, Stream, Streams, topic_of
from exchanges.binance.markets import MARKETS
from model.dialect import DialectClient, DialectOptions, RawPayload, Topic, TopicPublisher, passed_on
from model.pacing import ThrottledLogger
from model.records import Kline

log = structlog.get_logger()

NO_PERMISSION = -2015
PASSED_ON_MOST = 1_000  # streams of all clients together that are passed on
PASSED_ON = frozenset(map(passed_on, MARKETS))
ANY_MARKET = ""  # the publisher's market: a client's streams may be of several, and are told apart by key


class BinanceDialect:
    """The streams of all markets; see model.dialect.Dialect for the methods."""

    name = "Binance"

    def __init__(self, options: DialectOptions) -> None:
        self.paths = Paths()
        self.streams = Streams(options)
        self.unreadable = 0
        self._publisher: TopicPublisher
        self._forms: dict[Topic, dict[str, Form]] = {}  # of what clients have subscribed, by the key of each
        self._pass_on = options.pass_on
        self._passed_on: set[Topic] = set()
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

    def has_room(self, streams: Collection[Stream]) -> bool:
        """Return whether clients may have these streams, too."""
        new = {(each.market, each.topic) for each in streams if each.is_passed_on} - self._passed_on
        return not new or len(self._passed_on) + len(new) <= PASSED_ON_MOST

    def subscribe(self, stream: Stream, name: str, *, is_combined: bool) -> str:
        """Return the publisher's topic of a stream as a client wants it; its messages go there while it is wanted."""
        market, topic = stream.source
        key = f"{market}/{'stream' if is_combined else 'ws'}/{name}"
        forms = self._forms.setdefault((market, topic), {})
        if key not in forms:
            forms[key] = Form(stream, name, is_combined)
        if stream.is_passed_on and self._pass_on and (stream.market, topic) not in self._passed_on:
            self._passed_on.add((stream.market, topic))
            self._pass_on(self._passed_on)
        return key

    def latest(self, market: str, topic: str) -> bytes | None:  # noqa: ARG002 - none is kept
        return None

    def take_raw(self, payloads: Sequence[RawPayload], lost: Collection[Topic]) -> None:
        """Publish payloads to those who subscribed to a stream that is made of them.

        Of what is passed on nothing shows that some are missing: the connections of its subscribers are closed.
        """
        if not self._forms:
            return
        for market, payload in payloads:
            topic = topic_of(payload)
            if (market, topic) in self._forms:
                self._publish(market, topic, payload)

        for source in lost:
            if source[0] in PASSED_ON:
                for key in self._forms.get(source, ()):
                    self._publisher.interrupt(ANY_MARKET, key)

    def closed(self, market: str, klines: Sequence[Kline]) -> None:
        """Take klines: they are not served."""

    def opened(self, klines: Sequence[tuple[str, Kline]]) -> None:  # noqa: ARG002 - they are not served
        """End what is passed on and nobody wants any more."""
        for market, topic in list(self._passed_on):
            source = Stream(market, topic, is_passed_on=True).source
            if not any(self._publisher.is_wanted(ANY_MARKET, key) for key in self._forms.get(source, ())):
                self._forms.pop(source, None)
                self._passed_on.discard((market, topic))
                if self._pass_on:
                    self._pass_on(self._passed_on)

    def _publish(self, market: str, topic: str, payload: bytes) -> None:
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
            self._publisher.publish(ANY_MARKET, key, message)
        if not forms:
            del self._forms[market, topic]
