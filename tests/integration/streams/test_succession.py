"""Connections that are replaced before the exchange ends them, over real sockets."""

import gc
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from exchanges.bybit.protocol import TRADE_KEYS, BybitProtocol
from exchanges.contract import Endpoints
from model.protocol import Message, Notice
from model.records import FeedMarker
from streams import ConnectBudget, Dialer, FeedOptions
from streams.connection import Connection
from streams.feed import MarketFeed
from streams.handover import Handover, HandoverTimes
from streams.plan import LiveSymbols
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
    """Sends numbered trades to every session of a scripted exchange, one every `every_s`, until it is stopped."""

    def __init__(self, exchange: ScriptedExchange, every_s: float = 0.01) -> None:
        self.sent: list[bytes] = []
        self._exchange, self._every_s, self._stop = exchange, every_s, threading.Event()
        self._thread = threading.Thread(target=self._run, name="market")

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
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


def feed_of(
    harness: Harness, events: RecordedEvents, lifetime_s: float | None = None, options: FeedOptions = FAST
) -> MarketFeed:
    """A feed of Bybit's, whose connections live for so long."""
    protocol: Any = Announcing("linear", Endpoints(stream=harness.exchange.url))
    protocol.lifetime_s = lifetime_s
    dial = Dialer(harness.budget, connect_timeout_s=2.0, reader=harness.reader).open
    parts: dict[str, Any] = {"dial": dial, "report": harness.report, "events": events}
    return MarketFeed(protocol, options, **parts, trade_keys=TRADE_KEYS)


def assert_whole(got: list[bytes], sent: list[bytes]) -> None:
    """What was got is a piece of what was sent: no message is missing, none is there twice, all are in order."""
    first = sent.index(got[0])
    assert got == sent[first : first + len(got)]


def gaps(seen: list[bytes | FeedMarker], symbol: str = "BTCUSDT") -> list[FeedMarker]:
    """The down markers of a symbol that no connection that came up before covers, as the aggregator decides it."""
    up_ms: dict[int, int] = {}
    found = []
    for item in seen:
        if isinstance(item, bytes) or symbol not in item.symbols:
            continue
        if item.kind == "up":
            up_ms[item.connection] = item.at_ms
        else:
            up_ms.pop(item.connection)
            if not up_ms or max(up_ms.values()) > item.at_ms:
                found.append(item)
    return found


def test_connections_are_replaced_five_times_without_a_gap(harness: Harness, exchange: ScriptedExchange) -> None:
    """Every payload once and in order; no event but that the stream is connected; one connection at the end."""
    sink, events = Recorded(), RecordedEvents()
    with Market(exchange) as market:
        harness.start(("T", feed_of(harness, events, LIFETIME_S).run, ("trades", "BTCUSDT", sink)))
        harness.wait(lambda: exchange.requests >= 6)
        harness.wait(lambda: len(exchange.sessions) == 1)
        count = len(market.sent)
        harness.wait(lambda: len(market.sent) > count and market.sent[count] in sink.payloads)
        assert harness.state() == "live"
    assert_whole(sink.payloads, market.sent)
    assert gaps(sink.seen) == []
    assert events.names == ["connected"]
    assert harness.faults == []


def test_replaced_connections_are_freed_at_once(harness: Harness, exchange: ScriptedExchange) -> None:
    """Without a garbage collector: none is kept by the one that replaced it, nor by a thread."""
    gc.collect()
    gc.disable()
    try:
        with Market(exchange):
            harness.start(("T", feed_of(harness, RecordedEvents(), LIFETIME_S).run, ("trades", "BTCUSDT", Recorded())))
            harness.wait(lambda: exchange.requests >= 12)
            before = exchange.requests  # at last one, the next, and those that just end: far fewer than there were
            harness.wait(lambda: sum(type(each) is Connection for each in gc.get_objects()) <= 6)
            assert before >= 12
    finally:
        gc.enable()


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


@pytest.mark.parametrize("then", [["BTCUSDT", "SOLUSDT", "XRPUSDT"], ["BTCUSDT"]], ids=["more", "fewer"])
def test_symbols_may_change_while_a_connection_is_replaced(
    harness: Harness, exchange: ScriptedExchange, then: list[str]
) -> None:
    """The new connection has those that are desired then; the symbols that stay have no gap."""
    sink, events, symbols = Recorded(), RecordedEvents(), LiveSymbols(["BTCUSDT", "SOLUSDT"])
    with Market(exchange) as market:
        harness.start(("T", feed_of(harness, events).run, ("trades", symbols, sink)))
        harness.wait(lambda: sink.payloads)
        exchange.send(NOTICE)
        harness.wait(lambda: len(exchange.subscribed) == 2)
        symbols.replace(then)
        harness.wait(lambda: exchange.requests >= 2 and len(exchange.sessions) == 1)
        changed = exchange.subscribed if len(then) > 2 else exchange.unsubscribed
        topic = "publicTrade.XRPUSDT" if len(then) > 2 else "publicTrade.SOLUSDT"
        harness.wait(lambda: any(topic in topics for topics in changed))
        count = len(market.sent)
        harness.wait(lambda: len(market.sent) > count and market.sent[count] in sink.payloads)
    assert_whole(sink.payloads, market.sent)
    up: dict[str, set[int]] = defaultdict(set)
    for marker in (item for item in sink.seen if isinstance(item, FeedMarker)):
        for symbol in marker.symbols:
            (up[symbol].add if marker.kind == "up" else up[symbol].remove)(marker.connection)
    assert {symbol for symbol, connections in up.items() if connections} == set(then)
    assert [gap for symbol in {"BTCUSDT", "SOLUSDT"} & set(then) for gap in gaps(sink.seen, symbol)] == []


def test_a_connection_that_is_refused_a_topic_does_not_take_over(harness: Harness, exchange: ScriptedExchange) -> None:
    """The old one has it still, and goes on until another has all of its topics."""
    sink, events, both = Recorded(), RecordedEvents(), {"BTCUSDT", "SOLUSDT"}
    quick = replace(FAST, handover=replace(QUICK, limit_s=1.0))
    with Market(exchange) as market:
        feed = feed_of(harness, events, options=quick)
        harness.start(("T", feed.run, ("trades", sorted(both), sink)))
        harness.wait(
            lambda: {symbol for item in sink.seen if isinstance(item, FeedMarker) for symbol in item.symbols} == both
        )
        exchange.refuse = lambda topics: "no such topic: publicTrade.SOLUSDT" if any("SOL" in t for t in topics) else ""
        exchange.send(NOTICE)
        harness.wait(lambda: exchange.requests >= 3)
        assert gaps(sink.seen) == gaps(sink.seen, "SOLUSDT") == []
        exchange.refuse = lambda _topics: None
        harness.wait(lambda: len(exchange.sessions) == 1)
        count = len(market.sent)
        harness.wait(lambda: len(market.sent) > count and market.sent[count] in sink.payloads)
    assert_whole(sink.payloads, market.sent)
    assert gaps(sink.seen) == gaps(sink.seen, "SOLUSDT") == []


class NotedBudget(ConnectBudget):
    """A budget that keeps when connects were allowed."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.allowed_s: list[float] = []

    def try_acquire(self, host: str) -> float:
        wait_s = super().try_acquire(host)
        if not wait_s:
            self.allowed_s.append(time.monotonic())
        return wait_s


def test_forty_connections_that_get_notice_at_once_are_replaced_one_after_another(
    harness: Harness, exchange: ScriptedExchange
) -> None:
    """Within the budget of connects, spread over some time, none twice; each stream is whole."""
    sinks, events = [Recorded() for _ in range(40)], RecordedEvents()
    harness.budget = budget = NotedBudget(2, 0.1)
    spread = replace(FAST, handover=replace(QUICK, spread_s=2.0, limit_s=20.0))
    with Market(exchange, every_s=0.1) as market:
        feed = feed_of(harness, events, options=spread)
        harness.start(*((f"T{i}", feed.run, ("trades", "BTCUSDT", sink)) for i, sink in enumerate(sinks)))
        harness.wait(lambda: all(sink.payloads for sink in sinks))
        exchange.send(NOTICE)
        harness.wait(lambda: exchange.requests == 80 and len(exchange.sessions) == 40)
        count = len(market.sent)
        harness.wait(lambda: all(len(market.sent) > count and market.sent[count] in sink.payloads for sink in sinks))
    assert exchange.requests == 80
    dialed_s = sorted(budget.allowed_s)[40:]  # each has asked the budget
    assert len(dialed_s) == 40
    assert dialed_s[-1] - dialed_s[0] > 1.0
    for sink in sinks:
        assert_whole(sink.payloads, market.sent)
        assert gaps(sink.seen) == []


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
