"""The settings of symbols, and of their share in one of several processes."""

from pathlib import Path

import pytest

from conf.env_file import HOME
from conf.settings import SettingsError
from tests.support.settings import settings_of


def warned(**environ):
    return [warning.name for warning in settings_of(**environ).warnings]


@pytest.mark.parametrize("text", ["0/2", "3/2", "2", "1/2/3", "a/b", "1/5000", "a-2/2", "a-01/2", "-0/2", "a-0"])
def test_a_wrong_shard_is_named_with_what_is_allowed(text):
    """i/n, and i at most n."""
    with pytest.raises(SettingsError, match=r"SHARD=.*allowed: i/n"):
        settings_of(SHARD=text)


@pytest.mark.parametrize(("text", "shard"), [("x-0/3", "1/3"), ("bybit-x-2/3", "3/3"), ("x-0/1", "1/1")])
def test_the_pods_of_a_stateful_set_are_numbered_by_their_names(text, shard):
    """Their ordinals begin at 0."""
    assert settings_of(SHARD=text).shard == shard


def test_shards_share_no_state():
    """Files and keys of one process's own carry its number; one process alone has the names of ever."""
    alone, second = settings_of(), settings_of(SHARD="2/3", REDIS_EMBEDDED="never", CHANNEL_TYPE="spot")
    assert (alone.state_name, alone.shard_name) == ("bybit_linear", "")
    assert (second.state_name, second.shard_name) == ("bybit_spot_shard2of3", "shard2of3")


def test_what_shards_cannot_share_is_warned_of():
    """A port, a folder, a server that ends with one of them."""
    wss = {"ENABLED_CONSUMERS": "redis,websocket,file", "WSS_AUTH_USER": "me", "WSS_AUTH_KEY": "k"}
    advice = " ".join(w.advice for w in settings_of(SHARD="1/2", **wss).warnings if w.name == "SHARD")
    assert all(name in advice for name in ("REDIS_EMBEDDED=never", "WEBSOCKET_PORT", "FILE_CONSUMER_BASE_PATH"))
    assert "SHARD" not in warned(SHARD="1/2", REDIS_EMBEDDED="never")
    assert "SHARD" not in warned(**wss)


def test_all_symbols_need_the_rest_of_the_same_exchange():
    """Streams of a simulated exchange and the listing of the real one do not go together."""
    with pytest.raises(SettingsError, match=r"LOAD_ALL_SYMBOLS='true': BYBIT_REST_URL is not set"):
        settings_of(LOAD_ALL_SYMBOLS="true", BYBIT_WS_URL="ws://x/v5/public/linear")
    settings_of(LOAD_ALL_SYMBOLS="true", BYBIT_WS_URL="ws://x/v5/public/linear", BYBIT_REST_URL="http://x")
    settings_of(LOAD_ALL_SYMBOLS="true")


@pytest.mark.parametrize("name", ["SYMBOLS_LIMIT", "SYMBOLS_PRE_MARKET"])
def test_what_works_with_all_symbols_only_is_warned_of(name):
    """A limit on two named symbols is a misunderstanding."""
    value = {"SYMBOLS_LIMIT": "5", "SYMBOLS_PRE_MARKET": "true"}[name]
    assert warned(**{name: value}) == [name]
    assert warned(**{name: value}, LOAD_ALL_SYMBOLS="true") == []


def test_redundant_symbols_of_all_need_not_be_named_in_symbols():
    """SYMBOLS has no effect then."""
    assert warned(REDUNDANCY="2", REDUNDANT_SYMBOLS="XRPUSDT", LOAD_ALL_SYMBOLS="true") == []


def test_redundant_symbols_of_a_list_of_coins_need_not_be_either(tmp_path):
    """The list takes the place of SYMBOLS."""
    path = tmp_path / "coins.json"
    wanted = {"REDUNDANCY": "2", "REDUNDANT_SYMBOLS": "XRPUSDT", "COINS_FILE": str(path)}
    assert "REDUNDANT_SYMBOLS" in warned(**wanted)
    path.touch()
    assert warned(**wanted) == []


def test_a_quote_is_one_coin_in_capitals():
    """As the exchange writes it."""
    assert settings_of(SYMBOLS_QUOTE=" usdt ").symbols_quote == "USDT"
    with pytest.raises(SettingsError, match=r"SYMBOLS_QUOTE=.*allowed: one coin"):
        settings_of(SYMBOLS_QUOTE="USDT,USDC")


def test_the_list_of_coins_is_looked_for_here_and_beside_main():
    """Also where an earlier system had it; a path of the user's own is the only one, warned of where missing."""
    here, home = Path(), HOME
    files = [Path("conf/coins.json"), Path("config/coins.json")]
    assert settings_of().coins_paths == (*(here / file for file in files), *(home / file for file in files))
    assert settings_of(COINS_FILE="mine.json").coins_paths == (Path("mine.json"), HOME / "mine.json")
    assert warned(COINS_FILE="mine.json") == warned(COINS_FILE="/no/mine.json") == ["COINS_FILE"]
    assert settings_of(COINS_FILE="/no/mine.json").coins_paths == (Path("/no/mine.json"),)
    assert settings_of(COINS_FILE="none").coins_paths == ()
    assert warned(COINS_FILE="none") == warned(COINS_FILE="x.json", LOAD_ALL_SYMBOLS="true") == []
