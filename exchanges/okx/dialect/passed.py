"""The topics that clients want and that are not collected: passed on from OKX, streamed once for all clients.

Pure but for the port that it calls; the event loop's thread. What streams them keeps a topic for a while after the last
client has left, and then OKX sends nothing anew: the state is kept as long.
"""

import re
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType

from exchanges.okx.dialect.state import Arg, Book
from exchanges.okx.markets import MARKETS
from model.dialect import DialectOptions, Topic

MOST = 1_000  # topics of all clients together
RETIRED_S = 35.0  # after which a topic that nobody wants is forgotten; app/passed_streams.py streams it 30 s
BOOKS = "books"

OF_EACH = re.compile(
    r"trades|trades-all|tickers|books|books5|bbo-tbt|price-limit|"
    r"candle(1s|1m|3m|5m|15m|30m|1H|2H|4H|(6H|12H|1D|2D|3D|5D|1W|1M|3M)(utc)?)"
)
OF_SWAPS = re.compile(
    r"mark-price|funding-rate|open-interest|"
    r"mark-price-candle(1m|3m|5m|15m|30m|1H|2H|4H|(6H|12H|1D|2D|3D|5D|1W|1M|3M)(utc)?)"
)
OF_TYPES: Mapping[str, Collection[str]] = MappingProxyType(
    {"liquidation-orders": ("SWAP", "FUTURES", "OPTION", "MARGIN")}
)
"""Channels that need no login and, where they have a state, begin with it. Channels of indices have no instruments."""


class PassedTopics:
    """What is passed on, and the newest message of each topic."""

    def __init__(self, options: DialectOptions, clock: Callable[[], float]) -> None:
        self._options, self._clock = options, clock
        self._unwanted_s: dict[str, float | None] = {}  # by topic: since when nobody wants it
        self._is_changed = False
        self._books: dict[str, Book] = {}
        self._newest: dict[str, bytes] = {}

    def __contains__(self, topic: str) -> bool:
        return topic in self._unwanted_s

    def may_have(self, channel: str, of: str) -> bool:
        """Return whether OKX has a topic: of what is listed in the markets that are collected."""
        if self._options.pass_on is None:
            return False
        if channel in OF_TYPES:
            return of in OF_TYPES[channel]
        listed = [each for each in self._options.markets if self._options.contract_sizes(each, of) is not None]
        of_swaps = any(MARKETS[market].has_contracts for market in listed) and OF_SWAPS.fullmatch(channel)
        return bool(listed and (OF_EACH.fullmatch(channel) or of_swaps))

    def want(self, topic: str) -> bool:
        """Have a topic streamed, with `apply`; False where too many are already."""
        if self._unwanted_s.get(topic, 0.0) is None:
            return True
        if len(self._unwanted_s) >= MOST and topic not in self._unwanted_s:
            return False
        self._unwanted_s[topic], self._is_changed = None, True
        return True

    def follow(self, is_wanted: Callable[[str], bool], is_collected: Callable[[str], bool]) -> list[str]:
        """End what nobody wants any more, and what is collected by now; returns the latter."""
        now_s, collected = self._clock(), list(filter(is_collected, self._unwanted_s))
        for topic, unwanted_s in list(self._unwanted_s.items()):
            if unwanted_s is None and not is_wanted(topic):
                self._unwanted_s[topic], self._is_changed = now_s, True
            elif topic in collected or (unwanted_s is not None and now_s > unwanted_s + RETIRED_S):
                del self._unwanted_s[topic]
                self._is_changed = True
                self._books.pop(topic, None)
                self._newest.pop(topic, None)
        self.apply()
        return collected

    def apply(self) -> None:
        """Report what is to be streamed, where that has changed."""
        if not self._is_changed or self._options.pass_on is None:
            return
        self._is_changed = False
        market = self._options.markets[0]  # a socket carries all of them
        wanted: list[Topic] = [(market, topic) for topic, since_s in self._unwanted_s.items() if since_s is None]
        self._options.pass_on(wanted)

    def take(self, topic: str, payload: bytes) -> bool:
        """Take a payload; False for a change of a book that no client could use. Raises what Book.apply raises."""
        if topic.startswith(f"{BOOKS}:"):
            return self._books.setdefault(topic, Book()).apply(payload)
        self._newest[topic] = payload
        return True

    def lost(self, topic: str) -> None:
        """Record that payloads of a topic are missing."""
        if book := self._books.get(topic):
            book.lost()

    def first_message(self, topic: str) -> bytes | None:
        """Return what a new subscriber begins with, as at OKX: a snapshot, or the newest message."""
        book = self._books.get(topic)
        return book.snapshot(Arg(*topic.split(":", 1))) if book else self._newest.get(topic)
