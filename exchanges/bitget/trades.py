"""Bitget's trades payloads, decoded into batches of trades (docs: public trade channel). Pure.

A message has trades of one symbol, which its arg names, the newest first. Ids grow with time, and are not consecutive.
"""

import re
from typing import Generic

import msgspec

from exchanges.contract import DecodeTrades
from exchanges.trades import N, TradesDecoder, TradeShape
from model.ports import Report

SYMBOL = re.compile(rb'"instId"\s*:\s*"([^"]+)"')


class Trade(msgspec.Struct, Generic[N], gc=False):
    """One trade, in Bitget's order; the size is in the base coin, of contracts, too."""

    ms: int = msgspec.field(name="ts")
    price: N
    size: N
    id: str = msgspec.field(name="tradeId")
    symbol: str = ""
    more = 0


class Arg(msgspec.Struct, gc=False):
    """What a message is of."""

    instId: str  # noqa: N815 - Bitget's names


class Message(msgspec.Struct, Generic[N], gc=False):
    """A message of trades, the newest first."""

    arg: Arg
    trades: list[Trade[N]] = msgspec.field(name="data")

    def __post_init__(self) -> None:
        symbol = self.arg.instId
        for trade in self.trades:
            trade.symbol = symbol


class RawMessage(msgspec.Struct, gc=False):
    """A message of trades, its trades still text."""

    arg: Arg
    trades: list[msgspec.Raw] = msgspec.field(name="data")

    @property
    def symbol(self) -> str:
        """The symbol of all trades."""
        return self.arg.instId


def _symbols(payload: bytes) -> list[str]:
    return [symbol.decode(errors="replace") for symbol in SYMBOL.findall(payload)[:1]]


SHAPE = TradeShape(Message, Trade, _symbols, RawMessage, newest_first=True)


def trade_decoder(report: Report) -> DecodeTrades:
    """Return what decodes trades: all count, for v2 marks none."""
    return TradesDecoder(SHAPE, report)
