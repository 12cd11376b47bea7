"""Clients that ask a collector over HTTP, so many requests a second; a child of api_load.py.

Commands are JSON lines: {"port", "path", "rate", "seconds", "expected", "is_kept"}: a request is begun when it is due,
however many have no answer yet; on a connection that has no request now where `is_kept`, else on one of its own.
Answers {"ages_ms", "wrong", ...}: times from when a request was due to the end of its answer. An answer is right where
it has status 200 and the text `expected` in it.
"""

import json
import re
import selectors
import socket
import sys
import time

LIMIT_S = 10.0  # for an answer
CHUNK = 1 << 18


class Request:
    """One request under way."""

    def __init__(self, due_s: float, connection: socket.socket) -> None:
        self.due_s, self.connection = due_s, connection
        self.received = bytearray()
        self.size: int | None = None

    @property
    def is_whole(self) -> bool:
        """Whether the answer is there."""
        if self.size is None and (end := self.received.find(b"\r\n\r\n")) >= 0:
            length = re.search(rb"Content-Length: (\d+)", self.received[:end])
            self.size = end + 4 + int(length[1] if length else 0)
        return self.size is not None and len(self.received) >= self.size


class Load:
    """The requests of one command."""

    def __init__(self, port: int, path: str, expected: str, *, is_kept: bool) -> None:
        self._port, self._expected, self._is_kept = port, expected.encode(), is_kept
        last = "" if is_kept else "Connection: close\r\n"
        self._text = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{last}\r\n".encode()
        self._selector = selectors.DefaultSelector()
        self._idle: list[socket.socket] = []
        self.open: dict[int, Request] = {}
        self.ages_ms: list[float] = []
        self.wrong: list[str] = []
        self.connections = 0

    def begin(self, due_s: float) -> None:
        """Send a request."""
        if self._idle:
            connection = self._idle.pop()
        else:
            connection = socket.create_connection(("127.0.0.1", self._port), timeout=LIMIT_S)
            self.connections += 1
        connection.sendall(self._text)
        connection.setblocking(False)
        self.open[connection.fileno()] = Request(due_s, connection)
        self._selector.register(connection, selectors.EVENT_READ)

    def read(self, limit_s: float, begin_s: float) -> None:
        """Read what has come, waiting for it for so long."""
        for key, _ in self._selector.select(limit_s):
            request = self.open[key.fd]
            try:
                chunk = request.connection.recv(CHUNK)
            except BlockingIOError:
                continue
            except OSError as error:
                chunk = str(error).encode()
            request.received += chunk
            if chunk and not request.is_whole:
                continue
            self._selector.unregister(request.connection)
            del self.open[key.fd]
            self.ages_ms.append(round((time.perf_counter() - begin_s - request.due_s) * 1000, 3))
            if not request.received.startswith(b"HTTP/1.1 200") or self._expected not in request.received:
                self.wrong.append(request.received[:200].decode(errors="replace"))
            if self._is_kept and request.is_whole:
                self._idle.append(request.connection)
            else:
                request.connection.close()

    def close(self) -> None:
        """Close all connections."""
        for connection in self._idle:
            connection.close()
        self._selector.close()


def run(port: int, path: str, rate: float, seconds: float, expected: str, *, is_kept: bool) -> dict[str, object]:
    """Ask for so long; returns when all is answered."""
    load = Load(port, path, expected, is_kept=is_kept)
    begin_s, sent, total = time.perf_counter(), 0, round(rate * seconds)
    while sent < total or load.open:
        now_s = time.perf_counter() - begin_s
        while sent < total and sent / rate <= now_s:
            load.begin(sent / rate)
            sent += 1
        due_s = sent / rate if sent < total else now_s + LIMIT_S
        load.read(max(0.0, begin_s + due_s - time.perf_counter()), begin_s)
    load.close()
    wrong = load.wrong
    return {
        "ages_ms": load.ages_ms, "wrong": wrong[:3], "count_of_wrong": len(wrong), "connections": load.connections,
    }  # fmt: skip


def main() -> int:
    """Follow commands until stdin ends."""
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        print(json.dumps(run(**json.loads(line))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
