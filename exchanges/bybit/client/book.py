"""A local order book from snapshots and deltas, checked by `u`. Pure; the caller holds the lock.

A delta that is not the next one makes the book unknown until a snapshot comes: the stream subscribes again by itself.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

Levels = dict[Decimal, Decimal]


class LocalBook:
    """One symbol's book: levels by price, size 0 deletes."""

    def __init__(self) -> None:
        self.bids: Levels = {}
        self.asks: Levels = {}
        self.jumps = 0
        self._update: int | None = None
        self._rest: dict[str, Any] = {}

    @property
    def is_known(self) -> bool:
        """Whether the levels equal the exchange's."""
        return self._update is not None

    def apply(self, message: Mapping[str, Any]) -> bool:
        """Apply a message of `orderbook.*`; returns False where it left the book unknown."""
        data = message["data"]
        try:
            return self._apply(message, data, int(data["u"]))
        except (LookupError, TypeError, ValueError, ArithmeticError):
            self._forget()  # half a message may be in it
            raise

    def _apply(self, message: Mapping[str, Any], data: Mapping[str, Any], update: int) -> bool:
        if message.get("type") == "snapshot" or update == 1:
            self._forget()
        elif self._update is None or update == self._update:
            return self.is_known
        elif update != self._update + 1:
            self.jumps += 1
            self._forget()
            return False
        _change(self.bids, data["b"] or ())
        _change(self.asks, data["a"] or ())
        self._update = update
        times = {name: message[name] for name in ("ts", "cts") if name in message}
        self._rest = {"s": data["s"], "u": update, "seq": data.get("seq"), **times}
        return True

    def row(self, depth: int) -> dict[str, Any] | None:
        """The best `depth` levels as a row of Bybit's, best first; None while the book is unknown."""
        if self._update is None:
            return None
        bids, asks = sorted(self.bids.items(), reverse=True)[:depth], sorted(self.asks.items())[:depth]
        return {**self._rest, "b": bids, "a": asks}

    def _forget(self) -> None:
        self.bids, self.asks, self._update = {}, {}, None


def _change(levels: Levels, changes: Iterable[Sequence[str]]) -> None:
    for price, size in changes:
        if Decimal(size) == 0:
            levels.pop(Decimal(price), None)
        else:
            levels[Decimal(price)] = Decimal(size)


def grouped(levels: Iterable[Sequence[Any]], step: Decimal, *, is_bid: bool) -> list[tuple[Decimal, Decimal]]:
    """Sizes summed up per step of the price, best first: bids at the step below, asks at the one above."""
    sums: dict[Decimal, Decimal] = {}
    for price_given, size in levels:
        price = Decimal(str(price_given))
        down = price // step * step
        key = down if is_bid or down == price else down + step
        sums[key] = sums.get(key, Decimal(0)) + Decimal(str(size))
    return list(sums.items())
