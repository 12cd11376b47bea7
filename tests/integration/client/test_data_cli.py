"""`python -m exchanges.bybit.client` against the simulated exchange, and what happens without its libraries."""

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
import structlog

from exchanges.bybit.client import cli
from tests.support.simulator import ROOT, SimulatorProcess

Run = Callable[..., tuple[int, str, str]]
JANUARY = ("--from", "2023-01-01", "--to", "2023-02-01")


@pytest.fixture
def run(sim: SimulatorProcess, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Runs words at the simulator's address; exit code, standard output, standard error."""

    def words(command: str, *more: str, url: str = sim.rest_url) -> tuple[int, str, str]:
        kept = ("--data-dir", str(tmp_path / "cache")) if command in ("klines", "plot") else ()
        try:
            code = cli.main([command, *more, "--url", url, *kept])
        except SystemExit as end:
            code = int(end.code or 0)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    yield words
    structlog.reset_defaults()


@pytest.mark.parametrize("name", ["btc.parquet", "btc.csv"])
def test_klines_go_to_a_file(run: Run, tmp_path: Path, name: str) -> None:
    """The example of the description."""
    path = tmp_path / name
    code, out, _ = run("klines", "BTCUSDT", "1h", *JANUARY, "--out", str(path))
    assert (code, out) == (0, f"744 candles in {path}\n")
    frame = pd.read_csv(path) if name.endswith("csv") else pd.read_parquet(path)
    assert len(frame) == 744
    assert (
        run("klines", "BTCUSDT", "1h", *JANUARY, "--out", str(path), "--json")[1]
        == json.dumps({"file": str(path), "candles": 744}) + "\n"
    )


def test_klines_go_to_standard_output(run: Run) -> None:
    """CSV for people, JSON for programs; nothing else between."""
    words = ("BTCUSDT", "60", "--from", "2023-01-01", "--to", "2023-01-01T02:00Z")
    lines = run("klines", *words)[1].splitlines()
    assert lines[0] == "start,open,high,low,close,volume,turnover"
    assert [line.split(",")[0] for line in lines[1:]] == ["2023-01-01 00:00:00+00:00", "2023-01-01 01:00:00+00:00"]
    rows = json.loads(run("klines", *words, "--json", "--no-cache")[1])
    assert [row["start"] for row in rows] == ["2023-01-01T00:00:00.000Z", "2023-01-01T01:00:00.000Z"]


def test_a_ticker(run: Run) -> None:
    """Name and value; all of it as JSON."""
    code, out, _ = run("ticker", "BTCUSDT")
    assert code == 0
    assert float(dict(line.split() for line in out.splitlines())["lastPrice"]) > 0
    assert json.loads(run("ticker", "BTCUSDT", "--json")[1])["symbol"] == "BTCUSDT"


def test_an_orderbook(run: Run) -> None:
    """Asks above bids, the best ones in the middle."""
    _, out, _ = run("orderbook", "BTCUSDT", "--depth", "3")
    rows = [line.split() for line in out.splitlines()[1:]]
    assert [row[0] for row in rows] == ["ask"] * 3 + ["bid"] * 3
    prices = [float(row[1]) for row in rows]
    assert prices == sorted(prices, reverse=True)
    assert len(json.loads(run("orderbook", "BTCUSDT", "--depth", "3", "--json")[1])["b"]) == 3


def test_instruments(run: Run) -> None:
    """Steps and the day of the listing."""
    _, out, _ = run("instruments")
    assert out.splitlines()[1].split() == ["BTCUSDT", "Trading", "BTC", "USDT", "0.10", "0.001", "2020-03-30"]
    assert json.loads(run("instruments", "--json", "--category", "spot")[1])[0]["lotSizeFilter"]["basePrecision"]


def test_a_chart_is_a_page_with_a_drawing(run: Run, tmp_path: Path) -> None:
    """Well-formed, one group per candle, without anything from elsewhere."""
    path = tmp_path / "btc.html"
    assert run("plot", "BTCUSDT", "1d", *JANUARY, "--out", str(path))[:2] == (0, f"31 candles in {path}\n")
    page = path.read_text()
    drawing = ET.fromstring(page[page.index("<svg") : page.index("</body>")])
    groups = drawing.findall("{http://www.w3.org/2000/svg}g")
    assert len(groups) == 31
    assert all(float(shape.get("height", "0")) >= 0 for group in groups for shape in group)
    assert "src=" not in page


def test_a_png_is_drawn_or_the_way_to_it_is_named(run: Run, tmp_path: Path) -> None:
    """matplotlib is optional."""
    path = tmp_path / "btc.png"
    code, _, err = run("plot", "BTCUSDT", "1d", *JANUARY, "--out", str(path))
    if code == 0:
        assert path.read_bytes().startswith(b"\x89PNG")
    else:
        assert code == 3
        assert "python -m pip install matplotlib==" in err
        assert not path.exists()


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["ticker", "NOSUCHUSDT"], 1, "error: GET /v5/market/tickers: retCode 10001"),
        (["klines", "NOSUCHUSDT", "1h", *JANUARY], 1, "retCode 10001"),
        (["klines", "BTCUSDT", "1h", "--from", "2015-01-01", "--to", "2016-01-01"], 1, "no candles in that time"),
        (["klines", "BTCUSDT", "7m", *JANUARY], 2, "no such interval: '7m'"),
        (["klines", "BTCUSDT", "1h", "--from", "yesterday"], 2, "'yesterday' is no time"),
        (["klines", "BTCUSDT", "1h", "--from", "2023-02-01", "--to", "2023-01-01"], 2, "before the start"),
        (["klines", "BTCUSDT", "1h", *JANUARY, "--out", "x.xlsx"], 2, "ends neither in .parquet nor in .csv"),
        (["klines", "../x", "1h", *JANUARY], 2, "no such symbol"),
        (["orderbook", "BTCUSDT", "--depth", "0"], 2, "1 to 1000"),
        (["nothing"], 2, "invalid choice"),
    ],
)
def test_errors_are_printed_in_one_line(run: Run, words: list[str], code: int, text: str) -> None:
    """On standard error, with an exit code for scripts."""
    ended, out, err = run(*words)
    assert (ended, out) == (code, "")
    assert text in err
    assert "Traceback" not in err


def test_an_exchange_that_is_not_there(run: Run) -> None:
    """One line."""
    code, _, err = run("ticker", "BTCUSDT", url="http://127.0.0.1:1")
    assert code == 1
    assert len(err.splitlines()) == 1


def test_a_folder_that_is_not_there(run: Run, tmp_path: Path) -> None:
    """Is made."""
    path = tmp_path / "new" / "chart.html"
    assert run("plot", "BTCUSDT", "1d", *JANUARY, "--out", str(path))[0] == 0
    assert path.exists()


def python(code: str, *words: str) -> subprocess.CompletedProcess[str]:
    """A process of its own."""
    command = [sys.executable, "-c", code, *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_the_module_runs() -> None:
    """`python -m`."""
    command = [sys.executable, "-m", "exchanges.bybit.client", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert "exit codes" in done.stdout


def test_nothing_but_data_imports_its_libraries() -> None:
    """Neither the collector nor a client without `.data`."""
    code = """
import sys, main, exchanges.bybit, exchanges.bybit.client.cli
exchanges.bybit.BybitClient(url="http://127.0.0.1:1").close()
print([name for name in ("pandas", "pyarrow", "tqdm", "filelock", "matplotlib") if name in sys.modules])
"""
    assert python(code).stdout.strip() == "[]"


@pytest.mark.parametrize("library", ["pandas", "filelock"])
def test_a_missing_library_is_named_with_the_way_to_get_it(sim: SimulatorProcess, library: str) -> None:
    """Exit code 3; what does without works."""
    code = f"""
import sys
sys.modules[{library!r}] = None
from exchanges.bybit.client.cli import main
assert main(["ticker", "BTCUSDT", "--url", sys.argv[1]]) == 0
sys.exit(main(["klines", "BTCUSDT", "1h", "--from", "2023-01-01", "--url", sys.argv[1]]))
"""
    done = python(code, sim.rest_url)
    assert done.returncode == 3
    assert done.stderr == f"error: client.data needs {library}: python -m pip install -r requirements-client.txt\n"
