"""supervisord.conf as it is, in a copy of the tree with a stand-in for main.py."""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[3]
EXCHANGES_CONF = "conf/deploy/supervisord-exchanges.conf"
EXCHANGES = ("bybit", "binance", "okx", "bitget", "gate", "kucoin", "bingx")
EXCHANGE_FILES = {*(f".env.{name}" for name in EXCHANGES), ".env.relay"}
STOP_LIMIT_S = 10.0  # stopwaitsecs: later than that supervisord would have to kill

# Says its process id, and on SIGTERM that it is done; prints one line for each start.
STAND_IN = """
import os, signal, threading
asked = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: asked.set())
print(f"collector {os.getpid()} up", flush=True)
while not asked.wait(0.1):
    pass
print(f"collector {os.getpid()} drained", flush=True)
"""
SHARD_STAND_IN = """
import os, signal, threading
asked = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: asked.set())
os.write(1, f"shard {os.environ['SHARD']} {os.environ['REDIS_EMBEDDED']}\\n".encode())
while not asked.wait(0.1):
    pass
"""
# One of several exchanges: says whose, and takes a while to drain.
EXCHANGE_STAND_IN = """
import os, signal, sys, threading, time
asked = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: asked.set())
name = os.environ["ENV_FILE"]
def say(*words):  # in one write: the lines of several programs must not mix
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())
say("collector", name, *sys.argv[1:], os.environ.get("REDIS_EMBEDDED"))
while not asked.wait(0.1):
    pass
time.sleep(0.5)
say("drained", name)
"""
WRONG_SETTINGS = "import sys; print('settings wrong', flush=True); sys.exit(2)\n"

pytestmark = pytest.mark.skipif(importlib.util.find_spec("supervisor") is None, reason="supervisor is not installed")


@pytest.fixture
def tree() -> Iterator[Path]:
    """A short path: the control socket lies in it, and a socket's path may have about 100 characters."""
    with tempfile.TemporaryDirectory(prefix="sup-") as folder:
        shutil.copy(ROOT / "supervisord.conf", folder)
        shutil.copytree(ROOT / "conf" / "deploy", Path(folder) / "conf" / "deploy")
        (Path(folder) / ".venv").mkdir()
        (Path(folder) / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
        yield Path(folder)


@pytest.fixture
def supervise(tree: Path) -> Iterator[Callable[..., "subprocess.Popen[bytes]"]]:
    """Start supervisord over a given main.py; whatever it leaves is killed at the end of the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start(main_text: str, conf: str = "supervisord.conf") -> "subprocess.Popen[bytes]":
        (tree / "main.py").write_text(main_text)
        with (tree / "out.txt").open("ab") as out:
            command = [sys.executable, "-W", "ignore", "-m", "supervisor.supervisord", "-c", conf]
            started.append(subprocess.Popen(command, cwd=tree, stdout=out, stderr=subprocess.STDOUT))
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.terminate()
            process.wait(STOP_LIMIT_S * 2)


def output_of(tree: Path) -> str:
    return (tree / "out.txt").read_text()


def collectors(tree: Path) -> list[int]:
    """The process ids of the stand-ins started so far."""
    lines = [line.split() for line in output_of(tree).splitlines()]
    return [int(words[1]) for words in lines if words[:1] == ["collector"] and words[-1] == "up"]


def test_a_killed_collector_is_started_again_and_a_stop_is_orderly(tree, supervise):
    """After SIGKILL there is a new process; SIGTERM to supervisord drains it and ends within the stop time."""
    supervisord = supervise(STAND_IN)
    wait_until(lambda: "entered RUNNING state" in output_of(tree))  # after startsecs
    os.kill(collectors(tree)[0], signal.SIGKILL)
    wait_until(lambda: len(collectors(tree)) == 2)
    first, second = collectors(tree)
    assert first != second
    supervisord.send_signal(signal.SIGTERM)
    assert supervisord.wait(STOP_LIMIT_S) == 0
    assert f"collector {second} drained" in output_of(tree)
    assert "SIGKILL" not in output_of(tree).split("drained")[-1]


def test_wrong_settings_are_retried_and_not_taken_for_running(tree, supervise):
    """A collector that ends with 2 at once is backed off from, never reported as running."""
    supervise(WRONG_SETTINGS)
    wait_until(lambda: output_of(tree).count("settings wrong") >= 2)
    assert "BACKOFF" in control(tree, "status") or "STARTING" in control(tree, "status")
    assert "entered RUNNING state" not in output_of(tree)


def test_the_group_runs_one_process_per_shard(tree, supervise):
    """Each with a part of its own, all with the same count; SIGTERM ends all of them."""
    supervisord = supervise(SHARD_STAND_IN, "conf/deploy/supervisord-shards.conf")
    wait_until(lambda: output_of(tree).count("shard ") == 3)
    assert sorted(line for line in output_of(tree).splitlines() if line.startswith("shard ")) == [
        "shard 1/3 never",
        "shard 2/3 never",
        "shard 3/3 never",
    ]
    supervisord.send_signal(signal.SIGTERM)
    assert supervisord.wait(STOP_LIMIT_S) == 0


def test_each_exchange_runs_with_a_file_of_its_own_and_the_relay_ends_last(tree, supervise):
    """Together the collectors drain within the time of one; what they publish at their end, the relay still gets."""
    conf = tree / EXCHANGES_CONF
    conf.write_text(conf.read_text().replace("autostart=false", "autostart=true"))
    supervisord = supervise(EXCHANGE_STAND_IN, EXCHANGES_CONF)
    wait_until(lambda: lines_of(tree, "collector").keys() == EXCHANGE_FILES)
    assert lines_of(tree, "collector") == {
        **{name: ["never"] for name in EXCHANGE_FILES - {".env.relay"}},
        ".env.relay": ["relay", "None"],
    }
    supervisord.send_signal(signal.SIGTERM)
    assert supervisord.wait(STOP_LIMIT_S * 2) == 0
    ended = list(lines_of(tree, "drained"))
    assert (set(ended), ended[-1]) == (EXCHANGE_FILES, ".env.relay")
    assert "SIGKILL" not in output_of(tree)


def test_an_exchange_without_its_file_costs_the_others_nothing(tree, supervise):
    """Exit code 2 at once: backed off from, while the others are up."""
    supervise(f"import os, sys\nif 'okx' in os.environ['ENV_FILE']: sys.exit(2)\n{EXCHANGE_STAND_IN}", EXCHANGES_CONF)
    wait_until(lambda: lines_of(tree, "collector").keys() == EXCHANGE_FILES - {".env.okx", ".env.relay"})
    wait_until(lambda: "exited: okx (exit status 2; not expected)" in output_of(tree))
    wait_until(lambda: output_of(tree).count("entered RUNNING state") == len(EXCHANGES) - 1)
    assert "success: okx" not in output_of(tree)


def lines_of(tree: Path, first: str) -> dict[str, list[str]]:
    """The lines that begin with a word: the second word -> the others, in order."""
    lines = [line.split() for line in output_of(tree).splitlines()]
    return {words[1]: words[2:] for words in lines if words[:1] == [first] and len(words) > 1}


def control(tree: Path, *words: str) -> str:
    """What `supervisorctl` answers; it exits with 3 for a program that is not running."""
    command = [sys.executable, "-W", "ignore", "-m", "supervisor.supervisorctl", "-c", "supervisord.conf", *words]
    return subprocess.run(command, cwd=tree, capture_output=True, text=True, timeout=10, check=False).stdout
