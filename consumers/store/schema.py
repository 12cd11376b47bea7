"""The file of the store: its tables, how it is opened for writing, and what becomes of a damaged one.

The thread of the caller, which alone writes. A file that is not the store's own is never changed.
"""

import contextlib
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

from model.files import check_regular

VERSION = 1
APPLICATION_ID = 0x4B4C4E53  # "KLNS", in the header of the file
BUSY_S = 1.0  # another process may hold the write lock for so long; then the batch is tried again later
CACHE_KB = 8_000  # the ends of some 2,000 series
LOG_BYTES = 64 * 1024 * 1024  # the log is cut to this when it is empty again
SIDE_FILES = ("", "-wal", "-shm")

TRADES, EXCHANGE = 0, 1  # klines.source
SET_RUNNING = "INSERT OR REPLACE INTO state(name, value) VALUES('running', ?)"

TABLES = """
CREATE TABLE IF NOT EXISTS series(
  id INTEGER PRIMARY KEY,
  market TEXT NOT NULL, symbol TEXT NOT NULL, step_ms INTEGER NOT NULL,
  UNIQUE(market, symbol, step_ms)
);
CREATE TABLE IF NOT EXISTS klines(
  series INTEGER NOT NULL REFERENCES series(id), start_ms INTEGER NOT NULL,
  open TEXT NOT NULL, high TEXT NOT NULL, low TEXT NOT NULL, close TEXT NOT NULL, volume TEXT NOT NULL,
  trade_count INTEGER NOT NULL, turnover TEXT NOT NULL,
  complete INTEGER NOT NULL, source INTEGER NOT NULL, revision INTEGER NOT NULL,
  PRIMARY KEY(series, start_ms)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS klines_incomplete ON klines(start_ms) WHERE complete = 0;
CREATE TABLE IF NOT EXISTS published(
  series INTEGER PRIMARY KEY REFERENCES series(id),
  start_ms INTEGER NOT NULL, revision INTEGER NOT NULL, complete INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS unconfirmed(
  series INTEGER NOT NULL REFERENCES series(id), start_ms INTEGER NOT NULL, revision INTEGER NOT NULL,
  PRIMARY KEY(series, start_ms)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS state(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS journal(
  id INTEGER PRIMARY KEY, ts INTEGER NOT NULL, event TEXT NOT NULL, record TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS journal_ts ON journal(ts);
CREATE VIEW IF NOT EXISTS candles AS
  SELECT market, symbol, step_ms, start_ms, open, high, low, close, volume, trade_count, turnover, complete,
    CASE source WHEN 1 THEN 'exchange' ELSE 'trades' END AS source, revision
  FROM klines JOIN series ON series.id = klines.series;
"""


class StoreRefusedError(OSError):
    """A file that this version must not write: the sentence says which, and what to do."""


class StoreInUseError(OSError):
    """Another process writes the file."""


def open_writer(path: Path) -> sqlite3.Connection:
    """Open the file for writing, or make it; OSError, sqlite3.Error, StoreRefusedError where that cannot be.

    The write-ahead log is synced when it goes to its place: SIGKILL costs nothing, a power cut the last seconds.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    check_regular(path)
    connection = sqlite3.connect(path, isolation_level=None, timeout=BUSY_S)
    try:
        _check_owner(connection, path)
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # holds where there is no table yet
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA secure_delete = OFF")  # some builds overwrite with zeros what is deleted
        connection.execute(f"PRAGMA cache_size = -{CACHE_KB}")
        connection.execute("PRAGMA wal_autocheckpoint = 0")  # no commit waits for it: consumers.store.checkpoint
        connection.execute(f"PRAGMA journal_size_limit = {LOG_BYTES}")
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'state'").fetchone():
            _make_tables(connection)
        connection.execute(SET_RUNNING, (1,))
    except BaseException:
        connection.close()
        raise
    return connection


def _make_tables(connection: sqlite3.Connection) -> None:
    """Make all tables or none, however the process ends."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in filter(str.strip, TABLES.split(";")):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def _check_owner(connection: sqlite3.Connection, path: Path) -> None:
    version, owner = _value(connection, "user_version"), _value(connection, "application_id")
    is_empty = not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if owner != APPLICATION_ID and not (is_empty and not version):
        raise StoreRefusedError(
            f"{path} is a database of another program, and is left as it is; move it away, or name another folder in "
            "KLINE_STORE_PATH"
        )
    if version > VERSION:
        raise StoreRefusedError(
            f"{path} was written by a newer version of the collector (format {version}; this one writes {VERSION}), "
            "and is left as it is; run the newer version, or name another folder in KLINE_STORE_PATH"
        )


def _value(connection: sqlite3.Connection, pragma: str) -> int:
    return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])


def is_damaged(error: BaseException) -> bool:
    """Return whether an error says that the file is no database, or a damaged one."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def is_about_the_data(error: sqlite3.Error) -> bool:
    """Return whether an error is about what was to be written, which another attempt would not change."""
    code = getattr(error, "sqlite_errorcode", None)
    wrong = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_TOOBIG)
    return code is None or code & 0xFF in wrong


def set_aside(path: Path) -> Path:
    """Rename a closed file, its log too, to a name with the time in it, which is returned; OSError."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    aside = path.with_name(f"{path.stem}.damaged-{stamp}{path.suffix}")
    for ending in SIDE_FILES:
        with contextlib.suppress(FileNotFoundError):
            Path(f"{path}{ending}").rename(f"{aside}{ending}")
    return aside
