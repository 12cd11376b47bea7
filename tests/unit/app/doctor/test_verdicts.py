"""What the doctor makes of what it was told: by the exchange, by Redis."""

import pytest
from redis.exceptions import AuthenticationError, BusyLoadingError, NoPermissionError, ResponseError, TimeoutError
from redis.exceptions import ConnectionError as RedisConnectionError

from app.doctor.exchange import Stream, judge_clock, judge_silence, judge_symbols
from app.doctor.findings import State
from app.doctor.redis_server import bytes_per_s, explain_redis, judge_buffers, judge_memory, judge_server
from app.exits import Exit
from model.events import Connected, Quarantined
from model.records import Kind
from tests.support.settings import settings_of

TRADES, BOOK = (Stream("linear", kind, "wss://example") for kind in ("trades", "orderbook"))
DEFAULT = "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60"
REPLICA = {"role": "slave", "master_host": "a", "master_port": 1}
VALKEY = {"server_name": "valkey", "valkey_version": "9.1"}
KINDS: tuple[Kind, ...] = ("trades", "orderbook", "ticker", "liquidations")


# -- clock


@pytest.mark.parametrize(
    ("offset_ms", "uncertainty_ms", "state", "words"),
    [
        (-400, 30, State.OK, "400 ms ahead of"),
        (1_020, 30, State.OK, "behind"),
        (1_200, 30, State.FAILED, "1.2 s behind the exchange's"),
        (-61_000, 30, State.FAILED, "61.0 s ahead of the exchange's"),
    ],
)
def test_a_clock_more_than_a_second_off_fails(offset_ms, uncertainty_ms, state, words):
    """By what is certain; the direction is that of this machine."""
    finding = judge_clock(offset_ms, uncertainty_ms)
    assert finding.state is state
    assert words in finding.text
    assert ("timedatectl" in finding.cure) is (state is State.FAILED)


# -- symbols


def test_a_symbol_that_no_market_lists_fails_with_the_nearest():
    """One that another market has is a warning: it is collected there."""
    unknown = {
        "linear": {"BTCUSD": "BTCUSDT", "XYZ": ""},
        "spot": {"BTCUSD": "BTCUSDC", "XYZ": "", "ABCUSDT": "ABUSDT"},
    }
    nowhere, spot = judge_symbols({"linear": ["ABCUSDT"], "spot": []}, unknown, {})
    assert (nowhere.state, nowhere.code) == (State.FAILED, Exit.SETTINGS)
    assert nowhere.text == "not listed: BTCUSD (nearest: BTCUSDT), XYZ"
    assert spot.state is State.WARNING
    assert spot.text == "not listed in the spot market: ABCUSDT (nearest: ABUSDT); collected where they are"


def test_a_symbol_of_an_entry_fails_in_its_own_market():
    """It is streamed nowhere else."""
    (finding,) = judge_symbols({"linear": ["BTCUSDT"]}, {"linear": {}}, {"inverse": {"BTCUSDX": "BTCUSD"}, "spot": {}})
    assert finding.text == "not listed in the inverse market: BTCUSDX (nearest: BTCUSD)"
    assert "STREAMS" in finding.cure


def test_settings_that_choose_nothing_fail():
    """The collector would end with 2."""
    (finding,) = judge_symbols({"linear": []}, {}, {})
    assert (finding.state, finding.code) == (State.FAILED, Exit.SETTINGS)


def test_symbols_that_are_listed_are_named():
    """A few of many."""
    names = [f"S{n}" for n in range(10)]
    (finding,) = judge_symbols({"linear": names, "spot": names[:1]}, {"linear": {}, "spot": {}}, {})
    assert (finding.state, finding.text) == (
        State.OK,
        "linear: S0, S1, S2, S3, S4, S5, S6, S7 and 2 more; spot: S0",
    )


# -- streams


def test_a_refused_topic_fails_with_the_exchanges_words():
    """It has to be mended here."""
    refused = Quarantined(topic="publicTrade.X", message="handler not found")
    finding = judge_silence(TRADES, "X", [Connected(), refused], [])
    assert (finding.state, finding.code) == (State.FAILED, Exit.SETTINGS)
    assert finding.text == "the exchange refuses publicTrade.X: handler not found"


@pytest.mark.parametrize(
    ("stream", "events", "faults", "state", "words"),
    [
        (BOOK, [Connected()], [], State.FAILED, "subscribed, but no orderbook"),
        (TRADES, [Connected()], [], State.WARNING, "subscribed; no trades"),
        (TRADES, [], [], State.FAILED, "does not answer within 5 s"),
        (TRADES, [Connected()], ["malformed_json"], State.FAILED, "cannot be read (malformed_json)"),
    ],
)
def test_silence_fails_where_data_is_due(stream, events, faults, state, words):
    """A quiet symbol has no trades for minutes; its book comes at once."""
    finding = judge_silence(stream, "BTCUSDT", events, faults)
    assert finding.state is state
    assert words in finding.text


# -- Redis


@pytest.mark.parametrize(
    ("error", "password", "code", "words"),
    [
        (AuthenticationError("Authentication required."), "", 2, "needs a password"),
        (AuthenticationError("invalid username-password pair or user is disabled."), "x", 2, "refuses the password"),
        (AuthenticationError("AUTH <password> called without any password configured"), "x", 2, "has no password"),
        (NoPermissionError("User me has no permissions to run the 'info' command"), "x", 2, "lacks a right"),
        (BusyLoadingError("loading the dataset in memory"), "", 3, "reading its data"),
        (ResponseError("DB index is out of range"), "", 2, "no database 0"),
        (RedisConnectionError("DENIED Redis is running in protected mode because"), "", 2, "protected mode"),
        (ResponseError("unknown command 'INFO'"), "", 3, "refuses INFO"),
        (TimeoutError("Timeout reading from socket"), "", 3, "no answer"),
        (RedisConnectionError("Error 111 connecting to redis:6379. Connection refused."), "", 3, "nothing listens"),
        (RedisConnectionError("what answers is no Redis: TypeError()"), "", 3, "no Redis"),
    ],
)
def test_each_way_in_which_redis_refuses_has_its_sentence(error, password, code, words):
    """And its exit code: what a setting mends is 2."""
    finding = explain_redis(error, settings_of(REDIS_PASSWORD=password), "redis:6379/0")
    assert (finding.state, int(finding.code)) == (State.FAILED, code)
    assert words in finding.text
    assert finding.cure


@pytest.mark.parametrize(
    ("info", "settings", "state", "words"),
    [
        ({**REPLICA, "slave_read_only": 1}, {}, State.FAILED, "is a read-only replica of a:1"),
        ({**REPLICA, "slave_read_only": 0}, {}, State.FAILED, "is a replica of a:1"),
        ({"cluster_enabled": 1}, {}, State.FAILED, "a node of a cluster"),
        ({"cluster_enabled": 0}, {"REDIS_CLUSTER": "kind"}, State.FAILED, "is no cluster"),
        ({"cluster_enabled": 1, "role": "slave"}, {"REDIS_CLUSTER": "kind"}, State.OK, "answers"),
        ({"cluster_enabled": 1, "cluster_state": "fail"}, {"REDIS_CLUSTER": "kind"}, State.FAILED, "have no node"),
        ({"rdb_last_bgsave_status": "err", "role": "master"}, {}, State.WARNING, "cannot save"),
        ({"redis_version": "7.2.4", "role": "master"}, {}, State.OK, "Redis 7.2.4"),
        ({**VALKEY, "config_file": "/tmp/embedded-valkey-x/valkey.conf"}, {}, State.OK, "another collector's"),
    ],
)
def test_the_kind_of_server_must_fit(info, settings, state, words):
    """A replica takes no keys, and a cluster wants SPUBLISH."""
    finding = judge_server(info, settings_of(**settings), "h:6379/0", 1.0)
    assert finding.state is state
    assert words in finding.text


@pytest.mark.parametrize(
    ("limits", "symbols", "state"),
    [
        (DEFAULT, 2, State.OK),
        (DEFAULT, 1_250, State.FAILED),
        ("normal 0 0 0 pubsub 0 0 0", 1_250, State.OK),
        ("pubsub 65536 32768 10", 2, State.FAILED),
        ("pubsub 268435456 32768 10", 2, State.FAILED),
        ("pubsub 33554432 0 0", 1_250, State.FAILED),
        (None, 2, State.WARNING),
        ("", 2, State.WARNING),
    ],
)
def test_the_buffers_of_subscribers_must_hold_a_pause(limits, symbols, state):
    """Redis cuts a subscriber off whose buffer is full; unlimited is 0."""
    finding = judge_buffers(limits, bytes_per_s(KINDS, symbols), symbols)
    assert finding.state is state
    assert ("client-output-buffer-limit" in finding.cure) is (state is not State.OK)


def test_the_limit_that_cures_is_enough():
    """Who pastes the line is not told the same again."""
    needed = bytes_per_s(KINDS, 1_250)
    cure = judge_buffers(DEFAULT, needed, 1_250).cure
    hard, soft = (int(word.removesuffix("mb")) << 20 for word in cure.split('"')[1].split()[1:3])
    assert judge_buffers(f"pubsub {hard} {soft} 60", needed, 1_250).state is State.OK


@pytest.mark.parametrize(
    ("info", "state"),
    [
        ({"maxmemory": 0, "used_memory": 10**9}, State.OK),
        ({"maxmemory": 10**9, "used_memory": 10**6, "maxmemory_policy": "noeviction"}, State.OK),
        ({"maxmemory": 10**9, "used_memory": 10**6, "maxmemory_policy": "allkeys-lru"}, State.WARNING),
        ({"maxmemory": 10**9, "used_memory": 950 * 10**6, "maxmemory_policy": "noeviction"}, State.WARNING),
    ],
)
def test_a_redis_that_forgets_or_is_full_is_a_warning(info, state):
    """Pub/Sub goes on; what is kept in keys does not."""
    assert judge_memory(info).state is state
