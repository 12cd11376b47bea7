"""The outputs but those in Redis, in a process of their own, fed from what collectors publish there."""

import threading
import time
from itertools import starmap

import structlog

from app.collector import AGGREGATOR_SHARE, STREAMS_SHARE, lost_thread
from app.descriptors import Descriptors
from app.exits import Exit
from app.figures import Figures
from app.first_light import output_text
from app.health import RelayHealth, health_routes
from app.metrics_route import metrics_routes
from app.options import WebParts, output_options
from app.process import exit_of_stop
from conf.settings import Settings
from consumers.relay import Relay
from consumers.service import OutputService
from model.events import EventFanout

log = structlog.get_logger()


class OutputRelay:
    """The outputs but those in Redis, given what collectors publish there. Raises ValueError like Collector."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings = settings.relayed()
        self._descriptors = Descriptors()
        self.health, self.figures = RelayHealth(self), Figures()
        events = EventFanout(self.figures.events)
        several = len(settings.relayed_exchanges) > 1
        options = output_options(
            settings,
            descriptors=lambda: self._descriptors.for_clients,
            names_exchange=several,
            web=WebParts(routes={**health_routes(self.health), **metrics_routes(self)}),
        )
        self.outputs = OutputService(options, events=events)
        events.add(self.outputs)
        publish = self.outputs.manager.publish
        self.source = Relay(settings.redis_url, settings.relayed_exchanges, settings.relayed_main_keys, publish)

    def start(self, stop: threading.Event) -> Exit | None:
        """Start outputs first; an exit code where one that is required cannot be reached."""
        self.outputs.start_web()
        self._descriptors.plan(0, self.settings.websocket_clients)
        if not self.outputs.start(stop):
            return Exit.OUTPUT_UNREACHABLE
        self.source.start()
        self.health.tick()
        return None

    def tick(self) -> Exit | None:
        """Look after the threads; the source connects again by itself."""
        self.health.tick()
        return lost_thread(self.threads())

    def threads(self) -> list[threading.Thread]:
        """Return the threads that must live."""
        return [*self.source.threads(), *self.outputs.threads()]

    def log_status(self) -> None:
        """Log one line with the figures of all parts."""
        relay, consumers = self.source.stats(), self.outputs.stats()["consumers"]
        parts = [f"{relay['received']:,} envelopes received", *starmap(output_text, consumers.items())]
        log.info("status", sentence=f"{'; '.join(parts)}.", relay=relay, consumers=consumers)

    def stop(self) -> Exit:
        """Stop the source first, then the outputs, which write what they hold; one deadline for both."""
        begin_s, limit_s = time.monotonic(), self.settings.stop_timeout
        alive = [] if self.source.stop(begin_s + limit_s * STREAMS_SHARE) else ["relay"]
        alive += self.outputs.stop(begin_s + limit_s * AGGREGATOR_SHARE, begin_s + limit_s)
        return exit_of_stop(alive, limit_s)
