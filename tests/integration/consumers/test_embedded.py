"""The embedded server: there when nothing listens, gone with its process."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis

from consumers.embedded import EmbeddedServer, is_listening, is_loopback, needs_embedded
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[3]
HOLDER = """
import sys, time
from consumers.embedded import EmbeddedServer
server = EmbeddedServer("127.0.0.1", int(sys.argv[1]))
server.start()
print("up", flush=True)
time.sleep(60)
"""


def test_only_a_loopback_address_where_nothing_listens_needs_one(free_port):
    """A remote server that is away must never be replaced by an empty one."""
    assert needs_embedded("localhost", free_port)
    assert needs_embedded("127.0.0.1", free_port)
    assert not needs_embedded("10.255.255.1", free_port)
    assert not is_loopback("redis-host")
    with socket.create_server(("127.0.0.1", free_port)):
        assert not needs_embedded("127.0.0.1", free_port)
    with pytest.raises(ValueError, match="loopback"):
        EmbeddedServer("redis-host", free_port)


@pytest.mark.parametrize("username", ["", "joe"])
def test_it_asks_for_the_password(free_port, username):
    """The settings' password holds for the embedded server, whatever characters it has."""
    password = 'pä ss"w\\o#rd'
    server = EmbeddedServer("localhost", free_port, password, username, databases=20)
    assert server.start()
    try:
        with redis.Redis(port=free_port, username=username or None, password=password, db=19) as client:
            assert client.ping()
            assert client.config_get("save") == {b"save": b""} or client.config_get("save") == {"save": ""}
        with pytest.raises(redis.AuthenticationError), redis.Redis(port=free_port, retry=None) as client:
            client.ping()
    finally:
        server.stop()
    assert not is_listening("127.0.0.1", free_port)


def test_the_second_on_a_port_uses_the_firsts(free_port):
    """Two collectors started at once share one server; the loser's end does not end it."""
    first, second = (EmbeddedServer("127.0.0.1", free_port) for _ in range(2))
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
    wait_until(lambda: not is_listening("127.0.0.1", free_port), 5)
    wait_until(lambda: not list(tmp_path.iterdir()), 5)


def test_ctrl_c_in_a_terminal_does_not_reach_it(free_port):
    """The terminal interrupts our process group; the collector still needs the server to drain."""
    server = EmbeddedServer("127.0.0.1", free_port)
    server.start()
    with redis.Redis(port=free_port) as client:
        assert os.getpgid(client.info("server")["process_id"]) != os.getpgrp()
    server.stop()


def test_a_stop_is_quick_and_may_be_repeated(free_port):
    """The end of the collector must not wait for its server."""
    server = EmbeddedServer("127.0.0.1", free_port)
    server.start()
    started = time.monotonic()
    server.stop()
    server.stop()
    assert time.monotonic() - started < 1.5
    assert not server.is_running
