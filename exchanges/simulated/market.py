"""All symbols of all categories, and which event happens next.

Event loop thread only. The rate is market events per second over all categories and kinds; an event of a kind without
subscribers sends no message; its trades count in the true candles all the same.
"""

from collections.abc import Callable, Iterable
from decimal import Decimal
from random import Random

from .bybit.render import kline_message
from .bybit.topics import TopicName, parse_topic
from .hub import Hub, Topic
from .instruments import Instrument, list_instruments
from .options import Options
from .symbol_market import SymbolMarket
from .truth import MINUTE_MS, Candle, Interval, SymbolTruth, coins, flat

INTERVALS: dict[str, Interval] = {
    **{name: int(name) * MINUTE_MS for name in ("1", "3", "5", "15", "30", "60", "120", "240", "360", "720")},
    "D": 86_400_000,
    "W": 604_800_000,
    "M": "M",
}
ILLIQUID_GAP_S = 100  # mean seconds between trades of an illiquid symbol
BUSY_FALLOFF = 0.7  # weight of the n-th liquid symbol is 1 / n ** this
FOLD_AT = 5000  # trades waiting to be folded into the true candles
QUIET_SHARE = 0.1  # of minutes without a trade; nine in ten for an illiquid symbol
MAX_MOVE_TICKS = 12
MAX_LOTS = 500

Event = Callable[[int], None]


class Market:
    """The seeded market. `step` makes events happen; all other methods read or set."""

    def __init__(self, options: Options, hub: Hub, clock_us: Callable[[], int]) -> None:
        self._options, self._hub, self._clock_us = options, hub, clock_us
        self._rng = Random(options.seed)
        self.symbols: dict[tuple[str, str], SymbolMarket] = {}
        self._by_base: dict[str, SymbolMarket] = {}
        self.refused: set[str] = set()
        self.rates = options.rates()
        self._illiquid: list[SymbolMarket] = []
        self._klines: dict[tuple[str, str], tuple[Topic, SymbolMarket, int | None]] = {}
        for category in options.categories:
            self._list(category)
        self._liquid = [symbol for symbol in self.symbols.values() if symbol not in self._illiquid]
        self._choose_from: list[Event] = []
        self._weights: list[float] = []
        self._weigh()

    def now_ms(self) -> int:
        """Exchange time."""
        return self._clock_us() // 1000

    def _list(self, category: str) -> None:
        instruments = list_instruments(category, self._options.symbols)
        first_illiquid = len(instruments) - self._options.illiquid
        for index, instrument in enumerate(instruments):
            is_illiquid = index >= first_illiquid
            rng = Random(f"{self._options.seed}:{category}:{instrument.symbol}")
            now_us = self._clock_us()
            minute = now_us // 1000 - now_us // 1000 % MINUTE_MS
            history = history_before(instrument, minute, self._options.history_minutes, is_illiquid, rng)
            opening = flat(minute, _first_price(instrument))
            seconds_from = minute if self._options.true_seconds else None
            truth = SymbolTruth(category == "inverse", history, opening, seconds_from)
            symbol = SymbolMarket(instrument, self._hub, truth, rng, index, now_us // 1000, now_us)
            self.symbols[category, instrument.symbol] = symbol
            if is_illiquid:
                self._illiquid.append(symbol)
            if category == "option":
                self._by_base.setdefault(instrument.base, symbol)

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

    def find(self, category: str, name: str) -> Topic | None:
        """The topic of that name, None where Bybit has no such topic."""
        parsed = parse_topic(category, name)
        if parsed is None or name in self.refused or parsed.symbol in self.refused:
            return None
        symbol = self._symbol_of(category, parsed)
        if symbol is None:
            return None
        return self._topic_of(symbol, parsed, name)

    def _symbol_of(self, category: str, parsed: TopicName) -> SymbolMarket | None:
        if category == "option" and parsed.kind == "trades":
            return self._by_base.get(parsed.symbol)
        return self.symbols.get((category, parsed.symbol))

    def _topic_of(self, symbol: SymbolMarket, parsed: TopicName, name: str) -> Topic:
        if parsed.kind == "orderbook":
            return symbol.book(parsed.detail)[0]
        if parsed.kind == "kline":
            return self._kline_topic(symbol, name, parsed.detail)
        topics = {
            "trades": symbol.trades_topic,
            "ticker": symbol.ticker_topic,
            "liquidation": symbol.liquidation_topic,
        }
        return topics[parsed.kind]

    def _kline_topic(self, symbol: SymbolMarket, name: str, interval: str) -> Topic:
        key = (symbol.instrument.category, name)
        if key not in self._klines:
            topic = self._hub.topic(*key, "kline", symbol.instrument.symbol, interval)
            self._klines[key] = (topic, symbol, None)
        return self._klines[key][0]

    def snapshots(self, topic: Topic) -> Iterable[str]:
        """The messages that a new subscriber of a topic gets at once."""
        symbol = self.symbols.get((topic.category, topic.symbol))
        if symbol is not None and topic.kind == "orderbook":
            yield symbol.books[topic.detail][1].snapshot(self.now_ms(), symbol.seq)
        elif symbol is not None and topic.kind == "ticker":
            yield symbol.ticker.snapshot(self.now_ms())

    # things that happen by the clock

    def repeat_tops(self) -> None:
        """Repeat level-1 books that stood still."""
        now_ms = self.now_ms()
        for symbol in self.symbols.values():
            symbol.repeat_top(now_ms)

    def push_klines(self) -> None:
        """One message per subscribed kline topic: the closed candle when there is a new one, then the open one."""
        now_ms = self.now_ms()
        for key, (topic, symbol, open_start) in self._klines.items():
            if not topic.sessions:
                self._klines[key] = (topic, symbol, None)
                continue
            candles = symbol.truth.candles(INTERVALS[topic.detail], now_ms)
            newest = candles[-1]
            for candle in candles[-3:]:
                if candle is newest or (open_start is not None and candle.start >= open_start):
                    self._push_kline(topic, candle, candle is not newest, now_ms)
            self._klines[key] = (topic, symbol, newest.start)

    def _push_kline(self, topic: Topic, candle: Candle, confirm: bool, now_ms: int) -> None:
        interval, is_inverse = INTERVALS[topic.detail], topic.category == "inverse"
        message = kline_message(topic.name, topic.detail, interval, candle, is_inverse, confirm, now_ms)
        self._hub.publish(topic, message)


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


def history_before(instrument: Instrument, until_ms: int, minutes: int, is_illiquid: bool, rng: Random) -> list[Candle]:
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
        candles.append(_past_candle(instrument, start, opening, ticks, rng))
        ticks = opening
    candles.reverse()
    return candles


def _past_candle(instrument: Instrument, start: int, opening: int, closing: int, rng: Random) -> Candle:
    price_text = instrument.price_text()
    high = max(opening, closing) + rng.randint(0, MAX_MOVE_TICKS)
    low = min(opening, closing) - rng.randint(0, MAX_MOVE_TICKS)
    o, h, low_price, c = (Decimal(price_text(ticks)) for ticks in (opening, high, low, closing))
    volume = instrument.lot * rng.randint(1, MAX_LOTS)
    turnover = coins(volume, c) if instrument.category == "inverse" else volume * c
    return Candle(start, o, h, low_price, c, volume, turnover, rng.randint(1, 40), start + MINUTE_MS - 1)
