"""conf.endpoints: what an address means, however it is spelled."""

import pytest

from conf import checks, values
from conf.settings import Settings, SettingsError
from exchanges.registry import VENUES
from tests.support.settings import settings_of

OWN = "wss://stream.bybit.com/v5/public"


@pytest.mark.parametrize("market", ["linear", "inverse", "spot"])
@pytest.mark.parametrize(
    ("written", "used"),
    [
        (f"{OWN}/MARKET", f"{OWN}/MARKET"),
        (f" {OWN}/MARKET/ ", f"{OWN}/MARKET"),
        (f"{OWN}//MARKET#x", f"{OWN}/MARKET"),
        (f"{OWN}/MARKET?max_alive_time=5m", f"{OWN}/MARKET?max_alive_time=5m"),
        (f"{OWN}/MARKET/?a=/linear", f"{OWN}/MARKET?a=/linear"),
        ("WSS://Stream.Bybit.EU:443/V5/Public/MARKET", "wss://Stream.Bybit.EU:443/v5/public/MARKET"),
        ("ws://127.0.0.1:9/MARKET", "ws://127.0.0.1:9/MARKET"),
        ("ws://proxy/bybit/v5/public/MARKET/", "ws://proxy/bybit/v5/public/MARKET"),
    ],
)
@pytest.mark.parametrize("spell", [str.lower, str.upper, str.capitalize])
def test_the_market_is_known_however_the_path_ends(market, written, used, spell):
    """What is spot must not be published as linear."""
    settings = settings_of(BYBIT_WS_URL=written.replace("MARKET", spell(market)))
    assert settings.markets == (market,)
    assert settings.bybit_ws_url == used.replace("MARKET", market)
    assert settings.public_ws_url(market) == settings.bybit_ws_url


@pytest.mark.parametrize("url", ["wss://stream.bybit.com", "wss://stream.bybit.com/v5/", OWN, f"{OWN}/"])
def test_an_endpoint_without_a_market_is_that_of_channel_type(url):
    """And spot lies beside it."""
    settings = settings_of(BYBIT_WS_URL=url, CHANNEL_TYPE="inverse", ENABLE_SPOT_STREAM="true")
    assert [settings.public_ws_url(market) for market in settings.markets] == [f"{OWN}/inverse", f"{OWN}/spot"]


def test_spot_beside_an_endpoint_keeps_its_query():
    """It is the same server's."""
    settings = settings_of(BYBIT_WS_URL="ws://x/v5/public/linear?max_alive_time=5m", ENABLE_SPOT_STREAM="true")
    assert settings.public_ws_url("spot") == "ws://x/v5/public/spot?max_alive_time=5m"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (f"{OWN}/option", "options are not collected"),
        (f"{OWN}/Option/", "options are not collected"),
        ("ws://127.0.0.1:9/v5/public/option", "options are not collected"),
        ("wss://stream.bybit.com/v5/private", "no public endpoint"),
        ("wss://stream.bybit.com/v5/trade?x=1", "no public endpoint"),
        ("wss://stream.bybit.com/spot/public/v3", "no public endpoint"),
        (f"{OWN}/lineer", "no public endpoint"),
    ],
)
def test_what_is_not_collected_is_refused(url, reason):
    """In one line, with an example of what is."""
    with pytest.raises(SettingsError) as caught:
        settings_of(BYBIT_WS_URL=url)
    (line,) = str(caught.value).splitlines()
    assert line.startswith("BYBIT_WS_URL=")
    assert reason in line
    assert f"{OWN}/linear" in line


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("BYBIT_REST_URL", "http://127.0.0.1:{}"),
        ("BYBIT_WS_URL", "ws://127.0.0.1:{}/v5/public/linear"),
        ("REDIS_URL", "redis://127.0.0.1:{}/0"),
    ],
)
@pytest.mark.parametrize("port", ["0", "65536", "-1", "http"])
def test_a_port_nothing_can_listen_on_is_refused(name, url, port):
    """At the check of the settings, beside every other error, and not where a connection is made."""
    with pytest.raises(SettingsError) as caught:
        settings_of(**{name: url.format(port), "SYMBOLS_LIMIT": "-1"})
    (line,) = (line for line in str(caught.value).splitlines() if not line.startswith("SYMBOLS_LIMIT="))
    assert line.startswith(f"{name}='{url.format(port)}': its port must be a whole number from 1 to 65535; allowed:")


@pytest.mark.parametrize("port", ["65536", "-1", "http"])
def test_the_port_of_an_output_may_be_any_free_one(port):
    """WEBSOCKET_URL is listened on: 0 is a port there."""
    assert settings_of(WEBSOCKET_URL="ws://127.0.0.1:0").websocket_port == 0
    with pytest.raises(SettingsError, match="its port must be a whole number from 0 to 65535"):
        settings_of(WEBSOCKET_URL=f"ws://127.0.0.1:{port}")


def test_a_server_of_the_users_own_may_have_any_path():
    """A relay or a proxy; its market is CHANNEL_TYPE's."""
    settings = settings_of(BYBIT_WS_URL="ws://127.0.0.1:9/Feed/")
    assert (settings.bybit_ws_url, settings.channel_type) == ("ws://127.0.0.1:9/Feed/", "linear")


@pytest.mark.parametrize(
    ("written", "used"),
    [
        ("https://api.bybit.eu", "https://api.bybit.eu"),
        ("https://api.bybit.eu/", "https://api.bybit.eu"),
        ("https://api.bybit.eu/v5", "https://api.bybit.eu"),
        ("https://api.bybit.eu/V5//", "https://api.bybit.eu"),
        ("http://127.0.0.1:9/bybit/v5/", "http://127.0.0.1:9/bybit"),
    ],
)
def test_a_rest_address_ends_before_v5(written, used):
    """Requests add it."""
    assert settings_of(BYBIT_REST_URL=written).bybit_rest_url == used


@pytest.mark.parametrize(
    "url", ["https://api.bybit.eu/v5/market/kline", "https://api.bybit.eu?a=b", "wss://x", "api.x"]
)
def test_a_rest_address_with_more_is_refused(url):
    """By its name."""
    with pytest.raises(SettingsError, match=r"^BYBIT_REST_URL="):
        settings_of(BYBIT_REST_URL=url)


@pytest.mark.parametrize(
    ("endpoint", "rest"),
    [
        (f"{OWN}/spot", "https://api.bybit.com"),
        ("wss://stream-testnet.bybit.com/v5/public/linear", "https://api-testnet.bybit.com"),
        ("wss://stream.bybit.eu:443/v5/public/spot", "https://api.bybit.eu"),
        ("wss://stream.bytick.com/v5/public/spot", "https://api.bytick.com"),
        ("wss://stream.example.com/v5/public/spot", None),
        ("ws://127.0.0.1:9/v5/public/spot", None),
    ],
)
def test_the_exchanges_own_endpoint_gives_its_rest_address(endpoint, rest):
    """So that coins are checked and klines repaired; a server of the user's own gives none."""
    assert settings_of(BYBIT_WS_URL=endpoint).bybit_rest_url == rest
    assert settings_of(BYBIT_WS_URL=endpoint, BYBIT_REST_URL="http://mine").bybit_rest_url == "http://mine"


# -- addresses of any exchange ------------------------------------------------------------------------------------


def test_ws_url_and_rest_url_are_scheme_host_and_port() -> None:
    """A slash behind them is none of a path."""
    settings = settings_of(WS_URL="ws://127.0.0.1:9/", REST_URL="http://127.0.0.1:8")
    assert (settings.ws_url, settings.rest_address) == ("ws://127.0.0.1:9", "http://127.0.0.1:8")
    assert (settings.has_rest, settings.public_ws_url("linear")) == (True, None)


@pytest.mark.parametrize("name", ["WS_URL", "REST_URL"])
@pytest.mark.parametrize("rest", ["/v5", "/ws?x=1", "?x=1", "#x"])
def test_a_path_behind_the_address_of_an_exchange_is_refused(name: str, rest: str) -> None:
    """Every address of the exchange keeps its own."""
    scheme = "wss" if name == "WS_URL" else "https"
    with pytest.raises(SettingsError, match=rf"^{name}='.*': the paths stay those of the exchange; write scheme, host"):
        settings_of(**{name: f"{scheme}://host:1{rest}"})


@pytest.mark.parametrize(("name", "url"), [("WS_URL", "https://x"), ("REST_URL", "wss://x")])
def test_the_scheme_is_that_of_the_protocol(name: str, url: str) -> None:
    """A REST address is no stream."""
    with pytest.raises(SettingsError, match=rf"^{name}='{url}': it must begin with "):
        settings_of(**{name: url})


@pytest.mark.parametrize("name", ["BYBIT_WS_URL", "BYBIT_REST_URL"])
def test_an_address_of_bybits_is_an_error_with_another_exchange(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose streams it would be read as."""
    monkeypatch.setattr(values, "EXCHANGES", ("bybit", "okx"))
    url = "wss://stream.bybit.com/v5/public/linear" if "WS" in name else "https://api.bybit.com"
    settings = Settings.model_construct(**{**settings_of(**{name: url}).__dict__, "exchange": "okx"})
    (line,) = checks.errors(settings, {name: f"{name}='{url}'"})
    assert line == f"{name}='{url}': it is Bybit's, and EXCHANGE is okx; set {name[6:]}, or remove it"


@pytest.mark.parametrize(("general", "url"), [("WS_URL", "ws://x/v5/public/linear"), ("REST_URL", "http://x")])
def test_two_addresses_of_one_thing_are_an_error(general: str, url: str) -> None:
    """Nothing says which of them counts."""
    with pytest.raises(SettingsError, match=rf"^BYBIT_{general}=.*: {general} is set too; remove one of them"):
        settings_of(**{f"BYBIT_{general}": url, general: url.removesuffix("/v5/public/linear")})


def test_without_a_rest_address_beside_the_streams_there_is_no_rest() -> None:
    """A proxy or simulated exchange may not be the one whose REST address is known."""
    settings = settings_of(WS_URL="ws://127.0.0.1:9")
    assert not settings.has_rest
    assert ("REST_URL", "is not set beside WS_URL: klines are not repaired") in settings.warnings
    with pytest.raises(SettingsError, match=r"^LOAD_ALL_SYMBOLS='true': REST_URL is not set beside WS_URL"):
        settings_of(WS_URL="ws://127.0.0.1:9", LOAD_ALL_SYMBOLS="true")


def test_exchanges_are_the_folders_that_have_a_venue() -> None:
    """The registry and the settings know the same ones."""
    assert list(VENUES) == list(values.EXCHANGES)
    assert "bybit" in VENUES
    assert "simulated" not in VENUES
