"""The session for REST: deadlines for whole requests, bounds for answers, proxies and certificates."""

import gzip
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from network.http import MAX_BODY_BYTES, BodyTooLargeError, Session
from tests.support.servers import Proxy, Server, Talk, answer, answering, read_request
from tests.support.waiting import wait_until

LIMIT_S, PATIENCE_S = 0.4, 8.0
BOMB_BYTES = 100_000_000


def got(url: str, limit_s: float = PATIENCE_S, **options: object) -> requests.Response:
    with Session(limit_s, 4, **options) as session:  # type: ignore[arg-type]
        return session.get(url, timeout=(PATIENCE_S, PATIENCE_S))


def inflated(encoding: str) -> bytes:
    """A bomb: 100 MB of spaces in some hundred kilobytes."""
    window = {"gzip": 31, "deflate": 15, "raw deflate": -15}[encoding]
    packer = zlib.compressobj(9, zlib.DEFLATED, window)
    spaces = b" " * 1_000_000
    return b"".join(packer.compress(spaces) for _ in range(BOMB_BYTES // len(spaces))) + packer.flush()


@pytest.fixture(scope="module")
def bombs() -> dict[str, bytes]:
    return {name: inflated(name) for name in ("gzip", "deflate", "raw deflate")}


@pytest.mark.parametrize(
    ("body", "header"),
    [("gzip", "gzip"), ("deflate", "deflate"), ("raw deflate", "deflate"), ("twice", "gzip, gzip")],
)
def test_a_bomb_is_refused(bombs: dict[str, bytes], body: str, header: str) -> None:
    """Before it takes much memory."""
    data = gzip.compress(bombs["gzip"]) if body == "twice" else bombs[body]
    server = Server(answering(answer(data, "200 OK", f"Content-Encoding: {header}")))
    with server, pytest.raises(BodyTooLargeError, match=str(MAX_BODY_BYTES)):
        got(f"http://127.0.0.1:{server.port}/")


@pytest.mark.parametrize("header", ["Content-Length: 9999999999999", "Transfer-Encoding: chunked", "Connection: close"])
def test_a_body_that_does_not_end_is_refused(header: str) -> None:
    """Whatever its Content-Length."""
    part = b"%x\r\n%b\r\n" % (65_536, b" " * 65_536) if "chunked" in header else b" " * 65_536

    def talk(sock: socket.socket) -> None:
        read_request(sock)
        sock.sendall(f"HTTP/1.1 200 OK\r\n{header}\r\n\r\n".encode())
        while True:
            sock.sendall(part)

    with Server(talk) as server, pytest.raises(BodyTooLargeError):
        got(f"http://127.0.0.1:{server.port}/")


DRIPS: dict[str, Callable[[Server, socket.socket], object]] = {
    "silence": lambda server, _: server.over.wait(20),
    "a status line": lambda server, sock: server.drip(sock, b"H"),
    "headers": lambda server, sock: (sock.sendall(b"HTTP/1.1 200 OK\r\nA: "), server.drip(sock)),
    "go on": lambda server, sock: server.drip(sock, b"HTTP/1.1 100 Continue\r\n\r\n"),
    "a body with no length": lambda server, sock: (sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n"), server.drip(sock)),
    "a body": lambda server, sock: (
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n"),
        server.drip(sock),
    ),
    "a chunk": lambda server, sock: (
        sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        server.drip(sock),
    ),
    "trailers": lambda server, sock: (
        sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"),
        server.drip(sock, b"A: b\r\n"),
    ),
}


@pytest.mark.parametrize("drip", DRIPS.values(), ids=DRIPS)
def test_an_answer_that_drips_is_given_up(drip: Callable[[Server, socket.socket], object]) -> None:
    """One deadline for the whole request, on a new connection and on one that was kept."""

    def talk(sock: socket.socket) -> None:
        read_request(sock)
        sock.sendall(answer())
        read_request(sock)
        drip(server, sock)

    with Server(talk) as server, Session(PATIENCE_S, 4) as session:
        url = f"http://127.0.0.1:{server.port}/"
        assert session.get(url).status_code == 200
        session.get_adapter("http://").limit_s = LIMIT_S  # type: ignore[attr-defined]  # the first may take long
        begin_s = time.monotonic()
        with pytest.raises(requests.RequestException, match=f"not done within {LIMIT_S} s"):
            session.get(url, timeout=(PATIENCE_S, PATIENCE_S))
        assert time.monotonic() - begin_s < PATIENCE_S
        assert server.connections == 1


def test_a_proxy_that_drips_its_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """CONNECT is part of the request."""

    def talk(sock: socket.socket) -> None:
        read_request(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\nX: ")
        server.drip(sock)

    with Server(talk) as server:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{server.port}")
        begin_s = time.monotonic()
        with pytest.raises(requests.RequestException, match=f"not done within {LIMIT_S} s"):
            got("https://far.invalid/", LIMIT_S)
        assert time.monotonic() - begin_s < PATIENCE_S


def test_a_stop_ends_a_request(certificate: tuple[Path, Path]) -> None:
    """At once, not after a time-out."""
    stop, asked = threading.Event(), threading.Event()

    def talk(sock: socket.socket) -> None:
        read_request(sock)
        asked.set()
        server.over.wait(20)

    with Server(talk) as server:
        threading.Thread(target=lambda: asked.wait(10) and stop.set(), daemon=True).start()
        begin_s = time.monotonic()
        with pytest.raises(requests.RequestException, match="stopped"):
            got(f"http://127.0.0.1:{server.port}/", 60, stop=stop)
        assert time.monotonic() - begin_s < PATIENCE_S


def test_too_many_headers_are_refused() -> None:
    """And lines that are too long."""
    for headers in (["A: b"] * 1_000, ["A: " + "b" * 100_000]):
        with Server(answering(answer(b"{}", "200 OK", *headers))) as server, pytest.raises(requests.RequestException):
            got(f"http://127.0.0.1:{server.port}/")


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
def test_no_redirect_is_followed(status: str) -> None:
    """Neither to another host nor to the same."""
    with Server(answering(answer(b"mine"))) as other:
        headers = f"Location: http://127.0.0.1:{other.port}/", "Set-Cookie: a=b"
        with Server(answering(answer(b"", status, *headers))) as server, Session(PATIENCE_S, 4) as session:
            response = session.get(f"http://127.0.0.1:{server.port}/")
            assert response.status_code == int(status[:3])
            assert not response.history
            assert not session.cookies  # nobody lets them pile up
        assert other.connections == 0


def test_connections_are_kept() -> None:
    """Bounds cost no new handshake; compressed answers are read as ever."""
    packed = answer(gzip.compress(b'{"a": 1}'), "200 OK", "Content-Encoding: gzip")
    with Server(answering(packed)) as server, Session(PATIENCE_S, 4) as session:
        for _ in range(5):
            assert session.get(f"http://127.0.0.1:{server.port}/").json() == {"a": 1}
        assert server.connections == 1


@pytest.fixture
def tls_server(certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """An exchange in TLS, whose authority REQUESTS_CA_BUNDLE names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate[0]))
    with Server(answering(answer(b"{}")), context) as server:
        yield server


@pytest.mark.parametrize("scheme", ["", "http", "socks5h", "socks5", "socks4a"])
def test_tls_through_proxies(tls_server: Server, monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    """The exchange's own certificate is verified, whatever lies between; connections are kept."""
    kind = scheme.rstrip("ha") if scheme.startswith("socks") else "http"
    with Proxy(kind) as proxy:
        if scheme:
            monkeypatch.setenv("HTTPS_PROXY", proxy.url(scheme))
        with Session(PATIENCE_S, 4) as session:
            for _ in range(3):
                assert session.get(f"https://127.0.0.1:{tls_server.port}/").text == "{}"
        assert proxy.requested == ([("127.0.0.1", tls_server.port)] if scheme else [])
        assert tls_server.connections == 1


def test_another_authority_is_not_trusted(tls_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the variable this certificate is not trusted."""
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    with pytest.raises(requests.exceptions.SSLError):
        got(f"https://127.0.0.1:{tls_server.port}/")


@pytest.mark.parametrize("scheme", ["http", "socks5h"])
def test_plain_http_through_proxies(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    """HTTP_PROXY gets the whole URL, without CONNECT."""
    with (
        Server(answering(answer(b"{}"))) as server,
        Proxy(scheme.rstrip("h") if "socks" in scheme else scheme) as proxy,
    ):
        monkeypatch.setenv("ALL_PROXY", proxy.url(scheme))
        assert got(f"http://far.invalid:{server.port}/x").text == "{}"
        assert proxy.requested == [("far.invalid", server.port)]


@pytest.mark.parametrize("scheme", ["http", "socks5h"])
def test_a_password_beyond_latin_1(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    """Percent-encoded or not, as UTF-8: what streams send."""
    with Server(answering(answer(b"{}"))) as server, Proxy(scheme.rstrip("h"), "me:pä@ж") as proxy:
        for login in ("me:p%C3%A4%40%D0%B6", "me:pä%40ж"):
            monkeypatch.setenv("ALL_PROXY", proxy.url(scheme, login))
            assert got(f"http://far.invalid:{server.port}/x").text == "{}"


def test_a_proxy_that_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a failure of the request, for a variable that changed after the start."""
    monkeypatch.setenv("HTTP_PROXY", "gopher://x")
    with pytest.raises(requests.exceptions.InvalidProxyURL, match="HTTP_PROXY is gopher"):
        got("http://127.0.0.1:1/")


def test_no_answer_at_all(free_port: int) -> None:
    """A refused connection is distinguished from a request that may have been sent."""
    with pytest.raises(requests.ConnectionError, match="no connection to"):
        got(f"http://127.0.0.1:{free_port}/")


def test_a_listener_that_never_accepts_is_given_up() -> None:
    """TLS with a silent server has the same deadline."""

    def silent(sock: socket.socket) -> None:
        server.over.wait(20)

    talk: Talk = silent
    with Server(talk) as server, Session(LIMIT_S, 4) as session, pytest.raises(requests.RequestException):
        session.get(f"https://127.0.0.1:{server.port}/", timeout=(LIMIT_S, PATIENCE_S))


def test_deadlines_leave_no_thread_but_their_own() -> None:
    """One for the process, however many requests."""
    with Server(answering(answer())) as server:
        for _ in range(5):
            got(f"http://127.0.0.1:{server.port}/")
    wait_until(lambda: [thread.name for thread in threading.enumerate()].count("deadlines") == 1)


def test_nothing_of_a_netrc_is_sent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Logins of a user's other programs are none of the exchange's business."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    heads: list[bytes] = []

    def talk(sock: socket.socket) -> None:
        heads.append(read_request(sock))
        sock.sendall(answer())

    with Server(talk) as server:
        got(f"http://127.0.0.1:{server.port}/")
    assert b"uthorization" not in heads[0]
