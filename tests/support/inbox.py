"""A HTTP server that keeps what it is sent: where alerts go in tests."""

import base64
import json
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


@dataclass(frozen=True)
class Received:
    """One request."""

    method: str
    path: str
    login: str | None
    body: Any


class Inbox:
    """A context manager. `status` is what it answers; `received` is kept whatever that is."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.status = 200
        inbox = self

        class Handler(BaseHTTPRequestHandler):
            def _take(self) -> None:
                raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                login = self.headers.get("Authorization")
                named = base64.b64decode(login.removeprefix("Basic ")).decode() if login else None
                inbox.received.append(Received(self.command, self.path, named, json.loads(raw) if raw else None))
                self.send_response(inbox.status)
                self.send_header("Content-Length", "0")
                if 300 <= inbox.status < 400:
                    self.send_header("Location", "/elsewhere")
                self.end_headers()

            do_GET = do_POST = _take  # noqa: N815 - the names of the standard library

            def log_message(self, *_: object) -> None:
                """Keep quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="inbox", daemon=True)

    def of(self, path: str) -> list[Any]:
        """The bodies that came to a path, in their order."""
        return [each.body for each in list(self.received) if each.path == path]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join(5.0)
        self._server.server_close()
