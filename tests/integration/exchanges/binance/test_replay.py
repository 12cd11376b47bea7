"""Recorded frames of Binance through its simulated sockets: each connection gets them in its own wrapping."""

from contextlib import ExitStack

import pytest
from websockets.sync.client import connect

from tests.integration.exchanges.binance.conftest import LIMIT_S
from tests.support.simulator import SimulatorProcess

RAW = {  # market, name and text of frames of raw connections
    (
        "linear",
        "btcusdt@trade",
    ): '{"e":"trade","E":1786540291675,"s":"BTCUSDT","t":7967419777,"p":"64042.10","q":"0.038"}',
    ("linear", "btcusdt@kline_1m"): '{"e":"kline","E":1786540310066,"s":"BTCUSDT","k":{"s":"BTCUSDT","i":"1m"}}',
    ("linear", "btcusdt@forceOrder"): '{"e":"forceOrder","E":1568014460893,"o":{"s":"BTCUSDT","S":"SELL"}}',
    (
        "spot",
        "btcusdt@bookTicker",
    ): '{"u":98494969448,"s":"BTCUSDT","b":"63704.00","B":"4.77","a":"63704.01","A":"11.3"}',
    ("inverse", "btcusd_perp@ticker"): '{"e":"24hrTicker","E":1788548384904,"s":"BTCUSD_PERP","ps":"BTCUSD"}',
}


def test_raw_frames_are_raw_on_raw_connections_and_combined_on_others(tmp_path):
    """Whatever they were recorded on; a stream on the wrong path of USD-M brings nothing."""
    whole = {(market, name): f'{{"stream":"{name}","data":{text}}}' for (market, name), text in RAW.items()}
    lines = [f"0 {market} {text}" for texts in (RAW, whole) for (market, _), text in texts.items()]
    (tmp_path / "frames.txt").write_text("\n".join(lines))
    args = ("--rate", 0, "--replay", tmp_path / "frames.txt", "--replay-when-subscribed", 2 * len(RAW))
    with SimulatorProcess(*args, exchange="binance") as simulator, ExitStack() as opened:

        def client(path):
            return opened.enter_context(connect(simulator.ws_base + path, ping_interval=None))

        wrong = client("/market/ws/btcusdt@trade")
        clients = []
        for (market, name), text in RAW.items():
            path = "" if market != "linear" else "/public" if name.endswith("@trade") else "/market"
            clients.append((client(f"{path}/ws/{name}"), text))
            clients.append((client(f"{path}/stream?streams={name}"), whole[market, name]))
        for each, text in clients:
            assert [each.recv(timeout=LIMIT_S) for _ in range(2)] == [text, text]
        with pytest.raises(TimeoutError):
            wrong.recv(timeout=0)
