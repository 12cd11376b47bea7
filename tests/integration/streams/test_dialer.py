"""Opening streams: one deadline and a bound for all of it, whatever answers."""

import base64
import hashlib
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from exchanges.registry import VENUES
from model.context import StreamContext, current, set_current
from streams import ConnectBudget, Dialer
from streams.dialer import ConnectFailedError, ConnectForbiddenError
from tests.support.servers import Proxy, Server, answer, answering, read_request

LIMIT_S, PATIENCE_S = 0.4, 8.0
SWITCHING = "101 Switching Protocols"


def accepted(head: bytes, *headers: str) -> bytes:
    """A right answer to an upgrade."""
    found = re.search(rb"Sec-WebSocket-Key: (\S+)", head)
    assert found
    digest = hashlib.sha1(found[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    accept = f"Sec-WebSocket-Accept: {base64.b64encode(digest).decode()}"
    lines = [f"HTTP/1.1 {SWITCHING}", "Upgrade: websocket", "Connection: Upgrade", accept, *headers, "", ""]
    return "\r\n".join(lines).encode()


def exchange(sock: socket.socket) -> None:
    """Upgrades, and sends the first frame with the answer."""
    sock.sendall(accepted(read_request(sock)) + b"\x81\x02hi")
    sock.recv(1)


@pytest.fixture(autouse=True)
def context() -> Iterator[StreamContext]:
    """The calling stream's."""
    context = StreamContext("T")
    set_current(context)
    yield context
    set_current(None)


class First:
    """A receiver of one message, which ends the stream."""

    never_blocks, prefix, floor, deliver_all = False, b"", b"", None
    payload = b""

    def deliver(self, payload: bytes) -> None:
        self.payload = payload
        current().stop.set()

    def other(self, payload: bytes) -> bool:
        self.deliver(payload)
        return False

    def ping(self) -> None: ...

    def pong(self, payload: bytes) -> None: ...

    def failed(self, payload: bytes, error: BaseException) -> None:
        raise error

    def fault(self, cause: str, sample: bytes) -> None:
        raise AssertionError(cause)

    def tick(self, now_s: float) -> None: ...


def dialled(
    server: Server, scheme: str = "ws", limit_s: float = PATIENCE_S, tls: ssl.SSLContext | None = None
) -> bytes:
    """The first message of a connection."""
    url = f"{scheme}://127.0.0.1:{server.port}/v5/public/linear"
    connection = Dialer(ConnectBudget(), connect_timeout_s=limit_s, tls=tls).open(url)
    assert connection is not None
    try:
        first = First()
        connection.read_until_closed(first, ping_interval_s=20.0, pong_timeout_s=10.0, tick_s=1.0)
        return first.payload
    finally:
        current().stop.clear()
        connection.close()


@pytest.fixture
def tls(certificate: tuple[Path, Path]) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The server's and the client's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context, ssl.create_default_context(cafile=str(certificate[0]))


def test_the_first_frame_is_not_lost(tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    """It may come with the answer; in TLS, too."""
    with Server(exchange) as plain:
        assert dialled(plain) == b"hi"
    with Server(exchange, tls[0]) as secure:
        assert dialled(secure, "wss", tls=tls[1]) == b"hi"


def test_headers_that_the_exchange_asks_for_are_in_the_handshake() -> None:
    """Once each, beside those of WebSocket."""
    heads: list[bytes] = []

    def upgraded(sock: socket.socket) -> None:
        heads.append(read_request(sock))
        sock.sendall(accepted(heads[0]))
        sock.recv(1)

    with Server(upgraded) as server:
        connection = Dialer(ConnectBudget(), headers={"X-Size-Decimal": "1"}).open(f"ws://127.0.0.1:{server.port}/")
        assert connection is not None
        connection.close()
    (head,) = heads
    assert head.lower().count(b"\r\nx-size-decimal: 1\r\n") == 1
    assert head.lower().count(b"\r\nsec-websocket-version: 13\r\n") == 1


DRIPS: dict[str, Callable[[Server, socket.socket], object]] = {
    "silence": lambda server, _: server.over.wait(20),
    "a status line": lambda server, sock: server.drip(sock, b"H"),
    "a header": lambda server, sock: (sock.sendall(b"HTTP/1.1 101 Go\r\nA: "), server.drip(sock)),
    "headers": lambda server, sock: (sock.sendall(b"HTTP/1.1 101 Go\r\n"), server.drip(sock, b"A: b\r\n")),
    "a TLS record": lambda server, sock: (sock.sendall(b"\x16\x03\x03\x40\x00"), server.drip(sock, b"\x00")),
}


@pytest.mark.parametrize("scheme", ["ws", "wss"])
@pytest.mark.parametrize("drip", DRIPS.values(), ids=DRIPS)
def test_an_exchange_that_drips_is_given_up(scheme: str, drip: Callable[[Server, socket.socket], object]) -> None:
    """One deadline from the name to the upgrade."""
    with Server(lambda sock: drip(server, sock)) as server:
        begin_s = time.monotonic()
        with pytest.raises(ConnectFailedError):
            dialled(server, scheme, LIMIT_S)
        assert time.monotonic() - begin_s < PATIENCE_S


@pytest.mark.parametrize("scheme", ["ws", "wss"])
@pytest.mark.parametrize("drip", DRIPS.values(), ids=DRIPS)
def test_a_stop_ends_a_dial_at_once(
    context: StreamContext, scheme: str, drip: Callable[[Server, socket.socket], object]
) -> None:
    """Whatever step it is at; not an error."""

    def talk(sock: socket.socket) -> None:
        threading.Thread(target=context.stop.set).start()
        drip(server, sock)

    with Server(talk) as server:
        begin_s = time.monotonic()
        assert Dialer(ConnectBudget(), connect_timeout_s=60).open(f"{scheme}://127.0.0.1:{server.port}/") is None
        assert time.monotonic() - begin_s < PATIENCE_S


@pytest.mark.parametrize("line", [b"X: " + b"a" * 65_536, b"X: a\r\n" * 10_000], ids=["a line", "lines"])
def test_a_flood_is_refused(line: bytes) -> None:
    """After some kilobytes."""
    sent: list[int] = []

    def flood(sock: socket.socket) -> None:
        read_request(sock)
        sock.sendall(b"HTTP/1.1 101 Go\r\n")
        while True:
            sock.sendall(line)
            sent.append(len(line))

    with Server(flood) as server, pytest.raises(ConnectFailedError, match="larger than 32768 bytes"):
        dialled(server)
    assert sum(sent) < 64 * 1024 * 1024  # what buffers between two sockets took


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        (answer(b"", SWITCHING, "Upgrade: websocket", "Connection: Upgrade"), "Sec-WebSocket-Accept"),
        (answer(b"", SWITCHING, "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Accept: no"), "no"),
        (answer(b"", SWITCHING), "Connection"),
        (answer(b"", SWITCHING, "no colon"), "colon|header"),
        (answer(b"", SWITCHING, *["A: b"] * 1_000), "header"),
        (answer(b"not yet", "503 Busy"), "HTTP 503"),
        (b"HTTP/1.1 429 Slow down\r\nContent-Length: 999999999\r\n\r\n", "HTTP 429"),
        (b"\x15\x03\x01\x00\x02\x02\x28\r\n\r\n", "no HTTP answer"),
        (b"", "closed at once"),
    ],
    ids=lambda value: value[:30] if isinstance(value, bytes) else None,
)
def test_what_is_no_upgrade_is_named(reply: bytes, problem: str) -> None:
    """And is not waited for."""

    def talk(sock: socket.socket) -> None:
        read_request(sock)
        sock.sendall(reply)

    with Server(talk) as server, pytest.raises(ConnectFailedError, match=problem):
        dialled(server)


def test_an_extension_that_was_not_requested_is_refused() -> None:
    """Its messages could not be read."""

    def talk(sock: socket.socket) -> None:
        sock.sendall(accepted(read_request(sock), "Sec-WebSocket-Extensions: permessage-deflate"))

    with Server(talk) as server, pytest.raises(ConnectFailedError, match="extension"):
        dialled(server)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(status: int) -> None:
    """Neither to another host nor to plain ws."""
    with Server(exchange) as other:
        location = f"Location: ws://127.0.0.1:{other.port}/"
        with (
            Server(answering(answer(b"", f"{status} Elsewhere", location))) as server,
            pytest.raises(ConnectFailedError, match=f"HTTP {status}"),
        ):
            dialled(server)
        assert other.connections == 0


def test_a_ban_is_seen_whatever_page_comes_with_it() -> None:
    """The breaker opens for 403, without its body being read."""
    head = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 999999999\r\n\r\n"
    with Server(answering(head + b" " * 65_536)) as server, pytest.raises(ConnectForbiddenError):
        dialled(server)


@pytest.mark.parametrize(
    ("venue", "status"), [("binance", 418), ("binance", 429), ("binance", 451), ("okx", 403), ("bybit", 403)]
)
def test_an_exchange_says_which_statuses_refuse_this_address_and_for_how_long(venue: str, status: int) -> None:
    """Its sentence is in the error; no other connect goes there until the pause is over."""
    refusals, budget = VENUES[venue].connects.refusals, ConnectBudget()
    head = f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n".encode()
    with Server(answering(head)) as server, pytest.raises(ConnectForbiddenError) as caught:
        Dialer(budget, connect_timeout_s=5, refusals=refusals).open(f"ws://127.0.0.1:{server.port}/")
    assert str(caught.value) == f"HTTP {status} from 127.0.0.1: {refusals[status].meaning}"
    problem = caught.value.problem
    assert (problem.cause, problem.status, problem.peer) == (f"http_{status}", status, f"127.0.0.1:{server.port}")
    assert (problem.pause_s, problem.meant) == (refusals[status].pause_s, refusals[status].meaning)
    assert refusals[status].pause_s - 5 < budget.try_acquire("127.0.0.1") <= refusals[status].pause_s


@pytest.mark.parametrize(
    ("url", "proxy", "cause"),
    [
        ("ws://127.0.0.1:{free}/", {}, "refused"),
        ("ws://no-such-host.invalid/", {}, "name_not_found"),
        ("ws://stream.test/", {"http": "http://127.0.0.1:{free}"}, "proxy_away"),
        ("wss://127.0.0.1:{plain}/", {}, "tls"),
        ("ws://127.0.0.1:{mute}/", {}, "timed_out"),
        ("ws://127.0.0.1:{closing}/", {}, "hung_up"),
        ("ws://127.0.0.1:{plain}/", {}, "not_http"),
    ],
)
def test_why_a_dial_failed_is_named(free_port: int, url: str, proxy: dict[str, str], cause: str) -> None:
    """For the one line that a person reads of it."""

    def greet(sock: socket.socket) -> None:
        sock.recv(1)
        sock.sendall(b"220 hello, this is a mail server\r\n\r\n")

    with Server(greet) as plain, Server(lambda sock: sock.recv(1 << 20)) as closing, Server(never_answer) as mute:
        ports = {"free": free_port, "plain": plain.port, "closing": closing.port, "mute": mute.port}
        proxies = {name: text.format(**ports) for name, text in proxy.items()}
        with pytest.raises(ConnectFailedError) as caught:
            Dialer(ConnectBudget(), connect_timeout_s=1, proxies=proxies).open(url.format(**ports))
    assert caught.value.problem.cause == cause


def never_answer(sock: socket.socket) -> None:
    while sock.recv(1 << 20):
        pass


def test_a_status_that_refuses_nobody_closes_nothing() -> None:
    """The stream tries again as after any failure."""
    budget = ConnectBudget()
    head = b"HTTP/1.1 502 No\r\nContent-Length: 0\r\n\r\n"
    with Server(answering(head)) as server, pytest.raises(ConnectFailedError, match=r"HTTP 502 from 127\.0\.0\.1$"):
        Dialer(budget, connect_timeout_s=5).open(f"ws://127.0.0.1:{server.port}/")
    assert budget.try_acquire("127.0.0.1") == 0


@pytest.mark.parametrize(
    ("kind", "variable", "scheme"),
    [
        ("http", "HTTP_PROXY", "http"),
        ("http", "ALL_PROXY", "http"),
        ("socks5", "ALL_PROXY", "socks5h"),
        ("socks5", "http_proxy", "socks5h"),
        ("socks4", "all_proxy", "socks4a"),
    ],
)
def test_streams_go_through_the_environments_proxy(
    monkeypatch: pytest.MonkeyPatch, kind: str, variable: str, scheme: str
) -> None:
    """With its login; the frames come as they are."""
    login = "me" if kind == "socks4" else "me:p%2Fs"
    with Server(exchange) as server, Proxy(kind, login.replace("%2F", "/")) as proxy:
        monkeypatch.setenv(variable, proxy.url(scheme, login))
        assert dialled(server) == b"hi"
        assert proxy.requested == [("127.0.0.1", server.port)]
        monkeypatch.setenv("NO_PROXY", "127.0.0.0/8")
        assert dialled(server) == b"hi"
        assert len(proxy.requested) == 1


@pytest.mark.parametrize("kind", ["http", "socks5"])
def test_tls_through_a_proxy(
    monkeypatch: pytest.MonkeyPatch, kind: str, tls: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    """wss:// is HTTPS_PROXY's; the exchange's own certificate is verified."""
    with Server(exchange, tls[0]) as server, Proxy(kind) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url())
        assert dialled(server, "wss", tls=tls[1]) == b"hi"
        assert len(proxy.requested) == 1


def test_a_proxy_that_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a failure to connect, for a variable that changed after the start."""
    monkeypatch.setenv("ALL_PROXY", "https://127.0.0.1:1")
    with Server(exchange) as server, pytest.raises(ConnectFailedError, match="ALL_PROXY is https"):
        dialled(server)


def test_given_proxies_are_for_streams_too() -> None:
    """A client's own, which win over the environment's."""
    with Server(exchange) as server, Proxy("http") as proxy:
        dialer = Dialer(ConnectBudget(), proxies={"http": proxy.url()})
        connection = dialer.open(f"ws://127.0.0.1:{server.port}/")
        assert connection is not None
        connection.close()
        assert len(proxy.requested) == 1
