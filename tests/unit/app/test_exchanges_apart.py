"""Collectors of several exchanges with the same settings: no name of a channel, key or file is of two of them."""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import combinations

import pytest

from app.options import output_options
from conf.settings import Settings
from consumers.files.jsonl import path_of
from consumers.redis.channels import klines_channel, raw_channel, status_channel
from consumers.redis.storage import keys
from consumers.service import OutputOptions
from tests.support.settings import settings_of

EXCHANGES = ("bybit", "binance", "okx", "upbit")
KINDS = ("trades", "orderbook", "ticker", "liquidations")
EVERYTHING = {
    "STORAGE_ENABLED": "true", "REDIS_STREAMS": "true", "RAW_RECORD": "true", "ENABLE_SPOT_STREAM": "true",
    "ENABLED_CONSUMERS": "redis,file,parquet",
}  # fmt: skip
NOW = datetime(2026, 11, 30, tzinfo=UTC)


def of_exchange(name: str, settings: Settings) -> OutputOptions:
    """The options of a collector of this exchange, whether or not it is there yet."""
    return output_options(settings.model_copy(update={"exchange": name}))


def names(options: OutputOptions) -> Iterator[str]:
    """Everything that a collector writes to, by name, but the channel REDIS_MAIN_KEY."""
    made, exchange = options.consumers, options.exchange
    yield from (klines_channel(exchange), status_channel(exchange))
    for kind in KINDS:
        yield from (raw_channel(exchange, kind, beside) for beside in (None, "spot", "inverse"))
    main_key = made.storage.main_key
    for market in options.markets:
        yield from (keys.tickers_key(main_key, market), keys.price_key(main_key, market))
        yield from (keys.last_closed_key(main_key, market, 60_000), keys.owner_key(main_key, market))
        yield from (keys.coin_key(exchange, market, "BTCUSDT"), keys.coins_key(main_key, exchange, market))
        yield str(path_of(made.file.base_path, (exchange, market, "klines"), NOW))
    assert made.redis.checkpoint
    assert options.recorder
    yield f"{made.redis.checkpoint.key_prefix}:last-published"
    yield from map(str, (made.redis.spill_path, made.redis.checkpoint.old_path, made.history.spill_path))
    yield f"{made.parquet.base_path}/.parts/{made.parquet.name}"
    yield f"{made.parquet.base_path}/{made.parquet.exchange}"
    yield f"{options.recorder.base_path}/{options.recorder.exchange}/{options.recorder.name}"


@pytest.mark.parametrize("more", [{}, {"REDIS_MAIN_KEY": "stream:all"}, {"SHARD": "2/3", "REDIS_MAIN_KEY": "m"}])
def test_no_name_is_of_two_exchanges(more: dict[str, str]) -> None:
    """Also where one channel, REDIS_MAIN_KEY, has the envelopes of all."""
    settings = settings_of(**EVERYTHING, **more)
    found = {name: list(names(of_exchange(name, settings))) for name in EXCHANGES}
    assert all(len(set(each)) == len(each) for each in found.values())
    for one, other in combinations(EXCHANGES, 2):
        assert set(found[one]).isdisjoint(found[other])


def test_keys_that_were_there_before_the_others_stay() -> None:
    """Programs read them: Bybit's begin with REDIS_MAIN_KEY alone."""
    settings = settings_of(**EVERYTHING, REDIS_MAIN_KEY="m")
    prefixes = [of_exchange(name, settings).consumers.storage.main_key for name in ("bybit", "okx")]
    assert prefixes == ["m", "m:okx"]
