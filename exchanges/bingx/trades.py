"""BingX's trade payloads, decoded into batches of trades (docs: swap and spot, latest trade detail). Pure.

Of swaps a message is a list, the newest trade first, and no trade has an id: of two that are equal in all else both
count. Of spot it is one trade, in no promised order: its number orders those of one ms, and is no id here, for an
exchange has ids on all markets or on none.
"""

import re
from collections.abc import Mapping
from typing import Generic

import msgspec

from exchanges.contract import DecodeTrades
from exchanges.trades import Id, N, TradesDecoder, TradeShape
from model.ports import Report

TOPIC = re.compile(rb'"dataType"\s*:\s*"([^"@]+)@trade"')


class SwapTrade(msgspec.Struct, Generic[N], gc=False):
    """A trade of swaps, in the order of its text; q in the base coin."""

    size: N = msgspec.field(name="q")
    price: N = msgspec.field(name="p")
    ms: int = msgspec.field(name="T")
    symbol: str = msgspec.field(name="s")
    id = ""
    more = 0


class SwapMessage(msgspec.Struct, Generic[N], gc=False):
    """A message of swaps, the newest trade first."""

    trades: list[SwapTrade[N]] = msgspec.field(name="data")


class SpotTrade(msgspec.Struct, Generic[N], gc=False):
    """A trade of spot, in the order of its text: T match time (ms), t its number."""

    ms: int = msgspec.field(name="T")
    price: N = msgspec.field(name="p")
    size: N = msgspec.field(name="q")
    symbol: str = msgspec.field(name="s")
    more: Id = msgspec.field(name="t", default=0)
    id = ""


class SpotMessage(msgspec.Struct, Generic[N], gc=False):
    """A message of spot."""

    trade: SpotTrade[N] = msgspec.field(name="data")

    @property
    def trades(self) -> tuple[SpotTrade[N]]:
        """The one trade."""
        return (self.trade,)


class RawMessage(msgspec.Struct, gc=False):
    """A message whose trades are still text; one of spot has no list of them."""

    topic: str = msgspec.field(name="dataType")
    trades: list[msgspec.Raw] = msgspec.field(name="data")

    @property
    def symbol(self) -> str:
        """The symbol of all trades."""
        return self.topic.partition("@")[0]


def _symbols(payload: bytes) -> list[str]:
    return [symbol.decode(errors="replace") for symbol in TOPIC.findall(payload)[:1]]


SHAPES: Mapping[str, TradeShape] = {
    "linear": TradeShape(SwapMessage, SwapTrade, _symbols, RawMessage, has_ids=False, newest_first=True),
    "spot": TradeShape(SpotMessage, SpotTrade, _symbols, RawMessage, has_ids=False),
}
"""By market. A message of spot that cannot be read has no parts: it is left out whole."""


def trade_decoder(market: str, report: Report) -> DecodeTrades:
    """Return what decodes trades of a market."""
    return TradesDecoder(SHAPES[market], report)
