"""What an entry asks an exchange for, and where that goes. Pure."""

import functools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from model.symbols import canonical

TOPICS = "topics"  # the kind of what topics name that no other kind has
PARAMETERS = ("symbols", "callback", "market", "depth")  # of a subscribe function; `topics` in the place of symbols

Callback = Callable[[bytes], Any]
TopicOf = tuple[str, int | None, str]
"""What a topic is of: kind, depth of a book, symbol."""
ReadTopic = Callable[[str], TopicOf | None]
"""Says what a topic is of; None for one that no kind has."""


def _of_no_kind(_topic: str) -> None:
    """Know no topic."""


class Target(NamedTuple):
    """The market of a stream, and what its connection hands payloads to.

    `is_channel`: all streams of this market and kind go there, so that a symbol streamed twice would come twice.
    """

    market: str
    take: Callback
    is_channel: bool


@dataclass(frozen=True)
class StreamRequest:
    """What a subscribe function is asked for; None is the usual market or depth."""

    kind: Any
    symbols: str | Sequence[str]
    callback: Any
    market: str | None = None
    depth: int | None = None
    read_topic: ReadTopic = field(default=_of_no_kind, compare=False, repr=False)

    def names(self) -> list[str]:
        """The symbols, or topics, one by one."""
        return [self.symbols] if isinstance(self.symbols, str) else list(self.symbols)

    def narrowed(self) -> "StreamRequest":
        """The same as a request of the one kind and depth that all its topics are of; else itself."""
        read = self.topics()
        known = [of for _, of in read if of]
        if len(known) < len(read) or len({of[:2] for of in known}) != 1:
            return self
        kind, depth, _ = known[0]
        return replace(self, kind=kind, depth=depth, symbols=[symbol for *_, symbol in known])

    def topics(self) -> list[tuple[Any, TopicOf | None]]:
        """Every topic that is named, and what it is of."""
        if self.kind != TOPICS or not isinstance(self.symbols, Collection):
            return []
        return [(name, self.read_topic(name) if isinstance(name, str) else None) for name in self.names()]

    def channels(self, usual_depth: int) -> Iterator[tuple[str, int | None, str]]:
        """Kind, depth of a book, and symbol of all that it brings."""
        if self.kind == TOPICS:
            texts = [(name, of) for name, of in self.topics() if isinstance(name, str)]
            yield from ((of[0], of[1], canonical(of[2])) if of else (TOPICS, None, name) for name, of in texts)
            return
        depth = (self.depth or usual_depth) if self.kind == "orderbook" else None
        yield from ((self.kind, depth, canonical(name)) for name in self.names())


def request_of(
    func: Any,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    kinds: Mapping[Any, str],
    read_topic: ReadTopic = _of_no_kind,
) -> StreamRequest | None:
    """What calling `func` with these arguments would stream; None for a function that is not one of `kinds`."""
    if isinstance(func, functools.partial):
        return request_of(func.func, (*func.args, *args), {**func.keywords, **kwargs}, kinds, read_topic)
    try:
        kind = kinds.get(func)
    except TypeError:  # a callable that cannot be hashed
        kind = None
    if kind is None:
        return None
    given = dict(zip(PARAMETERS, args, strict=False)) | dict(kwargs)
    if "topics" in given:
        given["symbols"] = given.pop("topics")
    request = StreamRequest(kind, **{name: given.get(name) for name in PARAMETERS}, read_topic=read_topic)  # type: ignore[arg-type]
    return request.narrowed()


RequestOf = Callable[[Any, Sequence[Any], Mapping[str, Any]], StreamRequest | None]
"""`request_of` of the functions and topics that there are."""

Channel = tuple[str, str, int | None, str]
"""Market, kind, depth of a book, and symbol: what must not be streamed twice to one place."""


def channels_of(request: StreamRequest, target: Target, usual_depth: int) -> Iterator[Channel]:
    """What a request brings to where all of its market and kind goes; nothing where it goes elsewhere."""
    if target.is_channel:
        yield from ((target.market, *channel) for channel in request.channels(usual_depth))


def duplicates(channels: Iterable[tuple[Channel, object]]) -> list[Channel]:
    """The channels that have more than one source, of (channel, source) pairs."""
    sources: dict[Channel, set[int]] = {}
    for channel, source in channels:
        sources.setdefault(channel, set()).add(id(source))
    return [channel for channel, found in sources.items() if len(found) > 1]
