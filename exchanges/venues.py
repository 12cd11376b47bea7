"""The exchanges there are, by their EXCHANGE name. Importing opens nothing."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from exchanges.bybit.feed import BybitFeed
from exchanges.bybit.history import BybitHistory
from exchanges.bybit.listing import BybitListing
from exchanges.bybit.trades import TradeDecoder
from exchanges.contract import Feed, History, Listing, Report

Decode = Callable[[Sequence[bytes], Report], tuple[Any, ...]]
"""Trade payloads in, columns out: symbols, match times (ms), prices, sizes, sequences, ids, unreadable symbols."""


@dataclass(frozen=True)
class Venue:
    """What an exchange gives: feed, memory and listing per market, its trades decoded, how often one may connect.

    `decoder` takes which trades count, by the decoder's own names. `connects` are allowed per `connects_per_s`.
    """

    feed: Callable[..., Feed]
    history: Callable[..., History]
    listing: Callable[..., Listing]
    decoder: Callable[..., Decode]
    connects: int
    connects_per_s: float


VENUES: Mapping[str, Venue] = MappingProxyType(
    {
        # Bybit allows 500 connects per 5 minutes and address (docs: ws/connect); some are for what runs beside us.
        "bybit": Venue(BybitFeed, BybitHistory, BybitListing, TradeDecoder, connects=450, connects_per_s=300.0),
    }
)
