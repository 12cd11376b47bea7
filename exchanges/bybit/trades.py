"""Bybit's publicTrade payloads, decoded into batches of trades (docs: websocket/public/trade).

Pure; called on the aggregator thread with a batch at a time. A trade that cannot be read costs only itself.
"""

import functools
import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from exchanges.contract import TradeRules
from exchanges.records import UNREADABLE
from model.ports import Report
from model.records import TradeBatch, Written

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

    data: list[Trade]


class MarkedMessage(msgspec.Struct, gc=False):
    """A publicTrade message of trades with their marks."""

    data: list[MarkedTrade]


class WrittenTrade(msgspec.Struct, gc=False):
    """A trade whose size and price keep all the digits they are written with, and its marks."""

    T: int
    s: str
    v: Decimal
    p: Decimal
    BT: bool = False
    RPI: bool = False


class WrittenMessage(msgspec.Struct, gc=False):
    """A publicTrade message of trades as they are written."""

    data: list[WrittenTrade]


class RawMessage(msgspec.Struct, gc=False):
    """A publicTrade message with its topic, its trades still text, to be read one by one."""

    topic: str
    data: list[msgspec.Raw]


class UnorderedTrade(msgspec.Struct, gc=False):
    """A trade whose sequence is null: it only orders trades of one millisecond, which their place does too."""

    T: int
    s: str
    v: float
    p: float
    i: str
    seq: None = None
    BT: bool = False
    RPI: bool = False


# Not strict: Bybit writes numbers as strings.
_raw = msgspec.json.Decoder(RawMessage, strict=False)
_unordered = msgspec.json.Decoder(UnorderedTrade, strict=False)
_written = msgspec.json.Decoder(WrittenMessage, strict=False)
_written_trade = msgspec.json.Decoder(WrittenTrade, strict=False)


class TradeDecoder:
    """Decodes the trades that count by the rules; where all count, their marks are not read."""

    def __init__(self, rules: TradeRules, report: Report) -> None:
        """`report(cause, sample)` takes what cannot be read."""
        self._count_block, self._count_rpi = rules.count_block_trades, rules.count_rpi_trades
        self._report = report
        self._counts_all = self._count_block and self._count_rpi
        message, trade = (Message, Trade) if self._counts_all else (MarkedMessage, MarkedTrade)
        self._message: msgspec.json.Decoder[Any] = msgspec.json.Decoder(message, strict=False)
        self._trade: msgspec.json.Decoder[Any] = msgspec.json.Decoder(trade, strict=False)

    def __call__(self, payloads: Sequence[bytes]) -> TradeBatch:
        """Decode one payload after the other, while its trades are in cache: many at a time cost a sixth more."""
        symbols: list[str] = []
        times_ms: list[int] = []
        prices: list[float] = []
        sizes: list[float] = []
        seqs: list[int] = []
        ids: list[str] = []
        broken: list[str] = []
        decode, counts_all = self._message.decode, self._counts_all
        for payload in payloads:
            try:
                trades = decode(payload).data
            except UNREADABLE:
                trades = self._decode_each(payload, self._report, broken, self._decode_one)
            if not counts_all:
                trades = filter(self._counts, trades)
            for trade in trades:  # to append each is what this Python does quickest
                symbols.append(trade.s)
                times_ms.append(trade.T)
                prices.append(trade.p)
                sizes.append(trade.v)
                seqs.append(trade.seq)
                ids.append(trade.i)
        written = functools.partial(self._written, payloads)
        return TradeBatch(symbols, times_ms, prices, sizes, seqs, ids, broken, written=written)

    def _written(self, payloads: Sequence[bytes]) -> list[Written]:
        """Price and size of the same trades to the last digit, in the same order.

        For the few trades whose floats are equal although their texts are not: it takes three times as long.
        """
        found: list[Written] = []
        for payload in payloads:
            try:
                trades = _written.decode(payload).data
            except UNREADABLE:
                trades = self._decode_each(payload, lambda *_: None, [], _written_trade.decode)
            found += [(trade.p, trade.v) for trade in trades if self._counts(trade)]
        return found

    def _counts(self, trade: MarkedTrade | WrittenTrade) -> bool:
        return (self._count_block or not trade.BT) and (self._count_rpi or not trade.RPI)

    def _decode_each(
        self, payload: bytes, report: Report, broken: list[str], decode_one: Callable[[msgspec.Raw], Any]
    ) -> list[Any]:
        """The trades of a payload that cannot be read as a whole."""
        try:
            message = _raw.decode(payload)
        except UNREADABLE:
            report("malformed_trades", payload)
            broken += [symbol.decode(errors="replace") for symbol in TOPIC.findall(payload)]
            return []
        trades = []
        for raw in message.data:
            try:
                trades.append(decode_one(raw))
            except UNREADABLE:
                report("bad_trade", bytes(raw))
                broken.append(message.topic.rpartition(".")[2])
        return trades

    def _decode_one(self, raw: msgspec.Raw) -> Trade:
        try:
            trade: Trade = self._trade.decode(raw)
        except msgspec.ValidationError:
            one = _unordered.decode(raw)
            trade = MarkedTrade(one.T, one.s, one.v, one.p, one.i, 0, one.BT, one.RPI)
        return trade
