"""The clients of bots.py: unmodified ccxt and pybit with the collector's address, in one process, for some seconds.

`python -m benchmarks.bots_clients <port> <seconds> <records> <clients> <pause>`. Each candle and trade that a client
gets, each retry and each failure is a line of the file `records`. A client that fails tries once more after a pause;
that it fails twice in a row is a failure.
"""

import asyncio
import contextlib
import importlib
import json
import logging
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

PAUSE_S = 5.0  # before the one retry, unless another is given: a collector that was killed is there again
POLL_S = 1.0  # between two rounds of a client that asks over REST
RELOAD_S = 60.0  # between two readings of all markets
MINUTE_MS = 60_000
PERPETUALS, SPOT = ("BTC/USDT:USDT", "ETH/USDT:USDT"), "BTC/USDT"
CLIENTS = ("pro", "pro", "pro", "sync", "sync", "http", "http", "socket", "socket", "socket")
"""Ten: ccxt pro (WebSocket and REST), ccxt (REST), pybit HTTP, pybit WebSocket."""
SETTLED_S = 5.0  # after its end the last state of a candle has come

T = TypeVar("T")


class Records:
    """The file of what clients got. Thread safe."""

    def __init__(self, path: Path, port: int, end_s: float, pause_s: float) -> None:
        self.port, self.end_s, self.pause_s = port, end_s, pause_s  # the end by the monotonic clock
        self._file, self._lock = path.open("w"), threading.Lock()

    @property
    def is_over(self) -> bool:
        """Whether the clients have to end."""
        return time.monotonic() >= self.end_s

    def put(self, client: str, what: str, **fields: object) -> None:
        """Write a line."""
        line = json.dumps({"client": client, "what": what, "at": time.time(), **fields}, default=str)
        with self._lock:
            self._file.write(line + "\n")

    def candles(self, client: str, market: str, symbol: str, rows: list[Any], sent_ms: float) -> None:
        """Write the candles of an answer, and which of them had closed when the request was sent."""
        for row in rows:
            values = [str(value) for value in row[1:]]
            self.put(client, "candle", market=market, symbol=symbol, start=int(row[0]), values=values,
                     closed=int(row[0]) + MINUTE_MS <= sent_ms)  # fmt: skip

    def trade(self, client: str, market: str, row: dict[str, Any]) -> None:
        """Write a trade as Bybit's JSON has it, over WebSocket or REST."""
        if "execId" in row:
            values = [row[name] for name in ("symbol", "execId", "price", "size", "side", "time")]
        else:
            values = [row[name] for name in ("s", "i", "p", "v", "S", "T")]
        self.put(client, "trade", market=market, over="rest" if "execId" in row else "socket",
                 values=list(map(str, values)))  # fmt: skip

    def failed(self, client: str, name: str, error: BaseException, *, again: bool) -> None:
        """Write that a call failed, `again`: for the second time in a row."""
        self.put(client, "failure" if again else "retry", call=name, error=f"{type(error).__name__}: {error}"[:300])

    def close(self) -> None:
        """Write what is left."""
        with self._lock:
            self._file.close()


def tried(records: Records, client: str, name: str, call: Callable[[], T]) -> T | None:
    """Call; once more after a pause where it fails. None where that fails, too."""
    started_s = time.monotonic()
    for again in (False, True):
        try:
            found = call()
        except Exception as error:  # noqa: BLE001 - whatever a foreign client raises is the result
            records.failed(client, name, error, again=again)
            time.sleep(records.pause_s)
        else:
            records.put(client, "call", call=name, ms=round((time.monotonic() - started_s) * 1000, 1))
            return found
    return None


async def tried_soon(records: Records, client: str, name: str, call: Callable[[], Awaitable[T]]) -> T | None:
    """As `tried`, of a coroutine."""
    for again in (False, True):
        try:
            return await call()
        except Exception as error:  # noqa: BLE001 - as above
            records.failed(client, name, error, again=again)
            await asyncio.sleep(records.pause_s)
    return None


# -- ccxt -----------------------------------------------------------------------------------------------------


def addressed(client: Any, port: int) -> Any:
    """Give ccxt the collector's address: all that is changed of it."""
    urls = client.urls["api"]
    urls |= {
        name: f"http://127.0.0.1:{port}" for name in ("spot", "futures", "v2", "public", "private") if name in urls
    }
    if "ws" in urls:
        urls["ws"]["public"] = {name: f"ws://127.0.0.1:{port}/v5/public/{name}" for name in urls["ws"]["public"]}
    client.options["fetchCurrencies"] = False  # needs a key
    return client


def run_sync(records: Records, name: str) -> None:
    """ccxt over REST: all that it reads of a market, again and again."""
    client = addressed(importlib.import_module("ccxt").bybit(), records.port)
    loaded_s = float("-inf")
    while not records.is_over:
        if time.monotonic() - loaded_s > RELOAD_S:
            loaded_s = time.monotonic()
            tried(records, name, "load_markets", lambda: client.load_markets(True))
        for symbol in (*PERPETUALS, SPOT):
            market, sent_ms = client.market(symbol), time.time() * 1000
            rows = tried(records, name, "fetch_ohlcv", lambda s=symbol: client.fetch_ohlcv(s, "1m", limit=100))  # type: ignore[misc]
            records.candles(name, market["type"], market["id"], rows or [], sent_ms)
            trades = tried(records, name, "fetch_trades", lambda s=symbol: client.fetch_trades(s, limit=50))  # type: ignore[misc]
            for trade in trades or []:
                records.trade(name, market["type"], trade["info"])
            tried(records, name, "fetch_ticker", lambda s=symbol: client.fetch_ticker(s))  # type: ignore[misc]
            book = tried(records, name, "fetch_order_book", lambda s=symbol: client.fetch_order_book(s, 50))  # type: ignore[misc]
            if book and book["bids"][0][0] >= book["asks"][0][0]:
                records.put(name, "failure", call="fetch_order_book", error="crossed")
        time.sleep(POLL_S)


async def run_pro(records: Records, name: str) -> None:
    """ccxt pro: trades, candles, books and tickers over WebSocket, candles over REST beside them."""
    client = addressed(importlib.import_module("ccxt.pro").bybit({"newUpdates": True}), records.port)
    await tried_soon(records, name, "load_markets", client.load_markets)
    tasks = [
        asyncio.create_task(each)
        for each in (
            watch_trades(records, name, client),
            watch_candles(records, name, client),
            watch_book(records, name, client),
            watch_ticker(records, name, client),
            fetch_candles(records, name, client),
        )
    ]
    await asyncio.sleep(max(0.0, records.end_s - time.monotonic()))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    with contextlib.suppress(Exception):
        await client.close()


async def watch_trades(records: Records, name: str, client: Any) -> NoReturn:
    """Trades of two perpetuals."""
    while True:
        for trade in await tried_soon(records, name, "watch_trades_for_symbols",
                                      lambda: client.watch_trades_for_symbols(list(PERPETUALS))) or []:  # fmt: skip
            records.trade(name, "swap", trade["info"])


async def watch_candles(records: Records, name: str, client: Any) -> NoReturn:
    """Candles of a minute, of which the connection brought the whole minute."""
    symbol, since_ms, fails = PERPETUALS[0], time.time() * 1000, 0
    while True:
        try:
            await client.watch_ohlcv(symbol, "1m")
        except Exception as error:  # noqa: BLE001 - as above
            records.failed(name, "watch_ohlcv", error, again=fails > 0)
            await asyncio.sleep(records.pause_s)
            since_ms, fails = time.time() * 1000, fails + 1
            continue
        fails, settled_ms = 0, (time.time() - SETTLED_S) * 1000 - MINUTE_MS
        rows = [row for row in client.ohlcvs[symbol]["1m"] if since_ms <= row[0] <= settled_ms]
        records.candles(name, "swap", "BTCUSDT", rows, settled_ms + MINUTE_MS)
        since_ms = max([since_ms, *(row[0] + 1 for row in rows)])


async def watch_book(records: Records, name: str, client: Any) -> NoReturn:
    """A book, which is never crossed."""
    while True:
        book = await tried_soon(records, name, "watch_order_book", lambda: client.watch_order_book(PERPETUALS[0], 50))
        if book and book["bids"] and book["asks"] and book["bids"][0][0] >= book["asks"][0][0]:
            records.put(name, "failure", call="watch_order_book", error="crossed")


async def watch_ticker(records: Records, name: str, client: Any) -> NoReturn:
    """A ticker."""
    while True:
        await tried_soon(records, name, "watch_ticker", lambda: client.watch_ticker(PERPETUALS[1]))


async def fetch_candles(records: Records, name: str, client: Any) -> NoReturn:
    """Candles over REST."""
    while True:
        sent_ms = time.time() * 1000
        rows = await tried_soon(
            records, name, "fetch_ohlcv", lambda: client.fetch_ohlcv(PERPETUALS[1], "1m", limit=200)
        )
        records.candles(name, "swap", "ETHUSDT", rows or [], sent_ms)
        await asyncio.sleep(POLL_S)


# -- pybit ----------------------------------------------------------------------------------------------------


def run_http(records: Records, name: str) -> None:
    """pybit's HTTP client."""
    http = importlib.import_module("pybit.unified_trading").HTTP()
    http.endpoint = f"http://127.0.0.1:{records.port}"
    while not records.is_over:
        for category, symbol in (("linear", "BTCUSDT"), ("linear", "ETHUSDT"), ("spot", "BTCUSDT")):
            pair, sent_ms = {"category": category, "symbol": symbol}, time.time() * 1000
            rows = tried(records, name, "get_kline", lambda p=pair: http.get_kline(**p, interval=1, limit=100))  # type: ignore[misc]
            records.candles(name, category, symbol, rows["result"]["list"] if rows else [], sent_ms)
            rows = tried(records, name, "get_public_trade_history",
                         lambda p=pair: http.get_public_trade_history(**p, limit=50))  # type: ignore[misc]  # fmt: skip
            for row in rows["result"]["list"] if rows else []:
                records.trade(name, category, row)
            tried(records, name, "get_tickers", lambda p=pair: http.get_tickers(**p))  # type: ignore[misc]
            tried(records, name, "get_orderbook", lambda p=pair: http.get_orderbook(**p, limit=50))  # type: ignore[misc]
        time.sleep(POLL_S)


def run_socket(records: Records, name: str) -> None:
    """pybit's WebSocket client: trades and candles. It does not come back by itself where it is refused: then anew."""
    module: Any = importlib.import_module("pybit.unified_trading")
    module.PUBLIC_WSS = f"ws://127.0.0.1:{records.port}/v5/public/{{CHANNEL_TYPE}}"
    newest_s, fails = time.monotonic(), 0

    def take_trades(message: dict[str, Any]) -> None:
        nonlocal newest_s
        newest_s = time.monotonic()
        for row in message["data"]:
            records.trade(name, "linear", row)

    def take_candles(message: dict[str, Any]) -> None:
        for row in message["data"]:
            if row["confirm"]:
                values = [row["start"], *(row[each] for each in ("open", "high", "low", "close", "volume", "turnover"))]
                records.candles(name, "linear", message["topic"].split(".")[2], [values], float("inf"))

    while not records.is_over:
        try:
            socket = module.WebSocket(channel_type="linear", testnet=False, retries=3)
            socket.trade_stream(["BTCUSDT", "ETHUSDT"], take_trades)
            socket.kline_stream(1, ["BTCUSDT", "ETHUSDT"], take_candles)
        except Exception as error:  # noqa: BLE001 - as above
            records.failed(name, "socket", error, again=fails > 0)
            fails += 1
            time.sleep(records.pause_s)
            continue
        fails, newest_s = 0, time.monotonic()
        while not records.is_over and time.monotonic() - newest_s < 2 * records.pause_s:
            time.sleep(0.1)
        if not records.is_over:
            records.put(name, "retry", call="socket", error="its connection did not come back by itself")
        with contextlib.suppress(Exception):
            socket.exit()


def main() -> int:
    """Run the clients that are named."""
    port, seconds, path, clients = int(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3]), sys.argv[4].split(",")
    logging.disable(logging.CRITICAL)
    threading.excepthook = lambda _: None  # pybit raises in its threads what it has dealt with
    records = Records(path, port, time.monotonic() + seconds, float(sys.argv[5]))
    runs = {"sync": run_sync, "http": run_http, "socket": run_socket}
    names = [(kind, f"{kind}-{number}") for number, kind in enumerate(clients)]
    threads = [
        threading.Thread(target=runs[kind], args=(records, name), name=name, daemon=True)
        for kind, name in names
        if kind in runs
    ]
    for thread in threads:
        thread.start()

    async def run_all() -> None:
        await asyncio.gather(*(run_pro(records, name) for kind, name in names if kind == "pro"))

    asyncio.run(run_all())
    for thread in threads:
        thread.join(4 * records.pause_s)
    records.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
