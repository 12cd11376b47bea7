"""All symbols of all categories, and which event happens next.

Event loop thread only. The rate is market events per second over all categories and kinds; an event of a kind without
subscribers sends no message; its trades count in the true candles all the same.
"""

from collections.abc import Callable, Iterable
from decimal import Decimal
from random import Random

from .dialect import Dialect, Found
from .hub import Hub, Topic
from .instruments import Instrument
from .options import Options
from .symbol_market import Stream, SymbolMarket
from .truth import MINUTE_MS, Candle, CandleRule, SymbolTruth, flat

ILLIQUID_GAP_S = 100  # mean seconds between trades of an illiquid symbol
BUSY_FALLOFF = 0.7  # weight of the n-th liquid symbol is 1 / n ** this
FOLD_AT = 5000  # trades waiting to be folded into the true candles
QUIET_SHARE = 0.1  # of minutes without a trade; nine in ten for an illiquid symbol
MAX_MOVE_TICKS = 12
MAX_LOTS, LOTS_STEP = 500, 40  # of a past minute: up to 500 steps, about what two trades a second bring

Event = Callable[[int], None]


class Market:
    """The seeded market. `step` makes events happen; all other methods read or set."""

    def __init__(self, options: Options, hub: Hub, clock_us: Callable[[], int], dialect: Dialect) -> None:
        self._options, self._hub, self._clock_us, self.dialect = options, hub, clock_us, dialect
        self._rng = Random(options.seed)
        self.symbols: dict[tuple[str, str], SymbolMarket] = {}
        self.delisted: dict[tuple[str, str], SymbolMarket] = {}
        self.refused: set[str] = set()
        self.rates = options.rates()
        self._listed_ever = dict.fromkeys(options.categories, options.symbols)
        self._illiquid: list[SymbolMarket] = []
        self._streams: dict[tuple[str, str], list[Stream]] = {}
        self._of_all: list[tuple[Found, Topic]] = []  # topics that carry every symbol of their categories
        for category in options.categories:
            for index in range(options.symbols):
                symbol = self._list(category, index, is_illiquid=index >= options.symbols - options.illiquid)
                if index >= options.symbols - options.illiquid:
                    self._illiquid.append(symbol)
        self._liquid = [symbol for symbol in self.symbols.values() if symbol not in self._illiquid]
        self._choose_from: list[Event] = []
        self._weights: list[float] = []
        self._weigh()

    def now_ms(self) -> int:
        """Exchange time."""
        return self._clock_us() // 1000

    def _list(self, category: str, index: int, is_illiquid: bool = False) -> SymbolMarket:
        dialect, now_us = self.dialect, self._clock_us()
        instrument, rule = dialect.instrument(category, index), dialect.rule(category)
        rng = Random(f"{self._options.seed}:{category}:{instrument.symbol}")
        minute = now_us // 1000 - now_us // 1000 % MINUTE_MS
        history = history_before(instrument, rule, minute, self._options.history_minutes, is_illiquid, rng)
        opening = flat(minute, _first_price(instrument))
        seconds_from = minute if self._options.true_seconds else None
        truth = SymbolTruth(rule, instrument.contract_size, history, opening, seconds_from)
        ids = dialect.trade_ids(instrument, index, rng, now_us)
        symbol = SymbolMarket(
            instrument, self._hub, truth, rng, ids, dialect.marks(category), now_us // 1000 * 100 + index,
            now_us // 1000, self._options.trades_kept,
        )  # fmt: skip
        symbol.own = dialect.state(symbol, now_us // 1000)
        self.symbols[category, instrument.symbol] = symbol
        return symbol

    # listing and delisting

    def list_symbol(self, category: str, name: str | None = None) -> SymbolMarket:
        """List the next symbol of a category, or one that was delisted; KeyError where there is no such one."""
        if name is None:
            index = self._listed_ever[category]
            self._listed_ever[category] = index + 1
            symbol = self._list(category, index)
        else:
            symbol = self.symbols[category, name] = self.delisted.pop((category, name))
        self._liquid.append(symbol)
        for found, topic in self._of_all:
            if category in found.categories:
                self._attach(found, topic, symbol)
        self._weigh()
        return symbol

    def delist(self, category: str, name: str) -> SymbolMarket:
        """Delist a symbol: nothing happens in it any more, its topics stay subscribed and silent."""
        symbol = self.delisted[category, name] = self.symbols.pop((category, name))
        self._liquid = [each for each in self._liquid if each is not symbol]
        self._illiquid = [each for each in self._illiquid if each is not symbol]
        for found, topic in self._of_all:
            kept = [stream for stream in self._streams[found.category, topic.name] if stream.symbol is not symbol]
            self._streams[found.category, topic.name] = kept
            symbol.streams[found.kind] = [s for s in symbol.streams[found.kind] if s.topic is not topic]
        self._weigh()
        return symbol

    # rates and events

    def set_rates(self, rates: dict[str, float]) -> None:
        """Change events per second of some kinds; the others keep theirs."""
        self.rates.update(rates)
        self._weigh()

    def mix_of(self, total: float) -> dict[str, float]:
        """`total` events per second, shared by the mix of the command line."""
        shares = dict(self._options.mix)
        return {kind: total * share / (sum(shares.values()) or 1) for kind, share in shares.items()}

    @property
    def rate(self) -> float:
        """Events per second over all kinds; 0 is a silent market."""
        return sum(self.rates.values())

    def _weigh(self) -> None:
        self._choose_from, self._weights = [], []
        total = 0.0
        # A flood in a silent market follows the mix: `step` makes events, whatever the rate.
        for kind, rate in (self.rates if self.rate > 0 else self.mix_of(1.0)).items():
            symbols = [s for s in self._liquid if kind != "liquidation" or _has_liquidations(s)]
            shares = [1 / (1 + n // len(self._options.categories)) ** BUSY_FALLOFF for n in range(len(symbols))]
            for symbol, share in zip(_interleaved(symbols), shares, strict=True):
                total += rate * share / sum(shares)
                self._choose_from.append(getattr(symbol, EVENT_OF_KIND[kind]))
                self._weights.append(total)

    def step(self, count: int) -> int:
        """Let `count` events happen now; returns how many did before a commanded limit stopped it."""
        if not self._weights or self._weights[-1] <= 0:
            return 0
        now_ms, hub = self.now_ms(), self._hub
        for done, event in enumerate(self._rng.choices(self._choose_from, cum_weights=self._weights, k=count)):
            if hub.is_full:
                return done
            event(now_ms)
        return count

    def step_illiquid(self, elapsed_s: float) -> None:
        """Rare trades of rare symbols, whatever the rate; none while the market is silent."""
        for symbol in self._illiquid if self.rates["trades"] > 0 else ():
            if self._rng.random() < elapsed_s / ILLIQUID_GAP_S and not self._hub.is_full:
                symbol.trade_event(self.now_ms())

    def fold(self, at_least: int = 1) -> None:
        """Fold the waiting trades of every symbol that has `at_least` of them into its true candles."""
        for symbol in self.symbols.values():
            if len(symbol.truth.pending) >= at_least:
                symbol.truth.fold()

    # topics

    def find(self, channel: str, name: str) -> Topic | None:
        """The topic of that name, None where the exchange has no such topic on that path."""
        found = None if name in self.refused else self.dialect.find(self.symbols, channel, name)
        if found is None or found.label in self.refused:
            return None
        topic = self._hub.topic(found.category, name, found.kind, found.label, found.detail)
        if (found.category, name) not in self._streams:
            self._streams[found.category, name] = []
            if found.categories:
                self._of_all.append((found, topic))
        if not self._streams[found.category, name]:  # of a symbol that is listed now, perhaps
            for symbol in found.symbols:
                self._attach(found, topic, symbol)
        return topic

    def _attach(self, found: Found, topic: Topic, symbol: SymbolMarket) -> None:
        stream = self.dialect.stream(found, topic, symbol)
        symbol.streams[found.kind].append(stream)
        self._streams[found.category, topic.name].append(stream)

    def snapshots(self, topic: Topic) -> Iterable[str]:
        """The messages that a new subscriber of a topic gets at once."""
        for stream in self._streams.get((topic.category, topic.name), ()):
            yield from stream.first(self.now_ms())

    # things that happen by the clock

    def repeat(self) -> None:
        """Send what streams have due without an event."""
        now_ms = self.now_ms()
        for symbol in self.symbols.values():
            symbol.repeat(now_ms)

    def push_klines(self) -> None:
        """Push each subscribed kline topic: the closed candle when there is a new one, then the open one."""
        now_ms = self.now_ms()
        for symbol in self.symbols.values():
            for stream in symbol.streams["kline"]:
                if stream.topic.sessions:
                    self._push_kline(stream, symbol, now_ms)
                else:
                    stream.open_start = None

    def _push_kline(self, stream: Stream, symbol: SymbolMarket, now_ms: int) -> None:
        candles = symbol.truth.candles(self.dialect.intervals[stream.topic.detail], now_ms)
        newest, sent = candles[-1], stream.open_start
        for candle in candles[-3:]:
            if candle is newest or (sent is not None and candle.start >= sent):
                for payload in stream.kline(candle, candle is not newest, now_ms):
                    self._hub.publish(stream.topic, payload)
        stream.open_start = newest.start


EVENT_OF_KIND = {
    "trades": "trade_event",
    "orderbook": "book_event",
    "ticker": "ticker_event",
    "liquidation": "liquidation_event",
}


def _has_liquidations(symbol: SymbolMarket) -> bool:
    return symbol.instrument.category in ("linear", "inverse")


def _interleaved(symbols: list[SymbolMarket]) -> list[SymbolMarket]:
    """First symbols of every category first, so that weights fall off per category."""
    places: dict[str, int] = {}
    ranked = []
    for symbol in symbols:
        place = places[symbol.instrument.category] = places.get(symbol.instrument.category, 0) + 1
        ranked.append((place, symbol))
    return [symbol for _, symbol in sorted(ranked, key=lambda pair: pair[0])]


def _first_price(instrument: Instrument) -> Decimal:
    """The first price, rounded to the tick and to the decimals it is printed with."""
    return Decimal(instrument.price_text()(int(instrument.first_price / instrument.tick)))


def history_before(
    instrument: Instrument, rule: CandleRule, until_ms: int, minutes: int, is_illiquid: bool, rng: Random
) -> list[Candle]:
    """`minutes` one-minute candles, oldest first, the last one ending at `until_ms`."""
    price_text = instrument.price_text()
    ticks = int(instrument.first_price / instrument.tick)
    quiet = 1 - QUIET_SHARE if is_illiquid else QUIET_SHARE
    candles: list[Candle] = []
    for i in range(minutes):
        start = until_ms - (i + 1) * MINUTE_MS
        if rng.random() < quiet:
            candles.append(flat(start, Decimal(price_text(ticks))))
            continue
        opening = max(1100, ticks + rng.randint(-MAX_MOVE_TICKS, MAX_MOVE_TICKS))
        candles.append(_past_candle(instrument, rule, start, opening, ticks, rng))
        ticks = opening
    candles.reverse()
    return candles


def _past_candle(
    instrument: Instrument, rule: CandleRule, start: int, opening: int, closing: int, rng: Random
) -> Candle:
    price_text = instrument.price_text()
    if rule.opens_at == "first_trade":  # which is somewhere beside the close before it
        opening += rng.randint(-MAX_MOVE_TICKS // 2, MAX_MOVE_TICKS // 2)
    high = max(opening, closing) + rng.randint(0, MAX_MOVE_TICKS)
    low = min(opening, closing) - rng.randint(0, MAX_MOVE_TICKS)
    o, h, low_price, c = (Decimal(price_text(ticks)) for ticks in (opening, high, low, closing))
    volume = instrument.lot * (LOTS_STEP * rng.randint(1, MAX_LOTS))
    turnover = rule.turnover(c, volume, instrument.contract_size)
    return Candle(start, o, h, low_price, c, volume, turnover, rng.randint(1, 40), start + MINUTE_MS - 1)
