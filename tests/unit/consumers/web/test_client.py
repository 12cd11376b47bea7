"""The backlog of one slow client."""

from consumers.web.client import ClientBacklog
from consumers.web.frames import Message


def message(number: int) -> Message:
    return Message(b"%04d" % number)


def test_klines_keep_their_order_and_are_bounded():
    """Nothing is left out; one more than the bound is too many."""
    backlog = ClientBacklog(3)
    assert all(backlog.add(message(number)) for number in range(3))
    assert not backlog.add(message(3))
    assert [each.payload for each in backlog.take(8)] == [b"0000", b"0001"]
    assert [each.payload for each in backlog.take(1_000)] == [b"0002", b"0003"]


def test_bytes_are_bounded_too():
    """A few large messages are as bad as many small ones."""
    backlog = ClientBacklog(1_000, limit_bytes=10)
    assert backlog.add(message(0))
    assert backlog.add(message(1))
    assert not backlog.add(message(2))


def test_tickers_conflate_and_never_count():
    """A client that sleeps for an hour wakes to the newest ticker of each symbol."""
    backlog = ClientBacklog(1)
    for number in range(1_000):
        assert backlog.add(Message(b"%d" % number, conflate=("ticker", number % 2)))
    assert backlog.add(message(1))
    assert [each.payload for each in backlog.take(1_000)] == [b"0001", b"998", b"999"]
    assert backlog.conflated == 998
    assert not len(backlog)


def test_a_message_of_several_tickers_conflates_one_by_one():
    """Each of its symbols replaces what waited of that symbol."""
    backlog = ClientBacklog(10)
    backlog.add(Message(b"old", conflate="a"))
    backlog.add(Message(b"both", None, (Message(b"new", conflate="a"), Message(b"other", conflate="b"))))
    assert [each.payload for each in backlog.take(1_000)] == [b"new", b"other"]


def test_clear_forgets_everything():
    """A client that is closed holds no memory."""
    backlog = ClientBacklog(1)
    backlog.add(message(0))
    backlog.add(Message(b"x", conflate="x"))
    backlog.clear()
    assert (len(backlog), backlog.take(100)) == (0, [])
    assert backlog.add(message(1))
