"""The exchange's own REST protocol of a collector: what it answers from, and how the rest is passed on.

Opens nothing; the event loop of the web server answers.
"""

import functools
import threading
from collections.abc import Collection, Mapping
from typing import Protocol

from app.options import endpoints
from conf.settings import Settings
from consumers.web.awaited import AwaitedKlines
from consumers.web.exchange_api import ExchangeApi
from consumers.web.http import Routes
from exchanges.contract import Venue
from exchanges.rest import ExchangeRest
from exchanges.upstream import PassageOf, SharedUpstream
from model.dialect import Dialect
from model.market_api import MarketApiOptions
from model.ports import CandleStore, ContractSizes


class AskedCollector(Protocol):
    """What is answered from; `app.collector.Collector`."""

    settings: Settings
    rest: ExchangeRest
    store: CandleStore | None

    @property
    def collected(self) -> set[tuple[str, str]]:
        """The markets and symbols that are streamed at all; another object where it changes."""


class ServedExchange:
    """The REST protocol of `venue` as a collector serves it; no routes where there is none, or it is switched off."""

    def __init__(self, collector: AskedCollector, venue: Venue, contract_sizes: ContractSizes) -> None:
        """Reads nothing of `collector` yet, which is about to be built."""
        self._collector, self._settings = collector, collector.settings
        self._stop = threading.Event()
        self._collected: set[tuple[str, str]] | None = None
        self._symbols: Mapping[str, Collection[str]] = {}
        self.awaited = AwaitedKlines(lambda: collector.store)
        self.upstream = SharedUpstream(self._passage_of(venue))
        self.dialect: Dialect | None = None  # of the web server; what it keeps of books and tickers is answered too
        self._api: ExchangeApi | None = None
        if venue.market_api and self._settings.market_api:
            options = MarketApiOptions(
                upstream=self.upstream,
                store=lambda: collector.store,
                live=self.awaited,
                markets=self._settings.markets,
                intervals=self._settings.kline_intervals if self._settings.enable_klines_stream else (),
                symbols=self.symbols,
                latest=lambda market, topic: self.dialect.latest(market, topic) if self.dialect else None,
                contract_sizes=contract_sizes,
                now_ms=lambda: collector.rest.clock.now_ms(),
            )
            self._api = ExchangeApi(venue.market_api(options))

    def routes(self) -> Routes:
        """Return the paths of the protocol."""
        return self._api.routes() if self._api else {}

    def symbols(self, market: str) -> Collection[str]:
        """The symbols of a market that are collected now."""
        collected = self._collector.collected
        if collected is not self._collected:
            self._collected = collected
            markets = {each for each, _ in collected}
            self._symbols = {name: frozenset(symbol for each, symbol in collected if each == name) for name in markets}
        return self._symbols.get(market, ())

    def stop(self) -> None:
        """End what is passed on; does not wait."""
        self._stop.set()
        self.upstream.stop()

    def _passage_of(self, venue: Venue) -> PassageOf:
        """Return how requests are passed on: made with the first one, for wrong certificates are found at the start."""
        passage = venue.passage
        if passage is None or not self._settings.has_rest:
            return lambda _path: None
        made = functools.cache(lambda: passage(endpoints(self._settings, self._settings.markets[0]), self._stop))
        return lambda path: made()(path)
