"""The read loop of one connection: on the stream's thread, or step by step on the reader's while that thread waits.

What ends it is raised on the stream's thread in either case.
"""

import socket
import time
from typing import Protocol

from model.context import StreamContext, set_current
from model.ports import Receiver
from streams.heartbeat import Beat, Heartbeat


class Source(Protocol):
    """The loop's port to a streams.connection.Connection. The thread that reads."""

    context: StreamContext
    last_frame_s: float

    @property
    def stopped(self) -> bool: ...

    def read(self, sock: socket.socket, receiver: Receiver) -> None: ...

    def run_soon(self) -> None: ...

    def beat(self, beat: Beat, ping: str) -> None: ...


class ReadLoop:
    """Reads one connection on the stream's thread (`run`), or is a Readable of the reader (`read` and `keep`).

    `error` is what ended it; None where the stream was stopped.
    """

    def __init__(
        self,
        connection: Source,
        sock: socket.socket,
        receiver: Receiver,
        heartbeat: Heartbeat,
        ping: str,
        tick_s: float,
    ) -> None:
        self.sock = sock
        self.error: BaseException | None = None
        self._connection, self._receiver = connection, receiver
        self._heartbeat, self._ping, self._tick_s = heartbeat, ping, tick_s
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
            self._connection.beat(self._heartbeat.beat(now_s, self._connection.last_frame_s), self._ping)
