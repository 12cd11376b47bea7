"""What an earlier run published, read from its store at the start, before this run opens it.

Any thread; blocks for a second or two. A file that cannot be read is logged and counts as empty: the collector starts
all the same. Nothing is written.
"""

import contextlib
import sqlite3
from collections.abc import Callable, Collection, Mapping
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
from model.intervals import DAY_MS, LONGEST_MONTH_MS, MINUTE_MS, end_of_step, month_start, step_of
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

MARKS = """SELECT id, market, symbol, step_ms, published.start_ms, published.revision, published.complete
  FROM series LEFT JOIN published ON published.series = series.id"""
LAST = """SELECT value, (SELECT max(start_ms) FROM klines WHERE series = value) FROM json_each(?1)"""
FIRST = """SELECT value, (SELECT min(start_ms) FROM klines WHERE series = value) FROM json_each(?1)"""
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
    _ids: Mapping[SeriesKey, int] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> "EarlierStore":
        """Read the marks of a file; empty where there is none, or none that can be read."""

        def read(connection: sqlite3.Connection) -> "EarlierStore":
            running = connection.execute(RUNNING).fetchone()
            ids, marks = {}, {}
            for number, market, symbol, step_ms, start_ms, revision, complete in connection.execute(MARKS):
                key = (market, symbol, step_ms)
                ids[key] = number
                if start_ms is not None:
                    marks[key] = LastPublished(start_ms, revision, bool(complete))
            return cls(path, marks, running is None or not running[0], ids)

        return _read(path, read, cls(path))

    def held(self, known: Mapping[SeriesKey, LastPublished]) -> dict[SeriesKey, LastPublished]:
        """Return `known`, each series moved back to its newest kline here, where a kill may have cost what came after.

        What was published and is not stored is published again: the store shall have all that subscribers have. A
        series that began lately, and of which nothing is known, goes on from its first kline here: that may be lost.
        """
        lately = self._lately(known)
        held = dict(known)
        for number, newest_ms in self._starts(LAST, lately).items():
            key = lately[number]
            last = known[key]
            if 0 < last.start_ms - newest_ms <= max(RECENT_MS, key[2] or LONGEST_MONTH_MS):
                held[key] = LastPublished(newest_ms, 0, True)
        ends_ms = (end_of_step(key[2], known[key].start_ms) for key in lately.values())
        since_ms = max(ends_ms, default=1 << 62) - RECENT_MS
        unknown = {number: key for key, number in self._ids.items() if key not in known}
        for number, first_ms in self._starts(FIRST, unknown).items():
            key = unknown[number]
            if end_of_step(key[2], first_ms) > since_ms:
                before_ms = first_ms - key[2] if key[2] else month_start(first_ms, -1)
                held[key] = LastPublished(before_ms, 0, True)
        return held

    def _starts(self, sql: str, ids: Collection[int]) -> dict[int, int]:
        """Return the newest or first start of each series that has klines, by id."""

        def read(connection: sqlite3.Connection) -> dict[int, int]:
            found = connection.execute(sql, (msgspec.json.encode(list(ids)).decode(),)).fetchall()
            return {number: start_ms for number, start_ms in found if start_ms}

        nothing: dict[int, int] = {}
        return _read(self.path, read, nothing) if ids else nothing

    def _lately(self, known: Mapping[SeriesKey, LastPublished]) -> dict[int, SeriesKey]:
        """Return the series, by id, whose newest kline ended lately when that run ended.

        A stall before the end of another one would have been noticed: their pages of the file need not be read.
        """
        ids = self._ids
        ends_ms = [
            (last.start_ms + key[2] if key[2] else end_of_step(0, last.start_ms), key)
            for key, last in known.items()
            if key in ids
        ]
        since_ms = max((end_ms for end_ms, _ in ends_ms), default=0) - RECENT_MS
        return {ids[key]: key for end_ms, key in ends_ms if end_ms > since_ms}

    def published(self, known: Mapping[SeriesKey, LastPublished]) -> Published:
        """Return what was published, as far as `known`: what is newer was not, and is left out."""
        lately = self._lately(known)
        starts = [[number, known[key].start_ms] for number, key in lately.items()]
        newest_ms = max((start_ms for _, start_ms in starts), default=0)

        def read(connection: sqlite3.Connection) -> tuple[Klines, Klines]:
            recent = _klines(connection, NEWEST, msgspec.json.encode(starts).decode())
            incomplete = _until(known, _klines(connection, INCOMPLETE, newest_ms - INCOMPLETE_MS))
            for key, kline in incomplete.items():
                if kline.interval >= MINUTE_MS or kline.timestamp >= newest_ms - REPAIRABLE_MS:
                    recent[key] = kline
            return recent, _until(known, _klines(connection, UNCONFIRMED))

        nothing: tuple[Klines, Klines] = {}, {}
        recent, unconfirmed = _read(self.path, read, nothing) if starts else nothing
        for series in lately.values():
            last = known[series]
            key = (*series, last.start_ms)
            if (kline := recent.get(key)) and kline.revision != last.revision:
                if kline.revision > last.revision:
                    unconfirmed[key] = kline
                else:  # the revision that was published last did not get here
                    recent[key] = replace(kline, complete=False, revision=last.revision)
        certain_until_ms = 1 << 62
        if not self.is_certain:
            ends_ms = (end_of_step(key[2], known[key].start_ms) for key in lately.values())
            certain_until_ms = max(ends_ms, default=0) - RECENT_MS
        return Published(known, _listed(recent), _listed(unconfirmed), certain_until_ms)


def _klines(connection: sqlite3.Connection, sql: str, *arguments: object) -> Klines:
    found = (_decode(text) for (text,) in connection.execute(sql, arguments))
    return {
        (market, kline.symbol, step_of(kline.interval, kline.timestamp), kline.timestamp): kline
        for market, kline in found
    }


def _until(known: Mapping[SeriesKey, LastPublished], klines: Klines) -> Klines:
    """Return klines that are not newer than what is known of their series."""
    return {key: kline for key, kline in klines.items() if key[:3] in known and key[3] <= known[key[:3]].start_ms}


def _listed(klines: Klines) -> MarketKlines:
    """Return klines with their markets, oldest first."""
    return [(key[0], klines[key]) for key in sorted(klines, key=lambda key: key[3])]


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
