"""The scrape benchmark: what GET /metrics takes of a collector of 1,250 symbols, at rest and under load."""

import http.client
import socket
import threading
import time
from pathlib import Path

from benchmarks.children import Child
from benchmarks.harness import Harness, open_harness, running
from benchmarks.market import LINEAR, SPOT, collector
from benchmarks.report import Options, Section, median, spread, table

SCRAPES, LONG_SCRAPES = 100, 500
RATE, LOAD_S = 10_000, 5.0
LIMIT_MS = 20.0
SLOW_MACHINE = 10  # times the limit: a busy machine is not a failure


def run(options: Options, folder: Path) -> Section:
    """One collector of both markets, scraped again and again."""
    count, port = LONG_SCRAPES if options.is_long else SCRAPES, free_port()
    with open_harness(folder, "--linear", str(LINEAR), "--spot", str(SPOT), "--pool", "20000") as this:
        own = collector(this.ready["symbols"]).but(WEBSOCKET_PORT=str(port))
        with running(this, folder, own, this.ready["topics"]) as process:
            scrape(port)  # the first imports what makes the text
            begin = process.cpu()
            at_rest_ms = [scrape(port)[0] for _ in range(count)]
            cpu_ms = process.cpu().since(begin).total_s * 1000 / count
            size = scrape(port)[1]
            loaded_ms = under_load(this, process, port)
    rows = [
        ("at rest, ms", spread(at_rest_ms), f"{LIMIT_MS:.0f}"),
        (f"at {RATE:,} messages a second, ms", spread(loaded_ms), f"{LIMIT_MS:.0f}"),
        ("CPU of the collector per scrape at rest, ms", f"{cpu_ms:.2f}", ""),
        ("size, kB", f"{size / 1000:.1f}", ""),
    ]
    text = f"{LINEAR} linear and {SPOT} spot symbols, four kinds, 12 intervals; over HTTP, {count} scrapes at rest.\n\n"
    text += table(("", "median (least to most)", "limit"), rows)
    slow = [ms for ms in map(median, (at_rest_ms, loaded_ms)) if ms > LIMIT_MS * SLOW_MACHINE]
    data = {"at_rest_ms": at_rest_ms, "loaded_ms": loaded_ms, "cpu_ms": cpu_ms, "bytes": size}
    return Section("Scrape", text, data, [f"{ms:.0f} ms" for ms in slow])


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def under_load(harness: Harness, process: Child, port: int) -> list[float]:
    """Scrape as often as Prometheus never does while messages come."""
    taken_ms: list[float] = []
    load = {"do": "send", "rate": RATE, "seconds": LOAD_S, "tick_ms": 15}
    sending = threading.Thread(target=lambda: harness.flooder.ask(LOAD_S + 40, **load), name="sending")
    sending.start()
    time.sleep(1.0)
    while sending.is_alive():
        process.cpu()  # raises if it has ended
        taken_ms.append(scrape(port)[0])
        time.sleep(0.05)
    sending.join()
    return taken_ms


def scrape(port: int) -> tuple[float, int]:
    """Milliseconds and bytes of one scrape, on a connection of its own."""
    begin_s = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/metrics")
    body = connection.getresponse().read()
    connection.close()
    return (time.perf_counter() - begin_s) * 1000, len(body)
