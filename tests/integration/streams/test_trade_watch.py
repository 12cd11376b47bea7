"""A trades topic that falls silent on a connection that lives, found by the ticker's price on another one."""

import time
from itertools import count
from typing import Any

import pytest

from streams.watch import TradeWatchOptions
from tests.integration.streams.conftest import Harness
from tests.support.callbacks import Recorded
from tests.support.events import RecordedEvents
from tests.support.scripted_exchange import ScriptedExchange

TRADE = b'{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1,"data":[]}'


def ticker(price: int) -> bytes:
    head = b'{"topic":"tickers.BTCUSDT","type":"snapshot","data":{"symbol":"BTCUSDT","lastPrice":"%d"},"cs":1,"ts":%d}'
    return head % (price, time.time_ns() // 1_000_000)


QUICK = TradeWatchOptions(check_s=0.05, margin_s=0.3, timeout_s=0.2)  # seconds become tenths


@pytest.mark.parametrize("is_watched", [True, False])
def test_a_topic_silent_while_its_price_moves_is_marked_and_resubscribed(
    harness: Harness, exchange: ScriptedExchange, *, is_watched: bool
) -> None:
    """Its neighbours stay; where it is not watched, nothing happens."""
    events = RecordedEvents()
    patient: dict[str, Any] = {"ping_interval_s": 0.5, "pong_timeout_s": 5.0, "silence_timeout_s": 5.0}
    feed = harness.feed(watch_trades=is_watched, trade_watch=QUICK, events=events, **patient)
    sink, prices = Recorded(), count(1)
    harness.start(
        ("T", feed.run, ("trades", ["BTCUSDT", "ETHUSDT"], sink)),
        ("P", feed.run, ("ticker", ["BTCUSDT"], Recorded())),
    )
    harness.wait(lambda: harness.state("T") == harness.state("P") == "live")
    exchange.send(TRADE)
    begin_s = time.monotonic()

    def price_moves() -> bool:
        exchange.send(ticker(next(prices)))
        time.sleep(0.03)
        return bool(exchange.unsubscribed) or (not is_watched and time.monotonic() > begin_s + 1.5)

    harness.wait(price_moves, 20)

    assert exchange.unsubscribed[:1] == ([["publicTrade.BTCUSDT"]] if is_watched else [])
    if is_watched:
        harness.wait(lambda: ["publicTrade.BTCUSDT"] in exchange.subscribed)
        harness.wait(lambda: sink.marks[-1:] == [("up", ("BTCUSDT",))])
        assert ("down", ("BTCUSDT",)) in sink.marks
        assert ("down", ("ETHUSDT",)) not in sink.marks
        assert [fields["topic"] for fields in events.of("stale")][:1] == ["publicTrade.BTCUSDT"]
