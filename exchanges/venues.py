"""The exchanges there are, by their EXCHANGE name. Importing opens nothing."""

import functools
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from exchanges.bybit.feed import BybitFeed
from exchanges.bybit.history import BybitHistory
from exchanges.bybit.listing import BybitListing
from exchanges.bybit.trades import TradeDecoder
from exchanges.contract import Feed, History, Listing, Report
from exchanges.following import SymbolFollower, SymbolRules
from exchanges.listings import Listings
from exchanges.memory import ExchangeMemory

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

    def memory(self, settings: Any, report: Report) -> ExchangeMemory:
        """What the exchange remembers of the markets of a conf.settings.Settings."""
        stop = threading.Event()
        return ExchangeMemory(
            {market: self.history(market, stop=stop, **_rest(settings)) for market in settings.markets},
            stop,
            report,
            count_block_trades=settings.count_block_trades,
            count_rpi_trades=settings.count_rpi_trades,
        )

    def follower(
        self, settings: Any, names: Sequence[str], changed: Callable[[], Sequence[str] | None]
    ) -> SymbolFollower:
        """What chooses the symbols of those markets; `names` are a list's, none where there is none."""
        listings = {market: self.listing(market, **_rest(settings)) for market in settings.markets}
        read = {
            market: functools.partial(listing.listed, pre_market=settings.symbols_pre_market)
            for market, listing in listings.items()
        }
        return SymbolFollower(
            settings.markets,
            SymbolRules(settings.load_all_symbols, settings.symbols_limit, settings.symbols_quote),
            names or settings.symbols,
            changed,
            Listings(read if settings.knows_rest else {}, settings.symbols_refresh),
            is_checked=bool(names),
        )


def _rest(settings: Any) -> dict[str, Any]:
    return {"url": settings.bybit_rest_url, "testnet": settings.use_testnet}


VENUES: Mapping[str, Venue] = MappingProxyType(
    {
        # Bybit allows 500 connects per 5 minutes and address (docs: ws/connect); some are for what runs beside us.
        "bybit": Venue(BybitFeed, BybitHistory, BybitListing, TradeDecoder, connects=450, connects_per_s=300.0),
    }
)
