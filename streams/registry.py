"""The entries of a STREAMS list: checked, and read as requests to the exchange. Pure.

Every complaint names the entry and what to write instead.
"""

import functools
import inspect
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from model.ports import Callback, Depth, PayloadSink, ReadTopic, Symbols, TopicOf
from model.records import Kind
from model.symbols import canonical

CALLS_REMEMBERED = 256  # functions and numbers of arguments: the list is read several times a second, 20 us an entry
_REMEDIES = {"name": '"Trades_ETHUSDT"', "func": "subscribe_trades", "args": '("ETHUSDT", handle_trades)'}
_KEYS = {*_REMEDIES, "kwargs"}


@dataclass(frozen=True)
class StreamEntry:
    """A checked entry. `source` is the user's own dict: the same object means the same stream."""

    name: str
    func: Callable[..., object]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    source: Mapping[str, Any]


def read_entries(entries: Sequence[object]) -> tuple[list[StreamEntry], list[tuple[object, str]]]:
    """Sort a STREAMS list into good entries and (entry, complaint) pairs; the first of two equal names is good."""
    good: list[StreamEntry] = []
    bad: list[tuple[object, str]] = []
    names: set[str] = set()
    for index, entry in enumerate(entries):
        complaints = _complaints(entry, names)
        if complaints:
            bad.append((entry, f"{_label(index, entry)}: {'; '.join(complaints)}"))
        elif isinstance(entry, Mapping):
            names.add(entry["name"])
            args, kwargs = tuple(entry.get("args", ())), dict(entry.get("kwargs") or {})
            good.append(StreamEntry(entry["name"], entry["func"], args, kwargs, entry))
    return good, bad


def is_deferred(function: object) -> bool:
    """Whether a call of a function only returns a coroutine or generator that has to be run."""
    kinds = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
    return any(is_kind(function) for is_kind in kinds)


def _label(index: int, entry: object) -> str:
    name = entry.get("name") if isinstance(entry, Mapping) else None
    return f"STREAMS[{index}] {name!r}" if name else f"STREAMS[{index}]"


def _complaints(entry: object, names: set[str]) -> list[str]:
    if not isinstance(entry, Mapping):
        return [f'is {type(entry).__name__}, must be a dict {{"name": ..., "func": ..., "args": (...)}}']
    found = [f'"{key}" is missing, add "{key}": {remedy}' for key, remedy in _REMEDIES.items() if key not in entry]
    found += [f"unknown key {key!r}, allowed are name, func, args, kwargs" for key in entry if key not in _KEYS]
    found += _name_complaints(entry, names)
    found += _call_complaints(entry)
    return found


def _name_complaints(entry: Mapping[str, Any], names: set[str]) -> list[str]:
    if "name" not in entry:
        return []
    name = entry["name"]
    if not isinstance(name, str) or not name.strip():
        return [f'"name" is {name!r}, must be a text that is not empty']
    return ["another entry has this name, give each its own"] if name in names else []


def _call_complaints(entry: Mapping[str, Any]) -> list[str]:
    found = []
    func, args, kwargs = entry.get("func"), entry.get("args", ()), entry.get("kwargs") or {}
    if "func" in entry and not callable(func):
        found.append(f'"func" is {func!r}, must be a function (without brackets behind its name)')
    if not isinstance(args, (tuple, list)):
        found.append(f'"args" is {args!r}, must be a tuple; one argument alone needs a comma: ({args!r},)')
    if not isinstance(kwargs, Mapping) or not all(isinstance(key, str) for key in kwargs):
        found.append(f'"kwargs" is {kwargs!r}, must be a dict of names and values')
    if not found and callable(func):
        try:
            found += _binding_complaints(func, len(args), tuple(kwargs))
        except TypeError:  # a callable that cannot be hashed
            found += _binding_complaints.__wrapped__(func, len(args), tuple(kwargs))
    return found


@functools.lru_cache(maxsize=CALLS_REMEMBERED)
def _binding_complaints(func: Callable[..., object], count: int, names: tuple[str, ...]) -> tuple[str, ...]:
    """Complaints about a call; they depend on the number and names of the arguments, not on their values."""
    name = getattr(func, "__name__", repr(func))
    if is_deferred(func):
        return (f"{name} is async or a generator, a stream needs a plain function that blocks",)
    try:
        signature = inspect.signature(func)
    except (TypeError, ValueError):
        return ()  # a builtin without a signature: the call itself raises
    try:
        signature.bind(*range(count), **dict.fromkeys(names))
    except TypeError as error:
        return (f'"args" do not fit {name}{signature}: {error}',)
    return ()


# -- requests -----------------------------------------------------------------------------------------------------

TOPICS = "topics"  # the kind of what topics name that no other kind has
PARAMETERS = ("symbols", "callback", "market", "depth")  # of a subscribe function; `topics` in the place of symbols


def _of_no_kind(_topic: str) -> None:
    """Read every topic as one of no kind."""


class Target(NamedTuple):
    """The market of a stream, and what takes its payloads.

    `is_channel`: all streams of this market and kind go there, so that a symbol streamed twice comes twice.
    """

    market: str
    take: Callback | PayloadSink
    is_channel: bool


@dataclass(frozen=True)
class StreamRequest:
    """The arguments of a subscribe function; None is the usual market or depth.

    `is_exact`: the symbols were read out of topics, and are as the exchange writes them.
    """

    kind: Kind
    symbols: Symbols
    callback: Callback  # of the user's own writing, as all here: checked when the request is run
    market: str | None = None
    depth: Depth = None
    read_topic: ReadTopic = field(default=_of_no_kind, compare=False, repr=False)
    is_exact: bool = field(default=False, compare=False)

    def names(self) -> list[str]:
        """The symbols, or topics, one by one."""
        return [self.symbols] if isinstance(self.symbols, str) else list(self.symbols)

    def narrowed(self) -> "StreamRequest":
        """The request of symbols, where all its topics are of one kind and depth; else itself."""
        read = self.topics()
        known = [of for _, of in read if of]
        if len(known) < len(read) or len({of[:2] for of in known}) != 1:
            return self
        kind, depth, _ = known[0]
        return replace(self, kind=kind, depth=depth, symbols=[symbol for *_, symbol in known], is_exact=True)

    def topics(self) -> list[tuple[object, TopicOf | None]]:
        """Every topic that is named, and its kind, depth and symbol."""
        if self.kind != TOPICS or not isinstance(self.symbols, Collection):
            return []
        return [(name, self.read_topic(name) if isinstance(name, str) else None) for name in self.names()]

    def channels(self, usual_depth: int) -> Iterator[TopicOf]:
        """Kind, depth of a book, and symbol of everything that is requested."""
        if self.kind == TOPICS:
            texts = [(name, of) for name, of in self.topics() if isinstance(name, str)]
            yield from ((of[0], of[1], canonical(of[2])) if of else (TOPICS, None, name) for name, of in texts)
            return
        depth = (self.depth or usual_depth) if self.kind == "orderbook" else None
        yield from ((self.kind, depth, canonical(name)) for name in self.names())


def request_of(
    func: object,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    kinds: Mapping[Any, Kind],
    read_topic: ReadTopic = _of_no_kind,
) -> StreamRequest | None:
    """The request of a call of `func` with these arguments; None for a function that is not one of `kinds`."""
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
    return StreamRequest(kind, **{name: given.get(name) for name in PARAMETERS}, read_topic=read_topic)  # type: ignore[arg-type]


RequestOf = Callable[[object, Sequence[Any], Mapping[str, Any]], StreamRequest | None]
"""`request_of` with the kinds and topics of the exchange."""

Channel = tuple[str, str, Depth, str]
"""Market, kind, depth of a book, and symbol: what must not be streamed twice to one channel."""


def channels_of(request: StreamRequest, target: Target, usual_depth: int) -> Iterator[Channel]:
    """The channels of a request; none where its payloads go to a callback of the user's."""
    if target.is_channel:
        yield from ((target.market, *channel) for channel in request.channels(usual_depth))


def duplicates(channels: Iterable[tuple[Channel, object]]) -> list[Channel]:
    """The channels that have more than one source, of (channel, source) pairs."""
    sources: dict[Channel, set[int]] = {}
    for channel, source in channels:
        sources.setdefault(channel, set()).add(id(source))
    return [channel for channel, found in sources.items() if len(found) > 1]
