"""What a venue gives to main, and what it is given. Protocols and frozen records only.

How to add an exchange
----------------------
1. Make a folder `exchanges/<venue>/` with a feed class that satisfies `Feed`. Its `run` is a plain function of
   the calling (stream) thread: it blocks until the connection ends.
2. In `run`: build the topics; `link = dial(url)` (None: stopped, return); send the subscriptions with
   `link.send`; `link.pump(session, ...)` with an object that satisfies `Receiver`; `link.close()` in the end.
   Reading, frames, pings, the connect budget, backoff and stopping are done behind `dial`.
3. The session sets `prefix` to how the subscribed kind's messages begin. They go to the callback as they are
   and are not looked at again; to its `take_all` many at once, where it has one. Everything else arrives at
   `other`: acknowledgements, pongs, errors.
4. Call `link.succeeded()` at the first acknowledgement or data: until then the stream counts as failed.
5. A kind whose callback has a `mark` gets a `Marker` "up" before the first data of its symbols and "down"
   when the connection ends, on the stream thread, between the payloads where it happened.
6. Raise ConnectionError (a subclass) for what a new connection may heal, ValueError for a wrong request.
7. Hand faults to `report(cause, sample)`; keep the venue's limits as named constants with the page's name.
8. Register the class by its EXCHANGE name in exchanges/registry.py. Nothing else of the house changes: rooms do not
   import each other, so streams/ is only known through these protocols.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal, Protocol

Kind = Literal["trades", "orderbook", "ticker", "liquidations", "topics"]
"""What a stream carries; `topics` is whatever topics are named, for those the others do not cover."""

Report = Callable[[str, bytes], None]
"""Counts a fault by its cause; the sample is cut by whoever logs it. Thread safe, does not block."""


Observe = Callable[[int, str], object]
"""Takes an exchange time (ms) that a message of a source, a symbol for example, had: it has passed. Thread safe."""


def observe_nothing(_time_ms: int, _source: str) -> None:
    """An Observe for where nobody wants to know."""


class Delivery(Protocol):
    """How far the data of one connection has come, and what can be done where that is in question. Any thread."""

    def watermark_ms(self, now_ms: int) -> int:
        """All that the exchange sent until then (its clock, `now_ms` at most) has gone to the callback; 0: unknown."""

    def probe(self, now_ms: int) -> None:
        """Ping; once that is answered the watermark is at least `now_ms`. One a second is sent, or little more."""

    def recover(self, symbol: str) -> None:
        """Subscribe a symbol anew, or connect anew where nothing comes at all: trades of it were missed."""


@dataclass(frozen=True, slots=True)
class Marker:
    """A feed came up or went down for some symbols, in the order of their data.

    "up": from the next payload on the data is whole, `at_ms` is now. "down": nothing is known after `at_ms`, the
    wall clock at the last received frame. Milliseconds since the epoch by the local clock. `connection` tells those
    of one connection from those of another; `delivery` is its.
    """

    kind: Literal["up", "down"]
    market: str
    symbols: tuple[str, ...]
    at_ms: int
    connection: int = field(default=0, compare=False)
    delivery: Delivery | None = field(default=None, compare=False)


class Receiver(Protocol):
    """What a link's pump calls, on one thread at a time; see streams/connection.py for the details."""

    never_blocks: bool
    prefix: bytes

    @property
    def deliver_all(self) -> Callable[[Sequence[bytes]], object] | None:
        """`deliver` for many at once, in their order; None where the callback takes one at a time."""

    def deliver(self, payload: bytes, /) -> object:
        """Hand one payload to the callback; what that raises passes through."""

    def other(self, payload: bytes) -> bool:
        """Take a text message that does not begin with `prefix`; True where it was data."""

    def failed(self, payload: bytes, error: BaseException) -> None:
        """Learn that `deliver` raised."""

    def fault(self, cause: str, sample: bytes) -> None:
        """Learn of a frame that is not delivered as usual."""

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
        """Say that the subscription works: the backoff begins anew."""

    def send(self, text: str) -> None:
        """Send one text message; raises ConnectionError."""

    def call_soon(self, action: Callable[[], object]) -> None:
        """Have `action` called on the reading thread; what it raises ends the connection. Any thread."""

    def pump(
        self, receiver: Receiver, *, ping: str, ping_interval_s: float, pong_timeout_s: float, tick_s: float
    ) -> None:
        """Read and dispatch until stopped (returns) or until the connection ends (raises ConnectionError)."""

    def close(self) -> None:
        """Close it; never raises."""


Dial = Callable[[str], Link | None]
"""Open a URL within the connect budget; None when the stream was stopped; raises ConnectionError."""


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """What one connection may carry: characters of all its topics, `characters_per_topic` beside each name; and how
    many topics a message may have, 0 where that is not limited."""

    characters: int
    characters_per_topic: int
    topics_per_message: int


class Feed(Protocol):
    """One market of one exchange. `run` may be called by many stream threads at once."""

    market: str
    url: str
    limits: StreamLimits

    def topics(self, kind: Kind, symbols: str | Sequence[str], depth: int = 50) -> list[str]:
        """What `run` would subscribe; ValueError for a request the exchange cannot serve."""

    def run(
        self, kind: Kind, symbols: str | Sequence[str], callback: Callable[[bytes], object], *, depth: int = 50
    ) -> None:
        """Stream one kind of some symbols over one connection to `callback`, exact bytes.

        Symbols with an attribute `version` may change while this runs, the version growing after each change: within
        a second the new ones are subscribed and the others left, on the same connection. They are never none.

        Returns when the stream was stopped, raises ConnectionError when the connection ended, ValueError for a
        request the exchange cannot serve.
        """


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


@dataclass(frozen=True, slots=True)
class Listed:
    """One symbol that can be streamed now. `turnover` is of 24 hours, comparable within its market.

    `is_dated`: a contract that ends, beside the perpetual one of the same base and quote.
    """

    symbol: str
    base: str
    quote: str
    turnover: float
    is_dated: bool = False


@dataclass(frozen=True, slots=True)
class PastTrade:
    """One trade from the exchange's memory; the fields of the stream's trades, and what may keep it out of klines."""

    trade_id: str
    event_ms: int
    price: float
    size: float
    seq: int
    is_block: bool = False
    is_rpi: bool = False


def unreadable_trade(event_ms: int) -> PastTrade:
    """The place of a trade that could not be read: it has no size. Nothing is known of its moment."""
    return PastTrade("", event_ms, 0.0, 0.0, 0)


class HistoryError(Exception):
    """The exchange's memory could not be read now: unreachable, limited, or an answer that makes no sense.

    `is_final`: the exchange refuses the question itself, an unknown symbol for example; to ask again is no use.
    """

    def __init__(self, text: str, *, is_final: bool = False) -> None:
        super().__init__(text)
        self.is_final = is_final


class History(Protocol):
    """What one market of an exchange remembers. Thread safe; calls block, and keep the exchange's limits."""

    url: str
    """Where it is asked: scheme, host and port."""

    candle_steps_ms: Sequence[int]
    """Lengths of candles it serves, ascending; calendar weeks are 604,800,000 and months 0."""

    def server_time_ms(self) -> int:
        """The exchange's clock; raises HistoryError."""

    def candles(self, symbol: str, step_ms: int, start_ms: int, end_ms: int) -> list[Candle]:
        """Candles with start_ms <= start < end_ms, oldest first, the open one included; raises HistoryError."""

    def recent_trades(self, symbol: str) -> list[PastTrade]:
        """The newest trades, oldest first, without a hole between them; raises HistoryError.

        What could not be read of them is there as an `unreadable_trade`; where the last is one, nothing newer is known.
        """


class Listing(Protocol):
    """What one market of an exchange lists. Thread safe; blocks, and keeps the exchange's limits."""

    def listed(self, *, pre_market: bool = False) -> list[Listed]:
        """Every symbol that can be streamed now, with `pre_market` those before their listing; raises HistoryError."""
