"""One symbol's market: a price walk, its trades, book, ticker and liquidations, as Bybit would send them.

Event loop thread only, and hot: one event is about ten microseconds. Every trade counts in the true candles as sent.
"""

from collections import deque
from random import Random
from typing import Any

from .book import Book, PriceLevels
from .bybit.render import RENDER_TRADE, Trade, liquidation_message, trade_message
from .bybit.ticker import Ticker
from .hub import Hub, Topic
from .instruments import Instrument, step_text
from .truth import SymbolTruth

RECENT_TRADES_KEPT = 1000  # the most REST recent-trade ever answers
LOWEST_TICKS = 1100  # the walk turns here, so that 1000 levels of bids stay positive
WALK_SHARE = 0.3  # of trade events that move the price first
MAX_WALK_TICKS = 3
SHARED_SEQ_SHARE = 0.05  # of trade events that send two messages with one seq (trap T12)
SEVERAL_TRADES_SHARE = 0.2  # of trade messages with more than one trade
MAX_TRADES = 6
SWEEP_SHARE = 0.5  # of those that eat through several prices
RPI_SHARE = 0.05
TYPICAL_NOTIONAL = 20_000  # quote currency; the largest trade is about this

UUID_SPAN = 1 << 48


class SymbolMarket:
    """State of one symbol. `trades_topic`, `ticker_topic` and `liquidation_topic` exist from the start."""

    def __init__(
        self, instrument: Instrument, hub: Hub, truth: SymbolTruth, rng: Random, index: int, now_ms: int, now_us: int
    ) -> None:
        self.instrument, self.hub, self.truth, self._rng = instrument, hub, truth, rng
        self.draw = rng.random
        self.price_text, self.size_text = instrument.price_text(), instrument.size_text()
        self.mid = self.last_ticks = self.high_ticks = self.low_ticks = int(instrument.first_price / instrument.tick)
        self.max_lots = max(10, int(TYPICAL_NOTIONAL / float(instrument.first_price * instrument.lot)))
        if instrument.category == "inverse":
            self.max_lots = TYPICAL_NOTIONAL
        self.direction = "ZeroPlusTick"
        self.last_ms = 0
        self.seq = now_ms * 100 + index
        self.volume_lots, self.turnover_units = 1 + self.max_lots, 0
        self.recent: deque[Trade] = deque(maxlen=RECENT_TRADES_KEPT)
        self._set_ids(rng, index, now_us)
        self._set_topics(now_ms)

    def _set_ids(self, rng: Random, index: int, now_us: int) -> None:
        """Set the first ids from the clock, so that a restarted simulator of the same seed repeats none."""
        self._uuid_head = (
            f"{rng.getrandbits(32):08x}-{rng.getrandbits(16):04x}-5{rng.getrandbits(12):03x}-8{index:03x}-"
        )
        self._is_uuid = self.instrument.category != "spot"
        self._next_id = now_us % UUID_SPAN if self._is_uuid else (2000 + index) * 10**15 + now_us

    def _set_topics(self, now_ms: int) -> None:
        category, symbol, base = self.instrument.category, self.instrument.symbol, self.instrument.base
        trades_name = f"publicTrade.{base if category == 'option' else symbol}"  # trap T18
        self.trades_topic = self.hub.topic(category, trades_name, "trades", trades_name.partition(".")[2])
        self.ticker_topic = self.hub.topic(category, f"tickers.{symbol}", "ticker", symbol)
        self.liquidation_topic = self.hub.topic(category, f"allLiquidation.{symbol}", "liquidation", symbol)
        self.books: dict[str, tuple[Topic, Book]] = {}
        self._render = RENDER_TRADE[category]
        self._turnover = step_text(self.instrument.tick * self.instrument.lot, is_stripped=True)
        self.ticker = Ticker(self, self.ticker_topic.name, self.draw, now_ms)

    def turnover_text(self) -> str:
        """Turnover since start: quote currency, base coin for inverse (trap T20)."""
        if self.instrument.category == "inverse":
            return f"{self.volume_lots / float(self.price_text(self.last_ticks)):.4f}"
        return self._turnover(self.turnover_units)

    # books

    def book(self, depth: str) -> tuple[Topic, Book]:
        """The topic and book of a depth, made at the first call."""
        if depth not in self.books:
            category, symbol = self.instrument.category, self.instrument.symbol
            topic = self.hub.topic(category, f"orderbook.{depth}.{symbol}", "orderbook", symbol, depth)
            self.books[depth] = (topic, self.new_book(topic.name, int(depth)))
        return self.books[depth]

    def new_book(self, topic: str, depth: int) -> Book:
        """Make a book around the current price, not yet of any topic."""
        instrument = self.instrument
        ladder = PriceLevels(depth, self.mid, self.max_lots * 3, self._rng)
        return Book(instrument.category, topic, instrument.symbol, ladder, self.price_text, self.size_text, self._rng)

    # events

    def trade_event(self, now_ms: int) -> None:
        """Make trades happen and send them in one or two messages. T never goes back."""
        draw = self.draw
        self.last_ms = now_ms = max(now_ms, self.last_ms)
        if draw() < WALK_SHARE:
            self._walk()
        self.seq += 1 + int(draw() * 40)
        self._trade_message(now_ms)
        if draw() < SHARED_SEQ_SHARE and not self.hub.is_full:
            self._trade_message(now_ms)

    def _walk(self) -> None:
        step = 1 + int(self.draw() * MAX_WALK_TICKS)
        self.mid += step if self.draw() < 0.5 or self.mid < LOWEST_TICKS else -step

    def _trade_message(self, now_ms: int) -> None:
        draw = self.draw
        count = 1 if draw() > SEVERAL_TRADES_SHARE else 2 + int(draw() * (MAX_TRADES - 1))
        sign = 1 if draw() < 0.5 else -1
        ticks = self.mid + 1 if sign > 0 else self.mid
        step = sign if count > 1 and self.mid > LOWEST_TICKS and draw() < SWEEP_SHARE else 0
        trades = [self._trade(now_ms, ticks + step * i, sign > 0) for i in range(count)]
        self.mid += step * (count - 1)
        topic = self.trades_topic
        if topic.sessions:
            symbol, render = self.instrument.symbol, self._render
            text = ",".join([render(symbol, trade) for trade in trades])
            message = trade_message(self.instrument.category, topic.name, now_ms, text, self.seq)
            self.hub.publish(topic, message)

    def _trade(self, now_ms: int, ticks: int, is_buy: bool) -> Trade:
        """Make one trade, for the true candles and the recent list."""
        draw, last = self.draw, self.last_ticks
        lots = 1 + int(draw() ** 4 * self.max_lots)
        self.volume_lots += lots
        self.turnover_units += lots * ticks
        if ticks != last:
            self.direction = "PlusTick" if ticks > last else "MinusTick"
            self.last_ticks = ticks
            self.high_ticks, self.low_ticks = max(self.high_ticks, ticks), min(self.low_ticks, ticks)
        elif self.direction[0] != "Z":
            self.direction = "Zero" + self.direction
        number = self._next_id = self._next_id + 1
        trade: Trade = (
            now_ms,
            self.price_text(ticks),
            self.size_text(lots),
            "Buy" if is_buy else "Sell",
            f"{self._uuid_head}{number % UUID_SPAN:012x}" if self._is_uuid else str(number),
            self.seq,
            self.direction,
            "true" if draw() < RPI_SHARE else "false",
        )
        self.truth.put(trade)
        self.recent.append(trade)
        return trade

    def book_event(self, now_ms: int) -> None:
        """Send an update of every subscribed depth."""
        self.seq += 1
        for topic, book in self.books.values():
            if topic.sessions and not self.hub.is_full:
                self.hub.publish(topic, book.update(now_ms, self.seq, self.mid))

    def ticker_event(self, now_ms: int) -> None:
        """Send a ticker update, where the topic is subscribed."""
        if self.ticker_topic.sessions:
            self.seq += 1
            self.hub.publish(self.ticker_topic, self.ticker.update(now_ms))

    def liquidation_event(self, now_ms: int) -> None:
        """Liquidate a position at its bankruptcy price."""
        topic, is_long = self.liquidation_topic, self.draw() < 0.5
        if topic.sessions:
            price = self.price_text(self.mid - 20 if is_long else self.mid + 20)
            size = self.size_text(1 + int(self.draw() * self.max_lots))
            side = "Buy" if is_long else "Sell"
            self.hub.publish(topic, liquidation_message(topic.name, topic.symbol, now_ms, side, size, price))

    def repeat_top(self, now_ms: int) -> None:
        """Send a level-1 book again that has not moved for three seconds (trap T6)."""
        entry = self.books.get("1")
        if entry is not None and entry[0].sessions and entry[1].repeat_due(now_ms):
            self.hub.publish(entry[0], entry[1].repeat(now_ms))

    def restart_books(self, now_ms: int) -> int:
        """Send u == 1 snapshots on every subscribed book; returns how many."""
        entries = [entry for entry in self.books.values() if entry[0].sessions]
        for topic, book in entries:
            self.hub.publish(topic, book.restart(now_ms, self.seq))
        return len(entries)

    def last_price(self) -> Any:
        """Text of the newest trade's price, the first price before any."""
        return self.price_text(self.last_ticks)
