"""What is written: klines and the journal, by SQLite itself out of the JSON that other outputs send too.

The thread `consumer-store` alone. A statement takes a whole envelope, so that no other thread waits for it.
"""

import contextlib
import re
import sqlite3
from typing import NamedTuple

from consumers.store.schema import EXCHANGE, TRADES
from model.envelope import Envelope, json_of

HAS_ARROWS = sqlite3.sqlite_version_info >= (3, 38)  # `->` gives a number as it is written
NUMBERS = ("open", "high", "low", "close", "volume", "turnover")
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

# A series that is not there yet violates NOT NULL: then ADD_SERIES is run, once in the life of a series.
ADD_KLINES = f"""INSERT INTO klines(series, start_ms, open, high, low, close, volume, turnover, trade_count, complete,
    source, revision)
  SELECT series.id, {_START}, {", ".join(map(_number, NUMBERS))}, {_field("trade_count")}, {_field("complete")},
    {_SOURCE}, {_field("revision")}
  FROM json_each(?1, '$.data') AS e
  LEFT JOIN series ON series.market = ?2 AND series.symbol = {_field("symbol")} AND series.step_ms = {_STEP}
  WHERE true
  ON CONFLICT(series, start_ms) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in _REVISED)}
  WHERE excluded.revision >= klines.revision"""
ADD_SERIES = f"""INSERT OR IGNORE INTO series(market, symbol, step_ms)
  SELECT ?2, {_field("symbol")}, {_STEP} FROM json_each(?1, '$.data') AS e"""
ADD_RECORD = "INSERT INTO journal(ts, event, record) VALUES(?, ?, ?)"


class Entry(NamedTuple):
    """What waits to be written: an envelope of klines, or a record of the journal. `records` counts them."""

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
    """Return what there is to be written of an envelope: klines as one entry, status events and audit results each,
    as the status channel has them."""
    if envelope.data_type == "klines":
        text = envelope.json.decode()
        if not HAS_ARROWS:
            text = UNQUOTED.sub(r'"\1":"\2"', text)
        return [Entry("klines", envelope.channel, text, len(envelope.data))]
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


def write(connection: sqlite3.Connection, entry: Entry) -> None:
    """Write one entry, within a transaction; sqlite3.Error."""
    if entry.data_type != "klines":
        connection.execute(ADD_RECORD, (entry.ts, entry.event, entry.text))
        return
    arguments = entry.text, entry.market
    try:
        connection.execute(ADD_KLINES, arguments)
    except sqlite3.IntegrityError:
        connection.execute(ADD_SERIES, arguments)
        connection.execute(ADD_KLINES, arguments)


def roll_back(connection: sqlite3.Connection) -> None:
    """End a transaction that failed, where SQLite has not done so itself."""
    with contextlib.suppress(sqlite3.Error):
        if connection.in_transaction:
            connection.execute("ROLLBACK")
