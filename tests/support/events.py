"""An EventSink that keeps what it gets."""

import json
from typing import Any

from model.events import StatusEvent


class RecordedEvents:
    """`events` in their order; `names` and `fields` as the status channel has them. Any thread."""

    def __init__(self) -> None:
        self.events: list[StatusEvent] = []

    def emit(self, event: StatusEvent) -> None:
        """Keep one event."""
        self.events.append(event)

    @property
    def names(self) -> list[str]:
        """The names of the events."""
        return [event.event for event in self.events]

    @property
    def fields(self) -> list[dict[str, Any]]:
        """The fields of the events."""
        return [event.as_fields() for event in self.events]

    @property
    def emitted(self) -> list[tuple[str, dict[str, Any]]]:
        """Name and fields of each event, as a client of the status channel reads them."""
        return [(event.event, json.loads(json.dumps(event.as_fields()))) for event in self.events]

    def of(self, name: str) -> list[dict[str, Any]]:
        """The fields of the events of one name."""
        return [fields for event, fields in self.emitted if event == name]
