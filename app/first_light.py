"""The start as a person sees it: what is collected, from where and to where, then the first signs that it works.

An EventSink; main calls `tick`, which reads what is counted anyway until everything was seen once, and nothing then.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from app.options import kinds_of
from app.outages import NAMES_MOST, duration, named
from conf.settings import Settings
from consumers.redis.channels import klines_channel, raw_channel, status_channel
from exchanges.contract import Venue
from model.events import Connected, StatusEvent
from model.intervals import parse_interval

GATHER_S = 1.0  # streams that connect within it are one line
GATHER_DATA_S = 3.0  # the same of what delivers first
GATHER_MOST_S = 60.0  # the same of streams that connect one after the other
LOOK_SHARE, LOOK_MOST_S = 1 / 60, 10.0  # of the time since the start: how long until the next look; and at most
SHOWN_MOST = 5  # symbols in a sentence
TEST_NETWORK = ", its TEST network"

log = structlog.get_logger()

Class = tuple[str, str]
"""Market and kind of a stream."""


@dataclass(frozen=True)
class Plan:
    """What a start will do: `symbols` by market, `kinds` by market, `channels` and other `outputs`, `intervals`."""

    kinds: Mapping[str, Sequence[str]]
    symbols: Mapping[str, Sequence[str]]
    redis: str | None
    channels: Sequence[str]
    outputs: Sequence[str]
    intervals: Sequence[str]

    @property
    def classes(self) -> list[Class]:
        """Every market and kind of which there are symbols."""
        return [(market, kind) for market, kinds in self.kinds.items() if self.symbols[market] for kind in kinds]

    @classmethod
    def of(cls, settings: Settings, venue: Venue, symbols: Mapping[str, Sequence[str]]) -> "Plan":
        """Return the plan of settings, where these `symbols` were chosen."""
        exchange, kinds = settings.exchange, {market: kinds_of(settings, venue.markets[market]) for market in symbols}
        channels = [
            raw_channel(exchange, kind, None if market == settings.channel_type else market)
            for market, of in kinds.items()
            for kind in of
            if kind in settings.raw_streams
        ]
        channels += [klines_channel(exchange)] if settings.enable_klines_stream else []
        places = {
            "websocket": f"WebSocket clients of {settings.websocket_host}",
            "file": f"files in {settings.file_consumer_base_path}",
            "parquet": f"Parquet files in {settings.parquet_path}",
            "storage": "keys in Redis",
            "history": "Redis Streams",
        }
        return cls(
            kinds,
            symbols,
            f"{settings.redis_host}:{settings.redis_port}" if "redis" in settings.outputs else None,
            [*channels, status_channel(exchange)],
            [places.get(name, name) for name in settings.outputs if name != "redis"]
            + ([f"recordings in {settings.raw_record_path}"] if settings.raw_record else [])
            + ([f"candles in {settings.kline_store_path}"] if settings.has_store else []),
            settings.kline_intervals if settings.enable_klines_stream else (),
        )


def log_source(exchange: str, proxies: Mapping[str, str | None], certificates: str, *, is_testnet: bool) -> None:
    """Log where the data comes from: each host with the proxy to it, None where there is none."""
    ways = sorted({proxy for proxy in proxies.values() if proxy})
    way = f"through the proxy {' and '.join(ways)}" if ways else "directly"
    network = TEST_NETWORK if is_testnet else ""
    sentence = f"From {exchange}{network}: {' and '.join(proxies)}, {way}."
    log.info(
        "collecting_from",
        sentence=sentence,
        exchange=exchange,
        testnet=is_testnet,
        proxies=dict(proxies),
        certificates=certificates,
    )


def log_plan(plan: Plan, now_ms: int) -> None:
    """Log what is collected, where it goes, and which klines are made."""
    counts = {market: len(symbols) for market, symbols in plan.symbols.items()}
    first = {market: list(symbols[:SHOWN_MOST]) for market, symbols in plan.symbols.items()}
    parts = [f"{market} {', '.join(plan.kinds[market])} of {_symbols(names)}" for market, names in plan.symbols.items()]
    log.info(
        "collecting",
        sentence=f"Collecting {'; '.join(parts)}.",
        kinds={market: list(kinds) for market, kinds in plan.kinds.items()},
        symbols=counts,
        first_symbols=first,
    )
    to_redis = [f"Redis at {plan.redis}: {', '.join(plan.channels)}"] if plan.redis else []
    outputs = "; ".join([*to_redis, *plan.outputs]) or "nothing: no output is enabled"
    log.info(
        "publishing_to",
        sentence=f"To {outputs}.",
        redis=plan.redis,
        channels=list(plan.channels) if plan.redis else [],
        outputs=list(plan.outputs),
    )
    if plan.intervals:
        due_s = max(0.0, (first_close_ms(plan.intervals, now_ms) - now_ms) / 1000)
        sentence = f"Klines of {', '.join(plan.intervals)}; the first closes in {duration(due_s)}."
        log.info("closing_klines", sentence=sentence, intervals=list(plan.intervals), first_in_s=round(due_s, 1))
    else:
        log.info("closing_klines", sentence="No klines.", intervals=[])


def first_close_ms(intervals: Iterable[str], now_ms: int) -> int:
    """Return when the first window that begins from now on, or is open now, ends."""
    parsed = map(parse_interval, intervals)
    return min(interval.window_end(interval.window_start(now_ms)) for interval in parsed)


class FirstLight:
    """The first signs of life after a start: an EventSink whose `tick` logs what was seen for the first time.

    `messages()` returns how many messages each stream has delivered, by its name; `klines()` how many have closed.
    """

    def __init__(
        self,
        messages: Callable[[], Mapping[str, int]],
        klines: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._messages, self._klines, self._clock = messages, klines, clock
        self._begun_s = clock()
        self._connected: deque[tuple[str, Class, int]] = deque()  # since the last tick: name, class, symbols
        self._known: dict[str, Class] = {}  # streams that have been connected, by name
        self._lock = threading.Lock()
        self._new: dict[str, int] = {}  # connected, and not logged yet, with the number of symbols
        self._silent: set[Class] = set()  # that have delivered nothing yet
        self._delivering: dict[Class, float] = {}
        self._unlogged: list[Class] = []
        self._new_s = self._unlogged_s = 0.0
        self._gather_s, self._look_due_s = GATHER_S, float("-inf")
        self._has_klines = False

    def expect(self, classes: Iterable[Class]) -> None:
        """Wait for the first data of these, too: before any of their streams is connected."""
        self._silent.update(classes)

    def emit(self, event: StatusEvent, /) -> None:
        """Take an event; of a stream that is connected for the first time. Any thread."""
        if isinstance(event, Connected) and event.stream and event.market and event.kind:
            with self._lock:
                self._connected.append((event.stream, (event.market, event.kind), len(event.symbols or ())))

    def tick(self) -> None:
        """Log what was seen for the first time since the last call. Main thread."""
        now_s = self._clock()
        self._take_connected(now_s)
        if now_s >= self._look_due_s:
            self._look_due_s = now_s + min(LOOK_MOST_S, LOOK_SHARE * (now_s - self._begun_s))
            self._look_for_data(now_s)
            self._look_for_klines(now_s)
        has_data = self._unlogged and (not self._silent or now_s - self._unlogged_s >= GATHER_DATA_S)
        if self._new and (has_data or now_s - self._new_s >= self._gather_s):
            self._log_connected()
        if has_data:
            self._log_delivering(now_s)

    def _take_connected(self, now_s: float) -> None:
        with self._lock:
            connected = list(self._connected)
            self._connected.clear()
        for name, of, symbols in connected:
            if name in self._known:  # it is back, or has more symbols
                continue
            if not self._new:
                self._gather_s = self._gather_s if now_s - self._new_s <= GATHER_MOST_S else GATHER_S
                self._new_s = now_s
            self._new[name] = symbols
            self._known[name] = of
            if of not in self._delivering:
                self._silent.add(of)

    def _log_connected(self) -> None:
        new, self._new = self._new, {}
        self._gather_s = min(GATHER_MOST_S, 2 * self._gather_s)  # those that wait for their turn come one by one
        streams = f"{len(new)} streams: " if 1 < len(new) <= NAMES_MOST else ""
        sentence = f"Connected {streams}{named(new)}."
        log.info("streams_connected", sentence=sentence, streams=sorted(new), symbols=sum(new.values()))

    def _look_for_klines(self, now_s: float) -> None:
        if self._has_klines or not (count := self._klines()):
            return
        self._has_klines = True
        if self._new:
            self._log_connected()  # which came before
        after_s = now_s - self._begun_s
        sentence = f"The first klines have closed ({count:,}), {duration(after_s)} after the start."
        log.info("first_klines_closed", sentence=sentence, count=count, after_s=round(after_s, 1))

    def _look_for_data(self, now_s: float) -> None:
        messages = self._messages() if self._silent else {}
        for of in {of for name, of in self._known.items() if messages.get(name)} & self._silent:
            self._silent.discard(of)
            self._delivering[of] = now_s
            self._unlogged_s = self._unlogged_s if self._unlogged else now_s
            self._unlogged.append(of)

    def _log_delivering(self, now_s: float) -> None:
        new, self._unlogged = sorted(self._unlogged), []
        after_s = now_s - self._begun_s
        rest = f"; nothing yet of {_classes(sorted(self._silent))}" if self._silent else ""
        log.info(
            "streams_delivering",
            sentence=f"First data of {_classes(new)}{rest}.",
            streams=[" ".join(of) for of in new],
            silent=[" ".join(of) for of in sorted(self._silent)],
            after_s=round(after_s, 1),
        )


class StatusSentence:
    """The status line in a sentence. Main thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._before: tuple[float, int] | None = None

    def of(self, status: Mapping[str, Any]) -> str:
        """Return what the fields of a status line say."""
        now_s, messages = self._clock(), status["messages"]
        since_s, counted = self._before or (now_s, messages)
        self._before = now_s, messages
        rate = f", {(messages - counted) / (now_s - since_s):,.0f}/s" if now_s > since_s else ""
        parts = [f"{status['live']} of {status['streams']} streams live", f"{messages:,} messages{rate}"]
        if klines := status.get("klines"):
            repaired = (status.get("repair") or {}).get("repaired", 0)
            parts.append(f"{klines['klines']:,} klines closed" + (f", {repaired:,} repaired" if repaired else ""))
        parts += [output_text(name, stats) for name, stats in status["consumers"].items()]
        if faults := status["faults"]:
            parts.append("faults: " + ", ".join(f"{cause} {count:,}" for cause, count in faults.items()))
        return f"{'; '.join(parts)}."


def output_text(name: str, stats: Mapping[str, Any]) -> str:
    """Return the figures of an output in a few words."""
    dropped = f", {stats['dropped']:,} dropped" if stats["dropped"] else ""
    behind = f", {stats['lag_s']:.0f} s behind" if stats["lag_s"] >= 1 else ""
    return f"{name} {stats['delivered']:,} sent{dropped}{behind}"


def _symbols(names: Sequence[str]) -> str:
    shown = ", ".join(names[:SHOWN_MOST])
    count = f"{len(names):,} symbol{'' if len(names) == 1 else 's'}"
    return f"{count} ({shown}{', ...' if len(names) > SHOWN_MOST else ''})" if names else count


def _classes(classes: Sequence[Class]) -> str:
    """Return markets with their kinds: linear trades, ticker."""
    by_market: dict[str, list[str]] = {}
    for market, kind in classes:
        by_market.setdefault(market, []).append(kind)
    return "; ".join(f"{market} {', '.join(kinds)}" for market, kinds in by_market.items())
