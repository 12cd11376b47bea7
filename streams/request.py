"""What an entry asks an exchange for, and where that goes. Pure."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from model.symbols import canonical

PARAMETERS = ("symbols", "callback", "market", "depth")  # of a subscribe function; `topics` in the place of symbols

Callback = Callable[[bytes], Any]


class Target(NamedTuple):
    """The market of a stream, and what its connection hands payloads to.

    `is_channel`: all streams of this market and kind go there, so that a symbol streamed twice would come twice.
    """

    market: str
    take: Callback
    is_channel: bool


@dataclass(frozen=True)
class StreamRequest:
    """The arguments of a subscribe function as they were given; None is the usual market or depth."""

    kind: Any
    symbols: str | Sequence[str]
    callback: Any
    market: str | None = None
    depth: int | None = None

    def names(self) -> list[str]:
        """The symbols, or topics, one by one."""
        return [self.symbols] if isinstance(self.symbols, str) else list(self.symbols)


def request_of(
    func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], kinds: Mapping[Any, str]
) -> StreamRequest | None:
    """What calling `func` with these arguments would stream; None for a function that is not one of `kinds`."""
    try:
        kind = kinds.get(func)
    except TypeError:  # a callable that cannot be hashed
        kind = None
    if kind is None:
        return None
    given = dict(zip(PARAMETERS, args, strict=False)) | dict(kwargs)
    if "topics" in given:
        given["symbols"] = given.pop("topics")
    return StreamRequest(kind, **{name: given.get(name) for name in PARAMETERS})  # type: ignore[arg-type]


Channel = tuple[str, str, int | None, str]
"""Market, kind, depth of a book, and symbol: what must not be streamed twice to one place."""


def channels_of(request: StreamRequest, target: Target, usual_depth: int) -> Iterator[Channel]:
    """What a request brings to where all of its market and kind goes; nothing where it goes elsewhere."""
    if target.is_channel:
        depth = (request.depth or usual_depth) if request.kind == "orderbook" else None
        for name in request.names():
            yield target.market, request.kind, depth, name if request.kind == "topics" else canonical(name)


def doubled(channels: Iterable[tuple[Channel, object]]) -> list[Channel]:
    """The channels that have more than one source, of (channel, source) pairs."""
    sources: dict[Channel, set[int]] = {}
    for channel, source in channels:
        sources.setdefault(channel, set()).add(id(source))
    return [channel for channel, found in sources.items() if len(found) > 1]
