"""The names and lifetimes of what the storage keeps in Redis. Pure; other programs read these keys.

The one place where they are built, as channels.py is for channels.
"""

from consumers.console.console import interval_name
from model.pairs import Pair, coin_of

KLINE_SPARE_S = 60  # for a candle that closes late, or waits for its repair
KLINE_INTERVALS_KEPT = 2  # a last candle is the last one until the next closes; a second missed one is an absence


def tickers_key(main_key: str, market: str) -> str:
    """Name the hash of tickers: field symbol, value the whole ticker as JSON."""
    return f"{main_key}:tickers:{market}"


def price_key(main_key: str, market: str) -> str:
    """Name the hash of prices: field symbol, value the price as text."""
    return f"{main_key}:price:{market}"


def last_closed_key(main_key: str, market: str, interval_ms: int) -> str:
    """Name the hash of the last closed klines of an interval (`1m`, `1D`): field symbol, value the kline as JSON."""
    return f"{main_key}:last-closed:{market}:{interval_name(interval_ms)}"


def last_closed_pattern(main_key: str, market: str) -> str:
    """Match every `last_closed_key` of a market in Redis's own pattern language."""
    literal = "".join(f"\\{letter}" if letter in "*?[]\\^-" else letter for letter in main_key)
    return f"{literal}:last-closed:{market}:*"


def last_closed_ttl_s(interval_ms: int) -> int:
    """How long a last closed kline may be called that."""
    return KLINE_INTERVALS_KEPT * interval_ms // 1000 + KLINE_SPARE_S


def coin_key(exchange: str, market: str, symbol: str, pair: Pair | None = None) -> str:
    """Name the hash of a coin's price: `bybit_spot:BTC`, `bybit_futures:BTC`; `pair` as the exchange lists it."""
    return f"{exchange}_{'spot' if market == 'spot' else 'futures'}:{coin_of(symbol, pair)}"


def owner_key(main_key: str, market: str) -> str:
    """Name the key that says which exchange's collector writes a market's keys under this main key."""
    return f"{main_key}:storage-owner:{market}"


def coins_key(main_key: str, exchange: str, market: str) -> str:
    """Name the set of the coin keys that collectors with this main key have written."""
    return f"{main_key}:storage-coins:{exchange}:{market}"
