"""The queue of one output: bounded, klines apart."""

import pytest

from consumers.envelope_queue import NEVER_LIMIT, EnvelopeQueue, check_policy
from model.envelope import Envelope
from tests.support.klines import klines, price


def test_klines_leave_first_each_kind_in_its_order():
    """Prices that came before a kline wait for it; among themselves nothing changes."""
    queue = EnvelopeQueue(10, "drop_oldest")
    put = [price("1"), klines(1), price("2"), klines(2)]
    assert all(queue.put(envelope) for envelope in put)

    oldest_s = queue.oldest_s()
    since_s, batch = queue.take(3)
    assert batch == [put[1], put[3], put[0]]
    assert oldest_s is not None
    assert since_s is not None
    assert oldest_s <= since_s
    assert queue.take(3)[1] == [put[2]]
    assert (queue.take(3), queue.oldest_s(), len(queue)) == ((None, []), None, 0)


@pytest.mark.parametrize(("policy", "kept"), [("drop_oldest", [2, 3]), ("drop_newest", [0, 1])])
def test_over_the_bound_one_goes_of_the_same_kind(policy, kept):
    """Counted, returned by `put`, and no price is dropped for a kline."""
    queue = EnvelopeQueue(2, policy)
    queue.put(price())
    fits = [queue.put(klines(number)) for number in range(4)]

    assert fits == [True, True, False, False]
    assert (queue.dropped, len(queue)) == (2, 3)
    assert queue.take(2)[1] == [klines(number) for number in kept]


@pytest.mark.parametrize("policy", ["drop_oldest", "drop_newest"])
def test_records_count_too(policy):
    """An envelope of a hundred is not one of a single price; the last one always has room."""
    queue = EnvelopeQueue(10, policy)
    one = price()
    many = Envelope(one.exchange, one.channel, one.data_type, one.data * 60)
    fits = [queue.put(many) for _ in range(3)]
    assert (fits, len(queue), queue.dropped) == ([True, False, False], 1, 2)
    assert len(queue.take(9)[1]) == 1
    assert [queue.put(one) for _ in range(10)] == [True] * 10
    huge = EnvelopeQueue(1, policy)
    assert huge.put(many)


def test_never_is_a_very_large_bound():
    """Memory ends somewhere."""
    assert EnvelopeQueue(1, "never").limit == NEVER_LIMIT


@pytest.mark.parametrize(("overflow", "limit"), [("block", 1), ("never", 0), ("never", 1.5)])
def test_what_there_is_not_is_refused_by_name(overflow, limit):
    """Blocking would let one output stop the others."""
    with pytest.raises(ValueError, match=r"Mine\.(overflow|queue_size) is .*; allowed: "):
        check_policy(overflow, limit, "Mine")
