"""What requests for Binance's market data weigh, and how long their answers may be kept for equal requests. Pure.

Weights are those of the documentation (market data endpoints of spot, USD-M and COIN-M futures), by the parameters that
they depend on. What is not here is no public endpoint, or needs a key.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

Product = Literal["spot", "futures"]
Weigh = Callable[[Mapping[str, str]], int]

LIVE_S = 0.5  # of prices: what several clients ask for at once is asked once
ALL_KEPT_S = 3.0  # of tickers of all symbols, which weigh 40 and 80: 20 requests a minute at most
SLOW_S = 10.0  # of what changes every few hours
LISTING_S = 60.0
KLINES = ("klines", "continuousKlines", "indexPriceKlines", "markPriceKlines", "premiumIndexKlines", "uiKlines")
KLINES_DEFAULT = 500
KLINES_MOST: Mapping[str, int] = MappingProxyType({"spot": 1000, "futures": 1500})
EACH_MOST = 50  # symbols of rolling tickers beyond which more weigh no more


class Endpoint(NamedTuple):
    """One endpoint: the weight of a request, and for how long an answer of one symbol and of all may be kept."""

    weigh: Weigh
    keep_s: float = 0.0
    keep_all_s: float | None = None

    def kept_s(self, query: Mapping[str, str]) -> float:
        """How long the answer to a request may be kept."""
        return self.keep_s if self.keep_all_s is None or "symbol" in query else self.keep_all_s


def limit_of(query: Mapping[str, str], default: int) -> int:
    """Return the limit of a request as it is weighed; a wrong one is refused by the exchange."""
    text = query.get("limit", "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else default


def _flat(weight: int) -> Weigh:
    return lambda _query: weight


def _one_or_all(one: int, every: int) -> Weigh:
    return lambda query: one if query.get("symbol") or query.get("pair") else every


def _by_limit(default: int, *steps: tuple[int, int], beyond: int) -> Weigh:
    """Each step: the largest limit that weighs so much."""

    def weigh(query: Mapping[str, str]) -> int:
        limit = limit_of(query, default)
        return next((weight for most, weight in steps if limit <= most), beyond)

    return weigh


def _spot_day(query: Mapping[str, str]) -> int:
    count = _count(query)
    return 2 if 1 <= count <= 20 else 40 if 1 <= count <= 100 else 80


def _each(weight: int) -> Weigh:
    return lambda query: weight * min(max(1, _count(query)), EACH_MOST)


def _count(query: Mapping[str, str]) -> int:
    """How many symbols are named; 0 for all."""
    return 1 if query.get("symbol") else query["symbols"].count(",") + 1 if query.get("symbols") else 0


_SPOT_DEPTH = _by_limit(100, (100, 5), (500, 25), (1000, 50), beyond=250)
_FUTURES_DEPTH = _by_limit(500, (50, 2), (100, 5), (500, 10), beyond=20)
_FUTURES_KLINES = _by_limit(KLINES_DEFAULT, (99, 1), (499, 2), (1000, 5), beyond=10)

SPOT: Mapping[str, Endpoint] = MappingProxyType(
    {
        "exchangeInfo": Endpoint(_flat(20), LISTING_S),
        "depth": Endpoint(_SPOT_DEPTH),  # never kept: it must be newer than the changes that a client has
        "trades": Endpoint(_flat(25), LIVE_S),
        "historicalTrades": Endpoint(_flat(25), LIVE_S),
        "aggTrades": Endpoint(_flat(4), LIVE_S),
        "klines": Endpoint(_flat(2), LIVE_S),
        "uiKlines": Endpoint(_flat(2), LIVE_S),
        "avgPrice": Endpoint(_flat(2), LIVE_S),
        "ticker/24hr": Endpoint(_spot_day, LIVE_S, ALL_KEPT_S),
        "ticker/price": Endpoint(_one_or_all(2, 4), LIVE_S),
        "ticker/bookTicker": Endpoint(_one_or_all(2, 4), LIVE_S),
        "ticker/tradingDay": Endpoint(_each(4), LIVE_S, ALL_KEPT_S),
        "ticker": Endpoint(_each(4), LIVE_S, ALL_KEPT_S),
    }
)
FUTURES: Mapping[str, Endpoint] = MappingProxyType(
    {
        "exchangeInfo": Endpoint(_flat(1), LISTING_S),
        "depth": Endpoint(_FUTURES_DEPTH),
        "rpiDepth": Endpoint(_flat(20)),
        "trades": Endpoint(_flat(5), LIVE_S),
        "aggTrades": Endpoint(_flat(20), LIVE_S),
        **dict.fromkeys(KLINES, Endpoint(_FUTURES_KLINES, LIVE_S)),
        "premiumIndex": Endpoint(_one_or_all(1, 10), LIVE_S, ALL_KEPT_S),
        "fundingRate": Endpoint(_flat(1), SLOW_S),
        "fundingInfo": Endpoint(_flat(1), SLOW_S),
        "openInterest": Endpoint(_flat(1), LIVE_S),
        "ticker/24hr": Endpoint(_one_or_all(1, 40), LIVE_S, ALL_KEPT_S),
        "ticker/price": Endpoint(_one_or_all(1, 2), LIVE_S),
        "ticker/bookTicker": Endpoint(_one_or_all(2, 5), LIVE_S),
        "indexInfo": Endpoint(_flat(1), SLOW_S),
        "assetIndex": Endpoint(_one_or_all(1, 10), LIVE_S, ALL_KEPT_S),
        "constituents": Endpoint(_flat(2), SLOW_S),
    }
)
