"""Klines of the past and live ones, joined: no hole, no double, the highest revision; over outages of either side."""

import asyncio
from collections import deque
from decimal import Decimal

import msgspec
import pytest

from feed.live import KEPT, LiveKlines, Series
from feed.records import FeedError, Interval, Kline, UnreachableError
from feed.sources import SourceLostError
from tests.support.waiting import wait_until

SECOND = 1_000
FIRST_MS = 1_795_000_000_000


def kline(number: int, revision: int = 0, *, complete: bool = True, source: str = "trades", symbol: str = "BTCUSDT"):
    price = Decimal(number)
    prices = price, price, price, price, Decimal(1)
    return Kline(symbol, SECOND, FIRST_MS + number * SECOND, *prices, 1, price, complete, source, revision)


def message(*klines: Kline, market: str = "linear") -> bytes:
    content = {"exchange": "bybit", "channel": market, "data_type": "klines", "data": klines}
    return msgspec.json.Encoder(decimal_format="number").encode(content)


def starts(klines):
    return [(each.timestamp - FIRST_MS) // SECOND for each in klines]


class Collector:
    """A store, and what it publishes: a Source and a ReadPast."""

    is_pushed = True

    def __init__(self) -> None:
        self.stored: dict[int, Kline] = {}
        self.published: deque[bytes] = deque()
        self.is_up = self.answers = True
        self.reads: list[tuple[int | None, int | None, bool]] = []
        self.connects = 0

    def store(self, *klines: Kline) -> None:
        self.stored |= {each.timestamp: each for each in klines}

    def publish(self, *klines: Kline, market: str = "linear") -> None:
        """Publish to whoever is connected."""
        self.published.append(message(*klines, market=market))

    def connect(self) -> None:
        self.connects += 1
        if not self.is_up:
            raise SourceLostError("refused")

    def next(self, _timeout_s: float) -> bytes | None:
        if not self.is_up:
            raise SourceLostError("gone")
        return self.published.popleft() if self.published else None

    def close(self) -> None:
        self.published.clear()

    def read(self, symbol: str, start_ms: int | None, last: int | None, is_filled: bool):
        self.reads.append((start_ms, last, is_filled))
        if not self.answers:
            raise UnreachableError("nobody answers")
        found = [
            each for start, each in sorted(self.stored.items()) if each.symbol == symbol and start >= (start_ms or 0)
        ]
        return (found if last is None else found[-last:]), ""


@pytest.fixture
def collector() -> Collector:
    return Collector()


def live_of(collector, symbols=("BTCUSDT",), **options) -> LiveKlines:
    return LiveKlines(collector, collector.read, symbols, Interval("1s"), "linear", **options)


def take(live: LiveKlines, count: int) -> list[Kline]:
    """The next klines, which are there or come within the limit."""
    found = [live.next(10) for _ in range(count)]
    assert None not in found
    return [each for each in found if each]


def test_history_and_live_are_joined_without_a_double(collector):
    """What was published while history was read is in both."""
    collector.store(*map(kline, range(5)))
    collector.publish(kline(3))
    collector.publish(kline(4), kline(5))
    with live_of(collector, last=3) as live:
        assert starts(take(live, 4)) == [2, 3, 4, 5]
        assert live.next(0) is None


def test_a_kline_that_was_missed_before_the_first_live_one_is_read(collector):
    """It had closed before the subscription, and was in the store after history was read."""
    collector.store(*map(kline, range(5)))
    with live_of(collector, last=2) as live:
        assert starts(take(live, 2)) == [3, 4]
        collector.store(kline(5), kline(6))
        collector.publish(kline(6))
        assert starts(take(live, 2)) == [5, 6]
        assert live.holes == {}


def test_only_live_klines_are_joined_to_where_the_past_ends(collector):
    """last=0 brings none of the past, and the one that closes while this begins is not lost."""
    collector.store(*map(kline, range(5)))
    with live_of(collector) as live:
        assert live.next(0.05) is None
        collector.store(kline(5), kline(6))
        collector.publish(kline(6))
        assert starts(take(live, 2)) == [5, 6]


def test_a_revision_comes_again_and_the_highest_stays(collector):
    collector.store(kline(0), kline(1, complete=False), kline(2))
    with live_of(collector, last=3) as live:
        take(live, 3)
        collector.publish(kline(1, 2))
        collector.publish(kline(1, 1, complete=False))
        assert [(each.revision, each.complete) for each in take(live, 1)] == [(2, True)]
        assert live.next(0.05) is None
        assert [each.revision for each in live.klines()] == [0, 2, 0]


def test_what_the_exchange_filled_is_replaced_by_what_was_collected(collector):
    """Of the same revision: it counted the trades."""
    collector.store(kline(0, source="exchange"))
    with live_of(collector, last=1) as live:
        take(live, 1)
        collector.publish(kline(0, complete=False))
        collector.publish(kline(0))
        assert [each.source for each in take(live, 1)] == ["trades"]


def test_an_outage_of_the_source_leaves_no_hole_and_no_double(collector):
    """What closed and what was repaired meanwhile is read over HTTP, while it is away and when it is back."""
    collector.store(*map(kline, range(3)))
    with live_of(collector, last=3) as live:
        take(live, 3)
        collector.is_up = False
        collector.store(kline(1, 1), kline(3))
        assert [(number, revision) for number, revision in _numbered(take(live, 2))] == [(1, 1), (3, 0)]
        assert live.problem
        collector.store(kline(4))
        collector.is_up = True
        collector.publish(kline(5))
        assert starts(take(live, 2)) == [4, 5]
        assert (live.holes, live.problem) == ({}, "")


def _numbered(klines):
    return zip(starts(klines), [each.revision for each in klines], strict=True)


def test_an_outage_of_the_store_is_made_up_for_when_it_is_back(collector):
    """A hole that cannot be read now is told, and looked for until it is filled; klines go on."""
    collector.store(*map(kline, range(3)))
    with live_of(collector, last=1) as live:
        take(live, 1)
        collector.answers = False
        collector.publish(kline(5))
        assert starts(take(live, 1)) == [5]
        assert live.holes == {"BTCUSDT": [(FIRST_MS + 3 * SECOND, FIRST_MS + 5 * SECOND)]}
        collector.answers, begun = True, len(collector.reads)

        def is_asked_for_the_exchanges() -> bool:  # where the collector has none
            live.next(0.05)
            return any(is_filled for _, _, is_filled in collector.reads[begun:])

        wait_until(is_asked_for_the_exchanges)
        collector.store(kline(3), kline(4))
        assert starts(take(live, 2)) == [3, 4]
        assert live.holes == {}


def test_a_mistake_of_the_users_is_told_at_once(collector):
    """Later outages are waited for; the first one is a wrong address, or a collector that was not started."""
    collector.is_up = False
    with pytest.raises(UnreachableError, match="refused: start it"):
        live_of(collector).next()
    collector.is_up, collector.answers = True, False
    with pytest.raises(UnreachableError, match="nobody answers"):
        live_of(collector).next()


def test_without_history_live_klines_come_and_holes_are_told(collector):
    collector.store(*map(kline, range(3)))
    live = LiveKlines(collector, None, ["BTCUSDT"], Interval("1s"), "linear")
    for number in (3, 5):
        collector.publish(kline(number))
    assert starts(take(live, 2)) == [3, 5]
    assert (len(live.holes["BTCUSDT"]), collector.reads) == (1, [])


def test_other_symbols_intervals_and_markets_are_left_out(collector):
    collector.store(kline(0))
    with live_of(collector, last=1) as live:
        take(live, 1)
        collector.publish(kline(1), market="spot")
        collector.publish(kline(1, symbol="ETHUSDT"))
        collector.publish(msgspec.structs.replace(kline(1), interval=60_000))
        collector.published.append(b'{"exchange":"bybit","channel":"linear","data_type":"ticker","data":[{}]}')
        collector.published.append(b'{"op":"subscribe"')
        collector.publish(kline(1))
        assert [each.interval for each in take(live, 1)] == [SECOND]
        assert live.next(0.05) is None


def test_several_symbols_have_their_own_past(collector):
    with live_of(collector, ("BTCUSDT", "ETHUSDT"), last=2) as live:
        collector.stored = {0: kline(0), 1: kline(0, symbol="ETHUSDT")}
        assert {each.symbol for each in take(live, 2)} == {"BTCUSDT", "ETHUSDT"}


def test_it_is_an_asynchronous_iterator_too(collector):
    """A task that is cancelled while it waits loses nothing."""
    collector.store(kline(0))
    live = live_of(collector, last=1)

    async def read():
        assert starts([await anext(live)]) == [0]
        waiting = asyncio.ensure_future(anext(live))
        await asyncio.sleep(0)
        waiting.cancel()
        collector.publish(kline(1))
        collector.publish(kline(2))
        found = [await anext(live), await anext(live)]
        await asyncio.to_thread(live.close)
        assert [each async for each in live] == []
        return found

    assert starts(asyncio.run(read())) == [1, 2]


def test_it_is_polled_where_nothing_is_pushed(collector):
    collector.is_pushed = False
    collector.store(kline(0))
    with live_of(collector, last=1) as live:
        take(live, 1)
        collector.store(kline(1), kline(0, 1))
        assert sorted(_numbered(take(live, 2))) == [(0, 1), (1, 0)]


def test_what_is_kept_is_bounded():
    series = Series(Interval("1s"))
    series.take(map(kline, range(KEPT + 1_000)))
    assert (len(series.held), min(starts(series.held.values()))) == (KEPT, 1_000)
    assert series.take([kline(5)]) == []


def test_months_are_joined_by_the_calendar():
    """They have no length in common: 28 to 31 days."""
    months = [("2026-01-01", 31), ("2026-02-01", 28), ("2026-03-01", 31)]
    series = Series(Interval("1M"))
    first = 1_767_225_600_000
    for _, days in months:
        length_ms = days * 86_400_000
        assert series.take([msgspec.structs.replace(kline(0), timestamp=first, interval=length_ms)])
        first += length_ms
    assert series.holes == {}
    assert series.take([msgspec.structs.replace(kline(0), interval=30 * 86_400_000)]) == []  # 30d of another day


@pytest.mark.parametrize("text", ["", "1", "m", "0m", "1y", "-1m", "1.5h", "1m " * 100])
def test_what_is_no_interval_is_refused_with_a_sentence(text):
    with pytest.raises(FeedError, match="is no interval"):
        Interval(text)
