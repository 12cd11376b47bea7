"""What Binance's streams carry, but for books (book.py)."""

from collections.abc import Iterable, Sequence

from ..hub import Topic
from ..symbol_market import Stream, SymbolMarket
from ..trades import Liquidation, Trade
from ..truth import Candle, end_of
from .names import INTERVALS, Name
from .rows import FUTURES_TAG, INSURANCE, Day, best_of, kline_text, message

FUNDING_MS = 8 * 3_600_000
OUTLIER = 0.9  # an off-book print's share of the price (trap T5)


def pair_of(symbol: SymbolMarket) -> str:
    """What futures call `ps`."""
    return symbol.instrument.base + symbol.instrument.quote


class Trades(Stream):
    """trade: one message per match, placeholders and off-book prints of futures included (trap T5)."""

    def __init__(self, topic: Topic, symbol: SymbolMarket) -> None:
        super().__init__(topic, symbol)
        category = symbol.instrument.category
        self._tag = FUTURES_TAG.get(category, "")

    def trades(self, trades: Sequence[Trade], now_ms: int) -> Iterable[str]:
        """One for each; the ids are consecutive over all of them."""
        name, stream, tag = self.symbol.instrument.symbol, self.topic.name, self._tag
        for trade in trades:
            is_sold = "true" if trade.side == "Sell" else "false"
            if not tag:
                yield (
                    f'{{"stream":"{stream}","data":{{"e":"trade","E":{now_ms},"s":"{name}","t":{trade.number},'
                    f'"p":"{trade.price}","q":"{trade.size}","T":{trade.event_ms},"m":{is_sold},"M":true}}}}'
                )
                continue
            price = trade.price
            if trade.mark == INSURANCE:
                price = self.symbol.price_text(int(trade.ticks * OUTLIER))
            yield (
                f'{{"stream":"{stream}","data":{{"e":"trade","E":{now_ms},"T":{trade.event_ms},"s":"{name}",'
                f'"t":{trade.number},"p":"{price}","q":"{trade.size}","X":"{trade.mark or "MARKET"}","m":{is_sold},'
                f"{tag}}}}}"
            )


class AggregateTrades(Stream):
    """aggTrade: matches of one order at one price; `nq` of USD-M is the size without retail price improvement."""

    def trades(self, trades: Sequence[Trade], now_ms: int) -> Iterable[str]:
        """One for each aggregate of these trades."""
        symbol = self.symbol
        category, name = symbol.instrument.category, symbol.instrument.symbol
        for each in symbol.own.aggregates.since(trades[0].number):
            own = f'"nq":"{symbol.size_text(each.lots - each.retail_lots)}",' if category == "linear" else ""
            last = '"M":true' if category == "spot" else FUTURES_TAG[category]
            yield message(
                self.topic.name,
                f'{{"e":"aggTrade","E":{now_ms},"a":{each.number},"s":"{name}","p":"{each.price}",'
                f'"q":"{symbol.size_text(each.lots)}",{own}"f":{each.first},"l":{each.last},"T":{each.event_ms},'
                f'"m":{"true" if each.is_sold else "false"},{last}}}',
            )


class OfDay(Stream):
    """A stream of values of 24 hours: whole messages, in a list where it is of all symbols."""

    def first(self, now_ms: int) -> Iterable[str]:  # noqa: ARG002
        """Nothing at once: it comes with its rhythm."""
        return ()

    def update(self, now_ms: int) -> Iterable[str]:
        """The values."""
        text = self.event(now_ms)
        yield message(self.topic.name, f"[{text}]" if self.topic.name.startswith("!") else text)

    def event(self, now_ms: int) -> str:
        """One symbol's."""
        raise NotImplementedError

    def head(self, event: str, now_ms: int) -> str:
        """How it begins: futures name the pair (USD-M in some events alone)."""
        pair = f'"ps":"{pair_of(self.symbol)}",' if self.symbol.instrument.category != "spot" else ""
        return f'{{"e":"{event}","E":{now_ms},"s":"{self.symbol.instrument.symbol}",{pair}'

    def tail(self) -> str:
        """How it ends."""
        category = self.symbol.instrument.category
        return "" if category == "spot" else f",{FUTURES_TAG[category]}"


class Tickers(OfDay):
    """ticker: spot has the best prices too."""

    def event(self, now_ms: int) -> str:
        """One symbol's."""
        day = Day(self.symbol, now_ms)
        before = best = ""
        if self.symbol.instrument.category == "spot":
            top = best_of(self.symbol)
            before = f'"x":"{day["openPrice"]}",'
            best = f'"b":"{top["bidPrice"]}","B":"{top["bidQty"]}","a":"{top["askPrice"]}","A":"{top["askQty"]}",'
        return (
            f'{self.head("24hrTicker", now_ms)}"p":"{day["priceChange"]}","P":"{day["priceChangePercent"]}",'
            f'"w":"{day["weightedAvgPrice"]}",{before}"c":"{day["lastPrice"]}","Q":"{day["lastQty"]}",{best}'
            f'"o":"{day["openPrice"]}","h":"{day["highPrice"]}","l":"{day["lowPrice"]}","v":"{day["volume"]}",'
            f'"q":"{day["quoteVolume"]}","O":{day["openTime"]},"C":{day["closeTime"]},"F":{day["firstId"]},'
            f'"L":{day["lastId"]},"n":{day["count"]}{self.tail()}}}'
        )


class MiniTickers(OfDay):
    """miniTicker."""

    def event(self, now_ms: int) -> str:
        """One symbol's."""
        day = Day(self.symbol, now_ms)
        return (
            f'{self.head("24hrMiniTicker", now_ms)}"c":"{day["lastPrice"]}","o":"{day["openPrice"]}",'
            f'"h":"{day["highPrice"]}","l":"{day["lowPrice"]}","v":"{day["volume"]}","q":"{day["quoteVolume"]}"'
            f"{self.tail()}}}"
        )


class MarkPrices(OfDay):
    """markPrice: the last price stands for mark and index."""

    def event(self, now_ms: int) -> str:
        """One symbol's."""
        price = self.symbol.last_price()
        due = now_ms - now_ms % FUNDING_MS + FUNDING_MS
        return (
            f'{self.head("markPriceUpdate", now_ms)}"p":"{price}","i":"{price}","P":"{price}","r":"0.00010000",'
            f'"T":{due}{self.tail()}}}'
        )


class Liquidations(Stream):
    """forceOrder: `S` is the order's side, the opposite of the position's."""

    def liquidation(self, event: Liquidation, now_ms: int) -> Iterable[str]:
        """One order, filled."""
        symbol = self.symbol
        price, size = symbol.price_text(event.ticks), symbol.size_text(event.lots)
        average = symbol.price_text(symbol.mid)
        tag = FUTURES_TAG[symbol.instrument.category]
        yield message(
            self.topic.name,
            f'{{"e":"forceOrder","E":{now_ms},"o":{{"s":"{symbol.instrument.symbol}","ps":"{pair_of(symbol)}",'
            f'"S":"{"SELL" if event.is_long else "BUY"}","o":"LIMIT","f":"IOC","q":"{size}","p":"{price}",'
            f'"ap":"{average}","X":"FILLED","l":"{size}","z":"{size}","T":{now_ms - 3}}},{tag}}}',
        )


class Klines(Stream):
    """kline_…: of futures only what has traded since, so that a minute without a trade is never closed."""

    def __init__(self, topic: Topic, symbol: SymbolMarket) -> None:
        super().__init__(topic, symbol)
        self._sent: tuple[int, int, bool] | None = None

    def kline(self, candle: Candle, is_closed: bool, now_ms: int) -> Iterable[str]:
        """One candle."""
        state = (candle.start, candle.trade_count, is_closed)
        is_due = candle.trade_count and state != self._sent
        self._sent = state
        if is_due or self.symbol.instrument.category == "spot":
            interval = self.topic.detail
            end = end_of(candle.start, INTERVALS[interval])
            text = kline_text(self.symbol, candle, interval, end, is_closed=is_closed, now_ms=now_ms)
            yield message(self.topic.name, text)


STREAMS: dict[str, type[Stream]] = {
    "trade": Trades,
    "aggTrade": AggregateTrades,
    "ticker": Tickers,
    "miniTicker": MiniTickers,
    "markPrice": MarkPrices,
    "forceOrder": Liquidations,
    "kline": Klines,
}


def stream_of(name: Name, topic: Topic, symbol: SymbolMarket) -> Stream:
    """The stream of a name, but for books."""
    return STREAMS[name.what](topic, symbol)
