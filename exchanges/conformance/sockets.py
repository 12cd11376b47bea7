"""Checks of a venue's streams against its simulated exchange, over real sockets. Blocks the main thread.

The sockets are those of the library `websockets`, not the collector's own.
"""

import time
from collections.abc import Callable, Iterator, Sequence

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from exchanges.conformance.process import Simulated, simulated
from exchanges.conformance.recordings import begins_as
from exchanges.conformance.report import Failed, NotRun, expect
from exchanges.contract import Venue
from model.batches import batches
from model.protocol import Answer, Data, Malformed, Message, Ping, Pong, StreamProtocol, Unknown
from model.records import Kind

LIMIT_S = 30.0  # for an acknowledgement and the first data of a topic
SILENT_S = 0.7  # so long is waited for data that must not come
UNKNOWN = "NOSUCHUSDT"
IDLE_S = 2.0  # after which the second simulated exchange ends a connection
PING_S, KEPT_S = 0.5, 5.0
REQ_ID, LEAVING_ID, PING_ID = "1", "2", "3"


def kinds_are_streamed(venue: Venue, exchange: Simulated) -> str:
    """Each kind of each market is acknowledged and brings data of the topic that was asked for, as its declaration says
    they look; once it is left, and that is acknowledged, nothing more of it comes.
    """
    count = 0
    for protocol, kind, topics in _streams(venue, exchange, lambda market: exchange.markets[market][:2]):
        what = f"{protocol.market} {kind}"
        with _connected(exchange, protocol, kind, topics) as socket:
            _subscribe(socket, protocol, topics)
            _await_data(socket, protocol, kind, topics, what)
            socket.send(protocol.unsubscribe(LEAVING_ID, topics))
            _await_left(socket, protocol, topics, what)
        count += 1
    return f"{count} streams"


def unknown_symbols_bring_no_data(venue: Venue, exchange: Simulated) -> str:
    """A symbol that is not listed is refused by name or id, or it is acknowledged and nothing comes; never data."""
    found = set()
    for protocol, kind, topics in _streams(venue, exchange, lambda _market: [UNKNOWN]):
        if protocol.frames(kind, topics).is_market_wide:
            continue
        with _connected(exchange, protocol, kind, topics) as socket:
            _subscribe(socket, protocol, topics)
            messages = [message for _, message in _received(socket, protocol, SILENT_S)]
        data = [message for message in messages if isinstance(message, Data) and message.topic in topics]
        expect(not data, f"{protocol.market} {kind}: data of {topics}")
        answers = [message for message in messages if isinstance(message, Answer)]
        refusals = [each for each in answers if not each.success or each.refused]
        expect(all(each.req_id or each.refused or each.named for each in refusals), f"of what is refused: {refusals}")
        found.add("refused" if refusals else "acknowledged, and silent" if answers else "silent")
    return ", ".join(sorted(found))


def pings_keep_a_connection(venue: Venue, _exchange: Simulated) -> str:
    """A connection without data lives through the exchange's idle limit by the declared pings, whose answers are read
    as pongs; one that does not ping is ended.
    """
    with simulated(venue, "--rate", 0, "--idle-timeout-s", IDLE_S) as quiet:
        protocol, kind, topics = next(_streams(venue, quiet, lambda market: quiet.markets[market][:1]))
        with _connected(quiet, protocol, kind, topics) as socket:
            pongs, pings = _ping_for(socket, protocol, KEPT_S)
            expect(protocol.keep_alive.text is None or pongs, f"none of {pings} pings was answered with a pong")
        with _connected(quiet, protocol, kind, topics) as socket:
            is_ended = _is_ended(socket, 3 * IDLE_S)
    return f"{pings} pings in {KEPT_S:g} s; without them it {'is ended' if is_ended else 'is kept, too'}"


CHECKS: tuple[Callable[[Venue, Simulated], str], ...] = (
    kinds_are_streamed,
    unknown_symbols_bring_no_data,
    pings_keep_a_connection,
)


def _streams(
    venue: Venue, exchange: Simulated, symbols: Callable[[str], Sequence[str]]
) -> Iterator[tuple[StreamProtocol, Kind, list[str]]]:
    """Every kind, and every depth of books, of the markets that the simulated exchange has, with topics."""
    for market in exchange.markets:
        spec = venue.markets[market]
        protocol = venue.protocol(market, exchange.endpoints)
        for kind in spec.kinds:
            if kind != "topics":
                for depth in spec.depths if kind == "orderbook" else spec.depths[:1] or (0,):
                    yield protocol, kind, protocol.topics(kind, list(symbols(market)), depth)


def _connected(exchange: Simulated, protocol: StreamProtocol, kind: Kind, topics: Sequence[str]) -> ClientConnection:
    exchange.wait_to_connect()
    url = protocol.resolve(protocol.endpoint(kind, topics))
    return connect(url, proxy=None, ping_interval=None, max_size=None, open_timeout=LIMIT_S, close_timeout=1.0)


def _subscribe(socket: ClientConnection, protocol: StreamProtocol, topics: Sequence[str]) -> None:
    for batch in batches(topics, protocol.limits):
        socket.send(protocol.subscribe(REQ_ID, batch))


def _received(socket: ClientConnection, protocol: StreamProtocol, limit_s: float) -> Iterator[tuple[bytes, Message]]:
    """What arrives within a time; the exchange's pings are answered."""
    deadline_s = time.monotonic() + limit_s
    while (left_s := deadline_s - time.monotonic()) > 0:
        try:
            received = socket.recv(timeout=left_s, decode=False)
        except TimeoutError:
            return
        payload = bytes(received)
        if protocol.inflate is not None and payload[:1] not in b"{[":
            payload = protocol.inflate(payload)
        message = protocol.read(payload)
        if isinstance(message, Ping):
            socket.send(message.reply)
        yield payload, message


def _await_data(
    socket: ClientConnection, protocol: StreamProtocol, kind: Kind, topics: Sequence[str], what: str
) -> None:
    """Wait for an acknowledgement of each topic, or one of all, and for data; Failed for what is not as declared."""
    waiting, unheard, is_answered = set(topics), set(topics), False
    for payload, message in _received(socket, protocol, LIMIT_S):
        expect(not isinstance(message, Unknown | Malformed), f"{what}: {payload[:200]!r} is of no known kind")
        if isinstance(message, Answer):
            expect(message.success and not message.refused, f"{what}: refused: {message}")
            expect(message.req_id in ("", REQ_ID), f"{what}: the answer has another id: {message}")
            unheard -= set(message.accepted or topics)
            is_answered = True
        elif isinstance(message, Data):
            _expect_as_declared(protocol, kind, payload, message.topic, what)
            waiting.discard(message.topic)
        if not waiting and not unheard and is_answered:
            return
    raise Failed(f"{what}: within {LIMIT_S:g} s no data of {sorted(waiting)}, no acknowledgement of {sorted(unheard)}")


def _expect_as_declared(protocol: StreamProtocol, kind: Kind, payload: bytes, topic: str, what: str) -> None:
    of = protocol.read_topic(topic)
    expect(of is not None and of[0] == kind, f"{what}: data of {topic}, which is read as {of}")
    assert of is not None
    declared = protocol.frames(kind, [topic])
    expect(begins_as(protocol, of, topic, payload), f"{what}: begins with {payload[:80]!r}, not {declared.prefix!r}")
    key = protocol.key_of(kind, topic)
    expect(declared.key_in(payload) == key, f"{what}: the key is {declared.key_in(payload)!r}, not {key!r}")
    is_timed = kind == "trades" or declared.sequence is not None  # whole books of some have no time
    expect(not is_timed or declared.sent.search(payload), f"{what}: no time in {payload[:200]!r}")


def _await_left(socket: ClientConnection, protocol: StreamProtocol, topics: Sequence[str], what: str) -> None:
    """Wait for the answer to unsubscribe; after it there is no data of these topics."""
    unheard = set(topics)
    for _, message in _received(socket, protocol, LIMIT_S):
        if isinstance(message, Answer) and (message.req_id == LEAVING_ID or message.is_unsubscribe):
            expect(message.success, f"{what}: leaving is refused: {message}")
            unheard -= set(message.accepted or topics)
            if not unheard:
                break
    else:
        raise Failed(f"{what}: no answer to unsubscribe within {LIMIT_S:g} s")
    late = [message for _, message in _received(socket, protocol, 0.3) if isinstance(message, Data)]
    expect(not late, f"{what}: data after the answer to unsubscribe: {late[:1]}")


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


def _is_ended(socket: ClientConnection, limit_s: float) -> bool:
    try:
        socket.recv(timeout=limit_s)
    except TimeoutError:
        return False
    except ConnectionClosed:
        return True
    raise NotRun("there is data although the market is quiet")
