"""Sending, without a server."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import requests
from pybit import _websocket_stream, _websocket_trading
from urllib3.exceptions import MaxRetryError, NewConnectionError

from exchanges.bybit.client.calls import Keys, Request
from exchanges.bybit.client.connection import ConnectionManager
from exchanges.bybit.client.private_stream import auth_message
from exchanges.bybit.client.pybit_http import make_call
from exchanges.bybit.client.trade_socket import TradeSocket
from exchanges.bybit.client.transport import Transport
from exchanges.transport import Failure

REQUEST = Request("GET", "/v5/market/time", b"", {"X-BAPI-API-KEY": "thekey"})


def failing(error: Exception) -> Transport:
    """A transport whose every sending raises."""

    class Failing(requests.Session):
        def send(self, *_args: Any, **_options: Any) -> requests.Response:
            raise error

    return Transport(ConnectionManager(url="http://x"), Failing())


@pytest.mark.parametrize(
    ("error", "was_sent"),
    [
        (requests.ReadTimeout("late"), True),
        (requests.ConnectTimeout("late"), False),
        (requests.ConnectionError(MaxRetryError(None, "/", NewConnectionError(None, "no"))), False),  # type: ignore[arg-type]
        (requests.ConnectionError("reset"), True),
        (requests.exceptions.ChunkedEncodingError("cut"), True),
        (requests.exceptions.ProxyError("no"), False),
    ],
    ids=repr,
)
def test_failures_show_whether_the_request_may_have_arrived(error: Exception, was_sent: bool) -> None:
    """Only where no connection came about it cannot have."""
    reply = failing(error).send(REQUEST)
    assert isinstance(reply, Failure)
    assert reply.was_sent is was_sent
    assert "thekey" not in reply.text


class PybitSocket:
    """What pybit's managers would send."""

    def __init__(self, kind: type[Any], **options: Any) -> None:
        self.sent: list[Any] = []
        self.manager: Any = object.__new__(kind)
        self.manager.__dict__.update(callback_directory={}, ws=self, **options)

    def send(self, text: str) -> None:
        self.sent.append(json.loads(text))


def shape(value: Any) -> Any:
    """Names and kinds of values."""
    if isinstance(value, dict):
        return {name: shape(item) for name, item in value.items()}
    return [shape(item) for item in value] if isinstance(value, list) else type(value).__name__


def test_auth_is_as_pybit_writes_it() -> None:
    """5.17, _websocket_stream.py."""
    options = {"api_key": "k", "api_secret": "s", "private_auth_expire": 1, "rsa_authentication": False}
    theirs = PybitSocket(_websocket_stream._WebSocketManager, **options)
    theirs.manager._auth()
    assert shape(json.loads(auth_message(Keys("k", "s"), 5))) == shape(theirs.sent[0])


def test_orders_are_as_pybit_writes_them() -> None:
    """5.17, _websocket_trading.py; the docs have header values as texts."""
    theirs = PybitSocket(_websocket_trading._V5TradeWebSocketManager, recv_window=5000, referral_id=None)
    params = {"category": "linear", "symbol": "A"}
    theirs.manager._send_order_operation("order.create", print, params)
    ours = _sent_by(lambda trade: trade.submit("order.create", make_call("POST", "/p", params, True), None))
    assert (ours["op"], ours["args"]) == (theirs.sent[0]["op"], theirs.sent[0]["args"])
    assert set(ours) == set(theirs.sent[0])
    assert set(ours["header"]) == set(theirs.sent[0]["header"])


def _sent_by(action: Callable[[TradeSocket], object]) -> Any:
    trade = TradeSocket("ws://x", Keys("k", "s"), dial=lambda _url: None, now_ms=lambda: 5, recv_window_ms=5000)
    link = PybitSocket(_websocket_stream._WebSocketManager)
    action(trade)
    trade.send_waiting(link)  # type: ignore[arg-type]
    return link.sent[0]
