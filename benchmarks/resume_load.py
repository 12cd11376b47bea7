"""How long a start takes to read what an earlier run published, from a store of many series and days.

`python -m benchmarks.resume_load [--symbols 625 --days 30]`: 12 intervals each; the file (4 GB) goes to a temporary
folder, and is removed. Beside it the files that versions before the store kept, with the same klines.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec

from consumers.redis.checkpoint.old_files import read_old_files
from consumers.store.published import EarlierStore
from consumers.store.schema import open_writer
from model.envelope import Envelope
from model.intervals import DAY_MS, HOUR_MS, MINUTE_MS
from model.records import Kline

STEPS_MS = [n * MINUTE_MS for n in (1, 3, 5, 15, 30, 60, 120, 240, 360, 720, 1_440)] + [7 * DAY_MS]
MONDAY_MS = 1_795_996_800_000  # when an earlier run that ended right then had closed klines of every interval
INCOMPLETE = 2_000  # of the last hour, by the exchange's REST API being away
ROUNDS = 5
FILL = """WITH RECURSIVE numbers(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < ?2)
INSERT INTO klines SELECT ?1, ?3 + n * ?4, '92967.8', '92970.8', '92815.5', '92846.1', '33.404285', 3664,
  '3104285.99121', 1, 0, 0 FROM numbers"""


def fill(path: Path, symbols: int, days: int, end_ms: int) -> int:
    """Write a store; returns how many klines it has."""
    rows = 0
    with closing(open_writer(path)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        series = [(f"S{number}USDT", step_ms) for number in range(symbols) for step_ms in STEPS_MS]
        for place, (symbol, step_ms) in enumerate(series, 1):
            count = max(1, days * DAY_MS // step_ms)
            start_ms = (end_ms // step_ms - count) * step_ms
            connection.execute("BEGIN")
            connection.execute("INSERT INTO series VALUES(?, 'linear', ?, ?)", (place, symbol, step_ms))
            connection.execute(FILL, (place, count, start_ms, step_ms))
            last_ms = start_ms + (count - 1) * step_ms
            connection.execute("INSERT INTO published VALUES(?, ?, 0, 1)", (place, last_ms))
            connection.execute("COMMIT")
            rows += count
        connection.execute(
            "UPDATE klines SET complete = 0 WHERE start_ms >= ? AND series % 12 = 1 AND series <= ?",
            (end_ms - HOUR_MS, INCOMPLETE // 60 * 12),
        )
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return rows


def write_old_files(path: Path, store: EarlierStore) -> None:
    """Write the same as those versions left it."""
    heads = [
        {"symbol": key[1], "interval": key[2], "timestamp": last.start_ms, "complete": True, "revision": 0}
        for key, last in store.marks.items()
    ]
    path.write_bytes(msgspec.json.encode({"linear": heads}))
    klines: list[Kline] = [kline for _, kline in store.published(store.marks).recent]
    parts = (tuple(klines[first : first + 100]) for first in range(0, len(klines), 100))
    lines = (Envelope("bybit", "linear", "klines", part).json + b"\n" for part in parts)
    path.with_suffix(".recent.jsonl").write_bytes(b"".join(lines))


def forget(path: Path) -> None:
    """Have the system drop what it keeps of a file in memory."""
    descriptor = os.open(path, os.O_RDONLY)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def took(act: Callable[[], object]) -> tuple[float, float]:
    """Time one call: elapsed and CPU time, ms."""
    begin_s, begin_cpu_s = time.perf_counter(), time.process_time()
    act()
    return (time.perf_counter() - begin_s) * 1000, (time.process_time() - begin_cpu_s) * 1000


def median_ms(act: Callable[[], object]) -> list[float]:
    """Time some calls; returns the median of each time."""
    return [round(statistics.median(times), 1) for times in zip(*(took(act) for _ in range(ROUNDS)), strict=True)]


def main() -> int:
    """Write, read, print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.resume_load", description=__doc__)
    parser.add_argument("--symbols", type=int, default=625, help="with 12 intervals each")
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument(
        "--minute", type=int, default=22, help="of the week, in which the earlier run ended; 0: all closed"
    )
    options = parser.parse_args()

    def load() -> int:
        store = EarlierStore.read(path)
        found = store.published(store.held(store.marks))
        return len(found.recent)

    with tempfile.TemporaryDirectory(prefix="resume-load-") as folder:
        path, old = Path(folder) / "store.sqlite", Path(folder) / "old.published.json"
        rows = fill(path, options.symbols, options.days, MONDAY_MS + options.minute * MINUTE_MS)
        write_old_files(old, EarlierStore.read(path))
        forget(path)
        cold_ms, _ = took(load)
        figures = {
            "series": options.symbols * len(STEPS_MS),
            "klines": rows,
            "file_mb": path.stat().st_size // 1_000_000,
            "read_whole": load(),
            "cold_ms": round(cold_ms, 1),
            "warm_ms, cpu_ms": median_ms(load),
            "old_files_ms, cpu_ms": median_ms(lambda: read_old_files(old)),
        }
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
