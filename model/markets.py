"""What a market of an exchange is: the arithmetic of its contracts, what it offers, the rule of its candles. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from model.records import Kind

Contract = Literal["spot", "linear", "inverse"]
"""`inverse`: priced in dollars, settled in the coin: volume is in dollars, turnover in the coin."""

OpenRule = Literal["prev_close", "first_trade"]


@dataclass(frozen=True)
class KlineRules:
    """The rule by which an exchange makes its own candles.

    `opens_at` prev_close: the open is the last price before the interval, and counts in high and low; first_trade: the
    open is that of the first trade, and a longer candle takes nothing from intervals without trades but the close.
    `inverse_digits`: decimals that the turnover of an inverse contract has. `cuts_each`: each trade's is cut to them,
    then added (Bybit, 2022; only where sizes are in dollars); else their exact sum is rounded half up to them
    (Binance, 2021). `lacks_quiet`: it has no candle of an interval without a trade, or only when more is traded.
    `lacks_turnover`: its candles have none, or a rounded one: what is read is near it.
    """

    opens_at: OpenRule
    inverse_digits: int = 8
    cuts_each: bool = True
    lacks_quiet: bool = False
    lacks_turnover: bool = False


@dataclass(frozen=True)
class MarketSpec:
    """One market of an exchange by its neutral name: linear, inverse, spot.

    `product` is the exchange's own name of it. `depths` are those of its order books, the usual one first: where
    ORDERBOOK_DEPTH is not set it counts. `kinds`: what it streams. `klines` None: no candles are made of it.
    `has_contracts`: sizes are in contracts, each of `Instrument.contract_size`; elsewhere in the base coin.
    """

    name: str
    product: str
    contract: Contract
    kinds: Sequence[Kind]
    depths: Sequence[int]
    klines: KlineRules | None
    has_contracts: bool = False


def by_name(*specs: MarketSpec) -> Mapping[str, MarketSpec]:
    """Return the markets of an exchange by their neutral names."""
    return MappingProxyType({spec.name: spec for spec in specs})
