"""Checks of a venue's protocol and decoders on made-up input. Pure: opens nothing."""

import gzip
import json
import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from exchanges.conformance.report import Failed, expect, expect_none
from exchanges.contract import Endpoints, TradeRules, Venue
from model.batches import batches
from model.protocol import NEVER, Data, Malformed, StreamProtocol, Unknown
from model.records import Kind, StreamLimits

SYMBOLS = [f"C{number}USDT" for number in range(1000)]
REQUEST_BYTES = 200  # a request may be so much longer than what its topics count
REQ_ID, OTHER_ID = "4711", "4712"

NO_TEXTS = (
    b"",
    b"\xff\xfe\x00",
    b"{",
    b'{"a":',
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b'"\xc3\x28"',
    b"\x00" * 100,
    b"}{",
)
"""What is no JSON."""
NO_MESSAGES = (b"null", b"1", b'"x"', b"[]", b"{}", b"1e999", b"[1,2]", b'{"a":1}', b'"' + b"x" * 100_000 + b'"')
"""JSON that is no message of anybody's."""
ODD = (*NO_TEXTS, *NO_MESSAGES, b"9" * 5_000, b"[" * 20_000 + b"]" * 20_000, b"NaN", b'{"id":[],"op":{},"event":1}')


def requests_of(venue: Venue) -> Iterator[tuple[StreamProtocol, Kind, int]]:
    """Every market, kind and depth that there is, but for topics that users name."""
    for name, spec in venue.markets.items():
        protocol = venue.protocol(name, Endpoints())
        for kind in spec.kinds:
            if kind != "topics":
                for depth in spec.depths if kind == "orderbook" else spec.depths[:1] or (0,):
                    yield protocol, kind, depth


def topics_are_read_as_they_were_made(venue: Venue) -> str:
    """The topic of a request names its kind, depth and symbol again, and each symbol's payloads have a key of their
    own.
    """
    count = 0
    for protocol, kind, depth in requests_of(venue):
        topics = protocol.topics(kind, ["BTCUSDT", "ETHUSDT", "BTCUSDT"], depth)
        frames = protocol.frames(kind, topics)
        count += 1
        what = f"{protocol.market} {kind} {depth}"
        expect(len(topics) == (1 if frames.is_market_wide else 2), f"{what}: topics are {topics}")
        keys = {protocol.key_of(kind, topic) for topic in topics}
        expect(len(keys) == len(topics) and b"" not in keys, f"{what}: keys are {keys}")
        for topic, symbol in zip(topics, ("BTCUSDT", "ETHUSDT"), strict=False):
            found = protocol.read_topic(topic)
            expect(found is not None and found[0] == kind, f"{what}: {topic} is read as {found}")
            if frames.is_market_wide:
                continue
            assert found is not None
            is_same = found[1] == depth or protocol.topics(kind, symbol, found[1] or 0) == [topic]  # another name of it
            expect(kind != "orderbook" or is_same, f"{what}: {topic} is read as one of depth {found[1]}")
            expect(found[2] == protocol.symbol_of(topic) == symbol, f"{what}: {topic} is of {found[2]}")
        expect(protocol.frames(kind, ()).prefix == protocol.frames(kind, topics).prefix or kind == "orderbook", what)
    return f"{count} kinds and depths"


def requests_are_within_the_limits(venue: Venue) -> str:
    """A thousand symbols are subscribed and left in messages that the exchange takes, each with all of its topics and
    the id that it is given; or with none, where the exchange answers each topic by itself.
    """
    count = 0
    for protocol, kind, depth in requests_of(venue):
        limits = protocol.limits
        for part in _connections(protocol.topics(kind, SYMBOLS, depth), limits):
            for batch in batches(part, limits):
                for write in (protocol.subscribe, protocol.unsubscribe):
                    text = write(REQ_ID, batch)
                    count += 1
                    what = f"{protocol.market} {kind}: a request of {len(batch)} topics"
                    size = len(text.encode())
                    counted = sum(map(limits.cost, batch))
                    is_bound = bool(limits.bytes_per_message)
                    expect(not is_bound or size <= counted + REQUEST_BYTES, f"{what}: {size} bytes, counted {counted}")
                    has_id = REQ_ID in map(str, json.loads(text).values())
                    expect(has_id or text == write(OTHER_ID, batch), f"{what} has no id {REQ_ID}: {text[:100]}")
                    _expect_whole(protocol, text, batch, what)
    return f"{count} messages"


def _connections(topics: Sequence[str], limits: StreamLimits) -> Iterator[list[str]]:
    """Topics in parts that one connection takes."""
    part: list[str] = []
    used = 0
    for topic in topics:
        cost = limits.cost(topic)
        if part and ((limits.topics and len(part) >= limits.topics) or (limits.bytes and used + cost > limits.bytes)):
            yield part
            part, used = [], 0
        part.append(topic)
        used += cost
    if part:
        yield part


def _expect_whole(protocol: StreamProtocol, text: str, batch: Sequence[str], what: str) -> None:
    least = min(len(protocol.symbol_of(topic)) for topic in batch) * len(batch)
    expect(len(text) >= least, f"{what} is too short for them: {text[:100]}")
    upper = text.upper()
    missing = [topic for topic in batch if protocol.symbol_of(topic).upper() not in upper]
    expect_none(missing, len(batch), f"topics are missing in {what}")


def reading_never_raises(venue: Venue) -> str:
    """What is no JSON is Malformed; JSON that is no message is Unknown; nothing raises, whatever arrives, cut off,
    endlessly deep or no text at all.
    """
    for name in venue.markets:
        read = venue.protocol(name, Endpoints()).read
        for texts, kind in ((NO_TEXTS, Malformed), (NO_MESSAGES, Unknown)):
            for text in texts:
                found = read(text)
                expect(isinstance(found, kind), f"{name}: {text[:40]!r} is {found}, not {kind.__name__}")
        for text in ODD:
            expect(not isinstance(read(text), Data), f"{name}: {text[:40]!r} is data")
    return f"{len(ODD)} texts for each market"


def inflating_raises_what_is_counted(venue: Venue) -> str:
    """What cannot be inflated raises an error that the session counts: ValueError, OSError, EOFError or zlib.error."""
    count = 0
    for name in venue.markets:
        inflate = venue.protocol(name, Endpoints()).inflate
        if inflate is None:
            continue
        whole = gzip.compress(b'{"a":1}')
        for text in (*ODD, whole[:-9], whole[:9], whole[:1] + whole, b"\x1f\x8b" * 100):
            count += 1
            with suppress(ValueError, OSError, EOFError, zlib.error):
                expect(isinstance(inflate(text), bytes), f"{name}: {text[:40]!r} is inflated to no bytes")
    return f"{count} texts" if count else "does not apply: frames are text"


def decoders_survive_garbage(venue: Venue) -> str:
    """What cannot be read is reported and left out by the decoder of trades and by every reader of records."""
    for name, spec in venue.markets.items():
        reports: list[str] = []
        report = reporting(reports)
        batch = venue.decoder(name, TradeRules(), report)(ODD)
        expect(not batch.symbols, f"{name}: trades were made of garbage: {batch.symbols[:3]}")
        expect(len(reports) >= len(NO_TEXTS), f"{name}: {len(reports)} of {len(ODD)} unreadable trades were reported")
        for kind in spec.kinds:
            reader = venue.reader(name, kind, report, ("ticker", "price", "trades"))
            if reader is not None:
                expect(not any(reader(list(ODD)).values()), f"{name}: records of {kind} were made of garbage")
    return ""


def reporting(reports: list[str]) -> Callable[[str, bytes], None]:
    def report(cause: str, _payload: bytes) -> None:
        reports.append(cause)

    return report


def connections_are_kept_alive(venue: Venue) -> str:
    """Pings are frames, or texts of one request each, and are sent every so often; a lifetime is positive."""
    found = set()
    for name in venue.markets:
        protocol = venue.protocol(name, Endpoints())
        keep = protocol.keep_alive
        expect(keep.most_s > 0, f"{name}: a ping every {keep.most_s} s")
        expect(keep.text is None or keep.text(REQ_ID), f"{name}: the text of a ping is empty")
        expect(protocol.lifetime_s is None or protocol.lifetime_s > 0, f"{name}: a life of {protocol.lifetime_s} s")
        ping = "frames" if keep.text is None else keep.text(REQ_ID)
        found.add(f"{ping}{'' if math.isinf(keep.most_s) else f' every {keep.most_s:g} s'}")
    return ", ".join(sorted(found))


def frames_are_told_by_how_they_begin(venue: Venue) -> str:
    """A prefix ends before what differs from topic to topic, a floor begins with it, and the marker is not empty."""
    for protocol, kind, depth in requests_of(venue):
        frames = protocol.frames(kind, protocol.topics(kind, "BTCUSDT", depth))
        what = f"{protocol.market} {kind} {depth}"
        if frames.prefix == NEVER:
            continue
        expect(
            frames.prefix and frames.marker, f"{what}: the prefix is {frames.prefix!r}, the marker {frames.marker!r}"
        )
        expect(not frames.floor or frames.floor.startswith(frames.prefix), f"{what}: the floor is {frames.floor!r}")
        if b"BTCUSDT" in frames.prefix.upper():
            raise Failed(f"{what}: the prefix {frames.prefix!r} is of one symbol alone")
    return ""


CHECKS: tuple[Callable[[Venue], str], ...] = (
    topics_are_read_as_they_were_made,
    requests_are_within_the_limits,
    reading_never_raises,
    inflating_raises_what_is_counted,
    decoders_survive_garbage,
    connections_are_kept_alive,
    frames_are_told_by_how_they_begin,
)
