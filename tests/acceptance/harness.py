"""The collector as a user runs it, and a subscriber beside it: processes and sockets."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import redis

from exchanges.registry import VENUES
from tests.support.schema import check_channels
from tests.support.waiting import LIMIT_S, wait_until

ROOT = Path(__file__).resolve().parents[2]
MAIN = ROOT / "main.py"
LOG_LINES_KEPT = 5_000
STOP_TIMEOUT_S = "30"  # unless a test sets its own: a busy machine drains in more than the default
MARK = "stream:mark"  # what a subscriber publishes to itself
OURS = ("stream:bybit_klines", "stream:bybit_status")  # channels that carry no payload of the exchange


class CollectorProcess:
    """`python main.py` (or another script) with settings from the environment alone; a context manager.

    Log lines are JSON on stderr, kept as dicts in `logs`; other lines are kept as they are in `output`. Each of the two
    has a pipe of its own: in one, a log line may stand between a printed text and the end of its line.
    """

    def __init__(self, cwd: Path, script: Path = MAIN, /, *arguments: str, **settings: object) -> None:
        self.logs: list[dict[str, Any]] = []
        self.output: list[str] = []
        env = {name: value for name, value in os.environ.items() if not name.startswith("STREAMER_")}
        env |= {"PYTHONPATH": str(ROOT), "LOG_FORMAT": "json", "STOP_TIMEOUT": STOP_TIMEOUT_S}
        env |= {"WEBSOCKET_PORT": "0"}  # several run at a time
        env |= {name: str(value) for name, value in settings.items()}
        self.process = subprocess.Popen(
            [sys.executable, str(script), *arguments],
            cwd=cwd,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout
        assert self.process.stderr
        pipes = self.process.stdout, self.process.stderr
        self._readers = [threading.Thread(target=self._read, args=(pipe,), daemon=True) for pipe in pipes]
        for reader in self._readers:
            reader.start()

    def _read(self, pipe: IO[str]) -> None:
        for line in pipe:
            try:
                entry = json.loads(line)
                self.logs.append(entry if isinstance(entry, dict) else {"event": line})
            except ValueError:
                self.output.append(line.rstrip("\n"))
            del self.logs[:-LOG_LINES_KEPT], self.output[:-LOG_LINES_KEPT]
        pipe.close()

    def events(self, name: str) -> list[dict[str, Any]]:
        """The log lines of one event."""
        return [entry for entry in self.logs if entry.get("event") == name]

    def wait_for(self, event: str, limit_s: float = LIMIT_S, count: int = 1) -> dict[str, Any]:
        """Wait for a log line; returns the newest."""
        wait_until(lambda: len(self.events(event)) >= count or self.process.poll() is not None, limit_s)
        if len(self.events(event)) < count:
            self._join_readers()  # it has ended, and its last lines may not have been read yet
        assert len(self.events(event)) >= count, self.newest_output()
        return self.events(event)[-1]

    @property
    def status(self) -> dict[str, Any]:
        """The newest status line; waits for the first."""
        return self.wait_for("status")

    def stop(self, number: int = signal.SIGTERM, limit_s: float = LIMIT_S) -> int:
        """Signal it, wait, return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.wait(limit_s)

    def wait(self, limit_s: float = LIMIT_S) -> int:
        """Wait for its end, return the exit code."""
        code = self.process.wait(limit_s)
        self._join_readers()
        return code

    def _join_readers(self) -> None:
        for reader in self._readers:
            reader.join(5.0)

    def newest_output(self) -> str:
        """The newest log lines and other output, for a failing test."""
        return "\n".join([*(json.dumps(entry) for entry in self.logs[-30:]), *self.output[-30:]])

    @property
    def threads(self) -> int:
        """Threads of the living process."""
        return len(list(Path(f"/proc/{self.process.pid}/task").iterdir()))

    @property
    def resident_mb(self) -> float:
        """Resident memory of the living process."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) / 1024

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10.0)
        self._join_readers()
        if kind is not None:
            print(f"a collector's newest output:\n{self.newest_output()}")  # noqa: T201 - shown where the test fails


class Subscriber:
    """A downstream program: PSUBSCRIBE stream:*, every message kept by channel. A context manager.

    Its end checks every message by the schema of it.
    """

    def __init__(self, port: int, exchange: str = "bybit") -> None:
        self._klines = f"stream:{exchange}_klines"
        self.received: dict[str, list[bytes]] = defaultdict(list)
        self._client = redis.Redis(port=port)
        self._pubsub = self._client.pubsub(ignore_subscribe_messages=True)
        self._stop = threading.Event()
        self._marks = 0
        self._thread = threading.Thread(target=self._read, name="subscriber", daemon=True)

    def __enter__(self) -> Self:
        self._pubsub.psubscribe("stream:*")
        self._pubsub.get_message(timeout=5.0)
        self._thread.start()
        return self

    def _read(self) -> None:
        while not self._stop.is_set():
            try:
                message = self._pubsub.get_message(timeout=0.2)
            except redis.RedisError:
                self._stop.wait(0.05)  # the server is away: the library subscribes again when it is back
                continue
            if message:
                channel = message["channel"].decode()
                if channel == MARK:
                    self._marks += 1
                else:
                    self.received[channel].append(message["data"])

    def catch_up(self) -> None:
        """Wait until everything that was published before this call is in `received`."""
        marks = self._marks
        self._client.publish(MARK, b"")
        wait_until(lambda: self._marks > marks)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            with contextlib.suppress(redis.RedisError):  # the server is gone: there is nothing to come
                self.catch_up()
        self._stop.set()
        self._thread.join(5.0)
        self._pubsub.close()
        self._client.close()
        if kind is None:
            check_channels(self.received)

    def counts(self) -> dict[str, int]:
        """Messages received per channel."""
        return {channel: len(messages) for channel, messages in self.received.items()}

    def klines(self) -> list[dict[str, Any]]:
        """Every kline received, in order, with its `channel`; numbers as exact decimals."""
        found = []
        for message in list(self.received[self._klines]):
            envelope = json.loads(message, parse_float=Decimal)
            found += [{"channel": envelope["channel"], **kline} for kline in envelope["data"]]
        return found


def listens(port: int) -> bool:
    """Whether something accepts connections on this port of 127.0.0.1."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


VALUES = ("open", "high", "low", "close", "volume")


def latest(klines: Iterable[dict[str, Any]]) -> dict[tuple[str, str, int, int], dict[str, Any]]:
    """The highest revision of each kline by channel, symbol, interval and start."""
    by_key: dict[tuple[str, str, int, int], dict[str, Any]] = {}
    for kline in klines:
        key = kline["channel"], kline["symbol"], kline["interval"], kline["timestamp"]
        if key not in by_key or kline["revision"] >= by_key[key]["revision"]:
            by_key[key] = kline
    return by_key


def completes(subscriber: Subscriber, channel: str | None = None) -> int:
    """How many candles, of one market or of all, are complete by now, each counted once.

    A stop may take back those of its last two seconds: wait for more of them than are asserted after it.
    """
    newest = latest(subscriber.klines()).values()
    return sum(kline["complete"] for kline in newest if channel in (None, kline["channel"]))


def wait_for_more_completes(subscriber: Subscriber, count: int) -> None:
    """Wait until more than so many candles more than now are complete."""
    done = completes(subscriber)
    wait_until(lambda: completes(subscriber) > done + count)


def wrong_klines(klines: Iterable[dict[str, Any]], sim: Any, *, every_issue: bool = False) -> tuple[int, list[Any]]:
    """How many complete klines were compared with the simulator's truth, and those that differ.

    The last issue of each, or every one. Candles of an exchange that have no turnover are compared without it.
    """
    truths: dict[Any, Any] = {}
    compared, wrong = 0, []
    issues = list(klines) if every_issue else latest(klines).values()
    for kline in issues:
        channel, symbol, interval, start = (kline[name] for name in ("channel", "symbol", "interval", "timestamp"))
        if not kline["complete"]:
            continue
        if (channel, symbol, interval) not in truths:
            listed = sim.klines(symbol, interval, category=channel)
            truths[channel, symbol, interval] = {truth["start"]: truth for truth in listed}
        truth = truths[channel, symbol, interval].get(start, {})
        compared += 1
        rules = VENUES[sim.exchange].markets[channel].klines if sim.exchange in VENUES else None
        is_estimated = kline["source"] == "exchange" and rules is not None and rules.lacks_turnover
        names = VALUES if is_estimated else (*VALUES, "turnover")
        number: Any = float if is_estimated else Decimal  # those of BingX's spot are doubles
        expected = [number(truth[name]) for name in names] if truth else None
        if expected != [number(kline[name]) for name in names]:
            wrong.append((kline, truth))
    return compared, wrong
