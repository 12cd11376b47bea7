"""Binance's trade payloads, decoded into batches of trades (docs: Trade Streams; undocumented on futures). Pure.

A payload is one match. Sizes of COIN-M are contracts.
"""

import re
from typing import Generic

import msgspec

from exchanges.contract import DecodeTrades, TradeRules
from exchanges.trades import Id, N, TradeDecoder, TradeShape
from model.ports import Report

COUNTED = "MARKET"
RPI = "RPI"
"""Retail price improvement. All other marks of futures are no trades of the book, and have an id all the same: NA is a
placeholder of price 0 and size 0, INSURANCE_FUND and ADL come from liquidations."""

SYMBOL = re.compile(rb'"stream"\s*:\s*"([^"@]+)@trade"')


class Trade(msgspec.Struct, Generic[N], gc=False):
    """One trade, in the order of futures: T match time (ms), q size, X its mark (futures)."""

    ms: int = msgspec.field(name="T")
    symbol: str = msgspec.field(name="s")
    id: Id = msgspec.field(name="t")
    price: N = msgspec.field(name="p")
    size: N = msgspec.field(name="q")
    mark: str = msgspec.field(name="X", default=COUNTED)


class Message(msgspec.Struct, Generic[N], gc=False):
    """A message of a combined stream."""

    trade: Trade[N] = msgspec.field(name="data")


def _symbols(payload: bytes) -> list[str]:
    return [symbol.decode(errors="replace").upper() for symbol in SYMBOL.findall(payload)]


SHAPE = TradeShape(Message, Trade, _symbols, are_seqs=True)
"""Ids are the sequence: consecutive, in the order of matching."""


def trade_decoder(rules: TradeRules, report: Report) -> DecodeTrades:
    """Return what decodes trades; those that are not of the book, and RPI where the rules say so, do not count."""
    return TradeDecoder(SHAPE, report, frozenset({COUNTED, RPI} if rules.count_rpi_trades else {COUNTED}))
