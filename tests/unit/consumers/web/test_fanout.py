"""Who is in which group, and what a group is sent."""

import asyncio
from typing import cast

from websockets.asyncio.server import ServerConnection
from websockets.protocol import State

from consumers.web.client import CHUNK_BYTES, Client
from consumers.web.envelopes import publish
from consumers.web.fanout import Fanout
from consumers.web.frames import PLAIN, Message, frame_of
from consumers.web.topics import EVERYTHING, Patterns
from model.envelope import Envelope
from tests.support.klines import klines, price


class Wire:
    """A connection that keeps what is written."""

    def __init__(self):
        self.state = State.OPEN
        self.protocol = self.transport = self
        self.written = []

    def write(self, frames):
        self.written.append(frames)

    def get_write_buffer_size(self):
        return 0

    @property
    def text(self):
        return b"".join(self.written)


def client(limit=100):
    slow: list[Client] = []
    return Client(cast(ServerConnection, Wire()), PLAIN, limit, slow.append), slow


def in_loop(scenario):
    async def run():
        scenario()

    asyncio.run(run())


def test_equal_wishes_share_a_group_and_its_bytes():
    """One join, the same object to each."""

    def scenario():
        fanout, clients = Fanout(), [client()[0] for _ in range(3)]
        for one in clients[:2]:
            fanout.move(one, Patterns(["*:*:price.*"]))
        fanout.move(clients[2], EVERYTHING)
        publish(fanout, price())
        publish(fanout, klines())
        fanout.flush()
        assert len(fanout) == 2
        assert clients[0].connection.written[0] is clients[1].connection.written[0]
        assert clients[0].connection.text == frame_of(price().json, PLAIN)
        assert clients[2].connection.text == frame_of(price().json, PLAIN) + frame_of(klines().json, PLAIN)

    in_loop(scenario)


def test_who_moves_gets_what_was_pending_first_and_nothing_of_it_twice():
    """A change of wishes neither loses nor repeats."""

    def scenario():
        fanout, (one, _), (other, _) = Fanout(), client(), client()
        fanout.move(one, EVERYTHING)
        publish(fanout, price("1"))
        fanout.move(other, EVERYTHING)
        publish(fanout, klines(2))
        fanout.move(one, Patterns(["*:*:price.*"]))
        publish(fanout, price("3"))
        publish(fanout, klines(4))
        fanout.flush()
        first, second, third, fourth = (
            frame_of(envelope.json, PLAIN) for envelope in (price("1"), klines(2), price("3"), klines(4))
        )
        assert one.connection.text == first + second + third
        assert other.connection.text == second + third + fourth

    in_loop(scenario)


def test_prices_of_two_exchanges_do_not_replace_each_other():
    """The same symbol and market: for a client that is behind, the newest of each waits."""

    def scenario():
        fanout = Fanout()
        fanout.move(client()[0], EVERYTHING)
        for name in ("bybit", "okx", "bybit"):
            publish(fanout, Envelope(name, "linear", "price", ({"symbol": "BTCUSDT", "price": 1},)))
        (group,) = fanout.wanting("okx:linear:price.BTCUSDT")
        assert len(group.pending) == 3
        assert len({message.conflate for message in group.pending}) == 2

    in_loop(scenario)


def test_groups_without_clients_are_forgotten():
    """A thousand clients that came and went cost nothing."""

    def scenario():
        fanout, (one, _) = Fanout(), client()
        for number in range(100):
            fanout.move(one, Patterns([f"*:*:price.S{number}"]))
        assert (len(fanout), list(fanout.clients())) == (1, [one])
        fanout.leave(one)
        assert (len(fanout), list(fanout.clients()), list(fanout.wanting("bybit:linear:price.S99"))) == (0, [], [])

    in_loop(scenario)


def test_a_full_client_waits_and_goes_on_where_it_was():
    """What does not fit is kept by reference, in order, and sent when there is room."""
    one, slow = client()
    messages = [Message(b"%03d" % number) for number in range(10)]
    one.congested(True)
    one.send_chunks([(b"", messages[:5]), (b"", messages[5:])])
    one.send(Message(b"answer"))
    assert (one.connection.written, len(one.backlog), slow) == ([], 11, [])
    one.congested(False)
    assert one.connection.text == b"".join(m.frame(PLAIN) for m in messages) + frame_of(b"answer", PLAIN)
    assert one.is_idle()


def test_over_its_bound_a_client_is_reported_once_and_holds_nothing():
    """Its memory is free at once, whenever its connection ends."""
    one, slow = client(limit=3)
    one.congested(True)
    for number in range(10):
        one.send(Message(b"%d" % number))
    assert (slow, len(one.backlog), one.is_open) == ([one], 0, False)
    one.congested(False)
    assert one.connection.written == []


def test_nothing_is_written_once_the_connection_closes():
    """No data after the close frame."""
    one, _ = client()
    one.connection.state = State.CLOSING
    one.send(Message(b"late"))
    assert one.connection.written == []
    assert one.is_idle()


def test_much_is_written_in_pieces():
    """So that a client that stops reading in the middle holds one of them, not all."""

    def scenario():
        fanout, (one, _) = Fanout(), client()
        fanout.move(one, EVERYTHING)
        for number in range(1_000):
            publish(fanout, klines(number))
        fanout.flush()
        assert len(one.connection.written) > 1
        assert all(len(piece) < CHUNK_BYTES + 1_000 for piece in one.connection.written)
        assert one.connection.text == b"".join(frame_of(klines(n).json, PLAIN) for n in range(1_000))

    in_loop(scenario)
