"""The WSS output over real sockets: who gets in, who gets what, who is closed."""

import contextlib
import json
import socket
import ssl
import time

import pytest
from structlog.testing import capture_logs
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.sync.client import ClientConnection

from consumers.web.options import WebOptions
from consumers.web.server import WebServer
from consumers.worker import Worker
from tests.integration.consumers.web.conftest import basic, opened
from tests.support.klines import klines
from tests.support.schema import connect
from tests.support.waiting import wait_until

LOGIN = '{"user":"admin","key":"s3cret"}'


def closing(connection: ClientConnection) -> tuple[int, str]:
    """Read to the end; returns its code and reason."""
    with contextlib.suppress(ConnectionClosed):
        for _ in range(100_000):
            connection.recv(timeout=30)
    assert connection.close_code is not None
    return connection.close_code, connection.close_reason or ""


def clients(worker: Worker) -> float:
    return worker.stats().extra["clients"]


def test_first_message_opens_and_envelopes_follow(serve):
    """The legacy system's handshake; what follows is the envelope's own JSON as text."""
    worker = serve()
    with opened(worker) as connection:
        connection.send(LOGIN)
        assert connection.recv(timeout=30) == '{"status":"authenticated"}'
        wait_until(lambda: clients(worker) == 1)
        worker.offer(klines(7))
        assert connection.recv(timeout=30) == klines(7).json.decode()


def test_http_basic_opens(serve):
    """A client that can set headers needs no first message."""
    worker = serve(path="/stream")
    with opened(worker, "/stream", additional_headers=basic("admin:s3cret")) as connection:
        assert json.loads(connection.recv(timeout=30)) == {"status": "authenticated"}
        connection.send("ping")
        assert connection.recv(timeout=30) == "pong"


def test_wrong_credentials_are_answered_and_closed(serve):
    """The client gets the reason; the log has nothing that it sent."""
    with capture_logs() as logs:
        worker = serve()
        with opened(worker) as connection:
            connection.send('{"user":"admin","key":"guessed"}')
            assert json.loads(connection.recv(timeout=30))["status"] == "error"
            assert closing(connection) == (1008, "wrong user or key")
        with pytest.raises(InvalidStatus) as caught, opened(worker, additional_headers=basic("admin:guessed")):
            pass
        assert caught.value.response.status_code == 401
        assert worker.stats().extra["refused"] == 2
    assert "guessed" not in str(logs)
    assert "s3cret" not in str(logs)


def test_nothing_is_sent_before_authorization_and_the_late_are_closed(serve):
    """A connection alone shows no data, and does not stay for ever."""
    worker = serve(auth_limit_s=0.3)
    with opened(worker) as connection:
        for number in range(10):
            worker.offer(klines(number))
        with pytest.raises(ConnectionClosed) as caught:
            connection.recv(timeout=30)
        assert caught.value.rcvd is not None
        assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (1008, "authorization timed out")


def test_a_wrong_path_is_closed(serve):
    """4404, as clients of the legacy system expect, whatever the credentials."""
    worker = serve(path="/stream")
    with opened(worker, "/other", additional_headers=basic("admin:s3cret")) as connection:
        assert closing(connection) == (4404, "wrong path")


def test_a_slow_client_is_closed_and_the_other_gets_everything(serve):
    """Over its bound a client goes, with a reason; its neighbour misses nothing."""
    worker = serve(client_queue=200)
    headers = basic("admin:s3cret")
    symbol = "X" * 100_000  # so that the kernel's buffers are full soon
    with (
        opened(worker, additional_headers=headers) as good,
        opened(worker, additional_headers=headers, max_queue=1) as slow,
    ):
        wait_until(lambda: clients(worker) == 2)
        assert good.recv(timeout=30) == '{"status":"authenticated"}'
        slow.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        for number in range(400):
            worker.offer(klines(number, symbol=symbol))
            received = json.loads(good.recv(timeout=30))["data"][0]["timestamp"]
            assert received == 1_767_716_940_000 + number * 60_000
        assert worker.stats().extra["closed_slow"] == 1
        assert clients(worker) == 1


def test_the_end_is_announced(serve):
    """Clients get a farewell before they are closed, after everything queued."""
    worker = serve()
    with opened(worker, additional_headers=basic("admin:s3cret")) as connection:
        assert connection.recv(timeout=30)
        wait_until(lambda: clients(worker) == 1)
        for number in range(800):
            worker.offer(klines(number, symbol="X" * 40_000))
        worker.begin_stop(time.monotonic() + 3)
        for number in range(800):
            start_ms = json.loads(connection.recv(timeout=30))["data"][0]["timestamp"]
            assert start_ms == 1_767_716_940_000 + number * 60_000
        assert json.loads(connection.recv(timeout=30)) == {"status": "server_shutdown", "type": "server_shutdown"}
        assert closing(connection) == (1001, "server shutdown")
        assert worker.join(time.monotonic() + 3)


def test_a_stuck_client_does_not_hold_up_the_end(serve):
    """It is cut off; the stop is on time."""
    worker = serve()
    with opened(worker, additional_headers=basic("admin:s3cret"), max_queue=1) as stuck:
        assert stuck.recv(timeout=30)
        wait_until(lambda: clients(worker) == 1)
        for number in range(800):
            worker.offer(klines(number, symbol="X" * 30_000))
        wait_until(lambda: worker.stats().delivered == 800)
        begin_s = time.monotonic()
        worker.begin_stop(begin_s + 5)
        assert worker.join(begin_s + 5)
        assert time.monotonic() - begin_s < 4.5


def test_wss_with_a_certificate(serve, certificate):
    """With a certificate the port speaks TLS and nothing else."""
    worker = serve(tls_cert=certificate[0], tls_key=certificate[1])
    address = f"wss://127.0.0.1:{worker.consumer.port}/"
    context = ssl.create_default_context(cafile=str(certificate[0]))
    with connect(address, ssl=context, additional_headers=basic("admin:s3cret")) as connection:
        assert connection.recv(timeout=30) == '{"status":"authenticated"}'
        wait_until(lambda: clients(worker) == 1)
        worker.offer(klines())
        assert connection.recv(timeout=30) == klines().json.decode()
    with pytest.raises((InvalidHandshake, OSError, EOFError)), opened(worker):
        pass


def test_a_taken_port_is_logged_and_tried_again(serve, free_port):
    """The other outputs start; this one comes when the port is free."""
    with socket.create_server(("127.0.0.1", free_port)):
        consumer = WebServer(WebOptions(port=free_port, user="u", key="k"))
        worker = Worker(consumer, "websocket")
        worker.start()
        reason = worker.wait_settled(time.monotonic() + 5)
    assert reason is not None
    assert "OSError" in reason
    wait_until(lambda: consumer.port == free_port)
    worker.begin_stop(time.monotonic() + 2)
    assert worker.join(time.monotonic() + 3)
