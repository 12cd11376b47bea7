"""The choice of symbols: of names that may change, found in what the exchange lists, or of all that is listed.

Thread `coins` checks four times a second, and whenever the listing was read; main takes the newest choice. Never
chooses nothing: a choice that is not known or would be empty leaves the one before.
"""

import functools
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

import structlog

from exchanges.universe.listings import Listings, Read
from exchanges.universe.selection import as_symbol, most_traded, quote_of
from model.events import NO_EVENTS, EventSink
from model.pacing import ThrottledLogger
from model.pairs import Pair
from model.ports import Listing, Symbols
from model.problems import NO_OUTAGES, OutageSink

log = structlog.get_logger()

CHECK_S = 0.25  # a symbol is to be streamed within 2 s, and the stream takes half a second to reconcile
REFRESH_LIMIT_S = 0.6  # how long an unknown name waits for a newer listing; then the exchange itself may refuse it
ALL_LIMIT_S = 60.0  # for what a start needs of the exchange: a run without symbols would look like a quiet market
NAMES_LIMIT_S = 2.0  # for names to be found; where that takes longer, the exchange refuses what it lacks
WAIT_STEP_S = 0.1
JOIN_S = 1.0
UNREAD = "write names as the exchange does, or have its REST address (REST_URL) be reached"

Choice = Mapping[str, tuple[str, ...]]
"""Symbols by market."""


@dataclass(frozen=True)
class SymbolRules:
    """Which symbols are followed: `symbols`, or with `load_all` at most `limit` of all listed, quoted in `quote`.

    `quote` None: in anything. `pre_market`: also those before their listing. `has_rest`: whether what is listed can be
    read. `needs_pairs`: base and quote of the symbols are needed even where names are not found. `needs_sizes`: nothing
    starts before the sizes of contracts are known. `joins_coins`: without a listing the symbol of BTC is BTCUSDT.
    """

    load_all: bool = False
    limit: int | None = None
    quote: str | None = None
    symbols: Sequence[str] = ()
    pre_market: bool = False
    refresh_s: float = 300.0
    has_rest: bool = True
    needs_pairs: bool = False
    needs_sizes: bool = False
    joins_coins: bool = True

    @property
    def needs_listing(self) -> bool:
        """Whether nothing starts before the exchange's listing is known."""
        return self.load_all or self.needs_sizes


class NameList(Protocol):
    """A list of symbols or coins that is edited while the process runs."""

    def load(self) -> Sequence[str]:
        """The names at the start, none where there is no list; ValueError for a wrong one."""

    def changed(self) -> Sequence[str] | None:
        """The names where they changed since the last call, else None."""


def follow_symbols(
    listing: Callable[[str], Listing],
    markets: Sequence[str],
    rules: SymbolRules,
    names: NameList,
    events: EventSink = NO_EVENTS,
    outages: OutageSink = NO_OUTAGES,
) -> "SymbolFollower":
    """A follower of the symbols of some markets; `listing(market)` opens nothing. ValueError for a wrong list.

    `events` takes what the exchange lists and delists, followed or not, on the thread `listing`; `outages` what keeps a
    listing from being read.
    """
    loaded = () if rules.load_all else names.load()
    pre_market = rules.pre_market or not rules.load_all  # who names a symbol wants it before its listing, too

    def read_of(market: str) -> Read:
        return functools.partial(listing(market).listed, pre_market=pre_market)

    reads = {market: read_of(market) for market in markets if rules.has_rest}
    return SymbolFollower(
        markets,
        rules,
        loaded or rules.symbols,
        names.changed,
        Listings(reads, rules.refresh_s, rules.quote, events=events, outages=outages),
        read_of if rules.has_rest else None,
        is_file=bool(loaded),
    )


class SymbolFollower:
    """Follows the symbols of some markets. `step` is called on the thread `coins`, the rest on main."""

    def __init__(
        self,
        markets: Sequence[str],
        rules: SymbolRules,
        names: Sequence[str],
        changed: Callable[[], Sequence[str] | None],
        listings: Listings,
        read_of: Callable[[str], Read] | None = None,
        *,
        is_file: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`changed()` returns other names, None where they are the same.

        `read_of(market)`: what reads the listing of a market beside these; None: nothing is read. `is_file`: the names
        are those of a list; later ones are in any case.
        """
        self._markets, self._rules, self._changed, self._listings = markets, rules, changed, listings
        self._names, self._is_file, self._clock, self._read_of = tuple(names), is_file, clock, read_of
        self._is_checked = is_file or rules.load_all or rules.has_rest
        self._named_s, self._named_version = clock(), listings.version  # when the names came, and the listing then
        self._seen_version = listings.version
        self._is_open = self._is_checked  # whether something is still unknown of the names
        self._warned: set[tuple[str, str]] = set()
        self._logger = ThrottledLogger(log)
        self._is_due = self._has_refreshed = self._is_announced = False
        self._stop, self._known_once = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="coins", daemon=True)
        self._choice: dict[str, tuple[str, ...]] = {
            market: () if rules.load_all else self._unchecked(market, self._names) for market in markets
        }

    @property
    def needs_listing(self) -> bool:
        """Whether nothing starts before the exchange's listing is known."""
        return self._rules.needs_listing

    @property
    def choice(self) -> Choice:
        """The symbols that are followed now, by market; none of a market where they are not known yet."""
        return dict(self._choice)

    def take(self) -> Choice | None:
        """The choice where it changed since the last call, else None."""
        if not self._is_due:
            return None
        self._is_due = False  # before the choice is read: one that comes meanwhile is due again
        return self.choice

    def start(self) -> None:
        """Start the threads."""
        if not self._rules.has_rest and not self._rules.joins_coins:
            log.warning("symbols_unchecked", symbols=self._names[:20], remedy=UNREAD)
        if self._is_checked or self._rules.needs_pairs:
            self._refresh_once()
        self._thread.start()

    def pair_of(self, market: str, symbol: str) -> Pair | None:
        """The base and quote of a symbol as the exchange lists them; None where they are not known. Any thread."""
        return self._listings.pair_of(market, symbol)

    def contract_size(self, market: str, symbol: str) -> Decimal | None:
        """How much one contract of a symbol is, newest listing first; None where no listing had it. Any thread."""
        return self._listings.contract_size(market, symbol)

    def reread(self) -> None:
        """Have what is listed read again soon: the exchange says that it has changed. Any thread; never blocks."""
        self._listings.reread()

    def resolve(self, market: str, symbols: Symbols) -> Symbols:
        """Return the symbols that the names of a STREAMS entry mean; what is not known stays as it is. Any thread.

        Symbols with an attribute `version` are the plan's own, and stay the same object.
        """
        names = self._listings.names(market)
        if names is None or hasattr(symbols, "version") or not isinstance(symbols, Collection):
            return symbols
        if isinstance(symbols, str):
            return names.symbol_of(symbols) or symbols
        return [names.symbol_of(name) or name if isinstance(name, str) else name for name in symbols]

    def include(self, market: str, symbols: Symbols, stop: threading.Event) -> None:
        """Have the listing of an entry's market read and wait for it; warn of its symbols that are not listed. Blocks.

        The thread of the entry's stream. Returns after a few seconds where the listing cannot be read.
        """
        if self._read_of is None or hasattr(symbols, "version") or not isinstance(symbols, Collection):
            return
        if market not in self._markets:
            self._listings.include(market, self._read_of(market))
        limit_s = ALL_LIMIT_S if self._rules.needs_sizes else NAMES_LIMIT_S
        if self._wait(lambda: self._listings.names(market) is not None, limit_s, stop):
            names = self._listings.names(market)
            given = [symbols] if isinstance(symbols, str) else [each for each in symbols if isinstance(each, str)]
            if names and (unknown := names.find(given).unknown):
                self._warn(market, unknown, "the exchange hardly has them")

    def wait(self, limit_s: float | None = None, stop: threading.Event | None = None) -> bool:
        """Wait until the names are found, or what is listed is known; False where that took longer than `limit_s`."""
        if not (self._is_checked or self._rules.needs_pairs):
            return True
        if limit_s is None:
            limit_s = ALL_LIMIT_S if self._rules.needs_listing else NAMES_LIMIT_S
        is_known = self._known_once if self._is_checked else self._listings.known
        was_known = self._wait(is_known.is_set, limit_s, stop, is_known)
        self._is_announced = True
        return was_known

    def _wait(
        self,
        is_done: Callable[[], bool],
        limit_s: float,
        stop: threading.Event | None,
        woken_by: threading.Event | None = None,
    ) -> bool:
        deadline_s, pause = self._clock() + limit_s, stop or self._stop
        while not is_done():
            if pause.is_set() or self._clock() >= deadline_s:
                return False
            (woken_by or pause).wait(min(WAIT_STEP_S, limit_s))
        return True

    def threads(self) -> list[threading.Thread]:
        """The threads that must stay alive."""
        return [self._thread, *self._listings.threads()]

    def stop(self) -> None:
        """End the threads."""
        self._stop.set()
        self._listings.stop()
        if self._thread.ident is not None:
            self._thread.join(JOIN_S)

    def step(self) -> None:
        """Check the names and the listing once."""
        names = None if self._rules.load_all else self._changed()
        if names is not None:
            self._begin(names)
        version = self._listings.version
        if not self._is_checked or not (self._is_open or version != self._seen_version):
            return
        self._seen_version, is_settled = version, self._is_settled
        found = {market: self._choose(market, is_settled) for market in self._markets}
        self._is_open = None in found.values()
        self._set({market: self._choice.get(market, ()) if new is None else new for market, new in found.items()})
        if not self._is_open:
            self._known_once.set()

    def _begin(self, names: Sequence[str]) -> None:
        self._names, self._is_checked, self._is_file, self._is_open = tuple(names), True, True, True
        self._named_s, self._named_version = self._clock(), self._listings.version
        self._warned.clear()
        self._has_refreshed = False

    @property
    def _is_settled(self) -> bool:
        """Whether unknown names stay so: a newer listing has come, or does not come in time."""
        return self._is_newer or (self._clock() - self._named_s >= REFRESH_LIMIT_S and not self._rules.needs_listing)

    @property
    def _is_newer(self) -> bool:
        return self._listings.version > self._named_version

    def _choose(self, market: str, is_settled: bool) -> tuple[str, ...] | None:
        """The symbols of a market; None while a newer listing is awaited. Known symbols are followed at once."""
        listed = self._listings.latest(market)
        if self._rules.load_all:
            if listed is None:
                return None
            followed = set(self._choice.get(market, ()))
            return tuple(most_traded(listed, self._rules.quote, self._rules.limit, followed))
        names = self._listings.names(market)
        if names is None:
            self._refresh_once()
            return self._unread(market) if is_settled else None
        found, unknown = names.find(self._names)
        if unknown and self._is_newer:
            self._warn(market, unknown, "left out")
        elif unknown and is_settled:  # the exchange itself refuses them
            found += self._unchecked(market, unknown)
        elif unknown:
            self._refresh_once()
            self._set({**self._choice, market: tuple(found) or self._choice.get(market, ())})
            return None
        return tuple(dict.fromkeys(found))

    def _refresh_once(self) -> None:
        if not self._has_refreshed:
            self._has_refreshed = True
            self._listings.refresh()

    def _unread(self, market: str) -> tuple[str, ...]:
        """The symbols of names where the listing cannot be read, as a warning says."""
        if self._rules.has_rest and not self._rules.joins_coins:
            log.warning("symbols_unchecked", market=market, symbols=self._names[:20], remedy=UNREAD)
        return self._unchecked(market, self._names)

    def _unchecked(self, market: str, names: Iterable[str]) -> tuple[str, ...]:
        """The symbols of names that cannot be checked; SYMBOLS are symbols, whatever they look like."""
        quote = quote_of(market, self._rules.quote)
        joins = self._is_file and self._rules.joins_coins
        return tuple(dict.fromkeys(as_symbol(name, quote) if joins else name for name in names))

    def _warn(self, market: str, unknown: Mapping[str, str], consequence: str) -> None:
        new = [name for name in unknown if (market, name) not in self._warned]
        self._warned |= {(market, name) for name in new}
        if new:
            nearest = {name: unknown[name] for name in new if unknown[name]}
            remedy = f"not listed: {consequence}"
            names = [f"{name} (nearest: {nearest[name]})" if name in nearest else name for name in new]
            sentence = f"Not listed in {market}: {', '.join(names)}; {consequence}."
            fields = {"market": market, "symbols": new, "nearest": nearest, "remedy": remedy}
            log.warning("symbols_unknown", sentence=sentence, **fields)

    def _set(self, found: dict[str, tuple[str, ...]]) -> None:
        """Replace the choice, unless the new one is empty: that is made at the start alone, which then ends."""
        if not any(found.values()):
            if any(self._choice.values()):
                kept = self._choice if self._known_once.is_set() or self._is_open else {}
                log.error("symbols_none_listed", names=self._names[:20], kept=kept)
                self._choice = kept
            return
        before, self._choice = self._choice, found
        changes = {market: changes_of(before.get(market, ()), symbols) for market, symbols in found.items()}
        if any(came or went for came, went in changes.values()):
            self._is_due = True  # once the choice is there to be taken
        for market, (came, went) in changes.items():
            if came or went:
                write = log.info if self._is_announced else log.debug  # those of the start are logged by who waits
                write("symbols_followed", market=market, count=len(found[market]), came=came[:20], went=went[:20])

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.step()
            except Exception:  # the thread's outermost: a wrong list must not end it
                self._logger.exception("symbols_not_followed")
            self._listings.news.wait(CHECK_S)  # a start waits for what is found in a new listing
            self._listings.news.clear()


def changes_of(before: Sequence[str], now: Sequence[str]) -> tuple[list[str], list[str]]:
    """The symbols that were added and those that were removed, in order."""
    known, wanted = set(before), set(now)
    return [symbol for symbol in now if symbol not in known], [symbol for symbol in before if symbol not in wanted]
