"""The Redis protocol as far as publishing needs it: many PUBLISH in one buffer, their replies in bulk.

Pure: no socket, no clock; belongs to the connection's owner. redis-py's own packing and parsing cost several times as
much per message; they keep the handshake (connection.py).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import hiredis

from consumers.redis.raw_queue import Batch

MAX_CACHED_CHANNELS = 1_000  # a collector has tens; a caller with made-up names must not fill memory
MAX_REPLY_BYTES = 1024 * 1024  # of an unfinished one: a number, or an error of one line; a batch is read at once
CACHED_LENGTHS = 2_048  # bytes: payloads shorter than that have their command's beginning kept, 0.2 MB a channel
ONE_DIGIT_BYTES = len(b":1\r\n")


class CommandHeads(dict[int, bytes]):
    """The bytes between two payloads of one channel, by the length of the second: made once each."""

    def __init__(self, begin: bytes) -> None:
        super().__init__()
        self.begin = begin

    def __missing__(self, length: int) -> bytes:
        head = b"\r\n%b%d\r\n" % (self.begin, length)
        if length < CACHED_LENGTHS:
            self[length] = head
        return head


class Packer:
    """Writes PUBLISH commands; the part up to the payload is made once per channel and length."""

    def __init__(self) -> None:
        self._heads: dict[bytes | str, CommandHeads] = {}

    def pack(self, message: tuple[bytes | str, bytes]) -> bytes:
        """Return one command."""
        channel, payload = message
        return b"".join(self.pieces([(channel, (payload,), 0)]))

    def pieces(self, batches: Iterable[Batch]) -> list[bytes]:
        """Return one command for each payload, in pieces to be joined: copied once, in the write that they end in.

        There are two pieces for each, and one at the end.
        """
        pieces: list[bytes] = []
        add = pieces.append
        for channel, payloads, _ in batches:
            heads = self._heads.get(channel)
            if heads is None:
                heads = self._add_heads(channel)
            for payload in payloads:
                add(heads[len(payload)])
                add(payload)
        if pieces:
            pieces[0] = pieces[0][2:]  # a head begins with the end of the command before
            add(b"\r\n")
        return pieces

    def command_begin(self, name: bytes) -> bytes:
        """Return the command to `name` up to its payload's length."""
        return b"*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%b\r\n$" % (len(name), name)

    def _add_heads(self, channel: bytes | str) -> CommandHeads:
        heads = CommandHeads(self.command_begin(channel.encode() if isinstance(channel, str) else channel))
        if len(self._heads) < MAX_CACHED_CHANNELS:
            self._heads[channel] = heads
        return heads


@dataclass
class Replies:
    """The replies of one read: how many, their receivers, and the refusals by position."""

    count: int = 0
    receivers: int = 0
    refused: list[tuple[int, str]] = field(default_factory=list)


class ReplyReader:
    """Counts replies to PUBLISH; keeps an unfinished one for the next read."""

    def __init__(self) -> None:
        self._reader = hiredis.Reader()

    def feed(self, data: bytes) -> Replies:
        """Read replies; raises `hiredis.ProtocolError` where the bytes are not Redis."""
        reader = self._reader
        if not reader.has_data() and (receivers := sum_single_digits(data)) is not None:
            return Replies(len(data) // ONE_DIGIT_BYTES, receivers)
        replies = Replies()
        reader.feed(data)
        while (reply := reader.gets()) is not False:
            if isinstance(reply, int):
                replies.receivers += reply
            elif isinstance(reply, hiredis.ReplyError):
                replies.refused.append((replies.count, str(reply)))
            replies.count += 1
        if reader.len() > MAX_REPLY_BYTES:
            raise hiredis.ProtocolError(f"a reply is larger than {MAX_REPLY_BYTES} bytes")
        return replies


def sum_single_digits(data: bytes) -> int | None:
    """Sum replies that all have one digit, as nearly always, at a tenth of the cost; None where some have more."""
    count, rest = divmod(len(data), ONE_DIGIT_BYTES)
    digits = data[1::ONE_DIGIT_BYTES]
    if (
        rest
        or data[::ONE_DIGIT_BYTES] != b":" * count
        or data[3::ONE_DIGIT_BYTES] != b"\n" * count
        or not digits.isdigit()
    ):
        return None
    return sum(digits) - ord("0") * count


def resp_bulk(text: bytes) -> bytes:
    """Return a bulk string of the Redis protocol, as it stands in a command."""
    return b"$%d\r\n%b\r\n" % (len(text), text)
