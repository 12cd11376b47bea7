"""Wrong logins and hostile frames: short forms of benchmarks/wss_abuse.py."""

import json
import socket
import time

from structlog.testing import capture_logs

from benchmarks.wss_abuse import guess_logins, hostile_frames, send_hostile
from tests.integration.consumers.wss.conftest import client
from tests.unit.consumers.making import klines
from tests.waiting import wait_until

GUESSES, HOSTILE = 60, 1_500


def test_wrong_logins_do_not_open_and_right_ones_do(serve):
    """While guesses come from the same address a right login gets in; the log is short and tells no guess."""
    with capture_logs() as logs:
        worker = serve()
        guesses = guess_logins(worker.consumer.port, GUESSES, at_once=GUESSES)
        with client(worker) as connection:
            assert json.loads(connection.recv(timeout=5)) == {"status": "authenticated"}
        result = guesses()
        assert (result.opened, result.refused) == (0, GUESSES)
        assert worker.stats().extra["refused"] == GUESSES
    assert len(logs) < 10
    assert "guess" not in str(logs)


def test_hostile_frames_cost_their_own_connection_alone(serve):
    """Wrong opcodes, lengths, masks, text, depth: a client beside it misses nothing, and nothing stays behind."""
    worker = serve()
    with client(worker) as beside:
        assert beside.recv(timeout=5)
        sent = send_hostile(worker.consumer.port, hostile_frames(HOSTILE, seed=1), per_socket=25)
        assert sent == HOSTILE
        for number in range(100):
            worker.offer(klines(number))
            assert beside.recv(timeout=5) == klines(number).json.decode()
        wait_until(lambda: worker.stats().extra["sockets"] == 1)
    assert worker.stats().errors == 0


def test_half_open_sockets_end(serve, monkeypatch):
    """Who connects and says nothing, or half a request, is not waited for; others are let in meanwhile."""
    worker = serve(max_clients=20)
    sockets = [socket.create_connection(("127.0.0.1", worker.consumer.port)) for _ in range(30)]
    for one in sockets[::2]:
        one.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: webs")
    with client(worker) as connection:
        assert connection.recv(timeout=5)
        assert worker.stats().extra["turned_away"] >= 11
        assert worker.stats().extra["sockets"] <= 20
    for one in sockets:
        one.close()
    wait_until(lambda: worker.stats().extra["sockets"] == 0, limit_s=time.monotonic())
