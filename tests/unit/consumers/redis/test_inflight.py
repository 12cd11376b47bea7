"""The ledger of messages without a reply."""

from consumers.redis.backlog import Waiting
from consumers.redis.checkpoint.entries import NOTHING_NOTED
from consumers.redis.inflight import Flown, InFlight
from consumers.redis.protocol import Replies


def item(number: int) -> Waiting:
    return Waiting(number, 1, "stream:bybit_klines", b"{}")


def flown(*numbers: int) -> list[Flown]:
    return [Flown(item(number), NOTHING_NOTED) for number in numbers]


def test_lost_connection_gives_back_unconfirmed_klines_in_order():
    """Raw messages without a reply are a number, klines come back one by one."""
    flight = InFlight()
    flight.add_kline(item(1))
    flight.add_raw(3)
    flight.add_kline(item(2))
    flight.add_kline(item(3))
    assert flight.answer(Replies(count=2, receivers=2)) == (flown(1), [])
    assert flight.lose() == (2, flown(2, 3))
    assert (len(flight), flight.delivered, flight.klines_delivered) == (0, 2, 1)


def test_refused_kline_comes_back_and_refused_raw_does_not():
    """An error reply is no delivery."""
    flight = InFlight()
    flight.add_raw(2)
    flight.add_kline(item(1))
    flight.add_kline(item(2))
    assert flight.answer(Replies(count=4, refused=[(1, "ERR"), (2, "ERR")])) == (flown(2), flown(1))
    assert (flight.delivered, flight.klines_delivered) == (2, 1)


def test_numbers_begin_anew_after_a_loss():
    """A reply on the new connection settles the new connection's message."""
    flight = InFlight()
    flight.add_raw(5)
    flight.lose()
    flight.add_kline(item(1))
    flight.answer(Replies(count=1))
    assert flight.klines_delivered == 1


def test_commands_apart_are_no_messages():
    """What the memory writes between messages is neither delivered nor lost, whatever Redis says to it."""
    flight = InFlight()
    flight.add_kline(item(1))
    flight.add_apart()
    flight.add_raw(2)
    flight.add_apart(2)
    flight.add_kline(item(2))
    assert flight.answer(Replies(count=3, refused=[(1, "OOM")])) == (flown(1), [])
    assert (flight.delivered, len(flight)) == (2, 4)
    assert flight.lose() == (1, flown(2))
    flight.add_apart()
    flight.add_kline(item(3))
    assert flight.answer(Replies(count=2)) == (flown(3), [])
    assert flight.delivered == 3
