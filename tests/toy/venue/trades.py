"""Toy's trades, decoded: the newest of a message comes first, none has an id, the topic alone has the symbol. Pure."""

import re
from typing import Generic

import msgspec

from exchanges.contract import DecodeTrades
from exchanges.trades import N, TradesDecoder, TradeShape
from model.ports import Report

TOPIC = re.compile(rb'"topic":"trade@([^"]+)"')


class Trade(msgspec.Struct, Generic[N], gc=False):
    """Price, size, time in ms; neither id nor sequence."""

    price: N = msgspec.field(name="p")
    size: N = msgspec.field(name="q")
    ms: int = msgspec.field(name="T")
    symbol: str = ""
    id = ""
    more = 0


class Message(msgspec.Struct, Generic[N], gc=False):
    """A message, the newest trade first."""

    topic: str
    trades: list[Trade[N]] = msgspec.field(name="data")

    def __post_init__(self) -> None:
        symbol = self.topic.partition("@")[2]
        for trade in self.trades:
            trade.symbol = symbol


class RawMessage(msgspec.Struct, gc=False):
    """A message whose trades are still text."""

    topic: str
    trades: list[msgspec.Raw] = msgspec.field(name="data")

    @property
    def symbol(self) -> str:
        """The symbol of all trades."""
        return self.topic.partition("@")[2]


def _symbols(payload: bytes) -> list[str]:
    return [symbol.decode(errors="replace") for symbol in TOPIC.findall(payload)]


SHAPE = TradeShape(Message, Trade, _symbols, RawMessage, has_ids=False, newest_first=True)


def trade_decoder(report: Report) -> DecodeTrades:
    """Return what decodes trades."""
    return TradesDecoder(SHAPE, report)
