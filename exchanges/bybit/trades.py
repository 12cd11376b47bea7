"""Bybit's publicTrade payloads, decoded into columns.

Pure; called on the aggregator thread with a batch at a time. A trade that cannot be read costs only itself.
Documentation page: websocket/public/trade.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any

import msgspec

Report = Callable[[str, bytes], None]

JOINED_PAYLOADS = 128  # decoded by one call: some 60 kB stay in cache; with 2,000 at a time a trade costs a third more

TOPIC = re.compile(rb'"topic"\s*:\s*"publicTrade\.([^"]+)"')


class Trade(msgspec.Struct, gc=False):
    """One trade: T match time (ms), s symbol, v size, p price, i trade id, seq cross sequence; in Bybit's order."""

    T: int
    s: str
    v: float
    p: float
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
        trades: list[Any] = []
        for begin in range(0, len(payloads), JOINED_PAYLOADS):
            trades += self._decode_joined(payloads[begin : begin + JOINED_PAYLOADS], report, broken)
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

    def _decode_joined(self, payloads: Sequence[bytes], report: Report, broken: list[str]) -> Iterable[Trade]:
        try:
            messages = self._batch.decode(b"[" + b",".join(payloads) + b"]")
        except (msgspec.DecodeError, UnicodeDecodeError):
            return chain.from_iterable([self._decode_one(payload, report, broken) for payload in payloads])
        return chain.from_iterable([message.data for message in messages])

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
