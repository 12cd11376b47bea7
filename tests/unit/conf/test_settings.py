"""conf.settings, conf.values and conf.checks through load_settings."""

import subprocess
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError
from redis.connection import parse_url

from conf.checks import TEST_CERTIFICATE, without_password
from conf.declarations import SETTINGS
from conf.settings import Settings, SettingsError, load_settings
from tests.support.settings import settings_of


def errors(**environ):
    """The error lines for an environment."""
    with pytest.raises(SettingsError) as caught:
        settings_of(**environ)
    return str(caught.value).splitlines()


def error(**environ):
    (line,) = errors(**environ)
    return line


WEBSOCKET = {"ENABLED_CONSUMERS": "redis,websocket", "WSS_AUTH_USER": "me", "WSS_AUTH_KEY": "hunter2"}


def test_nothing_set_gives_the_documented_defaults():
    """A machine without any setting collects two symbols into the local Redis."""
    settings = settings_of()
    assert settings.symbols == ("BTCUSDT", "ETHUSDT")
    assert settings.kline_intervals == ("1m", "5m", "15m", "1h", "4h", "1D")
    assert settings.enabled_consumers == ("redis",)
    assert settings.redis_url == "redis://localhost:6379/0"
    assert (settings.markets, settings.public_ws_url("linear")) == (("linear",), None)
    assert settings.storage_main_key == "bybit-streamer"
    assert settings.warnings == ()


def test_process_environment_is_read_when_none_is_given(monkeypatch):
    """`load_settings()` is what main.py calls."""
    monkeypatch.setenv("SYMBOLS", "SOLUSDT")
    assert load_settings(env_file=None).symbols == ("SOLUSDT",)


def test_environment_wins_over_the_file(tmp_path):
    """`.env` is the farther layer."""
    file = tmp_path / ".env"
    file.write_text("SYMBOLS=AAAUSDT\nREDIS_DB=3\n")
    settings = load_settings({"SYMBOLS": "BBBUSDT"}, file)
    assert (settings.symbols, settings.redis_db) == (("BBBUSDT",), 3)


def test_settings_are_frozen():
    """No thread changes them under another."""
    with pytest.raises(ValidationError):
        settings_of().redis_db = 1  # type: ignore[misc]  # that is the point


def test_constructing_reads_no_environment(monkeypatch):
    """Only load_settings reads it."""
    monkeypatch.setenv("REDIS_DB", "7")
    assert Settings().redis_db == 0


def test_every_error_comes_at_once_each_by_the_name_that_was_written():
    """One run names all there is to mend, between settings as well."""
    lines = errors(
        STREAMER_REDIS_PORT="abc",
        ORDERBOOK_DEPTH="-1",
        CHANNEL_TYPE="option",
        ENABLED_CONSUMERS="websocket",
        WSS_AUTH_KEY="hunter2",
    )
    assert lines == [
        "ORDERBOOK_DEPTH='-1': allowed: a whole number from 1, of the depths that the exchange has",
        "CHANNEL_TYPE='option': allowed: linear, inverse or spot",
        "STREAMER_REDIS_PORT='abc': allowed: a whole number from 1 to 65535",
        "WSS_AUTH_USER is not set: the websocket consumer needs it; clients log in with it",
    ]


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("EXCHANGE", "mtgox", "no such exchange here; allowed: "),
        ("SYMBOLS", ",", "the list is empty"),
        ("SYMBOLS", '["BTCUSDT"]', "commas between them"),
        ("SYMBOLS", "BTC USDT", "not understood: 'BTC USDT'"),
        ("LOAD_ALL_SYMBOLS", "perhaps", "allowed: true or false"),
        ("SYMBOLS_LIMIT", "0", "a whole number from 1"),
        ("SOCKET_POOL_SIZE", "0", "a whole number from 1"),
        ("RAW_STREAMS", "trades,candles", "not understood: 'candles'"),
        ("RAW_STREAMS", ",", "the list is empty"),
        ("RAW_STREAMS", "none,trades", "none stands alone; allowed: none, or any of"),
        ("BYBIT_WS_URL", "https://x", "ws://"),
        ("BYBIT_WS_URL", "wss://", "and a host"),
        ("BYBIT_REST_URL", "api.bybit.com", "https://"),
        ("RECONNECT_DELAY", "0", "above 0"),
        ("RECONNECT_DELAY", "nan", "above 0"),
        ("PING_INTERVAL", "inf", "above 0"),
        ("RECONNECT_INTERVAL_MS", "soon", "RECONNECT_INTERVAL_MS is in milliseconds"),
        ("RECONNECT_MAX_ATTEMPTS", "-1", "0 is for ever"),
        ("KLINE_INTERVALS", "1x", "not understood: '1x'"),
        ("KLINE_INTERVALS", "60", "not understood: '60'"),
        ("KLINE_INTERVALS", "0m", "not understood: '0m'"),
        ("KLINE_INTERVALS", "2w", "not understood: '2w'"),
        ("KLINE_INTERVALS", "3M", "not understood: '3M'"),
        ("KLINE_INTERVALS", "999999999d", "up to 366d"),
        ("KLINE_INTERVALS", "1m,1m", "'1m' and '1m' are the same interval"),
        ("KLINE_INTERVALS", "1h,60m", "'1h' and '60m' are the same interval"),
        ("KLINE_INTERVALS", "1d,1D", "'1d' and '1D' are the same interval"),
        ("KLINE_OPEN", "last", "prev_close or first_trade"),
        ("KLINE_CLOSE_GRACE_MS", "-1", "milliseconds"),
        ("AGGREGATION_CLOCK", "moon", "wall or event"),
        ("COUNT_BLOCK_TRADES", "some", "true or false"),
        ("COUNT_RPI_TRADES", "some", "true or false"),
        ("AUDIT_SAMPLE", "1.01", "a share from 0 (none) to 1 (all)"),
        ("AUDIT_SAMPLE", "-0.1", "a share from 0 (none) to 1 (all)"),
        ("AUDIT_SAMPLE", "5%", "a share from 0 (none) to 1 (all)"),
        ("AUDIT_CORRECT", "perhaps", "true or false"),
        ("ENABLED_CONSUMERS", "redis,my consumer", "package.module:Class"),
        ("REDIS_DB", "-1", "a whole number from 0"),
        ("REDIS_EMBEDDED", "always", "auto or never"),
        ("REDIS_URL", "localhost:6379", "redis://"),
        ("REDIS_URL", "redis://host/first", "the number of the database"),
        ("REDIS_URL", "redis://host:99999/0", "redis://"),
        ("REDIS_URL", "redis://host/99999999999999", "redis://user:password@host"),
        ("WEBSOCKET_URL", "http://x", "ws://"),
        ("WEBSOCKET_PORT", "65536", "65535"),
        ("WEBSOCKET_PATH", "stream", "begin with /"),
        ("FILE_CONSUMER_RETENTION_HOURS", "0", "above 0"),
        ("LOG_LEVEL", "loud", "debug, info, warning"),
        ("LOG_FORMAT", "xml", "json, console or a %-format"),
        ("LOG_FORMAT", "%(asctime", "json, console or a %-format"),
        ("LOG_FORMAT", "%(asctme)s %(message)s", "a log line has no field 'asctme', but asctime, levelname"),
        ("LOG_FORMAT", "%(message)d", "not understood: "),
        ("STATUS_INTERVAL", "0", "above 0"),
        ("DEMO_SECONDS", "-5", "above 0"),
    ],
)
def test_wrong_value_is_named_with_what_is_allowed(name, value, reason):
    """Name, value, and what to write instead."""
    line = error(**{name: value})
    assert line.startswith(f"{name}={value!r}: ")
    assert reason in line


def test_symbols_are_upper_case_without_doubles_in_their_order():
    """Typed as people type."""
    assert settings_of(SYMBOLS=" ethusdt, BTCUSDT,ETHUSDT,btc-26dec25, ").symbols == (
        "ETHUSDT",
        "BTCUSDT",
        "BTC-26DEC25",
    )


def test_kline_intervals_stay_as_written():
    """1m is a minute, 1M a month; 7d and 1w are different windows."""
    written = "1s,3m,1m,90m,4h,1d,7d,1w,1M"
    assert settings_of(KLINE_INTERVALS=written).kline_intervals == tuple(written.split(","))


@pytest.mark.parametrize(("written", "seconds"), [("5000", 5.0), ("250", 0.25)])
def test_reconnect_interval_in_milliseconds_becomes_the_delay_in_seconds(written, seconds):
    """The unit of the earlier system is kept with its name."""
    assert settings_of(RECONNECT_INTERVAL_MS=written).reconnect_delay == seconds


def test_words_are_read_in_any_case():
    """LOG_LEVEL=INFO as in the earlier systems."""
    settings = settings_of(
        LOG_LEVEL="INFO", CHANNEL_TYPE="Spot", REDIS_EMBEDDED="NEVER", USE_TESTNET="True", LOG_FORMAT="JSON"
    )
    assert (settings.log_level, settings.channel_type, settings.redis_embedded) == ("info", "spot", "never")
    assert (settings.use_testnet, settings.log_format) == (True, "json")


@pytest.mark.parametrize(
    ("environ", "markets"),
    [
        ({}, ("linear",)),
        ({"ENABLE_SPOT_STREAM": "true"}, ("linear", "spot")),
        ({"CHANNEL_TYPE": "inverse", "ENABLE_SPOT_STREAM": "1"}, ("inverse", "spot")),
        ({"CHANNEL_TYPE": "spot", "ENABLE_SPOT_STREAM": "true"}, ("spot",)),
    ],
)
def test_markets_are_the_main_one_and_spot_beside_it(environ, markets):
    """Spot is never collected twice."""
    assert settings_of(**environ).markets == markets


def test_spot_endpoint_lies_beside_the_main_one():
    """Only the last segment of the path differs."""
    settings = settings_of(BYBIT_WS_URL="ws://127.0.0.1:9/v5/public/linear", ENABLE_SPOT_STREAM="true")
    assert settings.public_ws_url("linear") == "ws://127.0.0.1:9/v5/public/linear"
    assert settings.public_ws_url("spot") == "ws://127.0.0.1:9/v5/public/spot"


def test_endpoint_of_a_market_chooses_the_market():
    """The spot bot's .env has BYBIT_WS_URL alone."""
    assert settings_of(BYBIT_WS_URL="wss://stream.bybit.com/v5/public/spot").markets == ("spot",)


def test_endpoint_of_another_market_than_asked_for_is_an_error():
    """Spot messages read as linear ones would be wrong in silence."""
    line = error(BYBIT_WS_URL="wss://stream.bybit.com/v5/public/spot", CHANNEL_TYPE="linear")
    assert "set CHANNEL_TYPE=spot" in line


@pytest.mark.parametrize("url", ["ws://127.0.0.1:9", "ws://127.0.0.1:9/"])
def test_endpoint_without_a_path_cannot_give_spot_beside_it(url):
    """There is nothing to replace."""
    assert "ENABLE_SPOT_STREAM" in error(BYBIT_WS_URL=url, ENABLE_SPOT_STREAM="true")


def test_redis_parts_make_a_url_the_client_reads_back():
    """Whatever stands in a password arrives as it is."""
    password = "p@ss/w:rd#?% é"
    settings = settings_of(
        REDIS_HOST="example", REDIS_PORT="1", REDIS_USER="m@e", REDIS_PASSWORD=password, REDIS_BASE="x"
    )
    parsed = parse_url(settings.redis_url)
    assert (parsed["host"], parsed["port"], parsed["db"]) == ("example", 1, 0)
    assert (parsed["username"], parsed["password"]) == ("m@e", password)


def test_redis_url_fills_the_parts_and_keeps_its_options():
    """The parts are true whichever way the address was given."""
    settings = settings_of(REDIS_URL="rediss://me:p%40ss@Example:7000/3?ssl_cert_reqs=none", REDIS_HOST="localhost")
    assert (settings.redis_host, settings.redis_port, settings.redis_db) == ("example", 7000, 3)
    assert (settings.redis_user, settings.redis_password) == ("me", SecretStr("p@ss"))
    assert settings.redis_url == "rediss://me:p%40ss@example:7000/3?ssl_cert_reqs=none"


def test_redis_url_without_password_takes_the_password_beside_it():
    """Addresses are often kept apart from their secrets; host and port are the URL's alone."""
    settings = settings_of(REDIS_URL="redis://[::1]", REDIS_PORT="7000", REDIS_PASSWORD="x", STREAMER_REDIS_BASE="2")
    assert settings.redis_url == "redis://:x@[::1]:6379/2"


def test_websocket_url_fills_the_parts():
    """WEBSOCKET_URL as in a legacy system, with a scheme that needs no certificate."""
    settings = settings_of(**WEBSOCKET, WEBSOCKET_URL="ws://0.0.0.0:9501/live", WEBSOCKET_HOST="localhost")
    assert (settings.websocket_host, settings.websocket_port, settings.websocket_path) == ("0.0.0.0", 9501, "/live")
    assert settings.websocket_tls_cert is None


def test_websocket_output_needs_credentials():
    """Nobody serves a stream without authorization by accident."""
    lines = errors(ENABLED_CONSUMERS="websocket")
    assert [line.split()[0] for line in lines] == ["WSS_AUTH_USER", "WSS_AUTH_KEY"]


def test_wss_without_certificate_shows_how_to_make_one():
    """The line can be pasted into a shell."""
    line = error(**WEBSOCKET, WEBSOCKET_URL="wss://0.0.0.0:9500")
    assert line.startswith("WEBSOCKET_URL='wss://0.0.0.0:9500': wss needs WEBSOCKET_TLS_CERT")
    assert line.endswith(TEST_CERTIFICATE)


def test_certificate_and_key_come_together(tmp_path):
    """One of the two is an error; both turn TLS on; ws:// beside them contradicts."""
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    cert.touch()
    key.touch()
    assert "WEBSOCKET_TLS_KEY is missing" in error(**WEBSOCKET, WEBSOCKET_TLS_CERT=str(cert))
    assert "WEBSOCKET_TLS_CERT is missing" in error(**WEBSOCKET, WEBSOCKET_TLS_KEY=str(key))
    both = {**WEBSOCKET, "WEBSOCKET_TLS_CERT": str(cert), "WEBSOCKET_TLS_KEY": str(key)}
    assert settings_of(**both, WEBSOCKET_URL="wss://localhost:1").websocket_tls_cert is not None
    assert "write wss://" in error(**both, WEBSOCKET_URL="ws://localhost:1")
    key.unlink()
    assert "no readable file there" in error(**both)


def test_url_of_an_output_that_is_not_enabled_is_a_warning():
    """The .env of a legacy system, which has no ENABLED_CONSUMERS, still starts."""
    settings = settings_of(WEBSOCKET_URL="wss://0.0.0.0:9500", REDIS_URL="redis://localhost:6379/0")
    assert [warning.name for warning in settings.warnings] == ["WEBSOCKET_URL"]


def test_unwritable_paths_are_errors(tmp_path):
    """Found at start, not at the first file an hour later."""
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    lines = errors(
        ENABLED_CONSUMERS="file", FILE_CONSUMER_BASE_PATH=str(in_the_way / "out"), LOG_FILE=str(in_the_way / "x.log")
    )
    assert [line.partition("=")[0] for line in lines] == ["FILE_CONSUMER_BASE_PATH", "LOG_FILE"]
    assert "not writable" in error(LOG_FILE=str(tmp_path))
    settings = settings_of(ENABLED_CONSUMERS="file", FILE_CONSUMER_BASE_PATH=str(tmp_path / "new" / "out"))
    assert settings.file_consumer_base_path == tmp_path / "new" / "out"
    assert not (tmp_path / "new").exists()


def test_file_path_is_not_checked_for_an_output_that_is_off(tmp_path):
    """A collector without file output may run where nothing is writable."""
    assert settings_of(FILE_CONSUMER_BASE_PATH="/dev/null/out").enabled_consumers == ("redis",)


def test_consumer_names_and_paths_are_taken():
    """Built in, registered, or package.module:Class; a near miss is warned of."""
    settings = settings_of(ENABLED_CONSUMERS="redis, my, shop.outputs:Mine,redis,consle")
    assert settings.enabled_consumers == ("redis", "my", "shop.outputs:Mine", "consle")
    assert [warning.advice for warning in settings.warnings] == [
        "consle must be a consumer of your own; did you mean console?"
    ]


def test_timeout_below_the_ping_is_warned_of():
    """Every quiet connection would be taken for dead."""
    (warning,) = settings_of(SILENCE_TIMEOUT="10").warnings
    assert warning.name == "SILENCE_TIMEOUT"


@pytest.mark.parametrize(
    ("environ", "warned"),
    [
        ({"REDUNDANCY": "2"}, ["REDUNDANCY"]),
        ({"REDUNDANT_SYMBOLS": "all"}, ["REDUNDANT_SYMBOLS"]),
        ({"REDUNDANCY": "2", "REDUNDANT_SYMBOLS": "BTCUSDT,NEWUSDT"}, ["REDUNDANT_SYMBOLS"]),
        ({"REDUNDANCY": "2", "REDUNDANT_SYMBOLS": "btcusdt"}, []),
        ({"REDUNDANCY": "2", "REDUNDANT_SYMBOLS": "all"}, []),
    ],
)
def test_redundancy_needs_both_its_settings(environ, warned):
    """One without the other does nothing, nor does a symbol that is not collected."""
    assert [warning.name for warning in settings_of(**environ).warnings] == warned


@pytest.mark.parametrize("environ", [{"REDUNDANCY": "3"}, {"REDUNDANT_SYMBOLS": "all,BTCUSDT"}])
def test_redundancy_is_two_of_some_or_of_all(environ):
    """Three connections are not built; all stands alone."""
    (name,) = environ
    with pytest.raises(SettingsError, match=f"{name}=.*allowed: "):
        settings_of(**environ)


def test_typo_and_hidden_alias_are_warned_of():
    """Both kinds of name without an effect."""
    settings = settings_of(KLINE_INTERVAL="1m", SYMBOLS="AAAUSDT", BYBIT_SYMBOLS="BBBUSDT")
    assert sorted(warning.name for warning in settings.warnings) == ["BYBIT_SYMBOLS", "KLINE_INTERVAL"]


def test_no_secret_is_shown_by_a_settings_object():
    """Neither printed nor in a repr."""
    settings = settings_of(**WEBSOCKET, REDIS_URL="redis://:hunter2@localhost", REDIS_PASSWORD="hunter2")
    assert "hunter2" not in f"{settings} {settings!r}"


@pytest.mark.parametrize(
    "environ",
    [
        {"REDIS_URL": "redis://:hunter2@host/x"},
        {"REDIS_URL": "redis:/me:hunter2@host"},
        {"REDIS_URL": "redis://:hun/hunter2@host:6379/0"},
        {"REDIS_URL": "http://host?password=hunter2"},
        {"BYBIT_WS_URL": "http://me:hunter2@host"},
        {"WSS_AUTH_KEY": "hunter2", "ENABLED_CONSUMERS": "websocket"},
        {"REDIS_PASSWORD": "hunter2", "REDIS_PORT": "x"},
    ],
)
def test_no_secret_is_shown_by_an_error(environ):
    """Not even of a URL that is no URL, and not in the exception's causes."""
    with pytest.raises(SettingsError) as caught:
        settings_of(**environ)
    assert "hunter2" not in f"{caught.value} {caught.value.__cause__} {caught.value.__context__}"


def test_every_secret_field_is_among_those_never_shown():
    """A new secret cannot be forgotten; URLs that hold one are masked instead."""
    secret = {
        setting.name
        for setting in SETTINGS.values()
        if "SecretStr" in str(Settings.model_fields[setting.field].annotation)
    }
    assert secret == {setting.name for setting in SETTINGS.values() if setting.allowed.is_secret} | {"REDIS_URL"}


def test_url_without_password_is_shown_whole():
    """Masking costs no information where there is nothing to mask."""
    assert without_password("redis://host:6379/0") == "redis://host:6379/0"


def test_broken_env_file_is_one_error_among_the_others(tmp_path):
    """A line that cannot be read does not hide the wrong value on the next."""
    file = tmp_path / ".env"
    file.write_text("REDIS_HOST='x\nREDIS_PORT=abc\n")
    with pytest.raises(SettingsError) as caught:
        load_settings({}, file)
    assert len(str(caught.value).splitlines()) == 2


def test_the_certificate_command_works(tmp_path):
    """What an error line advises is tried."""
    openssl = pytest.importorskip("shutil").which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    subprocess.run(TEST_CERTIFICATE.split(), cwd=tmp_path, capture_output=True, check=True, timeout=30)
    settings = settings_of(
        **WEBSOCKET,
        WEBSOCKET_URL="wss://localhost:9500",
        WEBSOCKET_TLS_CERT=str(tmp_path / "cert.pem"),
        WEBSOCKET_TLS_KEY=str(tmp_path / "key.pem"),
    )
    assert settings.websocket_tls_key == Path(tmp_path / "key.pem")


def test_where_nothing_is_streamed_it_is_warned_of():
    """RAW_STREAMS=none without klines leaves the user's own entries."""
    assert [warning.name for warning in settings_of(RAW_STREAMS="NONE", ENABLE_KLINES_STREAM="false").warnings] == [
        "RAW_STREAMS"
    ]
    assert not settings_of(RAW_STREAMS="none").warnings


@pytest.mark.parametrize(
    ("environ", "kinds"),
    [
        ({"RAW_STREAMS": "ticker"}, ("ticker", "trades")),
        ({"RAW_STREAMS": "ticker", "ENABLE_KLINES_STREAM": "false"}, ("ticker",)),
        ({"RAW_STREAMS": "trades", "ENABLE_PRICE_STREAM": "true"}, ("trades", "ticker")),
        ({"RAW_STREAMS": "trades", "STORAGE_ENABLED": "true"}, ("trades", "ticker")),
        ({"RAW_STREAMS": "trades", "RAW_RECORD": "true", "RAW_RECORD_KINDS": "orderbook"}, ("trades", "orderbook")),
        ({"RAW_STREAMS": "trades,liquidations"}, ("trades", "liquidations")),
    ],
)
def test_kinds_are_streamed_for_all_that_need_them(environ, kinds):
    """Raw channels, klines, envelopes, storage, recorder; each once."""
    assert settings_of(**environ).wanted_kinds == kinds


def test_symbols_are_redundant_where_some_are_chosen():
    """By name, or all; none where every symbol has one connection."""
    for names in ("ETHUSDT", "all"):
        assert settings_of(REDUNDANCY="2", REDUNDANT_SYMBOLS=names).has_redundancy
    assert not settings_of(REDUNDANCY="2").has_redundancy
    assert not settings_of(REDUNDANT_SYMBOLS="all").has_redundancy


def test_a_relay_has_the_outputs_that_are_not_in_redis_and_no_raw_payloads():
    """Paths that speak Bybit would refuse every topic there: they are closed, with a warning."""
    wss = {"WSS_AUTH_USER": "u", "WSS_AUTH_KEY": "k", "WEBSOCKET_EXCHANGE_PATHS": "open", "WEBSOCKET_HOST": "0.0.0.0"}
    mine = settings_of(ENABLED_CONSUMERS="redis,websocket,file", STORAGE_ENABLED="true", RAW_RECORD="true", **wss)
    relayed = mine.relayed()

    assert (relayed.outputs, relayed.websocket_exchange_paths, relayed.recorded_kinds) == (
        ("websocket", "file"),
        "off",
        (),
    )
    assert not relayed.uses_redis
    assert [warned.advice for warned in relayed.warnings if warned.name == "WEBSOCKET_EXCHANGE_PATHS"] == [
        "has no effect in a relay, which has no raw payloads: let the collectors serve these paths"
    ]
    assert mine.outputs == ("redis", "websocket", "file", "storage")
    assert "has no effect in a relay" not in " ".join(warned.advice for warned in mine.warnings)


def test_a_relay_without_an_output_is_refused():
    """What is in Redis already needs no relay."""
    with pytest.raises(SettingsError, match="a relay needs an output"):
        settings_of(ENABLED_CONSUMERS="redis").relayed()
