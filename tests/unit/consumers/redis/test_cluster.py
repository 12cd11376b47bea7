"""The cluster publisher without a cluster: what it takes out, what it puts back, when its thread is woken."""

import json
from typing import Any

import pytest

from consumers.redis.cluster import ClusterPublisher
from consumers.redis.options import RedisOptions
from tests.support.klines import klines
from tests.support.wake import put_before_each_sleep

RAW = "stream:bybit_trades"


def publisher(**options: Any) -> ClusterPublisher:
    return ClusterPublisher(RedisOptions("redis://localhost:1/0", backoff_first_s=0.0, **options))


def test_each_symbol_has_its_channel_whatever_it_is_called() -> None:
    """A Chinese name as it is, and as JSON may write it."""
    one = publisher(cluster="symbol")
    name = "币安人生USDT"
    for topic in (name, json.dumps(name).strip('"')):
        one.publish_raw(RAW, f'{{"topic":"publicTrade.{topic}","data":[]}}'.encode())
    assert [message.channel for message in one.take()] == [f"{RAW}:{name}"] * 2


@pytest.mark.parametrize("topic", [rb"a.\q", b"a.\\", rb"a.\ud800", b"a.\xff\\u5e01", b"a.\\u5e01\n", b"a", b""])
def test_a_topic_that_is_none_goes_to_the_channel_of_its_kind(topic: bytes) -> None:
    """A user's program handed it in; the messages beside it are not lost by it."""
    one = publisher(cluster="symbol")
    one.publish_raw(RAW, b'{"topic":"' + topic + b'"}')
    one.publish_raw(RAW, b'{"topic":"publicTrade.X"}')
    assert [message.channel for message in one.take()][1:] == ["stream:bybit_trades:X"]


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
