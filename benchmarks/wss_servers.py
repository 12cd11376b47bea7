"""One WSS server under load, as a process of its own: the collector's output, or one of two that people write.

`python -m benchmarks.wss_servers ours|broadcast|sequential`; commands come as JSON lines. All three are fed the same
envelopes by a thread at a set rate, and all filter by the symbols of a client.
"""

import asyncio
import contextlib
import json
import resource
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Protocol

import structlog
from websockets.asyncio.server import ServerConnection, broadcast, serve

from consumers.web.options import WebOptions
from consumers.web.server import WebServer
from consumers.worker import Worker
from model.envelope import Envelope
from model.records import Kline

SYMBOLS = [f"S{number:03d}USDT" for number in range(200)]
USER, KEY = "admin", "s3cret"
TICK_S = 0.001  # the feeder offers what is due this often
SETTLE_S = 5.0


def kline(number: int) -> Kline:
    """The number-th kline: its start counts per symbol, its trade count is the microsecond it is offered at."""
    return Kline(
        symbol=SYMBOLS[number % len(SYMBOLS)],
        interval=60_000,
        timestamp=number // len(SYMBOLS) * 60_000,
        open=Decimal("92967.8"),
        high=Decimal("92970.8"),
        low=Decimal("92815.5"),
        close=Decimal("92846.1"),
        volume=Decimal("33.404285"),
        trade_count=time.monotonic_ns() // 1000,
        turnover=Decimal("3104285.99121"),
        complete=True,
        source="trades",
        revision=0,
    )


class Server(Protocol):
    """A server as the feeder uses it."""

    port: int

    def offer(self, envelope: Envelope) -> None: ...
    def counters(self) -> dict[str, float]: ...


class Ours:
    """The collector's output on its own thread."""

    def __init__(self) -> None:
        options = WebOptions(port=0, user=USER, key=KEY, max_clients=2_000)
        self._consumer = WebServer(options)
        self._worker = Worker(self._consumer, "websocket")
        self._worker.start()
        self._worker.wait_settled(time.monotonic() + SETTLE_S)
        self.port = self._consumer.port or 0

    def offer(self, envelope: Envelope) -> None:
        self._worker.offer(envelope)

    def counters(self) -> dict[str, float]:
        stats = self._worker.stats()
        return {"queued": stats.queued, "dropped": stats.dropped, **stats.extra}


class Simple:
    """A server as tutorials have it: `send` gets the clients that want a text, and the text."""

    def __init__(self, send: Callable[[set[ServerConnection], str], Any]) -> None:
        self._send = send
        self._wanting: dict[str, set[ServerConnection]] = defaultdict(set)
        self._count = 0
        self.port = 0
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True).start()
        self._ready.wait(SETTLE_S)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[Envelope] = asyncio.Queue()
        async with serve(self._serve, "127.0.0.1", 0, compression=None) as server:
            self.port = server.sockets[0].getsockname()[1]
            self._ready.set()
            while True:
                envelope = await self._queue.get()
                clients = self._wanting[envelope.data[0].symbol]
                result = self._send(clients, envelope.json.decode())
                if result is not None:
                    await result

    async def _serve(self, connection: ServerConnection) -> None:
        self._count += 1
        wanted: list[str] = []
        with contextlib.suppress(Exception):
            await connection.send('{"status":"authenticated"}')
            request = json.loads(await connection.recv())
            wanted = SYMBOLS if request["args"] == ["*"] else [topic.split(".")[-1] for topic in request["args"]]
            await connection.send('{"op":"subscribe","success":true}')
            for symbol in wanted:
                self._wanting[symbol].add(connection)
            await connection.wait_closed()
        for symbol in wanted:
            self._wanting[symbol].discard(connection)
        self._count -= 1

    def offer(self, envelope: Envelope) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._queue.put_nowait, envelope)

    def counters(self) -> dict[str, float]:
        return {"clients": self._count, "queued": self._queue.qsize()}


async def one_after_another(clients: set[ServerConnection], text: str) -> None:
    """`await send` in a loop: as fast as the slowest."""
    for client in list(clients):
        with contextlib.suppress(Exception):
            await client.send(text)


SERVERS: dict[str, Callable[[], Server]] = {
    "ours": Ours,
    "broadcast": lambda: Simple(broadcast),
    "sequential": lambda: Simple(one_after_another),
}


def feed(server: Server, rate: int, seconds: float) -> int:
    """Offer klines at a steady rate; returns how many."""
    begin_s, offered, total = time.monotonic(), 0, int(rate * seconds)
    while offered < total:
        due = min(total, (time.monotonic() - begin_s) * rate)
        while offered < due:
            server.offer(Envelope("bybit", "linear", "klines", (kline(offered),)))
            offered += 1
        time.sleep(TICK_S)
    return offered


def main() -> None:
    """Answer commands: `feed` and `state`."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # stdout is for answers
    server = SERVERS[sys.argv[1]]()
    print(json.dumps({"port": server.port}), flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        answer: dict[str, Any] = {}
        if command["do"] == "feed":
            answer["offered"] = feed(server, command["rate"], command["seconds"])
        answer |= server.counters()
        answer["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
