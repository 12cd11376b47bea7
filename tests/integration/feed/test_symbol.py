"""The order book and trades of a symbol, read of a scripted socket of a page: when they are sure, what is joined."""

import json
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

from feed import Feed, FeedError, UnknownSymbolError
from feed.symbol import Trade
from tests.support.waiting import wait_until

MARKETS = {"linear": {"symbols": ["BTCUSDT", "ETHUSDT"], "intervals": ["1m"]}}
ABOUT = {"market": "linear", "symbol": "BTCUSDT"}


def listed(*rows: tuple[int, str]) -> list[list[Any]]:
    """Trades as a page gets them, of so many milliseconds after the first one."""
    return [[NOW_MS + ms, price, "1", "buy"] for ms, price in rows]


def after_first(trades: Iterable[Trade]) -> list[int]:
    return [trade.timestamp - NOW_MS for trade in trades]


class Page:
    """The collector's side of the socket /live: what `first` has is sent after a view, then what the test sends."""

    def __init__(self) -> None:
        self.first: list[dict[str, Any]] = []
        self.views: list[dict[str, str]] = []
        self.closes: tuple[int, str] | None = None
        self._socket: ServerConnection | None = None
        self._server = serve(self._talk, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def _talk(self, socket: ServerConnection) -> None:
        if self.closes:
            socket.close(*self.closes)
            return
        socket.send(json.dumps({"type": "hello", "markets": MARKETS}))
        try:
            self.views.append(json.loads(socket.recv()))
            self._socket = socket
            for message in self.first:
                self.send(**message)
            while True:
                socket.recv()
        except ConnectionClosed:
            return

    def send(self, **message: object) -> None:
        assert self._socket
        self._socket.send(json.dumps({**ABOUT, **message}))

    def feed(self, book: str = "live", tape: str = "live") -> None:
        self.send(type="feed", book=book, tape=tape, text="")

    def book(self, price: str = "9.5") -> None:
        self.send(type="book", ts=5, bids=[[price, "1"]], asks=[["10", "2"]])

    def trades(self, *rows: tuple[int, str], is_first: bool = False, skipped: int = 0) -> None:
        self.send(type="trades", rows=listed(*rows), is_first=is_first, skipped=skipped)

    def cut(self) -> None:
        """End the connection as a collector that is killed does."""
        assert self._socket
        socket, self._socket = self._socket, None
        socket.socket.shutdown(2)

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join(5)


DAY_S = 86_400.0
NOW_MS = int(time.time() * 1000)
LIVE: list[dict[str, Any]] = [
    {"type": "feed", "book": "live", "tape": "live", "text": ""},
    {"type": "book", "ts": 4, "bids": [["9", "1"]], "asks": [["10", "2"]]},
    {"type": "trades", "rows": [[NOW_MS, "9", "1", "buy"]], "is_first": True, "skipped": 0},
]


@pytest.fixture
def page() -> Iterator[Page]:
    page = Page()
    page.first = list(LIVE)
    yield page
    page.close()


@pytest.fixture
def feed(page: Page) -> Iterator[Feed]:
    with Feed(page.url) as feed:
        yield feed


def test_a_book_is_unsure_while_it_is_lost_and_until_another_one_came(page, feed):
    """Not before: the state alone does not bring what changed meanwhile."""
    book, trades = feed.book("BTCUSDT"), feed.trades("BTCUSDT", DAY_S)
    assert (book.best, book.unsure) == ((9.0, 1.0, 10.0, 2.0), False)
    page.feed("lost")
    wait_until(lambda: book.unsure)
    page.feed("live")
    page.trades((2, "9"))
    wait_until(lambda: len(trades) == 2)
    assert book.unsure
    page.book("9.6")
    wait_until(lambda: not book.unsure)
    assert book.bids == ((9.6, 1.0),)


def test_a_book_that_comes_before_it_is_said_to_be_live_is_unsure_till_then(page, feed):
    """States follow by half a second; in that time it may be lost again, which is then no change that is sent."""
    page.first = [{**LIVE[0], "book": "connecting"}, *LIVE[1:]]
    found = []
    trades = feed.trades("BTCUSDT", DAY_S)
    waiting = threading.Thread(target=lambda: found.append(feed.book("BTCUSDT")), daemon=True)
    waiting.start()
    page.trades((1, "9"))
    wait_until(lambda: len(trades) == 2)
    assert waiting.is_alive()
    page.feed("live")
    waiting.join(5)
    assert [book.unsure for book in found] == [False]


def test_a_collector_that_goes_away_and_comes_back(page, feed):
    """The book is unsure meanwhile; trades go on where they ended, none twice, and the outage is counted."""
    book, trades = feed.book("BTCUSDT"), feed.trades("BTCUSDT", DAY_S)
    page.trades((2, "9"), (3, "9"), (3, "9"))
    wait_until(lambda: len(trades) == 4)
    rows = listed((2, "9"), (3, "9"), (3, "9"), (3, "9"), (4, "8"))
    page.first = [*LIVE[:2], {**LIVE[2], "rows": rows}]
    page.cut()
    wait_until(lambda: book.unsure)
    wait_until(lambda: not book.unsure and len(trades) == 6)
    assert after_first(trades.rows()) == [0, 2, 3, 3, 3, 4]
    assert trades.outages == 1
    assert page.views == [{"op": "view", **ABOUT, "interval": "1m"}] * 2


def test_trades_are_handed_out_once_each_and_what_was_left_out_is_counted(page, feed):
    trades, old = feed.trades("BTCUSDT", DAY_S), feed.trades("BTCUSDT", seconds=0)
    found: list[Trade] = []
    coming = iter(trades)
    reading = threading.Thread(target=lambda: found.extend(coming), daemon=True)
    reading.start()
    for number in range(2, 7):
        page.trades((number, "9"), skipped=1)
    wait_until(lambda: len(found) == 5)
    trades.close()
    reading.join(5)
    assert after_first(found) == [2, 3, 4, 5, 6]
    assert (trades.skipped, len(trades), old.rows()) == (5, 6, [])


def test_what_is_not_there_is_told(page, feed):
    """A symbol that is not collected, a market without order books, too many symbols or pages."""
    with pytest.raises(UnknownSymbolError, match="Did you mean BTCUSDT"):
        feed.book("BTCUSD")
    page.first = [{**LIVE[0], "book": "none"}, LIVE[2]]
    with pytest.raises(FeedError, match="no order book of BTCUSDT"):
        feed.book("BTCUSDT")
    page.first = [{**LIVE[0], "book": "busy", "tape": "busy", "text": "Pages look at 8 symbols already."}]
    with pytest.raises(FeedError, match="8 symbols already"):
        feed.trades("BTCUSDT", DAY_S)
    page.closes = (1013, "40 pages are open already: close one of them")
    with pytest.raises(FeedError, match="40 pages are open already"):
        feed.book("BTCUSDT")
