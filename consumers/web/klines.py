"""Klines on their way from the aggregator's thread to the web server's event loop, for the sessions of pages.

Closed klines are handed over as the batches that they come in, one append each; open ones only of what is `viewed`.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence

from model.records import Kline

BATCHES_LIMIT = 10_000  # that wait, where the event loop does not come round; the oldest are dropped
GATHER_S = 0.05  # batches of so long are handed on together

Take = Callable[[str, Sequence[Kline]], object]


class KlineFeed:
    """A KlineSink for the web server: any thread puts, `on_closed` and `on_open` are called on the event loop."""

    def __init__(self) -> None:
        self.viewed: Mapping[str, frozenset[str]] = {}
        """The symbols by market whose open klines are wanted; replaced on the event loop."""
        self.on_closed: Take = lambda _market, _klines: None
        self.on_open: Take = lambda _market, _klines: None
        self._closed: deque[tuple[str, Sequence[Kline]]] = deque(maxlen=BATCHES_LIMIT)
        self._open: dict[str, Sequence[Kline]] = {}  # by market; the newest state alone
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_due = True  # before start there is no loop to wake

    # -- any thread ------------------------------------------------------------------------------------

    def put(self, market: str, klines: Sequence[Kline]) -> None:
        """Take closed klines; never blocks."""
        self._closed.append((market, klines))
        if not self._is_due:
            self._wake()

    def offer_open(self, market: str, klines: Iterable[Kline]) -> None:
        """Take the present state of all candles of a market that are still open."""
        if not (symbols := self.viewed.get(market)):
            return
        self._open[market] = tuple(kline for kline in klines if kline.symbol in symbols)
        if not self._is_due:
            self._wake()

    # -- the event loop's thread -----------------------------------------------------------------------

    def start(self) -> None:
        """Hand over klines from now on, in the running loop."""
        self._loop = asyncio.get_running_loop()
        self._gather()

    def stop(self) -> None:
        """Hand over nothing any more."""
        self._loop, self._is_due = None, True

    def _gather(self) -> None:
        if self._loop is not None:
            self._loop.call_later(GATHER_S, self._take)

    def _take(self) -> None:
        self._is_due = self._loop is None  # before looking: what comes while we look wakes us again
        while self._closed:  # this thread alone takes
            self.on_closed(*self._closed.popleft())
        while self._open:
            self.on_open(*self._open.popitem())

    def _wake(self) -> None:
        self._is_due = True
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._gather)
