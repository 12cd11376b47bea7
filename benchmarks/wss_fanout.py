"""500 WSS clients, 50 of whom never read: the collector's output beside two servers that people write.

`python -m benchmarks.wss_fanout [--save]`. A server and the clients are processes of their own; each contender meets
the same klines at the same rate. Fails where the collector's output loses, reorders or delays what it promises not to.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.children import Child
from benchmarks.wss_servers import SYMBOLS

P99_LIMIT_MS = 250.0
COLUMNS = (
    "load", "server", "received", "missing", "out_of_order", "p50_ms", "p99_ms", "max_ms", "cpu_s", "swarm_cpu_s",
    "peak_mb", "stuck_closed", "left_queued",
)  # fmt: skip


def measure(server: str, load: str, options: argparse.Namespace, per_client: int, folder: Path) -> dict[str, Any]:
    """One contender under one load."""
    with (
        Child(["-m", "benchmarks.wss_servers", server], folder / f"{server}.log") as serving,
        Child(["-m", "benchmarks.wss_swarm"], folder / "swarm.log") as swarm,
    ):
        port = serving.answer()["port"]
        checked = options.readers if per_client < len(SYMBOLS) else options.checked
        swarm.ask(
            60, do="connect", port=port, readers=options.readers, stuck=options.stuck, per_client=per_client,
            checked=checked,
        )  # fmt: skip
        before, swarm_before = serving.cpu(), swarm.cpu()
        offered = options.rate * options.seconds
        swarm.send(do="read", seconds=options.seconds, offered=offered)
        serving.ask(options.seconds + 60, do="feed", rate=options.rate, seconds=options.seconds)
        result = swarm.answer(options.seconds + 120)
        state = serving.ask(30, do="state")
        cpu_s, swarm_cpu_s = serving.cpu().since(before).total_s, swarm.cpu().since(swarm_before).total_s
    names = {"load": load, "server": server, "cpu_s": cpu_s, "swarm_cpu_s": swarm_cpu_s}
    return {**names, **result, "peak_mb": state["peak_mb"], "left_queued": state["queued"], "state": state}


def row(result: dict[str, Any]) -> str:
    """One line of the table."""
    cells = [result[name] for name in COLUMNS]
    return "| " + " | ".join(f"{cell:,.1f}" if isinstance(cell, float) else str(cell) for cell in cells) + " |"


def faults(result: dict[str, Any], options: argparse.Namespace) -> list[str]:
    """What the collector's output promised and did not keep."""
    wrong = [name for name in ("missing", "out_of_order", "closed_readers") if result[name]]
    if result["p99_ms"] is None or result["p99_ms"] > P99_LIMIT_MS:
        wrong.append("p99_ms")
    if result["state"]["closed_slow"] != options.stuck:
        wrong.append("closed_slow")
    return wrong


def main() -> int:
    """Run all contenders; 1 where the collector's output fails its promise under the narrowed load."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--rate", type=int, default=2_000, help="envelopes a second before filtering")
    parser.add_argument("--readers", type=int, default=450)
    parser.add_argument("--stuck", type=int, default=50)
    parser.add_argument("--per-client", type=int, default=10, help=f"symbols of {len(SYMBOLS)} a client wants")
    parser.add_argument("--checked", type=int, default=20, help="clients whose every message is looked at, unfiltered")
    parser.add_argument("--servers", default="ours,broadcast,sequential")
    parser.add_argument("--loads", default="narrowed,unfiltered")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    print("| " + " | ".join(COLUMNS) + " |\n|" + " --- |" * len(COLUMNS), flush=True)
    results, wrong = [], []
    with tempfile.TemporaryDirectory() as folder:
        for load in options.loads.split(","):
            per_client = options.per_client if load == "narrowed" else len(SYMBOLS)
            for server in options.servers.split(","):
                result = measure(server, load, options, per_client, Path(folder))
                results.append(result)
                print(row(result), flush=True)
                if server == "ours" and load == "narrowed":
                    wrong = faults(result, options)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))
    if wrong:
        print(f"failed: {', '.join(wrong)}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
