"""Klines on their way to Redis."""

from consumers.redis.backlog import KlineBacklog
from consumers.redis.checkpoint.store import KlineCheckpoint
from consumers.redis.inflight import InFlightQueue
from consumers.redis.kline_queue import KlineSender
from consumers.redis.options import REFUSED_PAUSE_S
from consumers.redis.protocol import Packer, Replies
from tests.support.klines import klines


def sender_to(main_key: str | None) -> KlineSender:
    return KlineSender(KlineBacklog(None), main_key, KlineCheckpoint(None))


def test_each_goes_to_its_channel_and_the_main_key():
    """Two messages per envelope, its klines counted once."""
    sender, in_flight = sender_to("market-data"), InFlightQueue()
    sender.offer(klines())
    commands, _ = sender.take(Packer(), in_flight, 1_000_000, now_ms=0)
    assert [command.split(b"\r\n")[4] for command in commands] == [b"market-data", b"stream:bybit_klines"]
    in_flight.acknowledge(Replies(count=2))
    assert in_flight.klines_delivered == 1


def test_a_take_is_bounded():
    """A backlog of a night leaves in many writes, raw payloads between them."""
    sender = sender_to(None)
    for number in range(10):
        sender.offer(klines(number))
    size = len(klines().json)
    commands, taken = sender.take(Packer(), InFlightQueue(), size * 2, now_ms=0)
    assert (len(commands), taken, len(sender)) == (2, size * 2, 8)


def test_what_was_refused_waits_a_moment():
    """A Redis that refuses does not get them again at once, in a tight loop."""
    sender, in_flight = sender_to(None), InFlightQueue()
    sender.offer(klines())
    assert sender.is_due(now_s=100.0)
    sender.take(Packer(), in_flight, 1_000, now_ms=0)
    assert not sender.is_due(now_s=100.0)
    sender.settle(in_flight.acknowledge(Replies(count=1, refused=[(0, "NOPERM")])), now_s=100.0)
    assert not sender.is_due(now_s=100.0 + REFUSED_PAUSE_S / 2)
    assert sender.is_due(now_s=100.0 + REFUSED_PAUSE_S)
