"""What Bybit's topics carry, beside books."""

from collections.abc import Iterable, Sequence

from ..symbol_market import Stream
from ..trades import Liquidation, Trade
from ..truth import Candle
from .render import RENDER_TRADE, kline_message, liquidation_message, trade_message
from .topics import INTERVALS


class Trades(Stream):
    """publicTrade: the trades of one moment in one message."""

    def trades(self, trades: Sequence[Trade], now_ms: int) -> Iterable[str]:
        """All in one message."""
        category, symbol = self.topic.category, self.symbol.instrument.symbol
        render = RENDER_TRADE[category]
        text = ",".join([render(symbol, trade) for trade in trades])
        return (trade_message(category, self.topic.name, now_ms, text, self.symbol.seq),)


class Tickers(Stream):
    """tickers: a snapshot, then deltas; snapshots only of spot and options."""

    def first(self, now_ms: int) -> Iterable[str]:
        """The snapshot."""
        yield self.symbol.own.ticker.snapshot(now_ms)

    def update(self, now_ms: int) -> Iterable[str]:
        """The next message."""
        yield self.symbol.own.ticker.update(now_ms)


class Liquidations(Stream):
    """allLiquidation."""

    def liquidation(self, event: Liquidation, now_ms: int) -> Iterable[str]:
        """The side is the position's."""
        symbol, side = self.symbol, "Buy" if event.is_long else "Sell"
        price, size = symbol.price_text(event.ticks), symbol.size_text(event.lots)
        yield liquidation_message(self.topic.name, self.topic.symbol, now_ms, side, size, price)


class Klines(Stream):
    """kline."""

    def kline(self, candle: Candle, is_closed: bool, now_ms: int) -> Iterable[str]:
        """One candle."""
        name, detail, is_inverse = self.topic.name, self.topic.detail, self.topic.category == "inverse"
        yield kline_message(name, detail, INTERVALS[detail], candle, is_inverse, is_closed, now_ms)
