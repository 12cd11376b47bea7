"""The page of a collector: what its hub shows, of the collector's parts.

`build_page` opens nothing; what it makes reads when a page asks. The event loop's thread, the history's for candles.
"""

import time
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, Protocol

from aggregation.recovery.candles import rolled_up
from app import VERSION
from app.figures import Figures
from app.health import Health, WatchedCollector
from app.options import WebParts
from app.page.feeds import PageFeeds
from app.page.past import read_past
from consumers.web.api import ApiOptions, DataApi
from consumers.web.awaited import AwaitedKlines
from consumers.web.http import Routes
from consumers.web.klines import KlineFeed
from consumers.web.live.files import page_routes
from consumers.web.live.history import Past
from consumers.web.live.hub import PageHub
from consumers.web.live.options import Markets, PageMarket, PageOptions
from exchanges.contract import Venue
from model.intervals import DAY_MS, Interval, longest_step, parse_interval, step_name
from model.markets import MarketSpec
from model.ports import CandleStore, Dial
from model.records import Candle

PATH = "/live"
PARTS_MOST = 3_000  # candles of the exchange that those of one view are made of
OFF = "The exchange's REST API is not read (REST_URL): the chart begins with what this collector saw."
WITHOUT_CANDLES = "There are no candles of this market."
NO_STEP = "The exchange has no candles that {} is made of: the chart begins with what this collector saw."
UNREADABLE = "The exchange's REST API cannot be read now; it is asked again every ten seconds."


class ShownCollector(WatchedCollector, Protocol):
    """What a page shows; `app.collector.Collector`."""

    health: Health
    figures: Figures
    store: CandleStore | None

    @property
    def followed(self) -> Mapping[str, Sequence[str]]:
        """The symbols by market that the settings choose."""

    @property
    def collected(self) -> set[tuple[str, str]]:
        """The markets and symbols that are streamed at all; another object where it changes."""


class Page:
    """The hub of a collector's pages, and what is opened for them alone."""

    def __init__(self, collector: ShownCollector, venue: Venue) -> None:
        """Reads nothing of `collector` yet, which is about to be built."""
        self._collector, self._venue, self._settings = collector, venue, collector.settings
        self._feeds = PageFeeds(collector.settings, venue, self._dial)
        self._markets: Markets = {}
        self._collected: set[tuple[str, str]] | None = None
        self._strip = Strip(collector)
        self.klines = KlineFeed()
        options = PageOptions(
            exchange=venue.name,
            version=VERSION,
            markets=self.markets,
            watch=self._feeds.open,
            read_candles=self.read_candles,
            strip=self._strip.read,
            tick=self._feeds.tick,
            now_ms=self._now_ms,
            has_klines=self._settings.enable_klines_stream,
            facts={"repairs": collector.settings.repairs_klines, "audit": bool(collector.settings.audit_sample)},
        )
        self.hub = PageHub(options, self.klines)
        self._api = DataApi(
            ApiOptions(
                exchange=venue.name,
                version=VERSION,
                markets=self.markets,
                store=lambda: collector.store,
                read_candles=self.read_candles,
                now_ms=self._now_ms,
            )
        )

    def parts(self, routes: Routes, awaited: AwaitedKlines | None = None) -> WebParts:
        """What the web server serves: the page and /api/ beside other `routes`."""
        routes = {**routes, **page_routes(), **self._api.routes()}
        return WebParts(routes, {PATH: self.hub.session}, self.klines, awaited)

    def stop(self) -> None:
        """End what was opened for pages alone; does not wait."""
        self.hub.stop()
        self._api.stop()
        self._feeds.stop()

    def _dial(self) -> Dial:
        return self._collector.streams.dial

    def _now_ms(self) -> int:
        return self._collector.rest.clock.now_ms()

    # -- what there is ---------------------------------------------------------------------------------

    def markets(self) -> Markets:
        """The markets and symbols that are collected, those of the settings first; the same object until it changes."""
        collected = self._collector.collected
        if collected is not self._collected:
            self._collected = collected
            chosen = [(market, symbol) for market, each in self._collector.followed.items() for symbol in each]
            every = dict.fromkeys(pair for pair in chosen if pair in collected) | dict.fromkeys(sorted(collected))
            by_market: dict[str, list[str]] = {}
            for market, symbol in every:
                by_market.setdefault(market, []).append(symbol)
            self._markets = {market: self._market(market, symbols) for market, symbols in by_market.items()}
        return self._markets

    def _market(self, market: str, symbols: Sequence[str]) -> PageMarket:
        spec = self._venue.markets[market]
        has_klines = self._collector.klines is not None and spec.klines is not None
        kinds = [kind for kind in spec.kinds if kind in self._settings.wanted_kinds]
        return PageMarket(
            symbols,
            self._made() if has_klines else self._served(spec),
            kinds,
            has_klines,
            has_book="orderbook" in spec.kinds,
            has_tape="trades" in spec.kinds,
        )

    def _made(self) -> list[Interval]:
        """The intervals that klines are made of."""
        return sorted(map(parse_interval, self._settings.kline_intervals), key=_length_of)

    def _served(self, spec: MarketSpec) -> list[Interval]:
        """The intervals that the exchange has candles of; where none are read a minute, so that the rest is shown."""
        if spec.klines is None or not self._settings.has_rest:
            return [parse_interval("1m")]
        steps = self._collector.rest.candle_steps_ms(spec.name)
        return sorted((parse_interval(step_name(step)) for step in steps), key=_length_of)

    # -- candles, on the history's thread --------------------------------------------------------------

    def read_candles(self, market: str, symbol: str, interval: Interval, from_ms: int, until_ms: int) -> Past:
        """Read candles of a span, of the store and of the exchange. ReadCandles."""
        store = self._collector.store
        return read_past(store, self.exchange_candles, market, symbol, interval, from_ms, until_ms)

    def exchange_candles(self, market: str, symbol: str, interval: Interval, from_ms: int, until_ms: int) -> Past:
        """Read the exchange's candles of a span; of an interval that it has not, made of shorter ones. ReadCandles."""
        if self._venue.markets[market].klines is None:
            return Past(note=WITHOUT_CANDLES)
        if not self._settings.has_rest:
            return Past(note=OFF)
        rest, newest_ms = self._collector.rest, interval.window_start(until_ms - 1)
        length_ms = interval.window_end(newest_ms) - newest_ms
        step_ms = longest_step(rest.candle_steps_ms(market), length_ms, newest_ms)
        if step_ms is None:
            return Past(note=NO_STEP.format(interval.name))
        parts = max(1, length_ms // step_ms) if step_ms else 1
        start_ms = max(from_ms, interval.window_start(until_ms - PARTS_MOST // parts * length_ms))
        found = rest.candles(market, symbol, step_ms, start_ms, until_ms)
        if found is None:
            return Past(note=UNREADABLE, is_final=False)
        if step_ms != interval.step_ms:
            found = self._rolled_up(market, interval, step_ms, found)
        return Past(found)

    def _rolled_up(self, market: str, interval: Interval, step_ms: int, found: Sequence[Candle]) -> list[Candle]:
        """Candles of an interval made of shorter ones; the open one of those that there are."""
        rules = self._venue.markets[market].klines
        opens_at = rules.opens_at if rules else "first_trade"
        made = []
        for start_ms, group in groupby(found, key=lambda candle: interval.window_start(candle.start_ms)):
            parts = {candle.start_ms: candle for candle in group}
            end_ms = min(interval.window_end(start_ms), max(parts) + step_ms) if step_ms else 0
            if candle := rolled_up(parts, start_ms, end_ms, step_ms, opens_at):
                made.append(candle)
        return made


class Strip:
    """The figures of the strip, of what is counted anyway; rates since the last call."""

    def __init__(self, collector: ShownCollector) -> None:
        self._collector = collector
        self._messages: dict[str, int] = {}
        self._read_s = time.monotonic()
        self._compared = 0
        self._compared_ms: int | None = None

    def read(self) -> Mapping[str, Any]:
        """Read them; the event loop's thread."""
        collector = self._collector
        reasons = collector.health.reasons()
        streams, messages_s = self._streams()
        counts = collector.klines.aggregator.stats() if collector.klines else None
        clock = collector.rest.clock
        return {
            "ready": not reasons,
            "reasons": reasons,
            "streams": streams,
            "messages_s": messages_s,
            "lag_ms": dict(trades.newest_ms) if (trades := collector.figures.trades) else {},
            "aggregator": counts and {"queue": counts["waiting"]},
            "outputs": self._outputs(),
            "audit": self._audit(),
            "clock": {"offset_ms": clock.offset_ms, "known": clock.is_known},
        }

    def _streams(self) -> tuple[list[dict[str, Any]], int]:
        """The streams by market and kind, and messages a second of all."""
        now_s = time.monotonic()
        passed_s = max(now_s - self._read_s, 0.001)
        statuses = self._collector.streams.supervisor.status()
        rows: dict[tuple[str, str], dict[str, Any]] = {}
        sums: dict[tuple[str, str], float] = {}
        for status in statuses:
            key = status.market or "", status.kind or ""
            row = rows.setdefault(key, {"market": key[0], "kind": key[1], "live": 0, "total": 0})
            row["total"] += 1
            row["live"] += status.state == "live"
            before = self._messages.get(status.name, status.messages)
            sums[key] = sums.get(key, 0.0) + (status.messages - before) / passed_s
        self._messages = {status.name: status.messages for status in statuses}
        self._read_s = now_s
        shown = [{**rows[key], "messages_s": round(sums[key])} for key in sorted(rows)]
        return shown, round(sum(sums.values()))

    def _outputs(self) -> list[dict[str, Any]]:
        outputs = self._collector.outputs
        down = {outage.sink for outage in outputs.outages()}
        return [
            {"name": name, "up": name not in down, "queue": stats.queued, "dropped": stats.dropped}
            for name, stats in outputs.manager.stats().items()
        ]

    def _audit(self) -> Mapping[str, Any] | None:
        auditor = self._collector.klines.auditor if self._collector.klines else None
        if auditor is None:
            return None
        tallies: Any = auditor.stats()["intervals"]
        compared, different = (sum(tally[name] for tally in tallies.values()) for name in ("compared", "different"))
        if compared != self._compared:
            self._compared, self._compared_ms = compared, time.time_ns() // 1_000_000
        return {"compared": compared, "different": different, "last_ms": self._compared_ms}


def _length_of(interval: Interval) -> int:
    return interval.step_ms or 31 * DAY_MS
