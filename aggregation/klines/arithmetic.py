"""The arithmetic of one market's klines: what its rules and contracts make of prices and sizes. Pure; exact decimals.

Measured on COIN-M pushes of Binance (2021): the turnover in coins is the sum of exact quotients, rounded half up to 8
decimals (EOSUSD 1465 at 3.468 and 130 at 3.467, 10 dollars each: 4599.30073931539 is pushed as ...32); a trade's own
cut, Bybit's rule of 2022, does not fit. OKX's rule for coin swaps is not known: `KlineRules` of its venue say so.
"""

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from aggregation.klines.decimals import EXACTLY, plain
from model.markets import MarketSpec, OpenRule

GUARD_DIGITS = 12  # more than a sum of uncut quotients shows: 10**8 trades of 10**3 a contract stay exact to the 8th
ONE = Decimal(1)


@dataclass(frozen=True)
class Arithmetic:
    """How the klines of one market are summed up.

    `opens_at` is the rule asked for, `exchange_opens_at` that of the exchange's own candles. `inverse_digits`,
    `cuts_each`, `exchange_lacks_quiet`, `exchange_lacks_turnover`: see model.markets.KlineRules. `has_contracts`: sizes
    are in contracts, and become base coins (dollars of inverse contracts) when a kline is made.
    """

    opens_at: OpenRule = "prev_close"
    exchange_opens_at: OpenRule = "prev_close"
    is_inverse: bool = False
    inverse_digits: int = 8
    cuts_each: bool = True
    has_contracts: bool = False
    exchange_lacks_quiet: bool = False
    exchange_lacks_turnover: bool = False

    @classmethod
    def of(cls, spec: MarketSpec, opens_at: OpenRule | None = None) -> "Arithmetic":
        """The arithmetic of a market with klines; `opens_at` None: by the exchange's own rule."""
        rules = spec.klines
        assert rules is not None, f"no klines are made of {spec.name}"
        return cls(
            opens_at or rules.opens_at,
            rules.opens_at,
            spec.contract == "inverse",
            rules.inverse_digits,
            rules.cuts_each and not spec.has_contracts,  # a cut of contracts would be one of something else
            spec.has_contracts,
            rules.lacks_quiet,
            rules.lacks_turnover,
        )

    @property
    def prev_close_opens(self) -> bool:
        """Whether a kline opens at the close before it."""
        return self.opens_at == "prev_close"

    @property
    def opens_as_exchange(self) -> bool:
        """Whether open, high and low are to equal those of the exchange's candles."""
        return self.opens_at == self.exchange_opens_at

    @property
    def quotient_digits(self) -> int:
        """Decimals to which the turnover of one inverse trade is cut."""
        return self.inverse_digits if self.cuts_each else self.inverse_digits + GUARD_DIGITS

    @property
    def is_raw(self) -> bool:
        """Whether sums are not yet what a kline has: `volume_of` and `turnover_of` make that of them."""
        return self.has_contracts or (self.is_inverse and not self.cuts_each)

    def trade_turnover(self, size: Decimal, price: Decimal) -> Decimal:
        """The turnover of one trade, in units of the sizes."""
        if not self.is_inverse:
            return EXACTLY.multiply(size, price)
        units = EXACTLY.divide_int(EXACTLY.scaleb(size, self.quotient_digits), price)
        return EXACTLY.scaleb(units, -self.quotient_digits)

    def volume_of(self, volume: Decimal, size: Decimal) -> Decimal:
        """The volume of a kline of contracts of `size`."""
        return volume if size == ONE else plain(EXACTLY.multiply(volume, size))

    def turnover_of(self, turnover: Decimal, trades: int, size: Decimal) -> Decimal:
        """The turnover of a kline of so many trades (at least) and contracts of `size`.

        Each quotient was cut, so that their exact sum is above this one by less than a last digit for each: without
        these, a sum that lies half way would be rounded down.
        """
        if not self.is_inverse or self.cuts_each:
            return turnover if size == ONE else plain(EXACTLY.multiply(turnover, size))
        highest = EXACTLY.add(turnover, Decimal(trades).scaleb(-self.quotient_digits))
        whole = EXACTLY.scaleb(EXACTLY.multiply(highest, size), self.inverse_digits)
        return plain(EXACTLY.scaleb(whole.to_integral_value(ROUND_HALF_UP, EXACTLY), -self.inverse_digits))


PLAIN = Arithmetic()
"""Sizes in the base coin, turnover in the quote; a kline opens at the close before it."""
