"""From a payload to the caller's function: decoded, tickers merged, coroutine functions sent to their event loop.

Runs on the stream's thread. Every function gets a dict of its own, which nobody changes afterwards.
"""

import asyncio
import inspect
import json
import threading
from collections.abc import Callable, Mapping
from typing import Any

from exchanges.bybit.client.errors import RequestError

Message = dict[str, Any]
Callback = Callable[[Message], object]
"""Takes a message as Bybit sent it, decoded; may be a coroutine function."""


def on_its_loop(callback: Callable[..., object]) -> Callable[..., object]:
    """`callback` itself, or what runs it on the event loop that runs now where it is a coroutine function.

    Raises RequestError for what cannot be called: it would be found out on the stream's thread only.
    """
    if not callable(callback):
        raise RequestError(f"the callback is {callback!r:.60}: a function is needed")
    if not inspect.iscoroutinefunction(callback):
        return callback
    loop = asyncio.get_running_loop()

    def hand_over(message: Any) -> None:
        asyncio.run_coroutine_threadsafe(callback(message), loop)

    return hand_over


class Dispatch:
    """Functions by topic. `deliver` belongs to the stream's thread, the rest to any."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._callbacks: dict[str, tuple[Callback, ...]] = {}

    def add(self, topic: str, callback: Callback) -> None:
        """One more function for a topic."""
        with self._lock:
            self._callbacks[topic] = (*self._callbacks.get(topic, ()), callback)

    def remove(self, topic: str, callback: Callback) -> bool:
        """Forget a function; True where it was the topic's last."""
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

    `type` stays what the exchange said. What comes before the first snapshot is kept back.
    """

    def __init__(self, callback: Callback) -> None:
        self._callback = callback
        self._last: Mapping[str, Any] | None = None

    def __call__(self, message: Message) -> None:
        """Take a snapshot or a delta."""
        if message.get("type") == "delta":
            if self._last is None:
                return
            self._last = {**self._last, **message["data"]}
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
