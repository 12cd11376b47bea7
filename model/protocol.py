"""The WebSocket protocol of one market of an exchange, as the session in streams/ drives it. Pure: nothing here runs.

`exchanges/<venue>/protocol.py` implements StreamProtocol. Topics are opaque texts: only the protocol that made one
reads it. How a payload's topic, time, price and trade ids are found without parsing it is declared, not called: a
message costs no function call of a venue's.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from model.ports import Symbols, TopicOf
from model.records import Kind
from model.records import StreamLimits as StreamLimits  # re-exported: a protocol's own

NEVER = b"\x00"
"""The prefix of a kind whose data cannot be recognized by its first bytes: no message begins so."""


# -- what a received message is -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Data:
    """A market message of `topic`; "" where it names none. `is_listing`: it tells that what is listed has changed."""

    topic: str
    is_listing: bool = False


@dataclass(frozen=True, slots=True)
class Backlog:
    """Data of before the subscription: trades that were, or may have been, delivered before. It proves that the
    exchange has the topic, and is not delivered: after each reconnect it would count trades twice.
    """

    topic: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a subscribe or an unsubscribe request, or to one topic of it.

    `req_id` is "" where the exchange left it out. `accepted` and `refused` are the topics that it lists as such: where
    it lists some, the others of the request are still to be answered. `named`: topics that a refusal of the whole
    request names; `is_active`: they were refused because they are subscribed already. `of`: topics of the request that
    is answered as a whole, by which it is found where there is no `req_id`. `message` is the exchange's.
    """

    success: bool
    req_id: str = ""
    message: str = ""
    named: tuple[str, ...] = ()
    is_active: bool = False
    accepted: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    is_unsubscribe: bool = False
    of: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to a ping of ours. `time_ms` is the exchange's; 0, and "" for `req_id`, where it has none."""

    time_ms: int = field(default=0, compare=False)
    req_id: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Welcome:
    """The exchange's first message of a connection, where KeepAlive.is_welcomed: requests are sent from now on."""


@dataclass(frozen=True, slots=True)
class Ping:
    """A ping of the exchange's in a text (ping frames are answered without any venue); `reply` is sent back."""

    reply: str


@dataclass(frozen=True, slots=True)
class Notice:
    """The exchange is going to close this connection soon: it is replaced before."""

    reason: str


@dataclass(frozen=True, slots=True)
class Problem:
    """An error that belongs to no topic and no request of ours, with the exchange's text; it is counted and logged."""

    message: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """Valid JSON of no known kind."""


@dataclass(frozen=True, slots=True)
class Malformed:
    """Not JSON."""


Message = Data | Backlog | Answer | Pong | Welcome | Ping | Notice | Problem | Unknown | Malformed


# -- what is declared -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class KeepAlive:
    """How a connection is kept and proven alive. `text(req_id)` is what is sent; None: a WebSocket ping frame.

    Ping frames are for an exchange that pings in texts of its own, too: any frame that comes proves the connection.
    `most_s`: a ping is sent at least so often, whatever PING_INTERVAL says. `is_welcomed`: no request may be sent
    before the exchange's Welcome.
    """

    text: Callable[[str], str] | None = None
    most_s: float = 60.0
    is_welcomed: bool = False


@dataclass(frozen=True)
class BookSequence:
    """How the messages of an order book follow one another, by the ids that they have.

    A message follows the one of id `last` where it contains `link % (last + step)`; its own id is group 1 of `own`.
    `is_own_linked`: the id that `link` names is the message's own. `is_at_end`: the ids stand behind the levels.
    """

    link: bytes
    step: int
    own: re.Pattern[bytes]
    is_own_linked: bool = False
    is_at_end: bool = False


@dataclass(frozen=True)
class KindFrames:
    """How the data messages of one kind look.

    `prefix`: no others begin so, and nearly all of them do; NEVER where that cannot be said. One that does not is told
    by `read`, which costs some 10 us. `floor`: but what is less than it, as bytes, is none of them. `infix`: what they
    have somewhere and others that begin so do not, where the beginning alone does not tell. `marker`: the text
    before the key of the topic, which ends at the next quotation mark; found once, as near to the beginning as may be.
    `sent`: group 1 is the exchange's time of the message, in ms; of micro- and nanoseconds the first 13 digits are.
    `snapshot`: found in messages that are whole; those without it hold changes of a whole one before. None: there are
    no such two sorts. `is_steady`: any listed symbol's data comes more often than SILENCE_TIMEOUT. `is_market_wide`: a
    topic is of all symbols.
    """

    prefix: bytes
    marker: bytes
    sent: re.Pattern[bytes]
    floor: bytes = b""
    infix: bytes = b""
    snapshot: re.Pattern[bytes] | None = None
    sequence: BookSequence | None = None  # of books, where they have one
    price: re.Pattern[bytes] | None = None  # of tickers: group 1 is the price of the last trade
    is_steady: bool = False
    is_market_wide: bool = False

    def is_data(self, payload: bytes) -> bool:
        """Return whether a payload is known as data of the kind without being read."""
        return payload.startswith(self.prefix) and payload >= self.floor and self.infix in payload

    def key_in(self, payload: bytes) -> bytes:
        """Return the key of the topic of a payload; one that no topic has where it is not found."""
        begin = payload.find(self.marker)
        if begin < 0:
            return NEVER
        begin += len(self.marker)
        return payload[begin : payload.find(b'"', begin)]


@dataclass(frozen=True)
class Refusal:
    """What a refused handshake of some HTTP status means to a user, and for how long the address is left alone."""

    meaning: str
    pause_s: float


@dataclass(frozen=True)
class TradeKeys:
    """How trades in a payload are identified without parsing it: by id, within a topic.

    `marker`: the text before the key of the topic, which ends at the next quotation mark. `ids`: group 1 of each match
    is an id. `symbol % key`: a text that every payload of the topic has whose trades are of the symbol that the key is;
    None where all are. `symbols`: else one match for each trade.
    """

    marker: bytes
    ids: re.Pattern[bytes]
    symbol: bytes | None = None
    symbols: re.Pattern[bytes] | None = None


class StreamProtocol(Protocol):
    """The protocol of one market. Pure, but for `resolve`; any thread."""

    @property
    def market(self) -> str:
        """The market, by its neutral name."""

    @property
    def limits(self) -> StreamLimits:
        """The limits of a connection."""

    @property
    def keep_alive(self) -> KeepAlive:
        """How a connection is kept alive."""

    @property
    def inflate(self) -> Callable[[bytes], bytes] | None:
        """What makes the text of a binary frame; None where the exchange sends text."""

    @property
    def lifetime_s(self) -> float | None:
        """After how many seconds the exchange ends a connection; None where it names no such time."""

    @property
    def listing_topics(self) -> Sequence[str]:
        """The topics that tell that what is listed has changed, or how much a contract is: beside those of trades."""

    def endpoint(self, kind: Kind, topics: Sequence[str]) -> str:
        """Return the URL that carries topics of a kind; ValueError where several would have to. Pure."""

    def resolve(self, endpoint: str) -> str:
        """Return the URL to dial now for an endpoint: itself, or with a fresh token (exchanges.rest_client.ask).

        Called before each dial on the thread of its stream. May block; raises ConnectionError.
        """

    def topics(self, kind: Kind, symbols: Symbols, depth: int) -> list[str]:
        """Return the topics of a request, without repeats; ValueError for one that the exchange does not have."""

    def subscribe(self, req_id: str, topics: Iterable[str]) -> str:
        """Return the text of a subscribe request."""

    def unsubscribe(self, req_id: str, topics: Iterable[str]) -> str:
        """Return the text of an unsubscribe request."""

    def read(self, payload: bytes) -> Message:
        """Return what a received text is; never raises."""

    def frames(self, kind: Kind, topics: Sequence[str]) -> KindFrames:
        """Return how the data of topics of a kind looks; of the kind `topics`, what all kinds have in common."""

    def key_of(self, kind: Kind, topic: str) -> bytes:
        """Return the key that the payloads of a topic have behind the marker of the kind it is streamed as."""

    def symbol_of(self, topic: str) -> str:
        """Return the symbol of a topic as the exchange writes it; what it is of, where that is no symbol."""

    def read_topic(self, topic: str) -> TopicOf | None:
        """Return kind, depth of a book, and symbol of a topic; None where it belongs to no kind."""

    def is_wanted(self, payload: bytes, symbols: frozenset[str]) -> bool:
        """Return whether a payload of a topic that is of all symbols has one of these."""
