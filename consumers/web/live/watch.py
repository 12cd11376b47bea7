"""The order books and trades that pages look at: one feed for each symbol, shared, and closed some time after.

The event loop's thread.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from consumers.web.live.options import SymbolFeed

SYMBOLS = 8  # at once
LINGER_S = 30.0  # after the last page has left
LEVELS = 15  # of each side of a book
TRADES = 100  # of a message
BOOK_TICKS = 2  # every so many steps
STATE_TICKS = 5

encode = msgspec.json.encode
Pair = tuple[str, str]
Publish = Callable[..., object]
BUSY = "Pages look at {0} symbols already: this one's book and trades come when one of them is closed for {1:.0f} s."
WITHOUT_BOOK, WITHOUT_TAPE = "{} has no order books here.", "{} has no trades here."


@dataclass
class Watch:
    """One symbol that pages look at. `feed` None: there are too many already."""

    market: str
    symbol: str
    feed: SymbolFeed | None
    pages: int = 0
    left_s: float = 0.0
    has_book: bool = True
    has_tape: bool = True
    states: tuple[str, str, str] = ("", "", "")

    def head(self, kind: str) -> dict[str, Any]:
        """The beginning of a message."""
        return {"type": kind, "market": self.market, "symbol": self.symbol}

    def first(self, has_book: bool, has_tape: bool) -> list[bytes]:
        """The messages that a page gets when it begins to look: the states, and what there is."""
        self.has_book, self.has_tape = has_book, has_tape
        messages = [encode(self.feed_message(self.now()))]
        if self.feed is None:
            return messages
        if book := self.feed.book(LEVELS, changed=False):
            messages.append(encode({**self.head("book"), "ts": book.ts, "bids": book.bids, "asks": book.asks}))
        trades = {"rows": self.feed.recent_trades()[-TRADES:], "is_first": True, "skipped": 0}
        return [*messages, encode({**self.head("trades"), **trades})]

    def now(self) -> tuple[str, str, str]:
        """The states as they are now."""
        if self.feed is None:
            return "busy", "busy", BUSY.format(SYMBOLS, LINGER_S)
        book, tape, text = self.feed.states()
        missing = [WITHOUT_BOOK] * (not self.has_book) + [WITHOUT_TAPE] * (not self.has_tape)
        text = " ".join([*([text] if text else []), *(each.format(self.market) for each in missing)])
        return (book if self.has_book else "none"), (tape if self.has_tape else "none"), text

    def feed_message(self, states: tuple[str, str, str]) -> Mapping[str, Any]:
        """The message of the states."""
        self.states = states
        book, tape, text = states
        return {**self.head("feed"), "book": book, "tape": tape, "text": text}


class Watches:
    """All symbols that pages look at. `publish(topic, content, conflate)` sends to those that look at one."""

    def __init__(
        self, open_feed: Callable[[str, str], SymbolFeed], tick: Callable[[], object], publish: Publish
    ) -> None:
        self._open_feed, self._tick, self._publish = open_feed, tick, publish
        self._of: dict[Pair, Watch] = {}
        self._steps = 0

    def __bool__(self) -> bool:
        return bool(self._of)

    def join(self, market: str, symbol: str) -> Watch:
        """Watch a symbol for one more page."""
        watch = self._of.get((market, symbol))
        if watch is None:
            watch = Watch(market, symbol, None)
            self._open(watch)  # what it raises leaves nothing behind
            self._of[market, symbol] = watch
        watch.pages += 1
        return watch

    def leave(self, market: str, symbol: str) -> None:
        """Record that one page less looks at a symbol."""
        watch = self._of[market, symbol]
        watch.pages -= 1
        watch.left_s = time.monotonic()
        if not watch.pages and watch.feed is None:
            del self._of[market, symbol]

    def step(self) -> None:
        """Publish what has come, ten times a second; end what nobody has looked at for a while."""
        self._steps += 1
        if self._steps % STATE_TICKS == 0:
            self._tick()
            self._end_left()
        for watch in self._of.values():
            if watch.feed is not None and watch.pages:
                self._send(watch, watch.feed)
            if self._steps % STATE_TICKS == 0 and watch.pages and (states := watch.now()) != watch.states:
                self._publish(f"{watch.market}:{watch.symbol}", watch.feed_message(states))

    def _send(self, watch: Watch, feed: SymbolFeed) -> None:
        topic = f"{watch.market}:{watch.symbol}"
        rows, skipped = feed.take_trades(TRADES)
        if rows:
            self._publish(topic, {**watch.head("trades"), "rows": rows, "is_first": False, "skipped": skipped})
        if self._steps % BOOK_TICKS == 0 and (book := feed.book(LEVELS, changed=True)):
            content = {**watch.head("book"), "ts": book.ts, "bids": book.bids, "asks": book.asks}
            self._publish(topic, content, ("book", topic))

    def _open(self, watch: Watch) -> None:
        """Open the feed of a symbol, in the place of one that nobody looks at where there are too many."""
        opened = [each for each in self._of.values() if each.feed is not None]
        if len(opened) >= SYMBOLS:
            idle = [each for each in opened if not each.pages]
            if not idle:
                return
            self._end(min(idle, key=lambda each: each.left_s))
        watch.feed = self._open_feed(watch.market, watch.symbol)

    def _end_left(self) -> None:
        now_s = time.monotonic()
        for watch in [each for each in self._of.values() if not each.pages and now_s - each.left_s >= LINGER_S]:
            self._end(watch)
        for watch in list(self._of.values()):
            if watch.feed is None and watch.pages:
                self._open(watch)

    def _end(self, watch: Watch) -> None:
        if watch.feed is not None:
            watch.feed.close()
        del self._of[watch.market, watch.symbol]
