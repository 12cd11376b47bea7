"""A small scripted exchange on a real socket: its answers and faults are attributes."""

import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import Server, ServerConnection, serve


class ScriptedExchange:
    """Answers subscribe and ping. The attributes are the script and may be changed at any time."""

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self.status: HTTPStatus | None = None  # answered to the upgrade instead of 101
        self.is_answering = True  # acknowledgements and pongs
        self.closes_at_once = False
        self.refuse: Callable[[list[str]], str | None] = lambda topics: None  # the ret_msg of a refusal
        self.first: list[bytes] = []  # sent after each acknowledgement of a subscription
        self.requests = 0
        self.subscribed: list[list[str]] = []
        self.unsubscribed: list[list[str]] = []
        self.pings = 0
        self.sessions: list[ServerConnection] = []
        self._tls = tls
        self._server: Server | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """The endpoint."""
        return f"{'wss' if self._tls else 'ws'}://127.0.0.1:{self.port}/v5/public/linear"

    def __enter__(self) -> Self:
        self._server = serve(
            self._converse,
            "127.0.0.1",
            self.port,
            compression=None,
            ping_interval=None,
            process_request=self._admit,
            ssl=self._tls,
            logger=_silent(),
        )
        self.port = self._server.socket.getsockname()[1]
        self._thread = threading.Thread(target=self._server.serve_forever, name="scripted-exchange", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.shutdown()
        self._thread.join(5)
        self.reset()

    def send(self, *payloads: bytes) -> None:
        """Text messages to every session, each as one frame."""
        for session in list(self.sessions):
            for payload in payloads:
                session.send(payload, text=True)

    def send_raw(self, wire: bytes) -> None:
        """Bytes as they are, whatever they mean."""
        for session in list(self.sessions):
            session.socket.sendall(wire)

    def close(self, code: int = 1000) -> None:
        """A polite close frame to every session."""
        for session in self._leave():
            session.close(code)

    def cut(self) -> None:
        """The end of the stream without a close frame."""
        for session in self._leave():
            session.socket.shutdown(socket.SHUT_RDWR)

    def reset(self) -> None:
        """RST to every session."""
        for session in self._leave():
            sock = session.socket
            try:
                socket.socket.setsockopt(sock, socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                socket.socket.shutdown(sock, socket.SHUT_RD)
            except OSError:
                continue
            sock.close()

    def _leave(self) -> list[ServerConnection]:
        leaving, self.sessions = self.sessions, []
        return leaving

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        self.requests += 1
        return connection.respond(self.status, "no\n") if self.status else None

    def _converse(self, session: ServerConnection) -> None:
        if self.closes_at_once:
            return
        self.sessions.append(session)
        try:
            for text in session:
                self._answer(session, json.loads(text))
        except (ConnectionClosed, OSError):
            pass

    def _answer(self, session: ServerConnection, message: dict[str, Any]) -> None:
        is_ping = message["op"] == "ping"
        self.pings += is_ping
        is_leaving = message["op"] == "unsubscribe"
        if is_leaving:
            self.unsubscribed.append(message["args"])
        elif not is_ping:
            self.subscribed.append(message["args"])
        if not self.is_answering:
            return
        if is_ping:
            session.send('{"success":true,"ret_msg":"pong","conn_id":"x","req_id":"","op":"ping"}')
            return
        problem = self.refuse(message["args"])
        ack = {"success": not problem, "ret_msg": problem or "", "conn_id": "x", "req_id": message["req_id"]}
        session.send(json.dumps({**ack, "op": message["op"]}))
        if not problem and not is_leaving:
            for payload in self.first:
                session.send(payload, text=True)


def _silent() -> Any:
    """websockets logs every connection that a test cuts."""
    import logging

    logger = logging.getLogger("scripted-exchange")
    logger.setLevel(logging.CRITICAL + 1)
    return logger
