"""What an earlier run published, read from its store at the start, before this run opens it.

Any thread; blocks for a second or two. A file that cannot be read is logged and counts as empty: the collector starts
all the same. Nothing is written.
"""

import contextlib
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import msgspec
import structlog
from msgspec.structs import replace

from consumers.store.reader import FIELDS, QUOTED
from consumers.store.schema import APPLICATION_ID, VERSION
from model.files import check_regular
from model.intervals import DAY_MS, LONGEST_MONTH_MS, MINUTE_MS, step_of
from model.records import Kline, LastPublished, MarketKlines, Published, SeriesKey

T = TypeVar("T")
log = structlog.get_logger()

RECENT_MS = 120_000  # a stall is noticed after SILENCE_TIMEOUT (60 s) or a missing pong; twice that
REPAIRABLE_MS = 600_000  # klines below a minute are repaired from the newest trades, which reach back for minutes
INCOMPLETE_MS = 7 * DAY_MS  # what is incomplete for longer stays so
Klines = dict[tuple[str, str, int, int], Kline]
"""By series and start."""
LIMIT = 20_000  # incomplete and unconfirmed klines each; beyond it the oldest are left out
BUSY_S = 1.0

MARKS = """SELECT id, market, symbol, step_ms, published.start_ms, published.revision, published.complete,
    (SELECT max(start_ms) FROM klines WHERE series = series.id)
  FROM series LEFT JOIN published ON published.series = series.id"""
RUNNING = "SELECT value FROM state WHERE name = 'running'"


def _as_json() -> str:
    """An SQL expression: market and kline of a row as JSON, for `_decode`."""
    parts = []
    for name, column in FIELDS.items():
        value = column.replace(":symbol", "symbol").replace(":step", "step_ms")
        parts.append(f"""'"{name}":' || {f"json_quote({value})" if name in QUOTED else f"({value})"}""")
    fields = " || ',' || ".join(parts)
    return f"'[' || json_quote(market) || ',{{' || {fields} || '}}]'"


_decode = msgspec.json.Decoder(tuple[str, Kline]).decode
_SELECT = f"SELECT {_as_json()} FROM (SELECT market, symbol, step_ms, klines.* FROM"
# ?1: of each series its id, and the start of its newest kline that was published.
NEWEST = f"""{_SELECT} json_each(?1) AS k CROSS JOIN series ON series.id = json_extract(k.value, '$[0]')
  CROSS JOIN klines ON klines.series = series.id AND start_ms <= json_extract(k.value, '$[1]')
    AND start_ms > json_extract(k.value, '$[1]') - {RECENT_MS})"""
INCOMPLETE = f"""{_SELECT} klines JOIN series ON series.id = klines.series
  WHERE complete = 0 AND start_ms >= ?1 ORDER BY start_ms DESC LIMIT {LIMIT})"""
UNCONFIRMED = f"""{_SELECT} unconfirmed CROSS JOIN series ON series.id = unconfirmed.series
  CROSS JOIN klines ON klines.series = unconfirmed.series AND klines.start_ms = unconfirmed.start_ms
  ORDER BY klines.start_ms DESC LIMIT {LIMIT})"""


@dataclass(frozen=True)
class EarlierStore:
    """What a store knows of an earlier run: marks of what was published, and the newest kline of each series.

    `is_certain`: that run ended in its own time, and nothing it published is missing here.
    """

    path: Path
    marks: Mapping[SeriesKey, LastPublished] = field(default_factory=dict)
    is_certain: bool = True
    _newest_ms: Mapping[SeriesKey, int] = field(default_factory=dict)
    _ids: Mapping[SeriesKey, int] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> "EarlierStore":
        """Read the marks of a file; empty where there is none, or none that can be read."""

        def read(connection: sqlite3.Connection) -> "EarlierStore":
            running = connection.execute(RUNNING).fetchone()
            ids, marks, newest_ms = {}, {}, {}
            for number, market, symbol, step_ms, start_ms, revision, complete, last_ms in connection.execute(MARKS):
                key = (market, symbol, step_ms)
                ids[key] = number
                if start_ms is not None:
                    marks[key] = LastPublished(start_ms, revision, bool(complete))
                if last_ms is not None:
                    newest_ms[key] = last_ms
            return cls(path, marks, running is None or not running[0], newest_ms, ids)

        return _read(path, read, cls(path))

    def held(self, known: Mapping[SeriesKey, LastPublished]) -> dict[SeriesKey, LastPublished]:
        """Return `known`, each series moved back to its newest kline here, where a kill may have cost what came after.

        What was published and is not stored is published again: the store shall have all that subscribers have.
        """
        held = dict(known)
        for key, last in known.items():
            newest_ms = self._newest_ms.get(key, last.start_ms)
            if 0 < last.start_ms - newest_ms <= max(RECENT_MS, key[2] or LONGEST_MONTH_MS):
                held[key] = LastPublished(newest_ms, 0, True)
        return held

    def published(self, known: Mapping[SeriesKey, LastPublished]) -> Published:
        """Return what was published, as far as `known`: what is newer was not, and is left out."""
        starts = [[self._ids[key], last.start_ms] for key, last in known.items() if key in self._ids]
        newest_ms = max((start_ms for _, start_ms in starts), default=0)

        def read(connection: sqlite3.Connection) -> tuple[Klines, Klines]:
            recent = _klines(connection, NEWEST, msgspec.json.encode(starts).decode())
            incomplete = _klines(connection, INCOMPLETE, newest_ms - INCOMPLETE_MS)
            for key, kline in incomplete.items():
                if kline.interval >= MINUTE_MS or kline.timestamp >= newest_ms - REPAIRABLE_MS:
                    recent[key] = kline
            return recent, _klines(connection, UNCONFIRMED)

        nothing: tuple[Klines, Klines] = {}, {}
        recent, unconfirmed = _read(self.path, read, nothing) if starts else nothing
        for key, kline in list(recent.items()):
            last = known.get(key[:3])
            if last is not None and last.start_ms == kline.timestamp:
                if kline.revision > last.revision:
                    unconfirmed[key] = kline
                elif kline.revision < last.revision:  # the revision that was published last did not get here
                    recent[key] = replace(kline, complete=False, revision=last.revision)
        ended_ms = max((kline.timestamp + kline.interval for kline in recent.values()), default=0)
        return Published(
            known,
            _until(known, recent),
            _until(known, unconfirmed),
            1 << 62 if self.is_certain else ended_ms - RECENT_MS,
        )


def _klines(connection: sqlite3.Connection, sql: str, *arguments: object) -> Klines:
    found = (_decode(text) for (text,) in connection.execute(sql, arguments))
    return {
        (market, kline.symbol, step_of(kline.interval, kline.timestamp), kline.timestamp): kline
        for market, kline in found
    }


def _until(known: Mapping[SeriesKey, LastPublished], klines: Klines) -> MarketKlines:
    """Return klines that are not newer than what is known of their series, oldest first."""
    found = [(key[0], kline) for key, kline in klines.items() if key[:3] in known and key[3] <= known[key[:3]].start_ms]
    return sorted(found, key=lambda one: one[1].timestamp)


def _read(path: Path, read: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
    """Call `read` with a store of this version, opened read only; `otherwise` where there is none that can be read."""
    try:
        check_regular(path)
        if path.exists():
            address = f"file:{quote(str(path.absolute()))}?mode=ro"
            with contextlib.closing(sqlite3.connect(address, uri=True, timeout=BUSY_S)) as connection:
                names = ("application_id", "user_version")
                found = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names]
                return read(connection) if found == [APPLICATION_ID, VERSION] else otherwise
    except (OSError, sqlite3.Error, msgspec.DecodeError) as error:
        sentence = f"What the last run published is not taken from the store {path}, which cannot be read: {error}."
        log.warning("store_unreadable_at_start", sentence=sentence, path=str(path), error=str(error))
    return otherwise
