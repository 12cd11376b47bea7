"""The newest tickers, prices and klines in Redis keys, for programs that read when they need a value.

Thread `consumer-storage`. Writes the newest value per symbol, many in one pipeline; while Redis is away or full
the newest wait, and all are written when it takes them again. Clears its own keys at the start.
"""

import functools
import time
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

import redis
import structlog
from redis.exceptions import ResponseError

from consumers.base import BaseConsumer
from consumers.health import FailureLog
from consumers.redis.connection import LOST, bounded_client, bounded_cluster, checked_handshake
from consumers.redis.options import StorageOptions
from consumers.redis.storage.keys import clear, renew_ownership
from consumers.redis.storage.state import HashField, StorageState, Write
from model.clock import now_ms
from model.envelope import Envelope
from model.pacing import Backoff

log = structlog.get_logger()

TIMEOUT_S = 1.0  # of every step: a Redis that hangs must not outlast the stop
VALUES_PER_PIPELINE = 1_000  # half a megabyte of tickers
OWNER_EVERY_S = 20.0  # well within keys.OWNER_S
EXPIRE_EVERY_S = 10.0


class StorageConsumer(BaseConsumer):
    """The output named `storage`: keeps the keys of keys.py, which consumers/README.md describes."""

    def __init__(self, options: StorageOptions) -> None:
        super().__init__("storage")
        self._options = options
        self.tick_s = min(1.0, options.flush_interval_s)
        self._state = StorageState(options.main_key, options.pair_of)
        self._changes: deque[Callable[[], None]] = deque()  # of the symbols that are kept, for the thread to apply
        self._client: redis.Redis | None = None
        self._is_fresh = True  # connected since the last whole flush: the server may be new and empty
        self._uncleared = set(options.markets)
        self._backoff = Backoff(options.backoff_first_s, options.backoff_cap_s, floor=0.1)
        self._failures = FailureLog(self.name)
        self._problem: Exception | None = None  # of the last flush
        self._refused_fields: list[HashField] = []
        self._flushed_s = self._not_before_s = self._retry_s = self._owned_s = self._expired_s = 0.0
        self._written = self._flushes = self._refused = self._outages = 0

    def change_symbols(self, market: str, went: Collection[str], came: Collection[str]) -> None:
        """Remove the values of symbols that went, and keep those that came, from the next envelope on; any thread."""
        self._changes.append(functools.partial(self._state.drop_symbols, market, went))
        self._changes.append(functools.partial(self._state.keep_symbols, market, came))

    # -- the consumer's thread -------------------------------------------------------------------------

    def setup(self) -> None:
        """Connect and clear; where that fails it is tried again at every flush, and nothing is lost."""
        if self._options.is_cluster:  # used as a client of one server is; unlike it, it must find the cluster now
            self._client = bounded_cluster(self._options.url, TIMEOUT_S, self._reset_ownership)
        else:
            self._client = bounded_client(self._options.url, TIMEOUT_S, self._connected)
        self._flush(time.monotonic())

    def deliver(self, envelopes: list[Envelope]) -> None:
        """Keep the newest; write when enough has come."""
        self._apply_changes()
        at_ms = now_ms()
        for envelope in envelopes:
            if envelope.channel not in self._options.markets:
                self._add_market(envelope.channel)
            self._state.update(envelope, at_ms)
        if len(self._state) >= self._options.flush_size:
            self._flush(time.monotonic())

    def tick(self) -> None:
        """Write what has waited for the interval; renew the ownership; remove what is over its time."""
        self._apply_changes()
        now_s = time.monotonic()
        if now_s - self._flushed_s >= self._options.flush_interval_s:
            self._flush(now_s)

    def stop(self) -> None:
        """Write what is due, once; where Redis was away a moment ago, no more time is spent on it."""
        self._apply_changes()
        self._retry_s = 0.0
        if not self._not_before_s:
            self._flush(time.monotonic())
        if self._waiting:
            log.warning("storage_stopped_unwritten", values=self._waiting)
        if self._client is not None:
            self._client.close()
        self._is_running = False

    def counters(self) -> dict[str, float]:
        """Return values written and waiting, flushes, refused commands and outages."""
        return {
            "values_written": self._written,
            "values_waiting": self._waiting,
            "flushes": self._flushes,
            "refused": self._refused,
            "outages": self._outages,
        }

    def _apply_changes(self) -> None:
        while self._changes:
            self._changes.popleft()()

    def _add_market(self, market: str) -> None:
        """Take over a market that only an entry of the user's names."""
        self._options = replace(self._options, markets=(*self._options.markets, market))
        self._uncleared.add(market)
        self._owned_s = 0.0

    def _connected(self, connection: Any) -> None:
        checked_handshake(connection)
        self._reset_ownership(connection)

    def _reset_ownership(self, _connection: Any) -> None:
        self._is_fresh = True
        self._owned_s = 0.0

    def _flush(self, now_s: float) -> None:
        """Write everything due, unless Redis was found away a moment ago; raises nothing that Redis does."""
        if now_s < self._not_before_s or self._client is None:
            return
        self._flushed_s = now_s
        self._problem = None
        try:
            self._prepare(self._client, now_s)
            self._write_due(self._client)
            if self._is_fresh:  # a new server is noticed by the first write alone
                self._is_fresh = False
                self._state.all_due()
                self._write_due(self._client)
        except LOST as error:
            self._outages += self._not_before_s == 0.0
            self._not_before_s = now_s + self._backoff.delay_s()
            self._backoff.attempts += 1
            self._problem = error
        else:
            self._not_before_s, self._backoff.attempts = 0.0, 0
        self._log_change(now_s)

    def _prepare(self, client: "redis.Redis", now_s: float) -> None:
        """Clear, renew, expire and remove what is due; a step that Redis refuses is tried again and delays no value."""
        if now_s >= self._retry_s:
            self._state.give_back(self._refused_fields)
            self._refused_fields = []
        for step in (self._clear, self._renew, self._expire, self._remove):
            try:
                step(client, now_s)
            except ResponseError as error:
                self._count_refusal(error, now_s)

    def _write_due(self, client: "redis.Redis") -> None:
        while len(self._state):
            writes = self._state.take(VALUES_PER_PIPELINE)
            try:
                self._write(client, writes)
            except LOST:
                self._state.give_back(each for write in writes for each in write.hash_fields)
                raise

    def _write(self, client: "redis.Redis", writes: list[Write]) -> None:
        """Write one pipeline; what Redis refuses is set aside: a key of a wrong type does not hold up the others."""
        pipeline = client.pipeline(transaction=False)
        for write in writes:
            _add(pipeline, write)
        results = iter(pipeline.execute(raise_on_error=False))
        self._flushes += 1
        for write in writes:
            error = _error_of(write, results)
            if error is None:
                self._written += len(write.fields)
            else:
                self._refused_fields += write.hash_fields
                self._count_refusal(error, self._flushed_s)

    def _count_refusal(self, error: Exception, now_s: float) -> None:
        self._refused += 1
        self._problem = self._problem or error
        self._retry_s = max(self._retry_s, now_s + self._options.refused_pause_s)

    def _clear(self, client: "redis.Redis", _now_s: float) -> None:
        if self._uncleared:
            clear(client, replace(self._options, markets=tuple(sorted(self._uncleared))))
            self._uncleared = set()
            self._is_fresh = True  # values that came before go out again

    def _renew(self, client: "redis.Redis", now_s: float) -> None:
        if not self._owned_s or now_s - self._owned_s >= OWNER_EVERY_S:
            renew_ownership(client, self._options)
            self._owned_s = now_s

    def _expire(self, client: "redis.Redis", now_s: float) -> None:
        if now_s - self._expired_s < EXPIRE_EVERY_S:
            return
        self._expired_s = now_s
        for key, name in list(self._state.expire(now_ms())):
            client.hdel(key, name)

    def _remove(self, client: "redis.Redis", _now_s: float) -> None:
        """Remove what is no longer collected."""
        removals = self._state.take_removals()
        if not removals:
            return
        pipeline = client.pipeline(transaction=False)
        for key, name in removals:
            pipeline.hdel(key, name) if name else pipeline.delete(key)
        try:
            pipeline.execute()
        except LOST:
            self._state.give_back_removals(removals)
            raise

    def _log_change(self, now_s: float) -> None:
        if self._problem is not None:
            self._failures.failed(self._problem, now_s, values_waiting=self._waiting)
        elif not self._refused_fields:  # else refused a moment ago, not tried again yet
            self._failures.recovered(now_s)
        self.trouble = self._failures.error

    @property
    def _waiting(self) -> int:
        return len(self._state) + len(self._refused_fields)


def _add(pipeline: Any, write: Write) -> None:
    pipeline.hset(write.key, mapping=write.fields)
    if write.ttl_s:
        pipeline.expire(write.key, write.ttl_s)
    if write.coins:
        pipeline.sadd(write.coins, write.key)


def _error_of(write: Write, results: Any) -> ResponseError | None:
    """Take the replies to one write; returns the first error among them."""
    replies = [next(results) for _ in range(1 + bool(write.ttl_s) + bool(write.coins))]
    return next((reply for reply in replies if isinstance(reply, ResponseError)), None)
