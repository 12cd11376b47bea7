"""The redis output for a Redis or Valkey Cluster: SPUBLISH, so that every node carries its own channels.

Thread `consumer-redis`. redis-py's cluster client holds the slots and the connections. Payloads of a node that is away
are dropped and counted, its klines wait; the channels of the other nodes go on.
"""

import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import structlog
from redis.cluster import ClusterNode

from consumers.health import ConsumerStats
from consumers.redis.backlog import QueuedMessage
from consumers.redis.channels import symbol_channel
from consumers.redis.connection import LOST, bounded_cluster
from consumers.redis.kline_queue import KlineQueue
from consumers.redis.options import RedisOptions
from consumers.redis.publisher import Publisher
from model.clock import now_ms
from model.events import NO_EVENTS, REASON_CHARACTERS, EventSink
from model.pacing import ThrottledLogger

log = structlog.get_logger()

NODE_TIMEOUT_S = 2.0  # a node that does not answer holds up the others for as long
AWAY_S = 0.5  # a node that failed is tried again after this
SLOTS = 16_384
BATCH_BYTES = 4 * 1024 * 1024  # per step
KEPT_BACK = 20_000  # klines of nodes that are away, tried again at once, so that those behind them are sent too
LOOK_S = 0.5  # idle: how often klines that wait for a node are tried, and what was published is noted


class ClusterPublisher(Publisher):
    """Publishes to a cluster; `options.cluster`: a channel, and so a slot, per kind or symbol.

    Per symbol the channels are named `<channel>:<SYMBOL>`. The checkpoint is in the store alone.
    """

    checkpoints_in_redis = False

    def __init__(self, options: RedisOptions, events: EventSink = NO_EVENTS) -> None:
        super().__init__(options, events)
        self._is_per_symbol = options.cluster == "symbol"
        self._klines = KlineQueue(self._backlog, options.main_key, is_per_symbol=self._is_per_symbol)
        self._nodes = ClusterNodes(options.url, self._record_down, self._on_all_back)
        self._was_whole = False
        self._hold_until_s = 0.0  # klines wait so long for subscribers to be back too
        self._is_held = False  # whether they did when some were taken last
        self._kept_back = 0  # klines at the head of the backlog that a node did not take
        self._delivered = self._klines_delivered = 0

    # -- any thread ------------------------------------------------------------------------------------

    def validate(self) -> None:
        """Raise ValueError for a URL that no cluster has; connects to nothing."""
        if self._options.url.startswith("unix"):
            raise ValueError("REDIS_CLUSTER: a cluster has no unix socket; allowed: redis:// or rediss:// of one node")

    def round_finished(self) -> None:
        """Wake the thread once for all that was put: a cluster is not written to by another thread."""
        self.wake.arm()
        if self._has_new:
            self.wake.set()

    @property
    def is_connected(self) -> bool:
        """Whether the cluster's slots were read and no node of it is away."""
        return self._nodes.is_known and not self._nodes.away

    def stats(self) -> ConsumerStats:
        """Count messages, as `RedisPublisher` does."""
        return self._stats(
            delivered=self._delivered,
            klines_delivered=self._klines_delivered,
            errors=self._nodes.refused,
            nodes_away=self._nodes.away,
            receivers=self._nodes.receivers,
        )

    # -- consumer-redis thread -------------------------------------------------------------------------

    def take(self) -> list[QueuedMessage]:
        """Take out a batch for all nodes: klines first, then raw payloads, which have no klines in them."""
        messages: list[QueuedMessage] = []
        at_ms = now_ms()
        batch = self._options.cluster_batch
        self._is_held = time.monotonic() < self._hold_until_s
        limit = 0 if self._is_held else batch + self._kept_back
        self._klines.move_to_backlog(at_ms)
        while len(messages) < limit and (message := self._backlog.take(at_ms)):
            messages.append(message)
        for channel, payloads, _ in self.raw.take(BATCH_BYTES, max(0, batch - len(messages)) + batch):
            name = channel.decode() if isinstance(channel, bytes) else channel
            messages += [QueuedMessage(0, 0, self._raw_channel(name, payload), payload) for payload in payloads]
        return messages

    def settle(self, messages: list[QueuedMessage], failed: list[QueuedMessage]) -> None:
        """Count what was taken of a batch, and put back the klines that `failed`; waits a moment where any did."""
        back = set(map(id, failed))
        kept = []
        for message in messages:
            if id(message) not in back:
                self._delivered += 1
                self._klines_delivered += message.klines
                if message.klines:
                    self._checkpoint.confirm(self._checkpoint.stage(message.payload))
            elif message.received_ms:  # klines: raw payloads have no time
                kept.append(message)
            else:
                self._lost += 1
        self._kept_back = min(len(kept), KEPT_BACK)
        self._backlog.put_back(kept)
        if failed:
            self._stopping.wait(self._options.backoff_first_s)

    def _is_over(self) -> bool:
        return super()._is_over() or (self._stopping.is_set() and not self._nodes.is_known)

    def _step(self) -> bool:
        """Connect where there is no connection, send what waits, sleep; False when stopping and all is sent."""
        if not self._nodes.is_known:
            self._backoff.attempts += 1
            self._nodes.connect()
            self._backoff.attempts = 0
        self._nodes.probe()
        if self._nodes.is_known and (messages := self.take()):
            self.settle(messages, self._nodes.publish(messages))
        self._checkpoint.note_if_due(time.monotonic(), now_ms())
        if self._stopping.is_set():
            return self._has_new or len(self._backlog) > 0
        self.wake.arm()
        if not self._has_new:
            held_s = max(0.0, self._hold_until_s - time.monotonic()) if self._is_held else LOOK_S
            self.wake.wait(min(LOOK_S, held_s))
        return True

    def _raw_channel(self, channel: str, payload: bytes) -> str:
        if not self._is_per_symbol or channel == self._options.main_key:
            return channel
        symbol = self._options.symbol_of(channel, payload)
        return symbol_channel(channel, symbol) if symbol else channel

    def _close(self) -> int:
        self._nodes.close()
        return 0  # no step leaves one in flight

    def _on_all_back(self) -> None:
        if self.health.is_down:
            self._hold_until_s = time.monotonic() + self._options.subscribers_wait_s
        elif self._was_whole:
            return
        self._was_whole = True
        self._record_up(len(self._backlog))


class ClusterNodes:
    """The nodes of one cluster and their slots; every node gets its own messages in one pipeline. One thread.

    `on_lost(error)` is called when a node goes, `on_all_back()` when all are there again.
    """

    def __init__(self, url: str, on_lost: Callable[[Exception], object], on_all_back: Callable[[], object]) -> None:
        self._url, self._on_lost, self._on_all_back = url, on_lost, on_all_back
        self._cluster: Any = None
        self._away_until_s: dict[str, float] = {}
        self._logger = ThrottledLogger(log)
        self.receivers = self.refused = 0

    @property
    def is_known(self) -> bool:
        """Whether the slots of the cluster were read."""
        return self._cluster is not None

    @property
    def away(self) -> int:
        """Nodes that did not answer the last command."""
        return len(self._away_until_s)

    def connect(self) -> None:
        """Read the slots of the cluster; raises redis-py's errors where no node answers."""
        self._cluster = bounded_cluster(self._url, NODE_TIMEOUT_S)
        self._check_coverage()

    def close(self) -> None:
        """Close all connections."""
        cluster, self._cluster = self._cluster, None
        if cluster is not None:
            cluster.close()

    def probe(self) -> None:
        """Ping nodes that were away, before anything is sent to them."""
        now_s = time.monotonic()
        for name in [name for name, until_s in self._away_until_s.items() if now_s >= until_s]:
            node = self._cluster.get_node(node_name=name)
            try:
                if node is not None:
                    self._cluster.get_redis_connection(node).ping()
                del self._away_until_s[name]
            except LOST:
                self._away_until_s[name] = now_s + AWAY_S
            self._refresh_slots()
            if not self.is_known:
                return

    def publish(self, messages: list[QueuedMessage]) -> list[QueuedMessage]:
        """SPUBLISH all of them, in their order per channel; returns those that were not taken."""
        by_node: dict[str, list[QueuedMessage]] = defaultdict(list)
        nodes: dict[str, ClusterNode] = {}
        failed: list[QueuedMessage] = []
        for message in messages:
            node = self._node_of(message.channel)
            if node is None:
                failed.append(message)
            else:
                nodes[node.name] = node
                by_node[node.name].append(message)
        for name, own in by_node.items():
            failed += self._publish_to(nodes[name], own)
        if failed:
            self._refresh_slots()  # a node has gone, or a slot has moved
        return failed

    def _node_of(self, channel: str) -> ClusterNode | None:
        try:
            node: ClusterNode | None = self._cluster.get_node_from_key(channel)
        except LOST as error:  # no node has the slot
            self._on_lost(error)
            self._log_refusal(error, "slot")
            return None
        return node

    def _publish_to(self, node: ClusterNode, messages: list[QueuedMessage]) -> list[QueuedMessage]:
        if node.name in self._away_until_s:
            return messages
        try:
            pipeline = self._cluster.get_redis_connection(node).pipeline(transaction=False)
            for message in messages:
                pipeline.execute_command("SPUBLISH", message.channel, message.payload)
            results = pipeline.execute(raise_on_error=False)
        except LOST as error:
            self._away_until_s[node.name] = time.monotonic() + AWAY_S
            self._on_lost(error)
            self._log_refusal(error, node.name)
            return messages
        failed = []
        for message, result in zip(messages, results, strict=True):
            if isinstance(result, int):
                self.receivers += result
            else:
                self.refused += 1
                self._log_refusal(result, node.name)
                failed.append(message)
        return failed

    def _refresh_slots(self) -> None:
        """Read the slots anew; nodes that are no more are not waited for."""
        try:
            self._cluster.nodes_manager.initialize()
        except LOST as error:
            self._on_lost(error)
            self.close()
            return
        primaries = {node.name for node in self._cluster.get_primaries()}
        for name in [name for name in self._away_until_s if name not in primaries]:
            del self._away_until_s[name]
        self._check_coverage()

    def _check_coverage(self) -> None:
        """Call `on_all_back` where every slot has a node and none is away."""
        if not self._away_until_s and len(self._cluster.nodes_manager.slots_cache) == SLOTS:
            self._on_all_back()

    def _log_refusal(self, error: Exception, where: str) -> None:
        key = f"{where} {type(error).__name__}"
        self._logger.warning("redis_cluster_refused", key, where=where, error=str(error)[:REASON_CHARACTERS])
