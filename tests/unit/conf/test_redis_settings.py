"""Settings of what Redis keeps: which outputs there are, and what goes to them."""

import pytest

from app.options import output_options
from conf.settings import SettingsError
from tests.support.settings import settings_of


def test_switches_make_outputs():
    """Beside those of ENABLED_CONSUMERS, in a fixed order; any of them needs a Redis."""
    assert settings_of().outputs == ("redis",)
    settings = settings_of(ENABLED_CONSUMERS="console", STORAGE_ENABLED="true", REDIS_STREAMS="true")
    assert settings.outputs == ("console", "storage", "history")
    assert settings.uses_redis
    assert not settings_of(ENABLED_CONSUMERS="console").uses_redis


def test_what_is_sent_and_what_is_stored():
    """Each type has its switch; the storage keeps tickers and prices whether they are sent or not."""
    settings = settings_of(ENABLE_PRICE_STREAM="true", ENABLE_TRADES_STREAM="true", STREAMER_STORAGE_ENABLED="true")
    assert settings.envelope_types == ("price", "trades")
    assert settings.stored_types == ("ticker", "price")
    assert settings_of().envelope_types == settings_of().stored_types == ()


def test_history_kinds():
    """Klines are not a raw kind; without the switch there is no history."""
    settings = settings_of(REDIS_STREAMS="true", REDIS_STREAMS_KINDS="klines,Trades", REDIS_STREAMS_MAXLEN="500")
    assert settings.history_kinds == ("trades",)
    assert settings_of(REDIS_STREAMS_KINDS="trades").history_kinds == ()
    with pytest.raises(SettingsError, match=r"REDIS_STREAMS_KINDS=.*allowed: any of klines, trades"):
        settings_of(REDIS_STREAMS_KINDS="candles")


def test_options_of_storage_and_history():
    """From the settings to the outputs' own records; each spills to a file of its own."""
    settings = settings_of(
        REDIS_MAIN_KEY="market-data",
        ENABLE_SPOT_STREAM="true",
        STORAGE_BUFFER_FLUSH_SIZE="7",
        STORAGE_BUFFER_FLUSH_INTERVAL="0.5",
        REDIS_STREAMS_KINDS="trades",
        REDIS_STREAMS_MAXLEN="500",
    )
    options = output_options(settings).consumers
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
    assert [warning.name for warning in settings_of(**environ).warnings] == warned


@pytest.mark.parametrize(
    ("environ", "begin", "reason"),
    [
        ({"REDIS_HOST": "127.0.0.1:6379"}, "REDIS_HOST='127.0.0.1:6379'", "the port is a setting of its own"),
        ({"REDIS_HOST": "redis://127.0.0.1"}, "REDIS_HOST='redis://127.0.0.1'", "a whole address"),
        ({"STREAMER_REDIS_HOST": "my host"}, "STREAMER_REDIS_HOST='my host'", "no host has such a name"),
        ({"REDIS_HOST": "[::1]:6379"}, "REDIS_HOST=", "the port is a setting of its own"),
        ({"REDIS_HOST": '"redis"'}, "REDIS_HOST='\"redis\"'", "no host has such a name"),
        ({"REDIS_URL": "redis://my host"}, "REDIS_URL='redis://my host'", "redis://user:password@host"),
        ({"REDIS_URL": "unix:///run/redis.sock"}, "REDIS_URL=", "must begin with redis:// or rediss://"),
        ({"REDIS_URL": "redis://x/0?timeout=3"}, "REDIS_URL=", "no option 'timeout'"),
        ({"STREAMER_REDIS_URL": "redis://x?db=one"}, "STREAMER_REDIS_URL=", "no option 'db' of this kind"),
        ({"REDIS_URL": "redis://x?protocol=9"}, "REDIS_URL=", "no option 'protocol' of this kind"),
        ({"WEBSOCKET_HOST": "0.0.0.0:9500"}, "WEBSOCKET_HOST=", "the port is a setting of its own"),
    ],
)
def test_a_wrong_address_is_named_as_it_was_written(environ, begin, reason):
    """The setting in the user's file, not what was made of it; what is offered is taken."""
    with pytest.raises(SettingsError) as caught:
        settings_of(**environ)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(begin)
    assert reason in line
    assert "unix" not in line.partition("allowed:")[2]


@pytest.mark.parametrize(
    ("environ", "begins"),
    [
        ({"REDIS_URL": "redis://h/x", "REDIS_PORT": "no"}, {"REDIS_URL=", "REDIS_PORT="}),
        ({"REDIS_URL": "redis://h/x", "REDIS_DB": "no"}, {"REDIS_URL=", "REDIS_DB="}),
        (
            {"WEBSOCKET_URL": 'ws://a"b/', "WEBSOCKET_HOST": "h", "WSS_AUTH_USER": "u"},
            {"WEBSOCKET_URL=", "WEBSOCKET_HOST="},
        ),
        ({"WEBSOCKET_URL": 'ws://a"b/'}, {"WEBSOCKET_URL="}),
    ],
)
def test_what_a_wrong_address_hides_is_checked_too(environ, begins):
    """The parts beside a URL count where it does not; every mistake has its line."""
    with pytest.raises(SettingsError) as caught:
        settings_of(**environ)
    lines = str(caught.value).splitlines()
    assert all(any(line.startswith(begin) for line in lines) for begin in begins)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("cache_1.svc.cluster.local", "redis://cache_1.svc.cluster.local:6379/0"),
        ("::1", "redis://[::1]:6379/0"),
        ("[::1]", "redis://[::1]:6379/0"),
        ("10.0.0.1", "redis://10.0.0.1:6379/0"),
    ],
)
def test_hosts_are_taken_by_name_and_by_number(host, url):
    """With and without the brackets of a URL."""
    assert settings_of(REDIS_HOST=host).redis_url == url


@pytest.mark.parametrize("query", ["protocol=3", "socket_timeout=3&client_name=me", "health_check_interval=5"])
def test_options_of_the_client_are_taken(query):
    """They go on as they are."""
    assert settings_of(REDIS_URL=f"redis://x/0?{query}").redis_url == f"redis://x:6379/0?{query}"


def test_a_scheme_in_capitals_is_the_same():
    """As in any URL."""
    assert settings_of(REDIS_URL="REDIS://x/2").redis_url == "redis://x:6379/2"


def test_a_warning_names_what_was_written():
    """Not the name that the same setting has here."""
    found = settings_of(STREAMER_EXCHANGE_SYMBOLS_LIMIT="5").warnings
    assert [warning.name for warning in found] == ["STREAMER_EXCHANGE_SYMBOLS_LIMIT"]


def test_what_a_relay_reads():
    """EXCHANGE and REDIS_MAIN_KEY of its own settings, where no others are named."""
    alone = settings_of(REDIS_MAIN_KEY="m")
    several = settings_of(REDIS_MAIN_KEY="m", RELAY_EXCHANGES="Bybit, bybit", RELAY_MAIN_KEYS="a, b,a")
    assert (alone.relayed_exchanges, alone.relayed_main_keys) == (("bybit",), ("m",))
    assert (several.relayed_exchanges, several.relayed_main_keys) == (("bybit",), ("a", "b"))
    assert settings_of().relayed_main_keys == ()
    with pytest.raises(SettingsError, match=r"RELAY_EXCHANGES='bybit,nosuch': .*nosuch.*allowed: any of .*bybit"):
        settings_of(RELAY_EXCHANGES="bybit,nosuch")
