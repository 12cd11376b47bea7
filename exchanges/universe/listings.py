"""The listings of the markets, read again and again on the thread `listing`, so that no caller waits for REST.

The thread starts with the first `refresh`. An implausible answer changes nothing.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

import structlog

from exchanges.universe.names import ListedNames
from exchanges.universe.selection import is_plausible
from model.events import NO_EVENTS, Delisted, EventSink, Listed
from model.pacing import CAP_S, ThrottledLogger
from model.pairs import Pair
from model.ports import HistoryError
from model.problems import NO_OUTAGES, OutageSink, part_of
from model.records import Instrument

log = structlog.get_logger()

RETRY_FIRST_S = 1.0  # after a failure: doubled up to model.pacing.CAP_S
REREAD_S = 10.0  # between two readings because the exchange says that something has changed: it tells of each contract
JOIN_S = 0.5  # a request on its way loses nothing

Read = Callable[[], Sequence[Instrument]]


class Listings:
    """The newest listing of each market. All but `read_all` and `refresh` are for any thread."""

    def __init__(
        self,
        reads: Mapping[str, Read],
        refresh_s: float,
        quote: str | None = None,
        *,
        reread_s: float = REREAD_S,
        events: EventSink = NO_EVENTS,
        outages: OutageSink = NO_OUTAGES,
    ) -> None:
        """`reads` block and raise HistoryError; `quote`: what a coin alone is quoted in, None: as is usual.

        `events` takes what is listed and delisted later, `outages` what keeps REST from being reached.
        """
        self._outages, self._logger = outages, ThrottledLogger(log)
        self.version = 0  # how often all of `reads` were read
        self.known = threading.Event()  # set once they were
        self.news = threading.Event()  # set when all main markets were read, and at the end; who waits for it clears it
        self._reads, self._refresh_s, self._quote, self._reread_s = dict(reads), refresh_s, quote, reread_s
        self._events = events
        self._main = frozenset(reads)
        self._stop = threading.Event()
        self._latest: dict[str, tuple[Instrument, ...]] = {}
        self._names: dict[str, ListedNames] = {}
        self._pairs: dict[tuple[str, str], Pair] = {}  # of all that were ever listed: a delisted symbol keeps its coin
        self._sizes: dict[tuple[str, str], Decimal] = {}  # and its contracts their size
        self._implausible: set[str] = set()
        self._wake = threading.Event()
        self._is_told = self._is_asked = False  # the exchange says that something has changed; `refresh` was called
        self._thread: threading.Thread | None = None

    def include(self, market: str, read: Read) -> None:
        """Have a market read as well, from now on."""
        if market not in self._reads:
            self._reads = {**self._reads, market: read}
            self._wake.set()

    def latest(self, market: str) -> tuple[Instrument, ...] | None:
        """The instruments of a market; None before the first answer."""
        return self._latest.get(market)

    def names(self, market: str) -> ListedNames | None:
        """What names mean in a market; None before the first answer."""
        return self._names.get(market)

    def pair_of(self, market: str, symbol: str) -> Pair | None:
        """The base and quote of a symbol; None where no answer had them."""
        return self._pairs.get((market, symbol))

    def contract_size(self, market: str, symbol: str) -> Decimal | None:
        """How much one contract of a symbol is, as the newest answer that had it says; None where none does."""
        return self._sizes.get((market, symbol))

    def refresh(self) -> None:
        """Have all markets read as soon as possible. One thread only."""
        self._is_asked = True
        self._wake.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="listing", daemon=True)
            self._thread.start()

    def reread(self) -> None:
        """Have all markets read again, once in REREAD_S: the exchange says that they have changed.

        Any thread; never blocks. Nothing where nothing is read at all.
        """
        self._is_told = True
        self._wake.set()

    def threads(self) -> list[threading.Thread]:
        """The threads that must stay alive."""
        return [self._thread] if self._thread else []

    def stop(self) -> None:
        """End the thread; does not wait for an answer on its way."""
        self._stop.set()
        self._wake.set()
        self.news.set()
        if self._thread is not None:
            self._thread.join(JOIN_S)

    def read_all(self) -> bool:
        """Read every market once; False where one could not be read, which keeps its last listing."""
        failed = {market for market in self._reads if not self._read(market)}
        if not failed & self._main:
            self.version += 1
            self.known.set()
            self.news.set()
        return not failed

    def _read(self, market: str) -> bool:
        try:
            found = tuple(self._reads[market]())
        except HistoryError as error:
            if error.problem and not self._stop.is_set():
                self._outages.failed(part_of(market), error.problem)
            elif not self._stop.is_set():
                self._logger.warning("listing_unreadable", market, market=market, error=str(error))
            return False
        self._outages.works(part_of(market))
        before, now = ({each.symbol for each in some} for some in (self._latest.get(market, ()), found))
        if not is_plausible(now, before) and market not in self._implausible:
            self._implausible.add(market)  # the same answer a second time counts
            log.warning("listing_implausible", market=market, before=len(before), found=len(found))
            return False
        self._implausible.discard(market)
        self._names[market] = ListedNames(market, found, self._quote)
        self._latest[market] = found
        self._pairs |= {
            (market, each.symbol): Pair(each.base, each.quote, each.is_dated) for each in found if each.base
        }
        self._sizes |= {(market, each.symbol): size for each in found if (size := each.contract_size) is not None}
        if before and (came := now - before):
            self._events.emit(Listed(market=market, symbols=tuple(sorted(came))))
        if went := before - now:
            self._events.emit(Delisted(market=market, symbols=tuple(sorted(went))))
        return True

    def _run(self) -> None:
        retry_s = RETRY_FIRST_S
        while not self._stop.is_set():
            self._wake.clear()
            self._is_told = self._is_asked = False
            try:
                is_whole = self.read_all()
            except Exception:  # the thread's outermost loop
                log.exception("listing_failed")
                is_whole = False
            wait_s = self._refresh_s if is_whole else min(retry_s, self._refresh_s)
            retry_s = RETRY_FIRST_S if is_whole else min(retry_s * 2, CAP_S)
            read_s = time.monotonic()
            self._wake.wait(wait_s)
            self._wake.clear()
            while self._is_told and not (self._is_asked or self._stop.is_set()):
                if not self._wake.wait(max(0.0, read_s + self._reread_s - time.monotonic())):
                    break
                self._wake.clear()
