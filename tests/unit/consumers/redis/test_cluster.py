"""The cluster publisher without a cluster: what it takes out, what it puts back, when its thread is woken."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from consumers.redis.checkpoint.store import CheckpointOptions
from consumers.redis.cluster import ClusterPublisher
from consumers.redis.options import RedisOptions
from consumers.store.published import EarlierStore
from model.envelope import Envelope
from model.records import LastPublished
from tests.support.klines import kline, klines
from tests.support.wake import put_before_each_sleep

RAW = "stream:bybit_trades"


def publisher(**options: Any) -> ClusterPublisher:
    return ClusterPublisher(RedisOptions("redis://localhost:1/0", backoff_first_s=0.0, **options))


def test_each_symbol_has_its_channel_whatever_it_is_called() -> None:
    """Of a channel whose payloads can be read, and a symbol that they have."""
    symbols = {(RAW, b"1"): "币安人生USDT", (RAW, b"2"): "", ("stream:bybit_ticker", b"1"): "BTC-USDT"}
    one = publisher(cluster="symbol", symbol_of=lambda channel, payload: symbols[channel, payload])
    for channel, payload in symbols:
        one.publish_raw(channel, payload)
    assert [message.channel for message in one.take()] == [f"{RAW}:币安人生USDT", RAW, "stream:bybit_ticker:BTC-USDT"]


def test_klines_that_came_during_a_round_of_reads_wake_the_thread() -> None:
    """The round brought no payload."""
    one = publisher(cluster="kind")
    one.round_started()
    one.offer(klines())
    one.round_finished()
    assert one.wake.wait(0)


def test_a_round_that_brought_nothing_wakes_nobody() -> None:
    """And the next payload does."""
    one = publisher(cluster="kind")
    one.round_started()
    one.round_finished()
    assert not one.wake.wait(0)
    one.wake.arm()
    one.publish_raw(RAW, b"{}")
    assert one.wake.wait(0)


def test_what_comes_at_the_end_of_a_round_wakes_the_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the look at what the round brought, and before others see that they must wake it."""
    one = publisher(cluster="kind")
    put_before_each_sleep(monkeypatch, lambda: one.publish_raw(RAW, b"{}"), lambda: 0)
    for is_woken in (False, True):  # the second time it comes
        one.round_started()
        one.round_finished()
        assert one.wake.wait(0) is is_woken


def test_klines_of_a_node_that_is_away_do_not_hold_up_the_others() -> None:
    """However many wait: those behind them have their turn, and none of them is lost or out of order."""
    one = publisher(cluster="symbol", cluster_batch=10)
    for number in range(25):
        one.offer(klines(number))
    one.offer(klines(symbol="OTHER"))
    away = "stream:bybit_klines:BTCUSDT"
    delivered, tried = [], []
    for _ in range(5):
        messages = one.take()
        failed = [message for message in messages if message.channel == away]
        delivered += [message.channel for message in messages if message.channel != away]
        tried.append(failed)
        one.settle(messages, failed)
    assert delivered == ["stream:bybit_klines:OTHER"]
    waiting = one.take()
    assert [json.loads(message.payload)["data"] for message in waiting] == [
        json.loads(klines(number).json)["data"] for number in range(25)
    ]
    assert tried[-1] == waiting


def test_what_the_cluster_took_is_noted_in_the_store_which_alone_remembers_it() -> None:
    """Of a node that is away nothing is; what an earlier run noted is where the next one goes on."""
    noted: list[Envelope] = []
    one = publisher(cluster="symbol", checkpoint=CheckpointOptions("p"))
    one.note_with(noted.append)
    now = kline(timestamp=int(time.time()) // 60 * 60_000)
    key = ("linear", "BTCUSDT", 60_000)
    earlier = EarlierStore(Path("none"), {key: LastPublished(now.timestamp - 120_000, 0, True)})
    assert one.load_checkpoint(["linear"], earlier).last == earlier.marks

    for symbol in ("BTCUSDT", "AWAY"):
        one.offer(Envelope("bybit", "linear", "klines", (replace(now, symbol=symbol),)))
    messages = one.take()
    one.settle(messages, [message for message in messages if message.channel.endswith("AWAY")])
    one._save_unsent(0)
    assert [(each.data_type, *(head.symbol for head in each.data)) for each in noted] == [("published", "BTCUSDT")]
