"""The table on a terminal: what it shows, and that it leaves the terminal as it was."""

import os
import pty
import threading

import pytest

from consumers.console.console import ConsoleConsumer, ConsoleOptions
from consumers.console.table import Rates, table
from consumers.console.terminal import ENTER, LEAVE
from tests.support.klines import klines, price

STATUS = {
    "symbols": {"linear": 2},
    "streams": 2,
    "live": 1,
    "messages": 1_000,
    "connects": 3,
    "faults": {"malformed_ticker": 4},
    "consumers": {"redis": {"queued": 1, "delivered": 500, "dropped": 7, "errors": 0, "lag_s": 1.25, "extra": {}}},
    "recorder": {"queued": 0, "recorded": 900, "dropped": 0, "write_errors": 2},
    "envelopes": None,
    "each_stream": [
        {"name": "Trades_1", "state": "live", "messages": 900, "last_data_age_s": 0.04},
        {"name": "Ticker_1", "state": "waiting", "messages": 100, "last_data_age_s": None},
    ],
}


class Terminal:
    """A terminal of which everything that is written is kept."""

    def __init__(self) -> None:
        self.master, self.descriptor = pty.openpty()
        self.seen = b""
        self._thread = threading.Thread(target=self._read, name="terminal")
        self._thread.start()

    def _read(self) -> None:
        try:
            while data := os.read(self.master, 65_536):
                self.seen += data
        except OSError:  # the other side is closed
            pass

    def close(self) -> str:
        os.close(self.descriptor)
        self._thread.join(10)
        os.close(self.master)
        return self.seen.decode()


@pytest.fixture
def terminal():
    return Terminal()


def test_a_table_shows_how_everything_does():
    """Streams, rates, lag, losses and the last klines at one glance."""
    rates = Rates()
    table(STATUS, [], {}, rates, 10.0, (100, 40))
    later = {**STATUS, "messages": 3_000}
    lines = table(later, ["kline 1", "kline 2"], {"BTC": "67250.50"}, rates, 12.0, (100, 40))
    text = "\n".join(lines)
    assert "symbols: linear 2" in lines[0]
    assert "streams 1 of 2 live   messages 3,000 (1,000/s)   connects 3" in lines
    assert "faults: malformed_ticker 4" in lines
    assert next(line for line in lines if line.startswith("redis")).split() == [
        "redis",
        "1",
        "500",
        "0",
        "7",
        "0",
        "1.2",
    ]
    assert next(line for line in lines if line.startswith("recorder")).split()[2:] == ["900", "0", "0", "2", "0.0"]
    assert text.index("Ticker_1") < text.index("Trades_1"), "what does not live comes first"
    assert "BTC 67250.50" in lines
    assert lines[-2:] == ["kline 2", "kline 1"]


@pytest.mark.parametrize("size", [(20, 5), (80, 24), (300, 100), (1, 1)])
def test_a_table_fits_any_terminal(size):
    """What does not fit is cut, so that no line wraps and none scrolls."""
    rows = [{"name": f"S{n}\x1b[2J", "state": "live", "messages": n, "last_data_age_s": 1.0} for n in range(300)]
    lines = table({**STATUS, "each_stream": rows}, ["k" * 200] * 200, {}, Rates(), 1.0, size)
    assert 0 < len(lines) <= size[1]
    assert max(map(len, lines)) <= size[0]
    assert "\x1b" not in "".join(lines), "a name does not move the cursor"


def test_without_figures_there_are_klines():
    """A script of one's own may have no status to show."""
    assert table({}, ["kline"], {}, Rates(), 1.0, (80, 24))[-1] == "kline"


def test_a_terminal_gets_a_table_and_itself_back(terminal):
    """The other screen is taken, drawn in place, and left."""
    console = ConsoleConsumer(ConsoleOptions(terminal.descriptor, live="auto", status=lambda: STATUS))
    console.setup()
    console.start()
    console.deliver([klines(), price()])
    console.tick()
    console.tick()
    console.stop()
    console.deliver([price()])
    text = terminal.close()
    assert text.startswith(ENTER)
    assert text.count("\x1b[H") == 2
    assert "BTCUSDT 1m O 92967.8" in text
    assert "BTC 67250.50" in text
    assert text.index(LEAVE) > text.rindex("\x1b[J")


def test_a_pipe_gets_lines():
    """`python main.py | grep BTC` works."""
    reading, writing = os.pipe()
    console = ConsoleConsumer(ConsoleOptions(writing, live="auto", status=lambda: STATUS))
    console.start()
    console.deliver([klines(), price()])
    console.tick()
    console.stop()
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        lines = file.read().decode().splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("BTC|67250.50|")


def test_never_is_never(terminal):
    """Lines on a terminal for who wants to scroll."""
    console = ConsoleConsumer(ConsoleOptions(terminal.descriptor, live="never"))
    console.start()
    console.deliver([price()])
    console.tick()
    console.stop()
    text = terminal.close()
    assert "\x1b" not in text
    assert "BTC|67250.50|" in text
