"""The candle cache: what was put in comes out, or its loss is logged."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from structlog.testing import capture_logs

from exchanges.bybit.client.cache import Chunk, CorruptError, KlineCache, Memory, Piece, Series, read_piece, write_piece
from exchanges.bybit.client.data_frames import Candles, from_rows, joined
from exchanges.bybit.client.errors import BadAnswerError

SERIES = Series("linear", "BTCUSDT", "1")
CHUNK = Chunk(SERIES, 500)
BEGIN, END = CHUNK.bounds


def candles(count: int, begin: int = BEGIN) -> Candles:
    """So many minutes with numbers of their own."""
    starts = begin + 60_000 * np.arange(count, dtype=np.int64)
    return Candles(starts, np.arange(6 * count, dtype=np.float64).reshape(6, count))


def piece(count: int = 5) -> Piece:
    """Candles and their span."""
    return Piece(candles(count), [(BEGIN, BEGIN + count * 60_000)])


def same(one: Candles, other: Candles) -> bool:
    """Bit for bit."""
    return np.array_equal(one.starts, other.starts) and np.array_equal(one.values, other.values)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """Candles and coverage; an empty piece too: it proves that there is nothing."""
    for given in (piece(), Piece(covered=[(BEGIN, END)])):
        write_piece(tmp_path / "x.parquet", given)
        read = read_piece(tmp_path / "x.parquet", (BEGIN, END))
        assert read is not None
        assert same(read.candles, given.candles)
        assert list(read.covered) == list(given.covered)
    assert [path.name for path in tmp_path.iterdir()] == ["x.parquet"]


def test_no_file_is_no_error(tmp_path: Path) -> None:
    """It is nothing yet."""
    assert read_piece(tmp_path / "x.parquet", (BEGIN, END)) is None


@pytest.mark.parametrize("damage", ["empty", "cut", "text", "flipped", "foreign", "shifted"])
def test_a_damaged_file_is_refused(tmp_path: Path, damage: str) -> None:
    """Flipped bits in the numbers too: pages have checksums."""
    path = tmp_path / "x.parquet"
    write_piece(path, piece(2000))
    content = path.read_bytes()
    middle = len(content) // 2
    broken = {
        "empty": b"",
        "cut": content[:middle],
        "text": b"<html>",
        "flipped": content[:middle] + bytes([content[middle] ^ 0x10]) + content[middle + 1 :],
    }
    bounds = (BEGIN + 60_000, END) if damage == "shifted" else (BEGIN, END)
    if damage == "foreign":
        pq.write_table(pq.read_table(path).replace_schema_metadata({}), path)
    elif damage in broken:
        path.write_bytes(broken[damage])
    with pytest.raises(CorruptError):
        read_piece(path, bounds)


def test_a_damaged_file_is_logged_and_counts_as_absent(tmp_path: Path) -> None:
    """The log names the file."""
    cache = KlineCache(tmp_path)
    cache.path(CHUNK).parent.mkdir(parents=True)
    cache.path(CHUNK).write_bytes(b"nonsense")
    with capture_logs() as logs:
        assert not len(cache.known(CHUNK).candles)
    assert [(entry["event"], entry["file"]) for entry in logs] == [("klines_cache_corrupt", str(cache.path(CHUNK)))]


def test_added_candles_join_the_stored_ones(tmp_path: Path) -> None:
    """Another process reads both."""
    cache = KlineCache(tmp_path)
    cache.add(CHUNK, Piece(), piece(5))
    later = Piece(candles(5, BEGIN + 300_000), [(BEGIN + 300_000, BEGIN + 600_000)])
    cache.add(CHUNK, cache.stored(CHUNK), later)
    known = KlineCache(tmp_path).known(CHUNK)
    assert len(known.candles) == 10
    assert list(known.covered) == [(BEGIN, BEGIN + 600_000)]


def test_a_folder_that_cannot_be_written_costs_the_cache_only(tmp_path: Path) -> None:
    """The candles are there all the same, and the reason is logged."""
    (tmp_path / "linear").write_text("a file where a folder should be")
    cache = KlineCache(tmp_path)
    with capture_logs() as logs:
        with cache.lock(CHUNK) as is_held:
            assert not is_held
        assert len(cache.add(CHUNK, Piece(), piece()).candles) == 5
    assert {entry["event"] for entry in logs} == {"klines_cache_without_lock", "klines_cache_not_written"}


def test_a_lock_is_for_one_at_a_time(tmp_path: Path) -> None:
    """A caller that waits too long goes on without the cache, and that is logged."""
    cache = KlineCache(tmp_path, lock_limit_s=0.01)
    with cache.lock(CHUNK) as first, cache.lock(CHUNK) as second:
        assert first
        assert not second
    with cache.lock(CHUNK) as again:
        assert again


def test_memory_lets_the_longest_unused_go() -> None:
    """It never holds more bytes than it may."""
    size = candles(10).nbytes
    memory = Memory(3 * size)
    for number in range(3):
        memory.put(Chunk(SERIES, number), piece(10))
    assert memory.get(Chunk(SERIES, 0)) is not None
    memory.put(Chunk(SERIES, 3), piece(10))
    assert memory.nbytes == 3 * size
    assert memory.get(Chunk(SERIES, 1)) is None
    assert memory.get(Chunk(SERIES, 0)) is not None
    memory.put(Chunk(SERIES, 9), piece(1000))
    assert memory.nbytes == 0


def test_a_span_of_years_is_some_dozens_of_files(tmp_path: Path) -> None:
    """Minutes of three years; the borders belong to one chunk each."""
    cache = KlineCache(tmp_path)
    three_years = (1_672_531_200_000, 1_767_225_600_000)
    chunks = cache.chunks(SERIES, three_years)
    assert 30 < len(chunks) < 40
    assert cache.chunks(SERIES, (BEGIN, END)) == [CHUNK]
    assert cache.chunks(SERIES, (BEGIN, END + 1)) == [CHUNK, Chunk(SERIES, 501)]


def test_joined_candles_are_sorted_and_once() -> None:
    """Of two with the same start the later given one stays."""
    old, new = candles(3), candles(3, BEGIN + 60_000)
    both = joined([new, old, Candles(new.starts, new.values + 0.5)])
    assert both.starts.tolist() == [BEGIN, BEGIN + 60_000, BEGIN + 120_000, BEGIN + 180_000]
    assert both.values[0].tolist() == [0.0, 0.5, 1.5, 2.5]


@pytest.mark.parametrize("rows", [[["1", "x", "1", "1", "1", "1", "1"]], [["1", "2"]], [[]], [["1", *["nan"] * 6]]])
def test_what_is_no_candle_is_a_bad_answer(rows: list[list[str]]) -> None:
    """It must not become a row of the DataFrame."""
    with pytest.raises(BadAnswerError, match="these are no candles"):
        from_rows(rows)


def test_a_frame_is_in_utc_and_of_floats() -> None:
    """Rows of Bybit come newest first."""
    rows = [["1672531260000", "2", "2", "2", "2", "2", "2"], ["1672531200000", "1.5", "3", "1", "2", "0.1", "7"]]
    frame = from_rows(rows).frame()
    assert str(frame.index[0]) == "2023-01-01 00:00:00+00:00"
    assert frame.iloc[0].to_dict() == {"open": 1.5, "high": 3, "low": 1, "close": 2, "volume": 0.1, "turnover": 7}
    assert set(map(str, frame.dtypes)) == {"float64"}
    assert frame.index.is_monotonic_increasing
