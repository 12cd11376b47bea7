"""Endpoints, topics and requests of exchanges/bybit/protocol.py are pybit's: an upgrade that changes one fails here."""

import json
from types import SimpleNamespace

import pybit
import pytest
from pybit import _websocket_stream as stream
from pybit.unified_trading import WebSocket

from exchanges.bybit.protocol import PING, check_market, endpoint_of, request_message, topics_of

SYMBOLS = ["BTCUSDT", "ETHUSDT"]


class PybitClient(WebSocket):  # type: ignore[misc]  # pybit has no types
    """pybit's client with a socket that records what is sent, and opens nothing."""

    def _connect(self, url: str) -> None:
        subdomain = stream.SUBDOMAIN_TESTNET if self.testnet else stream.SUBDOMAIN_MAINNET
        self.url = url.format(SUBDOMAIN=subdomain, DOMAIN=stream.DOMAIN_MAIN, TLD=stream.TLD_MAIN)
        self.sent: list[str] = []
        self.ws = SimpleNamespace(send=self.sent.append, sock=SimpleNamespace(connected=True))


def test_the_version_is_the_one_that_was_read() -> None:
    """After an upgrade: read unified_trading.py and _websocket_stream.py again, then change this line."""
    assert pybit.VERSION == "5.17.0"


@pytest.mark.parametrize("testnet", [False, True])
@pytest.mark.parametrize("market", ["linear", "inverse", "spot", "option"])
def test_endpoints_are_pybits_and_the_documented_ones(market: str, testnet: bool) -> None:
    """docs: ws/connect"""
    host = "stream-testnet.bybit.com" if testnet else "stream.bybit.com"
    assert endpoint_of(market, testnet=testnet) == f"wss://{host}/v5/public/{market}"
    assert PybitClient(market, testnet=testnet).url == endpoint_of(market, testnet=testnet)


def test_an_unknown_market_is_refused() -> None:
    """With the markets that there are."""
    with pytest.raises(ValueError, match="market is 'futures', must be one of linear"):
        check_market("futures")


def test_topics_and_requests_are_pybits() -> None:
    """Of every kind, in one subscribe request each."""
    client = PybitClient("linear", testnet=False)
    client.trade_stream(SYMBOLS, print)
    client.orderbook_stream(200, SYMBOLS, print)
    client.ticker_stream(SYMBOLS, print)
    client.all_liquidation_stream(SYMBOLS, print)
    sent = [json.loads(text) for text in client.sent]
    kinds = ("trades", "orderbook", "ticker", "liquidations")
    ours = [topics_of("linear", kind, SYMBOLS, 200) for kind in kinds]
    assert [message["args"] for message in sent] == ours
    assert [topics[0] for topics in ours] == [
        "publicTrade.BTCUSDT",
        "orderbook.200.BTCUSDT",
        "tickers.BTCUSDT",
        "allLiquidation.BTCUSDT",
    ]
    assert [json.loads(request_message("subscribe", each["req_id"], each["args"])) for each in sent] == sent


def test_the_ping_is_pybits_and_the_documented_one() -> None:
    """docs: ws/connect"""
    assert json.loads(PING) == json.loads(PybitClient("linear", testnet=False).custom_ping_message) == {"op": "ping"}
