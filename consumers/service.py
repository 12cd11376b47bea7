"""The service of all outputs: consumers, recorder, the embedded server, and the sending of status events.

No thread of its own. The main thread calls `open`, `start` and `stop`; the functions that `takers` returns, `emit` and
the senders are for any thread, and never block.
"""

import dataclasses
import functools
import json
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from consumers.files.recorder import RawRecorder, RecorderOptions
from consumers.health import SinkOutage
from consumers.manager import ConsumerManager, ConsumerOptions
from consumers.redis.channels import raw_channel, status_channel
from consumers.redis.embedded import EmbeddedSupervisor, start_embedded
from consumers.redis.options import EmbeddedOptions
from consumers.web.server import WebServer
from model.clock import now_ms
from model.envelope import Envelope
from model.events import EventSink, StatusEvent
from model.ports import KlineSink
from model.records import Kline, Record

KLINES_PER_ENVELOPE = 100  # a message of 30 kB; a boundary of the whole market is many, none of them huge
NO_EMBEDDED = "start a Redis or Valkey server at the address of REDIS_URL, REDIS_HOST and REDIS_PORT"
REQUIRED = frozenset({"websocket", "file", "parquet"})  # no port or folder now is a mistake; Redis may come back

Take = Callable[[Sequence[bytes]], object]
OpenKlineTakers = tuple[
    Callable[[str], Collection[str] | None], Callable[[str, Sequence[Kline]], None], Callable[[], bool]
]
StartEmbedded = Callable[[EmbeddedOptions], tuple[EmbeddedSupervisor | None, bool]]

log = structlog.get_logger()


@dataclass(frozen=True)
class OutputOptions:
    """The options of all outputs: which data goes to which.

    `enabled` are the outputs by name, `markets` those that the settings name, the main one first. `raw_kinds` are
    published, `stream_kinds` kept in Redis Streams too. `envelope_types` go to every output, klines apart, and so do
    status events where `sends_status`. `recorder` and `embedded` are None where there is none.
    """

    exchange: str
    markets: tuple[str, ...]
    enabled: tuple[str, ...] = ("redis",)
    raw_kinds: tuple[str, ...] = ()
    stream_kinds: tuple[str, ...] = ()
    envelope_types: tuple[str, ...] = ()
    sends_status: bool = False
    consumers: ConsumerOptions = field(default_factory=ConsumerOptions)
    recorder: RecorderOptions | None = None
    embedded: EmbeddedOptions | None = None


class OutputService:
    """All outputs: a KlineSink, and an EventSink. Opens nothing before `open` and `start`."""

    def __init__(
        self,
        options: OutputOptions,
        start_embedded: StartEmbedded = start_embedded,
        events: EventSink | None = None,
    ) -> None:
        """`events` takes what happens to the outputs, None: this. ConsumerSettingsError has every mistake at once."""
        self._options, self._start_embedded = options, start_embedded
        websocket = options.consumers.websocket
        self.raw_bridge = websocket.bridge if websocket.dialect else None
        self.manager = ConsumerManager(options.enabled, options.consumers, events or self)
        self.recorder = RawRecorder(options.recorder, events or self) if options.recorder else None
        self._embedded: EmbeddedSupervisor | None = None
        self._kline_sinks: tuple[KlineSink, ...] = (websocket.klines,) if websocket.klines else ()
        self._status_channel = status_channel(options.exchange).encode()

    # -- main's thread ---------------------------------------------------------------------------------

    def open(self) -> bool:
        """Start the embedded server where it is needed; False, and a log line, where it cannot be started."""
        if self._options.embedded is None:
            return True
        try:
            self._embedded, is_new = self._start_embedded(self._options.embedded)
        except RuntimeError as error:
            log.critical("embedded_server_failed", error=str(error), remedy=NO_EMBEDDED)
            return False
        if is_new and self.manager.redis:
            self.manager.redis.expect_subscribers()
        return True

    @property
    def web(self) -> WebServer | None:
        """The web server: its `port` and `url` once it listens."""
        return self.manager.web

    def start_web(self) -> None:
        """Start the web server before the other outputs, where it sends no envelopes."""
        self.manager.start_web()

    def open_kline_takers(self, hurry: Callable[[], object]) -> OpenKlineTakers | None:
        """Return the symbols whose open klines are wanted now, what takes them, and whether somebody waits for them.

        None where nothing ever takes them. `hurry` is called where somebody begins to wait.
        """
        web = self._options.consumers.websocket
        bridge, feeds = self.raw_bridge, [each for each in (web.klines, web.awaited) if each]
        takers = [each for each in (bridge, *feeds) if each]
        if not takers:
            return None

        def offer(market: str, klines: Sequence[Kline]) -> None:
            for taker in takers:
                taker.offer_open(market, klines)

        def wanted(market: str) -> Collection[str] | None:
            if bridge and bridge.has_subscribers:
                return None
            return frozenset().union(*(feed.viewed.get(market, ()) for feed in feeds))

        awaited = web.awaited
        if awaited is not None:
            awaited.hurry = hurry
        return wanted, offer, lambda: awaited is not None and awaited.is_asked

    def outages(self) -> list[SinkOutage]:
        """Return the outputs that do not work now; any thread."""
        recorder = self.recorder.health.outage if self.recorder else None
        return [*self.manager.outages(), *([recorder] if recorder else [])]

    def tick(self) -> bool:
        """Keep the embedded server running; False, and a log line, where that cannot be."""
        return self._embedded is None or self._embedded.tick()

    def start(self, stop: threading.Event | None = None) -> bool:
        """Start every output; False where one that must be there from the start is not. Each is logged.

        `stop` ends the wait for their set-up: what is not there then is no mistake.
        """
        unreachable = self.manager.start(stop=stop)
        if stop and stop.is_set():
            return True
        if unreachable:
            problems = "; ".join(f"the output {name} does not start: {text}" for name, text in unreachable.items())
            log.critical("outputs_unreachable", sentence=f"{problems[:1].upper()}{problems[1:]}.", outputs=unreachable)
        if REQUIRED & unreachable.keys():
            return False
        if self.recorder:
            self.recorder.start()
        return True

    def threads(self) -> list[threading.Thread]:
        """Return the threads that must live."""
        return [*self.manager.threads(), *(self.recorder.threads() if self.recorder else [])]

    def stop(self, recorder_by_s: float, deadline_s: float) -> list[str]:
        """Flush and end everything by two deadlines (monotonic); returns the names of what did not end."""
        alive = ["recorder"] if self.recorder and not self.recorder.stop(recorder_by_s) else []
        alive += self.manager.stop(deadline_s)
        if self._embedded:
            self._embedded.stop()
        return alive

    def stats(self) -> dict[str, Any]:
        """Return figures since the start, as fields of a log line; any thread."""
        return {
            "consumers": {name: dataclasses.asdict(stats) for name, stats in self.manager.stats().items()},
            "recorder": self.recorder.stats() if self.recorder else None,
        }

    # -- any thread ------------------------------------------------------------------------------------

    def takers(self, market: str, kind: str, *, is_raw: bool) -> list[Take | None]:
        """Return the functions that take the raw payloads of a market and kind, in order.

        `is_raw`: they go to their channel, also those of a kind that RAW_STREAMS does not name.
        """
        options, redis, streams = self._options, self.manager.redis, self.manager.history
        beside = None if market == options.markets[0] else market
        channel = raw_channel(options.exchange, kind, beside).encode()
        has_path = market in options.markets and kind in options.raw_kinds
        return [
            functools.partial(redis.publish_all, channel) if redis and is_raw else None,
            functools.partial(streams.add_raw, channel) if streams and kind in options.stream_kinds else None,
            self.raw_bridge.sink(market, kind) if self.raw_bridge and has_path else None,
            self.recorder.sink(market, kind) if self.recorder else None,
        ]

    def emit(self, event: StatusEvent) -> None:
        """Publish a status event on the status channel, as an envelope where `sends_status`, and in the journal."""
        record = {"event": event.event, "ts": now_ms(), **event.as_fields()}
        if self.manager.redis:
            message = {"exchange": self._options.exchange, **record}
            payload = json.dumps(message, separators=(",", ":"), default=str).encode()
            self.manager.redis.publish_raw(self._status_channel, payload)
        send = self.manager.publish if self._options.sends_status else self.manager.record
        send(self._envelope(record.get("market", self._options.markets[0]), "status", (record,)))

    def record_audit(self, market: str, record: Record) -> None:
        """Write a result of the audit to the journal."""
        self.manager.record(self._envelope(market, "audit", ({"event": record["event"], "ts": now_ms(), **record},)))

    def put(self, market: str, klines: Sequence[Kline]) -> None:
        """Send closed klines to every output, in envelopes of bounded size."""
        for first in range(0, len(klines), KLINES_PER_ENVELOPE):
            self.manager.publish(self._envelope(market, "klines", klines[first : first + KLINES_PER_ENVELOPE]))
        for sink in self._kline_sinks:
            sink.put(market, klines)

    def send_records(self, market: str, data_type: str, records: Sequence[Record]) -> None:
        """Send records to every output, or to the storage alone where their type is only stored."""
        if data_type in self._options.envelope_types:
            self.manager.publish(self._envelope(market, data_type, records))
        else:
            self.store(market, data_type, records)

    def store(self, market: str, data_type: str, records: Sequence[Record]) -> None:
        """Send records to the storage alone, where there are any."""
        if records:
            self.manager.store(self._envelope(market, data_type, records))

    def _envelope(self, market: str, data_type: str, data: Sequence[Kline | Record]) -> Envelope:
        return Envelope(self._options.exchange, market, data_type, tuple(data))
