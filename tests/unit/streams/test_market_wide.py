"""Streams of topics that are of all symbols: narrowed to the stream's own, but whole where the user names the topic."""

from typing import Any, cast

import pytest

from exchanges.contract import Endpoints
from exchanges.okx.venue import VENUE
from model.ports import Dial
from streams.feed import FeedOptions, MarketFeed
from tests.support.events import RecordedEvents

OURS = b'{"arg":{"channel":"liquidation-orders","instType":"SWAP"},"data":[{"instId":"BTC-USDT-SWAP"}]}'
OTHERS = b'{"arg":{"channel":"liquidation-orders","instType":"SWAP"},"data":[{"instId":"ETH-USD-SWAP"}]}'


class Link:
    """An open connection that hands the receiver two payloads, and ends."""

    last_frame_ms, last_data_s, stopped = 1, None, False

    def send(self, text: str) -> None: ...

    def send_ping_frame(self, payload: bytes) -> None: ...

    def succeeded(self) -> None: ...

    def close(self) -> None: ...

    def read_until_closed(self, receiver: Any, **_options: object) -> None:
        for payload in (OURS, OTHERS):
            receiver.other(payload)


@pytest.mark.parametrize(
    ("kind", "symbols", "expected", "named"),
    [
        ("liquidations", ["ETH-USDT-SWAP", "BTC-USDT-SWAP"], [OURS], ["BTC-USDT-SWAP", "ETH-USDT-SWAP"]),
        ("topics", ["liquidation-orders:SWAP"], [OURS, OTHERS], ["SWAP"]),
    ],
)
def test_market_wide_topic_is_narrowed_unless_it_is_named(kind, symbols, expected, named):
    """OKX has one topic of the liquidations of all swaps. Status events name the symbols that it is narrowed to."""
    events = RecordedEvents()
    seen: list[bytes] = []
    dial = cast(Dial, lambda _url: Link())
    protocol = VENUE.protocol("linear", Endpoints())
    feed = MarketFeed(protocol, FeedOptions(), dial=dial, report=lambda *_: None, events=events)
    feed.run(kind, symbols, seen.append)

    assert seen == expected
    assert [(event, fields["symbols"]) for event, fields in events.emitted] == [("disconnected", named)]
