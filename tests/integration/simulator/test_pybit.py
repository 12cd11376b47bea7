"""pybit's own public flow works against the simulated exchange: two readings of the protocol agree."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from pybit.unified_trading import WebSocket

from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def sim() -> Iterator[SimulatorProcess]:
    """A busy market."""
    with SimulatorProcess("--rate", "1500", "--symbols", "2", "--illiquid", "0") as process:
        yield process


def pybit_socket(sim: SimulatorProcess, category: str) -> WebSocket:
    """pybit's WebSocket at another address.

    pybit 5.17 sends the subscription before it notes the callback and dies of a KeyError when the first snapshot is
    quicker, as it is here; the hold holds messages back until the callback is noted.
    """
    hold = threading.RLock()

    class Redirected(WebSocket):  # type: ignore[misc]
        def subscribe(self, *args: Any, **kwargs: Any) -> None:
            with hold:
                super().subscribe(*args, **kwargs)

        def _on_message(self, message: str) -> None:
            with hold:
                super()._on_message(message)

        def _connect(self, url: str) -> None:
            super()._connect(sim.ws_url(category))

    return Redirected(channel_type=category, testnet=False)


@pytest.mark.parametrize(("category", "symbol"), [("linear", "BTCUSDT"), ("spot", "BTCUSDT"), ("inverse", "BTCUSD")])
def test_pybit_streams(sim: SimulatorProcess, category: str, symbol: str) -> None:
    """Trades, a merged book that never crosses, a ticker, klines; pybit's thread survives all of it."""
    got: dict[str, list[Any]] = {"trades": [], "book": [], "ticker": [], "kline": []}
    socket = pybit_socket(sim, category)
    socket.trade_stream(symbol, got["trades"].append)
    socket.orderbook_stream(50, symbol, lambda m: got["book"].append((m["data"]["b"][0], m["data"]["a"][0])))
    socket.ticker_stream(symbol, got["ticker"].append)
    socket.kline_stream(1, symbol, got["kline"].append)
    wait_until(lambda: min(map(len, got.values())) >= 2 and len(got["book"]) > 50)
    assert socket.is_connected()
    assert got["trades"][0]["data"][0]["s"] == symbol
    assert all(float(bid[0]) < float(ask[0]) for bid, ask in got["book"][1:])
    assert got["ticker"][-1]["data"]["symbol"] == symbol
    socket.exit()
