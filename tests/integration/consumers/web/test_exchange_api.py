"""The exchange's REST protocol over real sockets: its own form of every refusal, and bounds."""

import asyncio
import contextlib
import http.client
import socket
import threading
from urllib.parse import quote

import pytest

from consumers.web import server
from consumers.web.exchange_api import ExchangeApi
from model.market_api import ApiAnswer
from tests.support.waiting import wait_until

VENUE = "/v5/"


class Api:
    """A MarketApi that answers with the path, waits for /v5/wait, and raises at /v5/broken."""

    paths = frozenset({VENUE})

    def __init__(self):
        self.free = threading.Event()

    async def answer(self, request):
        if request.path == "/v5/broken":
            raise ZeroDivisionError
        if request.path == "/v5/large":
            return ApiAnswer(b"x" * 2_000_000, "exchange")
        while request.path == "/v5/wait" and not self.free.is_set():
            await asyncio.sleep(0.01)
        return ApiAnswer(f"{request.path} {dict(request.query)}".encode(), "store", headers={"X-Own": "1"})

    def refused(self, status, reason):
        return ApiAnswer(f"refused: {reason}".encode(), "store", status)

    def unavailable(self, reason):
        return ApiAnswer(f"unavailable: {reason}".encode(), "store")


@pytest.fixture
def api():
    return Api()


@pytest.fixture
def port(serve, api):
    return serve(serves_envelopes=False, routes=ExchangeApi(api, waiting_most=2, answer_s=0.5).routes()).consumer.port


def get(port, path, method="GET", body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), answer.headers
    finally:
        connection.close()


def test_an_answer_says_where_it_is_from(port):
    status, body, headers = get(port, "/v5/market/kline?symbol=BTC%2FUSDT&empty=")
    assert (status, body) == (200, "/v5/market/kline {'symbol': 'BTC/USDT', 'empty': ''}")
    assert (headers["X-Collector"], headers["X-Own"], headers["Content-Type"]) == ("store", "1", "application/json")


@pytest.mark.parametrize(
    "value", ["BTC-USDT-SWAP", "first=BTC&last=BIO", '["BTCUSDT","ETHUSDT"]', "币安人生USDT", "a%3D", ""]
)
def test_what_clients_do_ask_for_is_answered(port, value):
    assert get(port, f"/v5/time?symbol={quote(value)}")[1] == f"/v5/time {{'symbol': {value!r}}}"


def test_head_has_the_headers_alone(port):
    status, body, headers = get(port, "/v5/time", "HEAD")
    assert (status, body, headers["Content-Length"]) == (200, "", str(len("/v5/time {}")))


@pytest.mark.parametrize(
    ("path", "method", "body", "status"),
    [
        ("/v5/order/create", "POST", b"{}", 405),
        ("/v5/order/create", "POST", b"x" * 3_000_000, 405),
        ("/v5/time", "DELETE", None, 405),
        ("/v5/time", "GET", b"a body", 400),
        ("/v5/../page/app.js", "GET", None, 404),
        ("/v5/%2e%2e/secret", "GET", None, 404),
        ("/v5/market//kline", "GET", None, 404),
        ("/v5/%00", "GET", None, 404),
        ("/v5/" + "a" * 300, "GET", None, 404),
        ("/v5/time?" + "a" * 4_100, "GET", None, 400),
        ("/v5/time?" + "a" * 20_000, "GET", None, 414),
        ("/v5/time?" + "&".join(f"a{number}=1" for number in range(50)), "GET", None, 400),
        ("/v5/time?symbol=%3Cscript%3E", "GET", None, 400),
        ("/v5/time?symbol=%00", "GET", None, 400),
        ("/v5/time?a%20b=1", "GET", None, 400),
        ("/v5/time?symbol=1'%20OR", "GET", None, 400),
        ("/v5/broken", "GET", None, 500),
    ],
)
def test_what_makes_no_sense_is_refused_in_the_exchanges_form(port, path, method, body, status):
    found, text, headers = get(port, path, method, body)
    assert (found, text[:9], headers["X-Collector"]) == (status, "refused: ", "store")


def test_a_query_without_end_is_refused_before_its_end(port):
    with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
        sock.sendall(b"GET /v5/time?")
        for _ in range(20):
            sock.sendall(b"a" * 1000)
        answer = b""
        while chunk := sock.recv(65536):
            answer += chunk
    assert answer.startswith(b"HTTP/1.1 414 ")
    assert b"refused: " in answer


def test_more_than_the_bound_wait_for_nothing(port, api):
    """Those beyond it are answered at once, in the exchange's form; those that wait too long, too."""
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(get(port, "/v5/wait")[1])) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum("are being answered already" in text for text in answers) == 3
    assert sum("no answer in 0.5 s" in text for text in answers) == 2
    api.free.set()
    assert get(port, "/v5/wait")[1] == "/v5/wait {}"


def test_answers_that_nobody_reads_are_bounded(port, monkeypatch):
    """They are memory: others get the exchange's form of "later", and what is small, until those are closed."""
    monkeypatch.setattr(server, "UNSENT_MOST_BYTES", 5_000_000)
    with contextlib.ExitStack() as stack:
        for _ in range(6):
            unread = stack.enter_context(socket.socket())
            unread.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            unread.connect(("127.0.0.1", port))
            unread.sendall(b"GET /v5/large HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        wait_until(lambda: get(port, "/v5/large")[1].startswith("unavailable: Too many answers wait"))
        assert get(port, "/v5/time")[1] == "/v5/time {}"
    wait_until(lambda: len(get(port, "/v5/large")[1]) == 2_000_000)


def test_other_paths_keep_their_own_form(port):
    assert get(port, "/nothing", "POST", b"x")[1].startswith("POST is not answered here")
    assert get(port, "/nothing")[0] == 404
