"""What KuCoin's channels carry."""

from collections.abc import Iterable, Sequence
from random import Random

from ..book import Levels, SymbolBook
from ..hub import Topic
from ..symbol_market import Stream, SymbolMarket
from ..trades import Trade
from ..truth import Candle
from .names import CHANGES
from .rows import (
    dump,
    execution_text,
    futures_snapshot_row,
    match_text,
    snapshot_row,
    spot_candle,
    stick,
    ticker_row,
    ticker_v1_row,
    ticker_v2_row,
)

DEPTH = 1000  # levels of a side
MOST_ADVANCED = 2  # ids of a change of spot that stand for no level
WHOLE_EVERY_MS = 100  # whole books of futures come so often, changed or not


def message(topic: str, subject: str, data: str, sn: str = "") -> str:
    """A data message; those of futures have `sn`, the sequence of what is in them."""
    number = f'"sn":{sn},' if sn else ""
    return f'{{"topic":"{topic}","type":"message","subject":"{subject}",{number}"data":{data}}}'


class SpotTrades(Stream):
    """/market/match: one trade a message."""

    def trades(self, trades: Sequence[Trade], now_ms: int) -> Iterable[str]:  # noqa: ARG002
        """One message for each."""
        topic, name = self.topic.name, self.symbol.instrument.symbol
        return [message(topic, "trade.l3match", match_text(name, trade)) for trade in trades]


class FuturesTrades(Stream):
    """/contractMarket/execution: one trade a message."""

    def trades(self, trades: Sequence[Trade], now_ms: int) -> Iterable[str]:  # noqa: ARG002
        """One message for each."""
        topic, name = self.topic.name, self.symbol.instrument.symbol
        return [message(topic, "match", execution_text(name, trade), trade.id) for trade in trades]


class SpotTickers(Stream):
    """/market/ticker; in the topic of all symbols the subject names the symbol."""

    def update(self, now_ms: int) -> Iterable[str]:
        """The ticker."""
        subject = "trade.ticker" if self.topic.symbol else self.symbol.instrument.symbol
        yield message(self.topic.name, subject, dump(ticker_row(self.symbol, now_ms)))


class SpotSnapshots(Stream):
    """/market/snapshot."""

    def update(self, now_ms: int) -> Iterable[str]:
        """Numbers of the day."""
        yield message(self.topic.name, "trade.snapshot", dump(snapshot_row(self.symbol, now_ms)))


class FuturesSnapshots(Stream):
    """/contractMarket/snapshot: without `sn`."""

    def update(self, now_ms: int) -> Iterable[str]:
        """Numbers of the day."""
        yield message(self.topic.name, "snapshot.24h", dump(futures_snapshot_row(self.symbol, now_ms)))


class FuturesTickers(Stream):
    """/contractMarket/tickerV2 and the deprecated /contractMarket/ticker."""

    def update(self, now_ms: int) -> Iterable[str]:
        """The ticker."""
        is_new = self.topic.name.startswith("/contractMarket/tickerV2")
        row = (ticker_v2_row if is_new else ticker_v1_row)(self.symbol, now_ms)
        yield message(self.topic.name, "tickerV2" if is_new else "ticker", dump(row), str(row["sequence"]))


class Prices(Stream):
    """/contract/instrument: mark and index price."""

    def update(self, now_ms: int) -> Iterable[str]:
        """Both."""
        last = float(self.symbol.last_price())
        data = {"markPrice": last, "indexPrice": last, "granularity": 1000, "timestamp": now_ms // 1000 * 1000}
        yield message(self.topic.name, "mark.index.price", dump(data))


class Candles(Stream):
    """Candles of both markets: nothing for a quiet interval until the next trade; no mark that one is closed."""

    def __init__(self, topic: Topic, symbol: SymbolMarket) -> None:
        super().__init__(topic, symbol)
        self._is_spot = symbol.instrument.category == "spot"
        self._quiet: dict[int, Candle] = {}
        self._sent = (-1, 0)  # start and trades of the last one

    def first(self, now_ms: int) -> Iterable[str]:  # noqa: ARG002
        """Nothing; what was quiet before is not told."""
        if len(self.topic.sessions) == 1:
            self._quiet.clear()
            self._sent = (-1, 0)
        return ()

    def kline(self, candle: Candle, is_closed: bool, now_ms: int) -> Iterable[str]:  # noqa: ARG002
        """A changed candle; in spot, the quiet ones before a new one first: written late (VENUES.md 3.5)."""
        if not candle.trade_count:
            self._quiet[candle.start] = candle
            return
        late = [quiet for start, quiet in sorted(self._quiet.items()) if start < candle.start]
        self._quiet.clear()
        if (candle.start, candle.trade_count) == self._sent:
            return
        is_new, self._sent = candle.start != self._sent[0], (candle.start, candle.trade_count)
        if not self._is_spot:
            data = {"symbol": self.topic.symbol, "candles": stick(self.symbol, candle), "time": now_ms}
            yield f'{{"topic":"{self.topic.name}","type":"message","data":{dump(data)},"subject":"candle.stick"}}'
            return
        for each, subject in [*((quiet, "add") for quiet in late), (candle, "add" if is_new else "update")]:
            data = {
                "symbol": self.topic.symbol,
                "candles": spot_candle(self.symbol, each),
                "time": now_ms * 1_000_000 + 34,
            }
            yield message(self.topic.name, f"trade.candles.{subject}", dump(data))


class Book(SymbolBook):
    """A symbol's book: an id for each changed level; in spot some ids stand for no level."""

    def __init__(self, symbol: SymbolMarket) -> None:
        super().__init__(symbol, DEPTH, symbol.listed_ms)
        self._is_spot = symbol.instrument.category == "spot"
        self._draw = Random(symbol.listed_ms).random

    def numbered(self, changed: int) -> tuple[int, int]:
        """One after the other."""
        more = int(self._draw() * (MOST_ADVANCED + 1)) if self._is_spot else 0
        return self.last_id + 1, self.last_id + changed + more

    def rows(self, levels: Levels) -> list[list[object]]:
        """Levels: sizes are texts in spot, lots in futures."""
        price, size = self.symbol.price_text, self.symbol.size_text
        return [[price(tick), size(lots) if self._is_spot else int(size(lots))] for tick, lots in levels.items()]


class BookStream(Stream):
    """A channel of a symbol's book."""

    def __init__(self, topic: Topic, symbol: SymbolMarket) -> None:
        super().__init__(topic, symbol)
        self.book: Book = symbol.own.book()
        self.is_spot = symbol.instrument.category == "spot"


class Changes(BookStream):
    """level2: changes alone, which a snapshot of REST is joined with by its sequence."""

    def __init__(self, topic: Topic, symbol: SymbolMarket) -> None:
        super().__init__(topic, symbol)
        self._changes = self.book.changes_of(topic)

    def first(self, now_ms: int) -> Iterable[str]:  # noqa: ARG002
        """Nothing; changes are gathered from now on where nobody else listens."""
        if len(self.topic.sessions) == 1:
            self._changes.forget()
        return ()

    def update(self, now_ms: int) -> Iterable[str]:
        """What changed since the message before."""
        self.book.advance_to(self.symbol.seq)
        new = self._changes
        if new.first is not None:
            yield from (self._spot if self.is_spot else self._futures)(new.sent + 1, new.bids, new.asks, now_ms)
            new.forget()

    def _spot(self, first: int, bids: Levels, asks: Levels, now_ms: int) -> Iterable[str]:
        """One message, whose levels have an id each; a price of 0 advances the id alone."""
        last, sequence = self.book.last_id, first
        sides: dict[str, list[list[str]]] = {"asks": [], "bids": []}
        price, size = self.symbol.price_text, self.symbol.size_text
        for side, levels in (("asks", asks), ("bids", bids)):
            for tick, lots in levels.items():
                sides[side].append([price(tick), size(lots) if lots else "0", str(min(sequence, last))])
                sequence += 1
        sides["bids"] += [["0", "0", str(number)] for number in range(sequence, last + 1)]
        yield message(
            self.topic.name,
            "trade.l2update",
            f'{{"changes":{dump(sides)},"sequenceEnd":{last},"sequenceStart":{first},'
            f'"symbol":"{self.topic.symbol}","time":{now_ms}}}',
        )

    def _futures(self, first: int, bids: Levels, asks: Levels, now_ms: int) -> Iterable[str]:
        """A message for each level, each with the next id."""
        price, size = self.symbol.price_text, self.symbol.size_text
        changed = [("buy", *level) for level in bids.items()] + [("sell", *level) for level in asks.items()]
        changed += changed[-1:] * (self.book.last_id + 1 - first - len(changed))
        for number, (side, tick, lots) in enumerate(changed, first):
            change = f"{price(tick)},{side},{size(lots) if lots else '0'}"
            data = f'{{"sequence":{number},"change":"{change}","timestamp":{now_ms}}}'
            yield message(self.topic.name, "level2", data, str(number))


class Whole(BookStream):
    """level2Depth5, level2Depth50, level1: the top of the book."""

    def __init__(self, topic: Topic, symbol: SymbolMarket) -> None:
        super().__init__(topic, symbol)
        self._levels, self._sent_ms = int(topic.detail), 0

    def update(self, now_ms: int) -> Iterable[str]:
        """The top."""
        self.book.advance_to(self.symbol.seq)
        self._sent_ms = now_ms
        yield self._text(now_ms)

    def repeat(self, now_ms: int) -> Iterable[str]:
        """The same again, in futures."""
        if not self.is_spot and now_ms - self._sent_ms >= WHOLE_EVERY_MS:
            self._sent_ms = now_ms
            yield self._text(now_ms)

    def _text(self, now_ms: int) -> str:
        bids, asks = map(self.book.rows, self.book.top(self._levels))
        if self._levels == 1:
            return message(self.topic.name, "level1", dump({"asks": asks[0], "bids": bids[0], "timestamp": now_ms}))
        if self.is_spot:
            return message(self.topic.name, "level2", dump({"asks": asks, "bids": bids, "timestamp": now_ms}))
        last = self.book.last_id
        data = {"bids": bids, "sequence": last, "timestamp": now_ms, "ts": now_ms, "asks": asks}
        return message(self.topic.name, "level2", dump(data), str(last))


TICKERS: dict[str, type[Stream]] = {
    "/market/ticker": SpotTickers,
    "/market/snapshot": SpotSnapshots,
    "/contractMarket/ticker": FuturesTickers,
    "/contractMarket/tickerV2": FuturesTickers,
    "/contractMarket/snapshot": FuturesSnapshots,
    "/contract/instrument": Prices,
}


def stream_of(kind: str, detail: str, topic: Topic, symbol: SymbolMarket) -> Stream:
    """The stream of a topic."""
    if kind == "trades":
        return (SpotTrades if symbol.instrument.category == "spot" else FuturesTrades)(topic, symbol)
    if kind == "orderbook":
        return (Changes if detail == CHANGES else Whole)(topic, symbol)
    return Candles(topic, symbol) if kind == "kline" else TICKERS[topic.name.partition(":")[0]](topic, symbol)
