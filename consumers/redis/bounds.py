"""Bounds for what Redis, or whatever stands in its place, answers: each reply whole in time, none larger than any real.

redis-py's time-outs begin anew with every byte, and it keeps whatever comes. Every connection that it reads has these.
"""

import time
from typing import Any

from redis._parsers import _HiredisParser
from redis.exceptions import ConnectionError as RedisConnectionError

REPLY_LIMIT_S = 5.0  # from the first byte of a reply to its last
HANDSHAKE_LIMIT_S = 1.0  # the same of a reply to AUTH, SELECT and the like: a stop waits for it
MAX_REPLY_BYTES = 16 * 1024 * 1024  # the state of a whole market is below 2 MiB
MAX_HANDSHAKE_BYTES = 256 * 1024
NONSENSE = (AttributeError, IndexError, KeyError, TypeError, ValueError)  # what redis-py raises for replies of others


class BoundedParser(_HiredisParser):
    """redis-py's parser, as `parser_class` of a connection; redis.ConnectionError where a reply breaks the bounds."""

    max_bytes, limit_s = MAX_REPLY_BYTES, REPLY_LIMIT_S
    _begun_s: float | None = None
    _counting: "_CountingReader | None" = None

    def on_connect(self, connection: Any, **options: Any) -> None:
        """Override: what is read is counted."""
        super().on_connect(connection, **options)  # type: ignore[no-untyped-call]
        self._counting = _CountingReader(self._reader)
        self._reader = self._counting  # type: ignore[assignment]  # all of it that is used

    def read_response(self, *arguments: Any, **options: Any) -> Any:
        """Override: a reply begins."""
        self._begun_s = None
        if self._counting is not None:
            self._counting.count = 0
        return super().read_response(*arguments, **options)

    def read_from_socket(self, *arguments: Any, **options: Any) -> Any:
        """Override: a reply goes on; what waits for its first byte has the connection's own time-out."""
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
    """For a connection that redis-py only opens."""

    max_bytes, limit_s = MAX_HANDSHAKE_BYTES, HANDSHAKE_LIMIT_S


class _CountingReader:
    """A hiredis.Reader that knows how many bytes it was fed."""

    def __init__(self, reader: Any) -> None:
        self.gets, self.has_data = reader.gets, reader.has_data
        self.count = 0
        self._feed = reader.feed

    def feed(self, buffer: Any, start: int, size: int) -> None:
        """As hiredis.Reader does."""
        self.count += size
        self._feed(buffer, start, size)


def shake_hands(connection: Any) -> None:
    """`redis_connect_func` of a connection: as redis-py does; redis.ConnectionError where what answers is no Redis."""
    try:
        connection.on_connect()
    except NONSENSE as error:
        raise RedisConnectionError(f"what answers is no Redis: {error!r}") from error
