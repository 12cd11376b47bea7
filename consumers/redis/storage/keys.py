"""The keys that the storage keeps in Redis: names, lifetimes, which collector owns them. Other programs read them.

The only place where these names are built, as channels.py is for channels. Functions with a client run on the thread
`consumer-storage` and raise what redis-py does; the others are pure.
"""

from typing import Any

import redis
import structlog

from consumers.redis.options import StorageOptions
from model.intervals import legacy_name
from model.pairs import Pair, coin_of

log = structlog.get_logger()

SCAN_COUNT = 10_000  # keys looked at per step: a database of millions is searched in a second
OWNER_S = 60  # how long a collector that died still counts as the owner of its keys
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
    return f"{main_key}:last-closed:{market}:{legacy_name(interval_ms)}"


def last_closed_pattern(main_key: str, market: str) -> str:
    """Match every `last_closed_key` of a market in Redis's own pattern language."""
    literal = "".join(f"\\{letter}" if letter in "*?[]\\^-" else letter for letter in main_key)
    return f"{literal}:last-closed:{market}:*"


def last_closed_ttl_s(interval_ms: int) -> int:
    """Seconds for which a last closed kline may be called that."""
    return KLINE_INTERVALS_KEPT * interval_ms // 1000 + KLINE_SPARE_S


def coin_key(exchange: str, market: str, symbol: str, pair: Pair | None = None) -> str:
    """Name the hash of a coin's price: `bybit_spot:BTC`, `bybit_futures:BTC`; `pair` as the exchange lists it."""
    return f"{exchange}_{'spot' if market == 'spot' else 'futures'}:{coin_of(symbol, pair)}"


def owner_key(main_key: str, market: str) -> str:
    """Name the key that holds which exchange's collector writes a market's keys under this main key."""
    return f"{main_key}:storage-owner:{market}"


def coins_key(main_key: str, exchange: str, market: str) -> str:
    """Name the set of the coin keys that collectors with this main key have written."""
    return f"{main_key}:storage-coins:{exchange}:{market}"


def clear(client: "redis.Redis", options: StorageOptions) -> None:
    """Remove what an earlier run of ours left; another exchange's keys under our main key are left to it."""
    for market in options.markets:
        owner = client.get(owner_key(options.main_key, market))
        if owner is not None and owner != options.exchange.encode():
            remedy = "give each exchange its own REDIS_MAIN_KEY"
            log.warning("storage_keys_shared", market=market, owner=_readable(owner), remedy=remedy)
        else:
            _clear_market(client, options, market)


def renew_ownership(client: "redis.Redis", options: StorageOptions) -> None:
    """Mark the keys as ours, for collectors of other exchanges that start; to be repeated, for the mark expires."""
    for market in options.markets:
        key = owner_key(options.main_key, market)
        if client.get(key) in (None, options.exchange.encode()):
            client.set(key, options.exchange, ex=OWNER_S)


def _clear_market(client: "redis.Redis", options: StorageOptions, market: str) -> None:
    """Remove the fields of our symbols, and the coins whose price came from one."""
    owns, coins = options.owns, coins_key(options.main_key, options.exchange, market)
    hashes = [tickers_key(options.main_key, market), price_key(options.main_key, market)]
    hashes += client.scan_iter(match=last_closed_pattern(options.main_key, market), count=SCAN_COUNT)
    named: set[bytes] = client.smembers(coins)  # type: ignore[assignment]  # a set here: this client is not async
    if owns is None:
        client.delete(*hashes, *named, coins)
        return
    for key in hashes:
        if gone := [name for name in client.hkeys(key) if owns(_readable(name))]:
            client.hdel(key, *gone)
    for coin in named:
        if owns(_readable(client.hget(coin, "original_symbol") or b"")):
            client.delete(coin)
            client.srem(coins, coin)


def _readable(text: Any) -> str:
    return text.decode(errors="replace") if isinstance(text, bytes) else str(text)
