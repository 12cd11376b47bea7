"""The AsyncAPI document, by the settings."""

import io
import json

import pytest

from app.cli import schema
from app.exits import Exit
from app.schema.document import document
from app.schema.http_api import PATHS
from conf.values import EXCHANGES
from consumers.web.api import ApiOptions, DataApi
from consumers.web.live.history import Past
from tests.support.settings import settings_of

WEBSOCKET = {"ENABLED_CONSUMERS": "redis,websocket", "WSS_AUTH_USER": "bot", "WSS_AUTH_KEY": "s3cret-key"}


def addresses(**environ):
    return {channel["address"] for channel in document(settings_of(**environ))["channels"].values()} - PATHS.keys()


def references(value):
    """Every reference within a document."""
    if isinstance(value, dict):
        yield from [value["$ref"]] if "$ref" in value else []
        value = list(value.values())
    for each in value if isinstance(value, list) else []:
        yield from references(each)


def test_the_channels_are_those_of_the_settings():
    """Of the main market, of one beside it, and of the outputs that there are."""
    main = {f"stream:bybit_{kind}" for kind in ("trades", "orderbook", "ticker", "liquidations", "klines", "status")}
    spot = {f"stream:bybit_spot_{kind}" for kind in ("trades", "orderbook", "ticker")}
    assert addresses() == main
    assert addresses(ENABLE_SPOT_STREAM="true", REDIS_MAIN_KEY="all") == {*main, *spot, "all"}
    assert addresses(RAW_STREAMS="trades", ENABLE_KLINES_STREAM="false") == {
        "stream:bybit_trades", "stream:bybit_status",
    }  # fmt: skip
    assert addresses(**WEBSOCKET, WEBSOCKET_PATH="/feed") == {*main, "/feed"}
    assert addresses(ENABLED_CONSUMERS="console") == set()
    by_symbol = addresses(REDIS_CLUSTER="symbol", RAW_STREAMS="trades")
    assert by_symbol == {"stream:bybit_trades:{symbol}", "stream:bybit_klines:{symbol}", "stream:bybit_status"}


def test_the_paths_of_http_are_there_where_they_are_served(tmp_path):
    """All that there are, with what a query may have."""
    (tmp_path / "pem").touch()
    tls = dict.fromkeys(("WEBSOCKET_TLS_CERT", "WEBSOCKET_TLS_KEY"), tmp_path / "pem")
    found = document(settings_of(**tls, **WEBSOCKET))
    api = DataApi(ApiOptions("bybit", "1", dict, lambda: None, lambda *_: Past()))
    assert {*api.routes()} == {*PATHS} <= {channel["address"] for channel in found["channels"].values()}
    api.stop()
    assert found["servers"]["http"]["protocol"] == "https"
    assert found["channels"]["http_klines"]["address"] == "/api/klines"
    assert found["operations"]["get_http_klines"]["bindings"]["http"]["query"]["required"] == ["symbol"]
    assert "http" not in document(settings_of(ENABLE_WEB="false"))["servers"]


def test_the_websocket_sends_what_the_settings_ask_for():
    """Beside answers: klines, and no ticker that is not sent."""
    found = document(settings_of(**WEBSOCKET, ENABLE_PRICE_STREAM="true"))
    sent = found["channels"]["websocket"]["messages"]
    assert {"KlinesEnvelope", "PriceEnvelope", "Request", "Reply", "Login"} <= sent.keys()
    assert "TickerEnvelope" not in sent
    assert found["operations"]["receive_request"]["reply"]["messages"][0]["$ref"].endswith("/Reply")


def test_servers_are_named_as_the_settings_name_them_without_a_secret():
    """Host, port, database and TLS; that there is a login, and not which."""
    environ = {**WEBSOCKET, "REDIS_URL": "rediss://me:hunter2@[::1]:6380/3", "WEBSOCKET_PORT": "9700"}
    found = document(settings_of(**environ))
    redis, websocket = found["servers"]["redis"], found["servers"]["websocket"]
    assert (redis["protocol"], redis["host"], redis["pathname"]) == ("rediss", "[::1]:6380", "/3")
    assert (websocket["protocol"], websocket["host"]) == ("ws", "127.0.0.1:9700")
    assert redis["security"]
    assert "security" not in document(settings_of())["servers"]["redis"]
    assert not [secret for secret in ("hunter2", "s3cret-key") if secret in json.dumps(found)]


def test_what_is_kept_in_redis_is_named_where_it_is_kept():
    """Hashes of the storage with the months' klines, streams of the history."""
    environ = {"STORAGE_ENABLED": "true", "REDIS_STREAMS": "true", "KLINE_INTERVALS": "1m,1M", "REDIS_MAIN_KEY": "mine"}
    keys = [each["key"] for each in document(settings_of(**environ))["x-redis-keys"]]
    assert keys == [
        "mine:tickers:linear", "mine:price:linear", "mine:last-closed:linear:1m", "mine:last-closed:linear:1M",
        "bybit_futures:{coin}", "stream:bybit_klines",
    ]  # fmt: skip
    assert document(settings_of())["x-redis-keys"] == []


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_every_reference_of_the_document_of_an_exchange_leads_somewhere(exchange):
    """With all outputs."""
    environ = {**WEBSOCKET, "EXCHANGE": exchange, "STORAGE_ENABLED": "true", "REDIS_STREAMS": "true"}
    found = document(settings_of(**environ))
    for reference in set(references(found)):
        value = found
        for part in reference.removeprefix("#/").split("/"):
            value = value[part]


def test_the_command_prints_json_or_what_is_wrong_with_the_settings(capsys):
    """As every command does: 2 for wrong settings, a line per mistake."""
    with pytest.MonkeyPatch.context() as patch:
        output = io.StringIO()
        assert schema(output) == Exit.ASKED
        assert json.loads(output.getvalue())["asyncapi"] == "3.0.0"
        patch.setenv("KLINE_INTERVALS", "soon")
        assert schema(output) == Exit.SETTINGS
