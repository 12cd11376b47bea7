"""conf.names."""

import pytest

from conf.declarations import ALL_NAMES, SETTINGS
from conf.names import near_misses, resolve, without_service_links

# Every name in the example files of the earlier systems.
LEGACY_NAMES = """
    STREAMER_EXCHANGE STREAMER_EXCHANGE_SYMBOLS STREAMER_EXCHANGE_LOAD_ALL_SYMBOLS
    STREAMER_EXCHANGE_SYMBOLS_LIMIT STREAMER_EXCHANGE_SOCKET_POOL_SIZE STREAMER_KLINE_INTERVALS
    STREAMER_AGGREGATOR_WAITER_MODE_ENABLED STREAMER_ENABLE_KLINES_STREAM STREAMER_ENABLE_PRICE_STREAM
    STREAMER_ENABLE_TICKER_STREAM STREAMER_ENABLE_TRADES_STREAM STREAMER_ENABLE_SPOT_STREAM
    STREAMER_ENABLED_CONSUMERS STREAMER_REDIS_HOST STREAMER_REDIS_PORT STREAMER_REDIS_USER
    STREAMER_REDIS_PASSWORD STREAMER_REDIS_BASE STREAMER_REDIS_MAIN_KEY STREAMER_REDIS_URL
    STREAMER_WEBSOCKET_HOST STREAMER_WEBSOCKET_PORT STREAMER_WEBSOCKET_PATH STREAMER_WSS_AUTH_KEY
    STREAMER_WSS_AUTH_USER STREAMER_STORAGE_ENABLED STREAMER_STORAGE_BUFFER_FLUSH_SIZE
    STREAMER_STORAGE_BUFFER_FLUSH_INTERVAL STREAMER_LOG_LEVEL STREAMER_LOG_FORMAT STREAMER_LOG_FILE
    BYBIT_SYMBOLS KLINE_INTERVALS REDIS_URL WEBSOCKET_URL WSS_AUTH_KEY WSS_AUTH_USER REDIS_HOST REDIS_PORT
    REDIS_PASSWORD REDIS_DB USE_TESTNET CHANNEL_TYPE RECONNECT_DELAY BYBIT_WS_URL LOG_LEVEL
    RECONNECT_INTERVAL_MS RECONNECT_MAX_ATTEMPTS
"""


def found(*layers):
    return resolve(layers)[0]


def warned(*layers):
    return [warning.name for warning in resolve(layers)[1]]


@pytest.mark.parametrize(
    ("canonical", "alias"), [(setting.name, alias) for setting in SETTINGS.values() for alias in setting.names[1:]]
)
def test_each_alias_is_read_for_its_setting(canonical, alias):
    """The .env of an earlier system works."""
    assert found({alias: "7"})[canonical].value == "7"


def test_each_name_belongs_to_one_setting():
    """No name is read for two settings."""
    names = [name for setting in SETTINGS.values() for name in setting.names]
    assert len(names) == len(set(names)) == len(ALL_NAMES)


def test_names_of_legacy_systems_are_all_read():
    """Each name in the earlier systems' example files finds its setting."""
    assert set(LEGACY_NAMES.split()) <= ALL_NAMES


def test_canonical_name_wins_and_the_other_is_warned_of():
    """Two names of one setting in one place: the documented one holds, and the other is warned of."""
    layer = {"STREAMER_REDIS_HOST": "old", "REDIS_HOST": "new"}
    assert found(layer)["REDIS_HOST"].value == "new"
    assert warned(layer) == ["STREAMER_REDIS_HOST"]


def test_two_names_that_agree_are_not_warned_of():
    """No warning where nothing is lost."""
    assert warned({"STREAMER_REDIS_HOST": "same", "REDIS_HOST": "same"}) == []


def test_nearer_layer_wins_under_any_name():
    """An environment variable beats `.env`, even an alias the canonical name."""
    assert found({"STREAMER_REDIS_HOST": "environment"}, {"REDIS_HOST": "file"})["REDIS_HOST"].value == "environment"


def test_empty_value_sets_nothing():
    """Within one layer the name with a value is taken; an alias may fill an empty line."""
    assert "REDIS_HOST" not in found({"REDIS_HOST": "  "})
    assert found({"LOG_FILE": "", "STREAMER_LOG_FILE": "x.log"})["LOG_FILE"].value == "x.log"


def test_empty_environment_variable_blanks_the_line_in_the_file():
    """`REDIS_PASSWORD= python main.py` means no password."""
    assert "REDIS_PASSWORD" not in found({"REDIS_PASSWORD": ""}, {"REDIS_PASSWORD": "secret"})


def test_parts_in_the_environment_beat_a_url_in_the_file():
    """`REDIS_HOST=localhost python main.py` does not publish to the address in `.env`."""
    layers = {"REDIS_HOST": "localhost"}, {"REDIS_URL": "redis://production:6379/0"}
    assert "REDIS_URL" not in found(*layers)
    assert warned(*layers) == ["REDIS_URL"]


def test_url_beats_parts_of_its_own_layer():
    """A copied example with a URL filled in works."""
    assert "REDIS_URL" in found({"REDIS_HOST": "localhost", "REDIS_URL": "redis://other"})


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("KLINE_INTERVAL", "KLINE_INTERVALS"),
        ("REDIS_PASWORD", "REDIS_PASSWORD"),
        ("ENABLE_CONSUMERS", "ENABLED_CONSUMERS"),
        ("STREAMER_KLINE_INTERVAL", "STREAMER_KLINE_INTERVALS"),
    ],
)
def test_typo_is_warned_of_with_the_nearest_name(name, nearest):
    """A misspelt setting is not ignored in silence."""
    (warning,) = near_misses([{name: "1"}])
    assert warning.name == name
    assert f"did you mean {nearest}?" in warning.advice


@pytest.mark.parametrize(
    "name", ["REDIS_PORT_6379_TCP", "LOG_DIR", "PATH", "STREAMER_HOST", "BYBIT_API_KEY", "REDIS_HOST"]
)
def test_names_of_others_are_left_alone(name):
    """The environment is shared: other programs' variables are no typos of ours."""
    assert near_misses([{name: "1"}]) == []


def test_unknown_streamer_name_is_always_warned_of():
    """Nobody else's names begin so."""
    assert [warning.name for warning in near_misses([{"STREAMER_FOO": "1"}])] == ["STREAMER_FOO"]


def test_in_the_file_any_near_name_is_warned_of():
    """`.env` is ours: a typo in the first word counts there too."""
    assert [warning.name for warning in near_misses([{}, {"SYMBOL": "X"}])] == ["SYMBOL"]
    assert near_misses([{"SYMBOL": "X"}, {}]) == []


@pytest.mark.parametrize("link", ["tcp://10.0.0.1:6379", "tcp://[fd00::1]:6379", "udp://10.0.0.1:53", " TCP://X:1 "])
@pytest.mark.parametrize("name", ["REDIS_PORT", "STREAMER_REDIS_PORT", "WEBSOCKET_PORT", "STREAMER_WEBSOCKET_PORT"])
def test_what_kubernetes_sets_about_a_service_is_ignored_with_one_line(name, link):
    """A service called redis, streamer-redis or websocket: its links have the names of settings."""
    environ, warned = without_service_links({name: link, "REDIS_HOST": "cache"})

    assert environ == {"REDIS_HOST": "cache"}
    assert [warning.name for warning in warned] == [name]


def test_the_other_names_of_a_service_are_no_typing_errors():
    """Ten of them for each service."""
    names = ["SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_WSS", "PORT_6379_TCP", "PORT_6379_TCP_ADDR"]
    found = {f"{service}_{name}": "x" for service in ("REDIS", "STREAMER_BYBIT", "WEBSOCKET") for name in names}
    environ, warned = without_service_links({**found, "STREAMER_BYBIT_PORT": "tcp://10.0.0.1:9500"})

    assert (environ, warned) == ({}, [])


def test_an_address_that_is_no_link_is_left_to_its_own_error():
    """Somebody wrote it."""
    assert without_service_links({"REDIS_URL": "tcp://10.0.0.1:6379"}) == (
        {"REDIS_URL": "tcp://10.0.0.1:6379"},
        [],
    )


def test_a_link_hides_no_line_of_the_file():
    """What is ignored sets nothing: neither of the port, nor of a whole address further away."""
    environ, _ = without_service_links({"REDIS_PORT": "tcp://10.0.0.1:6379"})

    assert found(environ, {"REDIS_PORT": "7000"})["REDIS_PORT"].value == "7000"
    assert "REDIS_URL" in found(environ, {"REDIS_URL": "redis://other"})
