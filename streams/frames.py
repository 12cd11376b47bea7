"""WebSocket frames (RFC 6455), split from bytes that were read in bulk. Pure: no socket, no clock, no thread.

Only what a server may send to a client. It unmasks nothing, inflates nothing and does not check UTF-8: a payload
leaves as the exact bytes that came in.
"""

from dataclasses import dataclass

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA

MAX_MESSAGE_BYTES = 32 * 1024 * 1024  # the largest known message of an exchange is below 1 MiB

MAX_FRAGMENTS = 65_536  # frames of one message: empty ones add no bytes to the limit

_FIN = 0x80  # with the opcode the first byte of nearly every frame: FIN set, no RSV
_MAX_CONTROL_BYTES = 125  # RFC 6455 5.5


@dataclass(frozen=True, slots=True)
class Frame:
    """Everything that is not a complete message of the usual kind: other messages, control frames, skipped frames.

    `opcode` is BINARY, TEXT, CLOSE, PING or PONG; `compressed` marks a frame that came with RSV1 although no extension
    was negotiated (its payload is cut off at 256 bytes: it cannot be read).
    """

    opcode: int
    payload: bytes
    compressed: bool = False

    def startswith(self, _prefix: bytes) -> bool:
        """Never true, so that the reader's loop needs one test per event and no isinstance."""
        return False

    def endswith(self, _suffix: bytes) -> bool:
        """Never true; beside `startswith`."""
        return False

    def __len__(self) -> int:
        return len(self.payload)


Event = bytes | Frame


class ProtocolError(ConnectionError):
    """The server broke RFC 6455; the connection cannot be read on."""


class FrameSplitter:
    """Turns the byte stream of one connection into messages, in their order.

    One thread. After a ProtocolError it must not be fed again. `biggest` is an upper bound, in bytes, of the payloads
    in the last batch, so that a reader need not measure every message to find a large one; `is_usual`: all of
    the batch are messages of the usual opcode.
    """

    def __init__(self, max_message_bytes: int = MAX_MESSAGE_BYTES, max_fragments: int = MAX_FRAGMENTS) -> None:
        """The limit is at least 65,535: shorter messages are not measured."""
        self.usual = TEXT
        """The opcode of the messages that leave as bytes, TEXT or BINARY; those of the other leave as Frame."""
        self.biggest = 0
        self.is_usual = True
        self.error: ProtocolError | None = None
        self._max, self._max_fragments = max_message_bytes, max_fragments
        self._chunks: list[bytes] = []  # an incomplete frame, in pieces: joined once, not once per read
        self._held = 0
        self._need = 0
        self._fragments: list[bytes] = []
        self._fragments_bytes = 0
        self._fragments_opcode = 0
        self._fragments_compressed = False
        self._begun = 0

    @property
    def unfinished(self) -> int:
        """The number of the message that began in several frames and has not ended; 0 where there is none."""
        return self._begun if self._fragments_opcode else 0

    def feed(self, data: bytes) -> list[Event]:
        """Take what the socket gave and return what is complete: usual messages as bytes, the rest as Frame.

        Never raises: a breach of the protocol sets `error`, and the events before it are still returned.
        """
        if self._held:
            self._chunks.append(data)
            self._held += len(data)
            if self._held < self._need:
                self.biggest = 0
                return []
            data = b"".join(self._chunks)
            self._chunks.clear()
        self.biggest = size = len(data)
        self.is_usual = True
        usual = _FIN | self.usual
        events: list[Event] = []
        append = events.append
        pos = 0
        # The loop below runs once per market message. Complete short and 16-bit usual frames are taken here;
        # rarer frames go through _other, which returns the position to go on from, or -1 to wait for more.
        limit = size - 3
        in_fragments = bool(self._fragments_opcode)
        while pos < limit:
            if data[pos] == usual and not in_fragments:
                length = data[pos + 1]
                if length == 126:
                    start = pos + 4
                    end = start + (data[pos + 2] << 8) + data[pos + 3]
                    if end <= size:
                        append(data[start:end])
                        pos = end
                        continue
                elif length < 126:
                    start = pos + 2
                    end = start + length
                    if end <= size:
                        append(data[start:end])
                        pos = end
                        continue
            after = self._other(data, pos, events)
            if after < 0:
                break
            pos = after
            in_fragments = bool(self._fragments_opcode)
        while 2 <= size - pos <= 3 and self.error is None:  # a frame of two or three bytes at the very end
            after = self._other(data, pos, events)
            if after < 0:
                break
            pos = after
        self._held = size - pos
        if self._held:
            self._chunks.append(data[pos:])
            self._need = self._frame_bytes(data, pos)
        return events

    def _frame_bytes(self, data: bytes, pos: int) -> int:
        """Bytes from `pos` to the end of the frame there, or of its header as far as that is known."""
        available = len(data) - pos
        if available < 2:
            return 2
        length = data[pos + 1] & 0x7F
        header = 2 if length < 126 else 4 if length == 126 else 10
        if available < header:
            return header
        if length >= 126:
            length = int.from_bytes(data[pos + 2 : pos + header], "big")
        return header + length

    def _other(self, data: bytes, pos: int, events: list[Event]) -> int:
        """Any frame, the slow way: the position after it, or -1 when it is incomplete or breaks the protocol."""
        if self.error is not None:
            return -1
        first, second = data[pos], data[pos + 1]
        if second & 0x80:
            return self._fail("masked frame from a server")
        end = pos + self._frame_bytes(data, pos)
        length = second
        header = 2 if length < 126 else 4 if length == 126 else 10
        if len(data) - pos >= header:
            length = end - pos - header
            if (problem := self._problem(first, length)) is not None:
                return self._fail(problem)
        if end > len(data):
            return -1
        self._take(first, data[pos + header : end], events)
        return -1 if self.error is not None else end

    def _problem(self, first: int, length: int) -> str | None:
        opcode = first & 0x0F
        if first & 0x30:
            return "RSV2 or RSV3 set"
        if opcode in (CLOSE, PING, PONG):
            if not first & 0x80 or length > _MAX_CONTROL_BYTES:
                return "fragmented or oversized control frame"
        elif opcode not in (CONTINUATION, TEXT, BINARY):
            return f"unknown opcode {opcode}"
        elif (opcode == CONTINUATION) != bool(self._fragments_opcode):
            return "continuation without a beginning" if opcode == CONTINUATION else "message inside a message"
        if len(self._fragments) >= self._max_fragments:
            return f"message in more than {self._max_fragments} frames"
        if self._fragments_bytes + length > self._max:
            return f"message larger than {self._max} bytes"
        return None

    def _fail(self, problem: str) -> int:
        self.error = ProtocolError(problem)
        return -1

    def _take(self, first: int, payload: bytes, events: list[Event]) -> None:
        opcode, final, compressed = first & 0x0F, bool(first & 0x80), bool(first & 0x40)
        if opcode in (CLOSE, PING, PONG):
            events.append(Frame(opcode, payload, compressed))
            self.is_usual = False
            return
        if opcode != CONTINUATION:
            self._begun += 1
            self._fragments_opcode = opcode
            self._fragments_compressed = compressed
        self._fragments.append(payload)
        self._fragments_bytes += len(payload)
        if final:
            self._finish(events)

    def _finish(self, events: list[Event]) -> None:
        payload = b"".join(self._fragments)
        opcode, compressed = self._fragments_opcode, self._fragments_compressed
        self._fragments.clear()
        self._fragments_bytes = self._fragments_opcode = 0
        self.biggest = max(self.biggest, len(payload))
        if opcode == self.usual and not compressed:
            events.append(payload)
            return
        events.append(Frame(opcode, payload[:256], compressed=True) if compressed else Frame(opcode, payload))
        self.is_usual = False
