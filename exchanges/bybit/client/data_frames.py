"""Candles as arrays, as DataFrames and as users' files. Pure but for `save` and `load`.

Prices and volumes are float64, which is what pandas computes with: Bybit's decimals up to 15 digits survive it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from exchanges.bybit.client.errors import BadAnswerError, RequestError
from model.files import atomic_write

COLUMNS = ("open", "high", "low", "close", "volume", "turnover")


@dataclass(frozen=True, slots=True)
class Candles:
    """Rows by their start: `starts` ascending in ms, `values` one row per column of COLUMNS. Never changed."""

    starts: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def nbytes(self) -> int:
        """What it takes in memory."""
        return self.starts.nbytes + self.values.nbytes

    def between(self, begin_ms: int, end_ms: int) -> "Candles":
        """Those with begin <= start < end; a view."""
        first, last = np.searchsorted(self.starts, [begin_ms, end_ms])
        return Candles(self.starts[first:last], self.values[:, first:last])

    def frame(self) -> pd.DataFrame:
        """As a DataFrame on the same memory: a UTC DatetimeIndex named `start`, float64 columns."""
        index = pd.DatetimeIndex(self.starts.astype("datetime64[ms]"), name="start").tz_localize("UTC")
        return pd.DataFrame(self.values.T, index=index, columns=list(COLUMNS), copy=False)


NONE = Candles(np.empty(0, np.int64), np.empty((len(COLUMNS), 0)))


def from_rows(rows: Sequence[Sequence[str]]) -> Candles:
    """Of Bybit's rows [start, open, high, low, close, volume, turnover] in any order; raises BadAnswerError."""
    if not rows:
        return NONE
    try:
        starts = np.array([int(row[0]) for row in rows], np.int64)
        values = np.array([row[1:7] for row in rows], np.float64).T
    except (ValueError, TypeError, LookupError, OverflowError) as error:
        raise BadAnswerError(f"these are no candles: {error}") from error
    if values.shape != (len(COLUMNS), len(rows)) or not np.isfinite(values).all():
        raise BadAnswerError(f"these are no candles: {rows[0]!r:.200}")
    return _sorted(starts, values)


def readable(rows: Sequence[Any]) -> tuple[Candles, int]:
    """The candles of a page, and how many of its rows are none: an odd row costs itself."""
    try:
        return from_rows(rows), 0
    except BadAnswerError:
        if len(rows) <= 1:
            return NONE, len(rows)
    pieces = [readable(rows[index : index + 1]) for index in range(len(rows))]
    return joined([candles for candles, _ in pieces]), sum(odd for _, odd in pieces)


def joined(pieces: Iterable[Candles]) -> Candles:
    """A copy of all of them, sorted; of two with the same start the later piece's stays."""
    parts = [piece for piece in pieces if len(piece)]
    if not parts:
        return Candles(NONE.starts.copy(), NONE.values.copy())
    starts = np.concatenate([part.starts for part in parts])
    values = np.concatenate([part.values for part in parts], axis=1)
    return _sorted(starts, values)


def _sorted(starts: npt.NDArray[np.int64], values: npt.NDArray[np.float64]) -> Candles:
    if (np.diff(starts) > 0).all():
        return Candles(starts, values)
    order = np.argsort(starts, kind="stable")
    starts, values = starts[order], values[:, order]
    last = np.append(np.diff(starts) > 0, True)
    return Candles(starts[last], values[:, last])


def stream_frame(row: dict[str, Any]) -> pd.DataFrame:
    """One candle of a kline message as a DataFrame of one row, with `confirm`; raises BadAnswerError."""
    if not isinstance(row, dict):
        raise BadAnswerError(f"this is no candle: {row!r:.200}")
    values: list[Any] = [row.get("start"), *map(row.get, COLUMNS)]
    frame = from_rows([values]).frame()
    frame["confirm"] = bool(row.get("confirm"))
    return frame


def save(frame: pd.DataFrame, path: str | Path) -> Path:
    """Write a DataFrame to .parquet or .csv; replaces the file whole or not at all."""
    target = Path(path)
    kind = _kind(target)
    atomic_write(target, frame.to_csv if kind == ".csv" else frame.to_parquet)
    return target


def load(path: str | Path) -> pd.DataFrame:
    """Read what `save` wrote: the same DataFrame."""
    source = Path(path)
    if _kind(source) == ".parquet":
        return pd.read_parquet(source)
    frame = pd.read_csv(source, index_col=0)
    frame.index = pd.to_datetime(frame.index, utc=True, format="ISO8601").as_unit("ms")
    return frame


def _kind(path: Path) -> str:
    ending = path.suffix.lower()
    if ending not in (".parquet", ".csv"):
        raise RequestError(f"{path.name}: the name ends neither in .parquet nor in .csv")
    return ending
