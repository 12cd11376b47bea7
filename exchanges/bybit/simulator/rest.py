"""The REST port: a plain HTTP/1.1 server on threads, whose every answer is computed on the event loop.

Low volume by design. Refuses nothing itself: status and body come from the callable it is given.
"""

import asyncio
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

ANSWER_LIMIT_S = 20.0  # the event loop is busy for milliseconds, not seconds
MAX_BODY_BYTES = 1 << 20


class Request(NamedTuple):
    """One HTTP request; `query` keeps the last of repeated names, `body` is {} without one."""

    method: str
    path: str
    query: dict[str, str]
    body: dict[str, Any]
    client_ip: str


class Answer(NamedTuple):
    """A JSON answer."""

    status: int
    body: Any
    headers: tuple[tuple[str, str], ...] = ()


Respond = Callable[[Request], Answer]


class RestServer:
    """Threads that end with the process; `respond` runs on the loop's thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, respond: Respond, host: str, port: int) -> None:
        async def on_loop(request: Request) -> Answer:
            return respond(request)

        def respond_from_thread(request: Request) -> Answer:
            return asyncio.run_coroutine_threadsafe(on_loop(request), loop).result(ANSWER_LIMIT_S)

        handler = type("Handler", (_Handler,), {"respond": staticmethod(respond_from_thread)})
        self._server = _HttpServer((host, port), handler)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, name="simulator-rest", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # bursts of a client pool must not be refused by the kernel

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no event."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    respond: Respond

    def do_GET(self) -> None:
        """Answer a query."""
        self._answer({})

    def do_POST(self) -> None:
        """Answer a command with a JSON body."""
        length = min(int(self.headers.get("Content-Length") or 0), MAX_BODY_BYTES)
        try:
            body = json.loads(self.rfile.read(length) or b"{}")
        except ValueError:
            body = None
        if isinstance(body, dict):
            self._answer(body)
        else:
            self._send(Answer(400, {"error": "the body must be a JSON object"}))

    def _answer(self, body: dict[str, Any]) -> None:
        url = urlsplit(self.path)
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        self._send(self.respond(Request(self.command, url.path, query, body, str(self.client_address[0]))))

    def _send(self, answer: Answer) -> None:
        text = answer.body if isinstance(answer.body, str) else json.dumps(answer.body, separators=(",", ":"))
        payload = text.encode()
        self.send_response(answer.status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(payload)))
        for name, value in answer.headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, format: str, *args: Any) -> None:
        """Silent: stdout belongs to the port line."""
