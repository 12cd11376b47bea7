"""The candle store: layouts compared, and a file of many rows written, asked and cleaned up.

    python -m benchmarks.store                      # a minute or two: 1.5 million rows of each layout
    python -m benchmarks.store --long --save        # 5 million of each, a file of 100 million: an hour, 12 GB in /tmp

600 symbols in 12 intervals. The layouts are filled as a collector does, boundary by boundary; the large file series by
series, for that takes an hour otherwise. Ends with 1 where an answer is wrong.
"""

import argparse
import contextlib
import hashlib
import math
import os
import random
import shutil
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path

from benchmarks.report import Section, as_markdown, save, table, today
from consumers.store import schema
from consumers.store.cleaning import ROWS, used_bytes
from consumers.store.reader import KLINE_FORM
from consumers.store.store import StoreConsumer, StoreOptions
from consumers.store.writer import ADD_KLINES, ADD_SERIES
from model.envelope import Envelope
from model.intervals import DAY_MS, MINUTE_MS, WEEK_MS
from model.records import Kline

SYMBOLS = 600
STEPS_MS = [minutes * MINUTE_MS for minutes in (1, 3, 5, 15, 30, 60, 120, 240, 360, 720, 1440, 10080)]
BEGIN_MS = 1_767_571_200_000  # a Monday, where all intervals begin
PER_ENVELOPE = 100
ANSWER = 1_000  # klines
ANSWERS = 200
COLD_ANSWERS = 50
FILL_CACHE_KB = 2_000_000
LAYOUTS = {
    "by series (chosen)": "PRIMARY KEY(series, start_ms)) WITHOUT ROWID",
    "by time": "PRIMARY KEY(start_ms, series)) WITHOUT ROWID",
    "rows as they come, an index by series": "UNIQUE(series, start_ms))",
}
HASHED_BYTES = 30_000_000
CLEANING_S = 60.0  # of the clean-up, at most
VALUES = 10_007  # different ones of each field
HEAD = ("", "value")
_COLUMNS = "series, start_ms, open, high, low, close, volume, trade_count, turnover, complete, source, revision"
_MADE = "price, price, price, price, volume, made.id, turnover, 1, 0, 0"
FILL_BOUNDARY = f"""INSERT INTO klines({_COLUMNS})
  SELECT series.id, ?1 - step_ms, {_MADE} FROM series CROSS JOIN made
  WHERE made.id = (series.id * 7919 + ?2) % {VALUES} AND step_ms IN"""
FILL_SERIES = f"""WITH RECURSIVE number(n) AS
    (SELECT 0 WHERE ?4 > 0 UNION ALL SELECT n + 1 FROM number WHERE n + 1 < ?4)
  INSERT INTO klines({_COLUMNS})
  SELECT ?1, ?2 + n * ?3, {_MADE} FROM number CROSS JOIN made WHERE made.id = (n * 7919 + ?1) % {VALUES}"""
SYMBOL_OF = "S{:03d}USDT"


def main() -> int:
    """Measure, print, and save where that is asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.store", description=__doc__)
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--rows", type=int, help="of the large file, in all; 1.5 million, or 100 with --long")
    parser.add_argument("--layout-rows", type=int, help="of each layout; 1.5 million, or 5 with --long")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--save", action="store_true", help="write results/<date>-store.md")
    asked = parser.parse_args()
    rows = asked.rows or (100_000_000 if asked.long else 1_500_000)
    layout_rows = asked.layout_rows if asked.layout_rows is not None else (5_000_000 if asked.long else 1_500_000)
    folder = Path(tempfile.mkdtemp(prefix="store-benchmark-", dir=asked.folder))
    try:
        sections = [*([layouts(folder, layout_rows)] if layout_rows else []), large_file(folder, rows)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    command = " ".join(["python -m benchmarks.store", *sys.argv[1:]])
    print(as_markdown(sections, command, today()))
    if asked.save:
        print(save(sections, command, "store"))
    return 1 if any(section.problems for section in sections) else 0


# -- what is written ------------------------------------------------------------------------------------------


def boundary(at_ms: int, steps_ms: Sequence[int] = STEPS_MS, symbols: int = SYMBOLS) -> list[Envelope]:
    """The envelopes of what closes at a time, encoded."""
    pick = random.Random(at_ms)
    klines = []
    for step_ms in steps_ms:
        for number in range(symbols):
            price = Decimal(pick.randrange(10**6, 10**7)) / 100
            volume = Decimal(pick.randrange(10**9)) / 10**6
            klines.append(
                Kline(
                    SYMBOL_OF.format(number), step_ms, at_ms - step_ms, price, price + 1, price - 1, price, volume,
                    pick.randrange(10_000), price * volume, True, "trades", 0,
                )
            )  # fmt: skip
    groups = (klines[first : first + PER_ENVELOPE] for first in range(0, len(klines), PER_ENVELOPE))
    envelopes = [Envelope("bybit", "linear", "klines", tuple(group)) for group in groups]
    for envelope in envelopes:
        len(envelope.json)
    return envelopes


def fill(path: Path, rows: int, key: str | None = None, *, is_sorted: bool = False) -> tuple[int, int, float]:
    """Make a file of about so many rows, minute by minute; returns rows, the time of its end, seconds.

    `is_sorted`: series by series, whole days.
    """
    connection = schema.open_writer(path)
    if key is not None:
        _change_layout(connection, key)
    for statement in ("synchronous = OFF", "journal_mode = OFF", f"cache_size = -{FILL_CACHE_KB}"):
        connection.execute(f"PRAGMA {statement}")
    series = [("linear", SYMBOL_OF.format(number), step_ms) for step_ms in STEPS_MS for number in range(SYMBOLS)]
    connection.executemany("INSERT INTO series(market, symbol, step_ms) VALUES(?, ?, ?)", series)
    connection.execute("CREATE TEMP TABLE made(id INTEGER PRIMARY KEY, price TEXT, volume TEXT, turnover TEXT)")
    pick = random.Random(1)
    # As of a symbol of some thousand dollars.
    sizes = ((10**5, 10), (100, 10**6), (10**7, 10**5))
    made = [
        (number, *(f"{pick.randrange(whole)}.{pick.randrange(part)}" for whole, part in sizes))
        for number in range(VALUES)
    ]
    connection.executemany("INSERT INTO made VALUES(?, ?, ?, ?)", made)
    begun_s, at_ms, count = time.perf_counter(), BEGIN_MS, 0
    if is_sorted:
        at_ms += math.ceil(rows / _rows_a_day()) * DAY_MS
        connection.execute("BEGIN")
        for place, (_, _, step_ms) in enumerate(series, 1):
            made_here = (at_ms - BEGIN_MS) // step_ms
            connection.execute(FILL_SERIES, (place, BEGIN_MS, step_ms, made_here))
            count += made_here
        connection.execute("COMMIT")
    while not is_sorted and count < rows:
        connection.execute("BEGIN")
        for _ in range(240):
            at_ms += MINUTE_MS
            due = [step_ms for step_ms in STEPS_MS if (at_ms - BEGIN_MS) % step_ms == 0]
            statement = f"{FILL_BOUNDARY} ({', '.join(map(str, due))})"
            count += connection.execute(statement, (at_ms, pick.randrange(VALUES))).rowcount
        connection.execute("COMMIT")
    connection.close()
    with contextlib.closing(schema.open_writer(path)):
        pass  # WAL again
    return count, at_ms, time.perf_counter() - begun_s


def _rows_a_day() -> float:
    return sum(SYMBOLS * DAY_MS / step_ms for step_ms in STEPS_MS)


def _change_layout(connection: sqlite3.Connection, key: str) -> None:
    (sql,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'klines'").fetchone()
    columns = sql[: sql.index("PRIMARY KEY(")]
    connection.execute("DROP VIEW candles")
    connection.execute("DROP TABLE klines")
    connection.execute(columns + key)


# -- layouts --------------------------------------------------------------------------------------------------


def layouts(folder: Path, rows: int) -> Section:
    """Fill each layout, and measure the same with each."""
    found = {
        name: measure_layout(folder / f"{number}.sqlite", rows, key)
        for number, (name, key) in enumerate(LAYOUTS.items())
    }
    head = ["", *found]
    lines = [[label, *(values[label] for values in found.values())] for label in next(iter(found.values()))]
    text = (
        f"{rows:,} rows each, in SQLite {sqlite3.sqlite_version}; the store's own statements. Cold: not in the page "
        "cache. Clean-up: the oldest tenth of the time, 1,000 rows a transaction at most."
    )
    return Section("Layouts", f"{text}\n\n{table(head, lines)}", found)


def measure_layout(path: Path, rows: int, key: str) -> dict[str, str]:
    """The figures of one layout, as cells."""
    count, end_ms, seconds = fill(path, rows, key)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for name, value in (("synchronous", "NORMAL"), ("cache_size", -schema.CACHE_KB), ("wal_autocheckpoint", 0)):
            connection.execute(f"PRAGMA {name} = {value}")
        size = used_bytes(connection)
        minutes, log_bytes = [], []
        for number in range(1, 6):
            before = _size(path, "-wal")
            minutes.append(_written_ms(connection, boundary(end_ms + number * MINUTE_MS, STEPS_MS[:1])))
            log_bytes.append(_size(path, "-wal") - before)
        all_ms, cpu_ms = [], []
        for number in range(1, 6):
            envelopes, begun_s = boundary(end_ms + number * WEEK_MS), time.thread_time()
            all_ms.append(_written_ms(connection, envelopes))
            cpu_ms.append((time.thread_time() - begun_s) * 1000)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        warm = [_answer_ms(path, number, end_ms, is_cold=False) for number in range(ANSWERS)]
        cold = [_answer_ms(path, number, end_ms, is_cold=True) for number in range(COLD_ANSWERS)]
        before_ms = BEGIN_MS + (end_ms - BEGIN_MS) // 10
        connection.execute("PRAGMA wal_autocheckpoint = 4000")
        steps = list(_clean(connection, key, before_ms))
    path.unlink()
    return {
        "bytes a row": f"{size / count:.1f}",
        "filled, rows a second": f"{count / seconds:,.0f}",
        "600 klines of a minute, ms": _spread(minutes),
        "log of that minute, kB": f"{statistics.median(log_bytes) / 1000:,.0f}",
        "7,200 klines of a boundary, ms": _spread(all_ms),
        "CPU time of that, ms": _spread(cpu_ms),
        "1,000 klines answered, ms": _spread(warm),
        "the same, cold, ms": _spread(cold),
        "clean-up of a tenth, s": f"{sum(steps) / 1000:.1f}",
        "its longest transaction, ms": f"{max(steps):.1f}",
    }


def _written_ms(connection: sqlite3.Connection, envelopes: list[Envelope]) -> float:
    begun_s = time.perf_counter()
    connection.execute("BEGIN IMMEDIATE")
    for envelope in envelopes:
        arguments = envelope.json.decode(), envelope.channel
        try:
            connection.execute(ADD_KLINES, arguments)
        except sqlite3.IntegrityError:
            connection.execute(ADD_SERIES, arguments)
            connection.execute(ADD_KLINES, arguments)
    connection.execute("COMMIT")
    return (time.perf_counter() - begun_s) * 1000


def _answer_ms(path: Path, number: int, end_ms: int, *, is_cold: bool) -> float:
    """The newest 1,000 klines of a minute of a symbol, wherever they are."""
    if is_cold:
        forget(path)
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        if not is_cold:
            connection.execute("SELECT count(*) FROM series").fetchone()
        begun_s = time.perf_counter()
        (text,) = connection.execute(
            """WITH RECURSIVE this(id) AS (SELECT id FROM series WHERE symbol = ? AND step_ms = 60000),
              starts(at) AS (SELECT ? UNION ALL SELECT at - 60000 FROM starts LIMIT 1000)
            SELECT group_concat(printf('["%s","%s","%s","%s","%s"]', start_ms, open, high, low, close), ',')
            FROM starts CROSS JOIN klines WHERE series = (SELECT id FROM this) AND start_ms = at""",
            (SYMBOL_OF.format(number * 7 % SYMBOLS), end_ms - MINUTE_MS),
        ).fetchone()
        taken_ms = (time.perf_counter() - begun_s) * 1000
    if text.count("[") != ANSWER:
        raise SystemExit(f"an answer has {text.count('[')} klines")
    return taken_ms


def _clean(connection: sqlite3.Connection, key: str, before_ms: int) -> Iterator[float]:
    """Remove what is before a time as the layout does it best; yields the milliseconds of each transaction."""
    if "start_ms, series" in key:
        statements: list[tuple[str, tuple[int, ...]]] = [
            ("DELETE FROM klines WHERE (start_ms, series) IN (SELECT start_ms, series FROM klines WHERE start_ms < ? "
             f"ORDER BY start_ms LIMIT {ROWS})", (before_ms,)),
        ]  # fmt: skip
    else:
        bound = (
            "coalesce((SELECT start_ms FROM klines WHERE series = ?1 AND start_ms < ?2 ORDER BY start_ms "
            f"LIMIT 1 OFFSET {ROWS}), ?2)"
        )
        sql = f"DELETE FROM klines WHERE series = ?1 AND start_ms < {bound}"
        statements = [(sql, (place, before_ms)) for (place,) in connection.execute("SELECT id FROM series").fetchall()]
    for sql, arguments in statements:
        removed = ROWS
        while removed >= ROWS:
            begun_s = time.perf_counter()
            removed = connection.execute(sql, arguments).rowcount
            yield (time.perf_counter() - begun_s) * 1000


# -- the large file -------------------------------------------------------------------------------------------


def large_file(folder: Path, rows: int) -> Section:
    """The store itself on a file of many rows: what it writes, answers and removes, and what others notice."""
    path = folder / "bybit_linear.sqlite"
    count, end_ms, seconds = fill(path, rows, is_sorted=True)
    lines: list[tuple[str, str]] = [("rows", f"{count:,}"), ("filled in, s", f"{seconds:,.0f}")]
    problems: list[str] = []
    lines.append(("file, GB", f"{path.stat().st_size / 1e9:.2f} ({path.stat().st_size / count:.1f} bytes a row)"))
    forget(path)
    begun_s = time.perf_counter()
    store = StoreConsumer(StoreOptions(path=path))
    store.setup()
    lines.append(("opened, not in the page cache, ms", f"{(time.perf_counter() - begun_s) * 1000:.1f}"))

    first_ms = _deliver(store, boundary_of(end_ms, 1))
    lines.append(("7,200 klines, the first time, not in the page cache, ms", f"{first_ms:.1f}"))
    written_ms, cpu_ms, checkpoint_ms = [], [], []
    for number in range(2, 22):
        envelopes, begun_s = boundary_of(end_ms, number), time.thread_time()
        written_ms.append(_deliver(store, envelopes))
        cpu_ms.append((time.thread_time() - begun_s) * 1000)
        checkpoint_ms.append(_timed(checkpoint, path))
    lines.append(("7,200 klines of a boundary, ms", _spread(written_ms)))
    lines.append(("CPU time of that, ms", _spread(cpu_ms)))
    lines.append(("its log to its places in the file, some seconds after it, ms", _spread(checkpoint_ms)))
    boundaries = [boundary_of(end_ms, number) for number in range(22, 42)]
    with lateness() as late_ms:
        for envelopes in boundaries:
            _deliver(store, envelopes)
    with lateness() as base_ms:
        time.sleep(2.0)
    with lateness() as hashing_ms:
        _elsewhere(lambda: [hashlib.sha256(bytes(HASHED_BYTES)).digest() for _ in range(20)])
    lines.append(("another thread woken late meanwhile, ms: p99, most", f"{_p(late_ms, 99):.2f}, {max(late_ms):.2f}"))
    lines.append(("the same while nothing is written", f"{_p(base_ms, 99):.2f}, {max(base_ms):.2f}"))
    hashed = f"{_p(hashing_ms, 99):.2f}, {max(hashing_ms):.2f}"
    lines.append(("the same while a thread hashes, which needs no GIL", hashed))
    batches = [boundary(end_ms + number * MINUTE_MS, STEPS_MS[:1], 1_250) for number in range(1, 12)]
    _deliver(store, batches[0])  # makes 650 series
    lines.append(("1,250 klines of a minute, ms", _spread([_deliver(store, batch) for batch in batches[1:]])))

    read = store.reader
    asked = [("linear", SYMBOL_OF.format(number * 7 % SYMBOLS), MINUTE_MS) for number in range(ANSWERS)]
    middle_ms = (BEGIN_MS + end_ms) // 2 // MINUTE_MS * MINUTE_MS

    def text(of: tuple[str, str, int], until_ms: int = end_ms) -> object:
        return read.rows(*of, form=KLINE_FORM, end_ms=until_ms, limit=ANSWER)

    def objects(of: tuple[str, str, int]) -> object:
        return read.klines(*of, end_ms=end_ms, limit=ANSWER)

    lines.append(("1,000 klines as text, ms", _spread([_timed(text, of) for of in asked])))
    lines.append(("1,000 klines as objects, ms", _spread([_timed(objects, of) for of in asked])))
    cold_ms = []
    for of in asked[:COLD_ANSWERS]:
        forget(path)
        cold_ms.append(_timed(text, of, middle_ms))
    lines.append(("1,000 klines as text, not in the page cache, ms", _spread(cold_ms)))
    lines.append(("all series with their ends, ms", _spread([_timed(read.series) for _ in range(5)])))
    if len(read.klines(*asked[0], end_ms=end_ms, limit=ANSWER)) != ANSWER:
        problems.append("an answer is not whole")

    lines += clean_up(store, path, end_ms, problems)
    store.stop()
    days = (end_ms - BEGIN_MS) / DAY_MS
    about = f"{SYMBOLS} symbols in {len(STEPS_MS)} intervals, {days:.1f} days; median (least to most)."
    return Section("A large file", f"{about}\n\n{table(HEAD, lines)}", dict(lines), problems)


def clean_up(store: StoreConsumer, path: Path, end_ms: int, problems: list[str]) -> list[tuple[str, str]]:
    """Remove the oldest tenth by age while a minute is written and an answer asked for, again and again."""
    store.stop()
    days = (time.time() * 1000 - BEGIN_MS - (end_ms - BEGIN_MS) / 10) / DAY_MS
    again = StoreConsumer(StoreOptions(path=path, days=days))
    again.setup()
    series = "linear", SYMBOL_OF.format(1), MINUTE_MS
    stop, asked_ms = threading.Event(), []

    def ask() -> None:
        while not stop.wait(0.02):
            asked_ms.append(_timed(lambda: again.reader.rows(*series, KLINE_FORM, limit=ANSWER)))

    asking = threading.Thread(target=ask, name="asking")
    asking.start()
    ticks, minutes, idle, number = [], [], 0, 0
    begun_s = time.perf_counter()
    while idle < 2 and time.perf_counter() - begun_s < CLEANING_S:
        number += 1
        removed = again.counters()["removed"]
        ticks.append(_timed(again.tick))
        idle = idle + 1 if again.counters()["removed"] == removed else 0
        if number % 20 == 0:
            minutes.append(_deliver(again, boundary(end_ms + number * MINUTE_MS, STEPS_MS[:1])))
    seconds = time.perf_counter() - begun_s
    stop.set()
    asking.join()
    removed = int(again.counters()["removed"])
    first = again.reader.first_ms(*series) or 0
    if not removed or (idle and first < BEGIN_MS + (end_ms - BEGIN_MS) // 10 - MINUTE_MS):
        problems.append("the clean-up left something")
    again.stop()
    return [
        (f"the clean-up of {removed:,} rows in slices without a pause, s", f"{seconds:.1f}"),
        ("a slice, ms", _spread(ticks)),
        ("600 klines of a minute written between, ms", _spread(minutes) if minutes else "none"),
        ("1,000 klines answered meanwhile, ms", _spread(asked_ms)),
    ]


def boundary_of(end_ms: int, number: int) -> list[Envelope]:
    """The envelopes of a later Monday."""
    return boundary(BEGIN_MS + ((end_ms - BEGIN_MS) // WEEK_MS + number) * WEEK_MS)


def _deliver(store: StoreConsumer, envelopes: list[Envelope]) -> float:
    """Hand envelopes over as the worker does; returns the milliseconds until all are committed."""
    begun_s = time.perf_counter()
    for first in range(0, len(envelopes), store.batch_size):
        store.deliver(envelopes[first : first + store.batch_size])
    return (time.perf_counter() - begun_s) * 1000


def checkpoint(path: Path) -> None:
    """Do what the store does when nothing is written for some seconds."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()


# -- measuring ------------------------------------------------------------------------------------------------


def forget(path: Path) -> None:
    """Have the kernel forget what it has of a file."""
    for ending in schema.SIDE_FILES:
        with contextlib.suppress(FileNotFoundError), open(f"{path}{ending}", "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _elsewhere(act: Callable[[], object]) -> None:
    thread = threading.Thread(target=act, name="hashing")
    thread.start()
    thread.join()


@contextlib.contextmanager
def lateness() -> Iterator[list[float]]:
    """How late a thread is that sleeps for half a millisecond, again and again: what holds the GIL makes it wait."""
    late_ms: list[float] = []
    stop = threading.Event()

    def sleep() -> None:
        while not stop.is_set():
            begun_s = time.perf_counter()
            time.sleep(0.0005)
            late_ms.append((time.perf_counter() - begun_s) * 1000 - 0.5)

    thread = threading.Thread(target=sleep, name="sleeping")
    thread.start()
    yield late_ms
    stop.set()
    thread.join()


def _timed(act: Callable[..., object], *arguments: object) -> float:
    begun_s = time.perf_counter()
    act(*arguments)
    return (time.perf_counter() - begun_s) * 1000


def _size(path: Path, ending: str) -> int:
    return os.stat(f"{path}{ending}").st_size if os.path.exists(f"{path}{ending}") else 0


def _p(values: Sequence[float], percent: int) -> float:
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):,.2f} ({min(values):,.2f} to {max(values):,.2f})"


if __name__ == "__main__":
    sys.exit(main())
