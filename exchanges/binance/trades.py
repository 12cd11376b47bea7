"""Binance's trade payloads, decoded into batches of trades (docs: Trade Streams; undocumented on futures).

Pure; called on the aggregator thread with a batch at a time. A payload is one match. One that cannot be read costs only
itself.
"""

import functools
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated

import msgspec

from exchanges.contract import TradeRules
from exchanges.records import UNREADABLE
from model.ports import Report
from model.records import TradeBatch, TradeId, Written

COUNTED = "MARKET"
RPI = "RPI"
"""Retail price improvement. All other marks of futures are no trades of the book, and have an id all the same: NA is a
placeholder of price 0 and size 0, INSURANCE_FUND and ADL come from liquidations."""

SYMBOL = re.compile(rb'"stream"\s*:\s*"([^"@]+)@trade"')

Id = Annotated[int, msgspec.Meta(ge=0, le=2**62)]  # more is no number of a trade


class Trade(msgspec.Struct, gc=False):
    """One trade, in the order of futures: T match time (ms), s symbol, t id, p price, q size, X its mark (futures)."""

    T: int
    s: str
    t: Id
    p: float
    q: float
    X: str = COUNTED


class Message(msgspec.Struct, gc=False):
    """A message of a combined stream."""

    data: Trade


class WrittenTrade(msgspec.Struct, gc=False):
    """A trade whose size and price keep all the digits they are written with, and its mark."""

    T: int
    s: str
    t: Id
    p: Decimal
    q: Decimal
    X: str = COUNTED


class WrittenMessage(msgspec.Struct, gc=False):
    """A message of a trade as it is written."""

    data: WrittenTrade


# Not strict: Binance writes prices and sizes as strings.
_message = msgspec.json.Decoder(Message, strict=False)
_written = msgspec.json.Decoder(WrittenMessage, strict=False)


class TradeDecoder:
    """Decodes trades; those that are no trades of the book, and RPI where the rules say so, do not count.

    `seqs` are the ids: consecutive, in the order of matching. Sizes of COIN-M are contracts.
    """

    def __init__(self, rules: TradeRules, report: Report) -> None:
        """`report(cause, sample)` takes what cannot be read."""
        self._counted = frozenset({COUNTED, RPI} if rules.count_rpi_trades else {COUNTED})
        self._report = report

    def __call__(self, payloads: Sequence[bytes]) -> TradeBatch:
        """Decode payloads in their order."""
        symbols: list[str] = []
        times_ms: list[int] = []
        prices: list[float] = []
        sizes: list[float] = []
        ids: list[int] = []
        uncounted: list[tuple[str, TradeId]] = []
        broken: list[str] = []
        decode, counted = _message.decode, self._counted
        for payload in payloads:
            try:
                trade = decode(payload).data
            except UNREADABLE:
                self._report("malformed_trades", payload)
                broken += [symbol.decode(errors="replace").upper() for symbol in SYMBOL.findall(payload)]
                continue
            if trade.X in counted:
                symbols.append(trade.s)
                times_ms.append(trade.T)
                prices.append(trade.p)
                sizes.append(trade.q)
                ids.append(trade.t)
            else:
                uncounted.append((trade.s, trade.t))
        written = functools.partial(self._written, payloads)
        return TradeBatch(symbols, times_ms, prices, sizes, ids, ids, broken, written=written, uncounted=uncounted)

    def _written(self, payloads: Sequence[bytes]) -> list[Written]:
        """Price and size of the same trades to the last digit, in the same order.

        For the few trades whose floats are equal although their texts are not.
        """
        found: list[Written] = []
        for payload in payloads:
            try:
                trade = _written.decode(payload).data
            except UNREADABLE:
                continue
            if trade.X in self._counted:
                found.append((trade.p, trade.q))
        return found
