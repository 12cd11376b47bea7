"""The clean-up of the store: what is over its age, and the oldest while the file is over its size.

The thread `consumer-store`, some rows at a time, so that what is to be written waits for milliseconds.
"""

import sqlite3
from collections.abc import Iterator

from model.intervals import DAY_MS

GB = 1_000_000_000
ROWS = 1_000  # removed in one transaction
EVERY_S = 300.0  # between two looks at age and size
PAGES = 500  # given back to the file system at once, where the file is much larger than its limit
SPAN_MS = DAY_MS  # what is removed together where the file is too large

# Of one series, what began before ?2, ?3 at most.
REMOVE_KLINES = """DELETE FROM klines WHERE series = ?1 AND start_ms < coalesce(
  (SELECT start_ms FROM klines WHERE series = ?1 AND start_ms < ?2 ORDER BY start_ms LIMIT 1 OFFSET ?3), ?2)"""
SERIES_BEFORE = "SELECT id FROM series WHERE (SELECT min(start_ms) FROM klines WHERE series = id) < ?"
REMOVE_RECORDS = "DELETE FROM journal WHERE id IN (SELECT id FROM journal WHERE ts < ? ORDER BY ts LIMIT ?)"


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
            yield from _remove_before(connection, now_ms - int(self._days * DAY_MS))
        self.bytes = used_bytes(connection)
        while 0 < self._max_bytes < self.bytes:
            oldest_ms = _oldest_ms(connection)
            if oldest_ms is None:
                break
            yield from _remove_before(connection, oldest_ms + SPAN_MS)
            self.bytes = used_bytes(connection)
        while self._max_bytes and (before := file_bytes(connection)) > self._max_bytes:
            connection.execute(f"PRAGMA incremental_vacuum({PAGES})").fetchall()
            if file_bytes(connection) == before:
                break
            yield 0


def used_bytes(connection: sqlite3.Connection) -> int:
    """Return the bytes of the file that hold something."""
    return file_bytes(connection) - _free_pages(connection) * _pragma(connection, "page_size")


def file_bytes(connection: sqlite3.Connection) -> int:
    """Return the bytes of the file, without its log."""
    return _pragma(connection, "page_count") * _pragma(connection, "page_size")


def _free_pages(connection: sqlite3.Connection) -> int:
    return _pragma(connection, "freelist_count")


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def _oldest_ms(connection: sqlite3.Connection) -> int | None:
    """Return the start of the oldest kline of all, or the time of the oldest record of the journal."""
    sql = """SELECT min(
      coalesce((SELECT min((SELECT min(start_ms) FROM klines WHERE series = series.id)) FROM series), 1 << 62),
      coalesce((SELECT min(ts) FROM journal), 1 << 62))"""
    found = int(connection.execute(sql).fetchone()[0])
    return None if found == 1 << 62 else found


def _remove_before(connection: sqlite3.Connection, before_ms: int) -> Iterator[int]:
    """Remove what began before a time, some rows at a time; yields how many."""
    for (place,) in connection.execute(SERIES_BEFORE, (before_ms,)).fetchall():
        while True:
            removed = connection.execute(
                REMOVE_KLINES,
                (place, before_ms, ROWS),
            ).rowcount
            yield removed
            if removed < ROWS:
                break
    connection.execute("DELETE FROM unconfirmed WHERE start_ms < ?", (before_ms,))
    while True:
        removed = connection.execute(REMOVE_RECORDS, (before_ms, ROWS)).rowcount
        yield removed
        if removed < ROWS:
            return
