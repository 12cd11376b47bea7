"""The pipelines of a collector: where the payloads of one market and kind go.

Called on stream threads with what one read of a socket brought: nothing here blocks, parses or copies.
"""

import threading
from collections.abc import Callable, Sequence

from model.ports import KlineSink, PutAll
from model.records import FeedMarker, Kline

TakeMarker = Callable[[FeedMarker], object]


class Pipeline:
    """The PayloadSink of one market and kind: hands payloads and feed markers to every taker, in order. Immutable.

    A taker that raises keeps the payloads from those after it, so that none may.
    """

    never_blocks = True  # so that its connections may be read on one thread

    def __init__(
        self, market: str, kind: str, takers: Sequence[PutAll] = (), marker_takers: Sequence[TakeMarker] = ()
    ) -> None:
        """`takers`: raw queue, history, recorder, records, trade queue; empty: the payloads are dropped as wanted."""
        self.market, self.kind = market, kind
        self._takers, self._marker_takers = tuple(takers), tuple(marker_takers)
        if len(takers) == 1:  # which is then called without a step between, for every read of a socket
            self.put_all = takers[0]  # type: ignore[method-assign, assignment]

    def __call__(self, payload: bytes) -> None:
        """Hand on one payload, exact bytes."""
        self.put_all((payload,))

    def put_all(self, payloads: Sequence[bytes]) -> None:
        """Hand on payloads in their order, exact bytes."""
        for put_all in self._takers:
            put_all(payloads)

    def mark(self, marker: FeedMarker) -> None:
        """Hand on that the feed came up or went down, at its place between two payloads."""
        for take in self._marker_takers:
            take(marker)

    def __repr__(self) -> str:
        return f"<pipeline of {self.market} {self.kind}>"


class KlineFanout:
    """The KlineSink that hands each batch of klines to several, in order."""

    def __init__(self, *sinks: KlineSink) -> None:
        self._sinks = sinks

    def put(self, market: str, klines: Sequence[Kline]) -> None:
        """Hand them to each."""
        for sink in self._sinks:
            sink.put(market, klines)


class Pipelines:
    """The pipelines of one collector, each built once, when it is first needed. Any thread."""

    def __init__(self, build: Callable[[str, str, bool], Pipeline], main_market: str) -> None:
        """`build(market, kind, is_planned)` joins the takers of one."""
        self._build, self._main_market = build, main_market
        self._built: dict[tuple[str, str, bool], Pipeline] = {}
        self._lock = threading.Lock()

    def of(self, market: str | None, kind: str, *, is_planned: bool = False) -> Pipeline:
        """Return the pipeline of a market (None: the main one) and kind.

        `is_planned`: for the streams of the settings, not the user's: it goes out raw only where RAW_STREAMS has it.
        """
        key = market or self._main_market, kind, is_planned
        pipeline = self._built.get(key)
        if pipeline is None:
            with self._lock:
                pipeline = self._built.get(key)
                if pipeline is None:
                    pipeline = self._built[key] = self._build(*key)
        return pipeline


def one_by_one(take: Callable[[bytes], object]) -> PutAll:
    """Return a taker of many payloads that hands each to `take`."""

    def put_all(payloads: Sequence[bytes]) -> None:
        for payload in payloads:
            take(payload)

    return put_all
