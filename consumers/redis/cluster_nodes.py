"""Who has which slot, and giving every node its own messages in one pipeline.

One thread. redis-py's cluster client knows the slots and keeps the connections; a node that is away costs only its own.
"""

import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import structlog
from redis.cluster import ClusterNode, RedisCluster
from redis.exceptions import RedisClusterException, RedisError

from consumers.redis.backlog import Waiting
from consumers.redis.bounds import BoundedParser
from model.rate_limit import RateLimit

log = structlog.get_logger()

NODE_TIMEOUT_S = 2.0  # a node that does not answer holds up the others for as long
AWAY_S = 0.5  # a node that failed is tried again after this
SLOTS = 16_384
LOST = (OSError, RedisError, RedisClusterException)


class ClusterNodes:
    """The nodes of one cluster. `lost(error)` is called when one goes, `back()` when all are there again."""

    def __init__(self, url: str, lost: Callable[[Exception], object], back: Callable[[], object]) -> None:
        self._url, self._lost, self._back = url, lost, back
        self._cluster: Any = None  # RedisCluster; most of its methods have no types
        self._away_until_s: dict[str, float] = {}
        self._brake = RateLimit()
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
        held = self._brake.pass_(f"{where} {type(error).__name__}", time.monotonic())
        if held is not None:
            log.warning("redis_cluster_refused", where=where, error=str(error)[:200], held_back=held)
