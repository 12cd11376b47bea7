"""The books and trades that pages look at: their state, what is bounded, and that they leave nothing behind."""

import json
import threading

import pytest

from app.page.feeds import PAYLOADS, PageFeeds
from exchanges.registry import VENUES
from model.context import current
from model.events import Gap
from tests.support.settings import settings_of
from tests.support.waiting import wait_until

BYBIT = VENUES["bybit"]


class Exchange:
    """What the streams of pages do, as the test wants it."""

    def __init__(self):
        self.callbacks, self.symbols = {}, {}
        self.is_up = threading.Event()
        self.is_up.set()
        self.runs = []
        self.events = None

    def feed(self, protocol, _options, *, events, **_parts):
        exchange = self
        self.events = events

        class Feed:
            market = protocol.market

            def run(self, kind, symbols, callback, *, depth=50):
                exchange.runs.append((kind, depth))
                exchange.symbols[kind] = symbols
                if not exchange.is_up.is_set():
                    raise ConnectionError("down")
                exchange.callbacks[kind] = callback
                current().succeeded()
                while not current().stop.wait(0.01):
                    if not exchange.is_up.is_set():
                        raise ConnectionError("cut")

        return Feed()


@pytest.fixture
def exchange(monkeypatch):
    made = Exchange()
    monkeypatch.setattr("app.page.feeds.MarketFeed", made.feed)
    return made


@pytest.fixture
def feeds(exchange):
    made = PageFeeds(settings_of(RECONNECT_DELAY=0.1), BYBIT, lambda: lambda _url: None)
    yield made
    exchange.is_up.set()
    made.stop()
    wait_until(lambda: not page_threads())


def page_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("stream-page")]


def states(feeds, live):
    feeds.tick()
    return live.states()[:2]


def dump(message):
    return json.dumps(message, separators=(",", ":")).encode()


def book(kind="snapshot", bids=(("9", "1"),), asks=(("10", "2"),), symbol="BTCUSDT"):
    body = {"s": symbol, "b": bids, "a": asks, "u": 7, "seq": 8}
    return dump({"topic": f"orderbook.50.{symbol}", "type": kind, "ts": 5, "data": body})


def trade(number=1):
    row = {"T": number, "s": "BTCUSDT", "S": "Buy", "v": "0.5", "p": "9.5", "i": str(number), "BT": False}
    return dump({"topic": "publicTrade.BTCUSDT", "type": "snapshot", "ts": 5, "data": [row]})


def test_a_market_is_streamed_by_two_threads_of_its_own(feeds, exchange):
    """Its book of the smallest depth that a page needs; live only once that is there."""
    live = feeds.open("linear", "BTCUSDT")
    wait_until(lambda: states(feeds, live) == ("connecting", "live"))
    assert sorted(exchange.runs) == [("orderbook", 50), ("trades", 50)]
    assert exchange.symbols["trades"] == ["BTCUSDT"]
    assert live.book(15, changed=False) is None
    exchange.callbacks["orderbook"](book())
    assert states(feeds, live) == ("live", "live")
    shown = live.book(15, changed=True)
    assert (shown.ts, shown.bids, shown.asks) == (5, [("9", "1")], [("10", "2")])
    assert live.book(15, changed=True) is None
    assert live.book(15, changed=False) == shown


def test_trades_come_once_and_the_newest_stay_for_later_pages(feeds, exchange):
    """With the taker's side."""
    live = feeds.open("linear", "BTCUSDT")
    wait_until(lambda: "trades" in exchange.callbacks)
    for number in range(3):
        exchange.callbacks["trades"](trade(number))
    trades, skipped = live.take_trades(2)
    assert ([tuple(each) for each in trades], skipped) == ([(1, "9.5", "0.5", "buy"), (2, "9.5", "0.5", "buy")], 1)
    assert live.take_trades(2) == ([], 0)
    assert [each[0] for each in live.recent_trades()] == [0, 1, 2]


def test_a_flood_of_trades_is_cut_and_counted(feeds, exchange):
    """Memory and work stay bounded, whatever the exchange sends between two looks."""
    live = feeds.open("linear", "BTCUSDT")
    wait_until(lambda: "trades" in exchange.callbacks)
    for number in range(3 * PAYLOADS):
        exchange.callbacks["trades"](trade(number))
    trades, skipped = live.take_trades(100)
    assert (len(trades), skipped, trades[-1][0]) == (100, 3 * PAYLOADS - 100, 3 * PAYLOADS - 1)
    assert live.take_trades(100) == ([], 0)


def test_a_lost_connection_is_said_and_comes_back(feeds, exchange):
    """A book of before is no book until the exchange has sent a whole one again."""
    live = feeds.open("linear", "BTCUSDT")
    wait_until(lambda: len(exchange.callbacks) == 2)
    exchange.callbacks["orderbook"](book())
    wait_until(lambda: states(feeds, live) == ("live", "live"))
    exchange.is_up.clear()
    wait_until(lambda: states(feeds, live) == ("lost", "lost"))
    assert "comes back by itself" in live.states()[2]
    exchange.callbacks.clear()
    exchange.is_up.set()
    wait_until(lambda: len(exchange.callbacks) == 2)  # both are connected anew, and the book is forgotten
    assert live.book(15, changed=False) is None
    exchange.callbacks["orderbook"](book("delta"))
    assert live.book(15, changed=False) is None
    exchange.callbacks["orderbook"](book())
    wait_until(lambda: states(feeds, live) == ("live", "live"))


def test_symbols_of_a_market_share_its_two_connections(feeds, exchange, monkeypatch):
    """Who turns through them costs no connects; each gets what is its own, until nobody looks at it any more."""
    one, other = feeds.open("linear", "BTCUSDT"), feeds.open("linear", "ETHUSDT")
    wait_until(lambda: len(exchange.callbacks) == 2)
    deliver, symbols = exchange.callbacks["orderbook"], exchange.symbols["orderbook"]
    assert symbols == ["BTCUSDT", "ETHUSDT"]
    deliver(book(symbol="ETHUSDT", bids=[("3", "1")]))
    deliver(book(symbol="XRPUSDT"))
    assert one.book(15, changed=False) is None
    assert other.book(15, changed=False).bids == [("3", "1")]
    version = symbols.version
    one.close()
    assert (symbols, symbols.version > version) == (["ETHUSDT"], True)
    monkeypatch.setattr("app.page.feeds.KEPT_S", 0.0)
    again = feeds.open("linear", "BTCUSDT")
    assert symbols == ["ETHUSDT", "BTCUSDT"]
    deliver(book())
    assert again.book(15, changed=False).bids == [("9", "1")]
    assert one.book(15, changed=False) is None
    assert len(exchange.runs) == 2


def test_a_symbol_that_was_closed_a_moment_ago_goes_on_with_its_book(feeds, exchange, monkeypatch):
    """Its stream has noticed nothing of it, so the exchange sends changes, and no whole book again."""
    monkeypatch.setattr("app.page.feeds.KEPT_S", 600.0)
    one, _ = feeds.open("linear", "BTCUSDT"), feeds.open("linear", "ETHUSDT")
    wait_until(lambda: len(exchange.callbacks) == 2)
    deliver = exchange.callbacks["orderbook"]
    deliver(book())
    one.close()
    deliver(book("delta", bids=[("9", "5")]))
    again = feeds.open("linear", "BTCUSDT")
    deliver(book("delta", bids=[("8", "7")]))
    assert again.book(15, changed=False).bids == [("9", "5"), ("8", "7")]
    wait_until(lambda: states(feeds, again) == ("live", "live"))
    again.close()
    exchange.is_up.clear()
    wait_until(lambda: exchange.runs.count(("orderbook", 50)) > 1)  # connected anew meanwhile: what it had is old
    assert feeds.open("linear", "BTCUSDT").book(15, changed=False) is None


def test_what_is_closed_leaves_nothing_behind(feeds, exchange):
    """Neither a thread nor an entry; another market goes on, and the same one begins anew."""
    one, other = feeds.open("linear", "BTCUSDT"), feeds.open("spot", "ETHUSDT")
    wait_until(lambda: len(page_threads()) == 4)
    one.close()
    wait_until(lambda: len(page_threads()) == 2)
    assert {thread.name for thread in page_threads()} == {"stream-page spot orderbook", "stream-page spot trades"}
    other.close()
    wait_until(lambda: not page_threads())
    live = feeds.open("linear", "BTCUSDT")
    wait_until(lambda: states(feeds, live) == ("connecting", "live"))


def test_a_book_in_which_a_message_is_missing_is_not_shown(feeds, exchange):
    """What comes after the gap changes a book that is not known; the whole one that is asked for shows it again."""
    live, other = feeds.open("linear", "BTCUSDT"), feeds.open("linear", "ETHUSDT")
    wait_until(lambda: "orderbook" in exchange.callbacks)
    for symbol in ("BTCUSDT", "ETHUSDT"):
        exchange.callbacks["orderbook"](book(symbol=symbol))
    assert states(feeds, live) == ("live", "live")
    exchange.events.emit(Gap(market="linear", kind="orderbook", symbols=("BTCUSDT", "GONEUSDT"), topic="orderbook.50"))
    exchange.callbacks["orderbook"](book("delta", bids=(("9.1", "3"),)))
    assert (states(feeds, live)[0], live.book(15, changed=False)) == ("lost", None)
    assert states(feeds, other)[0] == "live"
    exchange.callbacks["orderbook"](book(bids=(("9.2", "1"),)))
    assert (states(feeds, live)[0], live.book(15, changed=True).bids) == ("live", [("9.2", "1")])
