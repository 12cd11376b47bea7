"""The queue of raw payloads."""

from consumers.redis.raw_queue import OVERHEAD_BYTES, RawQueue
from model.wake import WakeSignal


def test_over_its_number_the_oldest_go_and_are_counted():
    """The newest market data is worth most."""
    queue = RawQueue(limit=3, limit_bytes=1_000, wake=WakeSignal())
    for number in range(10):
        queue.put("c", b"%d" % number)
    assert [payloads for _, payloads, _ in queue.take(1_000)] == [(b"7",), (b"8",), (b"9",)]
    assert queue.dropped == 7


def test_what_came_together_goes_together():
    """Where the queue is full the oldest batch goes whole: what is left is in order, and every loss is counted."""
    queue = RawQueue(limit=3, limit_bytes=1_000, wake=WakeSignal())
    queue.put_all("a", [b"1", b"2"])
    queue.put_all("b", [b"3", b"4"])
    assert (len(queue), queue.dropped) == (2, 2)
    assert queue.take(1_000) == [("b", [b"3", b"4"], 2)]
    assert not queue


def test_one_read_larger_than_the_bound_is_kept():
    """RAW_QUEUE_SIZE may be below what one read brings: dropped at once, nothing would ever be sent."""
    queue = RawQueue(limit=3, limit_bytes=4, wake=WakeSignal())
    queue.put_all("a", [b"1", b"2"])
    queue.put_all("a", [b"3", b"4", b"5", b"6", b"7"])
    assert (len(queue), queue.dropped) == (5, 2)


def test_take_stops_at_its_limits_and_keeps_the_order():
    """A write is bounded; the rest leaves with the next one."""
    queue = RawQueue(limit=100, limit_bytes=1_000, wake=WakeSignal())
    for number in range(10):
        queue.put("c", b"%03d" % number)
    taken = [queue.take(10), queue.take(1_000, limit=2), queue.take(0), queue.take(1_000)]
    assert [len(batches) for batches in taken] == [4, 2, 0, 4]
    assert [payload for batches in taken for _, (payload,), _ in batches] == [b"%03d" % number for number in range(10)]


def test_over_its_bytes_the_oldest_go_and_are_counted():
    """A thousand order book snapshots are not a thousand trades."""
    queue = RawQueue(limit=1_000, limit_bytes=2 * (40 + OVERHEAD_BYTES), wake=WakeSignal())
    for _ in range(5):
        queue.put("c", b"x" * 40)
    assert (len(queue), queue.dropped) == (2, 3)


def test_small_payloads_count_with_what_holds_them():
    """Millions of pongs are more than their bytes."""
    queue = RawQueue(limit=10**9, limit_bytes=100 * OVERHEAD_BYTES, wake=WakeSignal())
    for _ in range(300):
        queue.put("c", b"x")
    assert (len(queue) <= 100, len(queue) + queue.dropped) == (True, 300)


def test_bytes_are_right_again_after_taking():
    """What was taken out no longer counts."""
    queue = RawQueue(limit=1_000, limit_bytes=90 + OVERHEAD_BYTES, wake=WakeSignal())
    queue.put("c", b"x" * 90)
    queue.take(1)
    queue.put("c", b"x" * 90)
    assert queue.dropped == 0


def test_only_a_sleeper_is_woken():
    """A wake-up is a system call; the path of a payload has none while the publisher is awake."""
    wake = WakeSignal()
    queue = RawQueue(limit=10, limit_bytes=100, wake=wake)
    queue.put("c", b"x")
    assert not wake.wait(0)
    wake.arm()
    queue.put("c", b"x")
    assert wake.wait(0)
