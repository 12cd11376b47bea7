"""What a listed symbol is, and the coins that simulated exchanges list: names, steps, first prices. Pure, fixed."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

# coin, first price, linear (tick, lot), spot (tick, lot), inverse tick. Steps carry the decimals that are printed.
COINS = (
    ("BTC", "67250.5", ("0.10", "0.001"), ("0.01", "0.000001"), "0.50"),
    ("ETH", "3480.15", ("0.01", "0.01"), ("0.01", "0.00001"), "0.05"),
    ("SOL", "171.35", ("0.010", "0.1"), ("0.01", "0.001"), "0.001"),
    ("PEPE", "0.0000012345", ("0.0000000001", "100"), ("0.0000000001", "1"), "0.0000000001"),
    ("XRP", "1.9531", ("0.0001", "1"), ("0.0001", "0.01"), "0.0001"),
    ("DOGE", "0.16545", ("0.00001", "1"), ("0.00001", "0.1"), "0.00001"),
    ("DOT", "4.2835", ("0.0001", "0.1"), ("0.0001", "0.001"), "0.0001"),
    ("SHIB", "0.000012345", ("0.000000001", "10"), ("0.000000001", "0.1"), "0.000000001"),
    ("LTC", "94.53", ("0.01", "0.1"), ("0.01", "0.00001"), "0.01"),
    ("ADA", "0.4512", ("0.0001", "1"), ("0.0001", "0.01"), "0.0001"),
    ("ROSE", "0.04499", ("0.00001", "1"), ("0.00001", "0.01"), "0.00001"),
    ("LINK", "14.213", ("0.001", "0.1"), ("0.001", "0.001"), "0.001"),
)


class Coin(NamedTuple):
    """What is traded: its name, first price in dollars, and usual (tick, lot) texts."""

    name: str
    price: Decimal
    linear: tuple[str, str]
    spot: tuple[str, str]
    inverse_tick: str


def coin(index: int) -> Coin:
    """The coin of the index-th symbol: real ones first, then SIM0013 and so on, at prices of their own."""
    name, price, linear, spot, inverse_tick = COINS[index % len(COINS)]
    name = name if index < len(COINS) else f"SIM{index + 1:04d}"
    return Coin(name, Decimal(price) * (100 + index // len(COINS)) / 100, linear, spot, inverse_tick)


@dataclass(frozen=True, slots=True)
class Instrument:
    """One symbol of one category. `tick` and `lot` keep the decimals that prices and sizes are printed with.

    `is_stripped`: without their trailing zeros. `contract_size`: of one contract in the base coin, in dollars where
    inverse; 1 where sizes are not in contracts.
    """

    category: str
    symbol: str
    base: str
    quote: str
    tick: Decimal
    lot: Decimal
    first_price: Decimal
    is_stripped: bool = False
    contract_size: Decimal = Decimal(1)

    def price_text(self) -> Callable[[int], str]:
        """The printer of prices given in ticks."""
        return step_text(self.tick, self.is_stripped)

    def size_text(self) -> Callable[[int], str]:
        """The printer of sizes given in lots."""
        return step_text(self.lot, self.is_stripped)


def step_text(step: Decimal, is_stripped: bool) -> Callable[[int], str]:
    """Printer of whole multiples of `step`, exact, about 0.3 us a call."""
    exponent = step.as_tuple().exponent
    decimals = -exponent if isinstance(exponent, int) else 0
    unit, scale = int(step.scaleb(decimals)), 10**decimals
    if decimals == 0:
        return lambda n: str(n * unit)
    template = f"%d.%0{decimals}d"
    if is_stripped:
        return lambda n: (template % divmod(n * unit, scale)).rstrip("0").rstrip(".")
    return lambda n: template % divmod(n * unit, scale)
