"""HTTP over real sockets: who may ask what, which port it is, and the further sockets of pages."""

import asyncio
import contextlib
import http.client
import json
import socket
import ssl
import time
import urllib.request

import pytest
from structlog.testing import capture_logs
from websockets.exceptions import ConnectionClosed, InvalidStatus

from consumers.web import connection as connection_module
from consumers.web import server as server_module
from consumers.web.frames import Message
from consumers.web.http import HttpAnswer, Route
from consumers.web.login_throttle import LoginThrottle
from consumers.web.options import WebOptions
from consumers.web.server import WebServer
from consumers.worker import Worker
from tests.conftest import unused_port
from tests.integration.consumers.web.conftest import basic, opened
from tests.support.waiting import wait_until


def fail(_request):
    raise ValueError("a handler's mistake")


async def later(request):
    await asyncio.sleep(0)
    return HttpAnswer.json(200, {"path": request.path, "query": dict(request.query)})


ROUTES = {
    "/": Route(lambda _: HttpAnswer(200, b"<!doctype html>", "text/html")),
    "/livez": Route(lambda _: HttpAnswer.json(200, {"live": True}), is_open=True),
    "/page/": Route(later),
    "/fails": Route(fail),
    "/large": Route(lambda _: HttpAnswer(200, b"x" * 5_000_000)),
}


class Echo:
    """A session that answers with what it gets."""

    made: list["Echo"]

    def __init__(self, client):
        self.client, self.is_closed = client, False
        Echo.made.append(self)

    def received(self, message):
        self.client.send(Message(f"echo {message}".encode()))

    def closed(self):
        self.is_closed = True


@pytest.fixture
def web(serve):
    """Serve ROUTES and a socket, without envelopes unless asked for."""
    Echo.made = []

    def start(**options):
        defaults = {"routes": ROUTES, "sessions": {"/live": Echo}, "serves_envelopes": False, "user": "", "key": ""}
        return serve(**{**defaults, **options})

    return start


def ask(worker, path="/", method="GET", body=None, **headers):
    """Ask, and return status, body and headers."""
    assert isinstance(worker.consumer, WebServer)
    connection = http.client.HTTPConnection("127.0.0.1", worker.consumer.port, timeout=30)
    with contextlib.closing(connection):
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers


LOGIN = {"user": "admin", "key": "s3cret"}


def test_pages_beside_websockets(web):
    """The same path answers a browser and a client of envelopes, which logs in as ever."""
    worker = web(serves_envelopes=True, **LOGIN)
    status, body, headers = ask(worker)
    assert (status, body, headers["Content-Type"]) == (200, b"<!doctype html>", "text/html")
    assert headers["X-Content-Type-Options"] == "nosniff"
    with opened(worker, additional_headers=basic()) as client:
        assert client.recv(timeout=30) == '{"status":"authenticated"}'


def test_routes_prefixes_queries_and_head(web):
    """HEAD has all but the body; what is unknown is 404 with what is there, what fails 500, other methods 405."""
    worker = web()
    assert ask(worker, "/page/a%20b?x=1")[1] == HttpAnswer.json(200, {"path": "/page/a b", "query": {"x": "1"}}).body
    status, body, headers = ask(worker, method="HEAD")
    assert (status, body, headers["Content-Length"]) == (200, b"", "15")
    status, body, _ = ask(worker, "/nothing")
    assert status == 404
    assert b"/livez" in body
    with capture_logs() as logs:
        status, body, _ = ask(worker, "/fails")
    assert (status, b"mistake" in body) == (500, False)
    assert [entry["path"] for entry in logs if entry["event"] == "web_request_failed"] == ["/fails"]
    status, _, headers = ask(worker, method="DELETE")
    assert (status, headers["Allow"]) == (405, "GET, HEAD")
    assert ask(worker, method="POST", body=b"x=1")[0] == 405
    assert ask(worker, f"/?{'&'.join(f'a{n}=1' for n in range(100))}")[0] == 400
    assert ask(worker)[0] == 200


def test_with_a_certificate_pages_and_probes_are_encrypted(web, certificate):
    """As WebSockets are; the URL says so."""
    cert, key = certificate
    worker = web(tls_cert=cert, tls_key=key)
    assert worker.consumer.url.startswith("https://")
    with urllib.request.urlopen(
        f"{worker.consumer.url}livez", timeout=30, context=ssl.create_default_context(cafile=cert)
    ) as answer:
        assert json.loads(answer.read()) == {"live": True}


def test_a_large_answer_arrives_whole(web):
    """Beyond every buffer."""
    assert len(ask(web(), "/large")[1]) == 5_000_000


@pytest.mark.parametrize("host", ["evil.example", "evil.example:9500", "127.0.0.1.evil.example", "10.0.0.1", "["])
@pytest.mark.parametrize("path", ["/", "/livez", "/nothing"])
def test_on_loopback_no_other_host_is_answered(web, host, path):
    """A page whose name is made to point here (DNS rebinding) reads nothing."""
    status, body, _ = ask(web(), path, Host=host)
    assert status == 403
    assert b"http://127.0.0.1:" in body


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:9500"])
def test_on_loopback_its_names_are_answered_without_a_login(web, host):
    """Whatever the port: it may be forwarded."""
    assert ask(web(), Host=host)[0] == 200


def test_elsewhere_the_login_is_asked_for(web):
    """HTTP Basic; probes need none; any host, for the login is what protects."""
    worker = web(host="0.0.0.0", **LOGIN)
    status, _, headers = ask(worker)
    assert (status, headers["WWW-Authenticate"]) == (401, 'Basic realm="klines"')
    assert ask(worker, **basic())[0] == 200
    assert ask(worker, Host="collector.example", **basic())[0] == 200
    assert ask(worker, "/livez", Host="10.1.2.3:9500")[0] == 200
    begun_s = time.monotonic()
    assert ask(worker, **basic("admin:wrong"))[0] == 401
    assert time.monotonic() - begun_s >= 1, "a wrong one is answered slowly, as for WebSockets"


def test_elsewhere_without_a_login_only_probes_are_answered(web):
    """With a sentence that says what to set; an empty user and key are not let in."""
    worker = web(host="0.0.0.0")
    status, body, _ = ask(worker)
    assert status == 403
    assert b"WSS_AUTH_USER" in body
    assert ask(worker, **basic(":"))[0] == 403
    assert ask(worker, "/livez")[0] == 200
    with pytest.raises(InvalidStatus) as refused, opened(worker, "/live"):
        pass
    assert refused.value.response.status_code == 403


def test_an_address_with_too_many_wrong_logins_is_refused_unread(web):
    """Also with the right one."""
    worker = web(host="0.0.0.0", login_throttle=LoginThrottle(free_tries=0), **LOGIN)
    assert ask(worker, **basic("admin:wrong"))[0] in (401, 429)
    status, _, headers = ask(worker, **basic())
    assert (status, int(headers["Retry-After"]) > 0) == (429, True)
    assert ask(worker, "/livez")[0] == 200


def test_a_session_gets_messages_answers_and_its_end(web):
    """Without a login on loopback; a client that leaves closes its session."""
    worker = web()
    with opened(worker, "/live") as client:
        client.send("one")
        assert client.recv(timeout=30) == "echo one"
        assert not Echo.made[0].is_closed
    wait_until(lambda: Echo.made[0].is_closed)
    wait_until(lambda: worker.stats().extra["clients"] == 0)


def test_a_session_that_reads_nothing_is_closed(web):
    """Like every slow client; others go on."""
    worker = web(client_queue=10)

    def flood(client):
        for _ in range(60):
            client.send(Message(b"x" * 1_000_000))

    with opened(worker, "/live", max_size=None) as slow:
        wait_until(lambda: Echo.made)
        client = Echo.made[0].client
        client.connection.loop.call_soon_threadsafe(flood, client)
        wait_until(lambda: worker.stats().extra["closed_slow"] == 1)
        with opened(worker, "/live") as other:
            other.send("still here")
            assert other.recv(timeout=30) == "echo still here"
        with contextlib.suppress(ConnectionClosed):
            while slow.recv(timeout=30):
                pass
        assert slow.close_code == 1008
    wait_until(lambda: Echo.made[0].is_closed)


def test_a_page_of_another_site_opens_no_socket(web):
    """By its origin, on loopback; by its host's name too. The page's own may, and programs, which send no origin."""
    worker = web()
    port = worker.consumer.port
    for origin in ("http://evil.example", f"http://localhost:{port + 1}", "null", "http://["):
        with pytest.raises(InvalidStatus) as refused, opened(worker, "/live", origin=origin):
            pass
        assert refused.value.response.status_code == 403
    with pytest.raises(InvalidStatus), opened(worker, "/live", additional_headers={"Host": "evil.example"}):
        pass
    with opened(worker, "/live", origin=f"http://127.0.0.1:{port}") as client:
        client.send("mine")
        assert client.recv(timeout=30) == "echo mine"


def test_without_the_output_no_envelopes_are_served(web):
    """The handshake says what to set, whatever the login."""
    worker = web(**LOGIN)
    with pytest.raises(InvalidStatus) as refused, opened(worker, additional_headers=basic()):
        pass
    assert refused.value.response.status_code == 404
    assert b"ENABLED_CONSUMERS" in refused.value.response.body


def test_the_output_of_envelopes_keeps_its_path_where_a_session_has_the_same(web):
    """What users set goes first."""
    worker = web(serves_envelopes=True, path="/live", **LOGIN)
    with opened(worker, "/live", additional_headers=basic()) as client:
        assert client.recv(timeout=30) == '{"status":"authenticated"}'
    assert Echo.made == []


@pytest.fixture
def taken():
    """A port that something listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", unused_port()))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_port_that_is_taken_moves_to_the_next_free_one(web, taken):
    """And the log says which."""
    with capture_logs() as logs:
        worker = web(port=taken, may_move=True)
    assert taken < worker.consumer.port < taken + server_module.PORTS_TRIED
    assert worker.consumer.url == f"http://127.0.0.1:{worker.consumer.port}/"
    (entry,) = [entry for entry in logs if entry["event"] == "web_listening"]
    assert (entry["taken"], entry["port"], entry["url"]) == (taken, worker.consumer.port, worker.consumer.url)
    assert ask(worker)[0] == 200


def test_a_port_that_was_set_and_is_taken_is_waited_for(monkeypatch):
    """A server that nobody asked for ends nothing: one line, and it listens once the port is free."""
    monkeypatch.setattr(server_module, "BIND_CAP_S", 0.05)
    monkeypatch.setattr(server_module, "BIND_FIRST_S", 0.05)
    with socket.socket() as listener, capture_logs() as logs:
        listener.bind(("127.0.0.1", unused_port()))
        listener.listen()
        port = listener.getsockname()[1]
        server = WebServer(WebOptions(port=port, serves_envelopes=False, routes=ROUTES))
        worker = Worker(server, "web")
        worker.start()
        assert worker.wait_settled(time.monotonic() + 30) is None
        assert (server.port, server.url) == (None, None)
        wait_until(lambda: logs)
    try:
        wait_until(lambda: server.port == port)
        assert ask(worker)[0] == 200
    finally:
        worker.begin_stop(time.monotonic() + 3)
        assert worker.join(time.monotonic() + 5)
    (line,) = [entry for entry in logs if entry["event"] == "web_not_listening"]
    assert (line["port"], "WEBSOCKET_PORT" in line["remedy"]) == (port, True)


# -- one connection, several requests ------------------------------------------------------------------------


def test_requests_of_one_connection_are_answered_one_after_another(web):
    """As clients with a pool of connections ask; a refusal of the path, and a mistake of a handler, end none."""
    worker = web()
    asked = (("/livez", 200), ("/large", 200), ("/nothing", 404), ("/fails", 500), ("/page/a?b=1", 200))
    own = set()
    connection = http.client.HTTPConnection("127.0.0.1", worker.consumer.port, timeout=30)
    with contextlib.closing(connection):
        for path, status in asked:
            connection.request("GET", path)
            answer = connection.getresponse()
            assert (answer.status, answer.getheader("Connection")) == (status, "keep-alive")
            answer.read()
            own.add(connection.sock.getsockname())
    assert len(own) == 1


@pytest.mark.parametrize(("protocol", "header"), [("HTTP/1.1", "Connection: close\r\n"), ("HTTP/1.0", "")])
def test_a_connection_ends_with_its_answer_where_the_client_wants_that(web, protocol, header):
    worker = web()
    with socket.create_connection(("127.0.0.1", worker.consumer.port), timeout=30) as connection:
        connection.sendall(f"GET /livez {protocol}\r\n{header}\r\n".encode())
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    assert received.startswith(b"HTTP/1.1 200")
    assert b"Connection: close" in received


def test_requests_that_come_at_once_are_answered_in_their_order(web):
    """Byte by byte too, and a WebSocket after them."""
    worker = web()
    with socket.create_connection(("127.0.0.1", worker.consumer.port), timeout=30) as connection:
        text = b"GET /page/1 HTTP/1.1\r\n\r\nGET /large HTTP/1.1\r\n\r\nGET /page/2 HTTP/1.1\r\n\r\n"
        connection.sendall(text[:30])
        for byte in text[30:]:
            connection.sendall(bytes([byte]))
        handshake = "Host: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        connection.sendall(f"GET /live HTTP/1.1\r\n{handshake}Sec-WebSocket-Key: {'A' * 22}==\r\n\r\n".encode())
        received = b""
        while b"101 Switching" not in received:
            received += connection.recv(1 << 20)
    places = [received.index(text) for text in (b"/page/1", b"x" * 5_000_000, b"/page/2", b"101 Switching")]
    assert places == sorted(places)


def test_a_client_that_does_not_read_is_ended_and_costs_the_others_nothing(web, monkeypatch):
    monkeypatch.setattr(connection_module, "ANSWERED_S", 0.5)
    worker = web()
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(("127.0.0.1", worker.consumer.port))
        slow.sendall(b"GET /large HTTP/1.1\r\n\r\n" * 3)
        wait_until(lambda: worker.consumer.counters()["sockets"] == 1)
        assert ask(worker, "/livez")[0] == 200
        wait_until(lambda: worker.consumer.counters()["sockets"] == 0)


@pytest.mark.parametrize("begin", [b"", b"GET /li", b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Endless: "])
def test_a_request_that_does_not_end_is_ended(web, monkeypatch, begin):
    """However slowly it goes on."""
    monkeypatch.setattr(connection_module, "ANSWERED_S", 0.5)
    worker = web()
    with socket.create_connection(("127.0.0.1", worker.consumer.port), timeout=30) as connection:
        connection.sendall(begin)
        connection.settimeout(0.05)
        ended = False
        while not ended:
            try:
                connection.sendall(b"x" if begin else b"")
                ended = connection.recv(100) == b""
            except TimeoutError:
                continue
            except OSError:
                ended = True
    wait_until(lambda: worker.consumer.counters()["sockets"] == 0)


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        (b"GARBAGE\r\n\r\n", 400),
        (b"GET /livez HTTP/2.0\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n", 400),
        (b"GET /livez HTTP/1.1\r\n" + b"A: " + b"b" * 20_000, 431),
        (b"GET /" + b"a" * 9_000, 414),
        (b"GET /\xff HTTP/1.1\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    ],
)
def test_what_is_no_request_is_refused(web, request_text, status):
    worker = web()
    with socket.create_connection(("127.0.0.1", worker.consumer.port), timeout=30) as connection:
        connection.sendall(request_text)
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    assert received.startswith(b"HTTP/1.1 %d" % status)


def test_connections_without_a_request_do_not_delay_a_stop(web):
    worker = web()
    connection = http.client.HTTPConnection("127.0.0.1", worker.consumer.port, timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", "/livez")
        connection.getresponse().read()
        begun_s = time.monotonic()
        worker.begin_stop(time.monotonic() + 10)
        assert worker.join(time.monotonic() + 10)
        assert time.monotonic() - begun_s < 5
        assert connection.sock.recv(1) == b""
