"""Symbols as a program hands them in: read by the one grammar (model.symbols) wherever the client is given one."""

from typing import Any

import pytest

from exchanges.bybit.client import BybitClient
from exchanges.bybit.client.cache import Series
from exchanges.bybit.client.errors import RequestError
from exchanges.bybit.client.history import History
from exchanges.bybit.client.names import body_values, camel_names
from exchanges.bybit.client.public_streams import PublicStreams


def test_a_request_names_the_symbol_as_the_exchange_does() -> None:
    """In each order of a batch too; a name is not mistaken for one."""
    assert camel_names({"symbol": " btcusdt ", "base_coin": "btc"}) == {"symbol": "BTCUSDT", "baseCoin": "btc"}
    assert camel_names({"symbol": "币安人生usdt"}) == {"symbol": "币安人生USDT"}
    assert body_values({"request": [{"symbol": "btcusdt"}]}) == {"request": [{"symbol": "BTCUSDT"}]}


def test_one_topic_is_joined_once_however_it_is_spelled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two spellings on one connection would be one topic with two beginnings."""
    joined: list[Any] = []
    monkeypatch.setattr(PublicStreams, "join", lambda _self, *request, **_options: joined.append(request[2]))
    service = BybitClient().websocket
    service.subscribe_to_trades(["btcusdt", "BTCUSDT", "币安人生usdt"], print)
    service.subscribe_to_klines("btcusdt", "5m", print)
    assert joined == [["BTCUSDT", "币安人生USDT"], ["kline.5.BTCUSDT"]]


@pytest.mark.parametrize(("category", "symbol"), [("linear", "../x"), ("linear", "BTC#USDT"), ("..", "BTCUSDT")])
def test_candles_of_no_symbol_are_refused(category: str, symbol: str) -> None:
    """Its name would become a folder's."""
    with pytest.raises(RequestError, match="no such symbol"):
        object.__new__(History).candles(Series(category, symbol, "1"), (0, 1), use_cache=True, show=False)
