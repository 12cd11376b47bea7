"""The aggregator on its real thread and the real clock: it wakes, closes in time, drains, ends."""

import json
import threading
import time

import pytest

from aggregation.aggregator import Aggregator
from exchanges.bybit.trades import trade_decoder
from exchanges.contract import TradeRules
from model.intervals import parse_interval
from model.records import TradeBatch
from tests.support.markers import feed_up
from tests.support.waiting import wait_until
from tests.support.wake import put_before_each_sleep


def payload(symbol, ms, price="10.5", size="0.25", trade_id=""):
    data = [{"T": ms, "s": symbol, "S": "Buy", "v": size, "p": price, "i": trade_id, "BT": False, "seq": 1}]
    return json.dumps({"topic": f"publicTrade.{symbol}", "type": "snapshot", "ts": ms, "data": data}).encode()


def now_ms():
    return time.time_ns() // 1_000_000


@pytest.fixture
def published():
    return []


@pytest.fixture
def aggregator(published):
    def publish(_market, klines):
        published.extend((now_ms(), kline) for kline in klines)

    trades = trade_decoder(TradeRules(), lambda _cause, _sample: None)
    decode = lambda _market, payloads: trades(payloads)  # noqa: E731
    made = Aggregator(["linear"], [parse_interval("1s")], decode, publish, grace_ms=100)
    made.start()
    yield made
    assert made.stop(time.monotonic() + 5)


def test_quiet_symbol_closes_on_time(aggregator, published):
    """Without trades each second is over a grace after its end, within a fraction of a second."""
    aggregator.queues["linear"].put_control(feed_up(("BTCUSDT",), now_ms()))
    aggregator.queues["linear"].put(payload("BTCUSDT", now_ms()))
    wait_until(lambda: len(published) >= 2)

    late_ms = [at_ms - kline.timestamp - 1_000 for at_ms, kline in published[:2]]
    assert all(100 <= late < 900 for late in late_ms)
    assert published[1][1].timestamp == published[0][1].timestamp + 1_000


def test_what_comes_as_the_thread_lies_down_is_not_slept_over(monkeypatch):
    """It arms its signal first, and then looks once more."""
    trades = trade_decoder(TradeRules(), lambda _cause, _sample: None)
    decode = lambda _market, payloads: trades(payloads)  # noqa: E731
    made = Aggregator(["linear"], [parse_interval("1m")], decode, lambda *_: None)
    queue = made.queues["linear"]
    left = put_before_each_sleep(monkeypatch, lambda: queue.put(payload("BTCUSDT", now_ms())), lambda: len(queue))
    made.start()
    try:
        wait_until(lambda: len(left) >= 5)
    finally:
        assert made.stop(time.monotonic() + 5)

    assert not any(left)


def test_steady_flood_does_not_hold_back_the_clock(aggregator, published):
    """A writer that never pauses keeps the queue from ever being empty; a quiet symbol closes all the same."""
    queue, stop = aggregator.queues["linear"], threading.Event()

    def flood():
        while not stop.is_set():
            queue.put(payload("FLOOD", now_ms()))

    writer = threading.Thread(target=flood, name="flood")
    queue.put(payload("QUIET", now_ms()))
    writer.start()
    try:
        wait_until(lambda: any(kline.symbol == "QUIET" for _, kline in list(published)))
    finally:
        stop.set()
        writer.join()


def test_who_waits_for_open_klines_does_not_wait_for_the_pause(monkeypatch):
    """A pause of a minute between two batches ends at once."""
    monkeypatch.setattr("aggregation.aggregator.PAUSE_LEAST_S", 60.0)
    monkeypatch.setattr("aggregation.aggregator.PAUSE_MOST_S", 60.0)
    monkeypatch.setattr("aggregation.aggregator.IDLE_S", 60.0)
    trades = trade_decoder(TradeRules(), lambda _cause, _sample: None)
    made = Aggregator(["linear"], [parse_interval("1d")], lambda _market, payloads: trades(payloads), lambda *_: None)
    wanted: set[str] = set()
    offered, asked = [], threading.Event()
    made.share_open_klines(lambda _market: wanted, lambda _market, klines: offered.extend(klines), 3600.0, asked.is_set)
    made.queues["linear"].put(payload("BTCUSDT", now_ms()))
    made.start()
    try:
        wait_until(lambda: not len(made.queues["linear"]))
        wanted.add("BTCUSDT")
        asked.set()
        made.hurry()
        wait_until(lambda: offered)
    finally:
        assert made.stop(time.monotonic() + 5)
    assert offered[0].symbol == "BTCUSDT"


def test_a_batch_waits_until_the_reads_are_done_but_not_for_ever():
    """The reader of the sockets ends the wait; without it the batch begins after its limit."""
    intervals, empty = [parse_interval("1d")], TradeBatch([], [], [], [], [], [])
    waits = []
    for limit_s, are_reads_done in ((30.0, True), (0.2, False)):
        idle = Aggregator(["linear"], intervals, lambda *_: empty, lambda *_: None, reads_done_wait_s=limit_s)
        begin_s = time.monotonic()
        waiting = threading.Thread(target=idle.await_reads_done, name="waiting")
        waiting.start()
        while waiting.is_alive():
            if are_reads_done and idle.reads.over.is_armed:
                idle.reads.over.set()
            time.sleep(0.01)
        waits.append(time.monotonic() - begin_s)
    assert waits[0] < 15
    assert waits[1] >= 0.2


def test_work_gives_way_to_a_round_of_reads_after_each_slice(monkeypatch):
    """Not before its slice is over, nor when it is to end."""
    intervals, empty = [parse_interval("1d")], TradeBatch([], [], [], [], [], [])
    idle, waits = Aggregator(["linear"], intervals, lambda *_: empty, lambda *_: None), []
    monkeypatch.setattr("model.wake.ReadRound.give_way", lambda each, _limit_s: waits.append(each.goes_on))
    monkeypatch.setattr("aggregation.aggregator.SLICE_S", 60.0)
    idle.reads.goes_on = True
    idle.give_way()
    idle.give_way()  # within the slice that has begun
    assert waits == [True]
    monkeypatch.setattr("aggregation.aggregator.SLICE_S", 0.0)
    idle.step()  # a new slice
    idle.reads.goes_on = False
    idle.give_way()
    idle.give_way()
    assert waits == [True, False, False]
    idle._stop.set()
    idle.give_way()
    assert len(waits) == 3


def test_a_market_may_come_while_it_runs(aggregator, published):
    """An entry of the user's names one that the settings do not: its klines close beside the others'."""
    for market in ("spot", "inverse"):
        aggregator.add_market(market)
        aggregator.queues[market].put_control(feed_up((market,), now_ms()))
        aggregator.queues[market].put(payload(market, now_ms()))
    queues = aggregator.queues
    aggregator.add_market("spot")

    assert aggregator.queues is queues, "what waits in a queue must not be lost"
    wait_until(lambda: {kline.symbol for _, kline in published} == {"spot", "inverse"})


def test_stop_counts_what_has_arrived(aggregator, published):
    """What was in the queue when the end was asked for is counted, and what it closes is published."""
    start = now_ms() // 1_000 * 1_000 - 60_000
    queue = aggregator.queues["linear"]
    for i in range(5_000):
        queue.put(payload("BTCUSDT", start + i, trade_id=str(i)))
    assert aggregator.stop(time.monotonic() + 5)

    traded = sum({k.timestamp: k.trade_count for _, k in published}.values())
    assert traded + aggregator.stats()["late_dropped"] == 5_000
    assert aggregator.stats()["waiting"] == 0


def test_dead_thread_is_seen(aggregator):
    """The thread that must live is dead after the end, and a second stop is no harm."""
    (thread,) = aggregator.threads()
    assert thread.is_alive()
    assert aggregator.stop(time.monotonic() + 5)
    assert aggregator.threads() == [thread]
    assert not thread.is_alive()
