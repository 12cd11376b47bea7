"""The contract of an exchange: what its folder declares as VENUE, and the options that it is given. Pure.

How to add an exchange
----------------------
1. Make a folder `exchanges/<name>/` with the file names of exchanges/bybit: protocol.py (endpoints, topics, received
   messages), trades.py (payloads to a TradeBatch), records.py (payloads to records of envelopes), rest.py
   (model.ports.MarketHistory and Listing), and venue.py, which declares `VENUE`, a `Venue`.
2. `Venue.feed` returns a model.ports.Feed. Its `run` blocks the calling (stream) thread until the connection ends:
   `link = dial(url)` (None: stopped, return), send subscriptions with `link.send`,
   `link.read_until_closed(session, ...)` with a model.ports.Receiver, `link.close()` at the end. Reading, frames,
   pings, the connect budget, backoff and stopping are behind `dial`.
3. The session sets `prefix` to how messages of the subscribed kind begin: those go to the callback without a further
   look, many at once where it has `put_all`. Every other message goes to the session's `other`.
4. The session calls `link.succeeded()` at the first acknowledgement or data: until then the stream counts as failed.
5. A callback with `mark` gets a FeedMarker "up" before the first data of symbols and "down" when the connection ends,
   on the thread that reads, at its place between the payloads.
6. A ConnectionError (or subclass) means that a new connection may help; ValueError, that the request is wrong.
7. Faults go to `report(cause, sample)`, changes of state to `events`; limits are constants named after the
   exchange's documentation page.
8. `Venue.dialect`, where there is one, is a model.dialect.Dialect: the exchange's public protocol, which the web server
   then serves to clients that were written for the exchange.
9. Name the venue in exchanges/registry.py, and the exchange in conf/values.py (EXCHANGES).
"""

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from model.dialect import Dialect, DialectOptions
from model.events import EventSink
from model.markets import MarketSpec
from model.ports import Dial, Feed, Listing, MarketHistory, Observe, ReadTopic, RecordReader, Report
from model.records import TradeBatch


@dataclass(frozen=True)
class FeedOptions:
    """How the streams of one market are run; `url` (a whole endpoint) replaces the exchange's own.

    `watch_topics`: books and tickers with a gap are resubscribed. `watch_trades`: so are trades that are silent while
    the price of the same feed's ticker moves; of use only where tickers are streamed. `is_redundant`: so are trades
    that only another connection of the feed brings.
    """

    url: str | None = None
    testnet: bool = False
    ping_interval_s: float = 20.0
    pong_timeout_s: float = 10.0
    subscribe_timeout_s: float = 10.0
    silence_timeout_s: float = 60.0  # books and tickers of any listed symbol send more often than this
    quarantine_s: float = 300.0  # a refused topic may be listed meanwhile
    watch_topics: bool = True
    watch_trades: bool = False
    is_redundant: bool = False


@dataclass(frozen=True)
class TradeRules:
    """Which trades count in klines beside ordinary ones."""

    count_block_trades: bool = True
    count_rpi_trades: bool = True


@dataclass(frozen=True)
class RestOptions:
    """How the REST API is reached; `url` (scheme, host, port) replaces its own; `rules`: which trades count."""

    url: str | None = None
    testnet: bool = False
    rules: TradeRules = TradeRules()


class FeedFactory(Protocol):
    """Makes the feed of a market; opens nothing. ValueError for a market that the exchange does not have."""

    def __call__(
        self, market: str, options: FeedOptions, /, *, dial: Dial, report: Report, events: EventSink, observe: Observe
    ) -> Feed: ...


class MarketRest(MarketHistory, Listing, Protocol):
    """The REST API of one market."""


class RestFactory(Protocol):
    """Makes the REST API of a market; opens nothing. `stop`, once set, ends every request with HistoryError."""

    def __call__(self, options: RestOptions, market: str, stop: threading.Event | None = None, /) -> MarketRest: ...


DecodeTrades = Callable[[Sequence[bytes]], TradeBatch]
"""Decodes trade payloads; what cannot be read is reported and left out. One thread."""


@dataclass(frozen=True)
class Venue:
    """The declaration of an exchange. `connects` are allowed per `connects_per_s` seconds and address.

    `decoder(rules, report)` decodes the trades that count. `reader(kind, report, types)` makes records of payloads for
    envelopes, None where a kind has none of `types`; `record_names` says how the fields of these are called, by type
    and common name. `read_topic` returns kind, depth of a book and symbol of a topic.
    """

    name: str
    markets: Mapping[str, MarketSpec]
    kline_markets: Collection[str]  # where trades become klines
    connects: int
    connects_per_s: float
    feed: FeedFactory
    rest: RestFactory
    decoder: Callable[[TradeRules, Report], DecodeTrades]
    reader: Callable[[str, Report, Collection[str]], RecordReader | None]
    read_topic: ReadTopic
    ids: Literal["consecutive", "unique", "none"] = "unique"  # of trades: consecutive ones prove that none is missing
    joins_coins: bool = False  # without a listing the symbol of a coin is coin and quote: BTC is BTCUSDT
    record_names: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    dialect: Callable[[DialectOptions], Dialect] | None = None  # its public protocol, which the web server serves
