"""The redis output for a Redis or Valkey Cluster: SPUBLISH, so that every node carries its own channels.

`consumer-redis` thread. What a node that is away would have had is dropped and counted, or waits where it is klines;
the channels of the others go on.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import structlog

from consumers.backlog import KlineBacklog, Waiting, waiting_in_file
from consumers.backoff import Backoff
from consumers.channels import klines_channel, symbol_channel, symbol_of_payload
from consumers.cluster_nodes import ClusterNodes
from consumers.disk_thread import DiskThread
from consumers.envelope import Envelope
from consumers.last_published import Key, LastPublished
from consumers.outages import Outages
from consumers.published import PublishedMemory
from consumers.published_load import load_published, sent_from_file, with_waiting
from consumers.published_recent import Recent, load_recent
from consumers.raw_queue import Bell, RawQueue
from consumers.redis import AUDIENCE_S, RedisOptions
from consumers.stats import ConsumerStats

log = structlog.get_logger()

BATCH_MESSAGES = 1_000  # per turn: a fair share for every node, and few enough that one turn is short
KEPT_BACK = 20_000  # klines of nodes that are away, tried again at once so that those behind them have their turn
LOOK_S = 0.5  # idle: how often klines that wait for a node are tried, and the state is saved
BACKOFF_FIRST_S, BACKOFF_CAP_S = 0.1, 5.0
SAVE_RESERVE_S = 0.5  # of the stop's time: kept for writing unsent klines to disk


class ClusterPublisher:
    """Publishes like `RedisPublisher`, to a cluster; `options.cluster`: a channel, and so a slot, per kind or symbol.

    Per symbol the channels are named `<channel>:<SYMBOL>`. What was published last is remembered in the file alone.
    """

    name = "redis"

    def __init__(self, options: RedisOptions) -> None:
        self._options, self._split = options, options.cluster
        self._bell = Bell()
        self._raw = RawQueue(options.raw_limit, options.raw_limit_bytes, self._bell)
        self.publish_raw: Callable[[bytes | str, bytes], None] = self._raw.put
        self._inbox: list[Envelope] = []
        self._backlog = KlineBacklog(options.spill_path, options.klines_in_memory)
        self._disk = DiskThread("redis-files")
        self._memory = PublishedMemory(options.published, self._disk)
        self.recent: Recent = []
        self._outages = Outages()
        self._nodes = ClusterNodes(options.url, self._lost_node, self._all_back)
        self._backoff = Backoff(BACKOFF_FIRST_S, BACKOFF_CAP_S)
        self._thread = threading.Thread(target=self._run, name="consumer-redis", daemon=True)
        self._stopping = threading.Event()
        self._stop_at_s = float("inf")
        self._was_known = False
        self._hold_until_s = 0.0  # klines wait so long for subscribers to be back too
        self._kept_back = 0  # klines at the head of the backlog that a node did not take
        self._sent_before = 0
        self._delivered = self._klines_delivered = self._lost = 0

    # -- any thread ------------------------------------------------------------------------------------

    def validate(self) -> None:
        """Raise ValueError where a cluster cannot be meant; connects to nothing."""
        if self._options.url.startswith("unix"):
            raise ValueError("REDIS_CLUSTER: a cluster has no unix socket; allowed: redis:// or rediss:// of one node")

    def load_published(self, markets: Iterable[str]) -> dict[Key, LastPublished]:
        """Read from the files what an earlier run published last; see `RedisPublisher`."""
        if self._options.published is None:
            return {}
        self._memory.claim()
        known = load_published(None, self._options.published, markets, _now_ms())
        self._memory.seed(known)
        self._sent_before = sent_from_file(self._options.spill_path, known)
        recent_path = self._options.published.recent_path
        waiting = [item.payload for item in waiting_in_file(self._options.spill_path, _now_ms()) if item.klines]
        self.recent = load_recent(recent_path, waiting=waiting)
        self._memory.recent.begin(load_recent(recent_path))
        return with_waiting(known, self._options.spill_path, _now_ms())

    def start(self) -> None:
        """Start the thread; connecting goes on there until it succeeds."""
        self._disk.start()
        self._thread.start()

    def offer(self, envelope: Envelope) -> None:
        """Take one envelope; never blocks. What is not klines goes to the main key alone, and as raw does."""
        if envelope.data_type == "klines":
            self._inbox.append(envelope)
            if self._bell.asleep:
                self._bell.ring()
        elif self._options.main_key:
            self._raw.put(self._options.main_key, envelope.json)

    def hold(self) -> None:
        """Let what is put from now on wait for `send_waiting`."""
        self._bell.asleep = False

    def send_waiting(self) -> None:
        """Wake the thread once for all that was put: a cluster is not written to by another thread."""
        self._bell.listen()
        if self._raw.waiting or self._inbox:
            self._bell.ring()

    def begin_stop(self, deadline_s: float) -> None:
        """Ask the thread to send what is waiting, save what it cannot send, and end before `deadline_s`."""
        self._stop_at_s = deadline_s - SAVE_RESERVE_S
        self._stopping.set()
        self._bell.ring()

    def join(self, deadline_s: float) -> bool:
        """Wait for the end of the thread; False if `deadline_s` (monotonic) came first."""
        if self._thread.ident is not None:
            self._thread.join(max(0.0, deadline_s - time.monotonic()))
        return not self._thread.is_alive()

    def tell_changes(self, tell: Callable[..., object]) -> None:
        """Have `tell("sink_down" | "sink_up", **fields)` called when the cluster, or a node of it, goes and comes."""
        self._outages.tell = tell

    @property
    def is_connected(self) -> bool:
        """Say whether the cluster is known and no node of it is away."""
        return self._nodes.is_known and not self._nodes.away

    def stats(self) -> ConsumerStats:
        """Count messages, as `RedisPublisher` does."""
        return ConsumerStats(
            queued=len(self._raw.waiting) + len(self._inbox) + len(self._backlog),
            delivered=self._delivered,
            dropped=self._dropped(),
            errors=self._nodes.refused,
            extra={
                "connected": float(self.is_connected),
                "nodes_away": self._nodes.away,
                "receivers": self._nodes.receivers,
                "outages": self._outages.count,
                "klines_delivered": self._klines_delivered,
                "klines_waiting": len(self._inbox) + len(self._backlog),
                "klines_on_disk": self._backlog.on_disk,
                "klines_dropped": self._backlog.dropped,
            },
        )

    def _dropped(self) -> int:
        return self._raw.dropped + self._lost

    # -- consumer-redis thread -------------------------------------------------------------------------

    def _run(self) -> None:
        self._backlog.load(self._sent_before)
        while not self._is_over():
            try:
                self._turn()
            except Exception as error:  # the thread's outermost loop: publishing goes on
                log.error("redis_cluster_failed", exc_info=True)
                self._nodes.close()
                self._lost_node(error)
        self._finish()

    def _is_over(self) -> bool:
        if not self._stopping.is_set():
            return False
        is_done = not self._raw.waiting and not self._inbox and not len(self._backlog)
        return is_done or time.monotonic() >= self._stop_at_s or not self._nodes.is_known

    def _turn(self) -> None:
        self._absorb()
        if not self._nodes.is_known and not self._connect():
            return
        self._nodes.probe()
        if self._nodes.is_known and (items := self._take()):
            self._settle(items, self._nodes.publish(items))
        self._memory.save_if_due(time.monotonic(), _now_ms())
        if not self._raw.waiting and not self._inbox:
            self._bell.listen()
            if not self._raw.waiting and not self._inbox and not self._stopping.is_set():
                self._bell.sleep(LOOK_S)

    def _connect(self) -> bool:
        self._backoff.attempts += 1
        if not self._nodes.connect():
            self._stopping.wait(self._backoff.delay_s())
            return False
        self._backoff.attempts = 0
        return True

    def _absorb(self) -> None:
        """Move klines to the backlog, as the messages that they are sent as."""
        count = len(self._inbox)
        envelopes, self._inbox[:count] = self._inbox[:count], []
        now_ms = _now_ms()
        for envelope in envelopes:
            channel = klines_channel(envelope.exchange)
            if self._options.main_key:
                self._backlog.append(Waiting(now_ms, 0, self._options.main_key, envelope.json))
            for name, part in self._parts(channel, envelope):
                self._backlog.append(Waiting(now_ms, len(part.data), name, part.json))

    def _parts(self, channel: str, envelope: Envelope) -> Iterable[tuple[str, Envelope]]:
        if self._split != "symbol":
            return [(channel, envelope)]
        by_symbol: dict[str, list[Any]] = defaultdict(list)
        for kline in envelope.data:
            by_symbol[kline.symbol].append(kline)
        return [
            (symbol_channel(channel, symbol), replace_data(envelope, klines)) for symbol, klines in by_symbol.items()
        ]

    def _take(self) -> list[Waiting]:
        """Klines first, then raw payloads, which have no klines in them."""
        items: list[Waiting] = []
        now_ms = _now_ms()
        limit = 0 if time.monotonic() < self._hold_until_s else BATCH_MESSAGES + self._kept_back
        while len(items) < limit and (item := self._backlog.take(now_ms)):
            items.append(item)
        waiting, size = self._raw.waiting, 0
        limit = max(len(items), BATCH_MESSAGES) + BATCH_MESSAGES
        while waiting and len(items) < limit:
            channel, payload = waiting.popleft()
            size += len(payload)
            name = channel.decode() if isinstance(channel, bytes) else channel
            items.append(Waiting(0, 0, self._raw_channel(name, payload), payload))
        self._raw.taken(size)
        return items

    def _raw_channel(self, channel: str, payload: bytes) -> str:
        if self._split != "symbol" or channel == self._options.main_key:
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
        self._absorb()
        self._lost += len(self._raw.waiting)
        self._nodes.close()
        self._memory.save()
        waiting = len(self._backlog)
        lost = self._backlog.save()
        if waiting:
            log.warning("redis_stopped_unsent", kline_messages_kept=waiting, klines_lost=lost)


def replace_data(envelope: Envelope, data: Iterable[Any]) -> Envelope:
    """Make an envelope with other data."""
    return Envelope(envelope.exchange, envelope.channel, envelope.data_type, tuple(data))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
