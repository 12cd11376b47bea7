"""The redis output for a Redis or Valkey Cluster: SPUBLISH, so that every node carries its own channels.

Thread `consumer-redis`. redis-py's cluster client holds the slots and the connections. Payloads of a node that is away
are dropped and counted, its klines wait; the channels of the other nodes go on.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import structlog
from redis.cluster import ClusterNode, RedisCluster
from redis.exceptions import RedisClusterException, RedisError

from consumers.redis.backlog import Waiting
from consumers.redis.channels import symbol_channel, symbol_of_payload
from consumers.redis.connection import BoundedParser
from consumers.redis.kline_queue import KlineInbox
from consumers.redis.options import RedisOptions
from consumers.redis.output import BACKOFF_FIRST_S
from consumers.redis.publisher import AUDIENCE_S, Publisher
from consumers.stats import ConsumerStats
from model.clock import now_ms
from model.envelope import Envelope
from model.pacing import LogThrottle

log = structlog.get_logger()

NODE_TIMEOUT_S = 2.0  # a node that does not answer holds up the others for as long
AWAY_S = 0.5  # a node that failed is tried again after this
SLOTS = 16_384
LOST = (OSError, RedisError, RedisClusterException)
BATCH_MESSAGES = 1_000  # per turn: a fair share for every node, and few enough that one turn is short
BATCH_BYTES = 4 * 1024 * 1024  # the same in bytes
KEPT_BACK = 20_000  # klines of nodes that are away, tried again at once so that those behind them have their turn
LOOK_S = 0.5  # idle: how often klines that wait for a node are tried, and the state is saved


class ClusterNodes:
    """The nodes of one cluster. `lost(error)` is called when one goes, `back()` when all are there again."""

    def __init__(self, url: str, lost: Callable[[Exception], object], back: Callable[[], object]) -> None:
        self._url, self._lost, self._back = url, lost, back
        self._cluster: Any = None  # RedisCluster; most of its methods have no types
        self._away_until_s: dict[str, float] = {}
        self._throttle = LogThrottle()
        self.receivers = self.refused = 0

    @property
    def is_known(self) -> bool:
        """Say whether the cluster has told its slots."""
        return self._cluster is not None

    @property
    def away(self) -> int:
        """Nodes that did not answer when they were asked last."""
        return len(self._away_until_s)

    def connect(self) -> bool:
        """Ask the cluster for its slots; False, after `lost`, where no node answers."""
        try:
            self._cluster = RedisCluster.from_url(
                self._url,
                socket_timeout=NODE_TIMEOUT_S,
                socket_connect_timeout=NODE_TIMEOUT_S,
                parser_class=BoundedParser,
            )
        except LOST as error:
            self._lost(error)
            return False
        self._look_whether_whole()
        return True

    def close(self) -> None:
        """Let go of all connections."""
        cluster, self._cluster = self._cluster, None
        if cluster is not None:
            cluster.close()

    def probe(self) -> None:
        """Look whether nodes that were away are back, before anything is sent to them."""
        now_s = time.monotonic()
        for name in [name for name, until_s in self._away_until_s.items() if now_s >= until_s]:
            node = self._cluster.get_node(node_name=name)
            try:
                if node is not None:
                    self._cluster.get_redis_connection(node).ping()
                del self._away_until_s[name]
            except LOST:
                self._away_until_s[name] = now_s + AWAY_S
            self._learn()
            if not self.is_known:
                return

    def publish(self, items: list[Waiting]) -> list[Waiting]:
        """SPUBLISH all of them, in their order per channel; returns those that were not taken."""
        by_node: dict[str, list[Waiting]] = defaultdict(list)
        nodes: dict[str, ClusterNode] = {}
        failed: list[Waiting] = []
        for item in items:
            node = self._node_of(item.channel)
            if node is None:
                failed.append(item)
            else:
                nodes[node.name] = node
                by_node[node.name].append(item)
        for name, own in by_node.items():
            failed += self._publish_to(nodes[name], own)
        if failed:
            self._learn()  # a node has gone, or a slot has moved
        return failed

    def _node_of(self, channel: str) -> ClusterNode | None:
        try:
            node: ClusterNode | None = self._cluster.get_node_from_key(channel)
        except LOST as error:  # nobody has the slot
            self._lost(error)
            self._complain(error, "slot")
            return None
        return node

    def _publish_to(self, node: ClusterNode, items: list[Waiting]) -> list[Waiting]:
        if node.name in self._away_until_s:
            return items
        try:
            pipeline = self._cluster.get_redis_connection(node).pipeline(transaction=False)
            for item in items:
                pipeline.execute_command("SPUBLISH", item.channel, item.payload)
            results = pipeline.execute(raise_on_error=False)
        except LOST as error:
            self._away_until_s[node.name] = time.monotonic() + AWAY_S
            self._lost(error)
            self._complain(error, node.name)
            return items
        return [item for item, result in zip(items, results, strict=True) if not self._is_taken(result, node.name)]

    def _is_taken(self, result: object, where: str) -> bool:
        if isinstance(result, int):
            self.receivers += result
            return True
        self.refused += 1
        if isinstance(result, Exception):
            self._complain(result, where)
        return False

    def _learn(self) -> None:
        """Ask anew who has what; nodes that are no more are not waited for."""
        try:
            self._cluster.nodes_manager.initialize()
        except LOST as error:
            self._lost(error)
            self.close()
            return
        known = {node.name for node in self._cluster.get_primaries()}
        for name in [name for name in self._away_until_s if name not in known]:
            del self._away_until_s[name]
        self._look_whether_whole()

    def _look_whether_whole(self) -> None:
        if not self._away_until_s and len(self._cluster.nodes_manager.slots_cache) == SLOTS:
            self._back()

    def _complain(self, error: Exception, where: str) -> None:
        held = self._throttle.allow(f"{where} {type(error).__name__}", time.monotonic())
        if held is not None:
            log.warning("redis_cluster_refused", where=where, error=str(error)[:200], held_back=held)


class ClusterPublisher(Publisher):
    """Publishes to a cluster; `options.cluster`: a channel, and so a slot, per kind or symbol.

    Per symbol the channels are named `<channel>:<SYMBOL>`. What was published last is remembered in the file alone.
    """

    step_failed = "redis_cluster_failed"
    expected = ()  # a node that is away is dealt with where it is met
    remembers_in_redis = False

    def __init__(self, options: RedisOptions) -> None:
        super().__init__(options)
        self._klines = KlineInbox(self._backlog, options.main_key, self._parts)
        self._nodes = ClusterNodes(options.url, self._lost_node, self._all_back)
        self._was_known = False
        self._hold_until_s = 0.0  # klines wait so long for subscribers to be back too
        self._kept_back = 0  # klines at the head of the backlog that a node did not take
        self._delivered = self._klines_delivered = self._lost = 0

    # -- any thread ------------------------------------------------------------------------------------

    def validate(self) -> None:
        """Raise ValueError where a cluster cannot be meant; connects to nothing."""
        if self._options.url.startswith("unix"):
            raise ValueError("REDIS_CLUSTER: a cluster has no unix socket; allowed: redis:// or rediss:// of one node")

    def send_waiting(self) -> None:
        """Wake the thread once for all that was put: a cluster is not written to by another thread."""
        self._bell.listen()
        if self._raw or self._klines.has_new:
            self._bell.ring()

    @property
    def is_connected(self) -> bool:
        """Say whether the cluster is known and no node of it is away."""
        return self._nodes.is_known and not self._nodes.away

    def stats(self) -> ConsumerStats:
        """Count messages, as `RedisPublisher` does."""
        return ConsumerStats(
            queued=len(self._raw) + len(self._klines),
            delivered=self._delivered,
            dropped=self._dropped(),
            errors=self._nodes.refused,
            extra={
                "connected": float(self.is_connected),
                "nodes_away": self._nodes.away,
                "receivers": self._nodes.receivers,
                "outages": self._outages.count,
                "klines_delivered": self._klines_delivered,
                "klines_waiting": len(self._klines),
                "klines_on_disk": self._backlog.on_disk,
                "klines_dropped": self._backlog.dropped,
            },
        )

    def _dropped(self) -> int:
        return self._raw.dropped + self._lost

    # -- consumer-redis thread -------------------------------------------------------------------------

    def _is_over(self) -> bool:
        if not self._stopping.is_set():
            return False
        is_done = not self._raw and not self._klines.has_new and not len(self._backlog)
        return is_done or time.monotonic() >= self._stop_at_s or not self._nodes.is_known

    def _step(self) -> bool:
        self._klines.absorb(now_ms())
        if not self._nodes.is_known and not self._connect():
            return True
        self._nodes.probe()
        if self._nodes.is_known and (items := self._take()):
            self._settle(items, self._nodes.publish(items))
        self._memory.save_if_due(time.monotonic(), now_ms())
        if not self._raw and not self._klines.has_new:
            self._bell.listen()
            if not self._raw and not self._klines.has_new and not self._stopping.is_set():
                self._bell.sleep(LOOK_S)
        return True

    def _connect(self) -> bool:
        self._backoff.attempts += 1
        if not self._nodes.connect():
            self._stopping.wait(self._backoff.delay_s())
            return False
        self._backoff.attempts = 0
        return True

    def _parts(self, channel: str, envelope: Envelope) -> Iterable[tuple[str, Envelope]]:
        if self._options.cluster != "symbol":
            return [(channel, envelope)]
        by_symbol: dict[str, list[Any]] = defaultdict(list)
        for kline in envelope.data:
            by_symbol[kline.symbol].append(kline)
        return [
            (
                symbol_channel(channel, symbol),
                Envelope(envelope.exchange, envelope.channel, envelope.data_type, tuple(klines)),
            )
            for symbol, klines in by_symbol.items()
        ]

    def _take(self) -> list[Waiting]:
        """Klines first, then raw payloads, which have no klines in them."""
        items: list[Waiting] = []
        at_ms = now_ms()
        limit = 0 if time.monotonic() < self._hold_until_s else BATCH_MESSAGES + self._kept_back
        while len(items) < limit and (item := self._backlog.take(at_ms)):
            items.append(item)
        for channel, payloads, _ in self._raw.take(BATCH_BYTES, max(0, BATCH_MESSAGES - len(items)) + BATCH_MESSAGES):
            name = channel.decode() if isinstance(channel, bytes) else channel
            items += [Waiting(0, 0, self._raw_channel(name, payload), payload) for payload in payloads]
        return items

    def _raw_channel(self, channel: str, payload: bytes) -> str:
        if self._options.cluster != "symbol" or channel == self._options.main_key:
            return channel
        symbol = symbol_of_payload(payload)
        return symbol_channel(channel, symbol) if symbol else channel

    def _settle(self, items: list[Waiting], failed: list[Waiting]) -> None:
        back = {id(item) for item in failed}
        for item in items:
            if id(item) in back:
                self._lost += not item.received_ms
                continue
            self._delivered += 1
            self._klines_delivered += item.klines
            if item.klines:
                self._memory.confirm(self._memory.note(item.payload))
        kept = [item for item in items if item.received_ms and id(item) in back]
        self._kept_back = min(len(kept), KEPT_BACK)
        self._backlog.put_back(kept)
        if failed:
            self._stopping.wait(BACKOFF_FIRST_S)

    def _lose(self, error: Exception) -> None:
        self._nodes.close()
        self._lost_node(error)

    def _lost_node(self, error: Exception) -> None:
        self._outages.down(error, self._dropped(), time.monotonic())

    def _all_back(self) -> None:
        if self._outages.is_down:
            self._hold_until_s = time.monotonic() + AUDIENCE_S
        elif self._was_known:
            return
        self._was_known = True
        self._outages.up(self._dropped(), len(self._backlog), time.monotonic())

    def _finish(self) -> None:
        self._klines.absorb(now_ms())
        self._lost += len(self._raw)
        self._nodes.close()
        self._memory.end()
        waiting = len(self._backlog)
        lost = self._backlog.save()
        if waiting:
            log.warning("redis_stopped_unsent", kline_messages_kept=waiting, klines_lost=lost)
