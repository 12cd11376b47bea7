"""OKX's trades payloads, decoded into batches of trades (docs: WebSocket, public channel, trades channel).

Pure; called on the aggregator thread with a batch at a time. A message stands for `count` matches of one price, the
last of which has its `tradeId`; trades-all has one message for each match. A trade that cannot be read costs only
itself.
"""

import functools
import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Annotated, Any

import msgspec

from exchanges.contract import TradeRules
from exchanges.records import UNREADABLE
from model.ports import Report
from model.records import TradeBatch, TradeId, Written

SYMBOL = re.compile(rb'"instId"\s*:\s*"([^"]+)"')
RPI = "1"  # `source` of an order of retail price improvement; ordinary ones have 0

Id = Annotated[int, msgspec.Meta(ge=0, le=2**62)]  # more is no number of a trade
Count = Annotated[int, msgspec.Meta(ge=1, le=100_000)]  # of the matches of one order at one price: each has an id


class Trade(msgspec.Struct, gc=False):
    """One trade, in OKX's order: `tradeId` is that of its last match, `sz` is in contracts where there are some."""

    instId: str  # noqa: N815 - OKX's names
    tradeId: Id  # noqa: N815
    px: float
    sz: float
    ts: int
    count: Count = 1
    source: str = "0"


class Message(msgspec.Struct, gc=False):
    """A message of trades, in the order of their matching."""

    data: list[Trade]


class WrittenTrade(msgspec.Struct, gc=False):
    """A trade whose size and price keep all the digits they are written with, and its mark."""

    instId: str  # noqa: N815
    tradeId: Id  # noqa: N815
    px: Decimal
    sz: Decimal
    ts: int
    count: Count = 1
    source: str = "0"


class WrittenMessage(msgspec.Struct, gc=False):
    """A message of trades as they are written."""

    data: list[WrittenTrade]


class Arg(msgspec.Struct, gc=False):
    """What a message is of."""

    instId: str  # noqa: N815


class RawMessage(msgspec.Struct, gc=False):
    """A message of trades with its arg, its trades still text, to be read one by one."""

    arg: Arg
    data: list[msgspec.Raw]


# Not strict: OKX writes numbers as strings.
_message = msgspec.json.Decoder(Message, strict=False)
_trade = msgspec.json.Decoder(Trade, strict=False)
_raw = msgspec.json.Decoder(RawMessage, strict=False)
_written = msgspec.json.Decoder(WrittenMessage, strict=False)
_written_trade = msgspec.json.Decoder(WrittenTrade, strict=False)


class TradeDecoder:
    """Decodes trades; those of retail price improvement do not count where the rules say so.

    `seqs` are the ids: they order the matches of a symbol, and REST has no other sequence (seqId is the book's).
    """

    def __init__(self, rules: TradeRules, report: Report) -> None:
        """`report(cause, sample)` takes what cannot be read."""
        self._counts_all = rules.count_rpi_trades
        self._report = report

    def __call__(self, payloads: Sequence[bytes]) -> TradeBatch:
        """Decode payloads in their order."""
        symbols: list[str] = []
        times_ms: list[int] = []
        prices: list[float] = []
        sizes: list[float] = []
        ids: list[int] = []
        matches: list[int] = []
        uncounted: list[tuple[str, TradeId]] = []
        broken: list[str] = []
        decode, counts_all = _message.decode, self._counts_all
        for payload in payloads:
            try:
                trades = decode(payload).data
            except UNREADABLE:
                trades = self._decode_each(payload, self._report, broken, _trade.decode)
            for trade in trades:  # to append each is what this Python does quickest
                if counts_all or trade.source != RPI:
                    symbols.append(trade.instId)
                    times_ms.append(trade.ts)
                    prices.append(trade.px)
                    sizes.append(trade.sz)
                    ids.append(trade.tradeId)
                    matches.append(trade.count)
                else:
                    uncounted += _matches_of(trade)
        written = functools.partial(self._written, payloads)
        return TradeBatch(
            symbols, times_ms, prices, sizes, ids, ids, broken, written=written, matches=matches, uncounted=uncounted
        )

    def _written(self, payloads: Sequence[bytes]) -> list[Written]:
        """Price and size of the same trades to the last digit, in the same order.

        For the few trades whose floats are equal although their texts are not.
        """
        found: list[Written] = []
        for payload in payloads:
            try:
                trades = _written.decode(payload).data
            except UNREADABLE:
                trades = self._decode_each(payload, lambda *_: None, [], _written_trade.decode)
            found += [(trade.px, trade.sz) for trade in trades if self._counts_all or trade.source != RPI]
        return found

    def _decode_each(
        self, payload: bytes, report: Report, broken: list[str], decode_one: Callable[[msgspec.Raw], Any]
    ) -> list[Any]:
        """The trades of a payload that cannot be read as a whole."""
        try:
            message = _raw.decode(payload)
        except UNREADABLE:
            report("malformed_trades", payload)
            broken += [symbol.decode(errors="replace") for symbol in SYMBOL.findall(payload)[:1]]
            return []
        trades = []
        for raw in message.data:
            try:
                trades.append(decode_one(raw))
            except UNREADABLE:
                report("bad_trade", bytes(raw))
                broken.append(message.arg.instId)
        return trades


def _matches_of(trade: Trade) -> list[tuple[str, TradeId]]:
    """Symbol and id of every match that a trade stands for."""
    return [(trade.instId, trade_id) for trade_id in range(trade.tradeId - trade.count + 1, trade.tradeId + 1)]
