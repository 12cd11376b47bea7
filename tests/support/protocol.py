"""The protocols that tests of streams run: Bybit's, whose frames the tests are full of."""

from typing import Any

from exchanges.bybit.protocol import BybitProtocol
from exchanges.contract import Endpoints
from model.events import EventSink
from model.protocol import KindFrames, StreamProtocol
from streams.events import StreamEvents


def protocol_of(market: str = "linear", **endpoints: Any) -> StreamProtocol:
    """Return Bybit's protocol of a market."""
    return BybitProtocol(market, Endpoints(**endpoints))


def frames_of(kind: Any, topics: tuple[str, ...] = (), market: str = "linear") -> KindFrames:
    """Return how Bybit's data of a kind looks."""
    return protocol_of(market).frames(kind, topics)


def events_of(sink: EventSink, kind: str, topics: Any, market: str = "linear") -> StreamEvents:
    """Return the events of a stream of Bybit's."""
    return StreamEvents(sink, market, kind, topics, protocol_of(market).symbol_of)
