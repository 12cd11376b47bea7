"""The account of messages without a reply."""

from consumers.redis.backlog import QueuedMessage
from consumers.redis.checkpoint.store import NO_UPDATE
from consumers.redis.inflight import InFlightQueue, Sent
from consumers.redis.protocol import Replies


def item(number: int) -> QueuedMessage:
    return QueuedMessage(number, 1, "stream:bybit_klines", b"{}")


def sent(*numbers: int) -> list[Sent]:
    return [Sent(item(number), NO_UPDATE) for number in numbers]


def test_lost_connection_gives_back_unconfirmed_klines_in_order():
    """Raw messages without a reply are a number, klines come back one by one."""
    in_flight = InFlightQueue()
    in_flight.add_kline(item(1))
    in_flight.add_raw(3)
    in_flight.add_kline(item(2))
    in_flight.add_kline(item(3))
    assert in_flight.acknowledge(Replies(count=2, receivers=2)) == (sent(1), [])
    assert in_flight.lose() == (2, sent(2, 3))
    assert (in_flight.count, in_flight.delivered, in_flight.klines_delivered) == (0, 2, 1)


def test_refused_kline_comes_back_and_refused_raw_does_not():
    """An error reply is no delivery."""
    in_flight = InFlightQueue()
    in_flight.add_raw(2)
    in_flight.add_kline(item(1))
    in_flight.add_kline(item(2))
    assert in_flight.acknowledge(Replies(count=4, refused=[(1, "ERR"), (2, "ERR")])) == (sent(2), sent(1))
    assert (in_flight.delivered, in_flight.klines_delivered) == (2, 1)


def test_numbers_begin_anew_after_a_loss():
    """A reply on the new connection settles the new connection's message."""
    in_flight = InFlightQueue()
    in_flight.add_raw(5)
    in_flight.lose()
    in_flight.add_kline(item(1))
    in_flight.acknowledge(Replies(count=1))
    assert in_flight.klines_delivered == 1


def test_commands_are_no_messages():
    """What the checkpoint writes between messages is neither delivered nor lost, whatever the replies."""
    in_flight = InFlightQueue()
    in_flight.add_kline(item(1))
    in_flight.add_commands()
    in_flight.add_raw(2)
    in_flight.add_commands(2)
    in_flight.add_kline(item(2))
    assert in_flight.acknowledge(Replies(count=3, refused=[(1, "OOM")])) == (sent(1), [])
    assert (in_flight.delivered, in_flight.count) == (2, 4)
    assert in_flight.lose() == (1, sent(2))
    in_flight.add_commands()
    in_flight.add_kline(item(3))
    assert in_flight.acknowledge(Replies(count=2)) == (sent(3), [])
    assert in_flight.delivered == 3
