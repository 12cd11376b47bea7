"""500 requests a second of 1,000 candles each beside a payload path at 20,000 messages a second, and each alone.

    python -m benchmarks.api_load [--seconds 10] [--rounds 3] [--save]      the long form: --seconds 60
    --kept: clients keep their connections, as those of requests and aiohttp do; else each request has one of its own

A round is the path without requests, the path with them, and requests alone, in an order that turns. An answer's time
is from when its request was due. The candles are those of the store; one series is of another process's hand.
"""

import argparse
import json
import os
import sqlite3
import statistics
import sys
import tempfile
import time
import urllib.request
from contextlib import closing
from pathlib import Path

from benchmarks.children import Child
from benchmarks.contenders import KLINES
from benchmarks.harness import Harness, Sample, measure_load, open_harness, running
from benchmarks.pages import wait_ready
from benchmarks.pool import topics_of
from benchmarks.report import Section, median, save, spread, table
from benchmarks.scrape import free_port

SYMBOLS = 4
PATH_RATE, API_RATE, CANDLES = 20_000, 500, 1_000
MINUTE_MS = 60_000
MEDIAN_LIMIT_MS = 5.0


def run(rounds: int, seconds: float, rate: int, api_rate: int, folder: Path, *, is_kept: bool) -> Section:
    """All rounds on one collector."""
    port = free_port()
    contender = KLINES.but(WEBSOCKET_PORT=str(port), KLINE_STORE_PATH=str(folder / "store"))
    found: dict[str, list[dict[str, float]]] = {"path": [], "both": [], "api": []}
    problems: list[str] = []
    with open_harness(folder, "--linear", str(SYMBOLS)) as this:
        symbols = this.ready["symbols"]["linear"]
        topics = len(topics_of(symbols, kinds=contender.kinds))
        with (
            running(this, folder, contender, topics) as process,
            Child(["-m", "benchmarks.api_loader"], folder / "loader.log") as loader,
        ):
            wait_ready(port, process)
            loader.answer()
            path, expected = fill(next((folder / "store").glob("*.sqlite")), symbols[0], port)
            for number in range(rounds):
                for what in (["path", "both", "api"] * 2)[number % 3 : number % 3 + 3]:
                    if what != "path":
                        loader.send(
                            port=port, path=path, rate=api_rate, seconds=seconds, expected=expected, is_kept=is_kept
                        )
                    before = process.cpu()
                    sample = path_load(this, process, rate, seconds) if what != "api" else None
                    values = {} if sample is None else {"p50": sample.p50_ms, "p99": sample.p99_ms}
                    if sample is not None and sample.is_wrong():
                        problems.append(f"{what}: lost {sample.lost}, {sample.notes}, same {sample.is_unaltered}")
                    if what != "path":
                        values |= answers(loader.answer(seconds + 60), problems)
                    values["cpu"] = process.cpu().since(before).total_s / seconds * 100
                    found[what].append(values)
                    print(what, {name: round(value, 2) for name, value in values.items()}, flush=True)
    how = "kept connections" if is_kept else "a connection each"
    return section(
        found, f"{rounds} rounds of {seconds:g} s, {CANDLES:,} candles an answer, {how}", rate, api_rate, problems
    )


def path_load(harness: Harness, process: Child, rate: int, seconds: float) -> Sample:
    """The path's load for so long."""
    return measure_load(harness, process, KLINES, rate, seconds)


def fill(store: Path, symbol: str, port: int) -> tuple[str, str]:
    """Write the candles of a span long past into the store; the request for them, and what its answer must have."""
    start_ms = int(time.time() * 1000) // MINUTE_MS * MINUTE_MS - 2 * CANDLES * MINUTE_MS
    with closing(sqlite3.connect(store, timeout=10, isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        key = ("linear", symbol, MINUTE_MS)
        database.execute("INSERT OR IGNORE INTO series(market, symbol, step_ms) VALUES (?, ?, ?)", key)
        (series,) = database.execute(
            "SELECT id FROM series WHERE (market, symbol, step_ms) = (?, ?, ?)", key
        ).fetchone()
        for number in range(CANDLES):
            values = (
                f"{91_000 + number}.1",
                "92345.6",
                "90123.4",
                f"{91_001 + number}.1",
                "123.456",
                321,
                "11234567.8901",
            )
            row = (series, start_ms + number * MINUTE_MS, *values, 1, 0, 0)
            database.execute("INSERT OR REPLACE INTO klines VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
        database.execute("COMMIT")
    end_ms = start_ms + (CANDLES - 1) * MINUTE_MS
    path = f"/v5/market/kline?category=linear&symbol={symbol}&interval=1&start={start_ms}&end={end_ms}&limit={CANDLES}"
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        rows = json.loads(answer.read())["result"]["list"]
        if len(rows) != CANDLES or answer.headers["X-Collector"] != "store":
            raise ValueError(f"{len(rows)} candles of {answer.headers['X-Collector']}")
    return path, f'["{start_ms}","91000.1","92345.6","90123.4","91001.1","123.456","11234567.8901"]]'


def answers(found: dict[str, object], problems: list[str]) -> dict[str, float]:
    """What the loader says, in figures."""
    ages = found["ages_ms"]
    assert isinstance(ages, list)
    if found["count_of_wrong"]:
        problems.append(f"{found['count_of_wrong']} wrong answers: {found['wrong']}")
    cuts = statistics.quantiles(ages, n=100)
    return {"answers": float(len(ages)), "median": cuts[49], "a99": cuts[98], "most": max(ages)}


def section(
    found: dict[str, list[dict[str, float]]], what_ran: str, rate: int, api_rate: int, problems: list[str]
) -> Section:
    """Write the table; the times of the path in pairs."""
    names = {
        "path": f"path at {rate:,}/s alone",
        "both": f"path at {rate:,}/s and {api_rate} requests a second",
        "api": f"{api_rate} requests a second alone",
    }
    rows = [
        (name, *(spread([each[column] for each in found[what] if column in each]) if column in found[what][0] else ""
                 for column in ("p50", "p99", "median", "a99", "cpu")))
        for what, name in names.items()
    ]  # fmt: skip
    pairs = [both["p99"] - alone["p99"] for alone, both in zip(found["path"], found["both"], strict=True)]
    if median([each["median"] for each in found["both"]]) > MEDIAN_LIMIT_MS:
        problems.append("the median of answers is over its limit")
    text = f"{what_ran}. Median (least to most).\n\n"
    head = ("", "payload p50 ms", "p99 ms", "answer median ms", "p99 ms", "% of a core")
    text += table(head, rows) + f"\n\np99 of the path with requests less without: {spread(pairs)} ms in pairs."
    return Section("API load", text, {"rounds": found}, problems)


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.api_load", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rate", type=int, default=PATH_RATE)
    parser.add_argument("--api-rate", type=int, default=API_RATE)
    parser.add_argument("--kept", action="store_true")
    parser.add_argument("--save", action="store_true", help="write results/<date>-api-load.md")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        found = run(options.rounds, options.seconds, options.rate, options.api_rate, Path(folder), is_kept=options.kept)
    print(found.text)
    for problem in found.problems:
        print(f"FAILED {problem}")
    print(f"load average before: {load:.1f}")
    if options.save:
        command = f"python -m benchmarks.api_load --seconds {options.seconds:g} --rounds {options.rounds}"
        command += " --kept" if options.kept else ""
        print(f"written: {save([found], command, 'api-load-kept' if options.kept else 'api-load')}")
    return 1 if found.problems else 0


if __name__ == "__main__":
    sys.exit(main())
