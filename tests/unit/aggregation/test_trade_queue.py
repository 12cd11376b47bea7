"""The mailbox: order kept, bounded, and a hole marked where it is."""

import threading
import time

import pytest

from aggregation.trade_queue import TAKE_BYTES, FeedDown, FeedUp, Mailbox, Overflow, Wake

UP = FeedUp(("BTCUSDT",), 1)
DOWN = FeedDown(("BTCUSDT",), 2)


@pytest.fixture
def wake():
    return Wake()


def test_payloads_and_marks_keep_their_order(wake):
    """What the stream thread did in one order, the aggregator sees in that order."""
    mailbox = Mailbox(wake)
    mailbox.mark(UP)
    mailbox.put(b"1")
    mailbox.put(b"2")
    mailbox.mark(DOWN)

    assert (mailbox.take(3), mailbox.take(3), mailbox.take(3)) == ([UP, b"1", b"2"], [DOWN], [])


def test_anything_left_wakes_the_aggregator(wake):
    """A payload and a mark alike, and what it finds when it has just announced its sleep."""
    mailbox = Mailbox(wake)
    for leave in (lambda: mailbox.put(b"1"), lambda: mailbox.mark(UP)):
        wake.listen()
        leave()
        begin_s = time.monotonic()
        wake.sleep(60.0)

        assert time.monotonic() - begin_s < 30.0
        assert not wake.asleep


def test_who_is_awake_is_not_woken(wake):
    """Or every payload would cost a call into the kernel."""
    mailbox = Mailbox(wake)
    mailbox.put(b"1")
    mailbox.mark(UP)

    assert not wake._rung.is_set()


def test_full_mailbox_drops_the_newest_and_counts_it(wake):
    """It never grows beyond its bound; marks alone are never dropped."""
    mailbox = Mailbox(wake, capacity=2)
    for payload in (b"1", b"2", b"3", b"4"):
        mailbox.put(payload)
    mailbox.mark(DOWN)

    assert (len(mailbox), mailbox.dropped) == (3, 2)


def test_large_payloads_fill_it_too(wake):
    """By their bytes, one by one and many at a time; what is taken makes room again."""
    mailbox = Mailbox(wake, capacity_bytes=100)
    mailbox.put_all([b"x" * 40] * 2)
    mailbox.put_all([b"y" * 40] * 2)
    mailbox.put(b"z")
    assert (len(mailbox), mailbox.dropped) == (3, 2)
    items = [*mailbox.take(1), *mailbox.take(9)]
    assert [item for item in items if isinstance(item, bytes)] == [b"x" * 40, b"x" * 40, b"y" * 40]
    mailbox.put_all([b"x" * 90])
    mailbox.put_all([b"x" * 90])
    assert (len(mailbox), mailbox.dropped) == (2, 2)
    mailbox.put(b"z")
    assert mailbox.dropped == 3


def test_one_payload_larger_than_the_mailbox_is_taken(wake):
    """An exchange's largest message is no reason to lose it where nothing waits."""
    mailbox = Mailbox(wake, capacity_bytes=100)
    mailbox.put_all([b"x" * 400])
    assert (len(mailbox), mailbox.dropped) == (1, 0)


def test_what_is_taken_at_once_is_bounded_by_bytes(wake):
    """Decoded it is ten times as large; nothing is left out, and marks keep their places."""
    mailbox = Mailbox(wake)
    large = b"x" * (TAKE_BYTES // 2)
    for payload in (large, large, large):
        mailbox.put(payload)
    mailbox.mark(DOWN)
    assert [len(mailbox.take(9)) for _ in range(3)] == [2, 2, 0]


def test_hole_is_marked_before_the_next_payload(wake):
    """What comes after the drop comes after the mark."""
    mailbox = Mailbox(wake, capacity=2)
    for payload in (b"1", b"2", b"3"):
        mailbox.put(payload)
    mailbox.take(1)
    mailbox.put(b"4")
    first, hole, last = mailbox.take(9)

    assert (first, last) == (b"2", b"4")
    assert isinstance(hole, Overflow)
    assert 0 < hole.from_ms <= hole.until_ms


def test_hole_is_marked_though_nothing_follows(wake):
    """A burst that overflows and then silence: the candle must not wait for the next payload to learn of it."""
    mailbox = Mailbox(wake, capacity=1)
    mailbox.put(b"1")
    mailbox.put(b"2")
    payload, hole = mailbox.take(5)

    assert payload == b"1"
    assert isinstance(hole, Overflow)
    assert mailbox.take(5) == []


def test_hole_is_not_marked_before_what_came_before_it(wake):
    """Taken in part, the mailbox still holds payloads that are older than the hole."""
    mailbox = Mailbox(wake, capacity=2)
    for payload in (b"1", b"2", b"3"):
        mailbox.put(payload)

    assert mailbox.take(1) == [b"1"]
    assert [type(item) for item in mailbox.take(1)] == [bytes, Overflow]


def test_many_threads_lose_nothing_without_a_mark(wake):
    """Whatever threads interleave: all is taken or counted, in each writer's order, and every drop is marked."""
    mailbox = Mailbox(wake, capacity=50)
    writers = [threading.Thread(target=_write, args=(mailbox, str(i).encode(), 3_000)) for i in range(4)]
    taken = []
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        taken += mailbox.take(30)
    for writer in writers:
        writer.join()
    taken += [item for _ in range(10) for item in mailbox.take(30)]

    payloads = [item for item in taken if type(item) is bytes]
    assert len(payloads) + mailbox.dropped == 12_000
    assert bool(mailbox.dropped) == any(isinstance(item, Overflow) for item in taken)
    for name in (b"0", b"1", b"2", b"3"):
        numbers = [int(payload[2:]) for payload in payloads if payload.startswith(name)]
        assert numbers == sorted(numbers)
    assert _unmarked_holes(taken) == []


def _write(mailbox, name, count):
    for number in range(count):
        mailbox.put(b"%b %d" % (name, number))


def _unmarked_holes(taken):
    """Jumps in a writer's numbers (its end included) with no mark between the payloads on both sides."""
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
