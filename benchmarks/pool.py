"""Frames of a simulated market, rendered once and stamped anew each time they are sent.

Pure. The simulator's own market gives the payloads (trades, book snapshots with consistent deltas, tickers,
liquidations); rendering costs ten times what a collector spends on them, so it is done before the clock runs.
"""

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from exchanges.simulated.bybit.dialect import DIALECT
from exchanges.simulated.bybit.instruments import list_instruments
from exchanges.simulated.frames import text_frame
from exchanges.simulated.hub import Hub, Session, Topic
from exchanges.simulated.market import Market
from exchanges.simulated.options import Options

CATEGORY = "linear"
CLOCK_MS = 1_700_000_000_123  # what the market takes for now while it is rendered: found again, and replaced
STAMP = str(CLOCK_MS).encode()
STAMP_US = b"1700000000123000"
SEED = 1
BLOCK = 500  # market events between two looks at how many frames there are

HEAD_OF_KIND = {
    "trades": "publicTrade",
    "orderbook": "orderbook.50",
    "ticker": "tickers",
    "liquidations": "allLiquidation",
}
KIND_OF_TOPIC = {head.partition(".")[0]: kind for kind, head in HEAD_OF_KIND.items()}
KINDS = tuple(HEAD_OF_KIND)
_ID = re.compile(rb'"i":"[^"]+"')  # linear's are UUIDs, spot's numbers; only trades have any


class Slot(NamedTuple):
    """One frame of the pool: `ms.join(parts) + us + b"}"` is the frame as sent at that time."""

    topic: str
    """With its category before it: linear/publicTrade.BTCUSDT."""
    kind: str
    """The last part of the Redis channel it goes to; spot's begins with spot_."""
    parts: tuple[bytes, ...]
    size: int
    """Bytes of the payload, without the frame's header."""
    trades: int
    ids: tuple[int, ...] = ()
    """Numbers for the `%d` in parts, as in the first round of the pool; each round adds `step`."""
    step: int = 0
    is_first: bool = False
    """Whether it is what a new subscriber gets first, and so of the first round alone, where ids go on."""


def symbols_of(count: int, category: str = CATEGORY) -> list[str]:
    """The busiest `count` symbols of the simulated market."""
    return [instrument.symbol for instrument in list_instruments(category, count)]


def topics_of(symbols: Sequence[str], category: str = CATEGORY, kinds: Sequence[str] = KINDS) -> list[str]:
    """Those kinds of each symbol that the category has, as the collector subscribes them."""
    heads = [HEAD_OF_KIND[kind] for kind in kinds if (category, kind) != ("spot", "liquidations")]
    return [f"{head}.{symbol}" for symbol in symbols for head in heads]


def kind_of(topic: str, category: str = CATEGORY) -> str:
    """The last part of the Redis channel a topic goes to."""
    kind = KIND_OF_TOPIC[topic.partition(".")[0]]
    return f"spot_{kind}" if category == "spot" else kind


def render(
    counts: Mapping[str, int], at_least: int, kinds: Sequence[str] = KINDS, payload_bytes: int = 0
) -> list[Slot]:
    """Slots in the market's order; each topic's first one is a snapshot, so that the pool may be sent in a circle.

    `counts` is how many symbols of each category. Payloads shorter than `payload_bytes` are filled up to it.
    """
    hub = Hub()
    options = Options(categories=tuple(counts), symbols=max(counts.values()), illiquid=0, seed=SEED)
    market = Market(options, hub, lambda: CLOCK_MS * 1000, DIALECT)
    recorded: list[tuple[str, str, bytes]] = []
    for category, count in counts.items():
        for name in topics_of(symbols_of(count, category), category, kinds):
            topic = market.find(category, name)
            assert topic is not None, name
            record(hub, market, category, topic, recorded)
    while len(recorded) < at_least:
        market.step(BLOCK)
    numbers = itertools.count()
    return [_slot(category, topic, frame, numbers, payload_bytes) for category, topic, frame in recorded]


class _Recorder(list[bytes]):
    """Takes the place of a session's frame queue, and keeps the order over all sessions."""

    def __init__(self, category: str, topic: str, recorded: list[tuple[str, str, bytes]]) -> None:
        self._category, self._topic, self._recorded = category, topic, recorded

    def append(self, frame: bytes) -> None:
        self._recorded.append((self._category, self._topic, frame))


def record(hub: Hub, market: Market, category: str, topic: Topic, recorded: list[tuple[str, str, bytes]]) -> None:
    """Have all frames of a topic appended to `recorded`, beginning with those of a new subscriber."""
    session = Session(category, "pool")
    session.pending = _Recorder(category, topic.name, recorded)
    hub.join(session, topic)
    for payload in market.snapshots(topic):
        hub.snapshot_to(session, topic, payload)


def _slot(category: str, topic: str, frame: bytes, numbers: "itertools.count[int]", payload_bytes: int) -> Slot:
    """Cut at every stamp. A trade's id becomes its number and the stamp: new on each round of the pool."""

    def new_id(_match: re.Match[bytes]) -> bytes:
        return b'"i":"%08x-50af-54f3-bcb-%b"' % (next(numbers), STAMP)

    payload, trades = _ID.subn(new_id, frame[frame.index(b'{"') :])  # a header may hold a brace, but no quote after it
    end = b',"us":' + STAMP_US + b"}"  # for the subscriber: when it was sent, to the microsecond
    fill = payload_bytes - len(payload) + 1 - len(end) - len(b',"fill":""')
    payload = payload[:-1] + (b',"fill":"%b"' % (b"x" * fill) if fill > 0 else b"") + end
    framed = text_frame(payload)
    *head, tail = framed[: -len(STAMP_US) - 1].split(STAMP)
    return Slot(f"{category}/{topic}", kind_of(topic, category), (*head, tail), len(payload), trades)
