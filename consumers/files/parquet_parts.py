"""Parts: the rows of an hour that is not over, on disk, and the Parquet files made of them afterwards.

`consumer-parquet` thread; needs pyarrow. A part holds some seconds of one market and type, sorted by symbol. All
parts of an hour are read side by side, symbol by symbol: a chunk of each, and one symbol's rows, are in memory.
"""

import contextlib
import functools
import json
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet

from model.files import NotRegularError, atomic_write, check_regular, open_descriptor
from model.pacing import ThrottledLogger

RUNS = b"runs"  # in a part's metadata: [symbol, rows] in the order of its rows
CHUNK = 2_048  # rows of a part that are compressed together, and in memory together: half a megabyte
ROW_GROUP = 131_072  # rows of a symbol held in memory at most; readers skip groups by their statistics
ZSTD_LEVEL = 3
UNIQUE = "trade_id"  # texts of which no two are the same
ENDING = ".arrow"


def write_part(path: Path, batches: list[Any]) -> int:
    """Write batches of one schema as a part; returns its bytes. On OSError nothing is left."""
    table = pa.Table.from_batches(batches).sort_by("symbol").combine_chunks()  # a stable sort: a symbol's order stays
    runs = [(symbol, sum(1 for _ in rows)) for symbol, rows in groupby(table.column("symbol").to_pylist())]
    table = table.replace_schema_metadata({RUNS: json.dumps(runs).encode()})

    def write(temp: Path) -> None:
        options = pyarrow.ipc.IpcWriteOptions(compression="zstd")
        with (
            open(temp, "wb", opener=open_descriptor) as file,
            pyarrow.ipc.new_file(file, table.schema, options=options) as writer,
        ):
            writer.write_table(table, max_chunksize=CHUNK)

    return atomic_write(path, write)


def merge_parts(parts: Iterable[Path], path_of: Callable[[str], Path], logger: ThrottledLogger) -> Iterator[int]:
    """Make a file per symbol of parts in their order; yields the bytes of each. OSError where the disk refuses.

    Idempotent: the same parts make the same files. `logger` writes of parts that cannot be read.
    """
    with contextlib.ExitStack() as stack:
        opened = [part for path in sorted(parts) if (part := _opened(path, stack, logger))]
        for symbol in sorted({symbol for part in opened for symbol in part.runs}):
            pieces = (piece for part in opened for piece in part.take(symbol))
            yield atomic_write(path_of(symbol), functools.partial(_write_file, opened[0].schema, pieces))


def _opened(path: Path, stack: contextlib.ExitStack, logger: ThrottledLogger) -> "Part | None":
    try:
        check_regular(path)
        return Part(stack.enter_context(pa.memory_map(str(path))))
    except (NotRegularError, ValueError, KeyError, TypeError) as error:
        # Cut short by a machine that went down: empty, or no Arrow file.
        logger.error("parquet_part_unreadable", path=str(path), error=str(error))
        return None


class Part:
    """One part, read from its first symbol to its last."""

    def __init__(self, source: Any) -> None:
        self._reader = pyarrow.ipc.open_file(source)
        self.schema = self._reader.schema.remove_metadata()
        self.runs: dict[str, tuple[int, int]] = {}  # symbol -> first row, rows
        first = 0
        for symbol, rows in json.loads(self._reader.schema.metadata[RUNS]):
            self.runs[symbol] = first, rows
            first += rows
        self._number, self._chunk = -1, None

    def take(self, symbol: str) -> Iterator[Any]:
        """Return the rows of a symbol, in pieces; every chunk is read once where symbols are taken in their order."""
        first, left = self.runs.get(symbol, (0, 0))
        while left:
            number, offset = divmod(first, CHUNK)
            if number != self._number:
                self._number, self._chunk = number, self._reader.get_batch(number).replace_schema_metadata(None)
            assert self._chunk is not None
            piece = self._chunk.slice(offset, left)
            yield piece
            first += piece.num_rows
            left -= piece.num_rows


def _write_file(schema: Any, pieces: Iterable[Any], temp: Path) -> None:
    options = {
        "compression": "zstd",
        "compression_level": ZSTD_LEVEL,
        "store_schema": False,
        # A quarter smaller: numbers repeat too seldom for a dictionary, and readers leave out groups by time alone.
        "use_dictionary": [name for name in schema.names if schema.field(name).type == pa.string() and name != UNIQUE],
        "write_statistics": [name for name in schema.names if pa.types.is_timestamp(schema.field(name).type)],
    }
    with (
        open(temp, "wb", opener=open_descriptor) as file,
        pyarrow.parquet.ParquetWriter(file, schema, **options) as writer,
    ):
        for batches in _groups(pieces):
            writer.write_table(pa.Table.from_batches(batches, schema).combine_chunks(), row_group_size=ROW_GROUP)


def _groups(pieces: Iterable[Any]) -> Iterator[list[Any]]:
    waiting: list[Any] = []
    rows = 0
    for piece in pieces:
        waiting.append(piece)
        rows += piece.num_rows
        if rows >= ROW_GROUP:
            yield waiting
            waiting, rows = [], 0
    if waiting:
        yield waiting
