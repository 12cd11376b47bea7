"""OKX's trades payloads, decoded into batches of trades (docs: WebSocket, public channel, trades channel). Pure.

A message stands for `count` matches of one price, the last of which has its `tradeId`; trades-all has one message for
each match.
"""

import re
from typing import Annotated, Generic

import msgspec

from exchanges.contract import DecodeTrades, TradeRules
from exchanges.trades import Id, N, TradesDecoder, TradeShape
from model.ports import Report

SYMBOL = re.compile(rb'"instId"\s*:\s*"([^"]+)"')
RPI = "1"  # `source` of an order of retail price improvement; ordinary ones have 0

Count = Annotated[int, msgspec.Meta(ge=1, le=100_000)]  # of the matches of one order at one price: each has an id


class Trade(msgspec.Struct, Generic[N], gc=False):
    """One trade, in OKX's order: `tradeId` is that of its last match, `sz` is in contracts where there are some."""

    symbol: str = msgspec.field(name="instId")
    id: Id = msgspec.field(name="tradeId")
    price: N = msgspec.field(name="px")
    size: N = msgspec.field(name="sz")
    ms: int = msgspec.field(name="ts")
    more: Count = msgspec.field(name="count", default=1)
    source: str = "0"


class Message(msgspec.Struct, Generic[N], gc=False):
    """A message of trades, in the order of their matching."""

    trades: list[Trade[N]] = msgspec.field(name="data")


class Arg(msgspec.Struct, gc=False):
    """What a message is of."""

    symbol: str = msgspec.field(name="instId")


class RawMessage(msgspec.Struct, gc=False):
    """A message of trades with its arg, its trades still text."""

    arg: Arg
    trades: list[msgspec.Raw] = msgspec.field(name="data")

    @property
    def symbol(self) -> str:
        """The symbol of all trades."""
        return self.arg.symbol


def _symbols(payload: bytes) -> list[str]:
    return [symbol.decode(errors="replace") for symbol in SYMBOL.findall(payload)[:1]]


SHAPE = TradeShape(Message, Trade, _symbols, RawMessage, has_matches=True, are_seqs=True)
"""Ids are the sequence: they order the matches of a symbol, and REST has no other (seqId is the book's)."""


def trade_decoder(rules: TradeRules, report: Report) -> DecodeTrades:
    """Return what decodes trades; those of retail price improvement do not count where the rules say so."""
    return TradesDecoder(SHAPE, report, None if rules.count_rpi_trades else lambda trade: trade.source != RPI)
