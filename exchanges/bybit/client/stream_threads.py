"""The client's stream threads, run by the supervisor of streams/.

A library has no app/ that could pass the dialer and the sessions of streams/ in.
One thread, `bybit-client-streams`, starts, restarts and stops the streams in the list.
"""

import functools
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from streams import ConnectBudget, Dialer, Supervisor
from streams.plan import LiveSymbols

__all__ = ["LiveSymbols", "StreamThreads", "dialer"]

log = structlog.get_logger()

TICK_S = 0.1  # the supervisor wants a tick each half second; a new subscription should not wait so long
STOP_S = 5.0
RECONNECT_DELAY_S = 0.5  # the first pause; it grows, jittered, see model/pacing.py


def dialer(proxies: Mapping[str, str]) -> Dialer:
    """The dialer of the process for these proxies; all share one budget, for Bybit counts connects per address."""
    return _dialer(tuple(sorted(proxies.items())))


@functools.cache
def _dialer(proxies: tuple[tuple[str, str], ...]) -> Dialer:
    return Dialer(_budget(), proxies=dict(proxies))


@functools.cache
def _budget() -> ConnectBudget:
    return ConnectBudget()


class StreamThreads:
    """A list of running streams. `start`, `stop`, `add` and `remove` are for any thread."""

    def __init__(self, reconnect_delay_s: float = RECONNECT_DELAY_S) -> None:
        self._delay_s = reconnect_delay_s
        self._entries: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._supervisor: Supervisor | None = None
        self.on_tick: Callable[[float], object] | None = None  # called with monotonic seconds, ten times a second

    def start(self) -> None:
        """Start the streams; without effect where they run."""
        with self._lock:
            if self._thread is None:
                self._stop = threading.Event()
                self._thread = threading.Thread(
                    target=self._run, args=(self._stop,), name="bybit-client-streams", daemon=True
                )
                self._thread.start()

    def stop(self) -> None:
        """Stop all streams and wait for them; `start` brings them back. Not from a stream's own callback."""
        with self._lock:
            thread, self._thread = self._thread, None
            self._stop.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join(STOP_S + 1)

    def add(self, name: str, func: Callable[..., object], *args: Any) -> None:
        """Add a stream; it starts at once where the supervisor runs."""
        self._entries.append({"name": name, "func": func, "args": args})

    def remove(self, name: str) -> None:
        """Stop a stream."""
        self._entries[:] = [entry for entry in self._entries if entry["name"] != name]

    def states(self) -> dict[str, str]:
        """Each stream's state by its name: "live" where its subscription works."""
        supervisor = self._supervisor
        return {status.name: status.state for status in supervisor.status()} if supervisor else {}

    def _run(self, stop: threading.Event) -> None:
        supervisor = self._supervisor = Supervisor(self._entries, reconnect_delay_s=self._delay_s)
        try:
            while not stop.is_set():
                supervisor.tick()
                if self.on_tick is not None:
                    self.on_tick(time.monotonic())
                stop.wait(TICK_S)
        except Exception:
            log.exception("client_streams_failed")
        finally:
            left = supervisor.stop(STOP_S)
            if left:
                log.error("client_streams_left_behind", streams=left)
