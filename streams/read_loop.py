"""One connection being read: on its own thread, or by the reader for a thread that waits.

What ends it is raised on the stream's own thread in either case.
"""

import socket
import time
from typing import TYPE_CHECKING

from model.context import set_current
from streams.heartbeat import Heartbeat

if TYPE_CHECKING:
    from model.ports import Receiver
    from streams.connection import Connection


class ReadLoop:
    """One connection being read, on its own thread (`run`) or on the reader's (`read` and `keep`).

    `error` is why it is over; None where the stream was stopped.
    """

    def __init__(
        self,
        connection: "Connection",
        sock: socket.socket,
        receiver: "Receiver",
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
        """Read until the stream is stopped; raises ConnectionError, or what else the socket does."""
        self.sock.settimeout(self._tick_s)  # set once: changing it is a system call of its own
        while not self._connection.stopped:
            self._connection.read(self.sock, self._receiver)
            self._keep(time.monotonic())

    def read(self) -> bool:
        """See `Readable`. A stop shuts the socket down, which is seen here: no look at it for every read."""
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
