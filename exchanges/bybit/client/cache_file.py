"""One file of the candle cache: Parquet with the times it covers. A file is read whole and replaced whole.

Whoever opens one sees the old or the new content, never half of it. Pages have checksums; what is not as it was
written raises CorruptError. Knows no exchange.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from exchanges.bybit.client.data_frames import COLUMNS, NONE, Candles
from exchanges.bybit.client.data_times import Span, merged
from model.files import atomic_write, check_regular, open_descriptor

COVERED = b"bybit.covered"  # [[from, until), ...] in ms: within these the file has every candle there is
VERSION, VERSION_NOW = b"bybit.version", b"1"
START = "start"
TYPES = [pa.timestamp("ms", "UTC"), *[pa.float64()] * len(COLUMNS)]


class CorruptError(Exception):
    """A file is not what was written."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Candles and the times in which they are all there are."""

    candles: Candles = NONE
    covered: Sequence[Span] = ()


def read_piece(path: Path, bounds: Span) -> Piece | None:
    """The file's content, None without a file; raises CorruptError."""
    try:
        check_regular(path)
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            table = file.read()
    except FileNotFoundError:
        return None
    except (pa.ArrowException, OSError, ValueError) as error:
        raise CorruptError(f"{type(error).__name__}: {error}"[:200]) from error
    return _checked(table, bounds)


def _checked(table: pa.Table, bounds: Span) -> Piece:
    metadata = table.schema.metadata or {}
    if metadata.get(VERSION) != VERSION_NOW or table.column_names != [START, *COLUMNS] or table.schema.types != TYPES:
        raise CorruptError("another format")
    covered = _covered(metadata.get(COVERED, b""))
    starts = table.column(START).cast(pa.int64()).to_numpy()
    values = np.stack([table.column(name).to_numpy() for name in COLUMNS])
    inside = len(starts) == 0 or (bounds[0] <= starts[0] and starts[-1] < bounds[1])
    if not inside or not (np.diff(starts) > 0).all():
        raise CorruptError("candles out of order")
    return Piece(Candles(starts, values), covered)


def _covered(text: bytes) -> list[Span]:
    try:
        return merged([(int(begin), int(end)) for begin, end in json.loads(text)])
    except (ValueError, TypeError) as error:
        raise CorruptError(f"no coverage: {error}"[:200]) from error


def write_piece(path: Path, piece: Piece) -> None:
    """Replace the file; the caller holds its lock. Raises OSError and leaves the old file where it cannot."""
    columns = [
        pa.array(piece.candles.starts.astype("datetime64[ms]")).cast(TYPES[0]),
        *map(pa.array, piece.candles.values),
    ]
    table = pa.table(columns, names=[START, *COLUMNS])
    metadata = {VERSION: VERSION_NOW, COVERED: json.dumps([list(span) for span in piece.covered]).encode()}

    def write(temp: Path) -> None:
        with open(temp, "wb", opener=open_descriptor) as file:
            pq.write_table(
                table.replace_schema_metadata(metadata), file, compression="zstd", use_dictionary=False,
                write_page_checksum=True,
            )  # fmt: skip

    atomic_write(path, write, os.getpid())
