"""Connections that are kept for several requests: each answer ends where it says, and what waits is bounded."""

import asyncio
import http.client
import socket
import threading
from unittest.mock import MagicMock

import pytest

from consumers.web import connection as connections
from consumers.web.connection import ClientConnection
from consumers.web.exchange_api import ExchangeApi
from consumers.web.http import HttpAnswer, Route
from model.market_api import ApiAnswer


class Api:
    """A MarketApi whose answers have a status that no list has."""

    paths = frozenset({"/v5/"})

    async def answer(self, _request):
        return ApiAnswer(b"{}", "exchange", 499)

    def refused(self, status, reason):
        return ApiAnswer(reason.encode(), "store", status)

    def unavailable(self, reason):
        return ApiAnswer(reason.encode(), "store", 503)


@pytest.fixture
def kept(serve):
    routes = {**ExchangeApi(Api()).routes()}
    port = serve(serves_envelopes=False, routes=routes).consumer.port
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    yield connection
    connection.close()


def ask(connection, method, path, **headers):
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.read()


@pytest.mark.parametrize(("path", "status"), [("/nowhere", 404), ("/v5/..", 404), ("/v5/a?" + "a=1&" * 30, 400)])
def test_a_refusal_of_head_has_no_body_that_would_be_read_as_the_next_answer(kept, path, status):
    assert ask(kept, "HEAD", path) == (status, b"")
    sock = kept.sock
    assert ask(kept, "GET", "/v5/a") == (499, b"{}")
    assert kept.sock is sock


def test_a_login_that_head_lacks_has_no_body(serve):
    port = serve(host="0.0.0.0", serves_envelopes=False, routes=ExchangeApi(Api()).routes()).consumer.port
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        assert ask(connection, "HEAD", "/v5/a") == (401, b"")
        assert ask(connection, "GET", "/v5/a")[0] == 401
    finally:
        connection.close()


def test_a_status_that_has_no_name_is_passed_on(kept):
    assert ask(kept, "GET", "/v5/a") == (499, b"{}")


def test_a_request_whose_client_has_left_is_ended(serve):
    """Thousands of them, each waiting for its exchange, would be kept in memory."""
    asked, ended = threading.Event(), threading.Event()

    async def wait(_request):
        asked.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    port = serve(serves_envelopes=False, routes={"/wait": Route(wait)}).consumer.port
    with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
        sock.sendall(b"GET /wait HTTP/1.1\r\n\r\n")
        assert asked.wait(5)
    assert ended.wait(5)


class Transport(asyncio.Transport):
    """A transport that notes whether it is read."""

    def __init__(self):
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2), "socket": self})
        self.is_read, self.answers = True, 0

    def setsockopt(self, *_): ...
    def fileno(self):
        return 7

    def set_write_buffer_limits(self, *_): ...
    def get_write_buffer_size(self):
        return 0

    def write(self, _data):
        self.answers += 1

    def pause_reading(self):
        self.is_read = False

    def resume_reading(self):
        self.is_read = True

    def close(self): ...


class Server:
    """An HttpServer that answers everything."""

    sockets = property(lambda self: self)

    def __getattr__(self, _name):
        return lambda *_: None

    async def answer(self, _connection, _request):
        return HttpAnswer().response()


def test_requests_are_not_read_faster_than_they_are_answered():
    """One that sends a thousand before the first answer would have all it sends kept in memory."""

    async def flood():
        connection, transport = ClientConnection(Server(), lambda _: False, MagicMock()), Transport()
        connection.connection_made(transport)
        request = b"GET / HTTP/1.1\r\n\r\n"
        count = connections.HEAD_BYTES // len(request) * 2
        connection.data_received(request * count)
        most = 0
        while transport.answers < count:
            if transport.is_read:
                most = max(most, len(connection._received))
            await asyncio.sleep(0)
        assert transport.is_read  # again
        connection.connection_lost(None)
        return most

    assert asyncio.run(flood()) <= connections.HEAD_BYTES
