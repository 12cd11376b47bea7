"""client.data's history against the simulated exchange: whole, once, cached, and shared by threads and processes."""

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from structlog.testing import capture_logs

from exchanges.bybit import BybitClient
from exchanges.bybit.client.cache import Chunk, Series, read_piece
from exchanges.bybit.client.errors import RequestError
from tests.integration.client.conftest import Make
from tests.support.simulator import ROOT, SimulatorProcess

START = "2023-01-01"
LISTED = pd.Timestamp("2020-03-30", tz="UTC")
MINUTE_MS, DAY_MS = 60_000, 86_400_000


class Asked:
    """A client that keeps its candles in a folder, and what it asked the exchange for."""

    def __init__(self, client: BybitClient[Any]) -> None:
        self.client, self.data = client, client.data
        self.paths: list[str] = []
        send = client.transport.send

        def record_answer(request: Any) -> Any:
            self.paths.append(request.path_and_query)
            return send(request)

        client.transport.send = record_answer  # type: ignore[method-assign]

    def klines(self, *args: Any, **options: Any) -> pd.DataFrame:
        """fetch_historical_klines of BTCUSDT."""
        frame: pd.DataFrame = self.data.fetch_historical_klines("BTCUSDT", *args, **options)
        return frame

    @property
    def pages(self) -> int:
        """How many pages of minutes were asked for since the last question."""
        asked, self.paths[:] = [path for path in self.paths if "/kline" in path and "interval=1&" in path + "&"], []
        return len(asked)


@pytest.fixture
def asked(make: Make, tmp_path: Path) -> Asked:
    """With an empty cache, the listing known."""
    one = Asked(make(data_dir=str(tmp_path)))
    one.klines("1m", "2022-06-01", "2022-06-02")
    assert one.pages == 3  # two of the day, and the first minutes of the symbol
    return one


@pytest.fixture
def again(make: Make, tmp_path: Path) -> Asked:
    """Another client on the same folder."""
    return Asked(make(data_dir=str(tmp_path)))


def starts_ms(frame: pd.DataFrame) -> list[int]:
    return [int(start) for start in pd.DatetimeIndex(frame.index).asi8]


def assert_whole(frame: pd.DataFrame, count: int, start: str = START, step_ms: int = MINUTE_MS) -> None:
    """No hole, no double, and where it should begin."""
    assert len(frame) == count
    assert frame.index[0] == pd.Timestamp(start, tz="UTC")
    assert set(np.diff(starts_ms(frame)).tolist()) <= {step_ms}
    assert bool(frame.notna().all(axis=None))


def test_thirty_thousand_minutes_are_whole_and_kept(asked: Asked, again: Asked) -> None:
    """Page borders show nowhere; a second call asks nothing, nor does another client on the folder."""
    frame = asked.klines("1m", START, "2023-01-21T20:00:00Z")
    assert_whole(frame, 30_000)
    assert asked.pages == 31  # a file's border lies in between
    second = asked.klines("1m", START, "2023-01-21T20:00:00Z")
    third = again.klines("1m", START, "2023-01-21T20:00:00Z")
    assert asked.pages == again.pages == 0
    assert frame.equals(second)
    assert frame.equals(third)


def test_the_candles_are_the_exchanges(asked: Asked) -> None:
    """Each number of each row, over a page border and a chunk's."""
    chunk_ms = 50_000 * MINUTE_MS
    border_ms = 1_672_531_200_000 // chunk_ms * chunk_ms
    span = (border_ms - 700 * MINUTE_MS, border_ms + 800 * MINUTE_MS)
    frame = asked.klines("1", *span)
    truth = list(asked.client.market.iter_klines(symbol="BTCUSDT", interval="1", start=span[0], end=span[1]))
    assert starts_ms(frame) == [kline.start for kline in truth]
    for name in ("open", "high", "low", "close", "volume", "turnover"):
        assert frame[name].tolist() == [float(getattr(kline, name)) for kline in truth]


def test_only_what_is_missing_is_fetched(asked: Asked) -> None:
    """On both sides of what is there, and between."""
    asked.klines("1m", "2023-01-02", "2023-01-03")
    asked.klines("1m", "2023-01-04", "2023-01-05")
    assert asked.pages == 4
    frame = asked.klines("1m", "2023-01-01T23:00", "2023-01-05T01:00")
    assert asked.pages == 4  # an hour, two pages of a day, an hour
    assert_whole(frame, 74 * 60, "2023-01-01T23:00")


def test_the_callers_frame_is_his_own(asked: Asked) -> None:
    """What he writes into it is in no other, and not in the cache."""
    frame = asked.klines("1h", START, "2023-01-03")
    frame["close"] = 0.0
    frame.loc[frame.index[0], "open"] = -1.0
    frame["sma_20"] = frame["close"].rolling(window=20).mean()
    other = asked.klines("1h", START, "2023-01-03")
    assert (other["close"] > 0).all()
    assert other["open"].iloc[0] > 0
    assert list(other) == ["open", "high", "low", "close", "volume", "turnover"]


@pytest.mark.parametrize(("interval", "count"), [("1d", 365), ("1w", 52), ("1M", 12)])
def test_every_interval_has_its_candles(asked: Asked, interval: str, count: int) -> None:
    """Weeks that begin in the year, calendar months."""
    frame = asked.klines(interval, START, "2024-01-01")
    assert len(frame) == count
    assert frame.equals(asked.klines(interval, START, "2024-01-01", use_cache=False))


def test_the_open_candle_is_there_and_never_kept(asked: Asked, tmp_path: Path) -> None:
    """Every call asks for it anew."""
    now_ms = asked.client.get_server_time()
    frame = asked.klines("1m", now_ms - DAY_MS)
    assert frame.index[-1].timestamp() * 1000 > now_ms - MINUTE_MS - 1_000
    assert set(np.diff(starts_ms(frame)).tolist()) == {MINUTE_MS}
    for path in tmp_path.rglob("linear/BTCUSDT/1/*.parquet"):
        piece = read_piece(path, (0, 10**15))
        assert piece is not None
        assert piece.covered[-1][1] <= asked.client.get_server_time() - 5_000
        assert piece.candles.starts[-1] + MINUTE_MS <= piece.covered[-1][1]
    asked.pages  # noqa: B018 - begins to count anew
    assert len(asked.klines("1m", now_ms - DAY_MS)) >= len(frame)
    assert asked.pages == 1


def test_before_the_listing_there_is_nothing(asked: Asked) -> None:
    """And no page is fetched of it."""
    frame = asked.klines("1m", "2015-01-01", "2020-03-30T02:00:00Z")
    assert frame.index[0] == LISTED
    assert len(frame) == 120
    assert asked.pages == 1
    assert len(asked.klines("1m", "2015-01-01", "2020-01-01")) == 0
    assert asked.pages == 0


def test_the_future_is_empty(asked: Asked) -> None:
    """However far it is asked for."""
    assert len(asked.klines("1m", "2100-01-01", "2200-01-01")) == 0
    frame = asked.klines("1d", "2025-01-01", "2200-01-01")
    assert frame.index[-1] <= pd.Timestamp.now("UTC")


@pytest.mark.parametrize("what", ["empty_page", "truncate", "reset"])
def test_a_failing_page_is_no_hole(asked: Asked, calm: SimulatorProcess, what: str) -> None:
    """It is asked for again, an empty one too."""
    calm.command("rest_fault", what=what, count=2, path="/v5/market/kline", s=0.2)
    frame = asked.klines("1m", START, "2023-01-05")
    assert_whole(frame, 4 * 1440)


def test_threads_share_one_fetch(asked: Asked) -> None:
    """The second caller waits and finds it in the cache."""
    with ThreadPoolExecutor(8) as pool:
        frames = list(pool.map(lambda _: asked.klines("1m", START, "2023-01-08"), range(8)))
    assert asked.pages == 11
    assert all(frame.equals(frames[0]) for frame in frames)
    assert_whole(frames[0], 7 * 1440)


PROGRAM = """
import hashlib, sys
from exchanges.bybit import BybitClient
client = BybitClient(url=sys.argv[1], data_dir=sys.argv[2])
for day in (1, 2, 5, 8):
    frame = client.data.fetch_historical_klines("BTCUSDT", "1m", "2023-01-01", f"2023-01-{day + 1:02}")
print(len(frame), hashlib.sha256(frame.to_numpy().tobytes()).hexdigest(), file=sys.stderr)
"""


def test_processes_share_one_folder(sim: SimulatorProcess, asked: Asked, tmp_path: Path) -> None:
    """Both write the same files at once: each gets everything, and every file can be read."""
    words = [sys.executable, "-c", PROGRAM, sim.rest_url, str(tmp_path)]
    started = [subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    printed = [process.communicate(timeout=60)[1].split() for process in started]
    frame = asked.klines("1m", START, "2023-01-09", use_cache=False)
    assert printed == [[str(8 * 1440), hashlib.sha256(frame.to_numpy().tobytes()).hexdigest()]] * 2
    assert frame.equals(asked.klines("1m", START, "2023-01-09"))
    files = list(tmp_path.rglob("*.parquet"))
    assert files
    assert all(read_piece(path, (0, 10**15)) for path in files)
    assert not list(tmp_path.rglob("*.part"))


def test_a_broken_file_is_fetched_again_and_logged(asked: Asked, again: Asked, tmp_path: Path) -> None:
    """The log names it; the next call reads the new one."""
    frame = asked.klines("1m", START, "2023-01-02")
    path = asked.data.history.cache.path(
        Chunk(Series("linear", "BTCUSDT", "1"), 1_672_531_200_000 // (50_000 * MINUTE_MS))
    )
    path.write_bytes(path.read_bytes()[:1000])
    with capture_logs() as logs:
        assert again.klines("1m", START, "2023-01-02").equals(frame)
    assert "klines_cache_corrupt" in {entry["event"] for entry in logs}
    assert again.pages == 2
    assert read_piece(path, (0, 10**15)) is not None


def test_without_the_cache_nothing_is_read_or_written(asked: Asked, tmp_path: Path) -> None:
    """use_cache=False."""
    files = set(tmp_path.rglob("*.parquet"))
    frame = asked.klines("1m", START, "2023-01-03", use_cache=False)
    assert_whole(frame, 2 * 1440)
    asked.klines("1m", START, "2023-01-03", use_cache=False)
    assert asked.pages == 6
    assert set(tmp_path.rglob("*.parquet")) == files


@pytest.mark.parametrize("symbol", ["../../etc/passwd", ""])
def test_a_symbol_cannot_leave_the_folder(asked: Asked, symbol: str) -> None:
    """It is part of a path."""
    with pytest.raises(RequestError, match="symbol"):
        asked.data.fetch_historical_klines(symbol, "1h", START, "2023-01-02")


def test_a_turned_span_is_refused(asked: Asked) -> None:
    """The start comes first."""
    with pytest.raises(RequestError, match="before the start"):
        asked.klines("1h", "2023-01-02", START)


def test_a_bar_is_shown_on_request(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    """On standard error, and not by itself where that is no terminal."""
    asked.klines("1m", START, "2023-01-03")
    assert capsys.readouterr().err == ""
    asked.klines("1m", START, "2023-01-05", progress=True)
    assert "BTCUSDT 1" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["klines.parquet", "klines.csv"])
def test_saved_candles_are_loaded_as_they_were(asked: Asked, tmp_path: Path, name: str) -> None:
    """Index, zone, numbers."""
    frame = asked.klines("1h", START, "2023-01-07")
    path = asked.data.save_klines(frame, tmp_path / "mine" / name)
    pd.testing.assert_frame_equal(asked.data.load_klines(path), frame, check_freq=False)
    with pytest.raises(RequestError, match="ends neither"):
        asked.data.save_klines(frame, "x.xlsx")


@pytest.fixture(autouse=True)
def no_bar_thread() -> Iterator[None]:
    """tqdm's watcher of slow bars ends with the test."""
    yield
    from tqdm import tqdm

    if tqdm.monitor is not None:
        tqdm.monitor.exit()
        tqdm.monitor = None
