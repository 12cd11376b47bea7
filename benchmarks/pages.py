"""The pages benchmark: what open pages cost a collector of 1,250 symbols, beside the same one without a page."""

import contextlib
import http.client
import itertools
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from benchmarks.children import ROOT, BenchmarkError, Child
from benchmarks.report import Options, Section, table
from benchmarks.scrape import free_port

LISTED, RATE = 625, 500  # symbols of each of two markets; messages a second of all
PAGES, VIEWS = 20, (1, 4)  # different symbols that the pages show
SECONDS, LONG_SECONDS, SETTLE_S, READY_LIMIT_S = 10.0, 60.0, 5.0, 120.0
LIMIT = 2.0  # percent of a core, beside what their messages cost
SLOW_MACHINE = 10  # times the limit: a busy machine is not a failure


def run(options: Options, folder: Path) -> Section:
    """One collector; first without a page, then with pages of one symbol, and of several."""
    folder.mkdir(parents=True, exist_ok=True)
    seconds = LONG_SECONDS if options.is_long else SECONDS
    market = ["--symbols", str(LISTED), "--illiquid", str(LISTED - 10), "--categories", "linear,spot"]
    with Child(["-m", "exchanges.simulated", *market, "--rate", str(RATE)], folder / "exchange.log") as exchange:
        ready, port = exchange.answer(), free_port()
        settings = {
            "BYBIT_WS_URL": f"ws://127.0.0.1:{ready['ws_port']}/v5/public/linear",
            "BYBIT_REST_URL": f"http://127.0.0.1:{ready['rest_port']}",
            "LOAD_ALL_SYMBOLS": "true",
            "ENABLE_SPOT_STREAM": "true",
            "REDIS_PORT": str(free_port()),
            "WEBSOCKET_PORT": str(port),
        }
        with Child([str(ROOT / "main.py")], folder / "collector.log", folder, **settings) as collector:
            wait_ready(port, collector)
            alone = share(collector, seconds)
            rows = [("no page", f"{alone:.2f}", "", "")]
            data: dict[str, float] = {"alone": alone}
            beside = {}
            for views in VIEWS:
                with pages(port, PAGES, views) as counts:
                    time.sleep(SETTLE_S)
                    before = sum(counts.values())
                    used = share(collector, seconds)
                    messages = (sum(counts.values()) - before) / seconds
                beside[views] = used - alone
                data |= {f"views_{views}": used, f"messages_{views}": messages}
                name = f"{PAGES} pages, {views} symbol{'s' if views > 1 else ''}"
                rows.append((name, f"{used:.2f}", f"{used - alone:+.2f}", f"{messages:,.0f}"))
    text = f"{2 * LISTED:,} symbols, {RATE} messages a second, klines at six intervals; {seconds:g} s each.\n\n"
    text += table(("", "% of a core", "beside no page, messages included", "messages a second to pages"), rows)
    return Section("Pages", text, data, [f"{each:.1f} %" for each in beside.values() if each > LIMIT * SLOW_MACHINE])


def wait_ready(port: int, collector: Child) -> None:
    """Wait until everything streams."""
    deadline_s = time.monotonic() + READY_LIMIT_S
    while time.monotonic() < deadline_s:
        collector.cpu()  # raises if it has ended
        with (
            contextlib.suppress(OSError),
            contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection,
        ):
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return
        time.sleep(0.5)
    raise BenchmarkError(f"not ready after {READY_LIMIT_S:g} s: {collector.last_words()}")


def share(process: Child, seconds: float) -> float:
    """Percent of a core that a process uses over some seconds."""
    begin = process.cpu()
    time.sleep(seconds)
    return process.cpu().since(begin).total_s / seconds * 100


@contextlib.contextmanager
def pages(port: int, count: int, views: int) -> Iterator[dict[int, int]]:
    """Open pages as a browser does; the messages that each has received."""
    received: dict[int, int] = {}
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(connect(f"ws://127.0.0.1:{port}/live", max_size=None)) for _ in range(count)]
        symbols = itertools.cycle(json.loads(sockets[0].recv(10))["markets"]["linear"]["symbols"][:views])
        for number, (socket, symbol) in enumerate(zip(sockets, symbols, strict=False)):
            view = {"op": "view", "market": "linear", "symbol": symbol, "interval": "1m"}
            socket.send(json.dumps(view))
            threading.Thread(target=read, args=(socket, received, number), name="page", daemon=True).start()
        yield received


def read(socket: ClientConnection, received: dict[int, int], number: int) -> None:
    """Count the messages of one page until it is closed."""
    with contextlib.suppress(ConnectionClosed):
        for _ in socket:
            received[number] = received.get(number, 0) + 1
