"""An unmodified Bybit client on a running collector: it works as at the exchange."""

import threading
import time
from typing import Any

import pybit.unified_trading
import pytest
from pybit.unified_trading import WebSocket

from tests.acceptance.harness import CollectorProcess, Subscriber
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until


@pytest.fixture
def settings(valkey, free_port):
    return {
        "SYMBOLS": "BTCUSDT,ETHUSDT",
        "REDIS_PORT": valkey.port,
        "KLINE_INTERVALS": "1m,1s",
        "ENABLED_CONSUMERS": "redis,websocket",
        "WEBSOCKET_PORT": free_port,
        "WSS_AUTH_USER": "user",
        "WSS_AUTH_KEY": "s3cret-key",
        "WEBSOCKET_EXCHANGE_PATHS": "open",
        "WEBSOCKET_OPEN_KLINES_INTERVAL": 0.2,
    }


def test_pybit_gets_trades_books_tickers_and_candles(tmp_path, valkey, settings, free_port, monkeypatch):
    """Trades as the exchange sent them, a book that begins with a snapshot, candles that are open and move."""
    monkeypatch.setattr(pybit.unified_trading, "PUBLIC_WSS", f"ws://127.0.0.1:{free_port}/v5/public/{{CHANNEL_TYPE}}")
    got: dict[str, list[dict[str, Any]]] = {name: [] for name in ("trades", "book", "ticker", "kline")}
    before = set(threading.enumerate())
    with (
        SimulatorProcess("--rate", 300, "--symbols", 2, "--illiquid", 0) as sim,
        Subscriber(valkey.port) as subscriber,
        CollectorProcess(tmp_path, BYBIT_WS_URL=sim.ws_url("linear"), **settings) as collector,
    ):
        wait_until(lambda: subscriber.klines())
        client = WebSocket(channel_type="linear", testnet=False)
        client.trade_stream("BTCUSDT", got["trades"].append)
        client.orderbook_stream(50, "BTCUSDT", got["book"].append)
        client.ticker_stream("BTCUSDT", got["ticker"].append)
        client.kline_stream(1, "BTCUSDT", got["kline"].append)
        wait_until(lambda: all(len(messages) > 5 for messages in got.values()))
        client.exit()
        assert collector.stop() == 0
    wait_until(lambda: not [t for t in set(threading.enumerate()) - before if "ping" in t.name.lower()])
    assert got["trades"][0]["topic"] == "publicTrade.BTCUSDT"
    assert got["ticker"][-1]["data"]["symbol"] == "BTCUSDT"
    assert {"b", "a", "u"} <= got["book"][0]["data"].keys()
    candles = [message["data"][0] for message in got["kline"]]
    assert {candle["interval"] for candle in candles} == {"1"}
    assert any(not candle["confirm"] for candle in candles)
    volumes = [float(candle["volume"]) for candle in candles if candle["start"] == candles[0]["start"]]
    assert volumes == sorted(volumes)
    assert candles[0]["start"] <= time.time() * 1000
