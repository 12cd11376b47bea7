"""Trades to closed klines in process, JSON bytes in: the collector, and what is on PyPI, on the same 200,000 trades.

Each measurement is a process of its own; the collector's candles are held against slow ones in Decimal every time.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.children import BENCH_PYTHON, ROOT, BenchmarkError, clean_environment, has_package
from benchmarks.klines_trades import REPLAYED, SYMBOLS, TRADES, make
from benchmarks.plot import Panel, draw
from benchmarks.report import Options, Section, median, spread, table

MINUTES = (1, 3, 5, 15, 30, 60, 120, 240, 360, 480, 720, 1440)
COUNTS, SHORT_COUNTS = (1, 3, 7, 12), (1, 12)
LIMIT_S = 120.0  # of one process
OWN = "collector"
PACKAGES = {"cryptofeed": "cryptofeed", "nautilus": "nautilus_trader", "polars": "polars"}
GOAL_US, GOAL_RATIO = 1.5, 1.15
LEFT_OUT = {
    "cryptofeed": "OHLCV: open, high, low, close, volume and vwap in Decimal. Closes by the clock on the wall when the "
    "next trade comes, so it closes nothing here; no duplicates, order, late trades, flat candles or trade count",
    "nautilus": "TimeBarAggregator per symbol and interval on a TestClock; exact to 9 decimals. No turnover, no trade "
    "count, no duplicates or late trades",
    "polars": "a batch of everything at once, decoded by msgspec: duplicates and order yes, floats, no previous close, "
    "nothing before the end",
}


def run(options: Options, folder: Path) -> Section:
    """Measure every contender at 1, 3, 7 and 12 intervals; order as listed, so many runs."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "trades"
    path.write_bytes(b"".join(b"%d %b\n" % message for message in make(seed=1)))
    counts = COUNTS if options.is_long else SHORT_COUNTS
    names = [OWN, *(name for name, package in PACKAGES.items() if options.is_long and has_package(package))]
    found: dict[str, dict[int, list[float]]] = {name: {count: [] for count in counts} for name in names}
    problems: list[str] = []
    for _ in range(options.runs):
        for count in counts:
            for name in names:
                answer = own(path, MINUTES[:count]) if name == OWN else other(name, path, MINUTES[:count])
                found[name][count].append(answer["cpu_s"] / TRADES * 1e6)
                problems += [f"{count} intervals: {wrong}" for wrong in answer.get("wrong", [])]
                print(f"  {name:11s} {count:2d} intervals {found[name][count][-1]:6.2f} us/trade", flush=True)
    return section(found, problems, options.runs)


def section(found: dict[str, dict[int, list[float]]], problems: list[str], runs: int) -> Section:
    """The table; ratios within a run."""
    counts = list(found[OWN])
    rows = []
    for name, by_count in found.items():
        pairs = zip(by_count[counts[-1]], by_count[counts[0]], strict=True)
        rows.append((name, *(spread(by_count[c]) for c in counts), f"{median([a / b for a, b in pairs]):.2f}"))
    text = (
        f"CPU microseconds per trade, {TRADES:,} trades of {SYMBOLS} symbols in a hundred seconds over a half hour's "
        f"end; {REPLAYED} messages come twice, 1 % out of order, 20 after their minute has closed. "
        f"The goal is {GOAL_US} us with one interval, and {GOAL_RATIO} times that with twelve. Medians of {runs}.\n\n"
        + table(("", *(f"{c} interval{'s' * (c > 1)}" for c in counts), f"{counts[-1]} to {counts[0]}"), rows)
        + "\n\n"
        + "\n".join(f"* {name}: {what}." for name, what in LEFT_OUT.items() if name in found)
        + "\n* klines-streamer is not on PyPI; measured apart it took 2.5, 4.2, 7.5 and 11.3 us."
    )
    lines = {name: [(float(c), median(by_count[c])) for c in counts] for name, by_count in found.items()}
    plot = draw([Panel("us a trade against intervals", lines)])
    return Section("Klines: JSON bytes to closed candles", text, found, problems, {"klines": plot})


def own(path: Path, minutes: tuple[int, ...]) -> dict[str, Any]:
    """The collector's aggregator."""
    intervals = ",".join(f"{m}m" if m < 60 else f"{m // 60}h" if m < 1440 else "1D" for m in minutes)
    return _answer([sys.executable, "-m", "benchmarks.klines_own", str(path), intervals])


def other(name: str, path: Path, minutes: tuple[int, ...]) -> dict[str, Any]:
    """A contender's."""
    script = str(ROOT / "benchmarks" / "klines_others.py")
    return _answer([str(BENCH_PYTHON), script, name, str(path), ",".join(map(str, minutes))])


def _answer(command: list[str]) -> dict[str, Any]:
    environment = clean_environment(PYTHONPATH=str(ROOT))
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=LIMIT_S, check=False)
    if done.returncode:
        raise BenchmarkError(f"{command}: {done.stderr.decode()[-1000:]}")
    return dict(json.loads(done.stdout))
