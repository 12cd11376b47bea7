"""The way of klines to Redis."""

from consumers.redis.backlog import KlineBacklog
from consumers.redis.checkpoint.store import PublishedMemory
from consumers.redis.inflight import InFlight
from consumers.redis.kline_queue import REFUSED_PAUSE_S, KlineLane
from consumers.redis.protocol import Packer, Replies
from tests.support.klines import klines


def lane_to(main_key: str | None) -> KlineLane:
    return KlineLane(KlineBacklog(None), main_key, PublishedMemory(None))


def test_each_goes_to_its_channel_and_the_main_key():
    """Two messages per envelope, its klines counted once."""
    lane, flight = lane_to("market-data"), InFlight()
    lane.offer(klines())
    commands, _ = lane.take(Packer(), flight, 1_000_000, now_ms=0)
    assert [command.split(b"\r\n")[4] for command in commands] == [b"market-data", b"stream:bybit_klines"]
    flight.answer(Replies(count=2))
    assert flight.klines_delivered == 1


def test_a_take_is_bounded():
    """A backlog of a night leaves in many writes, raw payloads between them."""
    lane = lane_to(None)
    for number in range(10):
        lane.offer(klines(number))
    size = len(klines().json)
    commands, taken = lane.take(Packer(), InFlight(), size * 2, now_ms=0)
    assert (len(commands), taken, len(lane)) == (2, size * 2, 8)


def test_what_was_refused_waits_a_moment():
    """A Redis that refuses is not asked again at once, in a tight loop."""
    lane, flight = lane_to(None), InFlight()
    lane.offer(klines())
    assert lane.is_due(now_s=100.0)
    lane.take(Packer(), flight, 1_000, now_ms=0)
    assert not lane.is_due(now_s=100.0)
    lane.settle(flight.answer(Replies(count=1, refused=[(0, "NOPERM")])), now_s=100.0)
    assert not lane.is_due(now_s=100.0 + REFUSED_PAUSE_S / 2)
    assert lane.is_due(now_s=100.0 + REFUSED_PAUSE_S)
