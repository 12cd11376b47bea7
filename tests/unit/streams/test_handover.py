"""The merge of two connections of one stream: hand-written sequences, and any interleaving of two delayed copies."""

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchanges.binance.venue import VENUE as BINANCE
from exchanges.bybit.venue import VENUE as BYBIT
from exchanges.contract import Endpoints, Venue
from exchanges.okx.venue import VENUE as OKX
from model.records import FeedMarker, Kind
from streams.handover import HELD_MOST, Handover, HandoverTimes, identities
from tests.support.callbacks import Recorded
from tests.support.clock import FakeClock

TIMES = HandoverTimes(overlap_s=1.0)


def trade(number: int, sent_ms: int | None = None) -> bytes:
    """A trade of Binance's."""
    ms = 1_000 + number if sent_ms is None else sent_ms
    return b'{"stream":"btcusdt@trade","data":{"e":"trade","E":%d,"s":"BTCUSDT","t":%d,"p":"1"}}' % (ms, number)


def okx_book(last: int, own: int, *, is_whole: bool = False, padding: int = 0) -> bytes:
    """A message of OKX's 400 levels."""
    action = b"snapshot" if is_whole else b"update"
    return (
        b'{"arg":{"channel":"books","instId":"BTC-USDT-SWAP"},"action":"%s","data":[{"asks":[],"bids":[],"ts":"%d",'
        b'"checksum":1,"seqId":%d,"prevSeqId":%d,"x":%d}]}' % (action, 1_000 + own, own, last, padding)
    )


def ticker(number: int, *, is_whole: bool = False, stamp: str = "") -> bytes:
    """A ticker of Bybit's; `stamp` makes the two connections' messages differ."""
    kind = "snapshot" if is_whole else "delta"
    text = f'{{"topic":"tickers.BTCUSDT","type":"{kind}","n":{number},"ts":{1_000 + number}{stamp}}}'
    return text.encode()


class Merge:
    """A handover of one topic with a fake clock."""

    def __init__(self, venue: Venue = BINANCE, kind: Kind = "trades", topic: str = "btcusdt@trade") -> None:
        self.clock, self.sink = FakeClock(), Recorded()
        protocol = venue.protocol("linear", Endpoints())
        frames = protocol.frames(kind, [topic])
        self.handover = Handover(
            self.sink,
            frames,
            identities(kind, frames, venue.trade_keys),
            may_cut=kind != "trades",
            times=TIMES,
            clock=self.clock,
        )
        self.handover.begin(0)
        self.keys = [protocol.key_of(kind, topic)]

    def subscribe(self, up_ms: int = 5) -> None:
        """The new connection's topics are acknowledged."""
        self.handover.new.mark(marker("up", connection=2, at_ms=up_ms))
        self.handover.subscribed(self.keys)

    def old(self, *payloads: bytes) -> None:
        self.handover.old.put_all(payloads)

    def new(self, *payloads: bytes) -> None:
        self.handover.new.put_all(payloads)

    def tick(self, seconds: float = 0.0) -> bool:
        self.clock.now_s += seconds
        return self.handover.tick()

    @property
    def got(self) -> list[bytes]:
        return self.sink.payloads


def marker(kind: Any, *, connection: int, at_ms: int = 0) -> FeedMarker:
    return FeedMarker(kind, "linear", ("BTCUSDT",), at_ms, connection, None)


def test_a_new_connection_that_is_behind_takes_over_where_it_has_come_to_what_is_known() -> None:
    """What the old one has delivered is not repeated; from there on the first to bring a trade delivers it."""
    merge = Merge()
    merge.old(trade(1), trade(2), trade(3))
    merge.subscribe()
    merge.new(trade(2))
    assert not merge.tick(TIMES.overlap_s / 2)  # both are open for a while
    merge.old(trade(4))
    merge.new(trade(3), trade(4), trade(5))
    merge.old(trade(5), trade(6))
    assert merge.tick(TIMES.overlap_s)
    assert merge.handover.take_over()
    merge.new(trade(6), trade(7))
    assert merge.got == [trade(number) for number in range(1, 8)]


def test_a_new_connection_that_is_ahead_is_held_until_the_old_one_has_come_so_far() -> None:
    """Else its trades would stand before those that the old one is about to bring."""
    merge = Merge()
    merge.subscribe()
    merge.old(trade(1))
    merge.new(trade(3), trade(4))
    assert merge.got == [trade(1)]
    merge.old(trade(2))
    assert merge.got == [trade(1), trade(2)]
    merge.old(trade(3))
    assert merge.got == [trade(1), trade(2), trade(3), trade(4)]
    merge.old(trade(4), trade(5))
    assert merge.got[-1] == trade(5)
    assert len(merge.got) == 5


def test_a_trade_that_the_exchange_repeats_on_subscription_is_not_delivered_again() -> None:
    """OKX sends the last trade, which may be minutes old."""
    merge = Merge()
    merge.handover.begin(trade_sent_ms := 1_007)
    merge.subscribe()
    merge.new(trade(7, trade_sent_ms))
    assert not merge.tick(TIMES.overlap_s)
    assert merge.tick(TIMES.quiet_s)
    assert merge.handover.take_over()
    merge.new(trade(8))
    assert merge.got == [trade(8)]


def test_a_quiet_topic_is_taken_over_with_what_came_on_the_new_connection_alone() -> None:
    """The old one does not bring it for three seconds: it will not any more."""
    merge = Merge()
    merge.handover.begin(1_000)
    merge.subscribe()
    merge.new(trade(1))
    assert not merge.tick(TIMES.quiet_s - 0.1)
    assert merge.tick(0.2)
    assert merge.got == []
    assert merge.handover.take_over()
    assert merge.got == [trade(1)]


def test_a_connection_that_stalls_and_goes_on_later_does_not_turn_the_order_back() -> None:
    """What it brings before the new one has taken over comes first; what it brings after that is not delivered."""
    merge = Merge()
    merge.old(trade(1))
    merge.subscribe()
    merge.new(trade(4), trade(5))
    assert merge.tick(TIMES.quiet_s + TIMES.overlap_s)  # silent for so long
    merge.old(trade(2), trade(3))
    assert not merge.tick()
    merge.clock.now_s += TIMES.quiet_s
    assert merge.handover.take_over()
    merge.old(trade(4), trade(6))
    merge.new(trade(6))
    assert merge.got == [trade(number) for number in range(1, 7)]


def test_a_connection_that_does_not_bring_what_the_old_one_does_never_takes_over() -> None:
    """It was acknowledged, and is silent."""
    merge = Merge()
    merge.subscribe()
    merge.tick(TIMES.overlap_s + 0.1)
    merge.old(trade(1))
    assert not merge.tick(TIMES.limit_s)
    merge.new(trade(1))
    assert merge.tick()


def test_what_is_held_is_delivered_when_the_old_connection_ends() -> None:
    """The up marker first: of what the new connection brings from then on nothing is lost."""
    merge = Merge()
    merge.subscribe(up_ms=77)
    merge.old(trade(1))
    merge.new(trade(3), trade(4))
    assert merge.handover.take_over()
    merge.handover.old.mark(marker("down", connection=1))
    merge.new(trade(5))
    kinds = [item.kind if isinstance(item, FeedMarker) else item for item in merge.sink.seen]
    assert kinds == [trade(1), "up", trade(3), trade(4), "down", trade(5)]


def test_a_new_connection_without_topics_is_cancelled_when_the_old_one_ends() -> None:
    """It must not deliver, nor be up, without a marker between."""
    merge = Merge()
    assert not merge.handover.take_over()
    merge.subscribe()
    merge.new(trade(1))
    assert merge.sink.seen == []
    assert not merge.handover.take_over()


def test_a_cancelled_connection_leaves_the_old_one_as_it_is() -> None:
    """What the new one delivered first is not repeated by the old one; its markers are not seen."""
    merge = Merge()
    merge.subscribe()
    merge.old(trade(1))
    merge.new(trade(1), trade(2))
    assert merge.handover.cancel()
    merge.new(trade(3))
    merge.handover.new.mark(marker("down", connection=2))
    merge.old(trade(2), trade(3))
    assert merge.got == [trade(1), trade(2), trade(3)]
    assert merge.sink.marks == []


def test_a_connection_that_lost_messages_cannot_take_over() -> None:
    """Its trades do not follow one another."""
    merge = Merge()
    merge.subscribe()
    merge.handover.new.mark(marker("down", connection=2))
    assert merge.handover.problem == "the new connection has lost messages"


def test_what_is_held_is_bounded() -> None:
    """An old connection far behind is not waited for."""
    merge = Merge()
    merge.subscribe()
    merge.new(*[trade(number) for number in range(HELD_MOST)])
    assert not merge.handover.problem
    merge.new(trade(HELD_MOST))
    assert "too far behind" in merge.handover.problem


def test_a_numbered_book_goes_on_without_its_snapshot() -> None:
    """The snapshot has the id of a change that is known: what follows it follows that."""
    merge = Merge(OKX, "orderbook", "books:BTC-USDT-SWAP")
    merge.old(okx_book(10, 15), okx_book(15, 19))
    merge.subscribe()
    merge.new(okx_book(-1, 19, is_whole=True), okx_book(19, 24))
    merge.old(okx_book(19, 24), okx_book(24, 25))
    merge.new(okx_book(24, 25))
    assert merge.got == [okx_book(10, 15), okx_book(15, 19), okx_book(19, 24), okx_book(24, 25)]


def test_a_message_without_changes_repeats_an_id_and_is_delivered() -> None:
    """OKX sends one a minute in a quiet book."""
    merge = Merge(OKX, "orderbook", "books:BTC-USDT-SWAP")
    merge.old(okx_book(10, 15))
    merge.subscribe()
    merge.new(okx_book(-1, 15, is_whole=True), okx_book(15, 15))
    merge.old(okx_book(15, 15))
    assert merge.got == [okx_book(10, 15), okx_book(15, 15)]


def test_a_book_whose_changes_are_cut_otherwise_goes_over_at_its_snapshot() -> None:
    """The two connections have no id in common."""
    merge = Merge(OKX, "orderbook", "books:BTC-USDT-SWAP")
    merge.subscribe()
    merge.new(okx_book(-1, 12, is_whole=True), okx_book(12, 14))
    merge.old(okx_book(10, 13))
    merge.tick(TIMES.quiet_s - 0.5)
    merge.old(okx_book(13, 15))
    assert not merge.tick(TIMES.cut_s - TIMES.quiet_s)
    assert merge.tick(0.5)
    merge.old(okx_book(15, 17))
    assert merge.handover.take_over()
    merge.old(okx_book(17, 18))
    merge.new(okx_book(14, 16))
    new = [okx_book(-1, 12, is_whole=True), okx_book(12, 14), okx_book(14, 16)]
    assert merge.got == [okx_book(10, 13), okx_book(13, 15), okx_book(15, 17), *new]


def test_a_book_stays_with_the_old_connection_where_the_new_one_ends_first() -> None:
    """None of its changes is missing, although the new one was ready to take it over."""
    merge = Merge(OKX, "orderbook", "books:BTC-USDT-SWAP")
    merge.subscribe()
    merge.new(okx_book(-1, 12, is_whole=True), okx_book(12, 14))
    merge.old(okx_book(10, 13))
    assert merge.tick(TIMES.cut_s)
    assert merge.handover.cancel()
    merge.old(okx_book(13, 15))
    assert merge.got == [okx_book(10, 13), okx_book(13, 15)]


def test_tickers_without_ids_are_told_apart_by_their_bytes() -> None:
    """A change that both bring is delivered once, and the snapshot not at all."""
    merge = Merge(BYBIT, "ticker", "tickers.BTCUSDT")
    merge.old(ticker(1))
    merge.subscribe()
    merge.new(ticker(1, is_whole=True), ticker(2))
    merge.old(ticker(2))
    merge.new(ticker(3))
    merge.old(ticker(3))
    assert merge.got == [ticker(1), ticker(2), ticker(3)]


def test_tickers_that_differ_between_connections_go_over_at_the_snapshot() -> None:
    """After a while: perhaps they are only late."""
    merge = Merge(BYBIT, "ticker", "tickers.BTCUSDT")
    merge.subscribe()
    merge.new(ticker(1, is_whole=True), ticker(2, stamp=" "))
    merge.old(ticker(1))
    merge.tick(TIMES.quiet_s - 0.5)
    merge.old(ticker(2))
    assert not merge.tick(TIMES.cut_s - TIMES.quiet_s)
    assert merge.tick(0.5)
    assert merge.handover.take_over()
    merge.new(ticker(3, stamp=" "))
    merge.old(ticker(3))
    new = [ticker(1, is_whole=True), ticker(2, stamp=" "), ticker(3, stamp=" ")]
    assert merge.got == [ticker(1), ticker(2), *new]


def test_a_users_function_that_fails_costs_its_message_alone() -> None:
    """The failure is counted by the session of the connection that brought it."""
    got: list[bytes] = []
    failed: list[bytes] = []

    def callback(payload: bytes) -> None:
        if payload == trade(2):
            raise ZeroDivisionError
        got.append(payload)

    frames = BINANCE.protocol("linear", Endpoints()).frames("trades", ["btcusdt@trade"])
    handover = Handover(callback, frames, identities("trades", frames, BINANCE.trade_keys), may_cut=False)
    handover.old.failed = lambda payload, _error: failed.append(payload)
    handover.old.put_all([trade(1), trade(2), trade(3)])
    assert (got, failed) == ([trade(1), trade(3)], [trade(2)])


@pytest.mark.parametrize("kind", ["trades", "orderbook", "ticker"])
@settings(deadline=None)
@given(data=st.data())
def test_any_interleaving_gives_the_stream_once_and_in_order(kind: Kind, data: st.DataObject) -> None:
    """Two connections carry one stream, each with its own delays; the new one begins anywhere the old one is near."""
    if kind == "trades":
        merge = Merge()
        stream = [trade(number) for number in range(40)]
    elif kind == "orderbook":
        ids = [100]
        for step in data.draw(st.lists(st.integers(1, 5), min_size=40, max_size=40)):
            ids.append(ids[-1] + step)
        merge = Merge(OKX, "orderbook", "books:BTC-USDT-SWAP")
        stream = [okx_book(last, own) for last, own in itertools.pairwise(ids)]
    else:
        merge = Merge(BYBIT, "ticker", "tickers.BTCUSDT")
        stream = [ticker(number) for number in range(40)]
    before = data.draw(st.integers(1, 15))  # what the old connection brings before the new one is subscribed
    start = data.draw(st.integers(0, 25))  # where the new one begins: behind the old one, or ahead
    merge.old(*stream[:before])
    merge.subscribe()
    merge.tick(TIMES.overlap_s)
    old, new = before, start
    while old < 40 or new < 40:
        is_old = new >= 40 or (old < 40 and data.draw(st.booleans()))
        count = data.draw(st.integers(1, 4))
        if is_old:
            merge.old(*stream[old : old + count])
            old += count
        else:
            merge.new(*stream[new : new + count])
            new += count
        if merge.tick() and data.draw(st.booleans()):  # the old one is closed
            assert merge.handover.take_over()
            merge.new(*stream[new:])
            break
    assert merge.got == stream
