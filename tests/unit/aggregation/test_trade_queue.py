"""The queue: order kept, bounded, and a hole marked where it is."""

import threading
import time

import pytest

from aggregation.trade_queue import TAKE_BYTES, Overflow, TradeQueue
from model.wake import WakeSignal
from tests.support.markers import feed_down, feed_up

UP = feed_up(("BTCUSDT",), 1)
DOWN = feed_down(("BTCUSDT",), 2)


@pytest.fixture
def wake():
    return WakeSignal()


def test_payloads_and_marks_keep_their_order(wake):
    """What the stream thread did in one order, the aggregator sees in that order."""
    queue = TradeQueue(wake)
    queue.put_control(UP)
    queue.put(b"1")
    queue.put(b"2")
    queue.put_control(DOWN)

    assert (queue.take(3), queue.take(3), queue.take(3)) == ([UP, b"1", b"2"], [DOWN], [])


def test_anything_left_wakes_the_aggregator(wake):
    """A payload and a control message alike, also where the signal was armed just before."""
    queue = TradeQueue(wake)
    for leave in (lambda: queue.put(b"1"), lambda: queue.put_control(UP)):
        wake.arm()
        leave()
        begin_s = time.monotonic()
        wake.wait(60.0)

        assert time.monotonic() - begin_s < 30.0
        assert not wake.is_armed


def test_who_is_awake_is_not_woken(wake):
    """Or every payload would cost a call into the kernel."""
    queue = TradeQueue(wake)
    queue.put(b"1")
    queue.put_control(UP)

    assert not wake.wait(0.0)


def test_full_queue_drops_the_newest_and_counts_it(wake):
    """It never grows beyond its bound; marks alone are never dropped."""
    queue = TradeQueue(wake, capacity=2)
    for payload in (b"1", b"2", b"3", b"4"):
        queue.put(payload)
    queue.put_control(DOWN)

    assert (len(queue), queue.dropped) == (3, 2)


def test_large_payloads_fill_it_too(wake):
    """By their bytes, one by one and many at a time; what is taken frees space again."""
    queue = TradeQueue(wake, capacity_bytes=100)
    queue.put_all([b"x" * 40] * 2)
    queue.put_all([b"y" * 40] * 2)
    queue.put(b"z")
    assert (len(queue), queue.dropped) == (3, 2)
    items = [*queue.take(1), *queue.take(9)]
    assert [item for item in items if isinstance(item, bytes)] == [b"x" * 40, b"x" * 40, b"y" * 40]
    queue.put_all([b"x" * 90])
    queue.put_all([b"x" * 90])
    assert (len(queue), queue.dropped) == (2, 2)
    queue.put(b"z")
    assert queue.dropped == 3


def test_one_payload_larger_than_the_queue_is_taken(wake):
    """An exchange's largest message is no reason to lose it where nothing waits."""
    queue = TradeQueue(wake, capacity_bytes=100)
    queue.put_all([b"x" * 400])
    assert (len(queue), queue.dropped) == (1, 0)


def test_what_is_taken_at_once_is_bounded_by_bytes(wake):
    """Decoded it is ten times as large; nothing is left out, and marks keep their places."""
    queue = TradeQueue(wake)
    large = b"x" * (TAKE_BYTES // 2)
    for payload in (large, large, large):
        queue.put(payload)
    queue.put_control(DOWN)
    assert [len(queue.take(9)) for _ in range(3)] == [2, 2, 0]


def test_hole_is_marked_before_the_next_payload(wake):
    """What comes after the drop comes after the Overflow."""
    queue = TradeQueue(wake, capacity=2)
    for payload in (b"1", b"2", b"3"):
        queue.put(payload)
    queue.take(1)
    queue.put(b"4")
    first, hole, last = queue.take(9)

    assert (first, last) == (b"2", b"4")
    assert isinstance(hole, Overflow)
    assert 0 < hole.from_ms <= hole.until_ms


def test_hole_does_not_end_before_it_begins(wake):
    """Where the clock was put right meanwhile."""
    now = [2_000]
    queue = TradeQueue(wake, capacity=1, now_ms=lambda: now[0])
    queue.put(b"1")
    queue.put(b"2")
    now[0] = 500
    assert queue.take(5) == [b"1", Overflow(500, 500)]


def test_hole_is_marked_though_nothing_follows(wake):
    """A burst that overflows and then silence: the kline must not wait for the next payload to be incomplete."""
    queue = TradeQueue(wake, capacity=1)
    queue.put(b"1")
    queue.put(b"2")
    payload, hole = queue.take(5)

    assert payload == b"1"
    assert isinstance(hole, Overflow)
    assert queue.take(5) == []


def test_hole_is_not_marked_before_what_came_before_it(wake):
    """Taken in part, the queue still holds payloads that are older than the hole."""
    queue = TradeQueue(wake, capacity=2)
    for payload in (b"1", b"2", b"3"):
        queue.put(payload)

    assert queue.take(1) == [b"1"]
    assert [type(item) for item in queue.take(1)] == [bytes, Overflow]


def test_many_threads_lose_nothing_without_an_overflow(wake):
    """Whatever threads interleave: all is taken or counted, in each writer's order, and every drop is marked."""
    queue = TradeQueue(wake, capacity=50)
    writers = [threading.Thread(target=_write, args=(queue, str(i).encode(), 3_000)) for i in range(4)]
    taken = []
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        taken += queue.take(30)
    for writer in writers:
        writer.join()
    taken += [item for _ in range(10) for item in queue.take(30)]

    payloads = [item for item in taken if type(item) is bytes]
    assert len(payloads) + queue.dropped == 12_000
    assert bool(queue.dropped) == any(isinstance(item, Overflow) for item in taken)
    for name in (b"0", b"1", b"2", b"3"):
        numbers = [int(payload[2:]) for payload in payloads if payload.startswith(name)]
        assert numbers == sorted(numbers)
    assert _unmarked_holes(taken) == []


def _write(queue, name, count):
    for number in range(count):
        queue.put(b"%b %d" % (name, number))


def _unmarked_holes(taken):
    """Jumps in a writer's numbers (its end included) with no Overflow between the payloads on both sides."""
    last = dict.fromkeys([b"0", b"1", b"2", b"3"], (-1, -1))
    marks, found = 0, []
    for item in [*taken, *(b"%b 3000" % name for name in last)]:
        if isinstance(item, Overflow):
            marks += 1
            continue
        name, number = item[:1], int(item[2:])
        before, marks_before = last[name]
        if number != before + 1 and marks == max(marks_before, 0):
            found.append((name, before, number))
        last[name] = (number, marks)
    return found
