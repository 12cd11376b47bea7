"""The Parquet output: envelopes in one file per symbol, type and hour, which appears whole.

`consumer-parquet` thread. Rows are in memory for PARQUET_FLUSH_INTERVAL at most, then in hidden parts until their
hour is over. A disk that refuses is tried again, within a bound in memory. Needs pyarrow, loaded by `setup`.
"""

import contextlib
import importlib.util
import shutil
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import structlog

from consumers.base import BaseConsumer
from consumers.files.retention import Retention
from consumers.health import FailureLog
from model.envelope import Envelope
from model.files import name_part
from model.pacing import ThrottledLogger
from model.ports import FieldNames, own_names
from model.records import Record

log = structlog.get_logger()

FLUSH_BYTES = 48 * 1024 * 1024  # rows in memory, above which parts are written early
SAMPLE = 200  # characters of a record that is refused, in the log
STOP_MERGE_S = 1.0  # at the end; the next start makes what is left
HOUR = "%Y%m%d_%H"
PARTS = ".parts"
TRIAL = "trial"  # a folder of parts for a moment at the start
TRIAL_RECORDS: dict[str, Record] = {
    "price": {"symbol": "-", "price": Decimal(1)},
    "ticker": {"symbol": "-", "lastPrice": Decimal(1), "nextFundingTime": 1, "unsure": ["-"], "of no column": 1},
}
OWN = r"(?P<exchange>[^/]+)/(?P<market>[^/]+)/[^/]+/[^/]+/(?P<time>\d{8}_\d{2})\.parquet"
INSTALL = "-m pip install -r requirements-parquet.txt"

Group = tuple[str, str, str, str]  # exchange, market, type of data, hour


@dataclass(frozen=True)
class ParquetOptions:
    """The folder of the files, how long they stay (0: for ever); `name` is unique among the folder's writers.

    Files of `exchange` and `markets` alone are removed, not those of others in the same folder. `names_of`: how the
    fields of an exchange's records are called.
    """

    base_path: Path = Path("output/parquet")
    exchange: str = "bybit"
    markets: tuple[str, ...] = ("linear",)
    retention_hours: float = 0.0
    max_gb: float = 0.0
    flush_s: float = 60.0
    name: str = "bybit_linear"
    names_of: FieldNames = own_names
    convert_rows: int = 2_000  # records that wait to become columns, which take a fifth of the memory
    pending_bytes: int = 128 * 1024 * 1024  # of columns that may wait in memory for a disk that refuses
    retry_s: float = 1.0  # between two attempts on a disk that refuses
    merge_slice_s: float = 0.1  # of merging at a time, so that envelopes do not wait for a whole market's hour


@dataclass
class Waiting:
    """Rows of one group in memory: records as they came, and columns."""

    records: list[Any] = field(default_factory=list)
    received_ms: list[int] = field(default_factory=list)
    batches: deque[Any] = field(default_factory=deque)


class ParquetConsumer(BaseConsumer):
    """Writes `<exchange>/<market>/<data_type>/<SYMBOL>/YYYYMMDD_HH.parquet`; the hour is that of arrival, UTC."""

    tick_s: ClassVar[float] = 0.25  # type: ignore[misc]
    niceness: ClassVar[int] = 10

    def __init__(self, options: ParquetOptions, utc_now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        super().__init__("parquet")
        self._options, self._utc_now = options, utc_now
        self._parts = options.base_path / PARTS / name_part(options.name)
        self._waiting: dict[Group, Waiting] = {}
        self._flush_at_s = self._retry_at_s = float("-inf")
        self._hour = ""
        self._merges: deque[Path] = deque()
        self._merging: Iterator[int] | None = None
        owners = [(options.exchange, market) for market in options.markets]
        self._retention = Retention(
            options.base_path, OWN, HOUR, owners, options.retention_hours, options.max_gb, span=timedelta(hours=1)
        )
        self._parts_in: dict[Path, int] = {}  # written by this run, by their hour's folder
        self._unmerged: set[Path] = set()  # of `_merges`: what the disk refused
        self._logger = ThrottledLogger(log)
        self._failures = FailureLog("parquet")
        self._rows = self._files = self._bytes = self._parts_written = self._dropped = 0

    def validate(self) -> None:
        """Raise ValueError for options that cannot work, or where pyarrow is not installed."""
        if importlib.util.find_spec("pyarrow") is None:
            raise ValueError(f"ENABLED_CONSUMERS: parquet needs pyarrow; run: {sys.executable} {INSTALL}")
        self._retention.validate("PARQUET", "PARQUET_PATH")

    def setup(self) -> None:
        """Load pyarrow, make the folder, and take up the parts that an earlier run left."""
        from consumers.files import parquet_columns, parquet_parts  # the only place: pyarrow is optional, and large

        self._columns, self._disk = parquet_columns, parquet_parts
        self._parts.mkdir(parents=True, exist_ok=True)
        self._write_trial()
        self._hour = self._utc_now().strftime(HOUR)
        self._flush_at_s = time.monotonic() + self._options.flush_s
        self._merges.extend(folder for folder in self._hours() if folder.name < self._hour)

    def deliver(self, envelopes: list[Envelope]) -> None:
        """Collect rows; parts are written by `tick`, or here where there are many."""
        now = self._utc_now()
        now_ms, hour = int(now.timestamp() * 1000), now.strftime(HOUR)
        for envelope in envelopes:
            if envelope.data_type not in self._columns.TABLES:
                continue
            group = (envelope.exchange, envelope.channel, envelope.data_type, hour)
            waiting = self._waiting.setdefault(group, Waiting())
            waiting.records.extend(envelope.data)
            waiting.received_ms.extend([now_ms] * len(envelope.data))
            if len(waiting.records) >= self._options.convert_rows:
                self._convert(group, waiting)
        if self._size() > FLUSH_BYTES:
            self._flush(time.monotonic())
        self._merge(self._options.merge_slice_s)

    def tick(self) -> None:
        """Write parts that are due, make files of hours that are over, remove files over their time or size."""
        now, now_s = self._utc_now(), time.monotonic()
        hour = now.strftime(HOUR)
        if hour != self._hour and self._flush(now_s):
            self._merges.extend(folder for folder in self._hours() if folder.name < hour)
            self._hour = hour
        elif now_s >= self._flush_at_s:
            self._flush(now_s)
        self._merge(self._options.merge_slice_s)
        self._retention.tick(now_s, now)

    def stop(self) -> None:
        """Write everything, and as many files as the time allows; the next start makes the others."""
        self._retry_at_s = float("-inf")
        if not self._flush(time.monotonic()):
            lost = sum(
                len(waiting.records) + sum(int(batch.num_rows) for batch in waiting.batches)
                for waiting in self._waiting.values()
            )
            log.error("parquet_rows_lost", rows=lost)
        self._merges.extend(folder for folder in self._hours() if folder not in self._merges)
        self._merge(STOP_MERGE_S)
        self._is_running = False

    def counters(self) -> dict[str, float]:
        """Return rows and files made, failed writes, and rows lost to them."""
        return {
            "rows": self._rows,
            "parts": self._parts_written,
            "files": self._files,
            "bytes": self._bytes,
            "write_errors": self._failures.count,
            "rows_dropped": self._dropped,
            "files_removed": self._retention.removed,
        }

    def _write_trial(self) -> None:
        """Write a row of each kind of column and remove it: what pyarrow loads at first use (pandas) is loaded now."""
        folder = self._parts / TRIAL
        with contextlib.suppress(OSError):  # errors of the disk are reported where rows are written
            for data_type, record in TRIAL_RECORDS.items():
                part = folder / f"{data_type}{self._disk.ENDING}"
                self._disk.write_part(part, [self._columns.batch_of(data_type, [record], [0])])
                list(self._disk.merge_parts([part], lambda symbol: folder / symbol, self._logger))
        shutil.rmtree(folder, ignore_errors=True)

    # -- rows to parts ---------------------------------------------------------------------------------

    def _convert(self, group: Group, waiting: Waiting) -> None:
        """Make columns of records."""
        records, received_ms = waiting.records, waiting.received_ms
        if not records:
            return
        waiting.records, waiting.received_ms = [], []
        exchange, _, data_type, _ = group
        for batch in self._batches(data_type, records, received_ms, self._options.names_of(exchange, data_type)):
            waiting.batches.append(batch)
            if numbers := self._columns.numbers_left_out(batch):
                problem = "numbers from 1e20 on are null, as are texts that are no number"
                self._logger.warning(
                    "parquet_numbers_null", data_type, data_type=data_type, numbers=numbers, problem=problem
                )

    def _batches(
        self, data_type: str, records: list[Any], received_ms: list[int], names: Mapping[str, str]
    ) -> Iterator[Any]:
        """Return columns of records; each record that cannot be converted is left out, and counted."""
        try:
            yield self._columns.batch_of(data_type, records, received_ms, names)
        except self._columns.ODD as error:
            half = len(records) // 2
            if half:
                yield from self._batches(data_type, records[:half], received_ms[:half], names)
                yield from self._batches(data_type, records[half:], received_ms[half:], names)
                return
            self._dropped += 1
            sample = repr(records[0])[:SAMPLE]
            self._logger.error("parquet_row_refused", data_type, data_type=data_type, error=str(error), sample=sample)

    def _flush(self, now_s: float) -> bool:
        """Write every row in memory; False where some could not be."""
        if now_s < self._retry_at_s:
            self._bound()
            return False
        self._flush_at_s = now_s + self._options.flush_s
        for group, waiting in list(self._waiting.items()):
            self._convert(group, waiting)
            if not waiting.batches or self._write_part(group, waiting):
                del self._waiting[group]
        self._bound()
        self._update_trouble()
        return not self._waiting

    def _write_part(self, group: Group, waiting: Waiting) -> bool:
        exchange, market, data_type, hour = (name_part(part) for part in group)
        path = self._parts / exchange / market / data_type / hour / f"{time.time_ns()}{self._disk.ENDING}"
        self._check_removed(path.parent)
        try:
            self._disk.write_part(path, list(waiting.batches))
        except OSError as error:
            self._fail(error)
            return False
        self._retention.own(exchange, market)
        self._parts_in[path.parent] = self._parts_in.get(path.parent, 0) + 1
        self._parts_written += 1
        self._rows += sum(batch.num_rows for batch in waiting.batches)
        return True

    def _check_removed(self, folder: Path) -> None:
        """Log where parts of this run were removed: the hour's file lacks what they held."""
        gone = self._parts_in.get(folder, 0)
        if gone and not folder.is_dir():
            del self._parts_in[folder]
            log.warning("parquet_parts_gone", path=str(folder), parts=gone, then="begun anew")

    def _fail(self, error: OSError) -> None:
        now_s = time.monotonic()
        self._retry_at_s = now_s + self._options.retry_s
        self._flush_at_s = min(self._flush_at_s, self._retry_at_s)
        self._failures.failed(error, now_s, waiting_bytes=self._size())
        self.trouble = error

    def _update_trouble(self) -> None:
        """Record that the disk works where nothing waits for it."""
        if not self._waiting and not self._unmerged:
            self._failures.recovered(time.monotonic())
        self.trouble = self._failures.error

    def _bound(self) -> None:
        """Drop the oldest columns while all together are over the bound."""
        while self._size() > self._options.pending_bytes:
            largest = max(self._waiting.values(), key=lambda waiting: sum(batch.nbytes for batch in waiting.batches))
            self._dropped += int(largest.batches.popleft().num_rows)

    def _size(self) -> int:
        return sum(int(batch.nbytes) for waiting in self._waiting.values() for batch in waiting.batches)

    # -- parts to files --------------------------------------------------------------------------------

    def _hours(self) -> list[Path]:
        """Return the folder of every hour with parts: <exchange>/<market>/<data_type>/<hour>, oldest first."""
        return sorted(self._parts.glob("*/*/*/*"), key=lambda folder: folder.name)

    def _merge(self, limit_s: float) -> None:
        """Continue making files of parts, for about `limit_s`."""
        until_s = time.monotonic() + limit_s
        while self._merges and time.monotonic() < until_s and until_s >= self._retry_at_s:
            folder = self._merges[0]
            try:
                if self._merging is None:
                    self._check_removed(folder)
                    parts = folder.glob(f"*{self._disk.ENDING}")
                    self._merging = self._disk.merge_parts(parts, self._namer(folder), self._logger)
                size = next(self._merging, None)
            except (OSError, ValueError) as error:  # ValueError: a part that is none
                self._merging = None
                self._merges.rotate(-1)
                self._unmerged.add(folder)
                self._fail(error if isinstance(error, OSError) else OSError(f"{folder}: {error}"))
                continue
            self._merged(folder, size)

    def _merged(self, folder: Path, size: int | None) -> None:
        if size is not None:
            self._files += 1
            self._bytes += size
            self._retention.wrote(size)
            return
        self._merging = None
        self._merges.popleft()
        self._parts_in.pop(folder, None)
        self._unmerged.discard(folder)
        self._update_trouble()
        if folder.name < self._utc_now().strftime(HOUR):  # else more rows of the hour may come, after a restart
            with contextlib.suppress(OSError):
                shutil.rmtree(folder)

    def _namer(self, folder: Path) -> Any:
        exchange, market, data_type, hour = folder.parts[-4:]
        home = self._options.base_path / exchange / market / data_type
        return lambda symbol: home / name_part(symbol) / f"{hour}.parquet"
