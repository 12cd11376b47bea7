"""Connections to Redis: the publishers' own link, and the bounds of every connection that redis-py reads.

The link belongs to one thread at a time. redis-py gives it URL, AUTH, SELECT, TLS, time-outs; the socket that
redis-py opened is `Connection._sock`, the one private name relied on (held by
tests/integration/consumers/redis/test_standalone.py). redis-py's own time-outs begin anew with every byte, and it keeps
whatever comes: `BoundedParser` ends a reply that takes too long, or grows larger than any real one.
"""

import select
import ssl
import time
from collections.abc import Callable
from typing import Any

import hiredis
import redis
from redis._parsers import _HiredisParser
from redis.backoff import NoBackoff
from redis.cluster import RedisCluster
from redis.connection import ConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisClusterException, RedisError
from redis.retry import Retry

REPLY_LIMIT_S = 5.0  # from the first byte of a reply to its last
HANDSHAKE_LIMIT_S = 1.0  # the same of a reply to AUTH, SELECT and the like: a stop waits for it
MAX_REPLY_BYTES = 16 * 1024 * 1024  # the state of a whole market is below 2 MiB
MAX_HANDSHAKE_BYTES = 256 * 1024
LOST = (OSError, RedisError, RedisClusterException, hiredis.HiredisError)  # the connection is, or a cluster's node
MALFORMED_REPLY_ERRORS = (AttributeError, LookupError, TypeError, ValueError)  # redis-py's where no Redis answers
CONNECT_TIMEOUT_S = 1.5  # shorter than any stop deadline: a stop waits for a hanging connect
KEEPALIVE = True  # a server that vanished without closing is noticed even when nothing is sent
RECEIVE_BYTES = 256 * 1024  # one read takes the replies to some 60,000 messages
_WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class BoundedParser(_HiredisParser):
    """redis-py's parser, as `parser_class` of a connection; redis.ConnectionError where a reply breaks the bounds."""

    max_bytes, limit_s = MAX_REPLY_BYTES, REPLY_LIMIT_S
    _begun_s: float | None = None
    _counting: "_CountingReader | None" = None

    def on_connect(self, connection: Any, **options: Any) -> None:
        """Override: count what is read."""
        super().on_connect(connection, **options)  # type: ignore[no-untyped-call]
        self._counting = _CountingReader(self._reader)
        self._reader = self._counting  # type: ignore[assignment]  # all of it that is used

    def read_response(self, *arguments: Any, **options: Any) -> Any:
        """Override: begin the deadline and the count of a reply."""
        self._begun_s = None
        if self._counting is not None:
            self._counting.count = 0
        return super().read_response(*arguments, **options)

    def read_from_socket(self, *arguments: Any, **options: Any) -> Any:
        """Override: check both; the wait for the first byte has the connection's own time-out."""
        has_data = super().read_from_socket(*arguments, **options)  # type: ignore[no-untyped-call]
        now_s = time.monotonic()
        if self._begun_s is None:
            self._begun_s = now_s
        if now_s > self._begun_s + self.limit_s:
            raise RedisConnectionError(f"a reply did not end within {self.limit_s:g} s")
        if self._counting is not None and self._counting.count > self.max_bytes:
            raise RedisConnectionError(f"a reply is larger than {self.max_bytes} bytes")
        return has_data


class HandshakeParser(BoundedParser):
    """The parser of a connection that redis-py only opens."""

    max_bytes, limit_s = MAX_HANDSHAKE_BYTES, HANDSHAKE_LIMIT_S


class _CountingReader:
    """A hiredis.Reader that counts the bytes it was fed."""

    def __init__(self, reader: Any) -> None:
        self.gets, self.has_data = reader.gets, reader.has_data
        self.count = 0
        self._feed = reader.feed

    def feed(self, buffer: Any, start: int, size: int) -> None:
        """As hiredis.Reader does."""
        self.count += size
        self._feed(buffer, start, size)


def checked_handshake(connection: Any) -> None:
    """`redis_connect_func` of a connection: as redis-py does; redis.ConnectionError where what answers is no Redis."""
    try:
        connection.on_connect()
    except MALFORMED_REPLY_ERRORS as error:
        raise RedisConnectionError(f"what answers is no Redis: {error!r}") from error


def bounded_client(url: str, timeout_s: float, on_connect: Callable[[Any], None] = checked_handshake) -> "redis.Redis":
    """Make redis-py's client of one server, with the bounds of its replies; it connects later, and tries once."""
    return redis.Redis.from_url(
        url,
        protocol=2,
        socket_timeout=timeout_s,
        **({} if url.startswith("unix:") else {"socket_connect_timeout": timeout_s}),
        retry=Retry(NoBackoff(), 0),
        parser_class=BoundedParser,
        redis_connect_func=on_connect,
    )


def bounded_cluster(url: str, timeout_s: float, on_connect: Callable[[Any], None] | None = None) -> Any:
    """Make redis-py's client of a cluster, likewise; connects now. Most of its methods have no types."""
    return RedisCluster.from_url(
        url,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        parser_class=BoundedParser,
        redis_connect_func=on_connect,
    )


ADDRESS = "REDIS_URL, or REDIS_HOST and REDIS_PORT"
WRONG_LOGIN = "the password or the user is wrong: REDIS_URL, or REDIS_PASSWORD and REDIS_USER"
REMEDIES = (  # by what an error's class or text has, the first that fits; redis-py takes the code off many a text
    ("invalid username-password", WRONG_LOGIN),
    ("WRONGPASS", WRONG_LOGIN),
    ("invalid password", WRONG_LOGIN),
    ("Authentication required", "it asks for a password: set REDIS_PASSWORD, or give it in REDIS_URL"),
    ("without any password", "it has no password: leave REDIS_PASSWORD empty"),
    ("o permissions", "this user may not do that: give it the channels and keys of the collector"),
    ("read only replica", "this is a read-only replica: name the primary in REDIS_URL"),
    ("> 'maxmemory'", "its memory is full: raise maxmemory"),
    ("loading the dataset", "nothing: it reads its data, and will be there soon"),
    ("MovedError", "it is a cluster: set REDIS_CLUSTER"),
    ("MOVED", "it is a cluster: set REDIS_CLUSTER"),
    ("MISCONF", "it cannot save its data, and refuses writes: see its log and its disk"),
    ("max number of clients", "it has too many clients: raise maxclients, or end some"),
    ("protected mode", "it is in protected mode: give it a password and set REDIS_PASSWORD"),
    ("DB index", "it has no such database: set REDIS_DB to one that it has, 0 to 15"),
    ("refused", f"start the server, or see {ADDRESS}"),
    ("Name or service not known", f"the name is not found: see {ADDRESS}"),
    ("name resolution", f"the name is not found: see {ADDRESS}, and the DNS of this machine"),
    ("CERTIFICATE", "its certificate is not trusted: name its authority in SSL_CERT_FILE"),
    ("imed out", f"it does not answer: see {ADDRESS}, and what is on the way"),
    ("no Redis", f"another program answers there: see {ADDRESS}"),
)
USUAL_REMEDY = f"see the server, and {ADDRESS}; it is tried again"


def remedy_of(error: BaseException | str) -> str:
    """Return what to do about a Redis that does not take what is sent, or a login."""
    text = f"{type(error).__name__}: {error}"
    return next((remedy for part, remedy in REMEDIES if part in text), USUAL_REMEDY)


class LinkClosedError(ConnectionError):
    """The server ended the connection."""


class RedisLink:
    """A connected link. `open` blocks up to `connect_timeout_s` per address and step; nothing else blocks."""

    def __init__(self, url: str, connect_timeout_s: float = CONNECT_TIMEOUT_S) -> None:
        # Protocol 2: a connection that only publishes has no use for push messages among its replies.
        pool = ConnectionPool.from_url(
            url,
            protocol=2,
            socket_timeout=connect_timeout_s,
            socket_connect_timeout=connect_timeout_s,
            parser_class=HandshakeParser,
            redis_connect_func=checked_handshake,
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
        try:
            sent = self._socket.send(data)
        except _WOULD_BLOCK:
            self.unsent = memoryview(data)
            return
        if sent < len(data):
            self.unsent = memoryview(data)[sent:]
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
        data = b""
        try:
            while True:
                chunk: bytes = self._socket.recv(RECEIVE_BYTES)
                if not chunk:
                    raise LinkClosedError("the server closed the connection")
                data += chunk
                if not isinstance(self._socket, ssl.SSLSocket):  # TLS keeps whole records back
                    break
        except _WOULD_BLOCK:
            pass
        return data

    def wait(self, timeout_s: float) -> None:
        """Wait until something can be read, or written if something is unsent."""
        wanted = select.POLLIN | (select.POLLOUT if self.unsent else 0)
        self._poll.modify(self._socket, wanted)
        self._poll.poll(timeout_s * 1000)
