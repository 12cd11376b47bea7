"""Connections that are replaced before the exchange ends them, over real sockets."""

import socket
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from exchanges.bybit.protocol import TRADE_KEYS, BybitProtocol
from exchanges.contract import Endpoints
from model.protocol import Message, Notice
from model.records import FeedMarker
from streams import Dialer, FeedOptions
from streams.feed import MarketFeed
from streams.handover import Handover, HandoverTimes
from tests.integration.streams.conftest import STOP_S, Harness
from tests.support.callbacks import Recorded
from tests.support.events import RecordedEvents
from tests.support.scripted_exchange import ScriptedExchange
from tests.support.waiting import wait_until

NOTICE = b'{"op":"notice"}'
QUICK = HandoverTimes(
    head_start_s=0.1,
    overlap_s=0.3,
    quiet_s=0.4,
    limit_s=5.0,
    linger_s=0.3,
    retry_s=0.2,
    least_age_s=0.0,
    spread_s=0.0,
)
FAST = FeedOptions(ping_interval_s=0.5, pong_timeout_s=4.0, subscribe_timeout_s=4.0, quarantine_s=1.0, handover=QUICK)
LIFETIME_S = 0.4


def trade(number: int) -> bytes:
    ms = time.time_ns() // 1_000_000
    return b'{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":%d,"data":[{"i":"%d","s":"BTCUSDT"}]}' % (ms, number)


class Market:
    """Sends numbered trades to every session of a scripted exchange, a hundred a second, until it is stopped."""

    def __init__(self, exchange: ScriptedExchange) -> None:
        self.sent: list[bytes] = []
        self._exchange, self._stop = exchange, threading.Event()
        self._thread = threading.Thread(target=self._run, name="market")

    def _run(self) -> None:
        while not self._stop.wait(0.01):
            payload = trade(len(self.sent))
            self.sent.append(payload)
            for session in list(self._exchange.sessions):
                try:
                    session.send(payload, text=True)
                except (ConnectionClosed, OSError):
                    self._exchange.sessions.remove(session)

    def __enter__(self) -> "Market":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


class Announcing(BybitProtocol):
    """Bybit's protocol, if it gave notice as OKX does."""

    def read(self, payload: bytes) -> Message:
        return Notice("upgrade") if payload == NOTICE else super().read(payload)


def feed_of(harness: Harness, events: RecordedEvents, lifetime_s: float | None = None) -> MarketFeed:
    """A feed of Bybit's, whose connections live for so long."""
    protocol: Any = Announcing("linear", Endpoints(stream=harness.exchange.url))
    protocol.lifetime_s = lifetime_s
    dial = Dialer(harness.budget, connect_timeout_s=2.0, reader=harness.reader).open
    parts: dict[str, Any] = {"dial": dial, "report": harness.report, "events": events}
    return MarketFeed(protocol, FAST, **parts, trade_keys=TRADE_KEYS)


def assert_whole(got: list[bytes], sent: list[bytes]) -> None:
    """What was got is a piece of what was sent: no message is missing, none is there twice, all are in order."""
    first = sent.index(got[0])
    assert got == sent[first : first + len(got)]


def gaps(seen: list[bytes | FeedMarker]) -> list[FeedMarker]:
    """The down markers that no connection that came up before covers, as the aggregator decides it."""
    up_ms: dict[int, int] = {}
    found = []
    for item in seen:
        if isinstance(item, FeedMarker) and item.kind == "up":
            up_ms[item.connection] = item.at_ms
        elif isinstance(item, FeedMarker):
            up_ms.pop(item.connection)
            if not up_ms or max(up_ms.values()) > item.at_ms:
                found.append(item)
    return found


def test_connections_are_replaced_ten_times_without_a_gap(harness: Harness, exchange: ScriptedExchange) -> None:
    """Every payload once and in order; no event but that the stream is connected; one connection at the end."""
    sink, events = Recorded(), RecordedEvents()
    with Market(exchange) as market:
        harness.start(("T", feed_of(harness, events, LIFETIME_S).run, ("trades", "BTCUSDT", sink)))
        harness.wait(lambda: exchange.requests >= 11)
        harness.wait(lambda: len(exchange.sessions) == 1)
        count = len(market.sent)
        harness.wait(lambda: len(market.sent) > count and market.sent[count] in sink.payloads)
        assert harness.state() == "live"
    assert_whole(sink.payloads, market.sent)
    assert gaps(sink.seen) == []
    assert events.names == ["connected"]
    assert harness.faults == []


@dataclass
class Replacement:
    """A stream whose exchange has given notice; `is_subscribed` once the new connection is."""

    harness: Harness
    exchange: ScriptedExchange
    market: Market
    sink: Recorded
    events: RecordedEvents
    is_subscribed: threading.Event

    def wait_for_new_data(self) -> None:
        """Wait until what is sent from now on arrives."""
        count = len(self.market.sent)
        self.harness.wait(lambda: len(self.market.sent) > count and self.market.sent[count] in self.sink.payloads)


@pytest.fixture
def replacement(harness: Harness, exchange: ScriptedExchange, monkeypatch: pytest.MonkeyPatch) -> Iterator[Replacement]:
    is_subscribed = threading.Event()
    subscribed = Handover.subscribed

    def note(handover: Handover, keys: Iterable[bytes]) -> None:
        subscribed(handover, keys)
        is_subscribed.set()

    monkeypatch.setattr(Handover, "subscribed", note)
    sink, events = Recorded(), RecordedEvents()
    with Market(exchange) as market:
        harness.start(("T", feed_of(harness, events).run, ("trades", "BTCUSDT", sink)))
        harness.wait(lambda: sink.payloads)
        exchange.send(NOTICE)
        yield Replacement(harness, exchange, market, sink, events, is_subscribed)


def test_a_notice_has_the_connection_replaced(replacement: Replacement) -> None:
    """Before the exchange ends it: the old one is closed by the stream."""
    replacement.harness.wait(replacement.is_subscribed.is_set)
    replacement.harness.wait(lambda: len(replacement.exchange.sessions) == 1)
    replacement.wait_for_new_data()
    assert_whole(replacement.sink.payloads, replacement.market.sent)
    assert gaps(replacement.sink.seen) == []
    assert replacement.events.names == ["connected"]
    assert replacement.exchange.requests == 2


def test_the_old_connection_may_die_while_it_is_replaced(replacement: Replacement) -> None:
    """The new one goes on where it was; nothing is missing, and nothing is said to be."""
    replacement.harness.wait(replacement.is_subscribed.is_set)
    cut(replacement.exchange.sessions[0])
    replacement.wait_for_new_data()
    assert_whole(replacement.sink.payloads, replacement.market.sent)
    assert gaps(replacement.sink.seen) == []
    assert replacement.events.names == ["connected"]
    assert replacement.exchange.requests == 2


def test_the_new_connection_may_die_while_it_takes_over(replacement: Replacement) -> None:
    """The old one goes on, and another takes over later."""
    replacement.harness.wait(replacement.is_subscribed.is_set)
    cut(replacement.exchange.sessions[1])
    replacement.harness.wait(lambda: replacement.exchange.requests == 3)
    replacement.harness.wait(lambda: len(replacement.exchange.sessions) == 1)
    replacement.wait_for_new_data()
    assert_whole(replacement.sink.payloads, replacement.market.sent)
    assert gaps(replacement.sink.seen) == []
    assert replacement.events.names == ["connected"]


def test_a_refused_connection_leaves_the_old_one_as_it_is(harness: Harness, exchange: ScriptedExchange) -> None:
    """It is tried again, with a pause."""
    sink, events = Recorded(), RecordedEvents()
    with Market(exchange) as market:
        harness.start(("T", feed_of(harness, events).run, ("trades", "BTCUSDT", sink)))
        harness.wait(lambda: sink.payloads)
        exchange.status = HTTPStatus.SERVICE_UNAVAILABLE
        exchange.send(NOTICE)
        harness.wait(lambda: exchange.requests >= 3)
        assert harness.state() == "live"
        exchange.status = None
        harness.wait(lambda: len(exchange.subscribed) == 2 and len(exchange.sessions) == 1)
        count = len(market.sent)
        harness.wait(lambda: len(market.sent) > count and market.sent[count] in sink.payloads)
    assert_whole(sink.payloads, market.sent)
    assert gaps(sink.seen) == []
    assert events.names == ["connected"]


def test_a_stop_ends_both_connections(replacement: Replacement) -> None:
    """At once, with no message after it."""
    replacement.harness.wait(replacement.is_subscribed.is_set)
    supervisor = replacement.harness.supervisor
    assert supervisor is not None
    assert supervisor.stop(STOP_S) == []
    count = len(replacement.sink.seen)
    wait_until(lambda: not replacement.exchange.sessions)
    wait_until(lambda: not [thread for thread in threading.enumerate() if thread.name == "stream-T"])
    assert len(replacement.sink.seen) == count
    assert_whole(replacement.sink.payloads, replacement.market.sent)


def test_a_connection_of_an_exchange_without_lifetime_stays(harness: Harness, exchange: ScriptedExchange) -> None:
    """No thread is started for it."""
    sink = Recorded()
    with Market(exchange):
        harness.start(("T", feed_of(harness, RecordedEvents()).run, ("trades", "BTCUSDT", sink)))
        harness.wait(lambda: len(sink.payloads) > 10)
        streams = [thread.name for thread in threading.enumerate() if thread.name.startswith("stream-")]
    assert (streams, exchange.requests) == (["stream-T"], 1)


def cut(session: Any) -> None:
    """End a connection of the exchange's without a close frame."""
    session.socket.shutdown(socket.SHUT_RDWR)
