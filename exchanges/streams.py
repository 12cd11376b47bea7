"""WebSocket protocols of any exchange: what those of the venues share. Pure.

A venue's protocol derives from PublicStreams and says what is special: endpoints, topics, requests, messages, frames.
"""

import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

from model.ports import Symbols
from model.protocol import KeepAlive, Malformed, Message, Unknown
from model.records import Kind
from model.symbols import read_symbol

Op = Literal["subscribe", "unsubscribe"]

GZIP = 31  # zlib's window bits of a gzip member
INFLATED_MOST = 32 * 1024 * 1024  # bytes of a message, as of one that is not compressed
SMALL = INFLATED_MOST // 1024  # of so few bytes deflate makes hardly more than that


class PublicStreams:
    """The usual answers of a model.protocol.StreamProtocol; a venue replaces those that are others.

    `texts`: messages that are no JSON, such as pong. `request` and `read_object` are the venue's.
    """

    inflate: Callable[[bytes], bytes] | None = None
    lifetime_s: float | None = None
    listing_topics: Sequence[str] = ()
    keep_alive = KeepAlive()
    texts: Mapping[bytes, Message] = MappingProxyType({})

    def resolve(self, endpoint: str) -> str:
        """Return the endpoint itself: there is no token."""
        return endpoint

    def subscribe(self, req_id: str, topics: Iterable[str]) -> str:
        """Return the text of a subscribe request."""
        return self.request("subscribe", req_id, topics)

    def unsubscribe(self, req_id: str, topics: Iterable[str]) -> str:
        """Return the text of an unsubscribe request."""
        return self.request("unsubscribe", req_id, topics)

    def request(self, op: Op, req_id: str, topics: Iterable[str]) -> str:
        """Return the text of a request."""
        raise NotImplementedError

    def read(self, payload: bytes) -> Message:
        """Return what a received text is; never raises."""
        return self.texts.get(payload) or read_json(payload, self.read_object)

    def read_object(self, message: dict[str, Any]) -> Message:
        """Return what a received object is; raises nothing, whatever is in it."""
        raise NotImplementedError

    def key_of(self, _kind: Kind, topic: str) -> bytes:
        """Return the key that the payloads of a topic have: the topic."""
        return topic.encode()

    def is_wanted(self, _payload: bytes, _symbols: frozenset[str]) -> bool:
        """Return whether a payload of a topic that is of all symbols has one of these; here no topic is."""
        return True


def read_json(payload: bytes, read: Callable[[dict[str, Any]], Message]) -> Message:
    """Return what `read` makes of an object; Malformed where it is no JSON, Unknown where it is no object."""
    try:
        message = json.loads(payload)
    except (ValueError, RecursionError):  # RecursionError: a thousand brackets
        return Malformed()
    return read(message) if isinstance(message, dict) else Unknown()


def inflated(payload: bytes) -> bytes:
    """Return the text of a gzip member; zlib.error where it is none, is cut, or has more than INFLATED_MOST bytes."""
    if len(payload) <= SMALL:
        return zlib.decompress(payload, GZIP)
    inflater = zlib.decompressobj(GZIP)
    text = inflater.decompress(payload, INFLATED_MOST)
    if not inflater.eof:
        raise zlib.error("cut, or too large")
    return text


def request_text(request: Mapping[str, object]) -> str:
    """Return the text of a request without blanks. Names stay UTF-8, for an escape costs six bytes."""
    return json.dumps(request, separators=(",", ":"), ensure_ascii=False)


def names_of(what: str, given: Symbols, read: Callable[[object], str], example: str) -> list[str]:
    """One name or several as `read` writes them, without repeats, in the order given; ValueError with an example."""
    is_readable = isinstance(given, Iterable) and not isinstance(given, bytes | Iterator)  # and again at a reconnect
    names = [given] if isinstance(given, str) else list(given) if is_readable else None
    if names is None:
        raise ValueError(f"{what} is {given!r}, must be a text or a list of texts, e.g. {example}")
    if not names:
        raise ValueError(f"no {what} given, name at least one, e.g. {example}")
    return list(dict.fromkeys(map(read, names)))


def symbols_of(given: Symbols, example: str) -> list[str]:
    """One symbol or several as exchanges write them; see names_of."""
    return names_of("symbol", given, read_symbol, example)


def check_depth(depth: object, depths: Sequence[int], known: str) -> None:
    """ValueError where a depth is none of an exchange's books; `known` says which there are. True is no depth."""
    if type(depth) is not int or depth not in depths:
        raise ValueError(f"orderbook depth is {depth!r}, {known}")


def check_one(places: Mapping[str, str], exchange: str) -> None:
    """ValueError where topics, by the path that has them, are on several connections."""
    if len(places) > 1:
        paths, topics = list(places)[:2], list(places.values())[:2]
        raise ValueError(
            f"{' and '.join(topics)} are on two connections at {exchange} ({' and '.join(paths)}): "
            "make a STREAMS entry for each"
        )
