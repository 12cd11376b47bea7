"""Settings turned into the options of packages: each field follows the setting that it is named for."""

import dataclasses
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from aggregation.klines.arithmetic import Arithmetic
from app import options as made_of
from conf.settings import Settings
from consumers.web.http import HttpAnswer, Route
from exchanges.bybit.venue import VENUE
from exchanges.contract import ConnectLimits, Refusal
from model.markets import KlineRules, MarketSpec, OpenRule
from model.pairs import unlisted
from streams import Connects, HandoverTimes
from tests.support.settings import settings_of

SHARDED = {"SHARD": "2/3"}
LOGIN = {"ENABLED_CONSUMERS": "websocket", "WSS_AUTH_USER": "me", "WSS_AUTH_KEY": "key"}
OPEN_PATHS = {**LOGIN, "WEBSOCKET_EXCHANGE_PATHS": "open"}
REDUNDANT = {"REDUNDANCY": "2", "REDUNDANT_SYMBOLS": "all"}
SERVER = {"REDIS_HOST": "127.0.0.2", "REDIS_PORT": "6380", "REDIS_USER": "me", "REDIS_PASSWORD": "pw", "REDIS_DB": "3"}
CERTIFICATE, KEY = Path(__file__), Path(__file__).with_name("conftest.py")  # only that there are files is looked at
TLS = {"WEBSOCKET_TLS_CERT": str(CERTIFICATE), "WEBSOCKET_TLS_KEY": str(KEY)}
SERVER_URL = "redis://me:pw@127.0.0.2:6380/3"


KLINE_MARKETS = ("linear", "inverse", "spot")
BY_FIRST_TRADE = tuple(Arithmetic("first_trade", is_inverse=name == "inverse") for name in KLINE_MARKETS)


def _dialect(settings: Settings) -> Any:
    dialect: Any = made_of.output_options(settings).consumers.websocket.dialect
    return dialect.options


RECORDS: Mapping[str, tuple[Callable[[Settings], Any], Mapping[str, str]]] = {
    "streams": (lambda settings: made_of.stream_options(settings, VENUE), {}),
    "feed": (made_of.feed_options, {}),
    "endpoints": (lambda settings: made_of.endpoints(settings, settings.channel_type), {}),
    "trades": (made_of.trade_rules, {}),
    "symbols": (lambda settings: made_of.symbol_rules(settings, VENUE), {}),
    "klines": (lambda settings: made_of.kline_options(settings, VENUE), {}),
    "outputs": (made_of.output_options, {}),
    "redis": (lambda settings: made_of.output_options(settings).consumers.redis, {}),
    "checkpoint": (lambda settings: made_of.output_options(settings).consumers.redis.checkpoint, {}),
    "file": (lambda settings: made_of.output_options(settings).consumers.file, {}),
    "parquet": (lambda settings: made_of.output_options(settings).consumers.parquet, {}),
    "recorder": (lambda settings: made_of.output_options(settings).recorder, {"RAW_RECORD": "true"}),
    "console": (lambda settings: made_of.output_options(settings).consumers.console, {}),
    "websocket": (lambda settings: made_of.output_options(settings).consumers.websocket, {}),
    "dialect": (_dialect, OPEN_PATHS),
    "storage": (lambda settings: made_of.output_options(settings).consumers.storage, {}),
    "history": (lambda settings: made_of.output_options(settings).consumers.history, {}),
    "store": (lambda settings: made_of.output_options(settings, has_store=True).consumers.store, {}),
    "embedded": (lambda settings: made_of.output_options(settings).embedded, {}),
}
"""How each record is made, and which settings it needs to be there."""

FIELDS: Mapping[str, Mapping[str, tuple[Mapping[str, str], object]]] = {
    "streams": {
        "market": ({"CHANNEL_TYPE": "inverse"}, "inverse"),
        "depth": ({"ORDERBOOK_DEPTH": "200"}, 200),
        "pool_size": ({"SOCKET_POOL_SIZE": "7"}, 7),
        "shard": (SHARDED, "2/3"),
        "reconnect_delay_s": ({"RECONNECT_DELAY": "3.5"}, 3.5),
        "reconnect_max_attempts": ({"RECONNECT_MAX_ATTEMPTS": "9"}, 9),
    },
    "feed": {
        "ping_interval_s": ({"PING_INTERVAL": "11"}, 11.0),
        "silence_timeout_s": ({"SILENCE_TIMEOUT": "41"}, 41.0),
        "watch_topics": ({"ORDERBOOK_CHECK": "false"}, False),
        "watch_trades": ({"RAW_STREAMS": "trades"}, False),
        "is_redundant": (REDUNDANT, True),
        "handover": ({"KLINE_CLOSE_GRACE_MS": "700"}, HandoverTimes(overlap_s=HandoverTimes.overlap_s + 0.7)),
    },
    "endpoints": {
        "stream": ({"BYBIT_WS_URL": "ws://127.0.0.1:9/v5/public/linear"}, "ws://127.0.0.1:9/v5/public/linear"),
        "ws_url": ({"WS_URL": "ws://127.0.0.1:9"}, "ws://127.0.0.1:9"),
        "rest_url": ({"BYBIT_REST_URL": "http://127.0.0.1:9"}, "http://127.0.0.1:9"),
        "testnet": ({"USE_TESTNET": "true"}, True),
    },
    "trades": {
        "count_block_trades": ({"COUNT_BLOCK_TRADES": "false"}, False),
        "count_rpi_trades": ({"COUNT_RPI_TRADES": "false"}, False),
    },
    "symbols": {
        "load_all": ({"LOAD_ALL_SYMBOLS": "true"}, True),
        "limit": ({"SYMBOLS_LIMIT": "5"}, 5),
        "quote": ({"SYMBOLS_QUOTE": "USDC"}, "USDC"),
        "symbols": ({"SYMBOLS": "SOLUSDT"}, ("SOLUSDT",)),
        "pre_market": ({"SYMBOLS_PRE_MARKET": "true"}, True),
        "refresh_s": ({"SYMBOLS_REFRESH": "17"}, 17.0),
        "has_rest": ({"BYBIT_WS_URL": "ws://127.0.0.1:9"}, False),
        "needs_pairs": ({"STORAGE_ENABLED": "true"}, True),
    },
    "klines": {
        "markets": ({"ENABLE_SPOT_STREAM": "true"}, ("linear", "spot")),
        "intervals": ({"KLINE_INTERVALS": "1s,5m"}, ("1s", "5m")),
        "arithmetics": ({"KLINE_OPEN": "first_trade"}, dict(zip(KLINE_MARKETS, BY_FIRST_TRADE, strict=True))),
        "event_clock": ({"AGGREGATION_CLOCK": "event"}, True),
        "grace_ms": ({"KLINE_CLOSE_GRACE_MS": "700"}, 700),
        "repairs": ({"KLINE_REPAIR": "false"}, False),
        "audit_sample": ({"AUDIT_SAMPLE": "0.5"}, 0.5),
        "audit_correct": ({"AUDIT_CORRECT": "true"}, True),
    },
    "outputs": {
        "markets": ({"ENABLE_SPOT_STREAM": "true"}, ("linear", "spot")),
        "enabled": ({"ENABLED_CONSUMERS": "console", "STORAGE_ENABLED": "true"}, ("console", "storage")),
        "raw_kinds": ({"RAW_STREAMS": "ticker"}, ("ticker",)),
        "stream_kinds": ({"REDIS_STREAMS": "true", "REDIS_STREAMS_KINDS": "klines,ticker"}, ("ticker",)),
        "envelope_types": ({"ENABLE_PRICE_STREAM": "true"}, ("price",)),
        "sends_status": ({"ENABLE_STATUS_STREAM": "true"}, True),
        "embedded": ({"REDIS_EMBEDDED": "never"}, None),
    },
    "redis": {
        "url": (SERVER, SERVER_URL),
        "main_key": ({"REDIS_MAIN_KEY": "everything"}, "everything"),
        "spill_path": ({"REDIS_BACKLOG_PATH": "b", **SHARDED}, Path("b/bybit_linear_shard2of3.jsonl")),
        "raw_limit": ({"RAW_QUEUE_SIZE": "123"}, 123),
        "cluster": ({"REDIS_CLUSTER": "symbol"}, "symbol"),
    },
    "checkpoint": {
        "key_prefix": ({"REDIS_MAIN_KEY": "everything", **SHARDED}, "everything:shard2of3"),
        "old_path": ({"REDIS_BACKLOG_PATH": "b", **SHARDED}, Path("b/bybit_linear_shard2of3.published.json")),
    },
    "file": {
        "base_path": ({"FILE_CONSUMER_BASE_PATH": "f"}, Path("f")),
        "markets": ({"ENABLE_SPOT_STREAM": "true"}, ("linear", "spot")),
        "retention_hours": ({"FILE_CONSUMER_RETENTION_HOURS": "9"}, 9.0),
        "max_gb": ({"FILE_CONSUMER_MAX_GB": "1.5"}, 1.5),
        "compression": ({"FILE_CONSUMER_COMPRESSION": "gzip"}, "gzip"),
    },
    "parquet": {
        "base_path": ({"PARQUET_PATH": "p"}, Path("p")),
        "markets": ({"ENABLE_SPOT_STREAM": "true"}, ("linear", "spot")),
        "retention_hours": ({"PARQUET_RETENTION_HOURS": "7"}, 7.0),
        "max_gb": ({"PARQUET_MAX_GB": "2"}, 2.0),
        "flush_s": ({"PARQUET_FLUSH_INTERVAL": "5"}, 5.0),
        "name": (SHARDED, "bybit_linear_shard2of3"),
    },
    "store": {
        "path": ({"KLINE_STORE_PATH": "s", **SHARDED}, Path("s/bybit_linear_shard2of3.sqlite")),
        "days": ({"KLINE_STORE_DAYS": "0.5"}, 0.5),
        "max_gb": ({"KLINE_STORE_MAX_GB": "3"}, 3.0),
        "marks_published": ({"ENABLED_CONSUMERS": "file"}, True),
    },
    "recorder": {
        "base_path": ({"RAW_RECORD_PATH": "r"}, Path("r")),
        "name": (SHARDED, "bybit_linear_shard2of3"),
        "kinds": ({"RAW_RECORD_KINDS": "trades"}, ("trades",)),
        "retention_hours": ({"RAW_RECORD_RETENTION_HOURS": "8"}, 8.0),
        "max_gb": ({"RAW_RECORD_MAX_GB": "3"}, 3.0),
    },
    "console": {"live": ({"CONSOLE_LIVE": "never"}, "never")},
    "websocket": {
        "host": ({"WEBSOCKET_HOST": "0.0.0.0"}, "0.0.0.0"),
        "port": ({"WEBSOCKET_PORT": "9501"}, 9501),
        "may_move": ({"WEBSOCKET_PORT": "9500"}, False),
        "path": ({"WEBSOCKET_PATH": "/market"}, "/market"),
        "user": ({"WSS_AUTH_USER": "me"}, "me"),
        "key": ({"WSS_AUTH_KEY": "secret"}, "secret"),
        "tls_cert": (TLS, CERTIFICATE),
        "tls_key": (TLS, KEY),
        "compression": ({"WEBSOCKET_COMPRESSION": "gzip"}, "gzip"),
        "client_queue": ({"WEBSOCKET_CLIENT_QUEUE": "77"}, 77),
        "max_clients": ({"WEBSOCKET_MAX_CLIENTS": "88"}, 88),
        "dialect_is_open": (OPEN_PATHS, True),
        "open_klines_s": ({"WEBSOCKET_OPEN_KLINES_INTERVAL": "2.5"}, 2.5),
    },
    "dialect": {
        "markets": ({"ENABLE_SPOT_STREAM": "true"}, ("linear", "spot")),
        "kinds": ({"RAW_STREAMS": "ticker"}, ("ticker",)),
        "depth": ({"ORDERBOOK_DEPTH": "200"}, 200),
        "intervals": ({"KLINE_INTERVALS": "1s,5m"}, ("1s", "5m")),
    },
    "storage": {
        "url": (SERVER, SERVER_URL),
        "main_key": ({"REDIS_MAIN_KEY": "everything"}, "everything"),
        "markets": ({"ENABLE_SPOT_STREAM": "true"}, ("linear", "spot")),
        "flush_size": ({"STORAGE_BUFFER_FLUSH_SIZE": "12"}, 12),
        "flush_interval_s": ({"STORAGE_BUFFER_FLUSH_INTERVAL": "2.5"}, 2.5),
        "is_cluster": ({"REDIS_CLUSTER": "kind"}, True),
    },
    "history": {
        "url": (SERVER, SERVER_URL),
        "has_klines": ({"REDIS_STREAMS_KINDS": "trades"}, False),
        "max_len": ({"REDIS_STREAMS_MAXLEN": "1234"}, 1_234),
        "spill_path": ({"REDIS_BACKLOG_PATH": "b", **SHARDED}, Path("b/bybit_linear_shard2of3.history.jsonl")),
    },
    "embedded": {
        "url": (SERVER, SERVER_URL),
        "host": (SERVER, "127.0.0.2"),
        "port": (SERVER, 6380),
        "user": (SERVER, "me"),
        "password": (SERVER, "pw"),
        "databases": (SERVER, 4),  # numbers 0 to 3
    },
}
"""What each field is, of which settings; none is its default."""

OTHERS: Mapping[str, set[str]] = {  # given to the function, of the venue, of other records, or no setting at all
    "streams": {"connects", "headers", "refusals"},
    "klines": {"consecutive_ids", "has_ids"},
    "feed": {"pong_timeout_s", "subscribe_timeout_s", "quarantine_s"},
    "symbols": {"needs_sizes", "joins_coins"},
    "outputs": {"exchange", "consumers", "recorder"},
    "redis": {
        *("raw_limit_bytes", "klines_in_memory", "backoff_first_s", "backoff_cap_s", "refused_pause_s", "checkpoint"),
        *("connect_timeout_s", "cluster_batch", "subscribers_wait_s", "reply_deadline_s", "symbol_of"),
    },
    "file": {"exchange", "collect_s", "pending_bytes"},
    "parquet": {"exchange", "names_of", "convert_rows", "pending_bytes", "retry_s", "merge_slice_s"},
    "recorder": {"exchange", "lasting_s", "queue_payloads", "block_s", "pending_bytes", "retry_s"},
    "console": {"descriptor", "status", "pair_of", "names_exchange"},
    "websocket": {
        *("descriptors", "auth_limit_s", "dialect", "login_throttle", "bridge", "serves_envelopes"),
        *("routes", "sessions", "klines", "awaited"),
    },
    "store": {"pending_bytes", "retry_s"},
    "dialect": {"symbols", "contract_sizes", "pass_on"},
    "storage": {"exchange", "owns", "pair_of", "backoff_first_s", "backoff_cap_s", "refused_pause_s"},
    "history": {
        *("raw_limit", "raw_limit_bytes", "klines_in_memory", "backoff_first_s", "backoff_cap_s", "refused_pause_s"),
        *("connect_timeout_s", "reply_deadline_s"),
    },
}


def record_of(record: str, **environ: str) -> Any:
    """Make a record of the settings that it needs and of these."""
    make, needed = RECORDS[record]
    return make(settings_of(**{**needed, **environ}))


@pytest.mark.parametrize(
    ("record", "field"), [(record, field) for record, fields in FIELDS.items() for field in fields]
)
def test_a_field_follows_its_setting(record: str, field: str) -> None:
    """And no other: all others have their defaults."""
    written, value = FIELDS[record][field]

    assert getattr(record_of(record, **written), field) == value
    assert getattr(record_of(record), field) != value


@pytest.mark.parametrize("record", RECORDS)
def test_every_field_has_its_place(record: str) -> None:
    """A field that is added has a setting, and a line here, or is named as one without."""
    names = {field.name for field in dataclasses.fields(record_of(record))}

    assert names == FIELDS[record].keys() | OTHERS.get(record, set())
    assert not FIELDS[record].keys() & OTHERS.get(record, set())


@pytest.mark.parametrize("settings", [{"KLINE_STORE": "false"}, {"ENABLE_KLINES_STREAM": "false"}])
def test_there_is_no_store_without_klines_or_where_it_is_off(settings: Mapping[str, str]) -> None:
    """Nor in a relay, which does not ask for one."""
    assert made_of.output_options(settings_of(**settings), has_store=True).consumers.store is None
    assert made_of.output_options(settings_of()).consumers.store is None


def test_candles_of_the_test_network_have_a_file_of_their_own() -> None:
    """They are others."""
    store = made_of.output_options(settings_of(USE_TESTNET="true"), has_store=True).consumers.store
    assert store is not None
    assert store.path == Path("output/store/bybit_linear_testnet.sqlite")


def test_the_connects_are_the_venues() -> None:
    """Each exchange allows others."""
    refusals = {418: Refusal("banned", 7.0)}
    venue = dataclasses.replace(VENUE, connects=ConnectLimits(5, 6.0, refusals, {"X-Size": "1"}))
    options = made_of.stream_options(settings_of(), venue)

    assert (options.connects, options.refusals, options.headers) == (Connects(5, 6.0), refusals, {"X-Size": "1"})


@pytest.mark.parametrize("market", ["linear", "spot"])
def test_each_market_has_the_url_of_its_own(market: str) -> None:
    """Of one endpoint that names no market or another one."""
    settings = settings_of(BYBIT_WS_URL="ws://127.0.0.1:9/v5/public/linear", ENABLE_SPOT_STREAM="true")

    assert made_of.endpoints(settings, market).stream == f"ws://127.0.0.1:9/v5/public/{market}"
    assert made_of.endpoints(settings_of(), market).stream is None


@pytest.mark.parametrize(
    ("record", "written", "field", "value"),
    [
        ("feed", {"ORDERBOOK_CHECK": "false"}, "watch_trades", False),
        ("klines", {}, "grace_ms", 300),
        ("klines", {"AGGREGATOR_WAITER_MODE_ENABLED": "false"}, "grace_ms", 0),
        ("klines", {"AGGREGATION_CLOCK": "event"}, "repairs", False),
        ("symbols", {"ENABLED_CONSUMERS": "console"}, "needs_pairs", False),
        ("symbols", {"ENABLED_CONSUMERS": "console", "ENABLE_PRICE_STREAM": "true"}, "needs_pairs", True),
        ("symbols", {"ENABLE_PRICE_STREAM": "true"}, "needs_pairs", False),
        ("storage", {}, "main_key", "bybit-streamer"),
        ("redis", {}, "main_key", None),
        ("websocket", LOGIN, "dialect", None),
        ("websocket", {"WEBSOCKET_EXCHANGE_PATHS": "open"}, "dialect", None),
        ("websocket", {**LOGIN, "WEBSOCKET_EXCHANGE_PATHS": "auth"}, "dialect_is_open", False),
        ("dialect", {"ENABLE_KLINES_STREAM": "false"}, "intervals", ()),
        ("outputs", {"REDIS_STREAMS_KINDS": "ticker"}, "stream_kinds", ()),
        ("outputs", {}, "recorder", None),
        ("outputs", {"REDIS_CLUSTER": "kind"}, "embedded", None),
        ("outputs", {"ENABLED_CONSUMERS": "console"}, "embedded", None),
    ],
)
def test_what_two_settings_decide(record: str, written: dict[str, str], field: str, value: object) -> None:
    """One of them alone is not enough, or takes the other's place."""
    assert getattr(record_of(record, **written), field) == value


def test_what_is_given_arrives() -> None:
    """Functions of the collector, each where it is called."""

    def owns(_symbol: str) -> bool:
        return True

    given = made_of.output_options(
        settings_of(**OPEN_PATHS),
        owns=owns,
        symbols=lambda market: (market,),
        status=lambda: {"streams": 1},
        pair_of=unlisted,
        descriptors=lambda: 5,
        contract_sizes=lambda _market, _symbol: Decimal(10),
        pass_on=len,
    )
    consumers = given.consumers
    dialect: Any = consumers.websocket.dialect

    assert (consumers.storage.owns, consumers.storage.pair_of, consumers.console.pair_of) == (owns, unlisted, unlisted)
    assert (consumers.console.status(), consumers.websocket.descriptors()) == ({"streams": 1}, 5)
    assert dialect.options.symbols("spot") == ("spot",)
    assert dialect.options.contract_sizes("linear", "BTCUSDT") == 10
    assert dialect.options.pass_on(["a"]) == 1
    assert {each.exchange for each in (given, consumers.file, consumers.parquet, consumers.storage)} == {"bybit"}


@pytest.mark.parametrize("rule", ["prev_close", "first_trade"])
def test_klines_open_by_the_rule_of_the_exchange_unless_one_is_asked_for(rule: OpenRule) -> None:
    """KLINE_OPEN not set, as in .env.example, or one of two; markets without klines have none."""
    spec = MarketSpec("linear", "UM", "linear", ("trades",), (20,), KlineRules(rule))
    venue = dataclasses.replace(
        VENUE, markets={"linear": spec, "option": dataclasses.replace(spec, name="option", klines=None)}
    )
    given = [made_of.kline_options(settings_of(KLINE_OPEN=text), venue) for text in ("", "first_trade", "prev_close")]

    assert [options.arithmetics["linear"].opens_at for options in given] == [rule, "first_trade", "prev_close"]
    assert {options.arithmetics["linear"].exchange_opens_at for options in given} == {rule}
    assert set(given[0].arithmetics) == {"linear"}


def test_channels_of_a_symbol_each_are_named_by_the_exchanges_own_payloads() -> None:
    """Where nobody asks for them no payload is read."""
    payload = b'{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1,"data":[]}'
    for cluster, symbol in {"symbol": "BTCUSDT", "kind": "", "off": ""}.items():
        options = made_of.output_options(settings_of(REDIS_CLUSTER=cluster)).consumers.redis
        assert options.symbol_of("stream:bybit_trades", payload) == symbol


@pytest.mark.parametrize("name", ["WEBSOCKET_URL", "STREAMER_WEBSOCKET_PORT"])
def test_a_port_that_is_set_by_any_name_does_not_move(name):
    """A port that programs were told of stays."""
    value = "ws://127.0.0.1:9500" if name.endswith("URL") else "9500"
    assert not made_of.output_options(settings_of(**{name: value})).consumers.websocket.may_move
    assert made_of.output_options(settings_of(WEBSOCKET_HOST="127.0.0.1")).consumers.websocket.may_move


def test_without_the_web_server_the_output_of_envelopes_answers_no_page():
    """ENABLE_WEB=false; with it the routes are there beside envelopes, and alone for fewer sockets."""
    web = made_of.WebParts(routes={"/": Route(lambda _request: HttpAnswer())})
    off, on, alone = (
        made_of.output_options(settings_of(**environ), web=web).consumers
        for environ in (LOGIN | {"ENABLE_WEB": "false"}, LOGIN, {})
    )
    assert (off.has_web, on.has_web, alone.has_web) == (False, True, True)
    assert [dict(each.websocket.routes) for each in (off, on, alone)] == [{}, web.routes, web.routes]
    assert on.websocket.max_clients == 1_000 > alone.websocket.max_clients > 40
