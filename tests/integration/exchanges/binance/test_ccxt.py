"""ccxt, unmodified but for its URLs, reads the simulated Binance: it is not merely what our own client expects."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from model.intervals import MINUTE_MS
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until

ccxt = pytest.importorskip("ccxt")
pro = pytest.importorskip("ccxt.pro")

SYMBOLS = {
    "BTC/USDT": ("spot", "BTCUSDT"),
    "BTC/USDT:USDT": ("linear", "BTCUSDT"),
    "BTC/USD:BTC": ("inverse", "BTCUSD_PERP"),
}


def addressed(made: Any, simulator: SimulatorProcess) -> Any:
    """The URLs of REST, and of the sockets, where spot is told by /stream in its URL."""
    urls = made.urls["api"]
    urls |= {"public": f"{simulator.rest_url}/api/v3", "fapiPublic": f"{simulator.rest_url}/fapi/v1"}
    urls |= {"dapiPublic": f"{simulator.rest_url}/dapi/v1"}
    if "ws" in urls:
        sockets = {"spot": "ws/stream", "linear": "ws", "inverse": "ws"}
        urls["ws"] |= {market: f"{simulator.ws_base}/{path}" for market, path in sockets.items()}
    made.options["fetchCurrencies"] = False  # needs a key
    return made


def client(simulator: SimulatorProcess) -> Any:
    """ccxt's client of REST."""
    return addressed(ccxt.binance(), simulator)


def watched(simulator: SimulatorProcess, watch: Callable[[Any], Awaitable[Any]]) -> Any:
    """What ccxt's client of the sockets brings."""

    async def run() -> Any:
        made = addressed(pro.binance(), simulator)
        try:
            return await asyncio.wait_for(watch(made), 60)
        finally:
            await made.close()

    return asyncio.run(run())


def test_markets(simulator):
    """Contracts, their sizes, coins and steps."""
    markets = client(simulator).load_markets()
    swap, inverse = markets["BTC/USDT:USDT"], markets["BTC/USD:BTC"]

    assert set(SYMBOLS) < set(markets)
    assert len(markets) == 9
    assert (swap["contractSize"], swap["linear"], swap["settle"], swap["precision"]["price"]) == (1, True, "USDT", 0.1)
    assert (inverse["contractSize"], inverse["inverse"], inverse["settle"]) == (100, True, "BTC")
    assert all(market["active"] for market in markets.values())


@pytest.mark.parametrize("symbol", list(SYMBOLS))
def test_candles(simulator, symbol):
    """The true ones, with ccxt's volume in the base coin."""
    category, name = SYMBOLS[symbol]
    found = client(simulator).fetch_ohlcv(symbol, "1m", limit=100)[:-1]
    true = {row["start"]: row for row in simulator.klines(name, MINUTE_MS, category)}
    volume = "turnover" if category == "inverse" else "volume"

    assert len(found) == 99
    for start, *numbers in found:
        row = true[start]
        assert numbers == [float(row[key]) for key in ("open", "high", "low", "close", volume)]
    assert {row[0] % 86_400_000 for row in client(simulator).fetch_ohlcv(symbol, "1d", limit=5)} == {0}


@pytest.mark.parametrize("symbol", list(SYMBOLS))
def test_trades_books_and_tickers(simulator, symbol):
    """By REST: trades in order, a book that is not crossed, a last price."""
    exchange = client(simulator)
    wait_until(lambda: len(exchange.fetch_trades(symbol, limit=20)) == 20, 30)
    times = [trade["timestamp"] for trade in exchange.fetch_trades(symbol, limit=20)]
    book = exchange.fetch_order_book(symbol, 50)

    assert times == sorted(times)
    assert len(book["bids"]) == len(book["asks"]) == 50
    assert book["bids"][0][0] < book["asks"][0][0]
    assert exchange.fetch_ticker(symbol)["last"] > 0
    assert symbol in exchange.fetch_tickers([symbol])


@pytest.mark.parametrize("symbol", list(SYMBOLS))
def test_sockets(simulator, symbol):
    """Trades, a book over twenty changes (ccxt checks its chain of ids), a ticker, candles of /business."""

    async def watch(exchange: Any) -> Any:
        trades = await exchange.watch_trades(symbol)
        for _ in range(20):
            book = await exchange.watch_order_book(symbol)
        return trades, book, await exchange.watch_ticker(symbol), await exchange.watch_ohlcv(symbol, "1m")

    trades, book, ticker, candles = watched(simulator, watch)

    assert trades[-1]["symbol"] == ticker["symbol"] == symbol
    assert book["bids"][0][0] < book["asks"][0][0]
    assert ticker["last"] > 0
    assert candles[-1][0] % MINUTE_MS == 0


def test_an_unknown_symbol(simulator):
    """ccxt knows the exchange's error by its code."""
    exchange = client(simulator)
    exchange.load_markets()

    with pytest.raises(ccxt.BadSymbol):
        exchange.public_get_klines({"symbol": "NONEUSDT", "interval": "1m"})
