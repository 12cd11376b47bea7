"""The flooder's side of a WebSocket: a non-blocking connection, plain or TLS, that counts what has left for good.

One thread. Handles frames and the handshake, not the content of messages.
"""

import base64
import hashlib
import socket
import ssl
from collections import Counter, deque
from collections.abc import Iterator
from typing import NamedTuple

WS_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
HANDSHAKE_LIMIT_S = 5.0  # of TLS, the only thing that blocks
WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Tally(NamedTuple):
    """Counts of what was sent: messages, payload bytes, trades, and the sum of the payloads' CRC-32, each per kind."""

    messages: Counter[str]
    bytes: Counter[str]
    trades: Counter[str]
    digest: Counter[str]


class Part(NamedTuple):
    """Messages of one kind in a chunk, as `Tally` has them."""

    kind: str
    messages: int
    bytes: int
    trades: int
    digest: int


def empty_tally() -> Tally:
    """Nothing sent yet."""
    return Tally(Counter(), Counter(), Counter(), Counter())


class Client:
    """One connection: its path, its subscriptions, its send queue."""

    def __init__(self, sock: socket.socket, tls: ssl.SSLContext | None) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            sock.settimeout(HANDSHAKE_LIMIT_S)
            sock = tls.wrap_socket(sock, server_side=True)
        sock.setblocking(False)
        self.sock = sock
        self.category = ""
        self.topics: list[str] = []
        self.inbox = bytearray()
        self.is_upgraded = False
        self.chunks: deque[tuple[memoryview, tuple[Part, ...]]] = deque()  # bytes left, and what is counted with them
        self.unsent = 0
        self.is_begun = False

    def put(self, data: bytes, parts: tuple[Part, ...] = ()) -> None:
        """Queue bytes that belong together."""
        self.chunks.append((memoryview(data), parts))
        self.unsent += len(data)

    def flush(self, tally: Tally) -> None:
        """Send what the kernel takes; count a chunk when its last byte is gone."""
        try:
            while self.chunks:
                data, parts = self.chunks[0]
                self.is_begun = True  # TLS may have taken a part without reporting it
                size = self.sock.send(data)
                self.unsent -= size
                if size < len(data):
                    self.chunks[0] = (data[size:], parts)
                    continue
                self.chunks.popleft()
                self.is_begun = False
                for kind, messages, payload_bytes, trades, digest in parts:
                    tally.messages[kind] += messages
                    tally.bytes[kind] += payload_bytes
                    tally.trades[kind] += trades
                    tally.digest[kind] += digest
        except WOULD_BLOCK:
            return

    def forget_unsent(self) -> None:
        """Drop what waits, except a chunk of which a part is gone."""
        while len(self.chunks) > self.is_begun:
            self.unsent -= len(self.chunks.pop()[0])


def upgrade(client: Client) -> None:
    """Answer the HTTP request of a WebSocket handshake once it is complete; the path's last part is the category."""
    head, end, rest = bytes(client.inbox).partition(b"\r\n\r\n")
    if not end:
        return
    request, *lines = head.split(b"\r\n")
    client.category = request.split(b" ")[1].rpartition(b"/")[2].decode()
    (key,) = [line.split(b":", 1)[1].strip() for line in lines if line.lower().startswith(b"sec-websocket-key:")]
    accept = base64.b64encode(hashlib.sha1(key + WS_GUID).digest())
    client.put(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )
    client.inbox[:] = rest
    client.is_upgraded = True


def take_frames(inbox: bytearray) -> Iterator[tuple[int, bytes]]:
    """Unmask and remove the complete frames of a client: opcode and payload."""
    while len(inbox) >= 6:
        opcode = inbox[0] & 0x0F
        size, start = inbox[1] & 0x7F, 2
        if size == 126:
            size, start = int.from_bytes(inbox[2:4], "big"), 4
        if len(inbox) < start + 4 + size:
            return
        mask = inbox[start : start + 4]
        body = inbox[start + 4 : start + 4 + size]
        del inbox[: start + 4 + size]
        yield opcode, bytes(byte ^ mask[i & 3] for i, byte in enumerate(body))
