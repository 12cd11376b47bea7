"""ccxt, unmodified but for its URLs, reads the simulated OKX: it is not merely what our own client expects."""

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
    "BTC/USDT": ("spot", "BTC-USDT"),
    "BTC/USDT:USDT": ("linear", "BTC-USDT-SWAP"),
    "BTC/USD:BTC": ("inverse", "BTC-USD-SWAP"),
}


def client(simulator: SimulatorProcess) -> Any:
    """ccxt's client of REST."""
    made = ccxt.okx()
    made.urls["api"]["rest"] = simulator.rest_url
    return made


def watched(simulator: SimulatorProcess, watch: Callable[[Any], Awaitable[Any]]) -> Any:
    """What ccxt's client of the sockets brings."""

    async def run() -> Any:
        made = pro.okx()
        made.urls["api"] |= {"rest": simulator.rest_url, "ws": f"{simulator.ws_base}/ws/v5"}
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
    assert (swap["contractSize"], swap["linear"], swap["settle"], swap["precision"]["price"]) == (
        0.01,
        True,
        "USDT",
        0.1,
    )
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
    """By REST: ids without a hole, a book that is not crossed, a last price."""
    exchange = client(simulator)
    wait_until(lambda: len(exchange.fetch_trades(symbol, limit=20)) == 20, 30)
    ids = [int(trade["id"]) for trade in exchange.fetch_trades(symbol, limit=20)]
    book = exchange.fetch_order_book(symbol, 50)

    assert ids == list(range(ids[0], ids[0] + 20))
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
        exchange.public_get_market_ticker({"instId": "NONE-USDT"})
