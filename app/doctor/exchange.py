"""Checks of the exchange: REST, clock, listed symbols, and a stream of each endpoint. Each blocks its own thread.

Everything goes the way that the collector goes: the venue's REST client, the dialer, the feed and its protocol.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from app.doctor.findings import Finding, ok, unreachable, warning, wrong
from app.doctor.network import CONNECT_LIMIT_S, explain
from app.options import endpoints, feed_options, kinds_of, rest_of
from app.venue_checks import depth_of
from conf.settings import Settings
from exchanges.clock import ExchangeClock
from exchanges.contract import MarketRest, Venue
from exchanges.universe.names import ListedNames
from exchanges.universe.selection import as_symbol, most_traded, quote_of
from model.context import StreamContext, set_current
from model.events import Connected, Quarantined, StatusEvent
from model.ports import HistoryError
from model.protocol import StreamProtocol
from model.records import Instrument, Kind
from streams import ConnectBudget, Dialer, MarketFeed

REST_LIMIT_S = 4.0  # the exchange's time is a few bytes
LISTING_LIMIT_S = 8.0  # what it lists may be 20 MB
STREAM_LIMIT_S = 5.0  # from the dial to the first data
CLOCK_OFF_MS = 1_000  # more than a synchronised clock is ever off
SHOWN = 8  # symbols in a line
QUICKEST: Sequence[Kind] = ("orderbook", "ticker", "trades", "liquidations", "topics")  # to bring data, the first first
PROMPT: Sequence[Kind] = ("orderbook", "ticker")  # these bring data within seconds, of quiet symbols too

SYNC = "set this machine's clock: timedatectl set-ntp true, or chrony; in a container or a virtual machine, the host's"
WAIT = "see the exchange's status page, and try again later"

Names = Mapping[str, Sequence[str]]
"""Symbols, or what people call them, by market."""


@dataclass(frozen=True)
class Stream:
    """One connection to try: an endpoint of a market, and the kind that is subscribed there."""

    market: str
    kind: Kind
    url: str

    @property
    def name(self) -> str:
        """For the list."""
        return f"stream {self.market} {self.kind}"


class ExchangeProbe:
    """What the checks of one exchange share. Opens nothing by itself; raises ValueError as the collector does.

    `names` are wanted in every market, `entries` in the market that their STREAMS entry has.
    """

    def __init__(self, settings: Settings, venue: Venue, names: Sequence[str], entries: Names) -> None:
        self._settings, self._venue, self._names, self._entries = settings, venue, names, entries
        self._rest = rest_of(settings, venue)
        self.rest_urls = {market: self._rest(market).url for market in settings.markets} if settings.has_rest else {}
        self.streams = list(self._streams())
        self.choice: Names = {}
        """The symbols that are collected, by market; none before `check_symbols` has found them."""

    def _protocol(self, market: str) -> StreamProtocol:
        return self._venue.protocol(market, endpoints(self._settings, market))

    def _streams(self) -> Iterator[Stream]:
        """The endpoints of the wanted kinds, each with the kind that brings data first."""
        for market in self._settings.markets:
            protocol, kinds = self._protocol(market), kinds_of(self._settings, self._venue.markets[market])
            found: dict[str, Kind] = {}
            for kind in sorted(kinds, key=QUICKEST.index):
                found.setdefault(protocol.endpoint(kind, ()), kind)
            yield from (Stream(market, kind, url) for url, kind in found.items())

    # -- REST -----------------------------------------------------------------------------------------------------

    def check_rest(self, market: str) -> Finding:
        """Read the exchange's time once."""
        begun_s = time.monotonic()
        try:
            with self._rest_for(market) as rest:
                rest.server_time_ms()
        except HistoryError as error:
            return explain_rest(error, self.rest_urls[market])
        return ok(f"{self.rest_urls[market]} answers in {1000 * (time.monotonic() - begun_s):.0f} ms")

    def check_clock(self) -> Finding:
        """Measure this machine's clock against the exchange's, as the collector does."""
        with self._rest_for(self._settings.markets[0]) as rest:
            clock = ExchangeClock(rest.server_time_ms)
            clock.refresh()
            if not clock.is_known:
                return unreachable("the exchange's time could not be read", WAIT)
            return judge_clock(clock.offset_ms, clock.uncertainty_ms or 0)

    def check_symbols(self) -> Sequence[Finding]:
        """Look the wanted symbols up in what the exchange lists."""
        settings = self._settings
        pre_market = settings.symbols_pre_market or not settings.load_all_symbols  # as the collector does
        listed: dict[str, Sequence[Instrument]] = {}
        for market in self.rest_urls:
            try:
                with self._rest_for(market, LISTING_LIMIT_S) as rest:
                    listed[market] = rest.listed(pre_market=pre_market)
            except HistoryError as error:
                return [explain_rest(error, self.rest_urls[market], LISTING_LIMIT_S)]
        found = {market: ListedNames(market, rows, settings.symbols_quote) for market, rows in listed.items()}
        if settings.load_all_symbols:
            quote, limit = settings.symbols_quote, settings.symbols_limit
            self.choice = {market: most_traded(rows, quote, limit) for market, rows in listed.items()}
            unknown = {}
        else:
            self.choice = {market: names.find(self._names).symbols for market, names in found.items()}
            unknown = {market: names.find(self._names).unknown for market, names in found.items()}
        entries = {market: names for market, names in self._entries.items() if market in found}
        others = {market: found[market].find(names).unknown for market, names in entries.items()}
        return judge_symbols(self.choice, unknown, others)

    def guess_symbols(self) -> Finding:
        """Take the names for symbols, as the collector does where no REST address is known."""
        for_coins = self._venue.joins_coins
        quotes = {market: quote_of(market, self._settings.symbols_quote) for market in self._settings.markets}
        self.choice = {
            market: [as_symbol(name, quote) if for_coins else name for name in self._names]
            for market, quote in quotes.items()
        }
        return warning(
            f"{_some(self._names)}: not looked up, for no REST address is set beside that of the streams",
            "set REST_URL, and see that the names are written as the exchange does",
        )

    @contextmanager
    def _rest_for(self, market: str, limit_s: float = REST_LIMIT_S) -> Iterator[MarketRest]:
        """The REST API of a market, whose requests end after a time."""
        with _timer(limit_s, (stop := threading.Event()).set):
            yield self._rest(market, stop)

    # -- streams --------------------------------------------------------------------------------------------------

    def check_stream(self, stream: Stream) -> Finding:
        """Open a connection, subscribe one topic, and wait for its data; without a symbol only open it."""
        symbol = next(iter(self.choice.get(stream.market, ())), None)
        context = StreamContext(f"doctor {stream.market}")
        set_current(context)
        try:
            with _timer(STREAM_LIMIT_S, context.abort):
                return self._delivered(stream, symbol, context) if symbol else self._opened(stream)
        except (ConnectionError, ValueError) as error:
            if isinstance(error.__cause__, HistoryError):  # of what is asked before a dial, such as a token
                return explain_rest(error.__cause__, stream.url, STREAM_LIMIT_S)
            return explain(error, stream.url)
        finally:
            set_current(None)

    def _dialer(self) -> Dialer:
        limits = self._venue.connects
        return Dialer(
            ConnectBudget(limits.most, limits.per_s),
            connect_timeout_s=CONNECT_LIMIT_S,
            refusals=limits.refusals,
            headers=limits.headers,
        )

    def _opened(self, stream: Stream) -> Finding:
        connection = self._dialer().open(self._protocol(stream.market).resolve(stream.url))
        if connection is None:
            return unreachable(f"no answer within {STREAM_LIMIT_S:g} s", WAIT)
        connection.close()
        return ok("opens; nothing is subscribed, for no symbol is known")

    def _delivered(self, stream: Stream, symbol: str, context: StreamContext) -> Finding:
        faults: list[str] = []
        received: list[float] = []

        def take(_payload: bytes) -> None:
            received.append(time.monotonic())
            context.abort()

        feed = MarketFeed(
            self._protocol(stream.market),
            feed_options(self._settings),
            dial=self._dialer().open,
            report=lambda cause, _sample: faults.append(cause),
            events=(events := _Events(context.abort)),
        )
        begun_s = time.monotonic()
        try:
            feed.run(stream.kind, [symbol], take, depth=depth_of(self._settings, self._venue))
        except ConnectionError:
            if not received:
                raise
        if received:
            return ok(f"{stream.kind} of {symbol} after {received[0] - begun_s:.1f} s")
        return judge_silence(stream, symbol, events.kept, faults)


class _Events:
    """An EventSink that keeps all, and has the stream end where its topic is refused."""

    def __init__(self, end: Callable[[], object]) -> None:
        self.kept: list[StatusEvent] = []
        self._end = end

    def emit(self, event: StatusEvent, /) -> None:
        """Keep one."""
        self.kept.append(event)
        if isinstance(event, Quarantined):
            self._end()


def explain_rest(error: HistoryError, url: str, limit_s: float = REST_LIMIT_S) -> Finding:
    """The finding of a REST request that failed, or was ended."""
    if error.problem is None and "stopped" in str(error):
        return explain(TimeoutError(f"no answer within {limit_s:g} s"), url)
    return explain(error, url)


def judge_clock(offset_ms: int, uncertainty_ms: int) -> Finding:
    """Judge the exchange's time minus this machine's."""
    side = "behind" if offset_ms > 0 else "ahead of"
    if abs(offset_ms) - uncertainty_ms > CLOCK_OFF_MS:
        return wrong(f"this machine's clock is {abs(offset_ms) / 1000:.1f} s {side} the exchange's", SYNC)
    return ok(f"{abs(offset_ms)} ms {side} the exchange's, give or take {uncertainty_ms} ms")


def judge_symbols(
    choice: Names, unknown: Mapping[str, Mapping[str, str]], of_entries: Mapping[str, Mapping[str, str]]
) -> Sequence[Finding]:
    """Judge what was found of the wanted names, by market; unknown ones have the nearest listed symbol, or ""."""
    findings = []
    first, *others = unknown.values() or ({},)
    nowhere = {name: near for name, near in first.items() if all(name in names for names in others)}
    if nowhere:
        findings.append(wrong(f"not listed: {_named(nowhere)}", "mend SYMBOLS, or the list in COINS_FILE"))
    for market, names in unknown.items():
        if here := {name: near for name, near in names.items() if name not in nowhere}:
            text = f"not listed in the {market} market: {_named(here)}; collected where they are"
            findings.append(warning(text, "nothing; or ENABLE_SPOT_STREAM=false, where nothing of spot is wanted"))
    for market, names in of_entries.items():
        if names:
            text = f"not listed in the {market} market: {_named(names)}"
            findings.append(wrong(text, "mend the entries of STREAMS"))
    listed = {market: symbols for market, symbols in choice.items() if symbols}
    if not listed and not nowhere:
        cure = "see SYMBOLS_QUOTE, SYMBOLS_LIMIT and CHANNEL_TYPE"
        findings.append(wrong("none is listed as the settings ask for", cure))
    found = "; ".join(f"{market}: {_some(symbols)}" for market, symbols in listed.items())
    return findings or [ok(found)]


def judge_silence(stream: Stream, symbol: str, events: Sequence[StatusEvent], faults: Sequence[str]) -> Finding:
    """Judge a connection that brought no data in time."""
    for event in events:
        if isinstance(event, Quarantined):
            return wrong(
                f"the exchange refuses {event.topic}: {event.message}",
                "see SYMBOLS against what the exchange lists, and ORDERBOOK_DEPTH",
            )
    what = f"no {stream.kind} of {symbol} within {STREAM_LIMIT_S:g} s"
    if faults:
        return unreachable(f"{what}, but messages that cannot be read ({faults[0]})", "see what is between here and it")
    if not any(isinstance(event, Connected) for event in events):
        return unreachable(f"it opens, and does not answer within {STREAM_LIMIT_S:g} s", WAIT)
    if stream.kind in PROMPT:
        return unreachable(f"subscribed, but {what}", WAIT)
    return warning(f"subscribed; {what}", "nothing, where the symbol is a quiet one")


def _named(nearest: Mapping[str, str]) -> str:
    return _some([f"{name} (nearest: {near})" if near else name for name, near in nearest.items()])


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


@contextmanager
def _timer(limit_s: float, action: Callable[[], object]) -> Iterator[None]:
    """Have `action` called after a time, unless the block has ended."""
    timer = threading.Timer(limit_s, action)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
