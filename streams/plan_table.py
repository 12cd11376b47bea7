"""The plan as a table for `--dry-run`: sockets, topics, characters, messages, limits. Pure."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from model.batches import batches
from model.ports import Feed
from streams.registry import RequestOf, StreamEntry, StreamRequest


@dataclass(frozen=True)
class PlannedSocket:
    """One connection. `characters` of all its topics are as the exchange counts them; `messages` subscribe them."""

    name: str
    market: str
    kind: str
    url: str
    topics: int
    characters: int
    characters_most: int
    messages: int


@dataclass(frozen=True)
class Connects:
    """How often this process may connect, and per how many seconds."""

    most: int
    per_s: float


def sockets_of(
    entries: Iterable[StreamEntry],
    request_of: RequestOf,
    market_of: Callable[[StreamRequest], str],
    feed_of: Callable[[str], Feed],
    depth: int,
) -> tuple[list[PlannedSocket], list[str]]:
    """The connections of entries that `request_of` can read, and the names of the others.

    ValueError, a line per entry, for what the exchange does not have or would refuse.
    """
    sockets, own, wrong = [], [], []
    for entry in entries:
        request = request_of(entry.func, entry.args, entry.kwargs)
        if request is None:
            own.append(entry.name)
            continue
        try:
            sockets.append(_socket(entry.name, request, feed_of(market_of(request)), depth))
        except ValueError as error:
            wrong.append(f"STREAMS {entry.name!r}: {error}")
    if wrong:
        raise ValueError("\n".join(wrong))
    return sockets, own


def _socket(name: str, request: StreamRequest, feed: Feed, usual_depth: int) -> PlannedSocket:
    topics = feed.topics(request.kind, request.symbols, request.depth or usual_depth)
    limits, url = feed.limits, feed.endpoint(request.kind, topics)
    used = sum(map(limits.cost, topics))
    messages = len(batches(topics, limits))
    return PlannedSocket(name, feed.market, request.kind, url, len(topics), used, limits.bytes, messages)


HEAD = ("kind", "sockets", "topics", "topics on one", "characters on one", "messages")
WIDTHS = (14, 8, 8, 15, 19, 10)
INDENT = "  "


def plan_text(sockets: Sequence[PlannedSocket], own: Sequence[str], connects: Connects) -> str:
    """The table; `own` are the names of entries whose function is the user's: their requests are not known."""
    lines: list[str] = []
    for (market, url), group in groupby(_sorted(sockets), key=lambda socket: (socket.market, socket.url)):
        lines += ["", f"{market}  {url}", _row(HEAD)]
        lines += [_kind_row(kind, list(of_kind)) for kind, of_kind in groupby(group, key=lambda socket: socket.kind)]
    if own:
        lines += ["", f"entries of your own, a thread each: {', '.join(own)}"]
    return "\n".join([*lines, "", *_totals(sockets, own, connects)]).lstrip("\n") + "\n"


def _sorted(sockets: Iterable[PlannedSocket]) -> list[PlannedSocket]:
    """Markets and kinds in their first order."""
    listed = list(sockets)
    markets = list(dict.fromkeys((socket.market, socket.url) for socket in listed))
    kinds = list(dict.fromkeys(socket.kind for socket in listed))
    return sorted(listed, key=lambda socket: (markets.index((socket.market, socket.url)), kinds.index(socket.kind)))


def _kind_row(kind: str, sockets: Sequence[PlannedSocket]) -> str:
    topics = [socket.topics for socket in sockets]
    characters = f"{max(socket.characters for socket in sockets)}"
    if sockets[0].characters_most:
        characters += f" of {sockets[0].characters_most}"
    messages = sum(socket.messages for socket in sockets)
    return _row((kind, len(sockets), sum(topics), max(topics), characters, messages))


def _row(cells: Iterable[object]) -> str:
    first, *rest = zip(cells, WIDTHS, strict=True)
    return INDENT + str(first[0]).ljust(first[1]) + "".join(f"{cell:>{width}}" for cell, width in rest)


def _totals(sockets: Sequence[PlannedSocket], own: Sequence[str], connects: Connects) -> list[str]:
    wait_s = (len(sockets) - 1) // connects.most * connects.per_s if sockets else 0.0
    return [
        f"{len(sockets)} sockets, {sum(socket.topics for socket in sockets)} topics, {len(sockets) + len(own)} threads",
        f"connects: {len(sockets)} at the start, {connects.most} are allowed per {connects.per_s:g} s"
        + (f": the last ones wait {wait_s:g} s" if wait_s else ""),
    ]
