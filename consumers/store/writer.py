"""What is written: klines, marks of those that were published, and the journal, by SQLite itself out of JSON.

It is the JSON that other outputs send too. The thread `consumer-store` alone. A statement takes a whole envelope, so
that no other thread waits for it.
"""

import contextlib
import re
import sqlite3
from typing import NamedTuple

from consumers.store.schema import EXCHANGE, TRADES
from model.envelope import Envelope, json_of

HAS_ARROWS = sqlite3.sqlite_version_info >= (3, 38)  # `->` gives a number as it is written
MARKS = ("published", "confirmed")
"""Envelopes of what Redis confirmed: the newest kline of each series, and every revision."""
NUMBERS = ("open", "high", "low", "close", "volume", "turnover")
UNNOTED_MS = 60_000  # how far `published` may lag behind what was published, and more
UNQUOTED = re.compile(rf'"({"|".join(NUMBERS)})":(-?[0-9.]+)')


def _number(name: str) -> str:
    return f"e.value -> '$.{name}'" if HAS_ARROWS else f"json_extract(e.value, '$.{name}')"


def _field(name: str) -> str:
    return f"json_extract(e.value, '$.{name}')"


_START, _LENGTH = _field("timestamp"), _field("interval")
# As model.intervals.step_of: 0 for a month of the calendar.
_STEP = f"""CASE WHEN {_LENGTH} BETWEEN 2419200000 AND 2678400000
  AND strftime('%d %H:%M:%S', {_START} / 1000, 'unixepoch') = '01 00:00:00' AND {_START} % 1000 = 0
  AND {_START} + {_LENGTH} = 1000 * strftime('%s', {_START} / 1000, 'unixepoch', '+1 month')
  THEN 0 ELSE {_LENGTH} END"""
_SOURCE = f"CASE {_field('source')} WHEN 'trades' THEN {TRADES} WHEN 'exchange' THEN {EXCHANGE} END"
_REVISED = (*NUMBERS, "trade_count", "complete", "source", "revision")

_OF_SERIES = f"series.market = ?2 AND series.symbol = {_field('symbol')} AND series.step_ms = {_STEP}"

# A series that is not there yet violates NOT NULL: then ADD_SERIES is run, once in the life of a series.
ADD_KLINES = f"""INSERT INTO klines(series, start_ms, open, high, low, close, volume, turnover, trade_count, complete,
    source, revision)
  SELECT series.id, {_START}, {", ".join(map(_number, NUMBERS))}, {_field("trade_count")}, {_field("complete")},
    {_SOURCE}, {_field("revision")}
  FROM json_each(?1, '$.data') AS e
  LEFT JOIN series ON {_OF_SERIES}
  WHERE true
  ON CONFLICT(series, start_ms) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in _REVISED)}
  WHERE excluded.revision >= klines.revision"""
ADD_PUBLISHED = f"""INSERT INTO published(series, start_ms, revision, complete)
  SELECT series.id, {_START}, {_field("revision")}, {_field("complete")}
  FROM json_each(?1, '$.data') AS e LEFT JOIN series ON {_OF_SERIES}
  WHERE true
  ON CONFLICT(series) DO UPDATE SET start_ms = excluded.start_ms, revision = excluded.revision,
    complete = excluded.complete
  WHERE (excluded.start_ms, excluded.revision) >= (published.start_ms, published.revision)"""
# Revisions of what is out, or nearly so: of what is newer than `published` it is known that it was not published.
ADD_UNCONFIRMED = f"""INSERT INTO unconfirmed(series, start_ms, revision)
  SELECT series.id, {_START}, {_field("revision")}
  FROM json_each(?1, '$.data') AS e JOIN series ON {_OF_SERIES} JOIN published ON published.series = series.id
  WHERE {_field("revision")} > 0 AND {_START} <= published.start_ms + {UNNOTED_MS}
  ON CONFLICT(series, start_ms) DO UPDATE SET revision = max(revision, excluded.revision)"""
REMOVE_CONFIRMED = f"""DELETE FROM unconfirmed WHERE (series, start_ms) IN (
  SELECT known.series, known.start_ms
  FROM json_each(?1, '$.data') AS e CROSS JOIN series ON {_OF_SERIES}
  CROSS JOIN unconfirmed AS known ON known.series = series.id AND known.start_ms = {_START}
  WHERE known.revision <= {_field("revision")})"""
ADD_SERIES = f"""INSERT OR IGNORE INTO series(market, symbol, step_ms)
  SELECT ?2, {_field("symbol")}, {_STEP} FROM json_each(?1, '$.data') AS e"""
ADD_RECORD = "INSERT INTO journal(ts, event, record) VALUES(?, ?, ?)"


class Entry(NamedTuple):
    """What waits to be written: an envelope of klines or marks, or a record of the journal. `records` counts them."""

    data_type: str
    market: str
    text: str
    records: int = 1
    ts: int = 0
    event: str = ""

    @property
    def size(self) -> int:
        """Bytes in memory, about."""
        return len(self.text) + 200


def entries_of(envelope: Envelope) -> list[Entry]:
    """Return what there is to be written of an envelope: klines and marks as one entry, status events and audit results
    each, as the status channel has them."""
    if envelope.data_type in ("klines", *MARKS):
        text = envelope.json.decode()
        if not HAS_ARROWS:
            text = UNQUOTED.sub(r'"\1":"\2"', text)
        return [Entry(envelope.data_type, envelope.channel, text, len(envelope.data))]
    return [
        Entry(
            "journal",
            envelope.channel,
            json_of({"exchange": envelope.exchange, **record}).decode(),
            1,
            int(record["ts"]),
            str(record["event"]),
        )
        for record in envelope.data
    ]


def write(connection: sqlite3.Connection, entry: Entry, *, is_published: bool = False) -> None:
    """Write one entry, within a transaction; sqlite3.Error. `is_published`: klines count as published with that."""
    if entry.data_type == "journal":
        connection.execute(ADD_RECORD, (entry.ts, entry.event, entry.text))
        return
    arguments = entry.text, entry.market
    has_revisions = entry.text.count('"revision":0}') < entry.records
    if entry.data_type == "klines":
        _write_with_series(connection, ADD_KLINES, arguments)
        if has_revisions and not is_published:
            connection.execute(ADD_UNCONFIRMED, arguments)
    if entry.data_type == "published" or (entry.data_type == "klines" and is_published):
        _write_with_series(connection, ADD_PUBLISHED, arguments)
    if has_revisions and (entry.data_type == "confirmed" or is_published):
        connection.execute(REMOVE_CONFIRMED, arguments)


def _write_with_series(connection: sqlite3.Connection, statement: str, arguments: tuple[str, str]) -> None:
    try:
        connection.execute(statement, arguments)
    except sqlite3.IntegrityError:
        connection.execute(ADD_SERIES, arguments)
        connection.execute(statement, arguments)


def roll_back(connection: sqlite3.Connection) -> None:
    """End a transaction that failed, where SQLite has not done so itself."""
    with contextlib.suppress(sqlite3.Error):
        if connection.in_transaction:
            connection.execute("ROLLBACK")
