"""The entries of a STREAMS list as requests to an exchange, and every mistake in them. Opens nothing."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from app.options import endpoints, feed_options, kinds_of
from app.venue_checks import depth_of
from callbacks.payload import PayloadCallback
from conf.settings import Settings
from exchanges.contract import Endpoints, Venue
from model.ports import Feed, Report, Symbols
from model.records import Kind
from network.report import describe_network
from streams import MarketFeed, StreamRequest, check_entries, request_of
from streams.registry import is_deferred

Subscribe = Mapping[Kind, Callable[..., None]]
"""The function of each kind that a STREAMS entry may name."""


class EntryReader:
    """Reads entries by the functions that they name. Any thread."""

    def __init__(self, settings: Settings, venue: Venue, subscribe: Subscribe, report: Report) -> None:
        self._settings, self._venue, self._report = settings, venue, report
        self._kinds = {function: kind for kind, function in subscribe.items()}
        self._protocol = functools.cache(lambda market: venue.protocol(market, Endpoints()))
        self.read_topic = self._protocol(settings.channel_type).read_topic
        self.resolve: Callable[[str, Symbols], Symbols] = lambda _market, symbols: symbols
        """What the names of a market mean by the exchange's listing; until it is set, they are as they were written."""

    def request_of(self, func: object, args: Sequence[Any], kwargs: Mapping[str, Any]) -> StreamRequest | None:
        """The request of an entry's call, with the exchange's own symbols; None for a function of the user's own."""
        request = request_of(func, args, kwargs, self._kinds, self.read_topic)
        return request and self.resolved(self.narrowed(request))

    def narrowed(self, request: StreamRequest) -> StreamRequest:
        """A request of topics as one of symbols, where that is for the very same topics; else itself.

        It is not where the exchange has several for a symbol and kind, as books at another pace, or where a topic is of
        all symbols.
        """
        found = request.narrowed()
        if found is request:
            return request
        try:
            protocol = self._protocol(self.market_of(request))
            topics = protocol.topics("topics", request.symbols, 0)
            is_same = protocol.topics(found.kind, found.symbols, found.depth or 0) == topics
        except (TypeError, ValueError):  # a wrong request, which its check names
            return request
        return found if is_same and not protocol.frames(found.kind, topics).is_market_wide else request

    def resolved(self, request: StreamRequest) -> StreamRequest:
        """A request with the symbols that its names mean, as far as the listing is known; topics say what they mean."""
        if request.kind == "topics" or request.is_exact:
            return request
        try:
            market = self.market_of(request)
        except (TypeError, ValueError):  # a wrong request, which its check names
            return request
        return replace(request, symbols=self.resolve(market, request.symbols))

    def check(self, streams: list[dict[str, Any]]) -> None:
        """Raise ValueError with every wrong entry."""
        check_entries(
            streams, self.request_of, self.market_of, self._idle_feed_of, depth_of(self._settings, self._venue)
        )

    def check_network(self) -> None:
        """Raise ValueError with every proxy and certificate on the way of the streams that cannot be used."""
        describe_network(self.addresses())

    def addresses(self) -> list[str]:
        """Return the URLs that the streams of the settings dial."""
        settings, specs = self._settings, self._venue.markets
        feeds = ((self._idle_feed_of(market), kinds_of(settings, specs[market])) for market in settings.markets)
        return list(dict.fromkeys(feed.endpoint(kind) for feed, kinds in feeds for kind in kinds))

    def _idle_feed_of(self, market: str) -> Feed:
        """The feed of a market for its topics and limits; it opens nothing."""
        protocol = self._venue.protocol(market, endpoints(self._settings, market))
        return MarketFeed(protocol, feed_options(self._settings), dial=lambda _url: None, report=self._report)

    def market_of(self, request: StreamRequest) -> str:
        """The market of a request; ValueError for a request that makes no sense."""
        callback = request.callback
        if not callable(callback):
            raise ValueError(f"callback is {callback!r}, must be a function of one payload")  # noqa: TRY004 - as below
        if is_deferred(callback) or is_deferred(getattr(callback, "__call__", None)):  # noqa: B004
            raise ValueError(f"callback {callback!r} is async or a generator, must be a plain function of one payload")
        if isinstance(request.symbols, Iterator):
            raise ValueError("symbols can be read only once, must be a text or a list of texts")  # noqa: TRY004
        ours = callback if isinstance(callback, PayloadCallback) else None
        if ours:
            self._check_kind(request, ours.kind)
        market = request.market or (ours and ours.market) or self._settings.channel_type
        if market not in self._venue.markets:
            raise ValueError(f"market is {market!r}, must be one of {', '.join(self._venue.markets)}")
        return market

    def _check_kind(self, request: StreamRequest, kind: str) -> None:
        """Raise ValueError where a request brings what handle_<kind> does not take."""
        if request.kind == kind:
            return
        if request.kind != "topics":
            raise ValueError(f"callback takes {kind}, not {request.kind}: name handle_{request.kind}")
        # Whatever topic brings trades counts as a feed, by which klines are proven.
        wrong = [name for name, of in request.topics() if (of[0] != kind if of else kind == "trades")]
        if wrong:
            raise ValueError(f"callback takes {kind}, not {', '.join(map(str, wrong))}: give these their own entry")
