"""An HTTP server that answers from a script: what the simulated exchange is too well-behaved for."""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

Script = Callable[[int], bytes | None]  # number of the request, from 0 -> raw bytes to send, None: wait, send nothing


class ScriptedServer:
    """A context manager; `url` is its address, `requests` how many came, `connections` over how many sockets."""

    def __init__(self, script: Script) -> None:
        self.requests = self.connections = 0
        self._over = threading.Event()
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                outer.connections += 1

            def do_GET(self) -> None:
                with outer._lock:
                    number, outer.requests = outer.requests, outer.requests + 1
                answer = script(number)
                if answer is None:
                    outer._over.wait(20)
                    self.close_connection = True
                else:
                    self.wfile.write(answer)

            do_POST = do_GET  # noqa: N815 - the name that http.server calls

            def log_message(self, format: str, *args: Any) -> None:
                """Silent."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A client that went away is no event."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="scripted", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


def response(body: bytes, status: str = "200 OK", length: int | None = None) -> bytes:
    """A whole HTTP response; `length` lies about the body where it is given."""
    size = len(body) if length is None else length
    return f"HTTP/1.1 {status}\r\nContent-Length: {size}\r\n\r\n".encode() + body
