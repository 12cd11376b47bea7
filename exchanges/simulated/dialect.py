"""What an exchange is to the engine: names, instruments, candle rule, the text of its payloads.

A dialect is pure but for the state of its streams; event loop thread only. The exchange's answers to clients are its
service (service.py).

How to write one. Read the exchange's documentation and recordings, not our own venue: the two must not share a
misreading. Make the folder `<name>/` with `dialect.py` and `service.py`; begin with trades of one market.

1. `instrument`, `rule`, `marks`, `trade_ids`. Sizes in contracts: `Instrument.contract_size`; true candles multiply.
   Ids that are not consecutive, or that are not there: the text that `TradeIds.text` makes of a number, which stays
   `Trade.number`. Prints that count in no candle, placeholders: a `Mark` each.
2. `channel` (the paths), `find` (names of topics), `stream`: a class for each kind of topic, which overrides what
   Stream has for it. The engine calls `trades` with the matches of one moment, oldest first: reverse them where the
   exchange sends the newest first, send one message each where it does. `first` is what a new subscriber gets at once:
   a snapshot, or a backlog out of `symbol.recent`. What is gathered and sent at intervals goes out by `repeat`.
3. Books. Where every topic begins with its own snapshot: book.BookStream. Where a snapshot of REST is joined by ids:
   `state` returns a book.OwnBook, REST and all streams read its one SymbolBook, which `numbered` gives its ids.
4. `limits`: all that the sockets bear, as limits.SocketLimits says. Paths with limits of their own: `session.limits`.
5. The service, which inherits service.Usual: `opened` (welcome messages, topics in a URL), `handle`, `answer` (REST).
   Which topics a request names, how many it may, and how each is answered, is the service's alone.
   - No public liquidations: `kinds = ("trades", "orderbook", "ticker")`, which the demonstration goes by.
   - Candles of REST without a turnover, or with a rounded one: `has_turnover = False`.
   - Everything compressed: `opened` sets `session.wrap = frames.gzip_frame`. Wrappings of one connection:
     `session.reframe`.
   - The exchange's own pings are messages: `ping` returns their text, `handle` calls `session.answer_ping()`.
   - REST gives an address and a token before the dial: `world.ws_base()`, and `refusal` for tokens that are not good.
   - Limits of requests by time: limits.Window, limits.Weights. Nothing that a client sends may raise.
6. `garbage`, `topic_of`, `kind_of`, `categories_of`, `carried`: for faults on command, and replays of recordings.

Then test it as those beside it are: each odd truth by a plain client, so that it fails when the truth is taken out;
ccxt, unmodified; `python -m exchanges.conformance <name>`; main.py against it, candles equal to /sim/klines.
"""

from collections.abc import Callable, Mapping
from random import Random
from typing import Any, NamedTuple, Protocol

from .hub import Topic
from .instruments import Instrument
from .limits import SocketLimits
from .options import Options
from .symbol_market import Stream, SymbolMarket
from .trades import Mark, TradeIds
from .truth import CandleRule, Interval

Symbols = Mapping[tuple[str, str], SymbolMarket]  # the listed ones by category and name


class Found(NamedTuple):
    """What a topic's name means. `kind`: trades, orderbook, ticker, liquidation or kline.

    `detail`: the depth of a book, the interval of a kline (a key of `intervals`). `label` stands for its symbol; ""
    for a topic of the whole market, whose `symbols` are all of its `categories`: what is listed later joins it.
    """

    category: str
    kind: str
    label: str
    symbols: list[SymbolMarket]
    detail: str = ""
    categories: tuple[str, ...] = ()


class Garbage(NamedTuple):
    """What hand-made messages are made of. `head` begins a data message of a topic, up to where a field may follow."""

    trade: Callable[[str, str, str], bytes]
    """A trade message that never happened: topic, price, size."""
    head: Callable[[str], bytes]
    unknown: bytes
    """Data of a topic that does not exist."""
    pong: bytes
    """An answer to nothing, in no known shape."""
    price_key: bytes
    """How a price is named in trades, with quotes and colon."""
    nameless: str
    """A topic of trades, where nothing is subscribed."""


class Dialect(Protocol):
    """One exchange. `categories` are linear, inverse, spot (or more), the same words for every exchange's commands."""

    @property
    def name(self) -> str:
        """What the exchange is called in messages to people."""

    @property
    def categories(self) -> tuple[str, ...]:
        """All it has; the usual ones are `usual_categories`."""

    @property
    def usual_categories(self) -> tuple[str, ...]:
        """Those that are listed without --categories."""

    @property
    def intervals(self) -> Mapping[str, Interval]:
        """Its names of intervals, as in kline topics and REST: milliseconds, or "M" for months."""

    @property
    def limits(self) -> SocketLimits:
        """What it bears of a client's sockets."""

    @property
    def garbage(self) -> Garbage:
        """The pieces of hand-made messages."""

    def check(self, options: Options) -> str:
        """A sentence about options that make no sense here, "" for none."""

    # the market

    def instrument(self, category: str, index: int) -> Instrument:
        """The index-th symbol of a category, always the same."""

    def rule(self, category: str) -> CandleRule:
        """How candles are made."""

    def marks(self, category: str) -> tuple[Mark, ...]:
        """The odd prints among its trades."""

    def trade_ids(self, instrument: Instrument, index: int, rng: Random, now_us: int) -> TradeIds:
        """How a symbol's trades are numbered; a restarted exchange must not repeat a number."""

    def state(self, symbol: SymbolMarket, now_ms: int) -> Any:
        """What is kept of a symbol from its listing on, as `symbol.own`."""

    # topics

    def channel(self, path: str) -> str | None:
        """The name of a WebSocket path, which sessions have as their category; None where there is no such path."""

    def categories_of(self, channel: str, name: str) -> tuple[str, ...]:
        """The categories of which a path may carry a topic of that name; none where another path has it."""

    def find(self, symbols: Symbols, channel: str, name: str) -> Found | None:
        """What a topic's name means on a path; None where there is no such topic, or no such listed symbol."""

    def stream(self, found: Found, topic: Topic, symbol: SymbolMarket) -> Stream:
        """What the topic carries of one of its symbols."""

    def topic_of(self, body: bytes) -> str | None:
        """The topic of a recorded payload; None for control frames, REST answers and what is no JSON."""

    def carried(self, topic: str, body: bytes) -> bytes:
        """A recorded payload in the wrapping that topics carry: itself, where the exchange has one alone."""

    def kind_of(self, name: str) -> str:
        """The kind of a topic of a recording, old names included; "other" where it has none."""
