"""Unmodified clients of Binance on a running collector: they work as at the exchange, with one address for all."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests
from websockets.sync.client import connect

from model.intervals import MINUTE_MS, SECOND_MS
from tests.acceptance.harness import CollectorProcess
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until

ccxt = pytest.importorskip("ccxt")
pro = pytest.importorskip("ccxt.pro")

SYMBOLS = {"spot": "BTC/USDT", "linear": "BTC/USDT:USDT"}


@pytest.fixture(scope="module")
def simulator() -> Iterator[SimulatorProcess]:
    with SimulatorProcess(
        "--rate", 300, "--symbols", 3, "--illiquid", 0, "--true-seconds", exchange="binance"
    ) as process:
        yield process


@pytest.fixture(scope="module")
def address(simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Host and port of a collector of spot and USD-M that everybody may ask."""
    settings = {
        "EXCHANGE": "binance",
        "SYMBOLS": "BTCUSDT,ETHUSDT",
        "ENABLE_SPOT_STREAM": True,
        "KLINE_INTERVALS": "1s,1m",
        "ENABLED_CONSUMERS": "websocket",
        "WSS_AUTH_USER": "user",
        "WSS_AUTH_KEY": "s3cret-key",
        "WEBSOCKET_EXCHANGE_PATHS": "open",
        "WEBSOCKET_OPEN_KLINES_INTERVAL": 0.2,
        "WS_URL": simulator.ws_base,
        "REST_URL": simulator.rest_url,
    }
    folder: Path = tmp_path_factory.mktemp("collector")
    with CollectorProcess(folder, **settings) as collector:
        port = collector.wait_for("websocket_listening")["port"]
        collector.wait_for("streams_delivering")
        yield f"127.0.0.1:{port}"
        assert collector.stop() == 0, collector.newest_output()


def addressed(made: Any, address: str) -> Any:
    """A client of ccxt with the collector's address, as docs/API.md has it."""
    urls = made.urls["api"]
    urls |= {"public": f"http://{address}/api/v3", "fapiPublic": f"http://{address}/fapi/v1"}
    urls |= {"dapiPublic": f"http://{address}/dapi/v1"}
    if "ws" in urls:
        urls["ws"] |= {"spot": f"ws://{address}/stream", "linear": f"ws://{address}/ws"}
    made.options["fetchCurrencies"] = False  # needs a key
    return made


def watched(address: str, watch: Callable[[Any], Awaitable[Any]]) -> Any:
    """What ccxt's client of the sockets brings."""

    async def run() -> Any:
        made = addressed(pro.binance(), address)
        try:
            return await asyncio.wait_for(watch(made), 60)
        finally:
            await made.close()

    return asyncio.run(run())


@pytest.mark.parametrize("market", SYMBOLS)
def test_ccxt_watches(address, market):
    """Trades, a book over twenty changes (ccxt checks its chain of ids, from a snapshot of REST), a ticker, candles.

    Candles, best prices and trades of a symbol that is not collected are passed on.
    """

    async def watch(made: Any) -> Any:
        symbol = SYMBOLS[market]
        trades = await made.watch_trades(symbol)
        for _ in range(20):
            book = await made.watch_order_book(symbol)
        await made.watch_bids_asks([symbol])
        other = await made.watch_trades(symbol.replace("BTC", "SOL"))
        assert other[-1]["symbol"].startswith("SOL")
        return trades, book, await made.watch_ticker(symbol), await made.watch_ohlcv(symbol, "1m")

    trades, book, ticker, candles = watched(address, watch)

    assert trades[-1]["symbol"] == ticker["symbol"] == SYMBOLS[market]
    assert book["bids"][0][0] < book["asks"][0][0]
    assert ticker["last"] > 0
    assert candles[-1][0] % MINUTE_MS == 0


def test_trades_and_books_are_the_exchanges_byte_for_byte(address, simulator):
    """Beside a client at the exchange itself: the same messages in the same order, and no other."""
    path = "/stream?streams=btcusdt@trade/btcusdt@depth@100ms"
    with connect(f"{simulator.ws_base}{path}") as there, connect(f"ws://{address}{path}") as here:
        there.recv(timeout=30)
        first = [here.recv(timeout=30) for _ in range(60)]
        own: list[str | bytes] = []
        wait_until(lambda: own.append(there.recv(timeout=30)) or first[-1] in own, poll_s=0.0)
    for name in ("btcusdt@trade", "btcusdt@depth@100ms"):
        mine = [message for message in first if f'"{name}"' in str(message)]
        theirs = [message for message in own if f'"{name}"' in str(message)]
        mine = mine[mine.index(theirs[0]) :] if theirs[0] in mine else mine
        begin = theirs.index(mine[0])
        assert theirs[begin : begin + len(mine)] == mine


def test_closed_candles_are_the_exchanges(address, simulator):
    """With all their fields, over one subscription for all clients."""
    before = simulator.stats()["subscriptions"]
    with ExitStack() as opened:
        url = f"ws://{address}/ws/btcusdt@kline_1s"
        socket, *_ = [opened.enter_context(connect(url)) for _ in range(10)]
        closed: list[dict[str, Any]] = []
        while len(closed) < 3:
            candle = json.loads(socket.recv(timeout=30))["k"]
            closed += [candle] if candle["x"] else []
        assert simulator.stats()["subscriptions"] <= before + 1
    true = {row["start"]: row for row in simulator.klines("BTCUSDT", SECOND_MS, "spot")}
    for candle in closed:
        row = true[candle["t"]]
        expected = [row["open"], row["high"], row["low"], row["close"], row["volume"], row["turnover"]]
        assert [float(candle[name]) for name in "ohlcvq"] == [float(value) for value in expected]
        assert candle["n"] == row["trade_count"]
        assert 0 <= float(candle["V"]) <= float(candle["v"])
        assert candle["L"] >= candle["f"]


def test_rest_is_the_exchanges(address, simulator):
    """What ccxt makes of both is the same; refusals too; the time is the collector's own."""
    here = addressed(ccxt.binance(), address)
    there = addressed(ccxt.binance(), simulator.rest_url.removeprefix("http://"))
    markets = here.load_markets()
    assert markets.keys() == there.load_markets().keys()
    for symbol in (*SYMBOLS.values(), "BTC/USD:BTC"):
        ours, theirs = ({row[0]: row for row in made.fetch_ohlcv(symbol, "1m", limit=100)} for made in (here, there))
        closed = sorted(ours.keys() & theirs.keys())[:-1]  # a minute may end between the two
        assert len(closed) >= 98
        assert [ours[start] for start in closed] == [theirs[start] for start in closed]
        assert here.fetch_ticker(symbol)["symbol"] == symbol
        assert len(here.fetch_trades(symbol, limit=20)) == 20
        assert len(here.fetch_order_book(symbol, 50)["bids"]) == 50
    with pytest.raises(ccxt.BadSymbol):
        here.public_get_klines({"symbol": "NONEUSDT", "interval": "1m"})
    sources = [requests.get(f"http://{address}/{path}", timeout=30).headers["X-Collector"] for path in ("api/v3/time",)]
    assert (sources, abs(here.fetch_time() - there.fetch_time()) < 1000) == (["store"], True)


def test_ten_clients_cost_the_exchange_what_one_does(address, simulator):
    """The same candles at once: one request, all the same answer. The collector itself does not ask for this market."""

    def count() -> int:
        return int(simulator.stats()["asked"].get("/dapi/v1/klines", 0))

    url = f"http://{address}/dapi/v1/klines"
    end_ms = requests.get(f"http://{address}/api/v3/time", timeout=30).json()["serverTime"] - 2 * MINUTE_MS
    before = count()
    with ThreadPoolExecutor(10) as pool:
        query = {"symbol": "ETHUSD_PERP", "interval": "1m", "endTime": end_ms}
        answers = list(pool.map(lambda _: requests.get(url, query, timeout=30), range(30)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert len(answers[0].json()) == 500
    assert count() - before == 1
