"""Where the payloads of one market and kind go, and which pipeline a payload takes.

Pipelines are called on stream threads with what one read brought: nothing here waits, parses or copies. Which takers
a pipeline has is the caller's affair: this module knows no output.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Any

Hand = Callable[[Sequence[bytes]], Any]
"""Takes payloads in their order: one, or many that came together."""
Mark = Callable[[Any], Any]
"""Takes an model.records.FeedMarker."""


def _nowhere(_payloads: Sequence[bytes]) -> None:
    """Take payloads of a kind that nobody wants."""


class Pipeline:
    """The takers of one market and kind, in order, and of the feed's markers between the payloads. Immutable."""

    never_blocks = True  # so that its connections may be read on one thread

    def __init__(self, market: str, kind: str, take_all: Hand | None = None, marks: Sequence[Mark] = ()) -> None:
        """`take_all` must not block; None: the payloads have nowhere to go, which is as it should be."""
        self.market, self.kind = market, kind
        self.take_all = take_all or _nowhere
        self._marks = tuple(marks)

    def __call__(self, payload: bytes) -> None:
        """Hand on one payload, exact bytes. Never blocks."""
        self.take_all((payload,))

    def mark(self, marker: Any) -> None:
        """Hand on that the feed came up or went down here, between two payloads."""
        for mark in self._marks:
            mark(marker)

    def __repr__(self) -> str:
        return f"<pipeline of {self.market} {self.kind}>"


class Pipelines:
    """The pipelines of one running collector, each built once, when it is first asked for. Any thread."""

    def __init__(
        self,
        build: Callable[[str, str, bool], Pipeline],
        main_market: str,
        *,
        market_here: Callable[[], str | None] = lambda: None,
        report: Callable[[str, str], object] = lambda _cause, _sample: None,
    ) -> None:
        """`build(market, kind, is_planned)`; `market_here()` is the market of the calling thread's stream, if any."""
        self._build, self._main_market, self._market_here = build, main_market, market_here
        self.report = report
        self._built: dict[tuple[str, str, bool], Pipeline] = {}
        self._lock = threading.Lock()

    def of(self, market: str | None, kind: str, *, is_planned: bool = False) -> Pipeline:
        """The pipeline of a market (None: the main one) and kind.

        `is_planned`: for what the settings ask for, not the user: it goes out raw only where they say so.
        """
        key = market or self._main_market, kind, is_planned
        pipeline = self._built.get(key)
        if pipeline is None:
            with self._lock:
                pipeline = self._built.get(key)
                if pipeline is None:
                    pipeline = self._built[key] = self._build(*key)
        return pipeline

    def here(self, market: str | None, kind: str) -> Pipeline:
        """The pipeline for what is handed in on this thread: of its stream's market, else of `market`."""
        return self.of(self._market_here() or market, kind)
