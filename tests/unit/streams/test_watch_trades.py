"""Trades that are silent while their price moves: found, emitted, marked as of then, and resubscribed alone."""

import json
from functools import partial
from itertools import pairwise

import pytest

from model.events import NO_EVENTS
from model.pacing import LogThrottle
from model.records import FeedMarker
from streams.session import Session, SessionKind
from streams.subscription import Quarantine, Subscription
from streams.watch import LastPrices, SequenceWatch, TradeWatch, TradeWatchOptions
from tests.support.callbacks import Recorded
from tests.support.events import RecordedEvents
from tests.support.protocol import events_of, frames_of, protocol_of
from tests.unit.streams.test_session import Link

TOPICS = ("publicTrade.BTCUSDT", "publicTrade.ETHUSDT")
TICKERS = {f"tickers.{symbol}".encode(): symbol for symbol in ("BTCUSDT", "ETHUSDT", "SOLUSDT")}  # key -> symbol
WALL_MS = 1_767_717_000_000


def trade(symbol="BTCUSDT"):
    return b'{"topic":"publicTrade.%s","type":"snapshot","ts":1,"data":[]}' % symbol.encode()


class Harness:
    """Tickers and trades of two symbols on one clock; `advance` moves it."""

    def __init__(self):
        self.now_s = 100.0
        self.prices = LastPrices(frames_of("ticker"), clock=lambda: self.now_s, wall_ms=self.wall_ms)
        self.link, self.sink = Link(), Recorded()
        self.events = RecordedEvents()
        self.subscription = Subscription(TOPICS, lambda batch: [tuple(batch)], Quarantine(300), 10)
        events = events_of(self.events, "trades", TOPICS)
        watch = TradeWatch(protocol_of(), frames_of("trades"), TOPICS, self.prices, events, wall_ms=self.wall_ms)
        about = SessionKind("trades", frames_of("trades"), None)
        self.session = Session(
            self.link,
            protocol_of(),
            about,
            self.subscription,
            self.sink,
            lambda *_: None,
            events,
            tracebacks=LogThrottle(),
            watch=watch,
            clock=lambda: self.now_s,
        )
        self.session.begin()
        self.acknowledge()
        self.link.sent.clear()
        self.events.events.clear()

    def wall_ms(self):
        return WALL_MS + int(self.now_s * 1000)

    def acknowledge(self):
        request = self.link.sent[-1]
        ack = {"success": True, "ret_msg": "", "req_id": request["req_id"], "op": request["op"]}
        self.session.other(json.dumps(ack).encode())

    def price(self, text, symbol="BTCUSDT", late_ms=0):
        sent_ms = self.wall_ms() - late_ms
        data = b'{"symbol":"%s","lastPrice":"%s"}' % (symbol.encode(), text.encode())
        self.ticker(b'{"topic":"tickers.%s","type":"delta","data":%s,"ts":%d}' % (symbol.encode(), data, sent_ms))

    def ticker(self, payload):
        self.prices.observe([payload], TICKERS)

    def trade(self, symbol="BTCUSDT"):
        self.session.deliver(trade(symbol))

    def advance(self, seconds, *, each=lambda: None, tick_s=2.5):
        """Time passes, with a tick now and then."""
        for _ in range(int(seconds / tick_s)):
            self.now_s += tick_s
            self.link.last_data_s = self.now_s  # other topics of the connection bring data
            each()
            self.session.tick(self.now_s)

    def left(self):
        """Topics that were unsubscribed, to be subscribed again."""
        return [topic for sent in self.link.sent if sent["op"] == "unsubscribe" for topic in sent["args"]]


@pytest.fixture
def harness():
    return Harness()


def test_a_silent_topic_whose_price_moves_is_resubscribed(harness):
    """It alone; the status channel gets it."""
    both = lambda: (harness.trade("ETHUSDT"), harness.price("9", "ETHUSDT"))  # noqa: E731
    harness.advance(20, each=both)
    harness.price("1")
    harness.advance(10, each=both)
    harness.price("2")
    harness.advance(TradeWatchOptions.timeout_s + 5, each=both)

    assert harness.left() == ["publicTrade.BTCUSDT"]
    [(event, fields)] = harness.events.emitted
    assert (event, fields["topic"], fields["symbols"]) == ("stale", "publicTrade.BTCUSDT", ["BTCUSDT"])
    assert fields["silent_s"] > 30


def test_the_gap_begins_before_the_last_trade_that_came(harness):
    """Not when it was found: what closed meanwhile was not complete."""
    harness.advance(10, each=harness.trade)
    last_s = harness.now_s
    harness.advance(10)
    harness.price("1")
    harness.advance(10)
    harness.price("2")
    harness.advance(TradeWatchOptions.timeout_s + 5)

    down = [mark for mark in harness.sink.seen if isinstance(mark, FeedMarker) and mark.kind == "down"]
    assert [(mark.symbols, mark.at_ms) for mark in down] == [(("BTCUSDT",), WALL_MS + int((last_s - 2.5) * 1000))]


def test_trades_that_come_are_no_silence(harness):
    """However the price moves."""
    for number in range(20):
        harness.price(str(number))
        harness.advance(TradeWatchOptions.check_s, each=harness.trade)
    assert harness.left() == []


def test_a_quiet_symbol_is_left_alone(harness):
    """Hours without a trade and without a move of the price."""
    for _ in range(100):
        harness.price("1")
        harness.advance(60)
    assert harness.left() == []


def test_a_single_trade_after_a_long_rest_is_no_silence(harness):
    """Its price moved between two looks that are an hour apart, and the trade came."""
    harness.price("1")
    harness.advance(3600)
    harness.trade()
    harness.price("2")
    harness.advance(3600)
    assert harness.left() == []


def test_a_delayed_ticker_makes_no_topic_suspect(harness):
    """Its price is of when it was sent: the trade of then has come before it."""
    harness.trade()
    harness.advance(20)
    harness.price("1", late_ms=21_000)
    harness.advance(5)
    harness.price("2")
    harness.advance(60)
    assert harness.left() == []


def test_a_topic_that_is_suspect_again_and_again_is_given_more_time(harness):
    """A price that moves by itself costs a gap less and less often."""
    found: list[int] = []
    for second in range(0, 600, 5):
        harness.price(str(second))
        harness.advance(5)
        while len(harness.left()) > len(found):
            found.append(second)
            for _ in range(2):  # left, and subscribed again
                harness.acknowledge()
    gaps = [after - before for before, after in pairwise(found)]
    assert 3 <= len(found) <= 8
    assert gaps == sorted(gaps)


def test_a_topic_that_is_not_active_is_not_judged(harness):
    """It was just resubscribed; the gap is marked."""
    harness.advance(10)
    harness.subscription.active.discard("publicTrade.BTCUSDT")
    harness.prices.moves[b"BTCUSDT"] = harness.now_s + 20
    harness.advance(60)
    assert harness.left() == []


def test_symbols_may_change(harness):
    """Those that go are forgotten, those that come are watched."""
    watch = TradeWatch(
        protocol_of(), frames_of("trades"), TOPICS, harness.prices, events_of(NO_EVENTS, "trades", TOPICS)
    )
    watch.set_topics(["publicTrade.ETHUSDT", "publicTrade.SOLUSDT"])
    resubscribed: list[str] = []
    watch.resubscribe = lambda topic, _since_ms: resubscribed.append(topic) is None
    active = {*TOPICS, "publicTrade.SOLUSDT"}
    watch.tick(100.0, active)
    for symbol in ("BTCUSDT", "SOLUSDT"):
        harness.prices.moves[symbol] = 120.0
    watch.tick(140.0, active)
    watch.tick(160.0, active)
    assert resubscribed == ["publicTrade.SOLUSDT"]


def test_a_watch_of_tickers_records_prices_where_they_are_set(harness):
    """One look serves both."""
    events = events_of(NO_EVENTS, "ticker", ["tickers.BTCUSDT"])
    watch = SequenceWatch(
        protocol_of(),
        frames_of("ticker"),
        ["tickers.BTCUSDT"],
        silence_s=60,
        noncontiguous=set(),
        report=lambda *_: None,
        events=events,
        prices=harness.prices,
    )
    for price in (b"1", b"2"):
        watch.observe([b'{"topic":"tickers.BTCUSDT","type":"snapshot","data":{"lastPrice":"%s"},"ts":1}' % price])
        harness.now_s += TradeWatchOptions.check_s
    assert set(harness.prices.moves) == {"BTCUSDT"}


def test_payloads_without_a_price_are_no_look(harness):
    """Most deltas have none; garbage has nothing."""
    for payload in (b'{"topic":"tickers.BTCUSDT","type":"delta","data":{"bid1Price":"1"},"ts":1}', b"{", b""):
        harness.ticker(payload)
    assert harness.prices.moves == {}


def test_the_exchanges_time_is_taken_from_tickers_that_are_looked_at():
    """One of a symbol every few seconds: without trades it is what feeds the clock."""
    observed: list[tuple[int, str]] = []
    harness = Harness()
    harness.prices = LastPrices(
        frames_of("ticker"),
        clock=lambda: harness.now_s,
        wall_ms=harness.wall_ms,
        observe_time=lambda *what: observed.append(what),
    )
    for _ in range(2):
        harness.price("1")
    harness.price("1", "ETHUSDT", late_ms=50)
    assert observed == [(harness.wall_ms(), "BTCUSDT"), (harness.wall_ms() - 50, "ETHUSDT")]


class Peers:
    """Two connections with the same topics and no tickers."""

    def __init__(self):
        self.watches: list[TradeWatch] = []
        self.resubscribed: list[tuple[int, str]] = []
        events = events_of(NO_EVENTS, "trades", TOPICS)
        for number in range(2):
            watch = TradeWatch(protocol_of(), frames_of("trades"), TOPICS, None, events, peers=self.watches)
            watch.resubscribe = partial(self.resubscribe, number)
            self.watches.append(watch)
        self.now_s = 100.0

    def resubscribe(self, number: int, topic: str, _since_ms: int | None) -> bool:
        self.resubscribed.append((number, topic))
        return True

    def run(self, seconds, *brings):
        """`brings`: connection and symbol of trades that come every second."""
        for _ in range(seconds):
            self.now_s += 1.0
            for number, symbol in brings:
                self.watches[number].observe([trade(symbol)])
            for watch in self.watches:
                watch.tick(self.now_s, set(TOPICS))


def test_what_only_the_other_connection_brings_is_missed():
    """One of two is subscribed and silent: it alone is resubscribed, for the topic that it does not bring."""
    peers = Peers()
    both = ((0, "BTCUSDT"), (0, "ETHUSDT"), (1, "BTCUSDT"), (1, "ETHUSDT"))
    peers.run(60, *both)
    assert peers.resubscribed == []
    peers.run(int(TradeWatchOptions.timeout_s) + 3, *both[:3])
    assert peers.resubscribed == [(1, "publicTrade.ETHUSDT")]


def test_what_neither_connection_brings_is_quiet():
    """Nor does a connection that has ended count."""
    peers = Peers()
    peers.run(60, (0, "BTCUSDT"), (1, "BTCUSDT"))
    del peers.watches[0]
    peers.run(600)
    assert peers.resubscribed == []


@pytest.mark.parametrize("digits", [19, 400, 5_000])
def test_a_time_of_many_digits_costs_itself(digits):
    """It is no time; the connection that brought it goes on."""
    observed = []
    prices = LastPrices(frames_of("ticker"), observe_time=lambda ms, _symbol: observed.append(ms))
    prices.observe([b'{"topic":"tickers.X","data":{"lastPrice":"1"},"ts":%s}' % (b"9" * digits)], {b"tickers.X": "X"})
    assert (observed, prices.moves) == ([], {})


def test_how_long_a_missed_topic_was_silent_is_its_own_figure(harness):
    """Its neighbour on the same connection has data all the time."""
    harness.advance(50, each=lambda: harness.trade("ETHUSDT"))
    harness.link.last_data_s = harness.now_s
    harness.session.delivery.recover("BTCUSDT")

    assert [fields["silent_s"] for event, fields in harness.events.emitted if event == "stale"] == [47.5]
