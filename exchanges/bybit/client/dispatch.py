"""From a payload to the caller's function: decoded, tickers merged, coroutine functions sent to their event loop.

Runs on the stream's thread. Every function gets a dict of its own, never changed afterwards.
"""

import asyncio
import inspect
import json
import threading
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from exchanges.bybit.client.errors import RequestError
from model.pacing import ThrottledLogger

log = structlog.get_logger()

PENDING_MOST = 10_000  # messages that wait for a coroutine function, some 10 MB

Message = dict[str, Any]
Callback = Callable[[Message], object]
"""Takes a message as Bybit sent it, decoded; may be a coroutine function."""


def on_running_loop(callback: Callable[..., object]) -> Callable[..., object]:
    """`callback` itself, or what runs it on the event loop that runs now where it is a coroutine function.

    Raises RequestError for what cannot be called, which would fail on the stream's thread only.
    """
    if not callable(callback):
        raise RequestError(f"the callback is {callback!r:.60}: a function is needed")
    if not inspect.iscoroutinefunction(callback) and not inspect.iscoroutinefunction(type(callback).__call__):
        return callback
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        raise RequestError("the callback is a coroutine function, and no event loop runs here") from None
    return OnLoop(callback, loop)


class OnLoop:
    """Runs a coroutine function on an event loop for every message that a stream's thread brings.

    What it raises is logged once a minute; so are messages dropped where PENDING_MOST wait for it already.
    """

    def __init__(
        self, function: Callable[..., Any], loop: asyncio.AbstractEventLoop, pending_most: int = PENDING_MOST
    ) -> None:
        self._function, self._loop, self._pending_most = function, loop, pending_most
        self._tasks: set[asyncio.Task[Any]] = set()
        self._waiting = self._started = 0
        self._logger = ThrottledLogger(log)

    def __call__(self, message: Any) -> None:
        """Pass a message to the event loop. The stream's thread; never blocks."""
        if self._waiting - self._started + len(self._tasks) >= self._pending_most:
            self._logger.error("client_callback_too_slow", waiting=self._pending_most)
            return
        self._waiting += 1
        try:
            self._loop.call_soon_threadsafe(self._start, message)
        except RuntimeError:  # the loop is closed
            self._logger.error("client_callback_without_loop")

    def _start(self, message: Any) -> None:
        self._started += 1
        task = self._loop.create_task(self._function(message))
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._logger.error("client_callback_failed", exc_info=error)


class Dispatch:
    """Functions by topic. `deliver` belongs to the stream's thread, the rest to any."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._callbacks: dict[str, tuple[Callback, ...]] = {}

    def add(self, topic: str, callback: Callback) -> None:
        """Add a function for a topic."""
        with self._lock:
            self._callbacks[topic] = (*self._callbacks.get(topic, ()), callback)

    def remove(self, topic: str, callback: Callback) -> bool:
        """Remove a function; True where it was the topic's last."""
        with self._lock:
            left = tuple(other for other in self._callbacks.get(topic, ()) if other is not callback)
            self._callbacks[topic] = left
            if not left:
                del self._callbacks[topic]
            return not left

    def deliver(self, payload: bytes) -> None:
        """Decode one payload and hand it to its topic's functions; one that fails costs the others nothing.

        The first failure is raised when all have had the message.
        """
        message: Message = json.loads(payload)
        failures = []
        for callback in self._callbacks.get(message.get("topic", ""), ()):
            try:
                callback(dict(message))
            except Exception as error:  # noqa: BLE001 - a user's, raised below
                failures.append(error)
        if failures:
            raise failures[0]


class MergedTickers:
    """Around a function of tickers: linear and inverse send what changed only, the function gets all of it.

    Null is no change. `type` stays as the exchange sent it. Deltas before the first snapshot are dropped.
    """

    def __init__(self, callback: Callback) -> None:
        self._callback = callback
        self._last: Mapping[str, Any] | None = None

    def __call__(self, message: Message) -> None:
        """Take a snapshot or a delta."""
        if message.get("type") == "delta":
            if self._last is None:
                return
            changed = {name: value for name, value in message["data"].items() if value is not None}
            self._last = {**self._last, **changed}
        else:
            self._last = message["data"]
        self._callback({**message, "data": dict(self._last)})


class Subscription:
    """What a subscribe call returns; `cancel()` ends it. Usable as a context manager."""

    def __init__(self, cancel: Callable[[], None]) -> None:
        self._cancel = cancel

    def cancel(self) -> None:
        """No more calls after the one that may be under way."""
        self._cancel()

    def __enter__(self) -> "Subscription":
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Cancel."""
        self.cancel()
