"""Unmodified REST clients of Bybit on a running collector: the exchange's answers, and one client's requests there."""

import asyncio
import contextlib
import json
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from pybit.exceptions import InvalidRequestError
from pybit.unified_trading import HTTP

from tests.acceptance.harness import CollectorProcess
from tests.conftest import unused_port
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until

ccxt = pytest.importorskip("ccxt")
ccxt_async = pytest.importorskip("ccxt.async_support")

SYMBOL = "BTC/USDT:USDT"
MINUTE_LIMIT_S = 90.0  # until a minute has begun, and the one before is repaired


class Served:
    """A collector with the simulated exchange behind it."""

    def __init__(self, simulator: SimulatorProcess, port: int) -> None:
        self.simulator, self.url = simulator, f"http://127.0.0.1:{port}"

    def get(self, path: str, **query: Any) -> requests.Response:
        return requests.get(f"{self.url}/v5/market/{path}", params=query, timeout=10)

    def asked(self, path: str) -> int:
        count: int = self.simulator.stats()["asked"].get(f"/v5/market/{path}", 0)
        return count


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    port = unused_port()
    settings = {
        "SYMBOLS": "BTCUSDT,ETHUSDT",
        "KLINE_INTERVALS": "1m",
        "ENABLED_CONSUMERS": "websocket",
        "WEBSOCKET_PORT": port,
        "WSS_AUTH_USER": "user",
        "WSS_AUTH_KEY": "s3cret-key",
        "WEBSOCKET_EXCHANGE_PATHS": "open",
        "STORAGE_ENABLED": "false",
    }
    with (
        SimulatorProcess("--rate", 80, "--symbols", 3, "--illiquid", 0, "--history-minutes", 2_000) as simulator,
        CollectorProcess(
            tmp_path_factory.mktemp("collector"),
            BYBIT_WS_URL=simulator.ws_url("linear"),
            REST_URL=simulator.rest_url,
            **settings,
        ) as collector,
    ):
        collector.wait_for("websocket_listening")
        collector.wait_for("streams_delivering")
        yield Served(simulator, port)
        assert collector.stop() == 0
        assert not [entry for entry in collector.logs if entry.get("level") == "error"]


def client_of(url: str, module: Any = ccxt) -> Any:
    """ccxt's client, unmodified but for its URLs."""
    made = module.bybit({"enableRateLimit": False, "options": {"defaultType": "swap"}})
    made.urls["api"] = dict.fromkeys(made.urls["api"], url)
    return made


def test_ccxt_gets_the_exchanges_own_answers(served):
    """What moves all the time has the same shape, all else is equal."""
    own, there = client_of(served.url), client_of(served.simulator.rest_url)
    assert own.load_markets() == there.load_markets()
    since = (int(time.time()) // 60 - 1_500) * 60_000
    for method, arguments in [
        ("fetch_ohlcv", (SYMBOL, "1m", since, 1_000)),
        ("fetch_ohlcv", ("SOL/USDT:USDT", "5m", since, 100)),
        ("fetch_funding_rate_history", (SYMBOL,)),
        ("fetch_open_interest_history", (SYMBOL, "1h")),
    ]:
        assert getattr(own, method)(*arguments) == getattr(there, method)(*arguments), method
    for method, arguments in [("fetch_ticker", (SYMBOL,)), ("fetch_order_book", (SYMBOL, 10))]:
        found, known = getattr(own, method)(*arguments), getattr(there, method)(*arguments)
        assert found.keys() == known.keys()
    assert own.fetch_tickers().keys() == there.fetch_tickers().keys()
    assert {len(own.fetch_order_book(SYMBOL, 10)[side]) for side in ("bids", "asks")} == {10}
    ids = [trade["id"] for trade in there.fetch_trades(SYMBOL, limit=500)]
    assert {trade["id"] for trade in own.fetch_trades(SYMBOL, limit=20)} & set(ids)
    with pytest.raises(ccxt.BadRequest):
        own.fetch_ohlcv(SYMBOL, "7m")


def test_tickers_and_books_come_from_what_is_collected(served):
    """With the fields of the exchange's REST, which streams lack; a book has the state of the stream's."""
    rows = [
        answer.json()["result"]["list"][0]
        for answer in collected(served, "tickers", [{"symbol": symbol} for symbol in ("BTCUSDT", "ETHUSDT")])
    ]
    known = served.simulator.get("/v5/market/tickers", category="linear", symbol="BTCUSDT").json()["result"]["list"][0]
    assert list(rows[0]) == list(known)
    assert [row["symbol"] for row in rows] == ["BTCUSDT", "ETHUSDT"]
    assert abs(float(rows[0]["lastPrice"]) / float(known["lastPrice"]) - 1) < 0.01
    (answer,) = collected(served, "orderbook", [{"symbol": "BTCUSDT", "limit": 5}])
    book = answer.json()["result"]
    assert (len(book["a"]), len(book["b"]), book["s"]) == (5, 5, "BTCUSDT")
    assert float(book["b"][0][0]) < float(book["a"][0][0])
    assert served.get("orderbook", category="linear", symbol="BTCUSDT", limit=500).headers["X-Collector"] == "exchange"


def collected(served: Served, path: str, queries: list[dict[str, Any]]) -> list[requests.Response]:
    """The collector's own answers, for which the exchange was not asked; a stream that stands still has none."""
    found: list[requests.Response] = []

    def own() -> bool:
        before = served.asked(path)
        found[:] = [served.get(path, category="linear", **query) for query in queries]
        return all(a.headers["X-Collector"] == "store" for a in found) and served.asked(path) == before

    wait_until(own)
    return found


def test_pybit_gets_the_exchanges_own_answers(served):
    session, there = HTTP(testnet=False), HTTP(testnet=False)
    session.endpoint, there.endpoint = served.url, served.simulator.rest_url
    about = {"category": "linear", "symbol": "BTCUSDT"}
    assert session.get_instruments_info(**about)["result"] == there.get_instruments_info(**about)["result"]
    for name in ("get_mark_price_kline", "get_index_price_kline"):
        asked = {**about, "interval": 60, "end": int(time.time() - 7_200) * 1_000}
        assert getattr(session, name)(**asked)["result"] == getattr(there, name)(**asked)["result"]
    assert abs(int(session.get_server_time()["result"]["timeSecond"]) - time.time()) < 5
    with pytest.raises(InvalidRequestError, match="Symbol Invalid"):
        session.get_kline(category="linear", symbol="NOPE", interval=1)
    with pytest.raises(InvalidRequestError, match="account"):
        session._submit_request(method="GET", path=f"{served.url}/v5/account/info", query={}, auth=False)


def test_ten_clients_cost_the_exchange_what_one_does(served):
    """They ask for the same at once, again and again."""
    before = served.asked("kline")

    async def ask() -> list[Any]:
        clients = [client_of(served.url, ccxt_async) for _ in range(10)]
        try:
            for client in clients:
                client.set_markets(client_of(served.url).load_markets())
            rounds = [
                await asyncio.gather(*(client.fetch_ohlcv(SYMBOL, "5m", None, 50) for client in clients))
                for _ in range(3)
            ]
        finally:
            await asyncio.gather(*(client.close() for client in clients))
        return rounds

    for answers in asyncio.run(ask()):
        assert all(len(answer) == 50 for answer in answers)
    assert served.asked("kline") - before <= 6  # a round takes some time, in which an open candle grows old


def test_two_thousand_symbols_asked_at_once_are_all_answered(served):
    """By the exchange's refusal, or by that for the rate; others are answered meanwhile.

    A connection for which there is no place is closed, whoever made it: its client asks again.
    """
    host, until_s = served.url.removeprefix("http://"), time.monotonic() + MINUTE_LIMIT_S

    async def ask(number: int) -> int:
        path = f"/v5/market/kline?category=linear&interval=1&symbol=NONE{number}"
        answer = b""
        while not answer and time.monotonic() < until_s:
            with contextlib.suppress(ConnectionError):
                reader, writer = await asyncio.open_connection(*host.split(":"))
                writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
                answer = await reader.read()
                writer.close()
        code: int = json.loads(answer.partition(b"\r\n\r\n")[2])["retCode"]
        return code

    def ask_for_a_book() -> requests.Response:
        while time.monotonic() < until_s:
            with contextlib.suppress(requests.ConnectionError):
                return served.get("orderbook", category="linear", symbol="BTCUSDT", limit=5)
        raise AssertionError("it found no place")

    async def ask_all() -> list[int]:
        asking = [asyncio.ensure_future(ask(number)) for number in range(2_000)]
        await asyncio.sleep(0)
        answer = await asyncio.to_thread(ask_for_a_book)
        assert answer.headers["X-Collector"] == "store"
        assert not all(each.done() for each in asking)
        return await asyncio.gather(*asking)

    codes = Counter(asyncio.run(ask_all()))
    assert codes.keys() == {10001, 10006}
    assert codes[10001] < 400  # of what the exchange allows


def test_klines_are_of_the_store_with_the_open_one_and_join_the_exchanges(served):
    """Byte for byte the exchange's, but for the candle that is open; the older ones are asked for once."""

    def is_stored() -> bool:
        return served.get("kline", symbol="BTCUSDT", interval=1, limit=2).headers["X-Collector"] == "store"

    wait_until(is_stored, MINUTE_LIMIT_S)
    served.get("kline", symbol="BTCUSDT", interval=1, limit=1000)
    asked = served.asked("kline")
    for limit in (2, 200, 1000):
        answer = served.get("kline", category="linear", symbol="BTCUSDT", interval=1, limit=limit)
        assert served.asked("kline") == asked
        there = served.simulator.get("/v5/market/kline", category="linear", symbol="BTCUSDT", interval=1, limit=limit)
        asked += 1
        own, known = answer.json()["result"], {row[0]: row for row in there.json()["result"]["list"]}
        assert (len(own["list"]), own["symbol"]) == (limit, "BTCUSDT")
        assert [row for row in own["list"][1:] if known.get(row[0], row) != row] == []
        assert len({row[0] for row in own["list"][1:]} & known.keys()) >= limit - 2
        assert float(own["list"][0][5]) > 0  # of the open one
