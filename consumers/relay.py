"""The subscriber of `main.py relay`: envelopes of several collectors, for outputs in a process of their own.

Thread `relay`. Pub/Sub keeps nothing: what is published while the relay is away is lost to it; Redis Streams keep it.
"""

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import redis
import structlog
from redis.exceptions import RedisError

from consumers.redis.channels import klines_channel
from consumers.redis.connection import BoundedParser, checked_handshake, remedy_of
from consumers.redis.options import BACKOFF_CAP_S, BACKOFF_FIRST_S
from model.clock import ThreadOwner, join_by
from model.envelope import Envelope, read_envelope, read_klines
from model.pacing import Backoff, OutageLog, ThrottledLogger

log = structlog.get_logger()

LOOK_S = 0.5  # how often a silent connection checks for a stop
TIMEOUT_S = 5.0  # of connecting, and of a health check
HEALTH_S = 15  # a silent connection is pinged after this
SAMPLE_CHARACTERS = 100  # characters of a refused message in the log


class Relay(ThreadOwner):
    """Hands every envelope of the collectors of `exchanges` to `publish`.

    Klines come from the channel of their exchange, the rest from `main_keys`. Each keeps the exchange it came with.
    """

    def __init__(
        self, url: str, exchanges: Iterable[str], main_keys: Iterable[str], publish: Callable[[Envelope], object]
    ) -> None:
        self._url, self._publish = url, publish
        klines = list(map(klines_channel, exchanges))
        self._klines = frozenset(name.encode() for name in klines)
        self._channels = [*klines, *main_keys]
        self._stopping = threading.Event()
        self._backoff = Backoff(BACKOFF_FIRST_S, BACKOFF_CAP_S, floor=0.1)
        self._outages, self._logger = OutageLog(), ThrottledLogger(log)
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)
        self._subscriber: Any = None
        self.received = self.refused = self.connects = 0
        self.down_since_s: float | None = time.monotonic()
        """Since when it is not connected; None while it is. Any thread."""

    def stop(self, deadline_s: float) -> bool:
        """End; False where the thread still runs at `deadline_s` (monotonic)."""
        self._stopping.set()
        if join_by(self._thread, min(deadline_s, time.monotonic() + 2 * LOOK_S)):
            return True
        if (subscriber := self._subscriber) and subscriber.connection:  # in the middle of a message that does not end
            subscriber.connection.disconnect()
        return join_by(self._thread, deadline_s)

    def stats(self) -> dict[str, int]:
        """Counts since the start; any thread."""
        return {"received": self.received, "refused": self.refused, "connects": self.connects}

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._subscribe()
            except (OSError, RedisError) as error:
                if self._stopping.is_set():
                    break
                if (held := self._outages.down(time.monotonic())) is not None:
                    self._log_down(error, held)
            except Exception:  # the thread's outermost loop: the next connection may be sound
                self._logger.exception("relay_failed")
            self.down_since_s = self.down_since_s or time.monotonic()
            self._backoff.attempts += 1
            self._stopping.wait(self._backoff.delay_s())

    def _log_down(self, error: Exception, held_back: int) -> None:
        remedy = remedy_of(error)
        sentence = f"The Redis that is relayed cannot be read: {str(error).rstrip('.')}. What to do: {remedy}."
        fields = {"error": str(error), "error_type": type(error).__name__, "remedy": remedy}
        log.warning("relay_down", sentence=sentence, **fields, held_back=held_back)

    def _subscribe(self) -> None:
        client = redis.Redis.from_url(
            self._url,
            socket_connect_timeout=TIMEOUT_S,
            health_check_interval=HEALTH_S,
            parser_class=BoundedParser,
            redis_connect_func=checked_handshake,
        )
        with client, client.pubsub(ignore_subscribe_messages=True) as subscriber:  # type: ignore[no-untyped-call]
            self._subscriber = subscriber
            subscriber.subscribe(*self._channels)
            self.connects += 1
            self.down_since_s = None
            if self._outages.up() or self.connects == 1:
                sentence = f"Relaying {', '.join(self._channels)} of the Redis."
                log.info("relay_up", sentence=sentence, channels=self._channels)
            while not self._stopping.is_set():
                message = subscriber.get_message(timeout=LOOK_S)
                if message is not None:
                    self._backoff.attempts = 0
                    self._take(message["channel"], message["data"])

    def _take(self, channel: bytes, payload: bytes) -> None:
        try:
            envelope = self._read(channel, payload)
        except (ValueError, KeyError, TypeError) as error:  # msgspec's errors are ValueErrors
            self.refused += 1
            sample = payload[:SAMPLE_CHARACTERS].decode(errors="replace")
            self._logger.warning("relay_refused", error=str(error), sample=sample)
            return
        if envelope is not None:
            self.received += 1
            self._publish(envelope)

    def _read(self, channel: bytes, payload: bytes) -> Envelope | None:
        if channel in self._klines:
            return read_klines(payload)
        envelope = read_envelope(payload)
        return None if envelope.data_type == "klines" else envelope  # klines come on their own channel
