"""The newest tickers, prices and klines in Redis keys, for programs that ask instead of listening.

`consumer-storage` thread. Writes the newest value per symbol, many in one pipeline; while Redis is away or full
the newest wait, and all are written when it takes them again. Clears at the start what is its own.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import redis
import structlog
from redis.backoff import NoBackoff
from redis.cluster import RedisCluster
from redis.exceptions import RedisClusterException, RedisError, ResponseError
from redis.retry import Retry

from consumers.backoff import Backoff
from consumers.base import BaseConsumer
from consumers.envelope import Envelope
from consumers.stats import RateLimit
from consumers.storage_keys import coins_key, last_closed_pattern, owner_key, price_key, tickers_key
from consumers.storage_state import Place, StorageState, Write

log = structlog.get_logger()

TIMEOUT_S = 1.0  # of every step: a Redis that hangs must not outlast the stop
BACKOFF_FIRST_S, BACKOFF_CAP_S = 0.2, 5.0  # between attempts while Redis is away
REFUSED_PAUSE_S = 1.0  # values that Redis refused are tried again after this pause
VALUES_PER_PIPELINE = 1_000  # half a megabyte of tickers
SCAN_COUNT = 10_000  # keys looked at per step: a database of millions is searched in a second
OWNER_S = 60  # how long a collector that died still counts as the owner of its keys
OWNER_EVERY_S = 20.0
EXPIRE_EVERY_S = 10.0
_LOST = (OSError, RedisError, RedisClusterException)


@dataclass(frozen=True)
class StorageOptions:
    """`markets` are those whose keys are this collector's; flushed at `flush_size` values or after the interval.

    `owns(symbol)` where several processes share the keys: which symbols are this one's; None: all.
    """

    url: str = field(default="redis://localhost:6379/0", repr=False)  # it may hold the password
    main_key: str = "bybit-streamer"
    exchange: str = "bybit"
    markets: tuple[str, ...] = ("linear",)
    flush_size: int = 100
    flush_interval_s: float = 1.0
    owns: Callable[[str], bool] | None = None
    is_cluster: bool = False


class StorageConsumer(BaseConsumer):
    """Keeps the keys of storage_keys.py; README says what is in them."""

    def __init__(self, options: StorageOptions) -> None:
        super().__init__("storage")
        self._options = options
        self.tick_s = min(1.0, options.flush_interval_s)
        self._state = StorageState(options.main_key)
        self._client: redis.Redis | None = None
        self._is_fresh = True  # connected since the last whole flush: the server may be a new and empty one
        self._is_cleared = False
        self._backoff = Backoff(BACKOFF_FIRST_S, BACKOFF_CAP_S)
        self._brake = RateLimit()
        self._problem: Exception | None = None  # of the last flush
        self._refused_places: list[Place] = []
        self._flushed_s = self._not_before_s = self._retry_s = self._owned_s = self._expired_s = 0.0
        self._written = self._flushes = self._refused = self._outages = 0

    # -- the consumer's thread -------------------------------------------------------------------------

    def setup(self) -> None:
        """Connect and clear; where that fails it is tried again at every flush, and nothing is lost."""
        self._client = self._connect_cluster() if self._options.is_cluster else self._connect()
        self._flush(time.monotonic())

    def _connect(self) -> "redis.Redis":
        url = self._options.url
        return redis.Redis.from_url(
            url,
            protocol=2,
            socket_timeout=TIMEOUT_S,
            **({} if url.startswith("unix:") else {"socket_connect_timeout": TIMEOUT_S}),
            retry=Retry(NoBackoff(), 0),
            redis_connect_func=self._connected,
        )

    def _connect_cluster(self) -> "redis.Redis":
        """As far as it is used here a cluster client is one; unlike it, it must find the cluster now."""
        client = RedisCluster.from_url(
            self._options.url,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            redis_connect_func=self._found_anew,
        )
        return cast("redis.Redis", client)

    def deliver(self, envelopes: list[Envelope]) -> None:
        """Keep the newest; write when enough has come."""
        now_ms = time.time_ns() // 1_000_000
        for envelope in envelopes:
            self._state.update(envelope, now_ms)
        if len(self._state) >= self._options.flush_size:
            self._flush(time.monotonic())

    def tick(self) -> None:
        """Write what has waited for the interval; say that we live; forget what is over its time."""
        now_s = time.monotonic()
        if now_s - self._flushed_s >= self._options.flush_interval_s:
            self._flush(now_s)

    def stop(self) -> None:
        """Write what is due, once; where Redis was away a moment ago, no more time is spent on it."""
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

    def _connected(self, connection: Any) -> None:
        connection.on_connect()
        self._found_anew(connection)

    def _found_anew(self, _connection: Any) -> None:
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
            if self._is_fresh:  # that the server may be a new one is known only after the first write
                self._is_fresh = False
                self._state.all_due()
                self._write_due(self._client)
        except _LOST as error:
            self._outages += self._not_before_s == 0.0
            self._not_before_s = now_s + self._backoff.delay_s()
            self._backoff.attempts += 1
            self._problem = error
        else:
            self._not_before_s, self._backoff.attempts = 0.0, 0
        self._judge(now_s)

    def _prepare(self, client: "redis.Redis", now_s: float) -> None:
        """Do what is due besides values; what Redis refuses of it is tried again and keeps no value waiting."""
        if now_s >= self._retry_s:
            self._state.give_back(self._refused_places)
            self._refused_places = []
        for step in (self._clear, self._own, self._expire, self._remove):
            try:
                step(client, now_s)
            except ResponseError as error:
                self._note_refusal(error, now_s)

    def _write_due(self, client: "redis.Redis") -> None:
        while len(self._state):
            writes = self._state.take(VALUES_PER_PIPELINE)
            try:
                self._write(client, writes)
            except _LOST:
                self._state.give_back(place for write in writes for place in write.places)
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
                self._refused_places += write.places
                self._note_refusal(error, self._flushed_s)

    def _note_refusal(self, error: Exception, now_s: float) -> None:
        self._refused += 1
        self._problem = self._problem or error
        self._retry_s = max(self._retry_s, now_s + REFUSED_PAUSE_S)

    def _clear(self, client: "redis.Redis", _now_s: float) -> None:
        """Remove what an earlier run of ours left; another exchange's keys under our main key are left to it."""
        if self._is_cleared:
            return
        options = self._options
        for market in options.markets:
            owner = client.get(owner_key(options.main_key, market))
            if owner is not None and owner != options.exchange.encode():
                remedy = "give each exchange its own REDIS_MAIN_KEY"
                log.warning("storage_keys_shared", market=market, owner=_readable(owner), remedy=remedy)
                continue
            hashes = [tickers_key(options.main_key, market), price_key(options.main_key, market)]
            hashes += client.scan_iter(match=last_closed_pattern(options.main_key, market), count=SCAN_COUNT)
            self._clear_market(client, hashes, coins_key(options.main_key, options.exchange, market))
        self._is_cleared = self._is_fresh = True  # values that came before go out again

    def _clear_market(self, client: "redis.Redis", hashes: list[str], coins: str) -> None:
        """Remove the fields of our symbols, and the coins whose price came from one."""
        owns = self._options.owns
        named: set[bytes] = client.smembers(coins)  # type: ignore[assignment]  # a set here: this client is not async
        if owns is None:
            client.delete(*hashes, *named, coins)
            return
        for key in hashes:
            if gone := [name for name in client.hkeys(key) if owns(_readable(name))]:
                client.hdel(key, *gone)
        for coin in named:
            if owns(_readable(client.hget(coin, "original_symbol") or b"")):
                client.delete(coin)
                client.srem(coins, coin)

    def _own(self, client: "redis.Redis", now_s: float) -> None:
        """Say whose the keys are, as long as we live, to collectors of other exchanges that begin."""
        if self._owned_s and now_s - self._owned_s < OWNER_EVERY_S:
            return
        for market in self._options.markets:
            key = owner_key(self._options.main_key, market)
            if client.get(key) in (None, self._options.exchange.encode()):
                client.set(key, self._options.exchange, ex=OWNER_S)
        self._owned_s = now_s

    def _expire(self, client: "redis.Redis", now_s: float) -> None:
        if now_s - self._expired_s < EXPIRE_EVERY_S:
            return
        self._expired_s = now_s
        for key, name in list(self._state.expire(time.time_ns() // 1_000_000)):
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
        except _LOST:
            self._state.give_back_removals(removals)
            raise

    def _judge(self, now_s: float) -> None:
        """Log a change of state, and a lasting trouble once a minute."""
        if self._problem is not None:
            held = self._brake.pass_(str(self._problem).split(" ", 1)[0], now_s)
            if held is not None:
                log.error("storage_failed", error=str(self._problem), values_waiting=self._waiting, held_back=held)
        elif self._refused_places:
            return  # refused a moment ago, not tried again yet
        elif self.trouble is not None:
            log.info("storage_works_again", after=str(self.trouble))
        self.trouble = self._problem

    @property
    def _waiting(self) -> int:
        return len(self._state) + len(self._refused_places)


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


def _readable(text: Any) -> str:
    return text.decode(errors="replace") if isinstance(text, bytes) else str(text)
