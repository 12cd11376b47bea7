"""The Redis protocol as far as publishing needs it: many PUBLISH in one buffer, their replies in bulk.

Pure: no socket, no clock. Used by the `consumer-redis` thread alone. redis-py's own packing and parsing
cost several times as much per message; they keep the handshake (redis_link.py).
"""

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

import hiredis

MAX_CACHED_CHANNELS = 1_000  # a collector has tens; a caller that makes up names must not fill memory


class Message(NamedTuple):
    """One PUBLISH to be made."""

    channel: bytes | str
    payload: bytes


class Packer:
    """Writes PUBLISH commands; the part up to the payload's length is made once per channel."""

    def __init__(self) -> None:
        self._prefixes: dict[bytes | str, bytes] = {}

    def pack(self, message: tuple[bytes | str, bytes]) -> bytes:
        """Return one command."""
        channel, payload = message
        prefix = self._prefixes.get(channel) or self._add_prefix(channel)
        return b"%b%d\r\n%b\r\n" % (prefix, len(payload), payload)

    def take(self, waiting: deque[tuple[bytes | str, bytes]], limit_bytes: int) -> tuple[list[bytes], int]:
        """Move messages out of `waiting`, oldest first, until `limit_bytes` are reached or it is empty.

        Returns the commands and the sum of their payloads. Other threads may append and pop meanwhile.
        """
        commands: list[bytes] = []
        prefixes, pop, add = self._prefixes.get, waiting.popleft, commands.append
        taken_bytes = 0
        try:
            while taken_bytes < limit_bytes:
                channel, payload = pop()
                size = len(payload)
                taken_bytes += size
                add(b"%b%d\r\n%b\r\n" % (prefixes(channel) or self._add_prefix(channel), size, payload))
        except IndexError:  # empty: asking first would race with the thread that drops the oldest
            pass
        return commands, taken_bytes

    def command_begin(self, name: bytes) -> bytes:
        """Return one command to `name`, up to the payload's length."""
        return b"*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%b\r\n$" % (len(name), name)

    def _add_prefix(self, channel: bytes | str) -> bytes:
        name = channel.encode() if isinstance(channel, str) else channel
        prefix = self.command_begin(name)
        if len(self._prefixes) < MAX_CACHED_CHANNELS:
            self._prefixes[channel] = prefix
        return prefix


@dataclass
class Replies:
    """What one read brought: how many replies, their receivers, and the refusals by position."""

    count: int = 0
    receivers: int = 0
    refused: list[tuple[int, str]] = field(default_factory=list)


class ReplyReader:
    """Counts replies to PUBLISH; keeps an unfinished one for the next read."""

    def __init__(self) -> None:
        self._reader = hiredis.Reader()

    def feed(self, data: bytes) -> Replies:
        """Read replies; raises `hiredis.ProtocolError` where the bytes are not Redis."""
        reader, replies = self._reader, Replies()
        reader.feed(data)
        while (reply := reader.gets()) is not False:
            if isinstance(reply, int):
                replies.receivers += reply
            elif isinstance(reply, hiredis.ReplyError):
                replies.refused.append((replies.count, str(reply)))
            replies.count += 1
        return replies
