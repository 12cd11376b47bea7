"""Clients that ask a collector over HTTP, so many a second, each with a connection of its own; a child of api_load.py.

Commands are JSON lines: {"port", "path", "rate", "seconds", "expected"}: a request is begun when it is due, however many
have no answer yet. Answers {"ages_ms": ..., "wrong": ...}: times from when a request was due to the end of its answer.
An answer is right where it has status 200 and the text `expected` in it.
"""

import json
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


def run(port: int, path: str, rate: float, seconds: float, expected: str) -> dict[str, object]:
    """Ask for so long; returns when all is answered."""
    text = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode()
    wanted = expected.encode()
    ages_ms: list[float] = []
    wrong: list[str] = []
    begin_s, sent, total, most = time.perf_counter(), 0, round(rate * seconds), 0
    open_requests: dict[int, Request] = {}
    with selectors.DefaultSelector() as selector:
        while sent < total or open_requests:
            now_s = time.perf_counter() - begin_s
            while sent < total and sent / rate <= now_s:
                connection = socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S)
                connection.sendall(text)
                connection.setblocking(False)  # noqa: FBT003 - the library's own
                open_requests[connection.fileno()] = Request(sent / rate, connection)
                selector.register(connection, selectors.EVENT_READ)
                sent += 1
            most = max(most, len(open_requests))
            due_s = sent / rate if sent < total else now_s + LIMIT_S
            for key, _ in selector.select(max(0.0, begin_s + due_s - time.perf_counter())):
                request = open_requests[key.fd]
                try:
                    chunk = request.connection.recv(CHUNK)
                except BlockingIOError:
                    continue
                except OSError as error:
                    chunk = b""
                    wrong.append(str(error))
                if chunk:
                    request.received += chunk
                    continue
                selector.unregister(request.connection)
                del open_requests[key.fd]
                request.connection.close()
                ages_ms.append((time.perf_counter() - begin_s - request.due_s) * 1000)
                if not request.received.startswith(b"HTTP/1.1 200") or wanted not in request.received:
                    wrong.append(request.received[:200].decode(errors="replace"))
    return {
        "ages_ms": [round(each, 3) for each in ages_ms],
        "wrong": wrong[:3],
        "count_of_wrong": len(wrong),
        "most": most,
    }


def main() -> int:
    """Follow commands until stdin ends."""
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        print(json.dumps(run(**json.loads(line))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
