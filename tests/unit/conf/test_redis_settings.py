"""Settings of what Redis keeps: which outputs there are, and what goes to them."""

import pytest

from conf.settings import Settings, SettingsError, load_settings
from consumers.options import consumer_options


def load(**environ: str) -> Settings:
    return load_settings(environ, env_file=None)


def test_switches_make_outputs():
    """Beside those of ENABLED_CONSUMERS, in a fixed order; any of them needs a Redis."""
    assert load().outputs == ("redis",)
    settings = load(ENABLED_CONSUMERS="console", STORAGE_ENABLED="true", REDIS_STREAMS="true")
    assert settings.outputs == ("console", "storage", "history")
    assert settings.uses_redis
    assert not load(ENABLED_CONSUMERS="console").uses_redis


def test_what_is_sent_and_what_is_stored():
    """Each type has its switch; the storage keeps tickers and prices whether they are sent or not."""
    settings = load(ENABLE_PRICE_STREAM="true", ENABLE_TRADES_STREAM="true", STREAMER_STORAGE_ENABLED="true")
    assert settings.envelope_types == ("price", "trades")
    assert settings.stored_types == ("ticker", "price")
    assert load().envelope_types == load().stored_types == ()


def test_history_kinds():
    """Klines are not a raw kind; without the switch there is no history."""
    settings = load(REDIS_STREAMS="true", REDIS_STREAMS_KINDS="klines,Trades", REDIS_STREAMS_MAXLEN="500")
    assert settings.history_kinds == ("trades",)
    assert load(REDIS_STREAMS_KINDS="trades").history_kinds == ()
    with pytest.raises(SettingsError, match=r"REDIS_STREAMS_KINDS=.*allowed: any of klines, trades"):
        load(REDIS_STREAMS_KINDS="candles")


def test_options_of_storage_and_history():
    """From the settings to the outputs' own records; each spills to a file of its own."""
    settings = load(
        REDIS_MAIN_KEY="market-data",
        ENABLE_SPOT_STREAM="true",
        STORAGE_BUFFER_FLUSH_SIZE="7",
        STORAGE_BUFFER_FLUSH_INTERVAL="0.5",
        REDIS_STREAMS_KINDS="trades",
        REDIS_STREAMS_MAXLEN="500",
    )
    options = consumer_options(settings)
    storage, history = options.storage, options.history
    assert (storage.main_key, storage.markets) == ("market-data", ("linear", "spot"))
    assert (storage.flush_size, storage.flush_interval_s) == (7, 0.5)
    assert (history.has_klines, history.max_len) == (False, 500)
    assert history.spill_path not in (None, options.redis.spill_path)


@pytest.mark.parametrize(
    ("environ", "warned"),
    [
        ({"ENABLE_TICKER_STREAM": "true"}, ["ENABLE_TICKER_STREAM"]),
        ({"ENABLE_TICKER_STREAM": "true", "REDIS_MAIN_KEY": "m"}, []),
        ({"ENABLE_TICKER_STREAM": "true", "ENABLED_CONSUMERS": "redis,console"}, []),
        ({"STORAGE_ENABLED": "true"}, []),
        ({"REDIS_STREAMS": "true", "ENABLE_KLINES_STREAM": "false"}, ["REDIS_STREAMS_KINDS"]),
    ],
)
def test_what_goes_nowhere_is_warned_of(environ, warned):
    """An envelope needs a channel or another output; a history of klines needs klines."""
    assert [warning.name for warning in load(**environ).warnings] == warned
