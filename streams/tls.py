"""TLS read in bulk: one system call for all that has come, however many records it is.

ssl.SSLSocket asks the kernel twice per record, and a record is often one message: 3.9 us of CPU each against 1.5 here.
The encryption is OpenSSL's either way; only who carries the bytes differs. Used by the thread that reads.
"""

import contextlib
import socket
import ssl
from typing import Any, cast

CARRY_BYTES = 128 * 1024  # ciphertext taken from the kernel at once


class BulkTls:
    """Stands where websocket-client expects an ssl.SSLContext; verifies what `context` verifies."""

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
        self._carried = memoryview(bytearray(CARRY_BYTES))
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
        """What websocket-client asks of a socket before it closes it."""
        return self._sock.fileno() < 0

    def shutdown(self, how: int) -> None:
        """End the TCP connection, from any thread; a blocking read returns. No TLS goodbye: WebSocket has its own."""
        self._sock.shutdown(how)

    def close(self) -> None:
        """As socket.socket does."""
        self._sock.close()

    # -- TLS -----------------------------------------------------------------------------------------------

    def recv(self, size: int) -> bytes:
        """Up to `size` bytes, b"" at the end; raises TimeoutError or BlockingIOError where nothing comes."""
        buffer = bytearray(size)
        return bytes(buffer[: self.recv_into(buffer)])

    def recv_into(self, buffer: bytearray) -> int:
        """Fill `buffer` with what has come, at least a byte; 0 at the end; raises as `recv`.

        With more than CARRY_BYTES of room nothing is left behind here that a selector would not tell of.
        """
        view, size = memoryview(buffer), 0
        room = len(buffer)
        while size < room:
            try:
                count = cast("int", self._tls.read(room - size, view[size:]))  # with a buffer: how many, not which
            except ssl.SSLWantReadError:
                if size or not self._carry():
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
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                if not self._carry():
                    raise ssl.SSLEOFError("the connection was closed during the TLS handshake") from None
            except ssl.SSLError:
                with contextlib.suppress(OSError):  # the alert that says why
                    self._flush()
                raise
            else:
                self._flush()
                return

    def _carry(self) -> bool:
        """Take ciphertext from the kernel; False at the end of the stream."""
        size = self._sock.recv_into(self._carried)
        if not size:
            self._coming.write_eof()
            return False
        self._coming.write(self._carried[:size])
        return True

    def _flush(self) -> None:
        data = self._unsent + self._going.read()
        if self._sock.gettimeout() != 0:
            self._sock.sendall(data)
            self._unsent = b""
            return
        try:
            sent = self._sock.send(data) if data else 0
        except BlockingIOError:
            sent = 0
        self._unsent = data[sent:]
