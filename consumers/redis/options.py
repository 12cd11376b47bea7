"""The options of the outputs in Redis, and of the embedded server. Pure."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from consumers.redis.backlog import MEMORY_LIMIT
from consumers.redis.checkpoint.store import CheckpointOptions
from consumers.redis.connection import CONNECT_TIMEOUT_S
from model.pairs import PairOf, unlisted

BACKOFF_FIRST_S, BACKOFF_CAP_S = 0.1, 5.0  # between attempts to connect, doubled each time, with full jitter
REFUSED_PAUSE_S = 1.0  # what Redis refused is tried again after this pause
SUBSCRIBERS_WAIT_S = 2.0  # after an outage klines wait for subscribers to be back too: Pub/Sub keeps nothing for them
PUBLISHER_REPLY_S, STREAMS_REPLY_S = 10.0, 5.0  # no reply for so long while some are due: the connection is dead
RAW_LIMIT = 200_000  # messages: 10 s of the busiest measured market
RAW_LIMIT_BYTES = 128 * 1024 * 1024  # what waiting payloads may cost in memory
STREAMS_MAX_LEN = 100_000  # entries per stream: klines of ten symbols for weeks, raw payloads for minutes
STREAMS_RAW_LIMIT = 50_000  # messages
STREAMS_RAW_LIMIT_BYTES = 64 * 1024 * 1024
CLUSTER_BATCH = 1_000  # messages per step: a fair share for every node, and few enough that one step is short
STORAGE_BACKOFF_FIRST_S = 0.2  # the storage connects anew at a flush, which is no more often


@dataclass(frozen=True)
class QueueOptions:
    """The address of a Redis, and the bounds of what waits for it. `url` as redis-py reads it (redis, rediss, unix).

    `spill_path` is where klines wait that memory cannot hold, and those that a stop left unsent; give every output of
    every collector its own. None keeps them in memory only.
    """

    url: str = field(default="redis://localhost:6379/0", repr=False)  # it may hold the password
    spill_path: Path | None = None
    raw_limit: int = RAW_LIMIT
    raw_limit_bytes: int = RAW_LIMIT_BYTES
    klines_in_memory: int = MEMORY_LIMIT
    backoff_first_s: float = BACKOFF_FIRST_S
    backoff_cap_s: float = BACKOFF_CAP_S
    refused_pause_s: float = REFUSED_PAUSE_S
    connect_timeout_s: float = CONNECT_TIMEOUT_S


@dataclass(frozen=True)
class RedisOptions(QueueOptions):
    """The options of the publishers. `main_key` also gets every envelope; `checkpoint` None keeps none.

    `cluster`: whether `url` is of a cluster, and what has a slot of its own there.
    """

    main_key: str | None = None
    checkpoint: CheckpointOptions | None = None
    cluster: Literal["off", "kind", "symbol"] = "off"
    cluster_batch: int = CLUSTER_BATCH
    subscribers_wait_s: float = SUBSCRIBERS_WAIT_S
    reply_deadline_s: float = PUBLISHER_REPLY_S


@dataclass(frozen=True)
class RedisStreamsOptions(QueueOptions):
    """The options of Redis Streams. `has_klines`: closed klines are kept; `max_len` in entries per stream."""

    raw_limit: int = STREAMS_RAW_LIMIT
    raw_limit_bytes: int = STREAMS_RAW_LIMIT_BYTES
    has_klines: bool = True
    max_len: int = STREAMS_MAX_LEN
    reply_deadline_s: float = STREAMS_REPLY_S


@dataclass(frozen=True)
class StorageOptions:
    """The options of the storage. `markets` are those whose keys are this collector's.

    Values are flushed when `flush_size` of them wait, or after the interval.
    `owns(symbol)` where several processes share the keys: which symbols are this one's; None: all. `pair_of` is the
    exchange's listing: the coin of a symbol.
    """

    url: str = field(default="redis://localhost:6379/0", repr=False)  # it may hold the password
    main_key: str = "bybit-streamer"
    exchange: str = "bybit"
    markets: tuple[str, ...] = ("linear",)
    flush_size: int = 100
    flush_interval_s: float = 1.0
    owns: Callable[[str], bool] | None = None
    is_cluster: bool = False
    pair_of: PairOf = unlisted
    backoff_first_s: float = STORAGE_BACKOFF_FIRST_S
    backoff_cap_s: float = BACKOFF_CAP_S
    refused_pause_s: float = REFUSED_PAUSE_S


@dataclass(frozen=True)
class EmbeddedOptions:
    """The address that an embedded server may serve, with the user, password and databases that clients of it need.

    `url` is the same address as redis-py reads it.
    """

    url: str = field(repr=False)
    host: str
    port: int
    user: str = ""
    password: str = field(default="", repr=False)
    databases: int = 1
