"""The exchanges there are, by their EXCHANGE name. Importing opens nothing."""

import functools
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Protocol

from exchanges.bybit.feed import BybitFeed
from exchanges.bybit.protocol import MARKETS, read_topic
from exchanges.bybit.records import envelope_reader
from exchanges.bybit.rest import BybitRest
from exchanges.bybit.trades import TradeDecoder
from exchanges.hearing import hearing
from exchanges.rest import ExchangeMemory
from exchanges.universe.follower import SymbolFollower, SymbolRules
from exchanges.universe.listings import Listings
from model.events import EventSink
from model.ports import Dial, Feed, Listing, MarketHistory, Observe, Report, ignore_time

Decode = Callable[[Sequence[bytes], Report], tuple[Any, ...]]
"""Trade payloads in, columns out: symbols, match times (ms), prices, sizes, sequences, ids, unreadable symbols."""

Written = Callable[[Sequence[bytes]], Sequence[tuple[Decimal, Decimal]]]
"""Trade payloads in, price and size of the same trades out, to the last digit."""


class Decoder(Protocol):
    """Both ways to read trade payloads."""

    def __call__(self, payloads: Sequence[bytes], report: Report) -> tuple[Any, ...]:
        """Columns: see Decode."""

    def written(self, payloads: Sequence[bytes]) -> Sequence[tuple[Decimal, Decimal]]:
        """Price and size of the same trades: see Written."""


class NameList(Protocol):
    """Names that somebody edits: symbols, or coins."""

    def load(self) -> Sequence[str]:
        """Those of the start, none where there is no list; raises ValueError for a wrong one."""

    def changed(self) -> Sequence[str] | None:
        """Other ones than before, None where they are the same."""


@dataclass(frozen=True)
class Venue:
    """What an exchange gives: feed, memory and listing per market, its trades decoded, how often one may connect.

    `decoder` takes which trades count, by the decoder's own names. `reader(kind, report, types)` makes records of
    payloads for envelopes, None where a kind has none of `types`. `connects` are allowed per `connects_per_s`.
    """

    feed: Callable[..., Feed]
    history: Callable[..., MarketHistory]
    listing: Callable[..., Listing]
    decoder: Callable[..., Decoder]
    reader: Callable[[str, Report, Collection[str]], Any]
    connects: int
    connects_per_s: float
    markets: Sequence[str]
    kline_markets: Collection[str]  # where trades become klines
    read_topic: Callable[[str], tuple[str, int | None, str] | None]  # kind, depth of a book, symbol

    def feed_of(
        self,
        settings: Any,
        market: str,
        *,
        dial: Dial,
        report: Report,
        events: EventSink,
        observe: Observe = ignore_time,
    ) -> Feed:
        """The feed of a market, as a conf.settings.Settings has it; `observe` takes the exchange's time."""
        return self.feed(
            market,
            dial=dial,
            report=report,
            events=events,
            observe_time=observe,
            url=settings.public_ws_url(market),
            testnet=settings.use_testnet,
            ping_interval_s=settings.ping_interval,
            silence_timeout_s=settings.silence_timeout,
            watch_topics=settings.orderbook_check,
            watch_trades=settings.orderbook_check and "ticker" in settings.raw_streams,
            is_redundant=settings.redundancy > 1,
        )

    def decoder_of(self, settings: Any, memory: ExchangeMemory) -> tuple[Decode, Written]:
        """What decodes those trades that count, and what gives their numbers to the last digit.

        The clock of `memory` hears the exchange's time from them.
        """
        which = {"count_block_trades": settings.count_block_trades, "count_rpi_trades": settings.count_rpi_trades}
        decoder = self.decoder(**which)
        return hearing(decoder, memory.clock.observe), decoder.written

    def history_of(self, settings: Any) -> Callable[[str], MarketHistory]:
        """What gives the history of a market."""
        return functools.partial(self.history, **_rest(settings))

    def memory(self, settings: Any, report: Report) -> ExchangeMemory:
        """What the exchange remembers of the markets of a conf.settings.Settings."""
        stop = threading.Event()
        histories = _Histories(functools.partial(self.history, stop=stop, **_rest(settings)))
        for market in settings.markets:  # the main one first
            _ = histories[market]
        return ExchangeMemory(
            histories,
            stop,
            report,
            count_block_trades=settings.count_block_trades,
            count_rpi_trades=settings.count_rpi_trades,
        )

    def follower(self, settings: Any, coins: NameList) -> SymbolFollower:
        """What chooses the symbols of those markets; raises ValueError where the list of names is wrong."""
        names = () if settings.load_all_symbols else coins.load()
        listings = {market: self.listing(market, **_rest(settings)) for market in settings.markets}
        read = {
            market: functools.partial(listing.listed, pre_market=settings.symbols_pre_market)
            for market, listing in listings.items()
        }
        return SymbolFollower(
            settings.markets,
            SymbolRules(settings.load_all_symbols, settings.symbols_limit, settings.symbols_quote),
            names or settings.symbols,
            coins.changed,
            Listings(read if settings.has_rest else {}, settings.symbols_refresh),
            is_checked=bool(names),
            needs_pairs=settings.needs_coin_names,
        )


class _Histories(dict[str, MarketHistory]):
    """Histories by market; those of markets that only an entry of the user's names are made when they are asked."""

    def __init__(self, make: Callable[[str], MarketHistory]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, market: str) -> MarketHistory:
        return self.setdefault(market, self._make(market))


def _rest(settings: Any) -> dict[str, Any]:
    return {"url": settings.bybit_rest_url, "testnet": settings.use_testnet}


VENUES: Mapping[str, Venue] = MappingProxyType(
    {
        # Bybit allows 500 connects per 5 minutes and address (docs: ws/connect); some are for what runs beside us.
        "bybit": Venue(
            BybitFeed,
            BybitRest,
            BybitRest,
            TradeDecoder,
            envelope_reader,
            connects=450,
            connects_per_s=300.0,
            markets=MARKETS,
            kline_markets=("linear", "inverse", "spot"),  # of options it has no candles
            read_topic=read_topic,
        ),
    }
)
