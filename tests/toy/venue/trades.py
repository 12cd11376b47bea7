"""Toy's trades, decoded: the newest of a message comes first, and none has an id. Pure."""

from collections.abc import Sequence
from decimal import Decimal
from itertools import count

import msgspec

from exchanges.records import UNREADABLE
from model.ports import Report
from model.records import TradeBatch


class Trade(msgspec.Struct, gc=False):
    """Price, size, time in ms."""

    p: Decimal
    q: Decimal
    T: int


class TradesMessage(msgspec.Struct, gc=False):
    """A message, the newest trade first."""

    topic: str
    data: list[Trade]


class TradeDecoder:
    """Decodes trades. Each gets a number as its id: two that are equal in all else are two."""

    def __init__(self, report: Report) -> None:
        self._report, self._decode = report, msgspec.json.Decoder(TradesMessage, strict=False).decode
        self._numbers = count(1)

    def __call__(self, payloads: Sequence[bytes]) -> TradeBatch:
        """Decode payloads in their order."""
        trades: list[tuple[str, Trade]] = []
        for payload in payloads:
            try:
                message = self._decode(payload)
            except UNREADABLE:
                self._report("malformed_trades", payload)
                continue
            symbol = message.topic.partition("@")[2]
            trades += [(symbol, trade) for trade in reversed(message.data)]
        return TradeBatch(
            [symbol for symbol, _ in trades],
            [trade.T for _, trade in trades],
            [float(trade.p) for _, trade in trades],
            [float(trade.q) for _, trade in trades],
            [0] * len(trades),
            [f"n{next(self._numbers)}" for _ in trades],
            written=lambda: [(trade.p, trade.q) for _, trade in trades],
        )
