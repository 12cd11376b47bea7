"""Opening connections: straight and through proxies, within one deadline and a bound of bytes."""

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from network.deadline import Deadline, DeadlineError
from network.proxies import parse_proxy
from network.sockets import MAX_HEAD_BYTES, open_socket, read_head, status_of
from tests.support.servers import Proxy, Server
from tests.support.waiting import wait_until

LIMIT_S, PATIENCE_S = 0.4, 8.0  # a deadline short enough for a test; a busy machine is late by less than the patience


@pytest.fixture
def greeter() -> Iterator[Server]:
    """A server that sends a greeting."""
    with Server(lambda sock: sock.sendall(b"hello")) as server:
        yield server


def opened(host: str, port: int, proxy: str = "", limit_s: float = PATIENCE_S) -> bytes:
    """What the first bytes are."""
    through = parse_proxy(proxy, "X") if proxy else None
    with Deadline(limit_s) as deadline, open_socket(host, port, deadline, through) as sock:
        return sock.recv(30)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_straight(greeter: Server, host: str) -> None:
    """By address and by name."""
    assert opened(host, greeter.port) == b"hello"


@pytest.mark.parametrize(
    ("kind", "scheme", "host", "asked"),
    [
        ("http", "http", "far.invalid", "far.invalid"),
        ("socks5", "socks5h", "far.invalid", "far.invalid"),
        ("socks5", "socks5", "localhost", "127.0.0.1"),
        ("socks4", "socks4a", "far.invalid", "far.invalid"),
        ("socks4", "socks4", "localhost", "127.0.0.1"),
        ("http", "http", "::1", "[::1]"),
        ("socks5", "socks5h", "::1", "::1"),
    ],
)
def test_through_a_proxy(
    greeter: Server, monkeypatch: pytest.MonkeyPatch, kind: str, scheme: str, host: str, asked: str
) -> None:
    """Names go to the proxy where the scheme has it so."""
    real = socket.getaddrinfo
    monkeypatch.setattr(  # localhost may be ::1 first, which the proxy has not
        socket, "getaddrinfo", lambda name, port, _family=0, kind=0: real(name, port, socket.AF_INET, kind)
    )
    with Proxy(kind) as proxy:
        assert opened(host, greeter.port, proxy.url(scheme)) == b"hello"
        assert proxy.requested == [(asked, greeter.port)]


@pytest.mark.parametrize(
    ("kind", "login", "given"),
    [("http", "me:p/s", "me:p%2Fs"), ("socks5", "me:p@s", "me:p%40s"), ("socks4", "me", "me")],
)
def test_logins(greeter: Server, kind: str, login: str, given: str) -> None:
    """Right ones let through; wrong ones fail without being shown."""
    with Proxy(kind, login) as proxy:
        assert opened("127.0.0.1", greeter.port, proxy.url(login=given)) == b"hello"
        for wrong in ("you:secret", None):
            with pytest.raises(OSError, match=r"407|authentication|refused|rejected") as raised:
                opened("127.0.0.1", greeter.port, proxy.url(login=wrong))
            assert "secret" not in str(raised.value)


DRIPS: dict[str, Callable[[Server, socket.socket], object]] = {
    "silence": lambda server, _sock: server.over.wait(20),
    "a status line that does not end": lambda server, sock: server.drip(sock, b"H"),
    "headers that do not end": lambda server, sock: server.drip(sock, b"A: b\r\n"),
    "a SOCKS answer byte by byte": lambda server, sock: server.drip(sock, b"\x05"),
}


@pytest.mark.parametrize("scheme", ["http", "socks5h", "socks4a"])
@pytest.mark.parametrize("talk", DRIPS.values(), ids=DRIPS)
def test_a_proxy_that_drips_is_given_up(scheme: str, talk: Callable[[Server, socket.socket], object]) -> None:
    """One deadline for all of it."""
    with Server(lambda sock: talk(server, sock)) as server:
        begin_s = time.monotonic()
        with pytest.raises(OSError):
            opened("far.invalid", 1, f"{scheme}://127.0.0.1:{server.port}", LIMIT_S)
        assert time.monotonic() - begin_s < PATIENCE_S


def test_a_proxys_flood_is_refused() -> None:
    """After some kilobytes."""
    sent: list[int] = []

    def flood(sock: socket.socket) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\n")
        while True:
            sock.sendall(b"X: " + b"a" * 65_536)
            sent.append(65_536)

    with Server(flood) as server, pytest.raises(ConnectionError, match=f"larger than {MAX_HEAD_BYTES} bytes"):
        opened("far.invalid", 1, f"http://127.0.0.1:{server.port}")
    assert sum(sent) < 64 * 1024 * 1024  # what buffers between two sockets took


def test_a_stop_ends_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """A resolver that hangs, too: no thread waits for it."""
    hanging, over = threading.Event(), threading.Event()

    def hang(*_: object) -> None:
        hanging.set()
        over.wait(20)
        raise socket.gaierror(-3, "late")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    stop = threading.Event()
    threading.Thread(target=lambda: hanging.wait(10) and stop.set(), daemon=True).start()
    with Deadline(60, stop) as deadline, pytest.raises(DeadlineError, match="stopped"):
        open_socket("far.invalid", 1, deadline)
    over.set()
    wait_until(lambda: "lookup" not in {thread.name for thread in threading.enumerate()})


def test_lookups_of_one_name_share_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """A resolver that hangs must not collect a thread per attempt."""
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: over.wait(20) and [])
    for _ in range(5):
        with Deadline(0.05) as deadline, pytest.raises(DeadlineError, match="not done within"):
            open_socket("far.invalid", 1, deadline)
    assert [thread.name for thread in threading.enumerate()].count("lookup") == 1
    over.set()
    wait_until(lambda: "lookup" not in {thread.name for thread in threading.enumerate()})


def test_unknown_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """An OSError with the resolver's words; a name that can be none, too."""

    def unknown(*_: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    with pytest.raises(OSError, match="cannot be looked up"):
        opened("a" * 70 + ".invalid", 1)
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(socket.gaierror, match="not known"):
        opened("far.invalid", 1)


def test_the_next_address_is_tried(greeter: Server, monkeypatch: pytest.MonkeyPatch, free_port: int) -> None:
    """One that refuses, one of a family that is not there: the others are tried."""
    answers = [
        (socket.AF_INET, ("127.0.0.1", free_port)),
        (999, ("x", 1)),
        (socket.AF_INET, ("127.0.0.1", greeter.port)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: [(family, 1, 6, "", address) for family, address in answers])
    assert opened("far.invalid", 1) == b"hello"


def test_nothing_is_left_open(greeter: Server, free_port: int) -> None:
    """Neither after a refusal nor after a stop (a leaked socket fails the test)."""
    with pytest.raises(ConnectionRefusedError):
        opened("127.0.0.1", free_port)
    stop = threading.Event()
    stop.set()
    with Deadline(60, stop) as deadline, pytest.raises(DeadlineError):
        open_socket("127.0.0.1", greeter.port, deadline)


def test_nothing_of_the_next_layer_is_taken() -> None:
    """What follows the head stays in the socket."""
    server = Server(lambda sock: sock.sendall(b"HTTP/1.1 101 Go\r\nA: b\r\n\r\n\x81\x01x"))
    with server, socket.create_connection(("127.0.0.1", server.port), 5) as sock:
        assert status_of(read_head(sock)) == 101
        assert sock.recv(3) == b"\x81\x01x"


@pytest.mark.parametrize("line", [b"", b"\x16\x03\x01", b"HTTP/1.1 abc", b"HTTP/1.1 20", b"SSH-2.0 200"])
def test_what_is_no_http_answer(line: bytes) -> None:
    """Such as a TLS alert of a port that got plain text."""
    with pytest.raises(ConnectionError, match="no HTTP answer"):
        status_of(line)
