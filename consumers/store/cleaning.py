"""The clean-up of the store: what is over its age, and the oldest while the file is over its size.

The thread `consumer-store`, some rows at a time, so that what is to be written waits for milliseconds.
"""

import sqlite3
from collections.abc import Iterator, Sequence

import msgspec

from model.intervals import DAY_MS, MINUTE_MS

GB = 1_000_000_000
ROWS = 1_000  # removed in one transaction
EVERY_S = 300.0  # between two looks at age and size
PAGES = 500  # given back to the file system at once, where the file is larger than its limit
PART = 50  # of the longest series, that goes at a time where the file is too large

_FIRST = "(SELECT min(start_ms) FROM klines WHERE series = id)"
_STEP = "CASE step_ms WHEN 0 THEN 2592000000 ELSE step_ms END"
# One row each, for sqlite3 takes the GIL anew for every one.
BEFORE_A_TIME = f"SELECT json_group_array(json_array(id, :before)) FROM series WHERE {_FIRST} < :before"
LONGEST = f"SELECT max((:now - {_FIRST}) / ({_STEP})) FROM series"  # in candles
BEFORE_A_CANDLE = f"""SELECT json_group_array(json_array(id, until))
  FROM (SELECT id, :now - :keep * ({_STEP}) AS until FROM series WHERE {_FIRST} < until)"""
REMOVE_KLINES = """DELETE FROM klines WHERE series = ?1 AND start_ms < coalesce(
  (SELECT start_ms FROM klines WHERE series = ?1 AND start_ms < ?2 ORDER BY start_ms LIMIT 1 OFFSET ?3), ?2)"""
REMOVE_RECORDS = "DELETE FROM journal WHERE id IN (SELECT id FROM journal WHERE ts < ? ORDER BY ts LIMIT ?)"

Until = tuple[int, int]
"""A series, and the start before which its klines go."""

_decode = msgspec.json.Decoder(list[Until]).decode


class Cleaning:
    """The steps of the clean-up. `days` and `max_gb` are limits; 0 is without."""

    def __init__(self, days: float, max_gb: float) -> None:
        self._days, self._max_bytes = days, int(max_gb * GB)
        self._due_s = float("-inf")
        self._steps: Iterator[int] | None = None
        self.removed = 0
        self.bytes = 0
        """Of the file without its free pages, at the last look."""

    def forget(self) -> None:
        """Begin anew: with another file."""
        self._due_s, self._steps = float("-inf"), None

    def step(self, connection: sqlite3.Connection, now_s: float, now_ms: int) -> bool:
        """Remove some rows; returns whether there is more to do at once. `now_s` is monotonic; sqlite3.Error."""
        if self._steps is None:
            if now_s < self._due_s:
                return False
            self._due_s = now_s + EVERY_S
            self._steps = self._all_steps(connection, now_ms)
        removed = next(self._steps, None)
        if removed is None:
            self._steps = None
            return False
        self.removed += removed
        return True

    def _all_steps(self, connection: sqlite3.Connection, now_ms: int) -> Iterator[int]:
        if self._days:
            before_ms = now_ms - int(self._days * DAY_MS)
            series = _untils(connection, BEFORE_A_TIME, {"before": before_ms})
            yield from _remove(connection, series, before_ms)
        self.bytes = used_bytes(connection)
        while 0 < self._max_bytes < self.bytes:
            (longest,) = connection.execute(LONGEST, {"now": now_ms}).fetchone()
            if not longest:
                break
            keep = longest - max(1, longest // PART)
            series = _untils(connection, BEFORE_A_CANDLE, {"now": now_ms, "keep": keep})
            yield from _remove(connection, series, now_ms - keep * MINUTE_MS)
            self.bytes = used_bytes(connection)
        while self._max_bytes and (before := file_bytes(connection)) > self._max_bytes:
            connection.execute(f"PRAGMA incremental_vacuum({PAGES})").fetchall()
            if file_bytes(connection) == before:
                break
            yield 0


def _untils(connection: sqlite3.Connection, sql: str, arguments: dict[str, int]) -> list[Until]:
    return _decode(connection.execute(sql, arguments).fetchone()[0])


def used_bytes(connection: sqlite3.Connection) -> int:
    """Return the bytes of the file that hold something."""
    return file_bytes(connection) - _pragma(connection, "freelist_count") * _pragma(connection, "page_size")


def file_bytes(connection: sqlite3.Connection) -> int:
    """Return the bytes of the file, without its log."""
    return _pragma(connection, "page_count") * _pragma(connection, "page_size")


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def _remove(connection: sqlite3.Connection, series: Sequence[Until], records_before_ms: int) -> Iterator[int]:
    """Remove klines of these series, and records, some rows at a time; yields how many."""
    for place, before_ms in series:
        removed = ROWS
        while removed >= ROWS:
            removed = connection.execute(REMOVE_KLINES, (place, before_ms, ROWS)).rowcount
            yield removed
    removed = ROWS
    while removed >= ROWS:
        removed = connection.execute(REMOVE_RECORDS, (records_before_ms, ROWS)).rowcount
        yield removed
