"""What a dialect answers clients with: the control messages of its sockets, and its REST.

Event loop thread only. A dialect's module `service` has `open_service(world: World) -> Service`. How to write both:
dialect.py.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

from .hub import Hub, Session, Topic
from .market import Market
from .options import KINDS, Options
from .rest import Answer, Request
from .rest_faults import RestFaults


@dataclass(frozen=True, slots=True)
class World:
    """What a service works on.

    `find` gives the topic of a name on a path, replayed ones first; None for what does not exist or is refused on
    command. `first` gives what a new subscriber of it gets at once. Subscribing is `hub.join` and then
    `hub.snapshot_to` for each of those. `ws_base` gives the address of the sockets, for REST that hands it out.
    """

    options: Options
    hub: Hub
    market: Market
    find: Callable[[str, str], Topic | None]
    first: Callable[[Topic], Iterable[str]]
    ws_base: Callable[[], str] = str


class Service(Protocol):
    """One exchange's answers. Nothing that a client sends may raise. Inherit Usual, and write what is left."""

    @property
    def commands(self) -> Mapping[str, Callable[[dict[str, Any]], Any]]:
        """Commands of its own, by POST /sim/<name>."""

    @property
    def questions(self) -> Mapping[str, Callable[[dict[str, str]], Any]]:
        """Questions of its own, by GET /sim/<name>."""

    @property
    def kinds(self) -> tuple[str, ...]:
        """What it publishes of its linear markets."""

    @property
    def has_turnover(self) -> bool:
        """Whether the candles of its REST have a turnover of their own, to the last digit."""

    @property
    def faults(self) -> RestFaults:
        """The faults of its REST; `answer` applies them."""

    def opened(self, session: Session, target: str) -> None:
        """A connection was accepted: path and query of its URL, which may name streams."""

    def handle(self, session: Session, message: str | bytes) -> None:
        """Answer a client's message: `session.push_text`, `session.end`, or nothing."""

    def notice(self, session: Session) -> str:
        """What announces the planned end of a connection; "" where the exchange announces nothing."""

    def ping(self, session: Session) -> str:
        """The text of the exchange's own ping; "" where it is a ping frame."""

    def refusal(self, target: str) -> tuple[int, str] | None:
        """HTTP status and text that refuse a handshake, by path and query of its URL; None where it is accepted."""

    def answer(self, request: Request) -> Answer:
        """Answer a REST request, or say how its answer fails to arrive."""

    def refuse_rest(self, seconds: float, code: int) -> dict[str, Any]:
        """Refuse all of REST for a while, with an HTTP status or a code of the exchange's (0: the usual one)."""

    def tick(self) -> None:
        """The market has moved."""


class Usual:
    """What most exchanges have: all kinds, no commands of their own, no notice, ping frames, no refused handshake."""

    commands: Mapping[str, Callable[[dict[str, Any]], Any]] = MappingProxyType({})
    questions: Mapping[str, Callable[[dict[str, str]], Any]] = MappingProxyType({})
    kinds: tuple[str, ...] = KINDS
    has_turnover = True

    def notice(self, session: Session) -> str:  # noqa: ARG002
        """Nothing is announced."""
        return ""

    def ping(self, session: Session) -> str:  # noqa: ARG002
        """A ping frame."""
        return ""

    def refusal(self, target: str) -> tuple[int, str] | None:  # noqa: ARG002
        """None."""
        return None

    def tick(self) -> None:
        """Nothing."""
