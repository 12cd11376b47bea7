"""The redis output for a Redis or Valkey Cluster: SPUBLISH, so that every node carries its own channels.

`consumer-redis` thread. What a node that is away would have had is dropped and counted, or waits where it is klines;
the channels of the others go on.
"""

import time
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import structlog

from consumers.redis.backlog import Waiting
from consumers.redis.channels import symbol_channel, symbol_of_payload
from consumers.redis.cluster_nodes import ClusterNodes
from consumers.redis.kline_queue import KlineInbox
from consumers.redis.options import RedisOptions
from consumers.redis.output import BACKOFF_FIRST_S
from consumers.redis.publisher import AUDIENCE_S, Publisher
from consumers.stats import ConsumerStats
from model.clock import now_ms
from model.envelope import Envelope

log = structlog.get_logger()

BATCH_MESSAGES = 1_000  # per turn: a fair share for every node, and few enough that one turn is short
BATCH_BYTES = 4 * 1024 * 1024  # the same in bytes
KEPT_BACK = 20_000  # klines of nodes that are away, tried again at once so that those behind them have their turn
LOOK_S = 0.5  # idle: how often klines that wait for a node are tried, and the state is saved


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
