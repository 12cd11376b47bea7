"""Bybit's publicTrade payloads, decoded into batches of trades (docs: websocket/public/trade). Pure."""

import re
from typing import Generic

import msgspec

from exchanges.contract import DecodeTrades, TradeRules
from exchanges.trades import N, TradesDecoder, TradeShape
from model.ports import Report

TOPIC = re.compile(rb'"topic"\s*:\s*"publicTrade\.([^"]+)"')


class Trade(msgspec.Struct, Generic[N], gc=False):
    """One trade in Bybit's order: T match time (ms), v size, i trade id, seq cross sequence."""

    ms: int = msgspec.field(name="T")
    symbol: str = msgspec.field(name="s")
    size: N = msgspec.field(name="v")
    price: N = msgspec.field(name="p")
    id: str = msgspec.field(name="i", default="")
    more: int = msgspec.field(name="seq", default=0)


class MarkedTrade(Trade[N], gc=False):
    """A trade with what may keep it out of klines: BT block trade, RPI retail price improvement; false where absent."""

    BT: bool = False
    RPI: bool = False


class UnorderedTrade(msgspec.Struct, Generic[N], gc=False):
    """A trade whose sequence is null: it only orders trades of one millisecond, which their place does too."""

    ms: int = msgspec.field(name="T")
    symbol: str = msgspec.field(name="s")
    size: N = msgspec.field(name="v")
    price: N = msgspec.field(name="p")
    id: str = msgspec.field(name="i")
    null: None = msgspec.field(name="seq", default=None)
    BT: bool = False
    RPI: bool = False
    more = 0


class Message(msgspec.Struct, Generic[N], gc=False):
    """A publicTrade message: up to 1024 trades, in the order of their matching."""

    trades: list[Trade[N]] = msgspec.field(name="data")


class MarkedMessage(msgspec.Struct, Generic[N], gc=False):
    """A publicTrade message of trades with their marks."""

    trades: list[MarkedTrade[N]] = msgspec.field(name="data")


class RawMessage(msgspec.Struct, gc=False):
    """A publicTrade message with its topic, its trades still text."""

    topic: str
    trades: list[msgspec.Raw] = msgspec.field(name="data")

    @property
    def symbol(self) -> str:
        """The symbol, of options the base coin."""
        return self.topic.rpartition(".")[2]


def trade_decoder(rules: TradeRules, report: Report) -> DecodeTrades:
    """Return what decodes the trades that count by the rules; where all count, their marks are not read."""
    block, rpi = rules.count_block_trades, rules.count_rpi_trades
    message, trade = (Message, Trade) if block and rpi else (MarkedMessage, MarkedTrade)
    shape = TradeShape(message, trade, _symbols, RawMessage, others=(UnorderedTrade,))
    counts = None if block and rpi else lambda each: (block or not each.BT) and (rpi or not each.RPI)
    return TradesDecoder(shape, report, counts)


def _symbols(payload: bytes) -> list[str]:
    return [symbol.decode(errors="replace") for symbol in TOPIC.findall(payload)]
