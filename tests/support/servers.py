"""Servers that answer by a script, and proxies as others write them; all on 127.0.0.1."""

import base64
import contextlib
import itertools
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

Talk = Callable[[socket.socket], object]


class Server:
    """A context manager that runs `talk` with each connection, on a thread of its own; what it raises ends that one."""

    def __init__(self, talk: Talk, tls: ssl.SSLContext | None = None) -> None:
        self.connections = 0
        self.over = threading.Event()
        self._talk, self._tls = talk, tls
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.over.set()
        with contextlib.suppress(OSError):  # macOS; closing would not wake the thread on Linux
            self._listener.shutdown(socket.SHUT_RDWR)
        for sock in self._open:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)

    def drip(self, sock: socket.socket, data: bytes = b"a") -> None:
        """Send `data` again and again, a piece each 20 ms, until nobody takes it."""
        while not self.over.wait(0.02):
            sock.sendall(data)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock = self._listener.accept()[0]
                self.connections += 1
                self._open.append(sock)
                threading.Thread(target=self._run, args=(sock,), daemon=True).start()

    def _run(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_side=True)
            with sock:
                self._talk(sock)


def read_request(sock: socket.socket) -> bytes:
    """The head of a request; ConnectionError where the client leaves."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        if not (byte := sock.recv(1)):
            raise ConnectionError
        head += byte
    return head


def answer(body: bytes = b"{}", status: str = "200 OK", *headers: str) -> bytes:
    """A whole HTTP answer."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def answering(data: bytes) -> Talk:
    """A talk that answers every request on a connection with `data`."""

    def talk(sock: socket.socket) -> None:
        while True:
            read_request(sock)
            sock.sendall(data)

    return talk


class Proxy(Server):
    """An HTTP or SOCKS proxy for which every host is 127.0.0.1; `requested` are the hosts and ports, as given.

    With a `login` ("user:password") others are refused.
    """

    def __init__(self, kind: str, login: str | None = None) -> None:
        self.requested: list[tuple[str, int]] = []
        self.kind, self._login = kind, login
        super().__init__({"http": self._http, "socks5": self._socks5, "socks4": self._socks4}[kind])

    def url(self, scheme: str | None = None, login: str | None = None) -> str:
        """For a variable."""
        return f"{scheme or self.kind}://{login + '@' if login else ''}127.0.0.1:{self.port}"

    def _http(self, near: socket.socket) -> None:
        head = read_request(near)
        method, target, _ = head.split(b"\r\n")[0].decode().split()
        if self._login and base64.b64encode(self._login.encode()) not in head:
            near.sendall(answer(b"go away", "407 Proxy Authentication Required"))
            return
        if method == "CONNECT":
            host, _, port = target.rpartition(":")
            far = self._dial(host, int(port))
            near.sendall(b"HTTP/1.1 200 Connection established\r\nVia: 1.1 me\r\n\r\n")
        else:
            host, _, path = target.removeprefix("http://").partition("/")
            name, _, port = host.rpartition(":")
            far = self._dial(name, int(port))
            far.sendall(head.replace(target.encode(), b"/" + path.encode(), 1))
        self._carry(near, far)

    def _socks5(self, near: socket.socket) -> None:
        _, count = near.recv(2)
        methods = near.recv(count)
        if self._login:
            if 2 not in methods:
                near.sendall(b"\x05\xff")
                return
            near.sendall(b"\x05\x02")
            near.recv(1)
            user = near.recv(near.recv(1)[0])
            password = near.recv(near.recv(1)[0])
            is_right = b"%b:%b" % (user, password) == self._login.encode()
            near.sendall(b"\x01" + (b"\x00" if is_right else b"\x01"))
            if not is_right:
                return
        else:
            near.sendall(b"\x05\x00")
        kind = near.recv(4)[3]
        if kind == 3:
            host = near.recv(near.recv(1)[0]).decode()
        else:
            host = socket.inet_ntop(
                *((socket.AF_INET, near.recv(4)) if kind == 1 else (socket.AF_INET6, near.recv(16)))
            )
        far = self._dial(host, struct.unpack(">H", near.recv(2))[0])
        near.sendall(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x00")
        self._carry(near, far)

    def _socks4(self, near: socket.socket) -> None:
        _, _, port, address = struct.unpack(">BBH4s", near.recv(8))
        user = b"".join(itertools.takewhile(lambda byte: byte != b"\x00", iter(lambda: near.recv(1), b"")))
        host = socket.inet_ntoa(address)
        if address[:3] == b"\x00\x00\x00":  # 4a
            host = b"".join(itertools.takewhile(lambda byte: byte != b"\x00", iter(lambda: near.recv(1), b""))).decode()
        if self._login and user != self._login.encode():
            near.sendall(b"\x00\x5d" + bytes(6))
            return
        far = self._dial(host, port)
        near.sendall(b"\x00\x5a" + bytes(6))
        self._carry(near, far)

    def _dial(self, host: str, port: int) -> socket.socket:
        self.requested.append((host, port))
        far = socket.create_connection(("127.0.0.1", port), 5)
        self._open.append(far)
        return far

    def _carry(self, near: socket.socket, far: socket.socket) -> None:
        back = threading.Thread(target=_copy, args=(far, near), daemon=True)
        back.start()
        _copy(near, far)
        back.join(5)
        far.close()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)
