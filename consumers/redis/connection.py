"""One connection to Redis, as the publishers need it: redis-py's handshake, then a non-blocking socket.

One thread at a time. redis-py gives URL, AUTH, SELECT, TLS and connect time-outs; the socket it
opened is `Connection._sock`, the one private name relied on (held by
tests/integration/consumers/redis/test_standalone.py).
"""

import select
import ssl
from typing import Any

from redis.connection import ConnectionPool

from consumers.redis.bounds import HandshakeParser, shake_hands

CONNECT_TIMEOUT_S = 1.5  # shorter than any stop deadline: a stop waits for a hanging connect
KEEPALIVE = True  # a peer that vanished without a word is noticed even when nothing is sent
RECEIVE_BYTES = 256 * 1024  # one read takes the replies to some 60,000 messages
_WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class LinkClosedError(ConnectionError):
    """The server ended the connection."""


class RedisLink:
    """A connected link. `open` blocks up to `CONNECT_TIMEOUT_S` per address and step; nothing else blocks."""

    def __init__(self, url: str) -> None:
        # Protocol 2: a connection that only publishes has no use for push messages among its replies.
        pool = ConnectionPool.from_url(
            url,
            protocol=2,
            socket_timeout=CONNECT_TIMEOUT_S,
            socket_connect_timeout=CONNECT_TIMEOUT_S,
            parser_class=HandshakeParser,
            redis_connect_func=shake_hands,
            **({} if url.startswith("unix:") else {"socket_keepalive": KEEPALIVE}),
        )
        self._connection: Any = pool.make_connection()
        self.unsent = memoryview(b"")  # of the last `write`, what the kernel has not taken; an attribute, for speed
        self._socket: Any = None

    def open(self) -> None:
        """Connect, authenticate, select the database; raises redis-py's errors, and is closed then."""
        try:
            self._connection.connect()
        except Exception:
            self.close()
            raise
        self._socket = self._connection._sock
        self._socket.setblocking(False)
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)

    def close(self) -> None:
        """Close; never raises. What was written but not confirmed may or may not have arrived."""
        self._connection.disconnect()

    def write(self, data: bytes) -> None:
        """Begin to send `data`; only after the last write is wholly sent."""
        self.unsent = memoryview(data)
        self.flush()

    def flush(self) -> None:
        """Send what the kernel takes now."""
        try:
            while self.unsent:
                self.unsent = self.unsent[self._socket.send(self.unsent) :]
        except _WOULD_BLOCK:
            return

    def read(self) -> bytes:
        """Return what has arrived, b"" if nothing; raises `LinkClosedError` at the end of the stream."""
        chunks = []
        try:
            while True:
                chunk = self._socket.recv(RECEIVE_BYTES)
                if not chunk:
                    raise LinkClosedError("the server closed the connection")
                chunks.append(chunk)
                if not isinstance(self._socket, ssl.SSLSocket):  # TLS keeps whole records back
                    break
        except _WOULD_BLOCK:
            pass
        return b"".join(chunks)

    def wait(self, timeout_s: float) -> None:
        """Wait until something can be read, or written if something is unsent."""
        wanted = select.POLLIN | (select.POLLOUT if self.unsent else 0)
        self._poll.modify(self._socket, wanted)
        self._poll.poll(timeout_s * 1000)
