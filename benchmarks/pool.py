"""Frames of a simulated market, rendered once and stamped anew each time they are sent.

Pure. The simulator's own market gives the payloads (trades, book snapshots with consistent deltas, tickers,
liquidations); rendering costs ten times what a collector spends on them, so it is done before the clock runs.
"""

import itertools
import re
from collections.abc import Sequence
from typing import NamedTuple

from exchanges.bybit.simulator.frames import text_frame
from exchanges.bybit.simulator.hub import Hub, Session, Topic
from exchanges.bybit.simulator.instruments import list_instruments
from exchanges.bybit.simulator.market import Market
from exchanges.bybit.simulator.options import Options

CATEGORY = "linear"
CLOCK_MS = 1_700_000_000_123  # what the market takes for now while it is rendered: found again, and replaced
STAMP = str(CLOCK_MS).encode()
STAMP_US = b"1700000000123000"
SEED = 1
BLOCK = 500  # market events between two looks at how many frames there are

KIND_OF_TOPIC = {
    "publicTrade": "trades",
    "orderbook": "orderbook",
    "tickers": "ticker",
    "allLiquidation": "liquidations",
}
_ID = re.compile(rb'"i":"[0-9a-f-]{36}"')


class Slot(NamedTuple):
    """One frame of the pool: `ms.join(parts) + us + b"}"` is the frame as sent at that time."""

    topic: str
    parts: tuple[bytes, ...]
    size: int
    """Bytes of the payload, without the frame's header."""


def symbols_of(count: int) -> list[str]:
    """The busiest `count` symbols of the simulated market."""
    return [instrument.symbol for instrument in list_instruments(CATEGORY, count)]


def topics_of(symbols: Sequence[str]) -> list[str]:
    """The four kinds of each symbol, as the collector and the script in the seed's manner subscribe them."""
    return [
        f"{head}.{symbol}"
        for symbol in symbols
        for head in ("publicTrade", "orderbook.50", "tickers", "allLiquidation")
    ]


def kind_of(topic: str) -> str:
    """The last part of the Redis channel a topic goes to."""
    return KIND_OF_TOPIC[topic.partition(".")[0]]


def render(symbols: Sequence[str], at_least: int) -> list[Slot]:
    """Slots in the market's order; each topic's first one is a snapshot, so that the pool may be sent in a circle."""
    hub = Hub()
    market = Market(
        Options(categories=(CATEGORY,), symbols=len(symbols), illiquid=0, seed=SEED), hub, lambda: CLOCK_MS * 1000
    )
    recorded: list[tuple[str, bytes]] = []
    for name in topics_of(symbols):
        topic = market.find(CATEGORY, name)
        assert topic is not None
        _record(hub, market, topic, recorded)
    while len(recorded) < at_least:
        market.step(BLOCK)
    numbers = itertools.count()
    return [_slot(topic, frame, numbers) for topic, frame in recorded]


class _Recorder(list[bytes]):
    """Stands where a session's frames wait to be written, and keeps the order over all sessions."""

    def __init__(self, topic: str, recorded: list[tuple[str, bytes]]) -> None:
        self._topic, self._recorded = topic, recorded

    def append(self, frame: bytes) -> None:
        self._recorded.append((self._topic, frame))


def _record(hub: Hub, market: Market, topic: Topic, recorded: list[tuple[str, bytes]]) -> None:
    session = Session(CATEGORY, "pool")
    session.pending = _Recorder(topic.name, recorded)
    hub.join(session, topic)
    for payload in market.snapshots(topic):
        hub.snapshot_to(session, topic, payload)


def _slot(topic: str, frame: bytes, numbers: "itertools.count[int]") -> Slot:
    """Cut at every stamp. A trade's id becomes its number and the stamp: new on each round of the pool."""

    def new_id(_match: re.Match[bytes]) -> bytes:
        return b'"i":"%08x-50af-54f3-bcb-%b"' % (next(numbers), STAMP)

    payload = _ID.sub(new_id, frame[frame.index(b'{"') :])  # a header may hold a brace, but no quote after it
    payload = payload[:-1] + b',"us":' + STAMP_US + b"}"  # for the subscriber: when it was sent, to the microsecond
    framed = text_frame(payload)
    *head, tail = framed[: -len(STAMP_US) - 1].split(STAMP)
    return Slot(topic, (*head, tail), len(payload))
