"""What the two publishers have in common, to one server and to a cluster: the memory of what was published.

Any thread may call what is public here; `load_published` before the start.
"""

import threading
from collections.abc import Callable, Iterable

import structlog

from consumers.redis.backlog import waiting_in_file
from consumers.redis.checkpoint.entries import Key, LastPublished
from consumers.redis.checkpoint.files import Recent, load_recent
from consumers.redis.checkpoint.load import load_published, sent_from_file, with_waiting
from consumers.redis.checkpoint.store import PublishedMemory
from consumers.redis.options import RedisOptions
from consumers.redis.outages import Outages
from consumers.redis.output import RedisOutput
from consumers.single_worker import DiskThread
from model.clock import now_ms
from model.envelope import Envelope

log = structlog.get_logger()

AUDIENCE_S = 2.0  # after an outage klines wait for subscribers to be back too: Pub/Sub keeps nothing for them


class Publisher(RedisOutput):
    """The output named `redis`.

    `publish_raw(channel, payload)` and `publish_all(channel, payloads)` may be called by any thread at any time,
    before `start` and while Redis is away, and never block.
    """

    name = "redis"
    remembers_in_redis = True  # what was published last; else in files alone

    def __init__(self, options: RedisOptions) -> None:
        super().__init__(options)
        self._options = options
        self.publish_raw, self.publish_all = self._raw.put, self._raw.put_all
        self._disk = DiskThread("redis-files")
        self._memory = PublishedMemory(options.published, self._disk)
        self.recent: Recent = []  # the newest klines of an earlier run, and its incomplete ones; `load_published` reads
        self._sent_before = 0  # of the messages that an earlier run left on disk
        self._outages = Outages()
        self._is_server_new = False  # as this process: whoever subscribed to the one before is on the way back

    def load_published(self, markets: Iterable[str]) -> dict[Key, LastPublished]:
        """Read what an earlier run published last, or left on disk to be published first, and go on from there.

        Before `start`; blocks for seconds at most. Without it the memory begins empty, and forgets what it had.
        """
        published, spill_path = self._options.published, self._options.spill_path
        if published is None:
            return {}
        self._memory.claim()
        url = self._options.url if self.remembers_in_redis else None
        known = load_published(url, published, markets, now_ms())
        self._memory.seed(known)
        self._sent_before = sent_from_file(spill_path, known)
        waiting = [item.payload for item in waiting_in_file(spill_path, now_ms()) if item.klines]
        self.recent = load_recent(published.recent_path, waiting=waiting)
        self._memory.recent.begin(load_recent(published.recent_path))
        return with_waiting(known, spill_path, now_ms())

    def start(self) -> None:
        """Start the thread, and the one that writes files; connecting goes on until it succeeds."""
        self._disk.start()
        super().start()

    def threads(self) -> list[threading.Thread]:
        """The threads that must live: its own, and the one that writes files."""
        return [*super().threads(), *self._disk.threads()]

    def offer(self, envelope: Envelope) -> None:
        """Take one envelope; never blocks. What is not klines goes to the main key alone, and as raw does."""
        if envelope.data_type == "klines":
            self._offer_klines(envelope)
        elif self._options.main_key:
            self._raw.put(self._options.main_key, envelope.json)

    def expect_subscribers(self) -> None:
        """Let klines wait for them at the first connection too: the server is new. Before `start`."""
        self._is_server_new = True

    def hold(self) -> None:
        """Let what is put from now on wait for `send_waiting`, instead of waking the thread for each."""
        self._bell.asleep = False

    def send_waiting(self) -> None:
        """See to what was put since `hold`; any thread."""
        raise NotImplementedError

    def tell_changes(self, tell: Callable[..., object]) -> None:
        """Have `tell("sink_down" | "sink_up", **fields)` called on the thread when Redis, or a node, goes and comes.

        It may publish: what it hands over while Redis is away waits among the raw payloads.
        """
        self._outages.tell = tell

    # -- consumer-redis thread -------------------------------------------------------------------------

    def _begin(self) -> None:
        found = self._backlog.load(self._sent_before)
        if found:
            log.info("redis_unsent_klines_found", messages=found)
