"""The private stream: orders, executions, positions, wallet, over one authenticated connection.

`PrivateFeed.run` is the function of a supervised stream thread. After a drop it authenticates and subscribes anew;
what happened meanwhile is not repeated by Bybit: read it by REST after the `connected` event. docs: websocket/private.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from exchanges.bybit.client.calls import Keys
from exchanges.bybit.client.errors import code_of
from exchanges.bybit.protocol import BybitProtocol, read_message
from exchanges.contract import Endpoints
from model.events import EventSink
from model.pacing import LogThrottle
from model.ports import Dial, Link
from model.protocol import NEVER, StreamLimits
from streams import FeedOptions
from streams.events import StreamEvents
from streams.session import Session, SessionKind
from streams.subscription import Quarantine, Subscription

OPTIONS = FeedOptions()  # the times of the public streams

log = structlog.get_logger()

AUTH_VALID_MS = 10_000  # the signature's life: a connection may be slow to carry it
AUTH_TIMEOUT_S = 10.0
TICK_S = 0.25  # how soon a new topic is subscribed
KEEPALIVE: dict[str, Any] = {
    "ping_interval_s": OPTIONS.ping_interval_s,
    "pong_timeout_s": OPTIONS.pong_timeout_s,
}


class PrivateProtocol(BybitProtocol):
    """The protocol of a private connection: that of the public ones, without a limit of topics."""

    def __init__(self) -> None:
        super().__init__("linear", Endpoints())
        self.market, self.limits = "private", StreamLimits()


class AuthRefusedError(ConnectionError):
    """The exchange did not accept the key on a socket, or did not answer."""


def auth_message(keys: Keys, now_ms: int) -> str:
    """The auth request as of exchange time `now_ms`. Holds the key: never logged."""
    expires = now_ms + AUTH_VALID_MS
    return json.dumps({"op": "auth", "args": [keys.api_key, expires, keys.sign(f"GET/realtime{expires}")]})


class AuthHandshake:
    """The state of one connection's authentication: waiting, accepted or refused. Pure."""

    def __init__(self, name: str) -> None:
        self.is_open = False
        self._refusal: str | None = None
        self._name = name
        self._deadline_s: float | None = None

    def answered(self, payload: bytes) -> bool:
        """Read a message; True where it accepted the key. A refusal is raised by the next `tick`."""
        try:
            message = json.loads(payload)
        except (ValueError, RecursionError):
            return False
        if not isinstance(message, dict) or message.get("op") != "auth":
            return False
        if message.get("success") is True or code_of(message) == 0:  # private, trade stream
            self.is_open = True
            return True
        self._refusal = str(message.get("ret_msg") or message.get("retMsg") or "an answer to auth without a code")
        return False

    def tick(self, now_s: float) -> None:
        """Check the deadline; raises AuthRefusedError, which a receiver may not while it takes a message."""
        if self._refusal is not None:
            raise AuthRefusedError(f"{self._name}: {self._refusal}")
        self._deadline_s = self._deadline_s or now_s + AUTH_TIMEOUT_S
        if not self.is_open and now_s > self._deadline_s:
            raise AuthRefusedError(f"{self._name}: no answer to auth within {AUTH_TIMEOUT_S:g} s")


class PrivateSession:
    """A Session after an AuthHandshake: nothing is subscribed before the key is accepted. A model.ports.Receiver."""

    never_blocks = False
    deliver_all = None

    def __init__(self, session: Session) -> None:
        self._session = session
        self._handshake = AuthHandshake("private")
        self.prefix, self.floor = NEVER, session.floor
        self.deliver, self.failed, self.fault = session.deliver, session.failed, session.fault
        self.ping, self.pong = session.ping, session.pong

    def other(self, payload: bytes) -> bool:
        """Read the answer to auth, then every message as Session does."""
        if not self._handshake.is_open:
            if self._handshake.answered(payload):
                self._session.begin()
            return False
        is_data = self._session.other(payload)
        self.prefix = self._session.prefix
        return is_data

    def tick(self, now_s: float) -> None:
        """Check deadlines."""
        self._handshake.tick(now_s)
        if self._handshake.is_open:
            self._session.tick(now_s)
            self.prefix = self._session.prefix


class PrivateFeed:
    """The private streams of one key. `now_ms` may block: it measures the exchange's time where it is unknown."""

    def __init__(self, url: str, keys: Keys, *, dial: Dial, now_ms: Callable[[], int], events: EventSink) -> None:
        self._url, self._keys, self._dial, self._now_ms = url, keys, dial, now_ms
        self._quarantine, self._tracebacks = Quarantine(OPTIONS.quarantine_s), LogThrottle()
        self._protocol = PrivateProtocol()
        self._events = StreamEvents(events, "private", "private", (), self._protocol.symbol_of)

    def run(
        self, topics: Sequence[str], changed: Callable[[], list[str] | None], callback: Callable[[bytes], object]
    ) -> None:
        """Stream `topics`, and those that `changed()` returns later, until stopped; raises ConnectionError."""
        reason = "stopped"
        try:
            auth = auth_message(self._keys, self._now_ms())
            link = self._dial(self._url)
            if link is not None:
                self._events.set_topics(topics)
                subscription = Subscription(topics, one_by_one, self._quarantine, OPTIONS.subscribe_timeout_s)
                about = SessionKind("topics", self._protocol.frames("topics", ()), None)
                session = Session(
                    link, self._protocol, about, subscription, callback, _report, self._events,
                    tracebacks=self._tracebacks, changed=changed,
                )  # fmt: skip
                self._pump(link, auth, session)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise
        finally:
            self._events.disconnected(reason)

    def _pump(self, link: Link, auth: str, session: Session) -> None:
        try:
            link.send(auth)
            link.read_until_closed(PrivateSession(session), **KEEPALIVE, tick_s=TICK_S)
        finally:
            session.ended()
            link.close()


def one_by_one(topics: Sequence[str]) -> list[tuple[str, ...]]:
    """One topic per message: all-in-one and categorised ones may not be mixed, and a bad one refuses its neighbours."""
    return [(topic,) for topic in topics]


def _report(cause: str, sample: bytes) -> None:
    """A fault of the private stream; the sample holds account data and is not logged."""
    log.warning("private_stream_fault", cause=cause, message=type(read_message(sample)).__name__)
