"""A proxy in front of Redis that passes everything on, until a test has it misbehave."""

import contextlib
import select
import socket
import time
from collections.abc import Callable

from tests.support.servers import Server

Misdeed = Callable[[socket.socket], object]


def drip(sock: socket.socket) -> None:
    """A reply that begins and comes a byte at a time."""
    sock.sendall(b"$100000\r\n")
    while True:
        sock.sendall(b"x")
        time.sleep(0.02)


def flood(sock: socket.socket) -> None:
    """A reply of two gigabytes."""
    sock.sendall(b"$2000000000\r\n")
    while True:
        sock.sendall(b"x" * 65_536)


def nonsense(sock: socket.socket) -> None:
    """More replies than commands."""
    with contextlib.suppress(TimeoutError):
        sock.settimeout(5)
        while sock.recv(65_536):
            sock.sendall(b"+OK\r\n" * 50)


def http(sock: socket.socket) -> None:
    """Another service at the port."""
    sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


MISDEEDS = [drip, flood, nonsense, http]


class Front(Server):
    """`misdeed` takes the place of replies from the first command on that has `after` in it; None passes on.

    `is_carried_out`: Redis gets that command all the same, EXEC for example, and answers it before the misdeed.
    """

    def __init__(self, port: int, misdeed: Misdeed | None, after: bytes = b"", *, is_carried_out: bool = False) -> None:
        super().__init__(self._pass)
        self.misdeed, self.misdeeds = misdeed, 0
        self._behind, self._after, self._is_carried_out = port, after, is_carried_out

    def _pass(self, near: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", self._behind), 5) as far:
            while not self.over.is_set():
                for sock in select.select([near, far], [], [], 0.1)[0]:
                    if not (data := sock.recv(65_536)):
                        return
                    if self.misdeed and sock is near and self._after in data:
                        self.misdeeds += 1
                        if self._is_carried_out:
                            far.sendall(data)
                            while b"*" not in far.recv(65_536):  # the reply to EXEC is an array
                                pass
                        self.misdeed(near)
                        return
                    (far if sock is near else near).sendall(data)
