"""Aggregate trades: matches of one order at one price, numbered apart from the matches.

Event loop thread only. Made of a symbol's recent trades when somebody asks: what was made once stays as it is.
"""

from collections import deque
from itertools import takewhile
from typing import NamedTuple

from ..symbol_market import SymbolMarket
from ..trades import Trade

ONE_IN = 3  # aggregates are about so much fewer than ids: where their numbers begin


class Aggregate(NamedTuple):
    """`first` and `last` are the ids of its matches, without one between that does not count."""

    number: int
    first: int
    last: int
    price: str
    lots: int
    retail_lots: int
    event_ms: int
    is_sold: bool
    seq: int


class Aggregates:
    """The aggregate trades of one symbol, as many as trades are kept."""

    def __init__(self, symbol: SymbolMarket) -> None:
        self._symbol = symbol
        self._seen = symbol.recent[0].number - 1 if symbol.recent else -1
        self.kept: deque[Aggregate] = deque(maxlen=symbol.recent.maxlen)
        self._next: int | None = None

    def since(self, number: int) -> list[Aggregate]:
        """Those that begin at a trade's number or later, oldest first."""
        self.update()
        found = list(takewhile(lambda each: each.first >= number, reversed(self.kept)))
        return found[::-1]

    def update(self) -> None:
        """Make those of the trades since the last call."""
        new: list[Trade] = []
        for trade in reversed(self._symbol.recent):
            if trade.number <= self._seen:
                break
            new.append(trade)
        if not new:
            return
        self._seen = new[0].number
        if self._next is None:
            self._next = new[-1].number // ONE_IN
        made: list[Aggregate] = []
        for trade in reversed(new):
            if not trade.is_counted:
                continue
            retail = trade.lots if trade.mark == "RPI" else 0
            is_sold = trade.side == "Sell"
            if made and _is_more_of(made[-1], trade, is_sold):
                last = made[-1]
                made[-1] = last._replace(
                    last=trade.number, lots=last.lots + trade.lots, retail_lots=last.retail_lots + retail
                )
                continue
            made.append(
                Aggregate(
                    self._next, trade.number, trade.number, trade.price, trade.lots, retail, trade.event_ms, is_sold,
                    trade.seq,
                )
            )  # fmt: skip
            self._next += 1
        self.kept.extend(made)


def _is_more_of(last: Aggregate, trade: Trade, is_sold: bool) -> bool:
    return (last.last + 1, last.seq, last.event_ms, last.price, last.is_sold) == (
        trade.number, trade.seq, trade.event_ms, trade.price, is_sold,
    )  # fmt: skip
