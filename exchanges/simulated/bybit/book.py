"""Bybit's order books: u grows by one per update, level 1 is sent whole."""

from collections.abc import Iterable

from ..book import BookStream
from ..hub import Topic
from ..symbol_market import SymbolMarket

FIRST_U = 10_000_000  # first update id of a book is somewhere below: any number but 1
L1_REPEAT_MS = 3000  # an unchanged level-1 snapshot is sent again after this long (BYBIT_V5.md trap T6)


class Book(BookStream):
    """The messages of one orderbook topic."""

    def __init__(self, topic: Topic, symbol: SymbolMarket, depth: int) -> None:
        super().__init__(topic, symbol, depth)
        self._is_top = depth == 1
        self.u = 2 + int(symbol.rng.random() * FIRST_U)
        self._seq = 0
        self._sent_ms = 0

    def first(self, now_ms: int) -> Iterable[str]:
        """The whole book."""
        yield self.snapshot(now_ms, self.symbol.seq)

    def snapshot(self, now_ms: int, seq: int) -> str:
        """The whole book, best price first."""
        bids, asks = self.whole()
        return self._message("snapshot", now_ms, self.text(bids), self.text(asks), seq)

    def update(self, now_ms: int) -> Iterable[str]:
        """The next message: a delta, or a snapshot for level 1."""
        self.u += 1
        bids, asks = self.changes()
        if self._is_top:
            return (self.snapshot(now_ms, self.symbol.seq),)
        return (self._message("delta", now_ms, self.text(bids), self.text(asks), self.symbol.seq),)

    def repeat(self, now_ms: int) -> Iterable[str]:
        """The same level-1 snapshot with the same u, once it stood still for three seconds."""
        if self._is_top and now_ms - self._sent_ms >= L1_REPEAT_MS:
            yield self.snapshot(now_ms, self._seq)

    def restart(self, now_ms: int) -> Iterable[str]:
        """The u == 1 snapshot of a restarted service (trap T7)."""
        self.u = 1
        yield self.snapshot(now_ms, self.symbol.seq)

    def _message(self, kind: str, now_ms: int, bids: str, asks: str, seq: int) -> str:
        """Key order differs by category (trap T17): as recorded, spot alone puts ts before type."""
        self._sent_ms, self._seq = now_ms, seq
        cts, topic, category = now_ms - 2, self.topic.name, self.topic.category
        data = f'{{"s":"{self.symbol.instrument.symbol}","b":[{bids}],"a":[{asks}],"u":{self.u},"seq":{seq}}}'
        if category == "option":
            return (
                f'{{"id":"{topic}-{seq}-{now_ms}","topic":"{topic}","ts":{now_ms},'
                f'"data":{data},"cts":{cts},"type":"{kind}"}}'
            )
        if category == "spot":
            return f'{{"topic":"{topic}","ts":{now_ms},"type":"{kind}","data":{data},"cts":{cts}}}'
        return f'{{"topic":"{topic}","type":"{kind}","ts":{now_ms},"data":{data},"cts":{cts}}}'
