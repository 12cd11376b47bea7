"""The ports between packages: what one needs of another, as Protocols. Each is declared here alone.

Typing only: nothing here runs. Who implements a port names it in its docstring.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple, Protocol, runtime_checkable

from model.problems import Problem
from model.records import Candle, FeedMarker, Instrument, Kind, Kline, PastTrade, Record, StreamLimits

Report = Callable[[str, bytes], None]
"""`report(cause, sample)` counts a fault by its cause; the logger cuts the sample. Thread safe, never blocks."""

ContractSizes = Callable[[str, str], Decimal | None]
"""`(market, symbol)`: how much of the base coin (of inverse contracts, how many dollars) a size of 1 is; None where
it is not known, or not yet. Any thread; never blocks."""

Callback = Callable[[bytes], object]
"""A user's function of one payload, exact bytes."""

Symbols = str | Sequence[str]
"""One name of a symbol, or topic, or several."""

Depth = int | None
"""Levels of an order book; None is ORDERBOOK_DEPTH."""

TopicOf = tuple[Kind, Depth, str]
"""Kind, depth of a book, and symbol of a topic."""

ReadTopic = Callable[[str], TopicOf | None]
"""Reads a topic; None for one that belongs to no kind."""

Observe = Callable[[int, str], object]
"""`observe(time_ms, source)` takes an exchange time that a message of a source, e.g. a symbol, had. Thread safe."""


def ignore_time(_time_ms: int, _source: str) -> None:
    """Drop an exchange time: the Observe of a feed without a clock."""


FieldNames = Callable[[str, str], Mapping[str, str]]
"""The fields of an exchange's records of one type, by the names that all exchanges' have in common: "price" is "p"."""


def own_names(_exchange: str, _data_type: str) -> Mapping[str, str]:
    """Return no names: the FieldNames where every record has the common ones."""
    return {}


SymbolOf = Callable[[str, bytes], str]
"""The symbol of a payload of a channel, as the exchange writes it; "" where it has none. One thread."""


def of_no_symbol(_channel: str, _payload: bytes) -> str:
    """Return no symbol: the SymbolOf where nobody reads payloads."""
    return ""


# -- payloads -------------------------------------------------------------------------------------------------


PutAll = Callable[[Sequence[bytes]], object]
"""Takes the payloads that one read of a socket brought, in their order; never blocks, never raises."""


@runtime_checkable
class PayloadSink(Protocol):
    """The port for the payloads of one stream, exact bytes, in their order. Called on stream threads; never blocks.

    `app.pipeline.Pipeline` is the one that fans out; `callbacks.redundancy` stands before it where two connections
    carry one stream. A user's own callback is a function of one payload.
    """

    never_blocks: bool
    """Whether it always returns at once: then its connections are read on one thread."""

    def __call__(self, payload: bytes, /) -> object:
        """Take one payload."""

    def put_all(self, payloads: Sequence[bytes], /) -> object:
        """Take what one read of a socket brought."""

    def mark(self, marker: FeedMarker, /) -> object:
        """Take a feed marker at its place between two payloads."""


class RedundantSink(PayloadSink, Protocol):
    """A PayloadSink of several connections with the same symbols; `callbacks.redundancy.RedundantTrades` is one."""

    merged: int
    """Messages dropped, because all their trades were known."""

    partly_seen: int
    """Messages passed on with some known trades."""


class RecordReader(Protocol):
    """Decodes payloads of one market and kind, in their order, to records by data type. `envelopes` thread only."""

    without_snapshot: int
    """Deltas dropped, because their symbol had no snapshot to be merged with."""

    def __call__(self, payloads: Sequence[bytes]) -> Mapping[str, Sequence[Record]]: ...

    def mark_uncertain(self, symbols: Iterable[str] | None = None) -> None:
        """Record that messages of these symbols, None: of any, may be missing before the next payload."""


class Receiver(Protocol):
    """The port of a connection's reader to the exchange's session. Called on one thread at a time."""

    never_blocks: bool
    """Whether `deliver` always returns at once: then many connections are read on one thread."""

    prefix: bytes
    """Text messages that begin so, and end in "}", go to `deliver` without a further look. May change at any time."""

    floor: bytes
    """But those that are less than it, as bytes, do not."""

    @property
    def deliver_all(self) -> Callable[[Sequence[bytes]], object] | None:
        """`deliver` for many payloads at once, in their order; None where the callback takes one at a time."""

    def deliver(self, payload: bytes, /) -> object:
        """Call the callback. What it raises is handed to `failed`, and the stream lives."""

    def other(self, payload: bytes) -> bool:
        """Take any other text message; True where it was data. May call `deliver`, whose errors pass through."""

    def ping(self) -> None:
        """Send a ping: one is due. Raises ConnectionError."""

    def pong(self, payload: bytes) -> None:
        """Take the answer to a ping frame."""

    def failed(self, payload: bytes, error: BaseException) -> None:
        """Count that the callback raised `error` for `payload`."""

    def fault(self, cause: str, sample: bytes) -> None:
        """Count a message that was not delivered as usual."""

    def tick(self, now_s: float) -> None:
        """Keep deadlines (monotonic seconds); raises ConnectionError to end the connection."""


class Link(Protocol):
    """An open connection of one stream, handed out by `Dial`. One thread."""

    @property
    def last_frame_ms(self) -> int:
        """Local wall clock at the last received frame, ms since the epoch."""

    @property
    def last_data_s(self) -> float | None:
        """Monotonic time of the last data message; None before the first."""

    @property
    def stopped(self) -> bool:
        """Whether the stream was asked to end."""

    def succeeded(self) -> None:
        """Record that the subscription works: the backoff begins anew."""

    def send(self, text: str) -> None:
        """Send one text message; raises ConnectionError."""

    def send_ping_frame(self, payload: bytes) -> None:
        """Send a WebSocket ping frame; raises ConnectionError."""

    def call_soon(self, action: Callable[[], object]) -> None:
        """Have `action` called on the reading thread; what it raises ends the connection. Any thread."""

    def read_until_closed(
        self,
        receiver: Receiver,
        *,
        ping_interval_s: float,
        pong_timeout_s: float,
        tick_s: float,
        inflate: Callable[[bytes], bytes] | None = None,
        infix: bytes = b"",
    ) -> None:
        """Read and dispatch until stopped (returns) or until the connection ends (raises ConnectionError).

        `inflate` makes the text of a binary frame; None: such a frame is a fault. Messages that have `infix` nowhere do
        not go to `deliver`, however they begin.
        """

    def close(self) -> None:
        """Close it; never raises."""


Dial = Callable[[str], Link | None]
"""Open a URL within the connect budget; None when the stream was stopped; raises ConnectionError."""


class Feed(Protocol):
    """One market of one exchange. `run` may be called by many stream threads at once."""

    @property
    def market(self) -> str:
        """The market."""

    @property
    def limits(self) -> StreamLimits:
        """The limits of a connection."""

    def endpoint(self, kind: Kind, topics: Sequence[str] = ()) -> str:
        """Return the URL that carries topics of a kind."""

    def is_market_wide(self, kind: Kind) -> bool:
        """Return whether a topic of a kind is of all symbols."""

    def topics(self, kind: Kind, symbols: Symbols, depth: int = 50) -> list[str]:
        """Return what `run` would subscribe; ValueError for a request the exchange cannot serve."""

    def quarantined(self) -> Mapping[str, int]:
        """Return how many topics the exchange refuses now, by kind. Any thread."""

    def run(self, kind: Kind, symbols: Symbols, callback: Callback, *, depth: int = 50) -> None:
        """Stream one kind of some symbols over one connection to `callback`, exact bytes.

        Symbols with an attribute `version` may change while this runs, the version growing after each change: within
        a second the new ones are subscribed and the others left, on the same connection. They are never none.

        Returns when the stream was stopped, raises ConnectionError when the connection ended, ValueError for a
        request the exchange cannot serve.
        """


class ReadRoundListener(Protocol):
    """The port called around each round of reads, on the reader's thread; never blocks."""

    def round_started(self) -> object:
        """Hold what the sockets are about to bring, so that it leaves in one write."""

    def round_finished(self) -> object:
        """Send what this round brought, or wake the thread that does."""


# -- klines ---------------------------------------------------------------------------------------------------


class KlineSink(Protocol):
    """The port that takes closed klines. Aggregator, repair and audit threads; never blocks."""

    def put(self, market: str, klines: Sequence[Kline], /) -> object:
        """Take klines of one market, oldest first."""


AuditResults = Callable[[str, Record], object]
"""`(market, record)`: a difference that the audit found, or the counts of a minute. Audit thread; never blocks."""


def ignore_result(_market: str, _record: Record) -> None:
    """Drop a result: the AuditResults where nobody keeps them."""


class CandleStore(Protocol):
    """The klines that were collected, the highest revision of each. Thread safe; blocks for some milliseconds.

    `step_ms` is the step of an interval (model.intervals; 0 for months). Raises StoreError where it cannot be read.
    """

    @property
    def commits(self) -> int:
        """How often klines were added since the start: what was read holds while this is the same. Never blocks."""

    def klines(
        self,
        market: str,
        symbol: str,
        step_ms: int,
        start_ms: int = 0,
        end_ms: int | None = None,
        limit: int | None = None,
    ) -> Sequence[Kline]:
        """Return the newest `limit` klines with start_ms <= start < end_ms, oldest first; none where there are none."""

    def rows(
        self,
        market: str,
        symbol: str,
        step_ms: int,
        form: Sequence[str],
        start_ms: int = 0,
        end_ms: int | None = None,
        limit: int | None = None,
        *,
        newest_first: bool = False,
    ) -> "KlineRows":
        """Return the same klines written by the database itself, which holds no GIL: 1,000 in a millisecond or two.

        `form`: texts, and in every second place the name of a field of Kline: ('["', "timestamp", '","', "open", '"]').
        Numbers are plain decimals, `complete` is true or false.
        """

    def first_ms(self, market: str, symbol: str, step_ms: int) -> int | None:
        """Return the start of the oldest kline of a series; None where there is none."""

    def series(self) -> Sequence["StoredSeries"]:
        """Return every series of which there is a kline."""

    def journal(self, after_id: int = -1, limit: int = 100) -> Sequence[tuple[int, str]]:
        """Return ids and records (JSON) of the journal, oldest first: those after an id, of -1 the newest."""


class StoreError(Exception):
    """The store could not be read."""


@dataclass(frozen=True, slots=True)
class KlineRows:
    """Klines as text with commas between them, and what they are: `first_ms` and `last_ms` are starts."""

    text: str
    count: int
    complete: int
    first_ms: int
    last_ms: int


class StoredSeries(NamedTuple):
    """A series of the store, and the starts of its oldest and newest klines."""

    market: str
    symbol: str
    step_ms: int
    first_ms: int
    last_ms: int


# -- the exchange's REST API ----------------------------------------------------------------------------------


class HistoryError(Exception):
    """The exchange's REST API could not be read now: unreachable, limited, or an answer that makes no sense.

    `is_final`: the exchange refuses the request itself, an unknown symbol for example; to repeat it is no use.
    `problem`: why it cannot be reached, or takes nothing from here; None where it is about anything else.
    """

    def __init__(self, text: str, *, is_final: bool = False, problem: Problem | None = None) -> None:
        super().__init__(text)
        self.is_final, self.problem = is_final, problem


class MarketHistory(Protocol):
    """Past trades and candles of one market of an exchange. Thread safe; calls block, and keep its limits."""

    @property
    def url(self) -> str:
        """Scheme, host and port of the REST API."""

    @property
    def candle_steps_ms(self) -> Sequence[int]:
        """Lengths of candles it serves, ascending; calendar weeks are 604,800,000 and months 0."""

    def server_time_ms(self) -> int:
        """Return the exchange's clock; raises HistoryError."""

    def candles(self, symbol: str, step_ms: int, start_ms: int, end_ms: int) -> Sequence[Candle]:
        """Return candles with start_ms <= start < end_ms, oldest first, the open one included; raises HistoryError."""

    def recent_trades(self, symbol: str) -> Sequence[PastTrade]:
        """Return the newest trades, oldest first, without a hole between them; raises HistoryError.

        What could not be read of them is there as an `unreadable_trade`; where the last is one, nothing newer is known.
        Those that do not count in candles are there, too.
        """

    def trades_by_id(self, symbol: str, first_id: int, last_id: int) -> Sequence[PastTrade]:
        """Return the trades that have these ids, both ends included, oldest first; raises HistoryError.

        Those that do not count are there, too; ids that the exchange does not have any more, or not yet, are left out.
        A trade that stands for several matches may begin before `first_id` and end after `last_id`. Called only where
        an exchange numbers the trades of each symbol one after the other; others return nothing.
        """


class Listing(Protocol):
    """The instruments of one market of an exchange. Thread safe; blocks, and keeps the exchange's limits."""

    def listed(self, *, pre_market: bool = False) -> list[Instrument]:
        """Return every symbol that can be streamed now, with `pre_market` those before their listing; HistoryError."""


class Clock(Protocol):
    """The exchange's time. `changes` counts how often its offset became certain, or another one."""

    @property
    def changes(self) -> int: ...

    @property
    def offset_ms(self) -> int: ...

    @property
    def is_known(self) -> bool: ...

    def now_ms(self) -> int: ...

    def sure_ms(self) -> int: ...

    def span_of(self, host_ms: int, /) -> tuple[int, int]: ...


class HistorySource(Protocol):
    """Past trades and candles of all markets of an exchange; None where its REST API cannot be read now. Blocks."""

    def candle_steps_ms(self, market: str) -> Sequence[int]:
        """As MarketHistory.candle_steps_ms. Any thread, sends nothing."""

    @property
    def clock(self) -> Clock:
        """The exchange's clock."""

    def candles(self, market: str, symbol: str, step_ms: int, start_ms: int, end_ms: int) -> Sequence[Candle] | None:
        """As MarketHistory.candles; None where its REST API cannot be read now."""

    def recent_trades(self, market: str, symbol: str) -> Sequence[PastTrade] | None:
        """As MarketHistory.recent_trades; None where its REST API cannot be read now."""

    def trades_by_id(self, market: str, symbol: str, first_id: int, last_id: int) -> Sequence[PastTrade] | None:
        """As MarketHistory.trades_by_id; None where its REST API cannot be read now."""

    def look_at_clock(self) -> None:
        """Measure the exchange's time where that is due."""

    def wait_for_clock(self, limit_s: float) -> None:
        """Wait until `look_at_clock` has been called once, by another thread."""
