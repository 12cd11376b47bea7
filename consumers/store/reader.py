"""The reader of the store: a CandleStore on a few read-only connections. Any thread.

SQLite writes an answer as one text, without the GIL: no loop over rows runs here.
"""

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from consumers.store.schema import is_damaged
from model.ports import KlineRows, StoredSeries, StoreError
from model.records import Kline

CONNECTIONS = 4  # answers made at a time; others wait for them
BUSY_S = 1.0
WAIT_S = 5.0  # for a connection
PAGE = 1_000  # klines that are decoded at once, which holds the GIL for a millisecond or two
FOR_EVER_MS = 2**62

FIELDS = {
    "symbol": ":symbol",
    "interval": "CASE :step WHEN 0 THEN "
    "1000 * strftime('%s', start_ms / 1000, 'unixepoch', '+1 month') - start_ms ELSE :step END",
    "timestamp": "start_ms",
    "open": "open",
    "high": "high",
    "low": "low",
    "close": "close",
    "volume": "volume",
    "trade_count": "trade_count",
    "turnover": "turnover",
    "complete": "CASE complete WHEN 0 THEN 'false' ELSE 'true' END",
    "source": "CASE source WHEN 1 THEN 'exchange' ELSE 'trades' END",
    "revision": "revision",
}
QUOTED = ("symbol", "source")

_IN_SPAN = """series = (SELECT id FROM series WHERE market = :market AND symbol = :symbol AND step_ms = :step)
  AND start_ms >= :start AND start_ms < :end"""
# One row each, for sqlite3 takes the GIL anew for every one.
SERIES = """SELECT json_group_array(json_array(market, symbol, step_ms, first, last))
  FROM (SELECT market, symbol, step_ms,
    (SELECT min(start_ms) FROM klines WHERE series = id) AS first,
    (SELECT max(start_ms) FROM klines WHERE series = id) AS last
  FROM series WHERE first IS NOT NULL ORDER BY market, symbol, step_ms)"""
_RECORDS = "SELECT json_group_array(json_array(id, record)) FROM"
RECORDS = f"{_RECORDS} (SELECT id, record FROM journal WHERE id > :after ORDER BY id LIMIT :limit)"
NEWEST_RECORDS = (
    f"{_RECORDS} (SELECT * FROM (SELECT id, record FROM journal ORDER BY id DESC LIMIT :limit) ORDER BY id)"
)
_decode_series = msgspec.json.Decoder(list[StoredSeries]).decode
_decode_records = msgspec.json.Decoder(list[tuple[int, str]]).decode
_decode = msgspec.json.Decoder(list[Kline]).decode


def _form_of(fields: Sequence[str]) -> list[str]:
    """Return the form of a JSON object with these fields."""
    form: list[str] = []
    text = "{"
    for name in fields:
        mark = '"' if name in QUOTED else ""
        form += [f'{text}"{name}":{mark}', name]
        text = f"{mark},"
    return [*form, f"{text[:-1]}}}"]


KLINE_FORM = _form_of(tuple(FIELDS))
"""A kline as the envelope has it, for `rows`."""


class KlineReader:
    """The CandleStore of one file. Until `open`, and after `close`, every question raises StoreError."""

    def __init__(self, path: Path, connections: int = CONNECTIONS) -> None:
        self._path = path
        self._free: list[tuple[int, sqlite3.Connection]] = []
        self._permits = threading.BoundedSemaphore(connections)
        self._lock = threading.Lock()
        self._generation = 0
        self._is_open = False
        self._calls: tuple[Callable[[], object], ...] = ()
        self.commits = 0
        """As CandleStore.commits."""
        self.damage: Exception | None = None
        """What a reader found wrong with the file itself."""

    # -- the writer's thread ---------------------------------------------------------------------------

    def open(self) -> None:
        """Answer from the file from now on: it is there, and sound."""
        self.damage = None
        self._is_open = True

    def committed(self) -> None:
        """Count a commit, and call what `on_commit` was given."""
        self.commits += 1
        for call in self._calls:
            call()

    def close(self) -> None:
        """Answer nothing more; connections that are in use are closed after their answer."""
        with self._lock:
            self._is_open = False
            self._generation += 1
            free, self._free = self._free, []
        for _, connection in free:
            connection.close()

    # -- any thread ------------------------------------------------------------------------------------

    def klines(
        self,
        market: str,
        symbol: str,
        step_ms: int,
        start_ms: int = 0,
        end_ms: int | None = None,
        limit: int | None = None,
    ) -> Sequence[Kline]:
        """As CandleStore.klines."""
        found: list[Kline] = []
        series = market, symbol, step_ms
        from_ms = start_ms
        if limit is not None:
            oldest = self._oldest_of_newest(series, start_ms, end_ms, limit)
            if oldest is None:
                return found
            from_ms = oldest
        while True:
            rows = self._rows(series, KLINE_FORM, from_ms, end_ms, PAGE, is_newest=False, newest_first=False)
            found += _decode(f"[{rows.text}]")
            if rows.count < PAGE:
                return found if limit is None else found[-limit:]
            from_ms = rows.last_ms + 1

    def rows(
        self,
        market: str,
        symbol: str,
        step_ms: int,
        form: Sequence[str],
        start_ms: int = 0,
        end_ms: int | None = None,
        limit: int | None = None,
        *,
        newest_first: bool = False,
    ) -> KlineRows:
        """As CandleStore.rows."""
        series = market, symbol, step_ms
        return self._rows(series, form, start_ms, end_ms, limit, is_newest=True, newest_first=newest_first)

    def first_ms(self, market: str, symbol: str, step_ms: int) -> int | None:
        """As CandleStore.first_ms."""
        sql = f"SELECT min(start_ms) FROM klines WHERE {_IN_SPAN}"
        found: int | None = self._one(sql, _span((market, symbol, step_ms), 0, None))[0]
        return found

    def series(self) -> Sequence[StoredSeries]:
        """As CandleStore.series, by market, symbol and step."""
        return _decode_series(self._one(SERIES, {})[0])

    def journal(self, after_id: int = -1, limit: int = 100) -> Sequence[tuple[int, str]]:
        """As CandleStore.journal."""
        statement = NEWEST_RECORDS if after_id < 0 else RECORDS
        return _decode_records(self._one(statement, {"after": after_id, "limit": max(0, limit)})[0])

    def on_commit(self, call: Callable[[], object]) -> None:
        """Have `call` called on the writer's thread whenever klines can be read that could not before; not to block."""
        self._calls = (*self._calls, call)

    def _oldest_of_newest(
        self, series: tuple[str, str, int], start_ms: int, end_ms: int | None, limit: int
    ) -> int | None:
        """Return the start of the oldest of the newest `limit` klines of a span."""
        if limit <= 0:
            return None
        sql = (
            f"SELECT min(start_ms) FROM (SELECT start_ms FROM klines WHERE {_IN_SPAN} "
            "ORDER BY start_ms DESC LIMIT :limit)"
        )
        found: int | None = self._one(sql, _span(series, start_ms, end_ms, limit))[0]
        return found

    def _rows(
        self,
        series: tuple[str, str, int],
        form: Sequence[str],
        start_ms: int,
        end_ms: int | None,
        limit: int | None,
        *,
        is_newest: bool,
        newest_first: bool,
    ) -> KlineRows:
        texts = [part.replace("%", "%%") for part in form[::2]]
        text = "%s".join([*texts, ""] if len(form) % 2 == 0 else texts)
        line = ", ".join([_literal(text), *(FIELDS[name] for name in form[1::2])])
        columns = f"SELECT printf({line}) AS line, start_ms, complete FROM klines WHERE {_IN_SPAN}"
        inner = f"{columns} ORDER BY start_ms {'DESC' if is_newest else 'ASC'} LIMIT :limit"
        if is_newest and not newest_first:
            inner = f"SELECT * FROM ({inner}) ORDER BY start_ms"
        sql = (
            "SELECT coalesce(group_concat(line, ','), ''), count(*), coalesce(sum(complete), 0), "
            f"coalesce(min(start_ms), 0), coalesce(max(start_ms), 0) FROM ({inner})"
        )
        return KlineRows(*self._one(sql, _span(series, start_ms, end_ms, limit)))

    def _one(self, sql: str, arguments: dict[str, Any]) -> Any:
        with self._connection() as connection:
            return connection.execute(sql, arguments).fetchone()

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection to the calling thread; StoreError where the file cannot be read."""
        if not self._permits.acquire(timeout=WAIT_S):
            raise StoreError("the store has too many questions to answer")
        try:
            generation, connection = self._take()
            try:
                yield connection
            finally:
                self._give_back(generation, connection)
        except sqlite3.Error as error:
            if is_damaged(error):
                self.damage = error
            raise StoreError(f"{self._path}: {error}") from error
        finally:
            self._permits.release()

    def _take(self) -> tuple[int, sqlite3.Connection]:
        with self._lock:
            if not self._is_open:
                raise StoreError("the store is not open")
            if self._free:
                return self._free.pop()
            generation = self._generation
        address = f"file:{quote(str(self._path.absolute()))}?mode=ro"
        return generation, sqlite3.connect(
            address, uri=True, isolation_level=None, timeout=BUSY_S, check_same_thread=False
        )

    def _give_back(self, generation: int, connection: sqlite3.Connection) -> None:
        with self._lock:
            if generation == self._generation and self._is_open:
                self._free.append((generation, connection))
                return
        connection.close()


def _span(series: tuple[str, str, int], start_ms: int, end_ms: int | None, limit: int | None = None) -> dict[str, Any]:
    market, symbol, step_ms = series
    end = FOR_EVER_MS if end_ms is None else end_ms
    return {
        "market": market,
        "symbol": symbol,
        "step": step_ms,
        "start": start_ms,
        "end": end,
        "limit": -1 if limit is None else max(0, limit),
    }


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
