"""The common base of the publishers to one server and to a cluster: the checkpoint, and the reader's calls.

Any thread may call what is public here; `load_checkpoint` before the start.
"""

import itertools
import time
from collections.abc import Iterable

import structlog

from consumers.redis.checkpoint.load import load_published
from consumers.redis.checkpoint.store import KlineCheckpoint, Note
from consumers.redis.options import RedisOptions
from consumers.redis.output import RedisOutput
from consumers.store.published import EarlierStore
from model.clock import now_ms
from model.envelope import Envelope
from model.events import NO_EVENTS, EventSink
from model.records import Published
from model.wake import ReadRound

log = structlog.get_logger()


class Publisher(RedisOutput):
    """The output named `redis`, and the model.ports.ReadRoundListener that sends what the reader brings.

    `publish_raw(channel, payload)` and `publish_all(channel, payloads)` may be called by any thread at any time,
    before `start` and while Redis is away, and never block.
    """

    name = "redis"
    checkpoints_in_redis = True  # else in the store alone

    def __init__(self, options: RedisOptions, events: EventSink = NO_EVENTS) -> None:
        """`events` may publish here: what comes while Redis is away waits as raw."""
        super().__init__(options, events)
        self._options = options
        self.publish_raw, self.publish_all = self.raw.put, self.raw.put_all
        self._checkpoint = KlineCheckpoint(options.checkpoint)
        self._note: Note | None = None
        self._sent_before = 0  # of the messages that an earlier run left on disk
        self.reads = ReadRound()  # the reader's, before `start`: the writing of many klines gives way to it
        self._is_server_new = False  # started with this process: subscribers of the one before are on their way back

    def note_with(self, note: Note) -> None:
        """Hand what Redis confirms to `note`, the store's; before `load_checkpoint`."""
        self._note = note
        self._checkpoint.note_with(note)

    def load_checkpoint(self, markets: Iterable[str], store: EarlierStore | None = None) -> Published:
        """Read what an earlier run published last, or left on disk to be published first, and go on from there.

        Before `start`; blocks for seconds at most. Without it the checkpoint begins empty, and the old one is lost.
        """
        options = self._options.checkpoint
        if options is None:
            return Published()
        url = self._options.url if self.checkpoints_in_redis else None
        loaded = load_published(url, options, markets, self._options.spill_path, store, now_ms())
        self._checkpoint.restore(loaded.confirmed, store.marks if store else None)
        self._sent_before = loaded.sent
        if self._note:
            for market, klines in itertools.groupby(loaded.old, key=lambda one: one[0]):
                self._note(Envelope("", market, "klines", tuple(kline for _, kline in klines)))
        return loaded.published

    def offer(self, envelope: Envelope) -> None:
        """Take one envelope; never blocks. What is not klines goes to the main key alone, and as raw does."""
        if envelope.data_type == "klines":
            self._offer_klines(envelope)
        elif self._options.main_key:
            self.raw.put(self._options.main_key, envelope.json)

    def expect_subscribers(self) -> None:
        """Have klines wait for subscribers at the first connection too: the server is new. Before `start`."""
        self._is_server_new = True

    def round_started(self) -> None:
        """Hold what is put from now on until `round_finished`, instead of waking the thread for each payload."""
        self.wake.is_armed = False

    def round_finished(self) -> None:
        """Send what was put since `round_started`, or wake the thread for it; any thread."""
        raise NotImplementedError

    # -- consumer-redis thread -------------------------------------------------------------------------

    def _begin(self) -> None:
        found = self._backlog.load(self._sent_before)
        if found:
            sentence = f"Messages with klines that the last run could not send, and that go first: {found:,}."
            log.info("redis_unsent_klines_found", sentence=sentence, messages=found)

    def _record_up(self, klines_waiting: int) -> None:
        if not self.health.works(self._dropped(), time.monotonic(), klines_waiting=klines_waiting):
            log.info("redis_up", sentence="Redis is connected.")  # for the first time

    def _save_unsent(self, raw_in_flight: int) -> None:
        """Note what was confirmed too."""
        self._checkpoint.note_all()
        super()._save_unsent(raw_in_flight)
