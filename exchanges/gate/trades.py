"""Gate's payloads of trades, decoded into batches (docs: spot.trades, futures.trades). Pure.

Spot sends one trade a message, with the ids of all matches that it stands for; futures send some, their sizes in
contracts, negative where the taker sold. Internal trades, by which positions are taken over, are in no candle.
"""

import re
from typing import Generic

import msgspec

from exchanges.contract import DecodeTrades
from exchanges.trades import Id, N, TradesDecoder, TradeShape
from model.ports import Report
from model.protocol import NEVER, TradeKeys

SYMBOL = re.compile(rb'"(?:currency_pair|contract)"\s*:\s*"([^"]+)"')
TRADE_KEYS = TradeKeys(b'"channel":"', re.compile(rb'"id":(\d+)'), NEVER + b"%s", SYMBOL)
"""Ids are consecutive within a symbol; a channel is of many, so that no text proves which: each trade's is found."""
MATCHES_MOST = 100_000


class SpotTrade(msgspec.Struct, Generic[N], gc=False):
    """One trade of spot, in Gate's order; its time is in ms with decimals."""

    old_id: Id = msgspec.field(name="id")
    sent: float = msgspec.field(name="create_time_ms")
    symbol: str = msgspec.field(name="currency_pair")
    size: N = msgspec.field(name="amount")
    price: N = msgspec.field(name="price")
    id: Id = msgspec.field(name="id_market", default=0)
    range: str = ""
    more: int = msgspec.field(name=" ", default=1)  # Gate has no such field

    def __post_init__(self) -> None:
        """Take the ids of all matches; before 2024 there was one id alone, of all markets."""
        first, _, last = self.range.partition("-")
        if first != last:
            self.id, self.more = int(last), int(last) - int(first) + 1
            if not 0 < self.more <= MATCHES_MOST:
                raise ValueError(f"range is {self.range}")
        elif not self.id:
            self.id = self.old_id

    @property
    def ms(self) -> int:
        """When it was matched."""
        return int(self.sent)


class SpotMessage(msgspec.Struct, Generic[N], gc=False):
    """A message of spot."""

    trade: SpotTrade[N] = msgspec.field(name="result")

    @property
    def trades(self) -> list[SpotTrade[N]]:
        """Its one trade."""
        return [self.trade]


class FuturesTrade(msgspec.Struct, Generic[N], gc=False):
    """One trade of futures, in Gate's order."""

    id: Id
    signed: N = msgspec.field(name="size")
    ms: int = msgspec.field(name="create_time_ms")
    price: N
    symbol: str = msgspec.field(name="contract")
    is_internal: bool = False
    more = 0

    @property
    def size(self) -> N:
        """Contracts."""
        return abs(self.signed)  # type: ignore[arg-type]


class FuturesMessage(msgspec.Struct, Generic[N], gc=False):
    """A message of futures, in the order of matching."""

    trades: list[FuturesTrade[N]] = msgspec.field(name="result")


class Raw(msgspec.Struct, gc=False):
    """A message, its trades still text."""

    result: msgspec.Raw

    @property
    def trades(self) -> list[msgspec.Raw]:
        """Each trade."""
        text = bytes(self.result)
        return msgspec.json.decode(text, type=list[msgspec.Raw]) if text.startswith(b"[") else [self.result]

    @property
    def symbol(self) -> str:
        """The first symbol that it names: a message is of one."""
        return next(iter(_symbols(bytes(self.result))), "")


def _symbols(payload: bytes) -> list[str]:
    return list(dict.fromkeys(symbol.decode(errors="replace") for symbol in SYMBOL.findall(payload)))


SPOT = TradeShape(SpotMessage, SpotTrade, _symbols, Raw, has_matches=True, are_seqs=True)
FUTURES = TradeShape(FuturesMessage, FuturesTrade, _symbols, Raw, are_seqs=True)


def trade_decoder(market: str, report: Report) -> DecodeTrades:
    """Return what decodes the trades of a market."""
    if market == "spot":
        return TradesDecoder(SPOT, report)
    return TradesDecoder(FUTURES, report, lambda trade: not trade.is_internal)
