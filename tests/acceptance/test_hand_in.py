"""What a user's script hands to handle_trades and its like: pybit's messages, text, and mistakes."""

import json

import pytest

from tests.acceptance.harness import CollectorProcess, Subscriber
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until

# pybit as it is, at the simulator's address. Its own race, see test_pybit.py, is held off by a lock.
PYBIT = """
import os, sys, threading
from pybit.unified_trading import WebSocket
from main import STREAMS, handle_orderbook, handle_spot_trades, handle_ticker, handle_trades, run
from streams import current

lock = threading.RLock()

class Redirected(WebSocket):
    def subscribe(self, *args, **kwargs):
        with lock:
            super().subscribe(*args, **kwargs)
    def _on_message(self, message):
        with lock:
            super()._on_message(message)
    def _connect(self, url):
        super()._connect(os.environ["BYBIT_WS_URL"].replace("linear", url.rpartition("/")[2]))

def stream():
    linear, spot = Redirected(channel_type="linear", testnet=False), Redirected(channel_type="spot", testnet=False)
    linear.trade_stream("ETHUSDT", callback=handle_trades)
    linear.orderbook_stream(50, "ETHUSDT", handle_orderbook)
    linear.ticker_stream("ETHUSDT", handle_ticker)
    spot.trade_stream("ETHUSDT", handle_spot_trades)
"""
BEFORE_RUN = "stream()\nraise SystemExit(run())\n"
IN_A_STREAM = """
def func():
    stream()
    current().stop.wait()

STREAMS.append({"name": "pybit", "func": func, "args": ()})
raise SystemExit(run())
"""
MISTAKES = """
import json
from main import STREAMS, handle_trades, run, subscribe_trades

def mine(payload):
    handle_trades.take_all([None, payload.decode(), 7, {"topic": object()}, memoryview(b"view"), object()])

STREAMS.append({"name": "mine", "func": subscribe_trades, "args": ("ETHUSDT", mine)})
raise SystemExit(run())
"""
CHANNELS = ("trades", "orderbook", "ticker", "spot_trades")


@pytest.fixture
def settings(valkey):
    """Settings that all start from."""
    return {"SYMBOLS": "BTCUSDT", "REDIS_PORT": valkey.port, "KLINE_INTERVALS": "1s", "STATUS_INTERVAL": 0.5}


def of_eth(subscriber, kind):
    return [json.loads(m) for m in list(subscriber.received[f"stream:bybit_{kind}"]) if b"ETHUSDT" in m]


@pytest.mark.parametrize("begin", [BEFORE_RUN, IN_A_STREAM], ids=["before-run", "in-a-stream"])
def test_pybits_own_streams_are_published(tmp_path, valkey, settings, begin):
    """Its thread hands over dicts, also before there is a collector: trades as the exchange sent them, and counted."""
    (tmp_path / "mine.py").write_text(PYBIT + begin)
    with SimulatorProcess("--rate", 300, "--symbols", 2) as sim, Subscriber(valkey.port) as subscriber:
        settings |= {"BYBIT_WS_URL": sim.ws_url(), "BYBIT_REST_URL": sim.rest_url}
        with CollectorProcess(tmp_path, tmp_path / "mine.py", **settings) as collector:
            wait_until(lambda: min(len(of_eth(subscriber, kind)) for kind in CHANNELS) > 5)
            wait_until(lambda: any(k["symbol"] == "ETHUSDT" and k["trade_count"] for k in subscriber.klines()))
            assert collector.wait_for("status")["faults"] == {}
            assert collector.stop() == 0
            assert not [entry for entry in collector.logs if entry["logger"] == "websocket"]
    message = of_eth(subscriber, "trades")[0]

    assert list(message)[:2] == ["topic", "type"]
    assert message["topic"] == "publicTrade.ETHUSDT"
    assert isinstance(message["data"][0]["p"], str)


def test_a_mistake_costs_itself(tmp_path, valkey, settings):
    """Among good ones, on a stream's thread: counted by cause, while everything else is published and lives."""
    (tmp_path / "mine.py").write_text(MISTAKES)
    with SimulatorProcess("--rate", 300, "--symbols", 2) as sim, Subscriber(valkey.port) as subscriber:
        settings |= {"BYBIT_WS_URL": sim.ws_url(), "BYBIT_REST_URL": sim.rest_url, "RAW_STREAMS": "trades"}
        with CollectorProcess(tmp_path, tmp_path / "mine.py", **settings) as collector:
            raw = subscriber.received["stream:bybit_trades"]
            wait_until(lambda: len(of_eth(subscriber, "trades")) > 20 and list(raw).count(b"view") > 20)
            wait_until(lambda: sum(b"BTCUSDT" in message for message in list(raw)) > 20)
            status = collector.wait_for("status", count=len(collector.events("status")) + 2)
            assert collector.stop() == 0

    assert status["faults"]["not_a_message"] >= 4 * 20
    assert "callback_error" not in status["faults"]
    assert status["consumers"]["redis"]["extra"]["outages"] == 0
