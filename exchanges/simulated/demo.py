"""The demonstration: simulated exchange, `python main.py` and a subscriber, three programs over real sockets.

`python -m exchanges.simulated.demo`; EXCHANGE says which exchange (bybit), DEMO_SECONDS how long (70: a minute closes).
Needs no account, no Redis, no network. Exit code 0 where everything that was sent arrived and every complete kline is
the exchange's own.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

import redis
import requests

ROOT = Path(__file__).resolve().parents[2]
DEFAULT_SECONDS = 70.0
SYMBOLS, RATE = 8, 2_000  # symbols, and messages a second over all kinds
INTERVALS = "1s,1m"
PAGE_PORT = 9500  # where nothing listens there, so that the address is the same every time
BEFORE_S = 3.0  # the exchange has traded before the collector comes, as exchanges do
HEAL_LIMIT_S = 15.0  # for the exchange's own candle in the place of the minute that was only half seen
START_LIMIT_S, DRAIN_LIMIT_S, STOP_LIMIT_S = 20.0, 10.0, 10.0
OUTPUTS = {  # what the collector's channel of each of the exchange's kinds ends with
    "trades": "trades",
    "orderbook": "orderbook",
    "ticker": "ticker",
    "liquidation": "liquidations",
}
DEFAULTS = {
    "ENV_FILE": "none",
    "COINS_FILE": "none",
    "CHANNEL_TYPE": "linear",
    **dict.fromkeys(("RAW_STREAMS", "KLINE_OPEN", "AGGREGATION_CLOCK", "ORDERBOOK_DEPTH"), ""),
}
Published = dict[str, dict[str, Any]]  # by topic: kind and payloads
FIELDS = ("open", "high", "low", "close", "volume", "turnover")


class Downstream(threading.Thread):
    """A downstream program: SUBSCRIBE, count messages, keep the klines."""

    def __init__(self, port: int, exchange: str) -> None:
        super().__init__(name=f"demo-subscriber-{exchange}", daemon=True)
        self._klines_channel = f"stream:{exchange}_klines"
        self.counts: Counter[str] = Counter()
        self.klines: dict[tuple[str, int, int], dict[str, Any]] = {}
        self._pubsub: Any = redis.Redis(port=port).pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
        self._pubsub.psubscribe(f"stream:{exchange}_*")
        self._pubsub.get_message(timeout=START_LIMIT_S)

    def run(self) -> None:
        """Read messages until the server is gone."""
        try:
            for message in self._pubsub.listen():
                channel = message["channel"].decode()
                self.counts[channel] += 1
                if channel == self._klines_channel:
                    self._keep(json.loads(message["data"], parse_float=Decimal)["data"])
        except redis.ConnectionError:
            return

    def _keep(self, klines: list[dict[str, Any]]) -> None:
        for kline in klines:  # a higher revision replaces what it corrects
            self.klines[kline["symbol"], kline["interval"], kline["timestamp"]] = kline


class Exchange:
    """The simulated exchange as a process. `channels`: the collector's, by the kinds that the exchange has."""

    def __init__(self, name: str, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        self.name = name
        ports = json.loads(process.stdout.readline())
        self.ws_url = f"ws://127.0.0.1:{ports['ws_port']}"
        self.rest_url = f"http://127.0.0.1:{ports['rest_port']}"
        stats = self.stats()
        self.channels = {kind: f"stream:{name}_{OUTPUTS[kind]}" for kind in stats["kinds"]}
        self.has_turnover = bool(stats["has_turnover"])  # of the candles that heal a kline
        self.addresses = {"WS_URL": self.ws_url, "REST_URL": self.rest_url}
        if name == "bybit":  # by its own settings, which are older
            self.addresses = {"BYBIT_WS_URL": f"{self.ws_url}/v5/public/linear", "BYBIT_REST_URL": self.rest_url}

    def symbols(self) -> list[str]:
        """All symbols of the linear market."""
        query = {"category": "linear"}
        return list(requests.get(f"{self.rest_url}/sim/symbols", params=query, timeout=DRAIN_LIMIT_S).json()["list"])

    @property
    def is_collected(self) -> bool:
        """Whether the collector has all of its connections: one of each kind."""
        return bool(self.stats()["connections"] == len(self.channels))

    def stats(self) -> dict[str, Any]:
        """The counters of the exchange."""
        return dict(requests.get(f"{self.rest_url}/sim/stats", timeout=DRAIN_LIMIT_S).json())

    def published(self) -> Published:
        """What went out on each topic so far."""
        return dict(requests.get(f"{self.rest_url}/sim/published", timeout=DRAIN_LIMIT_S).json())

    def sent_since(self, before: Published) -> "Counter[str]":
        """Messages of each kind since then, of the topics and connections of then: a page that is open has others."""
        connections = {each for topic in before.values() for each in topic["snapshots"]}
        sent = Counter[str]()
        for name, topic in self.published().items():
            if name in before:
                sent[topic["kind"]] += topic["payloads"] - before[name]["payloads"]
                for each in connections & topic["snapshots"].keys():
                    sent[topic["kind"]] += topic["snapshots"][each] - before[name]["snapshots"].get(each, 0)
        return sent

    def command(self, name: str, **body: Any) -> dict[str, Any]:
        """Send one control command."""
        return dict(requests.post(f"{self.rest_url}/sim/{name}", json=body, timeout=DRAIN_LIMIT_S).json())

    def true_klines(self, symbol: str, interval_ms: int) -> dict[int, dict[str, str]]:
        """The exchange's own closed candles by start (ms), computed apart from the collector."""
        query = {"category": "linear", "symbol": symbol, "interval": str(interval_ms)}
        listed = requests.get(f"{self.rest_url}/sim/klines", params=query, timeout=DRAIN_LIMIT_S).json()["list"]
        return {candle["start"]: candle for candle in listed}


def main() -> int:
    """Run the demo; 0 where everything matched."""
    os.environ |= {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}  # all of it is on this machine
    seconds = float(os.environ.get("DEMO_SECONDS") or DEFAULT_SECONDS)
    with ExitStack() as stack:
        name = os.environ.get("EXCHANGE") or "bybit"
        exchange = start_exchange(stack, name)
        exchange.command("rate", rate=RATE)
        time.sleep(BEFORE_S)
        exchange.command("rate", rate=0)
        port = _free_port()
        page_port = _free_port() if _listens(PAGE_PORT) else PAGE_PORT
        collector = _start_collector(stack, exchange, port, page_port)
        print_line(f"exchange   simulated {name}, {exchange.ws_url}, {SYMBOLS} symbols, {RATE:,} messages a second")
        print_line(f"collector  python main.py (process {collector.pid}), with an embedded server on port {port}")
        downstream = _subscribe(exchange, collector, port)
        print_line(f"page       http://127.0.0.1:{page_port}/")
        print_line(f"subscriber PSUBSCRIBE stream:{name}_*, klines of {INTERVALS}, for {seconds:.0f} seconds")
        before = exchange.published()
        downstream.counts.clear()
        exchange.command("rate", rate=RATE)
        _show_progress(exchange, collector, downstream, before, seconds)
        exchange.command("stop_market")
        drain(exchange, downstream, exchange.sent_since(before))
        sent = exchange.sent_since(before)  # a topic that was subscribed anew meanwhile got a snapshot
        wrong = report(exchange, downstream, sent)
        collector.send_signal(signal.SIGTERM)
        code = collector.wait(STOP_LIMIT_S)
        print_line(f"\ncollector  ended with {code}")
    return int(bool(wrong or code))


def report(exchange: Exchange, downstream: Downstream, sent: Counter[str]) -> int:
    """Print what was sent, received and compared; the number of things that do not match."""
    print_line(f"\n{'raw channel':<28}{'sent':>10}{'received':>10}")
    wrong = 0
    for kind, channel in exchange.channels.items():
        received = downstream.counts[channel]
        wrong += sent[kind] != received
        print_line(f"{channel:<28}{sent[kind]:>10,}{received:>10,}{'' if sent[kind] == received else '  DIFFERENT'}")
    print_line(f"\n{'klines':<28}{'closed':>10}{'partial':>10}{'compared':>10}{'equal':>10}")
    for interval_ms, (closed, partial, equal) in sorted(_compare(exchange, downstream).items()):
        compared = closed - partial
        wrong += compared - equal
        verdict = "" if compared == equal else "  DIFFERENT"
        print_line(f"{f'{interval_ms // 1000} s':<28}{closed:>10,}{partial:>10,}{compared:>10,}{equal:>10,}{verdict}")
    wrong += not downstream.klines
    print_line("partial: sent with complete false, and not healed by the exchange's trades or candles so far")
    return wrong


def _compare(exchange: Exchange, downstream: Downstream) -> dict[int, tuple[int, int, int]]:
    """Per interval: klines closed, those not complete, and those of the others that equal the exchange's."""
    truths: dict[tuple[str, int], dict[int, dict[str, str]]] = {}
    closed, partial, equal = Counter[int](), Counter[int](), Counter[int]()
    for (symbol, interval, start), kline in list(downstream.klines.items()):
        closed[interval] += 1
        if not kline["complete"]:
            partial[interval] += 1
            continue
        if (symbol, interval) not in truths:
            truths[symbol, interval] = exchange.true_klines(symbol, interval)
        truth = truths[symbol, interval].get(start)
        is_near = kline["source"] == "exchange" and not exchange.has_turnover
        names = FIELDS[:-1] if is_near else FIELDS
        equal[interval] += truth is not None and all(Decimal(truth[name]) == Decimal(kline[name]) for name in names)
    return {interval: (closed[interval], partial[interval], equal[interval]) for interval in closed}


def start_exchange(stack: ExitStack, name: str) -> Exchange:
    """Start the simulated exchange of a name, without any market yet; it ends with the stack."""
    arguments = ["--ws-port", "0", "--rest-port", "0", "--rate", "0", "--symbols", str(SYMBOLS), "--true-seconds"]
    command = [sys.executable, "-m", "exchanges.simulated", "--exchange", name, *arguments, "--categories", "linear"]
    return Exchange(name, _run(stack, command, os.environ, ROOT, subprocess.PIPE))


def _start_collector(stack: ExitStack, exchange: Exchange, port: int, page_port: int) -> "subprocess.Popen[str]":
    settings = {
        "EXCHANGE": exchange.name,
        **exchange.addresses,
        "SYMBOLS": ",".join(exchange.symbols()),
        "KLINE_INTERVALS": INTERVALS,
        "REDIS_URL": f"redis://127.0.0.1:{port}/0",
        "ENABLED_CONSUMERS": "redis",
        "KLINE_STORE_PATH": "output/store",  # in the folder below: not among the user's own candles
        "WEBSOCKET_HOST": "127.0.0.1",
        "WEBSOCKET_PORT": str(page_port),
        "LOG_LEVEL": "warning",
        "LOG_FORMAT": "console",
    }
    folder = stack.enter_context(tempfile.TemporaryDirectory())  # away from a .env of the user's
    return _run(stack, [sys.executable, str(ROOT / "main.py")], os.environ | DEFAULTS | settings, folder)


def _run(
    stack: ExitStack, command: list[str], env: Mapping[str, str], cwd: str | Path, stdout: int | None = None
) -> "subprocess.Popen[str]":
    process = subprocess.Popen(command, cwd=cwd, env=dict(env), stdout=stdout, text=True)  # noqa: S603  # our own
    stack.callback(_end, process)
    return process


def _end(process: "subprocess.Popen[str]") -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _subscribe(exchange: Exchange, collector: "subprocess.Popen[str]", port: int) -> Downstream:
    """Subscribe before the market starts, so that every message can be accounted for."""
    deadline_s = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline_s and collector.poll() is None:
        if _listens(port) and exchange.is_collected:
            downstream = Downstream(port, exchange.name)
            downstream.start()
            time.sleep(0.5)  # the first books, sent on subscribing, are through
            return downstream
        time.sleep(0.05)
    raise SystemExit("the collector did not start; its own words are above")


def _show_progress(
    exchange: Exchange,
    collector: "subprocess.Popen[str]",
    downstream: Downstream,
    before: Published,
    seconds: float,
) -> None:
    start_s = time.monotonic()
    while (passed_s := time.monotonic() - start_s) < seconds and collector.poll() is None:
        time.sleep(min(1.0, seconds - passed_s))
        sent = exchange.sent_since(before).total()
        received = sum(downstream.counts[channel] for channel in exchange.channels.values())
        line = f"{time.monotonic() - start_s:5.0f} s  sent {sent:>9,}  received {received:>9,}"
        line += f"  klines {len(downstream.klines):>6,}"
        if sys.stdout.isatty():
            sys.stdout.write(f"\r{line}")
            sys.stdout.flush()
        elif int(passed_s) % 5 == 0:
            print_line(line)


def drain(exchange: Exchange, downstream: Downstream, sent: Counter[str]) -> None:
    """Wait until all messages and the last klines have arrived."""
    deadline_s = time.monotonic() + DRAIN_LIMIT_S
    while time.monotonic() < deadline_s:
        if all(downstream.counts[channel] >= sent[kind] for kind, channel in exchange.channels.items()):
            break
        time.sleep(0.05)
    time.sleep(0.5)
    deadline_s = time.monotonic() + HEAL_LIMIT_S
    while time.monotonic() < deadline_s and not all(k["complete"] for k in list(downstream.klines.values())):
        time.sleep(0.2)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def print_line(line: str) -> None:
    """Print a line at once, also into a pipe."""
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
