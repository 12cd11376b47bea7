"""Feed markers of one market, in few words."""

from collections.abc import Iterable
from typing import Any

from model.records import FeedMarker


def feed_up(symbols: Iterable[str], at_ms: int, delivery: Any = None, market: str = "linear") -> FeedMarker:
    """A feed of these symbols came up."""
    return FeedMarker("up", market, tuple(symbols), at_ms, delivery=delivery)


def feed_down(symbols: Iterable[str], at_ms: int, delivery: Any = None, market: str = "linear") -> FeedMarker:
    """A feed of these symbols went down."""
    return FeedMarker("down", market, tuple(symbols), at_ms, delivery=delivery)
