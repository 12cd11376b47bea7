"""TLS that is read in bulk: one system call for all records that have come.

ssl.SSLSocket calls the kernel twice per record, and a record is often one message: 3.9 us of CPU each against 1.5 here.
The encryption is OpenSSL's either way; only the transport of the bytes differs. Used by the thread that reads.
"""

import contextlib
import socket
import ssl
import time
from typing import Any, cast

CARRY_BYTES = 128 * 1024  # ciphertext taken from the kernel at once
_NO_ROOM = memoryview(b"")


class BulkTls:
    """An ssl.SSLContext for websocket-client; verifies what `context` verifies."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context

    def wrap_socket(self, sock: socket.socket, *, server_hostname: str | None = None, **_: Any) -> "BulkTlsSocket":
        """Shake hands within the timeout of `sock`; raises OSError and ssl.SSLError as ssl.SSLContext does."""
        return BulkTlsSocket(sock, self._context, server_hostname)


class BulkTlsSocket:
    """A connected TLS socket with as much of ssl.SSLSocket's surface as websocket-client and the reader use."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, server_hostname: str | None) -> None:
        self._sock = sock
        self._coming, self._going = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._coming, self._going, server_hostname=server_hostname)
        self._unsent = b""
        self._shake_hands()

    # -- what is the socket's own --------------------------------------------------------------------------

    def fileno(self) -> int:
        """The descriptor, for a selector."""
        return self._sock.fileno()

    def settimeout(self, timeout_s: float | None) -> None:
        """As socket.socket does."""
        self._sock.settimeout(timeout_s)

    def setblocking(self, is_blocking: bool) -> None:
        """As socket.socket does."""
        self._sock.setblocking(is_blocking)

    def gettimeout(self) -> float | None:
        """As socket.socket does."""
        return self._sock.gettimeout()

    @property
    def _closed(self) -> bool:
        """Read by websocket-client before it closes a socket."""
        return self._sock.fileno() < 0

    def shutdown(self, how: int) -> None:
        """End the TCP connection from any thread; a blocking read returns. WebSocket's close frame replaces TLS's."""
        self._sock.shutdown(how)

    def close(self) -> None:
        """As socket.socket does."""
        self._sock.close()

    # -- TLS -----------------------------------------------------------------------------------------------

    def recv(self, size: int) -> bytes:
        """Up to `size` bytes, b"" at the end; raises TimeoutError or BlockingIOError where nothing comes."""
        buffer = bytearray(size)
        return bytes(buffer[: self.recv_into(buffer)])

    def recv_into(self, buffer: bytearray | memoryview) -> int:
        """Fill `buffer` with what has come, at least a byte; 0 at the end; raises as `recv`.

        With more than CARRY_BYTES of room no data stays here that a selector would not report.
        """
        view, size = memoryview(buffer), 0  # ciphertext passes through the buffer too, before there is anything in it
        room, is_partial, until_s = len(buffer), False, 0.0
        while size < room:
            try:
                count = cast("int", self._tls.read(room - size, view[size:]))  # with a buffer: how many, not which
            except ssl.SSLWantReadError:
                if size:
                    return size
                if is_partial:  # a record has begun: it may come byte by byte
                    until_s = self._due_s(until_s)
                is_partial = True
                if not self._carry(view):
                    return size
                continue
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return size
            if not count:
                return size
            size += count
        return size

    def send(self, data: bytes) -> int:
        """Send all of `data`; what a non-blocking socket does not take at once goes with the next, in order."""
        self._tls.write(data)
        self._flush()
        return len(data)

    def _shake_hands(self) -> None:
        timeout_s = self._sock.gettimeout()
        until_s = float("inf") if timeout_s is None else time.monotonic() + timeout_s
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                if time.monotonic() > until_s:  # of all of it: a byte now and then is no handshake
                    raise TimeoutError("the TLS handshake timed out") from None
                if not self._carry(_NO_ROOM):
                    raise ssl.SSLEOFError("the connection was closed during the TLS handshake") from None
            except ssl.SSLError:
                with contextlib.suppress(OSError):  # the alert that says why
                    self._flush()
                raise
            else:
                self._flush()
                return

    def _due_s(self, until_s: float) -> float:
        """When the record that has begun must end (0: not set yet); raises TimeoutError where it did not."""
        now_s, timeout_s = time.monotonic(), self._sock.gettimeout()
        if until_s and timeout_s and now_s > until_s:
            raise TimeoutError("a TLS record has begun and not ended")
        return until_s or now_s + (timeout_s or 0.0)

    def _carry(self, room: memoryview) -> bool:
        """Take ciphertext from the kernel, over `room` where that is large; False at the end of the stream."""
        if self._unsent or self._going.pending:  # OpenSSL answers a key update or an alert by itself
            self._flush()
        if len(room) < CARRY_BYTES:
            data = memoryview(self._sock.recv(CARRY_BYTES))
        else:
            data = room[: self._sock.recv_into(room, CARRY_BYTES)]
        if not data:
            self._coming.write_eof()
            return False
        self._coming.write(data)
        return True

    def _flush(self) -> None:
        """Send what is queued; the rest stays queued, also where that raises TimeoutError."""
        self._unsent += self._going.read()
        with contextlib.suppress(BlockingIOError):
            while self._unsent:
                self._unsent = self._unsent[self._sock.send(self._unsent) :]
