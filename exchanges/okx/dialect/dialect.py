"""OKX's public WebSocket protocol for a server: channels and their state, clients' requests and the answers.

Implements model/dialect.py (documentation pages: overview, WebSocket; error codes, WebSocket). The event loop's thread.
Raw payloads go on byte for byte; the snapshot that a new subscriber begins with is made of the payloads that passed.
A socket carries all markets, whose instruments have names of their own: topics are `channel:instId`, of no market.
Each arg of a request is answered by itself; a wrong one costs the others nothing.
"""

import asyncio
import json
import re
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec
import structlog

from exchanges.okx.candles import SERVED_BARS, candle_row, contract_size_of
from exchanges.okx.dialect.passed import PassedTopics
from exchanges.okx.dialect.state import Arg, Book
from exchanges.okx.markets import BOOKS, MARKETS
from exchanges.okx.protocol import BUSINESS, PUBLIC, arg_of, path_of
from exchanges.open_klines import OpenKlines
from model.dialect import DialectClient, DialectOptions, RawPayload, Topic, TopicPublisher, passed_on
from model.intervals import parse_interval, step_of
from model.pacing import ThrottledLogger
from model.records import Kline

log = structlog.get_logger()
_encode = msgspec.json.Encoder().encode

TRADES, TICKERS, CANDLE = "trades", "tickers", "candle"
LEVELS: Mapping[str, int] = MappingProxyType({channel: depth for depth, channel in sorted(BOOKS.items())})
"""Channels of books, each with the most levels it has."""
ALL_MARKETS = ""
UNREADABLE = (msgspec.DecodeError, ValueError, LookupError, RecursionError)
TOPICS_LIMIT = 50_000  # books and tickers kept; topics that are only delisted pile up slowly
ARG = re.compile(rb'\{"arg":\{"channel":"([^"]+)","inst(?:Id|Type)":"([^"]+)"\}')
PASSED_ON = frozenset(map(passed_on, MARKETS))

PING, PONG = "ping", "pong"
ID = re.compile(r"[A-Za-z0-9]{0,32}")
ARGS_AT_ONCE = 50  # answered in one go, with the snapshots of 50 books; then others have their turn
ARGS_WAITING = 20_000  # of one client
ECHO_LENGTH = 500  # of what a client wrote, in an answer
TOO_MANY = "Requests too frequent: as many channels as can be are passed on already"
NO_SUCH = (
    "{}rong URL or channel:{},{}:{} doesn't exist. "
    "Please use the correct URL, channel and parameters referring to API document."
)


class OkxDialect:
    """The state of all topics; see model.dialect.Dialect for the methods."""

    name = "OKX"
    paths = frozenset({PUBLIC, BUSINESS})

    def __init__(self, options: DialectOptions, clock: Callable[[], float] = time.monotonic) -> None:
        self.options = options
        self.unreadable = self.withheld = 0
        self._publisher: TopicPublisher
        self._books: dict[str, Book] = {}
        self._tickers: dict[str, bytes] = {}
        self._best: dict[str, bytes] = {}  # of smaller channels with subscribers, the last message
        self._open = OpenKlines()
        self._passed = PassedTopics(options, clock)
        steps_ms = (parse_interval(text).step_ms for text in options.intervals)
        bars = [SERVED_BARS[step_ms] for step_ms in steps_ms if step_ms in SERVED_BARS]
        self._channels = dict.fromkeys(CANDLE + bar for bar in bars)
        self._channels |= {TRADES: None} if "trades" in options.kinds else {}
        self._channels |= {TICKERS: None} if "ticker" in options.kinds else {}
        self._book = BOOKS[options.depth] if options.depth in BOOKS else BOOKS[400]
        if "orderbook" in options.kinds:
            self._channels |= {name: None for name in LEVELS if LEVELS[name] <= LEVELS[self._book]}
        self._logger = ThrottledLogger(log)

    def start(self, publisher: TopicPublisher) -> None:
        self._publisher = publisher

    def session(self, path: str, client: DialectClient) -> Callable[[str | bytes], None]:
        """Return what answers the messages of a client on one of the two paths."""
        return OkxSession(client, path, self).received

    def authorized(self, connection_id: str) -> str:
        """Return OKX's answer to a right login."""
        return _text({"event": "login", "code": "0", "msg": "", "connId": conn_id(connection_id)})

    def unauthorized(self, connection_id: str) -> str:
        """Return OKX's answer to a wrong login, or to a message that came before one."""
        return _text({"event": "error", "code": "60011", "msg": "Please log in", "connId": conn_id(connection_id)})

    def topic_of(self, payload: bytes) -> str:
        """Return the topic of a payload, "" where it has none. Fast where its arg stands first, as OKX writes it."""
        if found := ARG.match(payload):
            return f"{found[1].decode(errors='replace')}:{found[2].decode(errors='replace')}"
        try:
            arg = msgspec.json.decode(payload, type=Addressed).arg
        except (msgspec.DecodeError, ValueError, RecursionError):
            return ""
        return f"{arg.channel}:{arg.instId or arg.instType}"

    def has(self, channel: str, symbol: str) -> bool:
        """Return whether a channel of a symbol is collected."""
        return channel in self._channels and self._market_of(symbol) is not None

    def may_have(self, channel: str, of: str) -> bool:
        """Return whether a client may subscribe to a channel of what it is of: it is collected, or may be passed on."""
        return self.has(channel, of) or self._passed.may_have(channel, of)

    def subscribe(self, channel: str, of: str) -> bool:
        """Have a channel streamed for clients where it is not collected, with `apply`; False where too many are."""
        return self.has(channel, of) or self._passed.want(f"{channel}:{of}")

    def apply(self) -> None:
        """Have streamed what `subscribe` was called for."""
        self._passed.apply()

    def latest(self, market: str, topic: str) -> bytes | None:  # noqa: ARG002 - instruments have names of their own
        channel, _, symbol = topic.partition(":")
        if channel == TICKERS:
            return self._tickers.get(topic)
        return self._first_of_book(channel, symbol) if channel in LEVELS else None

    def first_message(self, topic: str) -> bytes | None:
        """Return the message that a new subscriber begins with; None where the topic has no state, or none yet."""
        channel, _, symbol = topic.partition(":")
        if topic in self._passed:
            return self._passed.first_message(topic)
        if channel == TICKERS or channel in LEVELS:
            return self.latest(ALL_MARKETS, topic)
        kline = self._open.get(ALL_MARKETS, topic)
        market = self._market_of(symbol)
        return self._candle(topic, market, kline, is_closed=False) if kline and market else None

    def take_raw(self, payloads: Sequence[RawPayload], lost: Collection[Topic]) -> None:
        """Merge payloads into their topics' state and publish them; `lost` names topics that lack older ones."""
        for market, topic in lost:
            if market in PASSED_ON:
                self._passed.lost(topic)
            elif book := self._books.get(topic):
                book.lost()
        for market, payload in payloads:
            topic = self.topic_of(payload)
            if market in PASSED_ON:
                self._take_passed(topic, payload)
            elif self._keep(topic, payload):
                if topic not in self._passed:
                    self._publisher.publish(ALL_MARKETS, topic, payload)
                if topic in self._books:
                    self._publish_best(topic.partition(":")[2], self._books[topic])

    def _take_passed(self, topic: str, payload: bytes) -> None:
        if topic not in self._passed:
            return
        try:
            is_kept = self._passed.take(topic, payload)
        except UNREADABLE:
            self._report_unreadable(topic)
            self._passed.lost(topic)
        else:
            self.withheld += not is_kept
            if is_kept:
                self._publisher.publish(ALL_MARKETS, topic, payload)

    def closed(self, market: str, klines: Sequence[Kline]) -> None:
        for kline in klines:
            if topic := _candle_topic(kline):
                self._open.closed(ALL_MARKETS, topic, kline)
                if kline.complete:
                    self._publish_candle(topic, market, kline, is_closed=True)

    def opened(self, klines: Sequence[tuple[str, Kline]]) -> None:
        """Publish the present state of the open klines that changed, and follow what is passed on."""
        for topic in self._passed.follow(self._is_wanted, self._is_collected):
            if first := self.first_message(topic):  # from here on the messages are those of another connection
                self._publisher.publish(ALL_MARKETS, topic, first)
        markets: dict[str, str] = {}
        for market, kline in klines:
            if topic := _candle_topic(kline):
                self._open.opened(ALL_MARKETS, topic, kline)
                markets[topic] = market
        for _, topic, kline in self._open.take_changed():
            self._publish_candle(topic, markets[topic], kline, is_closed=False)

    def _publish_candle(self, topic: str, market: str, kline: Kline, *, is_closed: bool) -> None:
        if topic in self._passed or not self._is_wanted(topic):
            return
        if payload := self._candle(topic, market, kline, is_closed=is_closed):
            conflate = None if is_closed else (topic, kline.timestamp)
            self._publisher.publish(ALL_MARKETS, topic, payload, conflate)

    def _candle(self, topic: str, market: str, kline: Kline, *, is_closed: bool) -> bytes | None:
        size = contract_size_of(market, kline.symbol, self.options.contract_sizes)
        row = candle_row(market, kline, size, is_closed=is_closed) if size else None
        channel = topic.partition(":")[0]
        return _encode({"arg": {"channel": channel, "instId": kline.symbol}, "data": [row]}) if row else None

    def _is_wanted(self, topic: str) -> bool:
        return self._publisher.is_wanted(ALL_MARKETS, topic)

    def _is_collected(self, topic: str) -> bool:
        channel, _, symbol = topic.partition(":")
        return self.has(channel, symbol)

    def _market_of(self, symbol: str) -> str | None:
        return next((market for market in self.options.markets if symbol in self.options.symbols(market)), None)

    def _first_of_book(self, channel: str, symbol: str) -> bytes | None:
        book, arg = self._books.get(f"{self._book}:{symbol}"), Arg(channel, symbol)
        if book is None or channel not in self._channels:
            return None
        if channel == BOOKS[400]:
            return book.snapshot(arg)
        return self._best.get(f"{channel}:{symbol}") or book.top(arg, LEVELS[channel])

    def _publish_best(self, symbol: str, book: Book) -> None:
        """Publish what a change of the collected book changes in smaller channels that have subscribers."""
        for channel in LEVELS:
            topic = f"{channel}:{symbol}"
            if channel == self._book or not self._is_wanted(topic):
                self._best.pop(topic, None)
            elif (
                topic not in self._passed
                and (made := book.top(Arg(channel, symbol), LEVELS[channel]))
                and made != self._best.get(topic)
            ):
                self._best[topic] = made
                self._publisher.publish(ALL_MARKETS, topic, made, topic)

    def _keep(self, topic: str, payload: bytes) -> bool:
        """Merge the payload into its topic's state; False where subscribers could not use it."""
        channel = topic.partition(":")[0]
        if channel == TICKERS:
            _make_room(self._tickers, topic)
            self._tickers[topic] = payload
        if channel != self._book:
            return bool(topic)
        _make_room(self._books, topic)
        book = self._books.setdefault(topic, Book())
        try:
            is_kept = book.apply(payload)
        except UNREADABLE:
            self._report_unreadable(topic)
            book.lost()
            return False
        self.withheld += not is_kept
        return is_kept

    def _report_unreadable(self, topic: str) -> None:
        self.unreadable += 1
        self._logger.warning("websocket_payload_unreadable", topic=topic)


# -- one client ---------------------------------------------------------------------------------------------


class AnyArg(msgspec.Struct):
    """What a message is of: an instrument, or a type of these."""

    channel: str
    instId: str = ""  # noqa: N815 - OKX's names
    instType: str = ""  # noqa: N815


class Addressed(msgspec.Struct):
    """What a payload is of."""

    arg: AnyArg


class OkxSession:
    """One client's subscriptions on one of the two paths."""

    def __init__(self, client: DialectClient, path: str, dialect: OkxDialect) -> None:
        self._client, self._path, self._dialect = client, path, dialect
        self._topics: dict[str, None] = {}
        self._waiting: deque[tuple[str, str, dict[str, Any]]] = deque()  # id, op and arg of what is still to be done
        self._timer: asyncio.Handle | None = None

    def received(self, message: str | bytes) -> None:
        """Answer one message; nothing that a client sends raises."""
        if message in (PING, PING.encode()):
            self._client.answer(PONG)
            return
        text = message if isinstance(message, str) else message.decode(errors="replace")
        try:
            request = msgspec.json.decode(text)
        except (msgspec.DecodeError, ValueError, RecursionError):
            request = None
        given = request.get("id", "") if isinstance(request, dict) else None
        if not isinstance(request, dict) or not isinstance(given, str) or not ID.fullmatch(given):
            self._refuse("", "60012", f"Invalid request: {text[:ECHO_LENGTH]}")
            return
        self._handle(given, request.get("op"), request.get("args"), text)

    def _handle(self, given: str, op: object, args: object, text: str) -> None:
        if op == "login":  # nothing here needs it
            self._client.answer(self._dialect.authorized(self._client.connection_id))
        elif not isinstance(op, str):
            self._refuse(given, "60012", f"Invalid request: {text[:ECHO_LENGTH]}")
        elif op not in ("subscribe", "unsubscribe"):
            self._refuse(given, "60019", f"Invalid op: {op[:ECHO_LENGTH]}")
        elif not isinstance(args, list) or not args or not all(map(_is_arg, args)):
            self._refuse(given, "60013", "Invalid args")
        elif len(self._waiting) + len(args) > ARGS_WAITING:
            self._refuse(given, "60014", "Requests too frequent")
        else:
            self._waiting.extend((given, op, arg) for arg in args)
            if self._timer is None:
                self._work()

    def _work(self) -> None:
        """Answer what waits, some at once; then the next when others had their turn."""
        self._timer = None
        if not self._client.is_open:
            self._waiting.clear()
            return
        work = [self._waiting.popleft() for _ in range(min(ARGS_AT_ONCE, len(self._waiting)))]
        done = [(given, *self._change(op, arg)) for given, op, arg in work]
        self._client.subscribe(ALL_MARKETS, self._topics)
        self._dialect.apply()
        for given, message, topic in done:
            self._answer(given, message)
            if topic and (first := self._dialect.first_message(topic)):
                self._client.send(first)
        if self._waiting:
            self._timer = asyncio.get_running_loop().call_soon(self._work)

    def _change(self, op: str, arg: dict[str, Any]) -> tuple[dict[str, Any], str]:
        """Subscribe or unsubscribe an arg; returns the answer, and the topic that is new, "" where none is.

        To subscribe again, or to unsubscribe what is not subscribed, is no mistake.
        """
        channel = arg["channel"]
        name = next((each for each in ("instId", arg_of(channel)) if each in arg), arg_of(channel))
        of = arg.get(name, "null")
        topic, answer = f"{channel}:{of}", {"event": op, "arg": {"channel": channel, name: of}}
        if op == "unsubscribe":
            self._topics.pop(topic, None)
            return answer, ""
        if topic in self._topics:
            return answer, ""
        is_here = path_of(channel) == self._path
        if not (is_here and name == arg_of(channel) and self._dialect.may_have(channel, of)):
            text = NO_SUCH.format("W" if is_here else "Subscribe failed, w", channel, name, of)
            return {"event": "error", "msg": text[:ECHO_LENGTH], "code": "60018"}, ""
        if not self._dialect.subscribe(channel, of):
            return {"event": "error", "msg": TOO_MANY, "code": "60014"}, ""
        self._topics[topic] = None
        return answer, topic

    def _refuse(self, given: str, code: str, text: str) -> None:
        self._answer(given, {"event": "error", "msg": text, "code": code})

    def _answer(self, given: str, message: dict[str, Any]) -> None:
        """Answer with the id of the request, where it had one."""
        echo = {"id": given} if given else {}
        self._client.answer(_text({**echo, **message, "connId": conn_id(self._client.connection_id)}))


def conn_id(connection_id: str) -> str:
    """Return a connection's id as OKX writes them."""
    return connection_id.replace("-", "")[:8]


def _candle_topic(kline: Kline) -> str:
    """The topic of a kline; "" for an interval that OKX does not have."""
    bar = SERVED_BARS.get(step_of(kline.interval, kline.timestamp))
    return f"{CANDLE}{bar}:{kline.symbol}" if bar else ""


def _make_room(kept: dict[str, Any], topic: str) -> None:
    if topic not in kept and len(kept) >= TOPICS_LIMIT:
        del kept[next(iter(kept))]


def _is_arg(arg: object) -> bool:
    """Whether it names a channel, and what it is of, if it does, by a text."""
    if not isinstance(arg, dict) or not isinstance(channel := arg.get("channel"), str):
        return False
    return all(isinstance(arg.get(name, ""), str) for name in ("instId", arg_of(channel)))


def _text(message: object) -> str:
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False)
