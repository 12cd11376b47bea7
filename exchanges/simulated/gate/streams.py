"""What Gate's channels carry."""

from collections.abc import Iterable, Sequence
from itertools import groupby

from ..book import Levels, OwnBook, SymbolBook, window_change
from ..hub import Topic
from ..symbol_market import Stream, SymbolMarket
from ..trades import Liquidation, Trade
from ..truth import Candle, printed
from .bars import INTERVALS
from .rows import dump, futures_ticker, futures_trade, push, spot_ticker, spot_trade

BOOK_LEVELS = 400
FIRST_ID = 1_000  # of a book that begins anew
BATCH_MS, BATCH_MOST = 1_000, 20  # of liquidations of one contract


class GateStream(Stream):
    """A topic: `channel` is the name that its messages have."""

    def __init__(self, topic: Topic, symbol: SymbolMarket) -> None:
        super().__init__(topic, symbol)
        self.channel = topic.name.partition(":")[0]
        self.name = symbol.instrument.symbol
        self.is_spot = symbol.instrument.category == "spot"


class Trades(GateStream):
    """trades: one message a trade of spot, one array of futures, oldest first.

    Messages of spot have a range of ids, of which Gate's documentation does not say that it has more than one.
    """

    def trades(self, trades: Sequence[Trade], now_ms: int) -> Iterable[str]:
        """The matches of one moment."""
        if self.is_spot:
            groups = [[trade] for trade in trades]
            if self.symbol.own.is_merged:
                groups = [list(group) for _, group in groupby(trades, key=lambda trade: trade.ticks)]
            for group in groups:
                yield push(self.channel, now_ms, spot_trade(self.symbol, group))
        else:
            rows = ",".join([futures_trade(self.symbol, trade) for trade in trades])
            yield push(self.channel, now_ms, f"[{rows}]")


class Tickers(GateStream):
    """tickers: spot an object, futures an array; some of futures lack the volumes."""

    _sent = 0

    def update(self, now_ms: int) -> Iterable[str]:
        """The ticker."""
        if self.is_spot:
            yield push(self.channel, now_ms, dump(spot_ticker(self.symbol)))
            return
        row = futures_ticker(self.symbol, now_ms)
        self._sent += 1
        if self._sent % 3 == 0:
            row = {name: value for name, value in row.items() if not name.startswith("volume_")}
        yield push(self.channel, now_ms, dump([row]))


class Liquidations(GateStream):
    """futures.public_liquidates: all of a contract within a second in one array, at once when they are twenty."""

    def __init__(self, topic: Topic, symbol: SymbolMarket) -> None:
        super().__init__(topic, symbol)
        self._rows: list[str] = []
        self._first_ms = 0

    def liquidation(self, event: Liquidation, now_ms: int) -> Iterable[str]:
        """Gather it; the size is the position's: positive where a long one was closed."""
        symbol, sign = self.symbol, "" if event.is_long else "-"
        self._first_ms = self._first_ms if self._rows else now_ms
        self._rows.append(
            f'{{"contract":"{self.name}","price":"{symbol.price_text(event.ticks)}","time":{now_ms},'
            f'"size":"{sign}{symbol.size_text(event.lots)}"}}'
        )
        if len(self._rows) >= BATCH_MOST:
            yield self._batch(now_ms)

    def repeat(self, now_ms: int) -> Iterable[str]:
        """Send what a second has gathered."""
        if self._rows and now_ms - self._first_ms >= BATCH_MS:
            yield self._batch(now_ms)

    def _batch(self, now_ms: int) -> str:
        text = push(self.channel, now_ms, f"[{','.join(self._rows)}]")
        self._rows.clear()
        return text


class Contracts(GateStream):
    """futures.contract_info: what has changed of a contract."""

    def text(self, now_ms: int) -> str:
        """The contract as it is now."""
        each = self.symbol.instrument
        row = {"contract": each.symbol, "order_price_round": format(each.tick, "f")}
        row |= {"mark_price_round": format(each.tick, "f"), "quanto_multiplier": format(each.contract_size, "f")}
        return push(self.channel, now_ms, dump(row))


class Candles(GateStream):
    """candlesticks: `v` and `a` have changed places between the markets; at once the open one."""

    def first(self, now_ms: int) -> Iterable[str]:
        """The open one."""
        candle = self.symbol.truth.candles(INTERVALS[self.topic.detail], now_ms)[-1]
        return self.kline(candle, False, now_ms)

    def kline(self, candle: Candle, is_closed: bool, now_ms: int) -> Iterable[str]:
        """One candle; whether it is closed is not said of those without trades."""
        o, h, low, c = map(printed, (candle.open, candle.high, candle.low, candle.close))
        volume, turnover, start = printed(candle.volume), printed(candle.turnover), candle.start // 1000
        seconds, v, a = (f'"{start}"', turnover, volume) if self.is_spot else (f"{start}", volume, turnover)
        closed = f',"w":{"true" if is_closed else "false"}' if candle.trade_count else ""
        row = (
            f'{{"t":{seconds},"v":"{v}","c":"{c}","h":"{h}","l":"{low}","o":"{o}",'
            f'"n":"{self.topic.detail}_{self.name}","a":"{a}"{closed}}}'
        )
        yield push(self.channel, now_ms, row if self.is_spot else f"[{row}]")


class Book(SymbolBook):
    """A symbol's book: an id for each change of a level."""

    def __init__(self, symbol: SymbolMarket) -> None:
        super().__init__(symbol, BOOK_LEVELS, symbol.listed_ms * 10)

    def pairs(self, levels: Levels) -> list[list[str]]:
        """Levels as pairs of texts; a size of 0 deletes."""
        price, size = self.symbol.price_text, self.symbol.size_text
        return [[price(tick), size(lots) if lots else "0"] for tick, lots in levels.items()]

    def objects(self, levels: Levels) -> list[dict[str, str]]:
        """Levels as most channels of futures write them."""
        return [{"p": price, "s": size} for price, size in self.pairs(levels)]


class Own(OwnBook[Book]):
    """What is kept of a symbol: its book, and whether matches at one price are one message of spot."""

    is_merged = False


class BookStream(GateStream):
    """A stream of a symbol's book; `depth` of its levels a side."""

    def __init__(self, topic: Topic, symbol: SymbolMarket) -> None:
        super().__init__(topic, symbol)
        self.book: Book = symbol.own.book()
        self.depth = int(topic.detail)

    def update(self, now_ms: int) -> Iterable[str]:
        """The next message."""
        self.book.advance_to(self.symbol.seq)
        yield self.text(now_ms)

    def text(self, now_ms: int) -> str:
        """The message of the book as it is."""
        raise NotImplementedError


class Snapshots(BookStream):
    """order_book: the best levels, each time whole; event all of futures, update of spot."""

    def text(self, now_ms: int) -> str:
        """The best levels."""
        book, best = self.book, self.book.top(self.depth)
        row: dict[str, object] = {"t": now_ms}
        if self.is_spot:
            bids, asks = map(book.pairs, best)
            row |= {"lastUpdateId": book.last_id, "s": self.name, "l": str(self.depth), "bids": bids, "asks": asks}
            return push(self.channel, now_ms, dump(row))
        bid_rows, ask_rows = map(book.objects, best)
        row |= {"id": book.last_id, "contract": self.name, "asks": ask_rows, "bids": bid_rows, "l": str(self.depth)}
        return push(self.channel, now_ms, dump(row), "all")


class BestPrices(BookStream):
    """book_ticker."""

    def text(self, now_ms: int) -> str:
        """Best bid and ask."""
        (bid,), (ask,) = map(self.book.pairs, self.book.top(1))
        row = {"t": now_ms, "u": self.book.last_id, "s": self.name, "b": bid[0], "B": bid[1], "a": ask[0], "A": ask[1]}
        return push(self.channel, now_ms, dump(row))


class Changes(BookStream):
    """A channel of changes of the best levels: `U` is the last `u` + 1, also where no level has changed."""

    def __init__(self, topic: Topic, symbol: SymbolMarket) -> None:
        super().__init__(topic, symbol)
        self._new = self.book.changes_of(topic)
        self._look()

    def _look(self) -> None:
        """Take the best levels as they are for those that were sent."""
        self.bids, self.asks = self.book.top(self.depth)
        self.mid, self.sent = self.book.levels.mid, self.book.last_id
        self._new.forget()

    def first(self, now_ms: int) -> Iterable[str]:  # noqa: ARG002
        """Nothing: the book is REST's. Who is alone begins with what is there now."""
        if len(self.topic.sessions) == 1:
            self._look()
        return ()

    def update(self, now_ms: int) -> Iterable[str]:
        """All that has changed since the message before."""
        self.book.advance_to(self.symbol.seq)
        if self.book.last_id == self.sent:
            return
        first, old, new, depth = self.sent + 1, self.mid, self.book.levels.mid, self.depth
        bids = self._follow(self.bids, self._new.bids, old - depth + 1, new - depth + 1)
        asks = self._follow(self.asks, self._new.asks, old + 1, new + 1)
        self.mid, self.sent = new, self.book.last_id
        self._new.forget()
        yield self.changes(now_ms, first, bids, asks)

    def _follow(self, side: Levels, touched: Levels, old: int, new: int) -> Levels:
        """Make one side, whose lowest level moves, what it is now; returns what has changed, 0 deletes."""
        sizes, depth = self.book.levels.sizes, self.depth
        gone, come = window_change(old, old + depth, new, new + depth)
        changed = dict.fromkeys(gone, 0)
        for tick in gone:
            del side[tick]
        for tick in (*come, *(tick for tick in touched if new <= tick < new + depth)):
            side[tick] = changed[tick] = sizes[tick]
        return changed

    def restart(self, now_ms: int) -> Iterable[str]:  # noqa: ARG002
        """The ids begin anew, without a word: the book must be read again."""
        self.book.last_id = FIRST_ID
        self._look()
        return ()

    def changes(self, now_ms: int, first: int, bids: Levels, asks: Levels) -> str:
        """order_book_update."""
        ids = f'"U":{first},"u":{self.sent}'
        if self.is_spot:
            levels = f'"b":{dump(self.book.pairs(bids))},"a":{dump(self.book.pairs(asks))}'
            head = f'"t":{now_ms},"e":"depthUpdate","E":{now_ms // 1000},"s":"{self.name}"'
        else:
            levels = f'"b":{dump(self.book.objects(bids))},"a":{dump(self.book.objects(asks))}'
            head = f'"t":{now_ms},"s":"{self.name}"'
        return push(self.channel, now_ms, f"{{{head},{ids},{levels}}}")


class Obu(Changes):
    """obu: begins with a whole book of its own; its messages have the keys in another order on spot."""

    def first(self, now_ms: int) -> Iterable[str]:
        """The book as the other subscribers have it."""
        list(super().first(now_ms))
        yield self._whole(now_ms)

    def restart(self, now_ms: int) -> Iterable[str]:
        """A whole book in the middle, its ids lower: it replaces what was before."""
        list(super().restart(now_ms))
        yield self._whole(now_ms)

    def _whole(self, now_ms: int) -> str:
        bids, asks = dict(sorted(self.bids.items(), reverse=True)), dict(sorted(self.asks.items()))
        return self._text(now_ms, '"full":true,', f'"u":{self.sent}', bids, asks)

    def changes(self, now_ms: int, first: int, bids: Levels, asks: Levels) -> str:
        """A change."""
        ids = f'"u":{self.sent},"U":{first}' if self.is_spot else f'"U":{first},"u":{self.sent}'
        return self._text(now_ms, "", ids, bids, asks)

    def _text(self, now_ms: int, full: str, ids: str, bids: Levels, asks: Levels) -> str:
        name = self.topic.name.partition(":")[2]
        levels = f'"b":{dump(self.book.pairs(bids))},"a":{dump(self.book.pairs(asks))}'
        result = f'{{"t":{now_ms},{full}"s":"{name}",{ids},{levels}}}'
        if self.is_spot:
            return f'{{"channel":"{self.channel}","result":{result},"time_ms":{now_ms},"event":"update"}}'
        return push(self.channel, now_ms, result)
