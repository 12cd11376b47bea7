"""Entries of STREAMS that name topics: subscribed as they are named, on every exchange."""

import pytest

import main
from app.entries import EntryReader
from exchanges.registry import VENUES
from tests.support.settings import settings_of


def request_of(exchange, topics, market=None):
    """What an entry of topics asks for, where every name means BTCUSDT to the listing."""
    reader = EntryReader(settings_of(EXCHANGE=exchange), VENUES[exchange], main.SUBSCRIBE, lambda *_: None)
    reader.resolve = lambda _market, _symbols: ["BTCUSDT"]
    request = reader.request_of(main.subscribe_topics, (topics, print, market), {})
    assert request is not None
    return request.kind, request.depth, request.symbols


@pytest.mark.parametrize(
    ("exchange", "topics", "expected"),
    [
        ("bybit", ["publicTrade.ETHUSDT"], ("trades", None, ["ETHUSDT"])),
        ("okx", ["books5:ETH-USDT-SWAP"], ("orderbook", 5, ["ETH-USDT-SWAP"])),
        ("binance", ["ethusdt@depth@100ms"], ("orderbook", 1000, ["ETHUSDT"])),
    ],
)
def test_topics_that_a_kind_names_so_are_of_that_kind(exchange, topics, expected):
    """Watched and proven as such; a coin is not looked for in them."""
    assert request_of(exchange, topics) == expected


@pytest.mark.parametrize(
    ("exchange", "topics", "market"),
    [
        ("binance", ["ethusdt@depth@500ms"], "linear"),  # the kind has that of 100 ms
        ("binance", ["ethusdt@depth"], "spot"),
        ("okx", ["liquidation-orders:SWAP", "liquidation-orders:FUTURES"], "linear"),
        ("okx", ["liquidation-orders:SWAP"], "linear"),  # the kind has the market's alone of it
        ("bybit", ["orderbook.500.XRPUSDT"], "linear"),
    ],
)
def test_topics_that_no_kind_names_so_stay_as_they_are(exchange, topics, market):
    """Not those of the kind's own choice in their place."""
    assert request_of(exchange, topics, market) == ("topics", None, topics)
