"""One open WebSocket connection and its read loop, on the stream's thread or on the reader's. Read in bulk.

A small read per message switches the GIL each time (43 us per message with 16 threads); a read of 256 KiB at once, with
frames split here, costs 0.7. Depends on no exchange: the receiver interprets messages.
"""

import contextlib
import socket
import time
import zlib
from asyncio import CancelledError
from collections import deque
from collections.abc import Callable, Sequence

import websocket

from model.context import StreamContext, set_current
from model.ports import Receiver
from streams.frames import BINARY, CLOSE, PING, PONG, TEXT, Event, Frame, FrameSplitter
from streams.heartbeat import Beat, Heartbeat
from streams.reader import READ_BYTES, Reader

LARGE_MESSAGE_BYTES = 1024 * 1024  # reported, still delivered
MESSAGE_LIMIT_S = 30.0  # from the first frame of a message to its last; exchanges send each in one
MAX_TICK_S = 2.5  # an idle connection wakes this often: 50 of them cost about a thousandth of a core
FEW_TEXTS = 6  # below it, two calls for each text are quicker than the comparison of the least and the greatest
# What a user's callback may raise: sys.exit(), or a cancelled task, does not end the stream's thread.
RAISED = (Exception, SystemExit, CancelledError)
NOT_INFLATED = (ValueError, OSError, EOFError, zlib.error)
_BRACE = ord("}")
_NORMAL_CLOSURE = (1000).to_bytes(2, "big")


class ConnectionLostError(ConnectionError):
    """The connection ended: closed or reset by the other side, or silent beyond its deadline."""

    cause = "closed"


class ReadLoop:
    """Reads one connection on the stream's thread (`run`), or is a Readable of the reader (`read` and `keep`).

    `error` is what ended it; None where the stream was stopped.
    """

    def __init__(
        self,
        connection: "Connection",
        sock: socket.socket,
        receiver: Receiver,
        heartbeat: Heartbeat,
        tick_s: float,
    ) -> None:
        self.sock = sock
        self.error: BaseException | None = None
        self._connection, self._receiver = connection, receiver
        self._heartbeat, self._tick_s = heartbeat, tick_s
        self._tick_due_s = 0.0

    def run(self) -> None:
        """Read until the stream is stopped; raises ConnectionError, and what the socket raises."""
        self.sock.settimeout(self._tick_s)  # set once: changing it is a system call of its own
        while not self._connection.stopped:
            self._connection.read(self.sock, self._receiver)
            self._keep(time.monotonic())

    def read(self) -> bool:
        """See `Readable`. A stop shuts the socket down, which ends the read: no check for every read."""
        set_current(self._connection.context)
        try:
            self._connection.read(self.sock, self._receiver)
        except BaseException as error:  # noqa: BLE001 - raised again on the stream's thread, and ends no other's
            self.error = error
        return self.error is None

    def keep(self, now_s: float) -> bool:
        """See `Readable`."""
        if self._connection.stopped:
            return False
        set_current(self._connection.context)
        try:
            self._keep(now_s)
        except BaseException as error:  # noqa: BLE001 - as above
            self.error = error
        return self.error is None

    def _keep(self, now_s: float) -> None:
        self._connection.run_soon()
        if now_s >= self._tick_due_s:
            self._tick_due_s = now_s + self._tick_s
            self._receiver.tick(now_s)
            self._connection.beat(self._heartbeat.beat(now_s, self._connection.last_frame_s), self._receiver)


class Connection:
    """A connected websocket-client WebSocket whose socket is read here and nowhere else; a model.ports.Link.

    The upgrade reads no byte of the first frame (held by a test). `abort` and `call_soon` are for any thread, the rest
    for the one that opened the connection, or for the reader's while that one waits in `read_until_closed`.
    """

    def __init__(
        self,
        ws: websocket.WebSocket,
        context: StreamContext,
        reader: Reader | None = None,
        message_limit_s: float = MESSAGE_LIMIT_S,
    ) -> None:
        """With a `reader`, receivers that never block are read there; others on the thread of `read_until_closed`."""
        self.context = context
        self._reader, self._message_limit_s = reader, message_limit_s
        self.last_frame_s = time.monotonic()
        self.last_frame_ms = time.time_ns() // 1_000_000
        self.last_data_s: float | None = None
        self._ws = ws
        self._splitter = FrameSplitter()
        self._lost: str | None = None
        self._unfinished, self._unfinished_s = 0, 0.0  # the number of a message in several frames, and since when
        self._soon: deque[Callable[[], object]] = deque()
        self._read_loop: ReadLoop | None = None
        self._inflate: Callable[[bytes], bytes] | None = None
        self._infix = b""
        self._view = memoryview(b"")  # while it is read, over a buffer: the reader's, where it is read there

    @property
    def stopped(self) -> bool:
        """Whether the stream was asked to end."""
        return self.context.stop.is_set()

    def succeeded(self) -> None:
        """Record that the subscription works; see StreamContext.succeeded."""
        self.context.succeeded()

    def send(self, text: str) -> None:
        """Send one text message; raises ConnectionLostError."""
        self._send(text.encode(), websocket.ABNF.OPCODE_TEXT)

    def send_ping_frame(self, payload: bytes) -> None:
        """Send a WebSocket ping frame; raises ConnectionLostError."""
        self._send(payload, websocket.ABNF.OPCODE_PING)

    def read_until_closed(
        self,
        receiver: Receiver,
        *,
        ping_interval_s: float,
        pong_timeout_s: float,
        tick_s: float,
        inflate: Callable[[bytes], bytes] | None = None,
        infix: bytes = b"",
    ) -> None:
        """Read and dispatch until the stream is stopped (returns) or the connection ends (raises ConnectionError)."""
        sock = self._ws.sock
        heartbeat = Heartbeat(ping_interval_s, pong_timeout_s, time.monotonic())
        try:
            if sock is None:
                raise ConnectionLostError("the socket is closed")
            self._read_loop = read_loop = ReadLoop(self, sock, receiver, heartbeat, min(tick_s, MAX_TICK_S))
            self._inflate, self._infix = inflate, infix
            self._splitter.usual = BINARY if inflate else TEXT
            with self.context.on_abort(self.abort):
                if self._reader is not None and receiver.never_blocks:
                    self._view = memoryview(self._reader.buffer)
                    self._reader.read(read_loop)
                else:
                    self._view = memoryview(bytearray(READ_BYTES))
                    read_loop.run()
            error, read_loop.error = read_loop.error, None
            if error is not None:
                try:
                    raise error
                finally:
                    del error  # its traceback refers to this frame: a cycle, which keeps the connection until a full gc
        except (OSError, websocket.WebSocketException) as error:
            if self.stopped:
                return
            if isinstance(error, ConnectionError):
                raise
            raise ConnectionLostError(f"{type(error).__name__}: {error}") from error
        finally:
            self._read_loop = None  # a reference cycle
            self._soon.clear()

    def call_soon(self, action: Callable[[], object]) -> None:
        """Have `action` called on the reading thread: at once on the reader's, else after the next read. Any thread."""
        read_loop = self._read_loop
        self._soon.append(action)
        if self._reader is not None and read_loop is not None:
            self._reader.wake(read_loop)

    def run_soon(self) -> None:
        """Call what `call_soon` was given; raises ConnectionError."""
        while self._soon:
            self._soon.popleft()()

    def abort(self) -> None:
        """End the connection, so that a blocking read of it returns. Any thread; does not block."""
        if (sock := self._ws.sock) is not None:
            with contextlib.suppress(OSError):  # not connected any more
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Send a close frame where the socket still takes it, and close; does not wait for the answer."""
        if self._lost is None:
            with contextlib.suppress(ConnectionLostError):  # closed already
                self._send(_NORMAL_CLOSURE, websocket.ABNF.OPCODE_CLOSE)
        self._ws.shutdown()  # type: ignore[no-untyped-call]
        self._view.release()  # a reference to the connection must not keep the buffer until a full gc

    def beat(self, beat: Beat, receiver: Receiver) -> None:
        """Act on the heartbeat: ping, or raise ConnectionError where the connection is dead."""
        self._check_unfinished(time.monotonic())
        if beat is Beat.PING:
            receiver.ping()
        elif beat is Beat.DEAD:
            raise ConnectionLostError("no answer to ping")

    def read(self, sock: socket.socket, receiver: Receiver) -> None:
        """Read once and dispatch what has come; raises ConnectionError where the connection ended."""
        try:
            size = sock.recv_into(self._view)
        except (TimeoutError, BlockingIOError):
            return
        if not size:
            self._lost = "closed by the other side without a close frame"
            raise ConnectionLostError(self._lost)
        splitter = self._splitter
        events = splitter.feed(bytes(self._view[:size]))
        if self._inflate is not None and events:
            events = self._inflated(events, receiver, self._inflate)
        if events:  # bytes of a frame that never ends prove nothing
            before = self.last_frame_s, self.last_frame_ms
            self.last_frame_s, self.last_frame_ms = time.monotonic(), time.time_ns() // 1_000_000
            self._dispatch(events, receiver)
            if self._lost is not None and len(events) == 1:  # a close frame does not prove that all before it was sent
                self.last_frame_s, self.last_frame_ms = before
        if splitter.error is not None:
            receiver.fault("protocol_error", str(splitter.error).encode())
            raise splitter.error
        if self._lost is not None:
            raise ConnectionLostError(self._lost)

    def _check_unfinished(self, now_s: float) -> None:
        """End the connection where pongs arrive between the frames of a message that does not end."""
        unfinished = self._splitter.unfinished
        if unfinished != self._unfinished:
            self._unfinished, self._unfinished_s = unfinished, now_s
        elif unfinished and now_s >= self._unfinished_s + self._message_limit_s:
            raise ConnectionLostError(f"a message did not end within {self._message_limit_s:g} s")

    def _dispatch(self, events: list[Event], receiver: Receiver) -> None:
        """Deliver one batch: whole, where all of it is data and the callback takes many."""
        splitter = self._splitter
        if splitter.biggest > LARGE_MESSAGE_BYTES:
            self._report_large(events, receiver)
        deliver_all, texts, count = receiver.deliver_all, events, len(events)
        if (
            deliver_all is None
            or not splitter.is_usual
            or not all_begin(texts, receiver.prefix, receiver.floor)  # type: ignore[arg-type]  # bytes, all of them
            or (self._infix and not all_have(texts, self._infix))  # type: ignore[arg-type]
        ):
            count = self._one_by_one(events, receiver)
        else:
            try:
                deliver_all(texts)  # type: ignore[arg-type]
            except ConnectionLostError:  # ours, out of a send: `read` raises it after the batch
                pass
            except RAISED as error:  # a callback: counted and logged, the stream lives
                receiver.failed(texts[0], error)  # type: ignore[arg-type]
        if count:
            stats = self.context.stats
            self.last_data_s = stats.last_message_s = self.last_frame_s
            stats.messages += count

    def _one_by_one(self, events: list[Event], receiver: Receiver) -> int:
        """Deliver one batch message by message; returns how many were data.

        The try is around the loop: it resumes after a failure.
        """
        control = 0
        rest = iter(events)
        event: Event = b""
        while True:
            prefix, floor, infix, deliver = receiver.prefix, receiver.floor, self._infix, receiver.deliver
            try:
                for event in rest:
                    if (
                        event.startswith(prefix)
                        and event.endswith(b"}")
                        and event >= floor  # type: ignore[operator]
                        and (not infix or infix in event)  # type: ignore[operator]
                    ):
                        deliver(event)  # type: ignore[arg-type]  # a Frame starts with nothing
                    elif isinstance(event, Frame):
                        control += 1
                        self._control(event, receiver)
                    else:
                        control += not receiver.other(event)
                        prefix = receiver.prefix
            except RAISED as error:  # a user's callback: counted and logged, the stream lives
                if isinstance(error, ConnectionLostError):  # ours, out of a send: `read` raises it after the batch
                    break
                receiver.failed(event if isinstance(event, bytes) else b"", error)
            else:
                break
        return len(events) - control

    def _inflated(self, events: list[Event], receiver: Receiver, inflate: Callable[[bytes], bytes]) -> list[Event]:
        """The events of a read with the texts of its binary messages; one that cannot be inflated is a fault."""
        found: list[Event] = []
        try:
            if self._splitter.is_usual:
                found += map(inflate, events)  # type: ignore[arg-type]  # bytes, all of them
        except NOT_INFLATED:
            found = []
        for event in events if not found else ():
            if isinstance(event, bytes):
                try:
                    found.append(inflate(event))
                except NOT_INFLATED:
                    receiver.fault("not_inflated", event)
            else:
                found.append(event.payload if event.opcode == TEXT and not event.compressed else event)
        self._splitter.is_usual = all(isinstance(event, bytes) for event in found)  # then they go on all at once
        self._splitter.biggest = max(map(len, found), default=0)
        return found

    def _control(self, frame: Frame, receiver: Receiver) -> None:
        if frame.compressed:
            receiver.fault("compressed_frame", frame.payload)
        elif frame.opcode == PING:
            self._answer(frame.payload)
        elif frame.opcode == PONG:
            receiver.pong(frame.payload)
        elif frame.opcode == CLOSE:
            self._lost = describe_close(frame.payload)
        elif frame.opcode == BINARY:
            receiver.fault("not_text", frame.payload)

    def _answer(self, payload: bytes) -> None:
        """Pong; a socket that does not take it ends the connection after this batch."""
        with contextlib.suppress(ConnectionLostError):
            self._send(payload, websocket.ABNF.OPCODE_PONG)

    def _report_large(self, events: list[Event], receiver: Receiver) -> None:
        for event in events:
            if isinstance(event, bytes) and len(event) > LARGE_MESSAGE_BYTES:
                receiver.fault("large_message", event)

    def _send(self, payload: bytes, opcode: int) -> None:
        try:
            self._ws.send(payload, opcode)
        except (OSError, websocket.WebSocketException) as error:
            self._lost = f"cannot send: {error}"
            raise ConnectionLostError(self._lost) from error


def all_begin(texts: Sequence[bytes], prefix: bytes, floor: bytes = b"") -> bool:
    """Whether all begin with `prefix`, which does not end in 0xff, are not less than `floor`, and end in "}".

    What lies between two texts that begin so begins so, too: two comparisons each, a third of the time of two calls.
    """
    if len(texts) < FEW_TEXTS:
        for text in texts:  # noqa: SIM110 - a generator costs more than it
            if not (text.startswith(prefix) and text.endswith(b"}") and text >= floor):
                return False
        return True
    beyond = prefix[:-1] + bytes((prefix[-1] + 1,))
    return (
        max(prefix, floor) <= min(texts)
        and max(texts) < beyond
        and [text[-1] for text in texts].count(_BRACE) == len(texts)
    )


def all_have(texts: Sequence[bytes], infix: bytes) -> bool:
    """Whether all have `infix` somewhere.

    Nearly always it stands where the first one has it: to compare there takes a quarter of the time of a search.
    """
    at = texts[0].find(infix)
    end = at + len(infix)
    if at >= 0 and [text[at:end] for text in texts].count(infix) == len(texts):
        return True
    return at >= 0 and all(infix in text for text in texts)


def describe_close(payload: bytes) -> str:
    """A close frame for a log line: code and the first 100 characters of the reason."""
    if len(payload) < 2:
        return "close frame without a code"
    reason = payload[2:].decode("utf-8", "replace")[:100]
    return f"close frame {int.from_bytes(payload[:2], 'big')} {reason}".rstrip()
