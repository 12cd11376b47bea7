"""KuCoin's trade payloads, decoded into batches of trades (docs: match of spot, execution of futures). Pure.

A message is one match; times are in nanoseconds. Sizes of futures are lots.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Generic

import msgspec

from exchanges.contract import DecodeTrades
from exchanges.trades import Id, N, TradeDecoder, TradeShape
from model.ports import Report

NS_PER_MS = 1_000_000
SYMBOL = re.compile(rb'"symbol"\s*:\s*"([^"]+)"')


class SpotTrade(msgspec.Struct, Generic[N], gc=False):
    """One trade of spot, in the order of 2024 and later. REST has its sequence alone, which today its id is, too."""

    price: N
    more: Id = msgspec.field(name="sequence")
    size: N
    symbol: str
    ns: int = msgspec.field(name="time")

    @property
    def ms(self) -> int:
        return self.ns // NS_PER_MS

    @property
    def id(self) -> str:
        return str(self.more)


class FuturesTrade(msgspec.Struct, Generic[N], gc=False):
    """One trade of futures; its size is in lots."""

    symbol: str
    more: Id = msgspec.field(name="sequence")
    size: N
    price: N
    id: str = msgspec.field(name="tradeId")
    ns: int = msgspec.field(name="ts")

    @property
    def ms(self) -> int:
        return self.ns // NS_PER_MS


class SpotMessage(msgspec.Struct, Generic[N], gc=False):
    """A message of /market/match."""

    trade: SpotTrade[N] = msgspec.field(name="data")


class FuturesMessage(msgspec.Struct, Generic[N], gc=False):
    """A message of /contractMarket/execution."""

    trade: FuturesTrade[N] = msgspec.field(name="data")


def _symbols(payload: bytes) -> list[str]:
    return [symbol.decode(errors="replace") for symbol in SYMBOL.findall(payload)[:1]]


SHAPES: Mapping[str, TradeShape] = MappingProxyType(
    {
        "spot": TradeShape(SpotMessage, SpotTrade, _symbols, has_sequence=True),
        "linear": TradeShape(FuturesMessage, FuturesTrade, _symbols, has_sequence=True),
    }
)


def trade_decoder(market: str, report: Report) -> DecodeTrades:
    """Return what decodes the trades of a market; all of them count."""
    return TradeDecoder(SHAPES[market], report)
