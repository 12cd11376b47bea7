"""Wrong logins and hostile frames: short forms of benchmarks/wss_abuse.py."""

import json
import socket
import sys
import time

import pytest
from structlog.testing import capture_logs
from websockets.exceptions import InvalidStatus

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


@pytest.mark.skipif(sys.platform != "linux", reason="a second loopback address is Linux's")
def test_an_address_that_goes_on_guessing_is_barred_and_others_are_not(serve, monkeypatch):
    """It is told so with 429; the same login from another address opens."""
    monkeypatch.setattr("consumers.wss.door.FREE_TRIES", 3)
    monkeypatch.setattr("consumers.wss.door.FORGIVEN_PER_S", 0.001)
    worker = serve()
    assert guess_logins(worker.consumer.port, 5, at_once=5)().refused == 5
    with pytest.raises(InvalidStatus) as caught, client(worker):
        pass
    assert caught.value.response.status_code == 429
    assert int(caught.value.response.headers["Retry-After"]) > 0
    with client(worker, source_address=("127.0.0.2", 0)) as connection:
        assert json.loads(connection.recv(timeout=5)) == {"status": "authenticated"}


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
