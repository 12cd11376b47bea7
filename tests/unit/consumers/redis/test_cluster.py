"""The cluster publisher without a cluster: who is woken, and whose turn it is."""

import json
from typing import Any

import pytest

from consumers.redis import cluster
from consumers.redis.cluster import ClusterPublisher
from consumers.redis.options import RedisOptions
from model.clock import now_ms
from tests.support.klines import klines


def publisher(**options: Any) -> ClusterPublisher:
    return ClusterPublisher(RedisOptions("redis://localhost:1/0", **options))


def test_each_symbol_has_its_channel_whatever_it_is_called() -> None:
    """A Chinese name as it is, and as JSON may write it."""
    one = publisher(cluster="symbol")
    name = "币安人生USDT"
    for topic in (name, json.dumps(name).strip('"')):
        payload = f'{{"topic":"publicTrade.{topic}","data":[]}}'.encode()
        assert one._raw_channel("stream:bybit_trades", payload) == f"stream:bybit_trades:{name}"


@pytest.mark.parametrize("topic", [rb"a.\q", b"a.\\", rb"a.\ud800", b"a.\xff\\u5e01", b"a.\\u5e01\n", b"a", b""])
def test_a_topic_that_is_none_goes_to_the_channel_of_its_kind(topic: bytes) -> None:
    """Somebody handed it in; the messages beside it are not lost by it."""
    one = publisher(cluster="symbol")
    one.publish_raw("stream:bybit_trades", b'{"topic":"' + topic + b'"}')
    one.publish_raw("stream:bybit_trades", b'{"topic":"publicTrade.X"}')
    assert [item.channel for item in one._take()][1:] == ["stream:bybit_trades:X"]


def test_klines_that_came_while_the_bell_was_held_wake_the_thread() -> None:
    """They came during a round of reading that brought no payload."""
    one = publisher(cluster="kind")
    one.hold()
    one.offer(klines())
    one.send_waiting()
    assert one._bell.sleep(0)


def test_nothing_that_waits_wakes_nobody() -> None:
    """And the next that comes does."""
    one = publisher(cluster="kind")
    one.hold()
    one.send_waiting()
    assert not one._bell.sleep(0)
    one._bell.listen()
    one.publish_raw("stream:bybit_trades", b"{}")
    assert one._bell.sleep(0)


def test_klines_of_a_node_that_is_away_do_not_hold_up_the_others(monkeypatch: Any) -> None:
    """However many wait: those behind them have their turn, and none of them is lost or out of order."""
    monkeypatch.setattr(cluster, "BATCH_MESSAGES", 10)
    one = publisher(cluster="symbol")
    one._stopping.set()  # no pauses
    for number in range(25):
        one.offer(klines(number))
    one._klines.absorb(now_ms())
    away = one._backlog.take(0)
    assert away is not None
    one._backlog.put_back([away])
    other = away._replace(channel="stream:bybit_klines:OTHER")
    one._backlog.append(other)
    delivered = []
    for _ in range(5):
        items = one._take()
        failed = [item for item in items if item.channel == away.channel]
        delivered += [item for item in items if item.channel != away.channel]
        one._settle(items, failed)
    assert delivered == [other]
    waiting = one._take()
    assert [item.channel for item in waiting] == [away.channel] * 25
    assert waiting[0] == away
