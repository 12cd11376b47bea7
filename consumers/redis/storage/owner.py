"""Whose the storage's keys are: cleared at a start, and said as long as the collector lives.

`consumer-storage` thread; raises what redis-py does.
"""

from typing import Any

import redis
import structlog

from consumers.redis.options import StorageOptions
from consumers.redis.storage.keys import coins_key, last_closed_pattern, owner_key, price_key, tickers_key

log = structlog.get_logger()

SCAN_COUNT = 10_000  # keys looked at per step: a database of millions is searched in a second
OWNER_S = 60  # how long a collector that died still counts as the owner of its keys


def clear(client: "redis.Redis", options: StorageOptions) -> None:
    """Remove what an earlier run of ours left; another exchange's keys under our main key are left to it."""
    for market in options.markets:
        owner = client.get(owner_key(options.main_key, market))
        if owner is not None and owner != options.exchange.encode():
            remedy = "give each exchange its own REDIS_MAIN_KEY"
            log.warning("storage_keys_shared", market=market, owner=_readable(owner), remedy=remedy)
        else:
            _clear_market(client, options, market)


def own(client: "redis.Redis", options: StorageOptions) -> None:
    """Say whose the keys are to collectors of other exchanges that begin; again and again, for it expires."""
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
