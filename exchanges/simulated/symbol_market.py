"""One symbol's market: a price walk, its trades, book, ticker and liquidations, on the topics that carry them.

Event loop thread only, and hot: one event is about ten microseconds. Every trade that counts is in the true candles.
"""

from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from random import Random
from typing import Any

from .hub import Hub, Topic
from .instruments import Instrument, step_text
from .trades import Liquidation, Mark, Trade, TradeIds
from .truth import Candle, SymbolTruth

LOWEST_TICKS = 1100  # the walk turns here, so that 1000 levels of bids stay positive
WALK_SHARE = 0.3  # of trade events that move the price first
MAX_WALK_TICKS = 3
SHARED_SEQ_SHARE = 0.05  # of trade events that send two messages with one seq (BYBIT_V5.md trap T12)
SEVERAL_TRADES_SHARE = 0.2  # of trade messages with more than one trade
MAX_TRADES = 6
SWEEP_SHARE = 0.5  # of those that eat through several prices
TYPICAL_NOTIONAL = 20_000  # quote currency; the largest trade is about this


class Stream:
    """What one topic carries of one symbol, as payload texts. A dialect overrides what the topic's kind needs."""

    def __init__(self, topic: Topic, symbol: "SymbolMarket") -> None:
        self.topic, self.symbol = topic, symbol
        self.open_start: int | None = None  # of the candle that a kline topic sent last

    def first(self, now_ms: int) -> Iterable[str]:  # noqa: ARG002  # most need no time; here and below
        """What a new subscriber gets at once."""
        return ()

    def trades(self, trades: Sequence[Trade], now_ms: int) -> Iterable[str]:  # noqa: ARG002
        """Kind trades: matches of one moment and side, in order; those that do not count are among them."""
        return ()

    def update(self, now_ms: int) -> Iterable[str]:  # noqa: ARG002
        """Kinds orderbook and ticker: the next update."""
        return ()

    def liquidation(self, event: Liquidation, now_ms: int) -> Iterable[str]:  # noqa: ARG002
        """Kind liquidation."""
        return ()

    def kline(self, candle: Candle, is_closed: bool, now_ms: int) -> Iterable[str]:  # noqa: ARG002
        """Kind kline: once a second, and once for a candle that has closed."""
        return ()

    def repeat(self, now_ms: int) -> Iterable[str]:  # noqa: ARG002
        """Every kind, four times a second: what is due without an event, or was gathered."""
        return ()

    def restart(self, now_ms: int) -> Iterable[str]:  # noqa: ARG002
        """Kind orderbook, on command: the ids begin anew."""
        return ()


class SymbolMarket:
    """State of one symbol. `streams` by kind; `own` is what the dialect keeps of it."""

    def __init__(
        self, instrument: Instrument, hub: Hub, truth: SymbolTruth, rng: Random, ids: TradeIds,
        marks: tuple[Mark, ...], seq: int, listed_ms: int, trades_kept: int,
    ) -> None:  # fmt: skip
        self.instrument, self.hub, self.truth, self.rng = instrument, hub, truth, rng
        self.draw = rng.random
        self.price_text, self.size_text = instrument.price_text(), instrument.size_text()
        self.mid = self.last_ticks = self.high_ticks = self.low_ticks = int(instrument.first_price / instrument.tick)
        contract = instrument.lot * instrument.contract_size
        price = 1 if instrument.category == "inverse" else instrument.first_price
        self.max_lots = max(10, int(TYPICAL_NOTIONAL / float(price * contract)))
        self.direction = "ZeroPlusTick"
        self.last_ms = 0
        self.seq, self.listed_ms = seq, listed_ms
        self.volume_lots, self.turnover_units = 1 + self.max_lots, 0
        self.recent: deque[Trade] = deque(maxlen=trades_kept)  # for REST: the newest, and those by id
        self._number, self._id_text, self._marks = ids.first, ids.text, marks
        self.streams: defaultdict[str, list[Stream]] = defaultdict(list)
        self._turnover = step_text(instrument.tick * contract, is_stripped=True)
        self.own: Any = None

    def turnover_text(self) -> str:
        """Turnover since start: quote currency; base coin for inverse, at the last price."""
        if self.instrument.category == "inverse":
            dollars = self.volume_lots * float(self.instrument.lot * self.instrument.contract_size)
            return f"{dollars / float(self.price_text(self.last_ticks)):.4f}"
        return self._turnover(self.turnover_units)

    # events

    def trade_event(self, now_ms: int) -> None:
        """Make trades happen and send them in one or two messages. The time of a match never goes back."""
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
        for stream in self.streams["trades"]:
            if stream.topic.sessions:
                for payload in stream.trades(trades, now_ms):
                    self.hub.publish(stream.topic, payload)

    def _trade(self, now_ms: int, ticks: int, is_buy: bool) -> Trade:
        """Make one trade, for the true candles and the recent list."""
        lots = 1 + int(self.draw() ** 4 * self.max_lots)
        mark = self._mark()
        is_counted = mark is None or mark.is_counted
        if is_counted:
            self._count(ticks, lots)
        if mark is not None and mark.is_blank:
            ticks = lots = 0
        number = self._number = self._number + 1
        trade = Trade(
            now_ms,
            self.price_text(ticks) if ticks else "0",
            self.size_text(lots) if lots else "0",
            "Buy" if is_buy else "Sell",
            self._id_text(number),
            self.seq,
            self.direction,
            "" if mark is None else mark.text,
            number,
            ticks,
            lots,
            is_counted,
        )
        if is_counted:
            self.truth.put(trade)
        self.recent.append(trade)
        return trade

    def _mark(self) -> Mark | None:
        if not self._marks:
            return None
        dice = self.draw()
        for mark in self._marks:
            if dice < mark.share:
                return mark
            dice -= mark.share
        return None

    def _count(self, ticks: int, lots: int) -> None:
        self.volume_lots += lots
        self.turnover_units += lots * ticks
        if ticks != self.last_ticks:
            self.direction = "PlusTick" if ticks > self.last_ticks else "MinusTick"
            self.last_ticks = ticks
            self.high_ticks, self.low_ticks = max(self.high_ticks, ticks), min(self.low_ticks, ticks)
        elif self.direction[0] != "Z":
            self.direction = "Zero" + self.direction

    def book_event(self, now_ms: int) -> None:
        """Send an update of every subscribed depth."""
        self.seq += 1
        self._update("orderbook", now_ms)

    def ticker_event(self, now_ms: int) -> None:
        """Send a ticker update, where a topic is subscribed."""
        if any(stream.topic.sessions for stream in self.streams["ticker"]):
            self.seq += 1
            self._update("ticker", now_ms)

    def _update(self, kind: str, now_ms: int) -> None:
        for stream in self.streams[kind]:
            if stream.topic.sessions and not self.hub.is_full:
                for payload in stream.update(now_ms):
                    self.hub.publish(stream.topic, payload)

    def liquidation_event(self, now_ms: int) -> None:
        """Liquidate a position at its bankruptcy price."""
        is_long = self.draw() < 0.5
        subscribed = [stream for stream in self.streams["liquidation"] if stream.topic.sessions]
        if subscribed:
            lots = 1 + int(self.draw() * self.max_lots)
            event = Liquidation(is_long, self.mid - 20 if is_long else self.mid + 20, lots)
            for stream in subscribed:
                for payload in stream.liquidation(event, now_ms):
                    self.hub.publish(stream.topic, payload)

    def repeat(self, now_ms: int) -> None:
        """Send what subscribed streams have due without an event."""
        for streams in self.streams.values():
            for stream in streams:
                if stream.topic.sessions:
                    for payload in stream.repeat(now_ms):
                        self.hub.publish(stream.topic, payload)

    def restart_books(self, now_ms: int) -> int:
        """Begin the ids of every subscribed book anew; returns how many messages said so."""
        texts = [(s.topic, text) for s in self.streams["orderbook"] if s.topic.sessions for text in s.restart(now_ms)]
        for topic, text in texts:
            self.hub.publish(topic, text)
        return len(texts)

    def last_price(self) -> str:
        """Text of the newest trade's price, the first price before any."""
        return self.price_text(self.last_ticks)
