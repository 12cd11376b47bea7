"""Wrong logins and hostile frames: short forms of benchmarks/wss_abuse.py."""

import contextlib
import errno
import json
import os
import socket
import ssl
import sys
import time
from typing import Any

import pytest
from structlog.testing import capture_logs
from websockets.exceptions import InvalidStatus

from benchmarks.wss_abuse import guess_logins, hostile_frames, send_hostile
from consumers.web.login_throttle import LoginThrottle
from consumers.web.sockets import Listener, Sockets
from tests.integration.consumers.web.conftest import client
from tests.support.klines import klines
from tests.support.waiting import wait_until

GUESSES, HOSTILE = 60, 1_500


def test_wrong_logins_do_not_open_and_right_ones_do(serve):
    """While guesses come from the same address a right login gets in; the log is short and shows no guess."""
    with capture_logs() as logs:
        worker = serve()
        guesses = guess_logins(worker.consumer.port, GUESSES, at_once=GUESSES)
        with client(worker) as connection:
            assert json.loads(connection.recv(timeout=30)) == {"status": "authenticated"}
        result = guesses()
        assert (result.opened, result.refused) == (0, GUESSES)
        assert worker.stats().extra["refused"] == GUESSES
    assert len(logs) < 10
    assert "guess" not in str(logs)


@pytest.mark.skipif(sys.platform != "linux", reason="a second loopback address is Linux's")
def test_an_address_that_goes_on_guessing_is_blocked_and_others_are_not(serve):
    """It is answered 429; the same login from another address opens."""
    worker = serve(login_throttle=LoginThrottle(time.monotonic, free_tries=3, forgiven_per_s=0.001))
    assert guess_logins(worker.consumer.port, 5, at_once=5)().refused == 5
    with pytest.raises(InvalidStatus) as caught, client(worker):
        pass
    assert caught.value.response.status_code == 429
    assert int(caught.value.response.headers["Retry-After"]) > 0
    with client(worker, source_address=("127.0.0.2", 0)) as connection:
        assert json.loads(connection.recv(timeout=30)) == {"status": "authenticated"}


def test_hostile_frames_cost_their_own_connection_alone(serve):
    """Wrong opcodes, lengths, masks, text, depth: a client beside it misses nothing, and nothing stays behind."""
    worker = serve()
    with client(worker) as beside:
        assert beside.recv(timeout=30)
        sent = send_hostile(worker.consumer.port, hostile_frames(HOSTILE, seed=1), per_socket=25)
        assert sent == HOSTILE
        for number in range(100):
            worker.offer(klines(number))
            assert beside.recv(timeout=30) == klines(number).json.decode()
        wait_until(lambda: worker.stats().extra["sockets"] == 1)
    assert worker.stats().errors == 0


def test_half_open_sockets_end(serve, monkeypatch):
    """A client that sends nothing, or half a request, is not waited for; others are served meanwhile."""
    worker = serve(max_clients=20)
    sockets = [socket.create_connection(("127.0.0.1", worker.consumer.port)) for _ in range(30)]
    for one in sockets[::2]:
        one.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: webs")
    with client(worker) as connection:
        assert connection.recv(timeout=30)
        assert worker.stats().extra["turned_away"] >= 11
        assert worker.stats().extra["sockets"] <= 20
    for one in sockets:
        one.close()
    wait_until(lambda: worker.stats().extra["sockets"] == 0, limit_s=time.monotonic())


@pytest.mark.parametrize("has_tls", [False, True])
def test_silent_clients_leave_descriptors_to_others_and_places_to_logins(serve, certificate, has_tls):
    """They connect and send nothing, not even a TLS greeting: what is kept for streams and files stays free."""
    kept_from = lowest_free() + 30
    tls = {"tls_cert": certificate[0], "tls_key": certificate[1]} if has_tls else {}
    worker = serve(descriptors=lambda: kept_from, **tls)
    with contextlib.ExitStack() as silent:
        count = 60
        for _ in range(count):
            other = silent.enter_context(socket.socket())
            other.settimeout(5)
            other.connect(("127.0.0.1", worker.consumer.port))
        # The clients' own sockets are of this process: they alone pass the bound at last,
        # and a login has no place while they are there.
        wait_until(lambda: worker.stats().extra["turned_away"] >= count - 30)
        assert worker.stats().extra["sockets"] <= 30
    options: dict[str, Any] = {"ssl": ssl.create_default_context(cafile=str(certificate[0]))} if has_tls else {}
    with client(worker, scheme="wss" if has_tls else "ws", **options) as connection:
        assert json.loads(connection.recv(timeout=30)) == {"status": "authenticated"}


def test_a_login_succeeds_among_silent_tls_clients(serve, certificate):
    """They hold every place and send no greeting: the oldest goes for each new connection."""
    worker = serve(max_clients=10, tls_cert=certificate[0], tls_key=certificate[1])
    with contextlib.ExitStack() as silent:
        for _ in range(30):
            silent.enter_context(socket.create_connection(("127.0.0.1", worker.consumer.port)))
        trust = ssl.create_default_context(cafile=str(certificate[0]))
        with client(worker, scheme="wss", ssl=trust) as connection:
            assert json.loads(connection.recv(timeout=30)) == {"status": "authenticated"}
            assert worker.stats().extra["sockets"] <= 10
    wait_until(lambda: worker.stats().extra["sockets"] == 0)


def lowest_free():
    number = os.dup(0)
    os.close(number)
    return number


class Short(Listener):
    """A listener that has descriptors for new connections only while its spare one is closed."""

    others_take = 0  # descriptors that others take as soon as one is closed

    def _accept_one(self):
        if self._spare is not None or self.others_take:
            raise OSError(errno.EMFILE, "Too many open files")
        return super()._accept_one()

    def _open_spare(self):
        if not self.others_take:
            super()._open_spare()


@pytest.fixture
def listener():
    """A listening socket that is short of descriptors."""
    with socket.create_server(("127.0.0.1", 0)) as listening, Short(Sockets(10), listening) as short:
        yield short


def test_a_login_behind_a_burst_of_silent_clients_waits_for_its_place():
    """More of them than are aborted at a time come in one iteration of the loop: none is turned away for that."""
    with contextlib.ExitStack() as stack:
        sockets = Sockets(10)
        listener = stack.enter_context(Listener(sockets, socket.create_server(("127.0.0.1", 0), backlog=100)))
        for _ in range(60):
            unknown = stack.enter_context(socket.create_connection(listener.getsockname()))
        login, accepted = unknown, []
        for _ in range(10):
            with contextlib.suppress(BlockingIOError):
                while True:
                    accepted.append(stack.enter_context(listener.accept()[0]))
            for each in list(sockets.aborted):
                each.close()  # what the loop does in its next iteration
        assert len(accepted) == 60
        assert accepted[-1].getpeername() == login.getsockname()
        assert len(sockets) == 10


def test_a_connection_without_a_descriptor_is_turned_away(listener):
    """Left in the kernel it would make the event loop spin."""
    with socket.create_connection(listener.getsockname()) as refused:
        with pytest.raises(BlockingIOError):
            listener.accept()
        assert refused.recv(1) == b""
    assert listener.sockets.turned_away == 1


def test_an_accept_that_cannot_be_had_pauses(listener):
    """asyncio gets one error, and pauses for a second; else it would try, and log, a hundred times."""
    listener.others_take = 1
    with socket.create_connection(listener.getsockname()):
        with pytest.raises(BlockingIOError):
            listener.accept()
        with pytest.raises(OSError, match="Too many open files"):
            listener.accept()
        with pytest.raises(BlockingIOError):
            listener.accept()
