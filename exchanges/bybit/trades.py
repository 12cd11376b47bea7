"""Bybit's publicTrade payloads, decoded into columns.

Pure; called on the aggregator thread with a batch at a time. A trade that cannot be read costs only itself.
Documentation page: websocket/public/trade.
"""

import re
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import msgspec

Report = Callable[[str, bytes], None]

TOPIC = re.compile(rb'"topic"\s*:\s*"publicTrade\.([^"]+)"')


class Trade(msgspec.Struct, gc=False):
    """One trade: T match time (ms), s symbol, p price, v size, i trade id, seq cross sequence."""

    T: int
    s: str
    p: float
    v: float
    i: str = ""
    seq: int = 0


class MarkedTrade(Trade, gc=False):
    """A trade with what may keep it out of klines: BT block trade, RPI retail price improvement; false where absent."""

    BT: bool = False
    RPI: bool = False


class Message(msgspec.Struct, gc=False):
    """A publicTrade message: up to 1024 trades, in the order of their matching."""

    topic: str
    data: list[Trade]


class MarkedMessage(msgspec.Struct, gc=False):
    """The same with the marks."""

    topic: str
    data: list[MarkedTrade]


class RawMessage(msgspec.Struct, gc=False):
    """The same, its trades still text, to be read one by one."""

    topic: str
    data: list[msgspec.Raw]


# Not strict: Bybit writes numbers as strings.
_message = msgspec.json.Decoder(RawMessage, strict=False)

Columns = tuple[list[str], list[int], list[float], list[float], list[int], list[str], list[str]]


class TradeDecoder:
    """Decodes trades, with or without block and RPI trades; one that counts all does not look at the marks."""

    def __init__(self, *, count_block_trades: bool = True, count_rpi_trades: bool = True) -> None:
        self._count_block, self._count_rpi = count_block_trades, count_rpi_trades
        self._counts_all = count_block_trades and count_rpi_trades
        self._batch: msgspec.json.Decoder[Any] = msgspec.json.Decoder(
            list[Message] if self._counts_all else list[MarkedMessage], strict=False
        )
        self._trade: msgspec.json.Decoder[Any] = msgspec.json.Decoder(
            Trade if self._counts_all else MarkedTrade, strict=False
        )

    def __call__(self, payloads: Sequence[bytes], report: Report) -> Columns:
        """Symbols, match times (ms), prices, sizes, sequences, ids, and the symbols of which a trade was unreadable.

        The first six are equally long, in stream order. `report(cause, sample)` is told of what could not be read.
        """
        broken: list[str] = []
        try:
            messages = self._batch.decode(b"[" + b",".join(payloads) + b"]")
            trades = list(chain.from_iterable([message.data for message in messages]))
        except (msgspec.DecodeError, UnicodeDecodeError):
            trades = list(chain.from_iterable(self._decode_one(payload, report, broken) for payload in payloads))
        if not self._counts_all:
            trades = [trade for trade in trades if self._counts(trade)]
        return (
            [trade.s for trade in trades],
            [trade.T for trade in trades],
            [trade.p for trade in trades],
            [trade.v for trade in trades],
            [trade.seq for trade in trades],
            [trade.i for trade in trades],
            broken,
        )

    def _counts(self, trade: MarkedTrade) -> bool:
        return (self._count_block or not trade.BT) and (self._count_rpi or not trade.RPI)

    def _decode_one(self, payload: bytes, report: Report, broken: list[str]) -> list[Trade]:
        try:
            message = _message.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError):
            report("malformed_trades", payload)
            broken += [symbol.decode(errors="replace") for symbol in TOPIC.findall(payload)]
            return []
        trades = []
        for raw in message.data:
            try:
                trades.append(self._trade.decode(raw))
            except (msgspec.DecodeError, UnicodeDecodeError):
                report("bad_trade", bytes(raw))
                broken.append(message.topic.rpartition(".")[2])
        return trades


decode_trades = TradeDecoder()
