"""Order books and trades of any exchange as a page shows them: levels, and prints, as the exchange writes them.

Pure; one thread. Nothing of the collector's own way of payloads passes here: only what a page subscribed for itself.
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from operator import itemgetter
from typing import Any, NamedTuple

import msgspec

from exchanges.records import UNREADABLE
from model.envelope import plain_text
from model.ports import RecordReader
from model.protocol import KindFrames
from model.records import Record

Level = tuple[str, str]
"""Price and size."""

Sides = tuple[Sequence[Any], Sequence[Any]]
"""The bids and the asks of a message: each a sequence of price, size, and what else the exchange adds."""

SidesOf = Callable[[Any], Sides]
"""The sides of a decoded message; raises LookupError or TypeError where it has none."""

SIDES = {"buy": "buy", "sell": "sell"}


def usual_sides(message: Any) -> Sides:
    """The sides of a message as nearly all exchanges write it: `bids` and `asks`, or `b` and `a`, in `data` or
    `result`, which is an object or a list of one.
    """
    body = message["data"] if "data" in message else message["result"]
    if isinstance(body, list):
        (body,) = body
    bids, asks = ("bids", "asks") if "bids" in body or "asks" in body else ("b", "a")
    return body.get(bids) or (), body.get(asks) or ()


def shown_depth(depths: Sequence[int], levels: int) -> int:
    """The depth to subscribe for so many levels: the smallest that has them; the usual one where none is known to."""
    return min((depth for depth in depths if depth >= levels), default=depths[0])


class BookReader:
    """One order book, kept from the payloads of its topic. `frames` are those of the topic.

    Where they have a `snapshot`, messages without it hold changes, in which a size of 0 deletes a level; else each
    message is the whole book. Before the first whole one there is none.
    """

    def __init__(self, frames: KindFrames, sides_of: SidesOf = usual_sides) -> None:
        self._frames, self._sides_of = frames, sides_of
        self._decode = msgspec.json.Decoder(float_hook=str).decode  # numbers keep their digits
        self._bids: dict[float, Level] = {}
        self._asks: dict[float, Level] = {}
        self.is_known = False
        self.sent_ms = 0  # the exchange's time of the newest message; 0: it has none
        self.unreadable = 0

    def take(self, payload: bytes) -> bool:
        """Take the next payload; False where it cannot be used: unreadable, or changes of an unknown book."""
        snapshot = self._frames.snapshot
        is_whole = snapshot is None or snapshot.search(payload) is not None
        if not (is_whole or self.is_known):
            return False
        try:
            bids, asks = (_levels(side) for side in self._sides_of(self._decode(payload)))
        except (*UNREADABLE, LookupError, TypeError, AttributeError):
            self.unreadable += 1
            self.is_known = False  # what it changed is not known
            return False
        if is_whole:
            self._bids, self._asks, self.is_known = {}, {}, True
        for levels, changes in ((self._bids, bids), (self._asks, asks)):
            for price, level, is_gone in changes:
                if is_gone:
                    levels.pop(price, None)
                else:
                    levels[price] = level
        sent = self._frames.sent.search(payload)
        self.sent_ms = int(sent[1]) if sent else 0
        return True

    def forget(self) -> None:
        """Have no book until the next whole message: payloads may be missing."""
        self.is_known = False

    def top(self, count: int) -> tuple[list[Level], list[Level]]:
        """The best bids and asks, best first."""
        bids, asks = sorted(self._bids.items(), reverse=True)[:count], sorted(self._asks.items())[:count]
        return [level for _, level in bids], [level for _, level in asks]


def _levels(side: Sequence[Any]) -> list[tuple[float, Level, bool]]:
    """Price, level, and whether it is deleted, of each level of a side; raises where one cannot be read."""
    texts = [(str(price), str(size)) for price, size in map(itemgetter(0, 1), side)]
    return [(float(text[0]), text, float(text[1]) == 0) for text in texts]


class Print(NamedTuple):
    """One trade as a tape shows it; `side` is the taker's: buy, sell, or "" where the exchange does not say."""

    ms: int
    price: str
    size: str
    side: str


class TapeReader:
    """Trades of payloads of one market; `names` are the exchange's of a trade's fields (Venue.record_names)."""

    def __init__(self, read: RecordReader, names: Mapping[str, str]) -> None:
        self._read = read
        own = (names.get(name, name) for name in ("timestamp", "price", "size", "side"))
        self._ms, self._price, self._size, self._side = own

    def __call__(self, payloads: Sequence[bytes]) -> list[Print]:
        """Take payloads in their order; a trade without a readable time, price or size is left out."""
        found = self._read(payloads).get("trades", ())
        return [each for record in found if (each := self._print_of(record)) is not None]

    def _print_of(self, trade: Record) -> Print | None:
        price, size = (_text(trade.get(name)) for name in (self._price, self._size))
        try:
            ms = int(float(trade.get(self._ms, "")))
        except (ValueError, TypeError, OverflowError):
            return None
        return Print(ms, price, size, self._taker_of(trade)) if price and size else None

    def _taker_of(self, trade: Record) -> str:
        side = trade.get(self._side)
        if isinstance(side, str):
            return SIDES.get(side.lower(), "")
        is_buyer_maker = trade.get("m")  # where there is no side
        return "" if not isinstance(is_buyer_maker, bool) else "sell" if is_buyer_maker else "buy"


def _text(value: object) -> str:
    if isinstance(value, Decimal):
        return plain_text(value)
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
