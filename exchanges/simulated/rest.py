"""The REST port: a small HTTP/1.1 server on the event loop, about ten thousand answers a second.

Refuses nothing itself: status, body and the way it fails to arrive come from the callable it is given.
Event loop thread only.
"""

import asyncio
import contextlib
import json
import socket
import ssl
import struct
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

MAX_BODY_BYTES = 1 << 20
MAX_HEAD_BYTES = 1 << 16
BACKLOG = 1024  # bursts of a client pool must not be refused by the kernel
END_OF_HEAD = b"\r\n\r\n"


class Request(NamedTuple):
    """One HTTP request; `query` keeps the last of repeated names, `body` is {} without one.

    Header names are in lower case; `raw_query` and `raw_body` are what was signed.
    """

    method: str
    path: str
    query: dict[str, str]
    body: dict[str, Any]
    client_ip: str
    headers: dict[str, str] = {}  # noqa: RUF012 - a NamedTuple's default, never written to
    raw_query: str = ""
    raw_body: bytes = b""


class Answer(NamedTuple):
    """A JSON answer (text goes as it is). `loss`: "" arrives, "hang" never, "reset" by RST, "truncate" in half.

    With `delay_s` it leaves later; with `later` it is computed then, whether or not the client still waits.
    """

    status: int
    body: Any
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = "application/json; charset=utf-8"
    loss: str = ""
    delay_s: float = 0.0
    later: "Callable[[], Answer] | None" = None


Respond = Callable[[Request], Answer]


class RestServer:
    """Listens until the process ends."""

    def __init__(self, respond: Respond) -> None:
        self._respond = respond
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Start to listen; returns the port."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Connection(self._respond, loop), host, port, ssl=tls, backlog=BACKLOG
        )
        port_taken: int = self._server.sockets[0].getsockname()[1]
        return port_taken


class _Connection(asyncio.Protocol):
    """One client; a request waits until the answer before it has left."""

    def __init__(self, respond: Respond, loop: asyncio.AbstractEventLoop) -> None:
        self._respond, self._loop = respond, loop
        self._unread = bytearray()
        self._is_busy = False
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Record the client's address."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._client_ip = str(transport.get_extra_info("peername")[0])

    def data_received(self, data: bytes) -> None:
        """Answer all complete requests."""
        self._unread += data
        self._proceed()

    def _proceed(self) -> None:
        while not self._is_busy and (request := self._take()) is not None:
            self._is_busy = True
            self._answer(self._respond(request))

    def _take(self) -> Request | None:
        """Take the next whole request, None while it is not whole; what is no HTTP ends the connection."""
        head_end = self._unread.find(END_OF_HEAD)
        if head_end < 0:
            if len(self._unread) > MAX_HEAD_BYTES:
                self._transport.abort()
            return None
        head = self._unread[:head_end].decode("latin-1")
        line, *header_lines = head.split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (text.partition(":") for text in header_lines)}
        length = int(headers.get("content-length") or 0)
        if length > MAX_BODY_BYTES or line.count(" ") != 2:
            self._transport.abort()
            return None
        if headers.pop("expect", "") and len(self._unread) < head_end + 4 + length:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body_start = head_end + len(END_OF_HEAD)
        if len(self._unread) < body_start + length:
            return None
        raw_body = bytes(self._unread[body_start : body_start + length])
        del self._unread[: body_start + length]
        return _request(line, headers, raw_body, self._client_ip)

    def _answer(self, answer: Answer) -> None:
        if answer.delay_s > 0:
            self._loop.call_later(answer.delay_s, self._answer_now, answer)
        else:
            self._answer_now(answer)

    def _answer_now(self, answer: Answer) -> None:
        if answer.later is not None:
            answer = answer.later()
        if answer.loss == "hang" or self._transport.is_closing():
            return
        if answer.loss == "reset":
            reset(self._transport)
            return
        payload = _payload(answer)
        if answer.loss == "truncate":
            self._transport.write(payload[: -max(1, len(_body(answer)) // 2)])
            self._transport.close()
            return
        self._transport.write(payload)
        self._is_busy = False
        if self._unread:
            self._loop.call_soon(self._proceed)


def reset(transport: asyncio.WriteTransport) -> None:
    """End a connection by RST: unsent bytes are lost."""
    with contextlib.suppress(OSError):
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def _request(line: str, headers: dict[str, str], raw_body: bytes, client_ip: str) -> Request:
    """Build a request. A body that is no JSON object becomes {"": text}: every endpoint refuses that."""
    method, target, _version = line.split(" ")
    path, _, raw_query = target.partition("?")
    query = dict(parse_qsl(raw_query, keep_blank_values=True))
    try:
        body = json.loads(raw_body) if raw_body else {}
    except ValueError:
        body = None
    if not isinstance(body, dict):
        body = {"": raw_body.decode(errors="replace")}
    return Request(method, path, query, body, client_ip, headers, raw_query, raw_body)


def _body(answer: Answer) -> bytes:
    text = answer.body if isinstance(answer.body, str) else json.dumps(answer.body, separators=(",", ":"))
    return text.encode()


def _payload(answer: Answer) -> bytes:
    body = _body(answer)
    lines = [
        f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}",
        f"Content-Type: {answer.content_type}",
        f"Content-Length: {len(body)}",
        *(f"{name}: {value}" for name, value in answer.headers),
    ]
    return "\r\n".join(lines).encode() + END_OF_HEAD + body
