"""TCP connections, through a proxy where one is set, opened within a deadline. Blocks the calling thread.

Names are resolved on threads of their own (`lookup`), because the system's resolver cannot be ended early.
"""

import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Protocol

import socks

from network.addresses import is_address
from network.deadline import GRAIN_S, Deadline
from network.proxies import Proxy

MAX_HEAD_BYTES = 32 * 1024  # an answer's status and headers; real ones have one or two thousand
SUCCESS = range(200, 300)
OPTIONS = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
OPTIONS += [  # not every system has these
    (socket.IPPROTO_TCP, getattr(socket, name), value)
    for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
    if hasattr(socket, name)
]

Address = tuple[int, tuple[str, int]]
"""Family, and what connect() takes; IPv6 has two numbers more."""


class ByteStream(Protocol):
    """The port of a socket that sends and receives, with TLS or without."""

    def recv(self, size: int, /) -> bytes: ...
    def send(self, data: bytes, /) -> int: ...


class HeadError(ConnectionError):
    """The bytes received are no head of an HTTP answer, or too many for one."""


class HeadClosedError(HeadError):
    """The connection was closed before an answer had come."""


class ProxyRefusedError(ConnectionError):
    """The proxy refused the connection."""


class ProxyUnreachableError(ConnectionError):
    """The proxy itself could not be reached."""


def open_socket(host: str, port: int, deadline: Deadline, proxy: Proxy | None = None) -> socket.socket:
    """A connected socket, watched by `deadline`; raises OSError. The caller closes it."""
    if proxy is None:
        return _connected(host, port, deadline)
    if proxy.is_socks:
        return _through_socks(host, port, deadline, proxy)
    try:
        sock = _connected(proxy.host, proxy.port, deadline)
    except (socket.gaierror, ConnectionRefusedError) as error:
        raise ProxyUnreachableError(f"the proxy {proxy} cannot be reached: {error}") from error
    try:
        sock.settimeout(deadline.left_s())
        _tunnel(sock, host, port, proxy)
    except BaseException:
        sock.close()
        raise
    return sock


def send_all(sock: ByteStream, data: bytes) -> None:
    """Send everything; not every TLS socket has sendall."""
    while data:
        data = data[sock.send(data) :]


def read_head(sock: ByteStream) -> bytes:
    """Read status and headers of an HTTP answer, and no byte of what follows; raises HeadError and OSError.

    Byte by byte: bytes of the next layer could not be put back.
    """
    head = bytearray()
    while not head.endswith((b"\r\n\r\n", b"\n\n")):
        if len(head) >= MAX_HEAD_BYTES:
            raise HeadError(f"the head of the answer is larger than {MAX_HEAD_BYTES} bytes: {bytes(head[:80])!r}")
        if not (byte := sock.recv(1)):
            text = f"closed in the middle of an answer: {bytes(head[:80])!r}" if head else "closed at once"
            raise HeadClosedError(text)
        head += byte
    return bytes(head)


def status_of(head: bytes) -> int:
    """The number in an HTTP status line; raises HeadError."""
    version, _, rest = head.partition(b" ")
    number = rest.lstrip()[:3]
    if not version.startswith(b"HTTP/") or len(number) != 3 or not number.isdigit():
        raise HeadError(f"no HTTP answer: {head[:80]!r}")
    return int(number)


def _tunnel(sock: socket.socket, host: str, port: int, proxy: Proxy) -> None:
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if proxy.authorization is not None:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    send_all(sock, "\r\n".join([*lines, "", ""]).encode())
    status = status_of(read_head(sock))
    if status not in SUCCESS:
        raise ProxyRefusedError(f"the proxy {proxy} answered HTTP {status} to CONNECT {target}")


def _through_socks(host: str, port: int, deadline: Deadline, proxy: Proxy) -> socket.socket:
    if not proxy.looks_names_up:
        family = socket.AF_INET if proxy.scheme == "socks4" else socket.AF_UNSPEC
        host = look_up(host, port, deadline, family)[0][1][0]

    def connect(sock: socket.socket, address: tuple[str, int]) -> None:
        sock.set_proxy(  # type: ignore[attr-defined]  # PySocks has no types
            socks.SOCKS4 if proxy.scheme.startswith("socks4") else socks.SOCKS5,
            address[0],
            address[1],
            proxy.looks_names_up,
            proxy.user or None,
            proxy.password or None,
        )
        sock.connect((host, port))

    through = _connected(proxy.host, proxy.port, deadline, connect, socks.socksocket)
    timeout_s = through.gettimeout()
    sock = socket.socket(through.family, through.type, through.proto, fileno=through.detach())  # a plain one is quicker
    try:
        sock.settimeout(timeout_s)
        deadline.watch(sock)
    except BaseException:
        sock.close()
        raise
    return sock


def _connected(
    host: str,
    port: int,
    deadline: Deadline,
    connect: Callable[[socket.socket, tuple[str, int]], object] = socket.socket.connect,
    make: Callable[[int, int], socket.socket] = socket.socket,
) -> socket.socket:
    """Connect to the first address that answers; the addresses share the time left."""
    addresses = look_up(host, port, deadline)
    problem: OSError | None = None
    for number, (family, address) in enumerate(addresses):
        deadline.left_s()
        try:
            sock = make(family, socket.SOCK_STREAM)
        except OSError as error:  # a family that this machine lacks, or no descriptor left
            problem = error
            continue
        try:
            for option in OPTIONS:
                sock.setsockopt(*option)
            sock.settimeout(deadline.left_s() / (len(addresses) - number))
            deadline.watch(sock)
            connect(sock, address)
            sock.settimeout(deadline.left_s())
        except OSError as error:
            sock.close()
            problem = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    try:
        raise problem or OSError(f"{host} has no address")
    finally:
        del problem  # the error's traceback refers to this frame: a cycle


# -- names ------------------------------------------------------------------------------------------------------

# On their way, one for all waiting threads of the process, as the system's resolver is; empty while none waits.
_lookups: dict[tuple[str, int, int], "Future[list[Address]]"] = {}
_lookups_lock = threading.Lock()


def look_up(host: str, port: int, deadline: Deadline, family: int = socket.AF_UNSPEC) -> list[Address]:
    """Addresses of `host`, at least one; raises OSError (socket.gaierror, DeadlineError)."""
    if is_address(host):
        return _resolve(host, port, family)
    key = (host, port, family)
    with _lookups_lock:
        future = _lookups.get(key)
        if future is None:
            future = Future()
            try:
                threading.Thread(target=_run_lookup, args=(key, future), name="lookup", daemon=True).start()
            except RuntimeError as error:
                raise OSError(f"no thread to look {host} up: {error}") from error
            _lookups[key] = future
    while not future.done():
        wait([future], min(deadline.left_s(), GRAIN_S))
    problem = future.exception()
    if isinstance(problem, socket.gaierror):
        raise socket.gaierror(*problem.args)  # a new one for each waiting thread
    if problem is not None:
        raise OSError(f"{host} cannot be looked up: {problem}")
    return future.result()


def _run_lookup(key: tuple[str, int, int], future: "Future[list[Address]]") -> None:
    try:
        future.set_result(_resolve(*key))
    except Exception as error:  # noqa: BLE001 - raised on the threads that wait
        future.set_exception(error)
    finally:
        with _lookups_lock:
            _lookups.pop(key, None)


def _resolve(host: str, port: int, family: int) -> list[Address]:
    found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
    return [(each[0], each[4]) for each in found]  # type: ignore[misc]  # IPv6 has two numbers more
