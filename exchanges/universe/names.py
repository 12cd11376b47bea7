"""What the names that people write mean in a market: symbols, or base and quote, by the exchange's listing. Pure.

Never cuts a name into coins: BTCUSDT is found because a listed instrument has the base BTC and the quote USDT.
"""

import difflib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from exchanges.universe.selection import quote_of
from model.pairs import DOLLARS, PERPETUAL
from model.records import Instrument
from model.symbols import canonical

LIKENESS = 0.6  # of difflib, for the nearest listed name
PARTS = 3  # base, quote, and what the contract is settled in: BTC/USDT:USDT


class Found(NamedTuple):
    """The symbols of names, each once, and the names that have none, each with the nearest listed symbol or ""."""

    symbols: list[str]
    unknown: dict[str, str]


class ListedNames:
    """The names of the symbols of one market.

    A symbol of the exchange is itself, before all else. BTC is the one quoted in the market's usual coin; BTCUSDT,
    BTC-USDT, BTC_USDT and BTC-USDT-SWAP are the one of that base and quote. Where contracts are in dollars (inverse),
    a stablecoin is a dollar, unless it is listed itself. Contracts that end have to be named as the exchange does.
    """

    def __init__(self, market: str, listed: Sequence[Instrument], quote: str | None = None) -> None:
        """`quote`: what a coin alone is quoted in; None: as is usual in the market."""
        self._quote = canonical(quote_of(market, quote))
        self._symbols = {canonical(each.symbol): each.symbol for each in listed}
        self._pairs: dict[tuple[str, str], str] = {}
        self._joined: dict[str, str] = {}
        lasting = [each for each in listed if each.base and each.quote and not each.is_dated]
        for each in sorted(lasting, key=self._rank):
            base, quote = canonical(each.base), canonical(each.quote)
            self._add(base, quote, each.symbol)
        if market == "inverse":
            in_dollars = [(base, symbol) for (base, quote), symbol in self._pairs.items() if quote == self._quote]
            for base, symbol in in_dollars:
                for dollar in DOLLARS:
                    self._add(base, dollar, symbol)

    def find(self, names: Iterable[str]) -> Found:
        """Return the symbols of names."""
        found, unknown = dict[str, None](), dict[str, str]()
        for name in names:
            symbol = self.symbol_of(name)
            if symbol is None:
                unknown[name] = self._nearest(name)
            else:
                found[symbol] = None
        return Found(list(found), unknown)

    def symbol_of(self, name: str) -> str | None:
        """Return the symbol that a name means; None where nothing listed is meant."""
        name = canonical(name)
        if symbol := self._symbols.get(name):
            return symbol
        parts = name.replace("_", "-").split("-")
        if len(parts) > 1 and parts[-1] in PERPETUAL:
            parts.pop()
        if len(parts) == PARTS and parts[2] in parts[:2]:
            parts.pop()
        if len(parts) == 1:
            return self._pairs.get((parts[0], self._quote)) or self._joined.get(parts[0])
        return self._pairs.get((parts[0], parts[1])) if len(parts) == PARTS - 1 else None

    def _rank(self, each: Instrument) -> tuple[bool, float, str]:
        """Of several of one pair, or of one spelling, the usual one comes first."""
        return each.quote != self._quote, -each.turnover, each.symbol

    def _add(self, base: str, quote: str, symbol: str) -> None:
        self._pairs.setdefault((base, quote), symbol)
        self._joined.setdefault(f"{base}{quote}", symbol)

    def _nearest(self, name: str) -> str:
        close = difflib.get_close_matches(canonical(name), self._symbols, n=1, cutoff=LIKENESS)
        return self._symbols[close[0]] if close else ""
