"""Everything that goes out, as one: outputs, recorder, what the paths that speak Bybit are given, the embedded server.

Has no thread of its own. Main calls `open`, `start` and `stop`; what `takers` gives, `say` and the senders are for any
thread and never block. Reads a conf.settings.Settings, which this room does not import.
"""

import dataclasses
import functools
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog

from app.options import Symbols, consumer_options, embedded_options, recorder_options
from consumers.files.recorder import RawRecorder
from consumers.manager import ConsumerManager
from consumers.redis.channels import raw_channel, status_channel
from consumers.redis.embedded_supervisor import EmbeddedSupervisor, start_embedded
from consumers.web.bridge import RawFeedBridge
from model.envelope import Envelope
from model.events import NO_EVENTS, EventSink
from model.pairs import PairOf, unlisted
from model.records import Kline

KLINES_PER_ENVELOPE = 100  # a message of 30 kB; a boundary of the whole market is many, none of them huge
NO_EMBEDDED = "start a Redis or Valkey server at the address of REDIS_URL, REDIS_HOST and REDIS_PORT"
REQUIRED = frozenset({"websocket", "file", "parquet"})  # no port or folder now is a mistake; Redis may come back

Take = Callable[[Sequence[bytes]], object]

log = structlog.get_logger()


class OutputService:
    """Raises ConsumerSettingsError with every mistake at once; opens nothing before `open` and `start`."""

    def __init__(
        self,
        settings: Any,
        *,
        owns: Callable[[str], bool] | None = None,
        symbols: Symbols = lambda _market: (),
        status: Callable[[], Mapping[str, Any]] = dict,
        pair_of: PairOf = unlisted,
        descriptors: Callable[[], int] = lambda: sys.maxsize,
        events: EventSink = NO_EVENTS,
    ) -> None:
        """`events` gets SinkDown and SinkUp of every output; the others are those of `consumer_options`."""
        self._settings = settings
        has_dialect = settings.websocket_bybit_paths != "off" and "websocket" in settings.outputs
        self.raw_bridge = RawFeedBridge() if has_dialect else None
        options = consumer_options(settings, owns, self.raw_bridge, symbols, status, pair_of, descriptors)
        self.manager = ConsumerManager(settings.outputs, options, events)
        self.recorder = RawRecorder(recorder_options(settings), events) if settings.raw_record else None
        self._embedded: EmbeddedSupervisor | None = None
        self._status_channel = status_channel(settings.exchange).encode()

    # -- main's thread ---------------------------------------------------------------------------------

    def open(self) -> bool:
        """Start the embedded server where it is needed; False, and a log line, where it cannot be."""
        if not self._settings.uses_redis:
            return True
        try:
            self._embedded, is_new = start_embedded(embedded_options(self._settings))
        except RuntimeError as error:
            log.critical("embedded_server_failed", error=str(error), remedy=NO_EMBEDDED)
            return False
        if is_new and self.manager.redis:
            self.manager.redis.expect_subscribers()
        return True

    def tick(self) -> bool:
        """Look after the embedded server; False, and a log line, where it cannot be kept running."""
        return self._embedded is None or self._embedded.tick()

    def start(self, stop: threading.Event | None = None) -> bool:
        """Start every output; False where one that must be there from the start is not. Each is logged.

        `stop` ends the wait for their set-up: what is not there then is no mistake.
        """
        unreachable = self.manager.start(stop=stop)
        if stop and stop.is_set():
            return True
        if unreachable:
            log.critical("outputs_unreachable", outputs=unreachable)
        if REQUIRED & unreachable.keys():
            return False
        if self.recorder:
            self.recorder.start()
        return True

    def threads(self) -> list[threading.Thread]:
        """The threads that must live."""
        return [*self.manager.threads(), *(self.recorder.threads() if self.recorder else [])]

    def stop(self, recorder_by_s: float, deadline_s: float) -> list[str]:
        """Flush and end everything by two deadlines (monotonic); the names of what did not end."""
        alive = ["recorder"] if self.recorder and not self.recorder.stop(recorder_by_s) else []
        alive += self.manager.stop(deadline_s)
        if self._embedded:
            self._embedded.stop()
        return alive

    def stats(self) -> dict[str, Any]:
        """Figures since the start, as fields of a log line; any thread."""
        return {
            "consumers": {name: dataclasses.asdict(stats) for name, stats in self.manager.stats().items()},
            "recorder": self.recorder.stats() if self.recorder else None,
        }

    # -- any thread ------------------------------------------------------------------------------------

    def takers(self, market: str, kind: str, *, is_raw: bool) -> list[Take | None]:
        """What takes the raw payloads of a market and kind, in order.

        `is_raw`: they go to their channel, also those of a kind that RAW_STREAMS does not name.
        """
        settings, redis, history = self._settings, self.manager.redis, self.manager.history
        beside = None if market == settings.channel_type else market
        channel = raw_channel(settings.exchange, kind, beside).encode()
        has_path = market in settings.markets and kind in settings.raw_streams
        return [
            functools.partial(redis.publish_all, channel) if redis and is_raw else None,
            functools.partial(history.add_raw, channel) if history and kind in settings.history_kinds else None,
            self.raw_bridge.sink(market, kind) if self.raw_bridge and has_path else None,
            self.recorder.sink(market, kind) if self.recorder else None,
        ]

    def say(self, payload: bytes) -> None:
        """Publish a change of state; without redis it goes nowhere."""
        if self.manager.redis:
            self.manager.redis.publish_raw(self._status_channel, payload)

    def put(self, market: str, klines: Sequence[Kline]) -> None:
        """Give closed klines to every output, in envelopes of bounded size."""
        for first in range(0, len(klines), KLINES_PER_ENVELOPE):
            self.manager.publish(self._envelope(market, "klines", klines[first : first + KLINES_PER_ENVELOPE]))

    def send_records(self, market: str, data_type: str, records: Sequence[Any]) -> None:
        """Give records to every output, or to the storage alone where the settings send none of their type."""
        if data_type in self._settings.envelope_types:
            self.manager.publish(self._envelope(market, data_type, records))
        elif records:
            self.manager.store(self._envelope(market, data_type, records))

    def _envelope(self, market: str, data_type: str, data: Sequence[Any]) -> Envelope:
        return Envelope(self._settings.exchange, market, data_type, tuple(data))
