"""Status events: one record per change of state, and the port that takes them.

A few an hour when all is well, never one per message. What each means to a user is in docs/CHANNELS.md.
"""

from dataclasses import dataclass, fields
from typing import Any, ClassVar, Protocol

REASON_CHARACTERS = 200  # of an error's text in an event
STOPPED, NOT_WANTED = "stopped", "not wanted any more"  # reasons of a disconnect that was asked for

JSON_NAMES = {"from_ms": "from", "until_ms": "until"}  # fields by what the status channel calls them otherwise


@dataclass(frozen=True, kw_only=True)
class StatusEvent:
    """A change of state. `event` is its name on the status channel; None fields are left out there."""

    event: ClassVar[str]

    def as_fields(self) -> dict[str, Any]:
        """Return the fields as the status channel names them, in their order, without those that are None."""
        values = ((JSON_NAMES.get(each.name, each.name), getattr(self, each.name)) for each in fields(self))
        return {name: value for name, value in values if value is not None}


@dataclass(frozen=True, kw_only=True)
class StreamEvent(StatusEvent):
    """A change of the state of a stream, or of some of its symbols. `stream` is the name of its STREAMS entry."""

    stream: str | None = None
    market: str | None = None
    kind: str | None = None
    symbols: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Connected(StreamEvent):
    """The subscription of these symbols succeeded: data comes from now on."""

    event = "connected"


@dataclass(frozen=True, kw_only=True)
class Disconnected(StreamEvent):
    """The connection of these symbols ended; `final`: the stream was given up."""

    event = "disconnected"
    reason: str
    final: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Gap(StreamEvent):
    """Data is missing: of trades since `from_ms` until `until_ms`, of a book or ticker `topic` since `from_ms`."""

    event = "gap"
    topic: str | None = None
    reason: str | None = None
    from_ms: int | None = None
    until_ms: int | None = None


@dataclass(frozen=True, kw_only=True)
class Repaired(StreamEvent):
    """A gap was filled: `how` is ids, trades, candle (then `interval` is its length in ms), snapshot or stream."""

    event = "repaired"
    topic: str | None = None
    how: str
    interval: int | None = None
    from_ms: int | None = None
    until_ms: int | None = None


@dataclass(frozen=True, kw_only=True)
class Stale(StreamEvent):
    """A topic, or a whole connection, is silent although data was due."""

    event = "stale"
    topic: str | None = None
    silent_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Quarantined(StreamEvent):
    """The exchange refused a topic with `message`; it is subscribed again later."""

    event = "quarantined"
    topic: str
    message: str


@dataclass(frozen=True, kw_only=True)
class SinkDown(StatusEvent):
    """An output does not work since `from_ms`."""

    event = "sink_down"
    sink: str
    reason: str
    from_ms: int | None = None


@dataclass(frozen=True, kw_only=True)
class SinkUp(StatusEvent):
    """An output works again, with what it lost: `lost` envelopes, or of Redis raw messages and klines waiting."""

    event = "sink_up"
    sink: str
    lost: int | None = None
    raw_dropped: int | None = None
    klines_waiting: int | None = None
    from_ms: int | None = None
    until_ms: int | None = None


@dataclass(frozen=True, kw_only=True)
class Listed(StatusEvent):
    """The exchange lists these symbols of a market, which it did not at the reading before."""

    event = "listed"
    market: str
    symbols: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Delisted(StatusEvent):
    """The exchange does not list these symbols of a market any more."""

    event = "delisted"
    market: str
    symbols: tuple[str, ...]


class EventSink(Protocol):
    """The port that takes status events. Any thread; never blocks, never raises."""

    def emit(self, event: StatusEvent, /) -> None:
        """Take one event."""


class NullEventSink:
    """The EventSink of parts that run alone: it drops events, and has no state."""

    def emit(self, event: StatusEvent, /) -> None:
        """Drop it."""


class EventFanout:
    """The EventSink that hands each event to several `sinks`, in their order; one may be added at any time."""

    def __init__(self, *sinks: EventSink) -> None:
        self.sinks = sinks

    def add(self, sink: EventSink) -> None:
        """Hand `sink` each event from now on."""
        self.sinks = (*self.sinks, sink)

    def emit(self, event: StatusEvent, /) -> None:
        """Hand it to each."""
        for sink in self.sinks:
            sink.emit(event)


NO_EVENTS = NullEventSink()
