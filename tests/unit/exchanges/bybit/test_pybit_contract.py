"""What exchanges/bybit leans on inside pybit: an upgrade that changes it fails here, not at three in the morning."""

import inspect
import json
from typing import Any

import pybit
import pytest
from pybit import _websocket_stream as stream
from pybit import unified_trading

from exchanges.bybit.feed import BybitFeed
from exchanges.bybit.session import subscribe_message
from exchanges.bybit.subscription import Request


def feed(market: str = "linear", **options: Any) -> BybitFeed:
    return BybitFeed(market, dial=lambda url: None, report=lambda cause, sample: None, **options)


def test_the_version_is_the_one_that_was_read() -> None:
    """After an upgrade: read unified_trading.py and _websocket_stream.py again, then change this line."""
    assert pybit.VERSION == "5.17.0"


def test_building_a_feed_connects_nothing() -> None:
    """pybit opens its socket in `_connect(url)`, called last in __init__; ours is called instead."""
    assert list(inspect.signature(stream._WebSocketManager._connect).parameters) == ["self", "url"]
    assert "self._connect(self.WS_URL)" in inspect.getsource(unified_trading.WebSocket.__init__)
    assert not hasattr(feed(), "ws")


@pytest.mark.parametrize("testnet", [False, True])
@pytest.mark.parametrize("market", ["linear", "inverse", "spot", "option"])
def test_endpoints_are_the_documented_ones(market: str, testnet: bool) -> None:
    """docs: ws/connect"""
    host = "stream-testnet.bybit.com" if testnet else "stream.bybit.com"
    assert feed(market, testnet=testnet).url == f"wss://{host}/v5/public/{market}"


def test_the_url_template_has_the_fields_that_are_filled_in() -> None:
    """A new field would stay in the URL or raise."""
    assert unified_trading.PUBLIC_WSS == "wss://{SUBDOMAIN}.{DOMAIN}.com/v5/public/{CHANNEL_TYPE}"
    assert (stream.SUBDOMAIN_MAINNET, stream.SUBDOMAIN_TESTNET) == ("stream", "stream-testnet")
    assert (stream.DOMAIN_MAIN, stream.TLD_MAIN) == ("bybit", "com")


def test_an_unknown_market_is_refused_before_pybit_does() -> None:
    """Before anything is built, with those that there are."""
    with pytest.raises(ValueError, match="market is 'futures', must be one of linear"):
        feed("futures")


def test_topics_are_the_documented_ones() -> None:
    """pybit's `*_stream` methods hand template, callback and symbols to `subscribe`, which is ours."""
    bybit = feed()
    assert bybit.topics("trades", "BTCUSDT") == ["publicTrade.BTCUSDT"]
    assert bybit.topics("orderbook", ["A", "B"], 200) == ["orderbook.200.A", "orderbook.200.B"]
    assert bybit.topics("ticker", "BTCUSDT") == ["tickers.BTCUSDT"]
    assert bybit.topics("liquidations", "BTCUSDT") == ["allLiquidation.BTCUSDT"]
    assert list(inspect.signature(stream._V5WebSocketManager.subscribe).parameters) == [
        "self",
        "topic",
        "callback",
        "symbol",
    ]


def test_the_subscribe_message_is_pybits() -> None:
    """Ours is written apart, because pybit writes and sends in one step."""
    sent: list[str] = []

    class Captured(BybitFeed):
        subscribe = stream._V5WebSocketManager.subscribe

        def is_connected(self) -> bool:
            return True

    captured = Captured("linear", dial=lambda url: None, report=lambda cause, sample: None)
    captured.ws = type("Ws", (), {"send": staticmethod(sent.append)})()
    captured.trade_stream(["A", "B"], print)
    message = json.loads(sent[0])
    assert json.loads(subscribe_message(Request(message["req_id"], ("publicTrade.A", "publicTrade.B")))) == message
    captured.ws = type("Ws", (), {"close": staticmethod(lambda: None), "sock": None})()


def test_the_ping_is_bybits() -> None:
    """docs: ws/connect"""
    assert json.loads(feed().custom_ping_message) == {"op": "ping"}


def test_pybit_leaves_our_attributes_alone() -> None:
    """Names that both classes would set mean a silent overwrite."""
    theirs = set(vars(stream._V5WebSocketManager("x", testnet=False))) | set(dir(unified_trading.WebSocket))
    ours = set(vars(feed())) - theirs
    assert {"market", "url", "_dial", "_report", "_quarantine", "_ping_interval_s"} <= ours
