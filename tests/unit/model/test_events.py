"""Status events: their names on the status channel, and the fan-out to several sinks."""

from model.events import EventFanout, SinkDown, StatusEvent


class Recorded:
    """An EventSink that keeps what it was handed."""

    def __init__(self) -> None:
        self.events: list[StatusEvent] = []

    def emit(self, event: StatusEvent) -> None:
        self.events.append(event)


def test_every_sink_gets_each_event_and_one_added_later_those_after_it():
    first, later = Recorded(), Recorded()
    fanout = EventFanout(first)
    one, two = (SinkDown(sink=name, reason="gone", from_ms=1) for name in ("redis", "file"))

    fanout.emit(one)
    fanout.add(later)
    fanout.emit(two)

    assert first.events == [one, two]
    assert later.events == [two]


def test_fields_are_named_as_on_the_status_channel_and_none_are_left_out():
    down = SinkDown(sink="redis", reason="gone", from_ms=1)

    assert down.as_fields() == {"sink": "redis", "reason": "gone", "from": 1}
    assert SinkDown(sink="redis", reason="gone").as_fields() == {"sink": "redis", "reason": "gone"}
