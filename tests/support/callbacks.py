"""Callbacks of streams that keep what they get."""

from collections.abc import Sequence

from model.records import FeedMarker


class Recorded:
    """A PayloadSink that keeps payloads and feed markers in their order, in `seen`."""

    never_blocks = False

    def __init__(self) -> None:
        self.seen: list[bytes | FeedMarker] = []
        self.is_failing = False  # markers raise

    def __call__(self, payload: bytes) -> None:
        self.seen.append(payload)

    def put_all(self, payloads: Sequence[bytes]) -> None:
        for payload in payloads:
            self(payload)

    def mark(self, marker: FeedMarker) -> None:
        if self.is_failing:
            raise ZeroDivisionError
        self.seen.append(marker)

    @property
    def payloads(self) -> list[bytes]:
        return [item for item in self.seen if isinstance(item, bytes)]

    @property
    def marks(self) -> list[tuple[str, tuple[str, ...]]]:
        return [(item.kind, item.symbols) for item in self.seen if isinstance(item, FeedMarker)]
