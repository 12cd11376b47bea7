"""What OKX's channels carry."""

import json
from collections.abc import Iterable, Sequence

from ..book import BookStream
from ..hub import Topic
from ..symbol_market import Stream, SymbolMarket
from ..trades import Liquidation, Trade
from ..truth import Candle
from .bars import INTERVALS
from .rows import aggregated, candle_row, match_row, ticker_row

BEAT_MS = 60_000  # a book without a change sends a message without one after so long
FIRST_SEQ = 1_000  # of a book after a maintenance: lower than any before


def message(topic: str, rows: str) -> str:
    """A data message of rows that are joined already."""
    channel, _, of = topic.partition(":")
    name = "instType" if channel == "liquidation-orders" else "instId"
    return f'{{"arg":{{"channel":"{channel}","{name}":"{of}"}},"data":[{rows}]}}'


class Trades(Stream):
    """trades: one message per order, price and source; a new subscriber gets the last one again (trap T7)."""

    _last = ""

    def first(self, now_ms: int) -> Iterable[str]:  # noqa: ARG002
        """The last trade, however old."""
        recent = list(self.symbol.recent)[-10:]
        *_, last = aggregated(self.symbol, recent) if recent else ("",)
        if last:
            yield self._last if self.topic.sessions[1:] and self._last else message(self.topic.name, last)

    def trades(self, trades: Sequence[Trade], now_ms: int) -> Iterable[str]:  # noqa: ARG002
        """One message for each row."""
        for row in aggregated(self.symbol, trades):
            self._last = message(self.topic.name, row)
            yield self._last


class SingleTrades(Stream):
    """trades-all: one message per match."""

    def trades(self, trades: Sequence[Trade], now_ms: int) -> Iterable[str]:  # noqa: ARG002
        """One message for each."""
        name = self.symbol.instrument.symbol
        for trade in trades:
            yield message(self.topic.name, json.dumps(match_row(name, trade), separators=(",", ":")))


class Tickers(Stream):
    """tickers: always whole."""

    def first(self, now_ms: int) -> Iterable[str]:
        """At once."""
        return self.update(now_ms)

    def update(self, now_ms: int) -> Iterable[str]:
        """The ticker."""
        yield message(self.topic.name, json.dumps(ticker_row(self.symbol, now_ms), separators=(",", ":")))


class Liquidations(Stream):
    """liquidation-orders: of all swaps in one topic; the last one of each comes again for a new subscriber."""

    _last = ""

    def first(self, now_ms: int) -> Iterable[str]:  # noqa: ARG002
        """The last one."""
        if self._last:
            yield self._last

    def liquidation(self, event: Liquidation, now_ms: int) -> Iterable[str]:
        """`side` is that of the order, `posSide` the position's."""
        symbol, instrument = self.symbol, self.symbol.instrument
        family = f"{instrument.base}-{instrument.quote}"
        side, position = ("sell", "long") if event.is_long else ("buy", "short")
        price, size = symbol.price_text(event.ticks), symbol.size_text(event.lots)
        details = (
            f'{{"bkLoss":"0","bkPx":"{price}","ccy":"","posSide":"{position}","side":"{side}","sz":"{size}",'
            f'"ts":"{now_ms - 274}"}}'
        )
        self._last = message(
            self.topic.name,
            f'{{"details":[{details}],"instFamily":"{family}","instId":"{instrument.symbol}","instType":"SWAP",'
            f'"uly":"{family}"}}',
        )
        yield self._last


class Candles(Stream):
    """candle…: once a second; a bar that nothing traded in yet is flat at the last close."""

    def first(self, now_ms: int) -> Iterable[str]:
        """The open one."""
        candle = self.symbol.truth.candles(INTERVALS[self.topic.detail], now_ms)[-1]
        return self.kline(candle, False, now_ms)

    def kline(self, candle: Candle, is_closed: bool, now_ms: int) -> Iterable[str]:  # noqa: ARG002
        """One candle."""
        row = candle_row(self.symbol, candle, is_closed)
        yield message(self.topic.name, json.dumps(row, separators=(",", ":")))


class Book(BookStream):
    """An order book. `books` sends a snapshot, then changes, each with the id before; the others are always whole."""

    def __init__(self, topic: Topic, symbol: SymbolMarket, depth: int) -> None:
        super().__init__(topic, symbol, depth)
        self._is_whole = depth < 400
        self.seq_id = symbol.seq
        self._sent_ms = 0

    def first(self, now_ms: int) -> Iterable[str]:
        """The whole book."""
        bids, asks = self.whole()
        if self._is_whole:
            return (self._whole(now_ms),)
        return (self._text("snapshot", self.text(asks), self.text(bids), now_ms, -1),)

    def update(self, now_ms: int) -> Iterable[str]:
        """The next message."""
        bids, asks = self.changes()
        before, self.seq_id = self.seq_id, max(self.seq_id + 1, self.symbol.seq)
        self._sent_ms = now_ms
        if self._is_whole:
            return (self._whole(now_ms),)
        return (self._text("update", self.text(asks), self.text(bids), now_ms, before),)

    def repeat(self, now_ms: int) -> Iterable[str]:
        """After a minute without a change a message without one, its ids equal."""
        self._sent_ms = self._sent_ms or now_ms
        if now_ms - self._sent_ms >= BEAT_MS:
            self._sent_ms = now_ms
            yield self._whole(now_ms) if self._is_whole else self._text("update", "", "", now_ms, self.seq_id)

    def restart(self, now_ms: int) -> Iterable[str]:
        """After a maintenance: the id is lower, and linked all the same (trap T13)."""
        before, self.seq_id = self.seq_id, FIRST_SEQ
        self.symbol.seq = FIRST_SEQ
        if not self._is_whole:
            yield self._text("update", "", "", now_ms, before)

    def level(self, tick: int, size: int) -> str:
        """Price, size, a dead column, number of orders."""
        price = self.symbol.price_text(tick)
        return (
            f'["{price}","{self.symbol.size_text(size)}","0","{1 + size % 7}"]' if size else f'["{price}","0","0","0"]'
        )

    def _whole(self, now_ms: int) -> str:
        bids, asks = self.whole()
        name = f'"instId":"{self.topic.symbol}",' if self.topic.name.startswith("books5") else ""
        return message(
            self.topic.name,
            f'{{"asks":[{self.text(asks)}],"bids":[{self.text(bids)}],{name}"ts":"{now_ms}","seqId":{self.seq_id}}}',
        )

    def _text(self, action: str, asks: str, bids: str, now_ms: int, before: int) -> str:
        """The checksum is dead (trap T1)."""
        return (
            f'{{"arg":{{"channel":"books","instId":"{self.topic.symbol}"}},"action":"{action}","data":[{{'
            f'"asks":[{asks}],"bids":[{bids}],"ts":"{now_ms}","checksum":0,"prevSeqId":{before},"seqId":{self.seq_id}}}]}}'
        )
