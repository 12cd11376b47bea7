"""Books and trades for pages: shared, bounded, ended some time after the last page."""

from typing import Any

import msgspec
import pytest

from consumers.web.live.options import Book, Trade
from consumers.web.live.watch import BOOK_TICKS, LINGER_S, STATE_TICKS, SYMBOLS, TRADES, Watches


class Feed:
    """A feed whose book and trades the test sets."""

    def __init__(self, symbol: str) -> None:
        self.symbol, self.is_closed = symbol, False
        self.state = ("live", "live", "")
        self.book_now: Book | None = None
        self.has_changed = False
        self.trades: list[Trade] = []
        self.recent: list[Trade] = []

    def states(self) -> tuple[str, str, str]:
        return self.state

    def book(self, levels: int, *, changed: bool) -> Book | None:
        shown = self.book_now if self.has_changed or not changed else None
        self.has_changed = False
        return shown

    def take_trades(self, most: int) -> tuple[list[Trade], int]:
        taken, self.trades = self.trades, []
        return taken[-most:], max(0, len(taken) - most)

    def recent_trades(self) -> list[Trade]:
        return self.recent

    def close(self) -> None:
        self.is_closed = True


class Pages:
    """The watches, what they published, and the time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.feeds: list[Feed] = []
        self.published: list[tuple[str, dict[str, Any], object]] = []
        self.ticks = 0
        self.now_s = 0.0
        monkeypatch.setattr("consumers.web.live.watch.time.monotonic", lambda: self.now_s)
        self.watches = Watches(
            self.open,
            self.tick,
            lambda topic, content, conflate=None: self.published.append((topic, content, conflate)),
        )

    def open(self, _market: str, symbol: str) -> Feed:
        self.feeds.append(Feed(symbol))
        return self.feeds[-1]

    def tick(self) -> None:
        self.ticks += 1

    def steps(self, count: int) -> list[dict[str, Any]]:
        """What so many steps publish."""
        self.published.clear()
        for _ in range(count):
            self.watches.step()
        return [content for _, content, _ in self.published]


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> Pages:
    return Pages(monkeypatch)


def kinds(messages: list[bytes]) -> list[str]:
    return [msgspec.json.decode(message)["type"] for message in messages]


def test_pages_that_look_at_the_same_symbol_share_its_feed(pages: Pages) -> None:
    """And the second gets at once what is there."""
    pages.watches.join("linear", "BTCUSDT")
    (feed,) = pages.feeds
    feed.book_now = Book(7, [("9", "1")], [("10", "2")])
    feed.recent = [[1, "9.5", "1", "buy"]]
    first = pages.watches.join("linear", "BTCUSDT").first(has_book=True, has_tape=True)
    assert kinds(first) == ["feed", "book", "trades"]
    assert msgspec.json.decode(first[1])["bids"] == [["9", "1"]]
    assert msgspec.json.decode(first[2])["is_first"] is True
    assert len(pages.feeds) == 1


def test_only_what_changed_is_published_and_books_half_as_often_as_trades(pages: Pages) -> None:
    """A newer book may replace one that still waits for a slow page; trades may not."""
    pages.watches.join("linear", "BTCUSDT").first(has_book=True, has_tape=True)
    (feed,) = pages.feeds
    assert pages.steps(4) == []
    feed.book_now, feed.has_changed = Book(7, [("9", "1")], []), True
    feed.trades = [[number, "9", "1", ""] for number in range(TRADES + 3)]
    sent = pages.steps(BOOK_TICKS)
    assert sorted(message["type"] for message in sent) == ["book", "trades"]
    trades = next(message for message in sent if message["type"] == "trades")
    assert (len(trades["rows"]), trades["skipped"], trades["rows"][-1][0]) == (TRADES, 3, TRADES + 2)
    conflated = {content["type"]: conflate for _, content, conflate in pages.published}
    assert conflated == {"book": ("book", "linear:BTCUSDT"), "trades": None}
    assert pages.steps(4) == []


def test_a_connection_that_is_lost_is_said_once(pages: Pages) -> None:
    """And that it is back."""
    pages.watches.join("linear", "BTCUSDT").first(has_book=True, has_tape=False)
    (feed,) = pages.feeds
    feed.state = ("lost", "live", "is lost")
    (message,) = pages.steps(2 * STATE_TICKS)
    assert (message["book"], message["tape"]) == ("lost", "none")
    assert message["text"] == "is lost linear has no trades here."
    feed.state = ("live", "live", "")
    (message,) = pages.steps(2 * STATE_TICKS)
    assert message["book"] == "live"


def test_a_feed_ends_some_time_after_the_last_page_has_left(pages: Pages) -> None:
    """Who turns back within that time finds it running."""
    pages.watches.join("linear", "BTCUSDT")
    pages.watches.leave("linear", "BTCUSDT")
    pages.now_s = LINGER_S - 1
    pages.steps(STATE_TICKS)
    pages.watches.join("linear", "BTCUSDT")
    pages.watches.leave("linear", "BTCUSDT")
    pages.now_s += LINGER_S - 1
    pages.steps(STATE_TICKS)
    assert not pages.feeds[0].is_closed
    assert pages.watches
    pages.now_s += 1
    pages.steps(STATE_TICKS)
    assert pages.feeds[0].is_closed
    assert not pages.watches
    assert len(pages.feeds) == 1


def test_too_many_symbols_wait_until_one_is_free(pages: Pages) -> None:
    """The one that nobody looks at any more makes room at once."""
    for number in range(SYMBOLS):
        pages.watches.join("linear", f"S{number}")
    late = pages.watches.join("linear", "LATE")
    assert kinds(late.first(has_book=True, has_tape=True)) == ["feed"]
    assert late.now()[0] == "busy"
    pages.steps(STATE_TICKS)
    assert len(pages.feeds) == SYMBOLS
    pages.watches.leave("linear", "S3")
    pages.published.clear()
    states = [message for message in pages.steps(2 * STATE_TICKS) if message["symbol"] == "LATE"]
    assert pages.feeds[3].is_closed
    assert pages.feeds[-1].symbol == "LATE"
    assert [message["book"] for message in states] == ["live"]
