"""What the settings ask of an exchange that it does not have."""

import dataclasses
from typing import Any

import pytest

from app import cli
from app.arguments import parser
from app.exits import Exit
from app.options import kinds_of
from app.venue_checks import check_settings, depth_of
from conf.settings import SettingsError
from exchanges.bybit.venue import VENUE
from exchanges.contract import Venue
from model.markets import KlineRules, MarketSpec
from tests.support.collector import collector_of
from tests.support.settings import settings_of

RULES = KlineRules("first_trade")
OTHER = dataclasses.replace(
    VENUE,
    name="other",
    markets={
        "linear": MarketSpec("linear", "SWAP", "linear", ("trades", "ticker", "orderbook"), (400, 5, 1), RULES, True),
        "spot": MarketSpec("spot", "SPOT", "spot", ("trades", "ticker", "orderbook"), (5, 1), RULES),
    },
    dialect=None,
)
WEBSOCKET = {"ENABLED_CONSUMERS": "websocket", "WSS_AUTH_USER": "u", "WSS_AUTH_KEY": "k"}


def errors(venue: Venue, **environ: Any) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        check_settings(settings_of(**environ), venue)
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    ("venue", "environ", "line"),
    [
        (
            VENUE,
            {"ORDERBOOK_DEPTH": "500"},
            "ORDERBOOK_DEPTH='500': bybit has no books of this depth in linear; allowed: 50, 1, 200, 1000",
        ),
        (
            OTHER,
            {"ORDERBOOK_DEPTH": "50", "ENABLE_SPOT_STREAM": "true"},
            "ORDERBOOK_DEPTH='50': other has no books of this depth in linear and spot; allowed: 5, 1",
        ),
        (
            OTHER,
            {"ORDERBOOK_DEPTH": "400", "ENABLE_SPOT_STREAM": "true"},
            "ORDERBOOK_DEPTH='400': other has no books of this depth in spot; allowed: 5, 1",
        ),
        (
            OTHER,
            {"CHANNEL_TYPE": "inverse", "ORDERBOOK_DEPTH": "400"},
            "CHANNEL_TYPE='inverse': other has no such market; allowed: linear, spot",
        ),
        (
            OTHER,
            {"RAW_STREAMS": "trades,liquidations"},
            "RAW_STREAMS='trades,liquidations': other has no liquidations in linear; allowed: trades, orderbook, "
            "ticker",
        ),
        (
            VENUE,
            {"RAW_RECORD_KINDS": "liquidations", "CHANNEL_TYPE": "spot"},
            "RAW_RECORD_KINDS='liquidations': bybit has no liquidations in spot; allowed: trades, orderbook, ticker",
        ),
        (
            OTHER,
            {"REDIS_STREAMS_KINDS": "klines,liquidations"},
            "REDIS_STREAMS_KINDS='klines,liquidations': other has no liquidations in linear; allowed: trades, "
            "orderbook, ticker",
        ),
        (
            OTHER,
            {"WEBSOCKET_EXCHANGE_PATHS": "auth"},
            "WEBSOCKET_EXCHANGE_PATHS='auth': no protocol of other is served; allowed: off",
        ),
        (
            VENUE,
            {**WEBSOCKET, "WEBSOCKET_PATH": "/v5/public/linear", "WEBSOCKET_EXCHANGE_PATHS": "auth"},
            "WEBSOCKET_PATH='/v5/public/linear': with WEBSOCKET_EXCHANGE_PATHS this path is bybit's; allowed: another "
            "path, as /",
        ),
        (
            dataclasses.replace(OTHER, has_testnet=False),
            {"USE_TESTNET": "true"},
            "USE_TESTNET='true': other has no test network of its markets; allowed: false",
        ),
        (
            OTHER,
            {"WS_URL": "ws://127.0.0.1:9"},
            "WS_URL='ws://127.0.0.1:9': REST_URL is not set; what a contract of other is worth is read there",
        ),
    ],
)
def test_what_an_exchange_does_not_have_is_an_error_with_what_it_has(
    venue: Venue, environ: dict[str, str], line: str
) -> None:
    """In a line that begins with the setting."""
    assert errors(venue, **environ) == [line]


def test_beside_a_wrong_market_is_wrong_what_no_market_has() -> None:
    """The market that stands in for it is none that the user named."""
    lines = ["ORDERBOOK_DEPTH='7': other has no books of this depth; allowed: 400, 5, 1"]
    lines += ["RAW_STREAMS='liquidations': other has no liquidations; allowed: trades, orderbook, ticker"]
    environ = {"ORDERBOOK_DEPTH": "7", "RAW_STREAMS": "liquidations"}
    assert errors(OTHER, CHANNEL_TYPE="inverse", **environ)[1:] == lines
    with pytest.raises(SettingsError) as not_allowed:
        settings_of(CHANNEL_TYPE="option", **environ)
    assert not_allowed.value.sound
    with pytest.raises(SettingsError) as caught:
        check_settings(not_allowed.value.sound, OTHER)
    assert str(caught.value).splitlines() == lines


def test_redundancy_is_refused_where_trades_have_no_ids_with_all_other_errors() -> None:
    """Two connections would send every trade twice; where there are ids it is right."""
    venue = dataclasses.replace(VENUE, name="other", trade_keys=None)
    environ = {"REDUNDANCY": "2", "REDUNDANT_SYMBOLS": "all"}
    assert errors(venue, ORDERBOOK_DEPTH="500", **environ) == [
        "ORDERBOOK_DEPTH='500': other has no books of this depth in linear; allowed: 50, 1, 200, 1000",
        "REDUNDANCY='2': messages of other name no ids, by which trades of two connections are told apart; allowed: 1",
    ]
    check_settings(settings_of(**environ), VENUE)


def test_a_spot_market_that_is_not_there_is_an_error() -> None:
    """Where it is asked for beside the main one."""
    venue = dataclasses.replace(OTHER, markets={"linear": OTHER.markets["linear"]})
    assert errors(venue, ENABLE_SPOT_STREAM="true") == [
        "ENABLE_SPOT_STREAM='true': other has no spot market here; allowed: false"
    ]


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"CHANNEL_TYPE": "spot"},
        {"RAW_STREAMS": "trades,orderbook,ticker,liquidations"},
        {"RAW_STREAMS": "none"},
        {"ENABLE_SPOT_STREAM": "true", "RAW_STREAMS": "trades"},
        {"WS_URL": "ws://x", "ENABLE_KLINES_STREAM": "false"},
        {"WS_URL": "ws://x", "REST_URL": "http://x"},
    ],
)
def test_defaults_written_out_and_what_there_is_are_right(environ: dict[str, str]) -> None:
    """A .env that is a copy of .env.example serves every exchange."""
    for venue in (VENUE, OTHER):
        check_settings(settings_of(**environ), venue)


def test_the_name_that_was_written_is_named() -> None:
    """An alias of an earlier system."""
    (line,) = errors(dataclasses.replace(OTHER, markets={}), STREAMER_ENABLE_SPOT_STREAM="true")[1:]
    assert line.startswith("STREAMER_ENABLE_SPOT_STREAM='true'")


@pytest.mark.parametrize(
    ("venue", "environ", "depth"),
    [
        (VENUE, {}, 50),
        (VENUE, {"CHANNEL_TYPE": "spot"}, 50),
        (VENUE, {"ORDERBOOK_DEPTH": "200"}, 200),
        (OTHER, {}, 400),
        (OTHER, {"ENABLE_SPOT_STREAM": "true"}, 5),
        (OTHER, {"CHANNEL_TYPE": "spot"}, 5),
    ],
)
def test_the_usual_depth_is_the_exchanges(venue: Venue, environ: dict[str, str], depth: int) -> None:
    """One that every collected market has."""
    assert depth_of(settings_of(**environ), venue) == depth


def test_what_a_market_does_not_have_is_not_streamed() -> None:
    """Spot has no liquidations."""
    settings = settings_of()
    kinds = [kinds_of(settings, VENUE.markets[market]) for market in ("linear", "spot")]
    assert kinds == [("trades", "orderbook", "ticker", "liquidations"), ("trades", "orderbook", "ticker")]


def test_a_collector_names_every_mistake_at_once(tmp_path: Any) -> None:
    """Of the exchange, of the list of coins and of entries; no entries where the market itself is wrong."""
    coins = tmp_path / "coins.json"
    coins.write_text("[]")
    wrong: dict[str, str] = {"ORDERBOOK_DEPTH": "7", "COINS_FILE": str(coins), "ENABLED_CONSUMERS": "redis"}
    with pytest.raises(SettingsError) as caught:
        collector_of(settings_of(**wrong), [{"name": "mine"}])
    assert [line.split("=")[0].split("[")[0] for line in str(caught.value).splitlines()] == [
        "ORDERBOOK_DEPTH",
        "COINS_FILE",
        "STREAMS",
    ]
    with pytest.raises(SettingsError) as caught:
        collector_of(settings_of(**wrong, CHANNEL_TYPE="inverse"), [{"name": "mine"}], OTHER)
    assert [line.split("=")[0] for line in str(caught.value).splitlines()] == [
        "CHANNEL_TYPE",
        "ORDERBOOK_DEPTH",
        "COINS_FILE",
    ]


def test_an_audit_ends_with_2_where_the_exchange_lacks_what_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    """As a collector does."""
    asked = parser().parse_args(["audit", "--from", "2026-01-01"])
    assert cli.audit(asked, settings_of(ORDERBOOK_DEPTH="7")) == Exit.SETTINGS
    assert "ORDERBOOK_DEPTH='7'" in capsys.readouterr().err
