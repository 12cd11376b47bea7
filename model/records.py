"""The records that packages hand to each other: trades, candles, klines, instruments, feed markers.

Pure data, each declared here alone. Times `_ms` are milliseconds since the epoch, UTC.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple, Protocol

import msgspec

Kind = Literal["trades", "orderbook", "ticker", "liquidations", "topics"]
"""What a stream carries; `topics` are topics named by the user that no other kind has."""

Record = dict[str, Any]
"""A ticker, price, trade or status event as a plain dict, its fields as the exchange names them."""

TradeId = str | int
"""The id of a trade: an int where an exchange numbers the trades of a symbol one after the other, else a text."""

Written = tuple[Decimal, Decimal]
"""Price and size of a trade, to the last digit."""


class Kline(msgspec.Struct, frozen=True, gc=False):
    """One closed kline of one symbol, its fields in the order of the envelope.

    `interval` and `timestamp` (the start) are milliseconds; `interval` of a month is its real length.
    Prices, `volume` (base coin; USD for inverse) and `turnover` are exact decimals; of inverse contracts it is in the
    coin, by the exchange's rule (model.markets.KlineRules). `complete` is False where the feed was not proven alive
    over the whole interval, or the open is not known since a gap. `source` is "trades" or "exchange"; `revision` is 0
    for the first issue and counts up with every correction. What goes out again after a restart jumps further: the
    highest is what counts.
    """

    symbol: str
    interval: int
    timestamp: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    trade_count: int
    turnover: Decimal
    complete: bool
    source: Annotated[str, msgspec.Meta(extra_json_schema={"enum": ["trades", "exchange"]})]
    revision: int


SeriesKey = tuple[str, str, int]
"""Market, symbol and step of the interval (model.intervals; 0 for months): the series that a kline belongs to."""


class LastPublished(NamedTuple):
    """The newest kline published of one series: its start, revision, and whether complete."""

    start_ms: int
    revision: int
    complete: bool


MarketKlines = Sequence[tuple[str, Kline]]
"""(market, last revision)."""


@dataclass(frozen=True, slots=True)
class Published:
    """What an earlier run published: the newest kline of each series, and some whole.

    `recent` are those that ended lately, and the incomplete ones. Of `unconfirmed` ones nobody knows whether they were
    published. What ended after `certain_until_ms` may have been published with a higher revision than `recent` has.
    """

    last: Mapping[SeriesKey, LastPublished] = field(default_factory=dict)
    recent: MarketKlines = ()
    unconfirmed: MarketKlines = ()
    certain_until_ms: int = 1 << 62


@dataclass(frozen=True, slots=True)
class Candle:
    """One candle as the exchange itself gives it, exact decimals; `start_ms` since the epoch, UTC."""

    start_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    turnover: Decimal


@dataclass
class TradeBatch:
    """Decoded trades of one market, in stream order, of a message in the order of matching; six equally long columns.

    `event_ms` is the exchange's match time; `seq` its sequence number, 0 where it sends none. Sizes are as the exchange
    writes them, without a sign: in contracts where the market has some. `matches` is how many matches each stands for,
    the last of which has its id; None: one each. `uncounted`: symbol and id of trades that are there and do not count
    in candles. An exchange without ids: see exchanges.contract.Ids.
    """

    symbols: list[str]
    event_ms: list[int]
    prices: list[float]
    sizes: list[float]
    seqs: list[int]
    ids: Sequence[TradeId]
    broken: list[str] = field(default_factory=list)  # symbols of which a trade could not be read
    # Prices and sizes to the last digit, for the few trades that need it; empty where the payloads cannot be read.
    written: Callable[[], Sequence[Written]] = field(default=tuple, kw_only=True)
    matches: Sequence[int] | None = field(default=None, kw_only=True)
    uncounted: Sequence[tuple[str, TradeId]] = field(default=(), kw_only=True)

    @classmethod
    def joined(cls, parts: "Sequence[TradeBatch]") -> "TradeBatch":
        """Return the trades of several batches of one decoder, at least one, in their order."""
        if len(parts) == 1:
            return parts[0]

        def column(name: str) -> Any:
            values: list[Any] = []
            for part in parts:
                values += getattr(part, name)
            return values

        def written() -> Sequence[Written]:
            found = [part.written() for part in parts]
            is_whole = all(len(each) == len(part.symbols) for each, part in zip(found, parts, strict=True))
            return [*itertools.chain.from_iterable(found)] if is_whole else ()

        names = "symbols", "event_ms", "prices", "sizes", "seqs", "ids", "broken"
        matches = None if parts[0].matches is None else column("matches")
        return cls(*map(column, names), written=written, matches=matches, uncounted=column("uncounted"))

    def at(self, kept: Sequence[int]) -> "TradeBatch":
        """Return the trades at these positions."""
        return TradeBatch(
            [self.symbols[i] for i in kept],
            [self.event_ms[i] for i in kept],
            [self.prices[i] for i in kept],
            [self.sizes[i] for i in kept],
            [self.seqs[i] for i in kept],
            [self.ids[i] for i in kept],
            self.broken,
            written=lambda: [written[i] for i in kept] if len(written := self.written()) == len(self.symbols) else (),
            matches=None if (matches := self.matches) is None else [matches[i] for i in kept],
            uncounted=self.uncounted,
        )


@dataclass(frozen=True, slots=True)
class PastTrade:
    """One trade from the exchange's REST API, its fields as in TradeBatch. `is_counted`: it counts in candles."""

    trade_id: TradeId
    event_ms: int
    price: float
    size: float
    seq: int
    matches: int = 1
    is_counted: bool = True


def unreadable_trade(event_ms: int) -> PastTrade:
    """Return the placeholder of a trade that could not be read: it has no size, and its time is not known."""
    return PastTrade("", event_ms, 0.0, 0.0, 0)


@dataclass(frozen=True, slots=True)
class Instrument:
    """One symbol that can be streamed now. `turnover` is of 24 hours, comparable within its market.

    `is_dated`: a contract that expires, beside the perpetual one of the same base and quote. `contract_size`: how much
    of the base coin (of inverse contracts, how many dollars) a size of 1 is; None where the exchange does not tell.
    """

    symbol: str
    base: str
    quote: str
    turnover: float
    is_dated: bool = False
    contract_size: Decimal | None = Decimal(1)


class Delivery(Protocol):
    """How far the data of one connection has come, and how to recover it. Any thread; never blocks."""

    def watermark_ms(self, now_ms: int) -> int:
        """All that the exchange sent until then (its clock, `now_ms` at most) has been delivered; 0: unknown."""

    def probe(self, now_ms: int) -> None:
        """Ping; once that is answered the watermark is at least `now_ms`. One a second is sent, or little more."""

    def recover(self, symbol: str) -> None:
        """Subscribe a symbol anew, or connect anew where nothing comes at all: trades of it were missed."""


@dataclass(frozen=True, slots=True)
class FeedMarker:
    """A feed came up or went down for some symbols, in the order of their data.

    "up": from the next payload on the data is whole, `at_ms` is now. "down": nothing is proven after `at_ms`, the
    wall clock at the last received frame. Milliseconds since the epoch by the local clock. `connection`
    distinguishes the markers of several connections; `delivery` is the connection's.
    """

    kind: Literal["up", "down"]
    market: str
    symbols: tuple[str, ...]
    at_ms: int
    connection: int = field(default=0, compare=False)
    delivery: Delivery | None = field(default=None, compare=False)


@dataclass(frozen=True)
class StreamLimits:
    """The limits of one connection and of one message to the exchange; 0 where something is not limited.

    A topic costs its UTF-8 length and `bytes_per_topic` more, in a message and in the connection's sum.
    `requests_per_hour`: subscribe and unsubscribe messages in any hour. `channel_of`: topics of one message share what
    it returns, where the exchange has a message for each channel.
    """

    topics: int = 0
    bytes: int = 0
    bytes_per_topic: int = 0
    topics_per_message: int = 0
    bytes_per_message: int = 0
    messages_per_s: float = 0.0
    requests_per_hour: int = 0
    channel_of: Callable[[str], str] | None = None

    def cost(self, topic: str) -> int:
        """Return what a topic costs of `bytes` and `bytes_per_message`."""
        return len(topic.encode()) + self.bytes_per_topic
