"""Checks of a venue's streams against its simulated exchange, over real sockets. Blocks the main thread.

The sockets are those of the library `websockets`, not the collector's own.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from exchanges.conformance.declaration import NOWHERE_REST, NOWHERE_WS
from exchanges.conformance.process import Simulated, simulated
from exchanges.conformance.protocol import reporting
from exchanges.conformance.recorded import expect_trades, is_time_as_declared
from exchanges.conformance.recordings import begins_as
from exchanges.conformance.report import Failed, NotRun, expect
from exchanges.contract import DecodeTrades, Endpoints, TradeRules, Venue
from model.batches import batches
from model.protocol import Answer, Data, Malformed, Message, Ping, Pong, StreamProtocol, Unknown, Welcome
from model.records import Kind

LIMIT_S = 30.0  # for an acknowledgement and the first data of a topic
FOLLOWING = 20  # messages of each book that are held against its rule
SILENT_S = 0.7  # so long is waited for data that must not come
UNKNOWN = "NOSUCHUSDT"
IDLE_S = (
    3.0  # after which the second simulated exchange ends a connection; a busy machine may be late by a second or two
)
PING_S, KEPT_S = 0.5, 4.5
FIRST_ID, LEAVING_ID, PING_ID = 1, 1001, "3"
LATE_S = 0.3  # after which nothing of a topic that was left may come any more


@dataclass(frozen=True)
class Watched:
    """One stream of a venue, and what its trades are decoded with."""

    venue: Venue
    protocol: StreamProtocol
    kind: Kind
    topics: Sequence[str]
    decode: DecodeTrades
    reports: list[str] = field(default_factory=list)

    @property
    def what(self) -> str:
        """Its name in sentences."""
        return f"{self.protocol.market} {self.kind}"


def kinds_are_streamed(venue: Venue, exchange: Simulated) -> str:
    """Each kind of each market is acknowledged and brings data of the topic that was asked for, as its declaration says
    they look, trades oldest first; once it is left, and that is acknowledged, nothing more of it comes.
    """
    count = 0
    for stream in _streams(venue, exchange, lambda market: exchange.markets[market][:2]):
        with _connected(exchange, stream) as socket:
            _await_data(socket, stream, _send(socket, stream, stream.protocol.subscribe, FIRST_ID))
            _await_left(socket, stream, _send(socket, stream, stream.protocol.unsubscribe, LEAVING_ID))
        count += 1
    return f"{count} streams"


def books_follow_each_other(venue: Venue, exchange: Simulated) -> str:
    """Where the messages of an order book have ids, each follows the one before by the declared rule."""
    count, found = 0, set()
    for stream in _streams(venue, exchange, lambda market: exchange.markets[market][:1]):
        declared = stream.protocol.frames(stream.kind, stream.topics)
        if stream.kind != "orderbook" or (rule := declared.sequence) is None:
            continue
        last, followed = None, 0
        with _connected(exchange, stream) as socket:
            _send(socket, stream, stream.protocol.subscribe, FIRST_ID)
            for payload, message in _received(socket, stream.protocol, LIMIT_S):
                if not isinstance(message, Data):
                    continue
                own = rule.own.search(payload)
                expect(own, f"{stream.what}: no id in {payload[:200]!r}")
                assert own is not None
                if last is not None and not (declared.snapshot and declared.snapshot.search(payload)):
                    link = rule.link % (last + rule.step)
                    expect(
                        link in payload, f"{stream.what}: {link!r} is not in {payload[:200]!r}, which follows {last}"
                    )
                    followed += 1
                last = int(own[1])
                if followed == FOLLOWING:
                    break
            else:
                raise Failed(f"{stream.what}: {followed} messages followed within {LIMIT_S:g} s")
        count += followed
        found.add(stream.protocol.market)
    return f"{count} messages of {', '.join(sorted(found))}" if found else "does not apply: no book has ids"


def unknown_symbols_bring_no_data(venue: Venue, exchange: Simulated) -> str:
    """A symbol that is not listed is refused by name or id, or acknowledged and silent, as the venue declares; there is
    never data.
    """
    found = set()
    one_of_each = {each.what: each for each in _streams(venue, exchange, lambda _market: [UNKNOWN])}  # depths are alike
    for stream in one_of_each.values():
        if stream.protocol.frames(stream.kind, stream.topics).is_market_wide:
            continue
        with _connected(exchange, stream) as socket:
            _send(socket, stream, stream.protocol.subscribe, FIRST_ID)
            messages: list[Message] = []
            for _, message in _received(socket, stream.protocol, SILENT_S):
                messages.append(message)
                if isinstance(message, Answer) and (not message.success or message.refused):
                    break
        data = [message for message in messages if isinstance(message, Data) and message.topic in stream.topics]
        expect(not data, f"{stream.what}: data of {stream.topics}")
        answers = [message for message in messages if isinstance(message, Answer)]
        refusals = [each for each in answers if not each.success or each.refused]
        is_told = all(each.req_id or each.refused or each.named or each.of for each in refusals)
        expect(is_told, f"{stream.what}: of what is refused: {refusals}")
        refuses = venue.refuses_unknown
        is_refused = refuses if isinstance(refuses, bool) else stream.kind in refuses
        declared = "refused" if is_refused else "not refused"
        expect(bool(refusals) == is_refused, f"{stream.what}: {UNKNOWN}, declared as {declared}: {answers}")
        found.add("refused" if refusals else "acknowledged, and silent" if answers else "silent")
    return ", ".join(sorted(found))


def what_a_dial_needs_first_may_fail(venue: Venue, _exchange: Simulated) -> str:
    """Where something is asked for before a dial, such as a token, what cannot be had raises ConnectionError."""
    found = set()
    for name in venue.markets:
        protocol = venue.protocol(name, Endpoints(ws_url=NOWHERE_WS, rest_url=NOWHERE_REST))
        endpoint = protocol.endpoint("trades", protocol.topics("trades", "BTCUSDT", 0))
        try:
            expect(protocol.resolve(endpoint) == endpoint, f"{name}: {endpoint} was changed, although nothing answers")
            found.add("does not apply: nothing is asked for")
        except ConnectionError as error:
            found.add(str(error))
    return ", ".join(sorted(found))


def pings_keep_a_connection(venue: Venue, _exchange: Simulated) -> str:
    """A connection without data lives through the exchange's idle limit by the declared pings, whose answers are read
    as pongs; one that does not ping is ended.
    """
    with simulated(venue, "--rate", 0, "--idle-timeout-s", IDLE_S) as quiet:
        stream = next(_streams(venue, quiet, lambda market: quiet.markets[market][:1]))
        with _connected(quiet, stream) as socket:
            pongs, pings = _ping_for(socket, stream.protocol, KEPT_S)
            is_answered = stream.protocol.keep_alive.text is None or pongs
            expect(is_answered, f"none of {pings} pings was answered with a pong")
        with _connected(quiet, stream) as socket:
            is_ended = _is_ended(socket, stream.protocol, 3 * IDLE_S)
    return f"{pings} pings in {KEPT_S:g} s; without them it {'is ended' if is_ended else 'is kept, too'}"


CHECKS: tuple[Callable[[Venue, Simulated], str], ...] = (
    kinds_are_streamed,
    books_follow_each_other,
    unknown_symbols_bring_no_data,
    what_a_dial_needs_first_may_fail,
    pings_keep_a_connection,
)


def _streams(venue: Venue, exchange: Simulated, symbols: Callable[[str], Sequence[str]]) -> Iterator[Watched]:
    """Every kind, and every depth of books, of the markets that the simulated exchange has, with topics."""
    for market in exchange.markets:
        spec = venue.markets[market]
        protocol = venue.protocol(market, exchange.endpoints)
        for kind in spec.kinds:
            if kind != "topics":
                for depth in spec.depths if kind == "orderbook" else spec.depths[:1] or (0,):
                    reports: list[str] = []
                    decode = venue.decoder(market, TradeRules(), reporting(reports))
                    topics = protocol.topics(kind, list(symbols(market)), depth)
                    yield Watched(venue, protocol, kind, topics, decode, reports)


def _connected(exchange: Simulated, stream: Watched) -> ClientConnection:
    """An open connection; of an exchange that welcomes its clients, one that was welcomed."""
    exchange.wait_to_connect()
    protocol = stream.protocol
    url = protocol.resolve(protocol.endpoint(stream.kind, stream.topics))
    socket = connect(
        url,
        proxy=None,
        ping_interval=None,
        max_size=None,
        open_timeout=LIMIT_S,
        close_timeout=1.0,
        additional_headers=exchange.headers,
    )
    if protocol.keep_alive.is_welcomed:
        messages = (message for _, message in _received(socket, protocol, LIMIT_S))
        if not any(isinstance(message, Welcome) for message in messages):
            socket.close()
            raise Failed(f"{stream.what}: no welcome within {LIMIT_S:g} s")
    return socket


def _send(
    socket: ClientConnection, stream: Watched, request: Callable[[str, Sequence[str]], str], first_id: int
) -> Mapping[str, Sequence[str]]:
    """Send the requests of all topics, as fast as the exchange allows; returns the topics of each by its id."""
    limits = stream.protocol.limits
    sent = {str(number): batch for number, batch in enumerate(batches(stream.topics, limits), first_id)}
    for req_id, batch in sent.items():
        socket.send(request(req_id, batch))
        if limits.messages_per_s:
            time.sleep(1 / limits.messages_per_s)
    return sent


def _received(socket: ClientConnection, protocol: StreamProtocol, limit_s: float) -> Iterator[tuple[bytes, Message]]:
    """What arrives within a time, binary frames inflated; the exchange's pings are answered."""
    deadline_s = time.monotonic() + limit_s
    while (left_s := deadline_s - time.monotonic()) > 0:
        try:
            payload, message = _next(socket, protocol, left_s)
        except TimeoutError:
            return
        if isinstance(message, Ping):
            socket.send(message.reply)
        yield payload, message


def _next(socket: ClientConnection, protocol: StreamProtocol, limit_s: float) -> tuple[bytes, Message]:
    received = socket.recv(timeout=limit_s)
    if isinstance(received, str):
        payload = received.encode()
    elif protocol.inflate is None:
        raise Failed(f"{protocol.market}: a binary frame, but there is nothing to inflate it: {received[:40]!r}")
    else:
        payload = protocol.inflate(received)
    return payload, protocol.read(payload)


def _await_data(socket: ClientConnection, stream: Watched, sent: Mapping[str, Sequence[str]]) -> None:
    """Wait for an acknowledgement of each topic or request, and for data; Failed for what is not as declared."""
    what, waiting, unheard = stream.what, set(stream.topics), set(stream.topics)
    declared = stream.protocol.frames(stream.kind, stream.topics)
    for payload, message in _received(socket, stream.protocol, LIMIT_S):
        expect(not isinstance(message, Unknown | Malformed), f"{what}: {payload[:200]!r} is of no known kind")
        if isinstance(message, Answer):
            expect(message.success and not message.refused, f"{what}: refused: {message}")
            expect(message.req_id in ("", *sent), f"{what}: the answer has another id: {message}")
            unheard -= _answered(message, sent)
        elif isinstance(message, Data):
            _expect_as_declared(stream, payload, message.topic)
            waiting.discard(message.topic)
        if not isinstance(message, Data):
            is_taken = declared.is_data(payload)
            expect(not is_taken, f"{what}: what is no data begins as data do: {payload[:80]!r}")
        if not waiting and not unheard:
            return
    raise Failed(f"{what}: within {LIMIT_S:g} s no data of {sorted(waiting)}, no acknowledgement of {sorted(unheard)}")


def _answered(answer: Answer, sent: Mapping[str, Sequence[str]]) -> set[str]:
    """The topics that an answer is of: those it lists, else those of its request, else, as it has no id, of all."""
    if listed := answer.accepted or answer.of:
        requests = [batch for batch in sent.values() if answer.of and set(answer.of) & set(batch)]
        return {*listed, *(topic for batch in requests for topic in batch)}
    return set(sent.get(answer.req_id) or (topic for batch in sent.values() for topic in batch))


def _expect_as_declared(stream: Watched, payload: bytes, topic: str) -> None:
    protocol, kind, what = stream.protocol, stream.kind, stream.what
    of = protocol.read_topic(topic)
    expect(of is not None and of[0] == kind, f"{what}: data of {topic}, which is read as {of}")
    assert of is not None
    declared = protocol.frames(kind, [topic])
    expect(begins_as(protocol, of, topic, payload), f"{what}: begins with {payload[:80]!r}, not {declared.prefix!r}")
    key = protocol.key_of(kind, topic)
    expect(declared.key_in(payload) == key, f"{what}: the key is {declared.key_in(payload)!r}, not {key!r}")
    expect(is_time_as_declared(kind, declared, payload), f"{what}: no time of today in {payload[:200]!r}")
    if kind == "trades":
        batch = stream.decode([payload])
        expect(batch.symbols or batch.uncounted, f"{what}: no trade is read in {payload[:200]!r}: {stream.reports}")
        expect_trades(stream.venue, batch, payload)


def _await_left(socket: ClientConnection, stream: Watched, sent: Mapping[str, Sequence[str]]) -> None:
    """Wait for the answers to unsubscribe; after them there is no data of these topics."""
    unheard = set(stream.topics)
    for _, message in _received(socket, stream.protocol, LIMIT_S):
        if isinstance(message, Answer) and (message.req_id in sent or message.is_unsubscribe):
            expect(message.success, f"{stream.what}: leaving is refused: {message}")
            unheard -= _answered(message, sent)
            if not unheard:
                break
    else:
        raise Failed(f"{stream.what}: no answer to unsubscribe within {LIMIT_S:g} s")
    late = [message for _, message in _received(socket, stream.protocol, LATE_S) if isinstance(message, Data)]
    expect(not late, f"{stream.what}: data after the answer to unsubscribe: {late[:1]}")


def _ping_for(socket: ClientConnection, protocol: StreamProtocol, limit_s: float) -> tuple[int, int]:
    """Ping as declared for a time; returns how many texts were pongs, and how many pings were sent."""
    pongs = pings = 0
    deadline_s = time.monotonic() + limit_s
    text = protocol.keep_alive.text
    try:
        while time.monotonic() < deadline_s:
            if text is None:
                expect(socket.ping().wait(LIMIT_S), "a ping frame was not answered")
            else:
                socket.send(text(PING_ID))
            pings += 1
            pongs += sum(isinstance(message, Pong) for _, message in _received(socket, protocol, PING_S))
    except ConnectionClosed as error:
        raise Failed(f"ended after {pings} pings: {error}") from None
    return pongs, pings


def _is_ended(socket: ClientConnection, protocol: StreamProtocol, limit_s: float) -> bool:
    """Whether a connection that answers nothing is ended within a time."""
    deadline_s = time.monotonic() + limit_s
    try:
        while (left_s := deadline_s - time.monotonic()) > 0:
            if isinstance(_next(socket, protocol, left_s)[1], Data):
                raise NotRun("there is data although the market is quiet")
    except TimeoutError:
        pass
    except ConnectionClosed:
        return True
    return False
