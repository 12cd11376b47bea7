"""Klines, or other rows, as a plain table of columns, which becomes a DataFrame or a table of Arrow."""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TextIO

from .records import Kline, need

if TYPE_CHECKING:
    from .frame import KlineFrame

COLUMNS = (
    "symbol", "interval", "timestamp", "open", "high", "low", "close", "volume", "trade_count", "turnover", "complete",
    "source", "revision",
)  # fmt: skip
SHOWN = 10  # rows of a printed table


class Table:
    """Rows as columns of equal length; `timestamp` is in milliseconds, and a time in UTC wherever it leaves this."""

    def __init__(self, columns: Mapping[str, Sequence[Any]], note: str = "") -> None:
        """`note`: why rows are missing, if so."""
        self.columns, self.note = dict(columns), note

    @classmethod
    def of(cls, klines: Iterable[Kline], interval: str, *, exact: bool = False, note: str = "") -> "Table":
        """Make a table of klines; `exact`: numbers stay decimals, else they are floats."""
        rows = list(klines)
        columns: dict[str, list[Any]] = {name: [getattr(row, name) for row in rows] for name in COLUMNS}
        columns["interval"] = [interval] * len(rows)
        if not exact:
            for name in ("open", "high", "low", "close", "volume", "turnover"):
                columns[name] = list(map(float, columns[name]))
        return cls(columns, note)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def __getitem__(self, name: str) -> Sequence[Any]:
        return self.columns[name]

    def rows(self) -> Iterator[dict[str, Any]]:
        """Return each row as a dict, `timestamp` as a datetime."""
        for values in zip(*self._told().values(), strict=True):
            yield dict(zip(self.columns, values, strict=True))

    def __repr__(self) -> str:
        shown = [list(map(_shown, row.values())) for row in self.tail(SHOWN).rows()]
        rows = [list(self.columns), *shown]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True)) for row in rows]
        more = [f"the last {SHOWN} of {len(self)} rows"] if len(self) > SHOWN else []
        return "\n".join([*lines, *more, *([self.note] if self.note else [])])

    def tail(self, count: int) -> "Table":
        """Return the last rows."""
        return Table({name: values[-count:] for name, values in self.columns.items()}, self.note)

    # -- out -------------------------------------------------------------------------------------------

    def to_pandas(self) -> "KlineFrame":
        """Return a DataFrame of pandas, with `timestamp` as datetime64[ms, UTC]."""
        need("pandas", "A DataFrame")
        from .frame import KlineFrame, times

        return KlineFrame({**self.columns, "timestamp": times(self.columns["timestamp"])})

    def to_polars(self) -> Any:
        """Return a DataFrame of polars."""
        polars = need("polars", "A DataFrame of polars")
        frame = polars.DataFrame(self.columns, strict=False)
        return frame.with_columns(polars.col("timestamp").cast(polars.Datetime("ms", "UTC")))

    def to_arrow(self) -> Any:
        """Return a table of Arrow; exact numbers as decimals of the precision they need."""
        pyarrow = need("pyarrow", "A table of Arrow")
        times = pyarrow.array(self.columns["timestamp"], pyarrow.timestamp("ms", "UTC"))
        return pyarrow.table({**self.columns, "timestamp": times})

    def to_csv(self, file: TextIO, *, header: bool = True) -> None:
        """Write CSV."""
        writer = csv.writer(file)
        if header:
            writer.writerow(self.columns)
        writer.writerows(map(_shown, row.values()) for row in self.rows())

    def to_json(self, file: TextIO) -> None:
        """Write one object of JSON a line; exact numbers as texts."""
        for row in self.rows():
            file.write(json.dumps(row, default=_shown) + "\n")

    def _told(self) -> dict[str, Sequence[Any]]:
        times = [datetime.fromtimestamp(ms / 1000, UTC) for ms in self.columns["timestamp"]]
        return {**self.columns, "timestamp": times}


def _shown(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds" if value.microsecond else "seconds").replace("+00:00", "Z")
    if isinstance(value, bool):
        return "true" if value else "false"
    return format(value, "f") if isinstance(value, Decimal) else str(value)
