"""Rows on disk before their hour is over, and the files made of them then.

`consumer-parquet` thread; needs pyarrow. A part holds some seconds of one market and type, sorted by symbol, as an
Arrow file with one batch per symbol: an hour's parts make a file per symbol with one symbol's rows in memory.
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

from consumers.file_aside import make_whole

SYMBOLS = b"symbols"  # in a part's metadata: whose rows its batches hold
ROW_GROUP = 131_072  # rows held in memory at most; readers skip groups by their statistics
ZSTD_LEVEL = 3
ENDING = ".arrow"

Places = list[tuple[Any, int]]  # (part, number of the batch)


def write_part(path: Path, batches: list[Any]) -> int:
    """Write batches of one schema as a part; returns its bytes. On OSError nothing is left."""
    table = pa.Table.from_batches(batches).sort_by("symbol").combine_chunks()  # a stable sort: a symbol's order stays
    symbols, first = [], 0
    slices = []
    for symbol, rows in groupby(table.column("symbol").to_pylist()):
        count = sum(1 for _ in rows)
        symbols.append(symbol)
        slices.append(table.slice(first, count).to_batches()[0])
        first += count
    schema = table.schema.with_metadata({SYMBOLS: json.dumps(symbols).encode()})

    def write(aside: Path) -> None:
        options = pyarrow.ipc.IpcWriteOptions(compression="zstd")
        with aside.open("wb") as file, pyarrow.ipc.new_file(file, schema, options=options) as writer:
            for piece in slices:
                writer.write_batch(piece)

    return make_whole(path, write)


def merge_parts(parts: Iterable[Path], path_of: Callable[[str], Path]) -> Iterator[int]:
    """Make a file per symbol of parts in their order; yields the bytes of each. OSError where the disk refuses.

    Always makes the same files of the same parts, so that it may be done again.
    """
    with contextlib.ExitStack() as stack:
        by_symbol: dict[str, Places] = {}
        for path in sorted(parts):
            reader = pyarrow.ipc.open_file(stack.enter_context(pa.memory_map(str(path))))
            for number, symbol in enumerate(json.loads(reader.schema.metadata[SYMBOLS])):
                by_symbol.setdefault(symbol, []).append((reader, number))
        for symbol, places in by_symbol.items():
            yield make_whole(path_of(symbol), functools.partial(_write_file, places))


def _write_file(places: Places, aside: Path) -> None:
    schema = places[0][0].schema.remove_metadata()
    with (
        aside.open("wb") as file,
        pyarrow.parquet.ParquetWriter(file, schema, compression="zstd", compression_level=ZSTD_LEVEL) as writer,
    ):
        for batches in _groups(reader.get_batch(number) for reader, number in places):
            writer.write_table(pa.Table.from_batches(batches).cast(schema), row_group_size=ROW_GROUP)


def _groups(batches: Iterable[Any]) -> Iterator[list[Any]]:
    waiting: list[Any] = []
    rows = 0
    for batch in batches:
        waiting.append(batch.replace_schema_metadata(None))
        rows += batch.num_rows
        if rows >= ROW_GROUP:
            yield waiting
            waiting, rows = [], 0
    if waiting:
        yield waiting
