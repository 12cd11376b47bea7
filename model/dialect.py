"""The port between the web server and an exchange's own WebSocket protocol, which it may serve beside its own.

Records and Protocols only. The server owns sockets, logins, queues and frames; a dialect owns paths, topics, requests
and answers. All methods are called on the server's event loop; payloads are handed on byte for byte.
"""

from collections.abc import Callable, Collection, Container, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from model.ports import ContractSizes
from model.records import Kline

RawPayload = tuple[str, bytes]
"""Market and payload."""

Topic = tuple[str, str]
"""Market and topic."""


@dataclass(frozen=True)
class DialectOptions:
    """The topics that clients may subscribe: `intervals` as the settings name them (1m, 1D), `kinds` as RAW_STREAMS.

    `symbols` gives a market's symbols as they are now, `contract_sizes` what a contract is where there are some.
    `pass_on` takes topics that are not collected, and are to be streamed for clients alone from then on, and no others:
    their payloads come to `take_raw` with `passed_on(market)` for their market. None: there is no such thing here.
    """

    markets: tuple[str, ...] = ("linear",)
    kinds: tuple[str, ...] = ("trades", "orderbook", "ticker", "liquidations")
    depth: int = 50
    intervals: tuple[str, ...] = ("1m",)
    symbols: Callable[[str], Collection[str]] = lambda _market: ()
    contract_sizes: ContractSizes = lambda _market, _symbol: None
    pass_on: Callable[[Collection[Topic]], object] | None = None


def passed_on(market: str) -> str:
    """Return what stands for a market where payloads are of streams that are passed on: collected ones may be equal."""
    return f"{market} passed on"


class TopicPublisher(Protocol):
    """The port to which a dialect's messages go: each client that subscribed to their topic gets them."""

    def is_wanted(self, market: str, topic: str) -> bool:
        """Return whether any client subscribed to the topic."""

    def publish(self, market: str, topic: str, payload: bytes, conflate: object = None) -> None:
        """Send a message to the topic's subscribers; `conflate` names what a newer one with that name replaces."""

    def interrupt(self, market: str, topic: str) -> None:
        """Close the connections of the topic's subscribers, as if the exchange's had ended: they read the rest."""


class DialectClient(Protocol):
    """One connected client, as its session uses it."""

    @property
    def connection_id(self) -> str:
        """The connection's own id, which answers may carry."""

    @property
    def query(self) -> str:
        """The query of the URL that it connected to, percent-encoded as it came; "" without one."""

    @property
    def is_open(self) -> bool:
        """Whether data may still be sent."""

    def send(self, payload: bytes) -> None:
        """Send one message of data."""

    def answer(self, text: str) -> None:
        """Send one answer of the protocol."""

    def subscribe(self, market: str, topics: Iterable[str]) -> None:
        """Send the messages of these topics from now on, and of no others."""


class Dialect(Protocol):
    """An exchange's public WebSocket protocol, served to clients written for the exchange."""

    @property
    def name(self) -> str:
        """The exchange's name, as error messages show it."""

    @property
    def paths(self) -> Container[str]:
        """The paths on which the protocol is served: what has names in it may have any number."""

    @property
    def unreadable(self) -> int:
        """Payloads that could not be decoded; any thread."""

    def start(self, publisher: TopicPublisher) -> None:
        """Publish to `publisher` from now on; before any other call."""

    def session(self, path: str, client: DialectClient) -> Callable[[str | bytes], None]:
        """Return what answers each message of a client that connected to one of `paths`; it never raises."""

    def authorized(self, connection_id: str) -> str:
        """Return the answer to a right login."""

    def unauthorized(self, connection_id: str) -> str:
        """Return the answer to a wrong login."""

    def latest(self, market: str, topic: str) -> bytes | None:
        """Return the newest message of state of a topic, a whole book or ticker; None where it is not kept."""

    def topic_of(self, payload: bytes) -> str:
        """Return the topic that a raw payload belongs to, "" where it has none."""

    def take_raw(self, payloads: Sequence[RawPayload], lost: Collection[Topic]) -> None:
        """Take raw payloads in their order; `lost` are the topics of which older payloads are missing."""

    def closed(self, market: str, klines: Sequence[Kline]) -> None:
        """Take closed klines."""

    def opened(self, klines: Sequence[tuple[str, Kline]]) -> None:
        """Take the present state of open klines, each with its market."""
