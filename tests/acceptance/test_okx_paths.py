"""Unmodified clients of OKX on a running collector, one URL for sockets and REST: it answers as the exchange does."""

import asyncio
import contextlib
import json
import re
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.acceptance.harness import CollectorProcess
from tests.conftest import unused_port
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until

ccxt = pytest.importorskip("ccxt")
pro = pytest.importorskip("ccxt.pro")

PUBLIC, BUSINESS = "/ws/v5/public", "/ws/v5/business"
HISTORY = "/api/v5/market/history-candles"
SYMBOLS = {"BTC/USDT": "BTC-USDT", "BTC/USDT:USDT": "BTC-USDT-SWAP"}
CONN_ID = re.compile(r'(?<="connId":")[0-9a-f]{8}(?=")')
LIMIT_S = 30.0
MESSAGES = 2_000  # what one of a few dozen that were sent is among


@dataclass(frozen=True)
class Served:
    """A collector of the spot and linear markets of a simulated exchange."""

    sim: SimulatorProcess
    port: int

    def client(self, package: Any) -> Any:
        made = package.okx()
        made.urls["api"] |= {"rest": f"http://127.0.0.1:{self.port}", "ws": f"ws://127.0.0.1:{self.port}/ws/v5"}
        return made

    def get(self, path: str, **query: Any) -> requests.Response:
        return requests.get(f"http://127.0.0.1:{self.port}{path}", params=query, timeout=LIMIT_S)

    def exchanges(self, path: str, **query: Any) -> requests.Response:
        """What the exchange itself answers."""
        return requests.get(f"{self.sim.rest_url}{path}", params=query, timeout=LIMIT_S)

    def both(self, path: str) -> tuple[ClientConnection, ClientConnection]:
        """A socket of the collector, and one of the exchange, which allows three connects a second."""
        made: list[ClientConnection] = []

        def is_connected() -> bool:
            with contextlib.suppress(InvalidStatus):
                made.append(connect(f"{self.sim.ws_base}{path}"))
            return bool(made)

        wait_until(is_connected, poll_s=1.2)  # one that is refused counts too
        return connect(f"ws://127.0.0.1:{self.port}{path}"), made[0]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    port = unused_port()
    settings = {
        "EXCHANGE": "okx",
        "SYMBOLS": "BTC,ETH",
        "ENABLE_SPOT_STREAM": True,
        "KLINE_INTERVALS": "1m,1s",
        "ENABLED_CONSUMERS": "websocket",
        "WEBSOCKET_PORT": port,
        "WSS_AUTH_USER": "user",
        "WSS_AUTH_KEY": "s3cret-key",
        "WEBSOCKET_EXCHANGE_PATHS": "open",
        "WEBSOCKET_OPEN_KLINES_INTERVAL": 0.2,
    }
    with SimulatorProcess("--rate", 300, "--symbols", 3, "--illiquid", 0, "--true-seconds", exchange="okx") as sim:
        urls = {"WS_URL": sim.ws_base, "REST_URL": sim.rest_url}
        with CollectorProcess(tmp_path_factory.mktemp("okx"), **settings, **urls) as collector:
            collector.wait_for("streams_delivering")
            yield Served(sim, port)
            assert collector.stop() == 0
            assert not [entry for entry in collector.logs if entry["level"] not in ("info", "debug")]


def test_ccxt_streams_trades_books_tickers_and_candles(served):
    """Its check of the book's ids holds over many changes; a trade is one of the exchange's; an open candle moves."""

    async def watch(made: Any) -> dict[str, Any]:
        found = {}
        for symbol in SYMBOLS:
            trades = await made.watch_trades(symbol)
            for _ in range(20):
                book = await made.watch_order_book(symbol)
            levels = len(book["bids"]), book["bids"][0][0] < book["asks"][0][0]
            best = (await made.watch_bids_asks([symbol]))[symbol]
            ticker = await made.watch_ticker(symbol)
            candles: list[list[float]] = []
            while len({candle[5] for candle in candles}) < 3:
                candles.append([*(await made.watch_ohlcv(symbol, "1m"))[-1]])  # it changes the row itself
            found[symbol] = trades[-1], levels, best, ticker, candles
        return found

    async def run(watch: Callable[[Any], Awaitable[Any]]) -> Any:
        made = served.client(pro)
        try:
            return await asyncio.wait_for(watch(made), LIMIT_S)
        finally:
            await made.close()

    for symbol, (trade, levels, best, ticker, candles) in asyncio.run(run(watch)).items():
        rows = served.exchanges("/api/v5/market/trades", instId=SYMBOLS[symbol], limit=500).json()["data"]
        assert trade["id"] in {row["tradeId"] for row in rows}
        assert levels[0] >= 50
        assert levels[1]
        assert best["bid"] < best["ask"]
        assert ticker["last"] > 0
        assert candles[-1][0] % 60_000 == 0


def test_messages_are_the_exchanges_own_byte_for_byte(served):
    """Trades, tickers and changes of books; the snapshot of a new subscriber is linked to the change that follows."""
    here, there = served.both(PUBLIC)
    args = [{"channel": channel, "instId": "BTC-USDT-SWAP"} for channel in ("trades", "tickers", "books")]
    request = json.dumps({"op": "subscribe", "args": args})
    with here, there:
        there.send(request)
        sent = [there.recv(timeout=LIMIT_S) for _ in range(20)]
        here.send(request)
        got = [here.recv(timeout=LIMIT_S) for _ in range(60)]
        data = [each for each in got if '"event"' not in each]
        made = [each for each in data if '"action":"snapshot"' in each]
        newest = {each for each in data[:4] if '"channel":"tickers"' in each}  # of before
        missing = {*data} - {*made} - newest - {*sent}
        while missing and len(sent) < MESSAGES:  # one connection of the collector's may be ahead of the other
            sent.append(there.recv(timeout=LIMIT_S))
            missing.discard(sent[-1])
    books = [json.loads(each)["data"][0] for each in data if '"channel":"books"' in each]
    assert missing == set()
    assert len(made) == 1
    assert len(books) > 3
    assert [book["prevSeqId"] for book in books] == [-1, *(book["seqId"] for book in books[:-1])]
    assert json.loads(made[0])["data"][0].keys() == books[1].keys()


def test_what_is_not_collected_is_passed_on_once_for_all_clients(served):
    """Another symbol, another bar: from the exchange, and a later client begins with the state."""

    async def watch(made: Any) -> Any:
        for _ in range(5):
            book = await made.watch_order_book("SOL/USDT:USDT")
        trades = await made.watch_trades("SOL/USDT:USDT")
        return book, trades, await made.watch_ohlcv("BTC/USDT", "5m")

    async def run() -> Any:
        made, later = served.client(pro), served.client(pro)
        try:
            first = await asyncio.wait_for(watch(made), LIMIT_S)
            return first, await asyncio.wait_for(watch(later), LIMIT_S)
        finally:
            await made.close()
            await later.close()

    connects = served.sim.stats()["connects"]
    for book, trades, candles in asyncio.run(run()):
        assert book["bids"][0][0] < book["asks"][0][0]
        assert trades[-1]["symbol"] == "SOL/USDT:USDT"
        assert candles[-1][0] % 300_000 == 0
    assert served.sim.stats()["connects"] - connects == 2  # one of each path


WRONG = {
    PUBLIC: [
        "{",
        "[]",
        '{"op":7}',
        '{"id":"x1","op":"dance","args":[]}',
        '{"op":"subscribe","args":[]}',
        '{"op":"subscribe","args":["trades"]}',
        '{"id":"x1","op":"subscribe","args":[{"channel":"trades","instId":"NONE-USDT"}]}',
        '{"op":"subscribe","args":[{"channel":"candle1m","instId":"BTC-USDT"}]}',
        '{"op":"subscribe","args":[{"channel":"tickers"}]}',
        "ping",
    ],
    BUSINESS: [
        '{"op":"subscribe","args":[{"channel":"trades","instId":"BTC-USDT"}]}',
        '{"op":"subscribe","args":[{"channel":"candle7m","instId":"BTC-USDT"}]}',
        '{"id":"x1","op":"unsubscribe","args":[{"channel":"candle1m","instId":"BTC-USDT","a":1}]}',
    ],
}


@pytest.mark.parametrize("path", WRONG)
def test_what_a_client_asks_wrongly_is_answered_as_by_the_exchange(served, path):
    """The same code and text, in as many answers; only the connection's id differs, which has eight characters."""
    here, there = served.both(path)
    with here, there:
        for message in WRONG[path]:
            for connection in (here, there):
                connection.send(message)
            answers = [CONN_ID.sub("id", connection.recv(timeout=LIMIT_S)) for connection in (here, there)]
            assert answers[0] == answers[1]


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_ccxt_reads_rest_from_the_same_address(served, symbol):
    """Markets, candles, trades, a book, tickers: each what the exchange answers."""
    made, at_exchange = served.client(ccxt), ccxt.okx()
    at_exchange.urls["api"] |= {"rest": served.sim.rest_url}
    assert made.load_markets().keys() == at_exchange.load_markets().keys()
    assert made.market(symbol)["contractSize"] == at_exchange.market(symbol)["contractSize"]

    since = time.time_ns() // 1_000_000 - 30 * 60_000
    bounds = {"since": since, "limit": 20}
    assert made.fetch_ohlcv(symbol, "1m", **bounds) == at_exchange.fetch_ohlcv(symbol, "1m", **bounds)
    trades = made.fetch_trades(symbol, limit=20)
    assert len(trades) == 20
    assert {trade["id"] for trade in trades} <= {trade["id"] for trade in at_exchange.fetch_trades(symbol, limit=500)}
    book = made.fetch_order_book(symbol, 50)
    assert len(book["bids"]) == len(book["asks"]) == 50
    assert book["bids"][0][0] < book["asks"][0][0]
    ticker, theirs = made.fetch_ticker(symbol), at_exchange.fetch_ticker(symbol)
    assert ticker["info"].keys() == theirs["info"].keys()
    assert ticker["last"] == pytest.approx(theirs["last"], rel=0.01)
    assert symbol in made.fetch_tickers([symbol])
    assert abs(made.fetch_time() - at_exchange.fetch_time()) < 5_000
    with pytest.raises(ccxt.BadSymbol):
        made.public_get_market_ticker({"instId": "NONE-USDT"})
    with pytest.raises(ccxt.ExchangeError, match="without an account"):
        made.fetch(f"http://127.0.0.1:{served.port}/api/v5/account/balance")


@pytest.mark.parametrize("own", SYMBOLS.values())
def test_books_and_tickers_are_the_streams(served, own):
    """As the exchange answers at about the same time: the same fields, no more levels than asked for."""

    def is_of_a_stream() -> bool:  # a book or ticker that has not come yet is asked of the exchange
        return served.get(f"/api/v5/market/{path}", instId=own, **query).headers["X-Collector"] == "store"

    for path, query in (("books", {"sz": 40}), ("books", {}), ("ticker", {})):
        wait_until(is_of_a_stream, poll_s=0.2)
        here, there = (ask(f"/api/v5/market/{path}", instId=own, **query) for ask in (served.get, served.exchanges))
        (mine,), (theirs,) = here.json()["data"], there.json()["data"]
        assert here.headers["X-Collector"] == "store"
        assert list(mine) == list(theirs)
        assert abs(int(mine["ts"]) - int(theirs["ts"])) < 3_000
        sides = [side for side in ("asks", "bids") if side in mine]
        assert [len(mine[side]) for side in sides] == [len(theirs[side]) for side in sides]


@pytest.mark.parametrize("own", SYMBOLS.values())
def test_candles_of_the_store_are_the_exchanges(served, own):
    """In all their fields, and none is asked of the exchange for them."""
    query: dict[str, Any] = {"instId": own, "bar": "1s", "limit": 5}
    answers: list[requests.Response] = []

    def is_of_the_store() -> bool:  # the first second of a collection is not whole
        query["after"] = time.time_ns() // 1_000_000_000 * 1000
        answers.append(served.get(HISTORY, **query))
        assert answers[-1].json()["code"] == "0", answers[-1].text
        return answers[-1].headers["X-Collector"] == "store"

    wait_until(is_of_the_store, poll_s=0.2)
    here, there = map(numbers, (answers[-1], served.exchanges(HISTORY, **query)))
    assert here == there
    assert [row[0] for row in here] == [query["after"] - number * 1000 for number in range(1, 6)]


@pytest.mark.parametrize("own", SYMBOLS.values())
def test_candles_from_before_the_collection_are_joined_to_those_of_the_store(served, own):
    """Without hole or double; the span ends with the last minute or second, and begins long before."""
    now_s = time.time_ns() // 1_000_000_000
    for path, bar, after_s in ((HISTORY, "1s", now_s - 1), ("/api/v5/market/candles", "1m", now_s // 60 * 60)):
        query = {"instId": own, "bar": bar, "limit": 300, "after": after_s * 1000}
        here, there = map(numbers, (served.get(path, **query), served.exchanges(path, **query)))
        assert len(here) > 5
        assert here == there


def numbers(answer: requests.Response) -> list[list[float]]:
    """The rows of an answer: texts differ by zeros at the end."""
    return [[float(number) for number in row] for row in answer.json()["data"]]


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/api/v5/market/candles", {}),
        ("/api/v5/market/candles", {"instId": "NONE-USDT"}),
        ("/api/v5/market/candles", {"instId": "BTC-USDT", "bar": "7m"}),
        ("/api/v5/market/candles", {"instId": "BTC-USDT", "limit": "x"}),
        ("/api/v5/market/candles", {"instId": "BTC-USDT", "after": "0", "before": "5"}),
        ("/api/v5/market/candles", {"instId": "SOL-USDT-SWAP", "after": "1700000000000"}),
        ("/api/v5/market/tickers", {"instType": "RUMOURS"}),
        ("/api/v5/market/books", {"instId": "NONE-USDT", "sz": "5"}),
        ("/api/v5/public/instruments", {"instType": "SWAP", "instId": "ETH-USDT-SWAP"}),
        ("/api/v5/market/nothing", {}),
    ],
)
def test_what_is_not_collected_or_wrong_is_answered_by_the_exchange(served, path, query):
    """Status and body are its own."""
    here, there = served.get(path, **query), served.exchanges(path, **query)
    assert (here.status_code, here.content) == (there.status_code, there.content)
    assert here.headers["X-Collector"] == "exchange"
