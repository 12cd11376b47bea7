"""The listed symbols: names, tick and lot sizes, first prices.

Pure and fixed: the same number of symbols always gives the same list. Linear and spot share names on purpose.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

# coin, first price, linear (tick, lot), spot (tick, lot), inverse tick. Steps carry the decimals Bybit prints.
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
INVERSE_LOT = "1"  # contracts of one USD
OPTION_STEPS = ("5", "0.01")
OPTION_EXPIRY = "25DEC26"


@dataclass(frozen=True, slots=True)
class Instrument:
    """One symbol of one category. `tick` and `lot` keep the decimals that prices and sizes are printed with."""

    category: str
    symbol: str
    base: str
    quote: str
    tick: Decimal
    lot: Decimal
    first_price: Decimal

    @property
    def is_stripped(self) -> bool:
        """Whether prices are printed without trailing zeros: spot prints 43774, not 43774.00."""
        return self.category == "spot"

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


def list_instruments(category: str, count: int) -> list[Instrument]:
    """The first `count` symbols of a category: real coins first, then SIM0013 and so on."""
    return [_instrument(category, index) for index in range(count)]


def _instrument(category: str, index: int) -> Instrument:
    coin, price_text, linear, spot, inverse_tick = COINS[index % len(COINS)]
    base = coin if index < len(COINS) else f"SIM{index + 1:04d}"
    price = Decimal(price_text) * (100 + index // len(COINS)) / 100
    if category == "option":
        return _option(base, price, index)
    quote = "USD" if category == "inverse" else "USDT"
    tick, lot = {"linear": linear, "spot": spot}.get(category, (inverse_tick, INVERSE_LOT))
    return Instrument(category, base + quote, base, quote, Decimal(tick), Decimal(lot), price)


def _option(base: str, price: Decimal, index: int) -> Instrument:
    """One option; its premium is far from the coin's price: a few hundred ticks."""
    symbol = f"{base}-{OPTION_EXPIRY}-{int(price) + 1}-{'CP'[index % 2]}-USDT"
    tick, lot = OPTION_STEPS
    return Instrument("option", symbol, base, "USDT", Decimal(tick), Decimal(lot), Decimal(25_000))
