"""pybit 5.17.0, unmodified, at the simulated exchange's addresses."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from pybit import _websocket_trading, unified_trading
from pybit.unified_trading import HTTP, WebSocket, WebSocketTrading

from tests.support.simulator import SimulatorProcess

KEYS = {"api_key": "simulatorkey", "api_secret": "simulatorsecret"}


def http(sim: SimulatorProcess, **options: Any) -> HTTP:
    """pybit's REST client; its `endpoint` is a plain attribute."""
    client = HTTP(**({**KEYS, "timeout": 5} | options))
    client.endpoint = sim.rest_url
    return client


@contextmanager
def private_socket(sim: SimulatorProcess, **options: Any) -> Iterator[WebSocket]:
    """pybit's private stream: its URL is a module's constant."""
    with mock.patch.object(unified_trading, "PRIVATE_WSS", f"{sim.ws_base}/v5/private"):
        socket = WebSocket(channel_type="private", **({**KEYS, "testnet": False, "private_auth_expire": 30} | options))
    try:
        yield socket
    finally:
        socket.exit()


@contextmanager
def trade_socket(sim: SimulatorProcess, **options: Any) -> Iterator[WebSocketTrading]:
    """pybit's order entry: its URL is a module's constant."""
    with mock.patch.object(_websocket_trading, "TRADE_WSS", f"{sim.ws_base}/v5/trade"):
        socket = WebSocketTrading(**({**KEYS, "testnet": False, "private_auth_expire": 30} | options))
    try:
        yield socket
    finally:
        socket.exit()
