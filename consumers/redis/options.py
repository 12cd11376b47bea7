"""The options of the outputs in Redis, and of the embedded server. Pure."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from consumers.redis.backlog import MEMORY_LIMIT
from consumers.redis.checkpoint.store import CheckpointOptions
from consumers.redis.connection import CONNECT_TIMEOUT_S
from model.pairs import PairOf, unlisted
from model.ports import SymbolOf, of_no_symbol

BACKOFF_FIRST_S, BACKOFF_CAP_S = 0.1, 5.0  # between attempts to connect, doubled each time, with full jitter
REFUSED_PAUSE_S = 1.0  # what Redis refused is tried again after this pause


@dataclass(frozen=True)
class QueueOptions:
    """The address of a Redis, and the bounds of what waits for it. `url` as redis-py reads it (redis, rediss, unix).

    `spill_path` is where klines wait that memory cannot hold, and those that a stop left unsent; give every output of
    every collector its own. None keeps them in memory only.
    """

    url: str = field(default="redis://localhost:6379/0", repr=False)  # it may hold the password
    spill_path: Path | None = None
    raw_limit: int = 200_000  # messages: 10 s of the busiest measured market
    raw_limit_bytes: int = 128 * 1024 * 1024  # what waiting payloads may cost in memory
    klines_in_memory: int = MEMORY_LIMIT
    backoff_first_s: float = BACKOFF_FIRST_S
    backoff_cap_s: float = BACKOFF_CAP_S
    refused_pause_s: float = REFUSED_PAUSE_S
    connect_timeout_s: float = CONNECT_TIMEOUT_S


@dataclass(frozen=True)
class RedisOptions(QueueOptions):
    """The options of the publishers. `main_key` also gets every envelope; `checkpoint` None keeps none.

    `cluster`: whether `url` is of a cluster, and what has a slot of its own there. `symbol_of`: of what is published.
    """

    main_key: str | None = None
    checkpoint: CheckpointOptions | None = None
    cluster: Literal["off", "kind", "symbol"] = "off"
    symbol_of: SymbolOf = of_no_symbol
    cluster_batch: int = 1_000  # messages per step: a fair share for every node, and few enough that a step is short
    subscribers_wait_s: float = 2.0  # after an outage klines wait for those too: Pub/Sub keeps nothing for them
    reply_deadline_s: float = 10.0  # no reply for so long while some are due: the connection is dead


@dataclass(frozen=True)
class RedisStreamsOptions(QueueOptions):
    """The options of Redis Streams. `has_klines`: closed klines are kept."""

    raw_limit: int = 50_000
    raw_limit_bytes: int = 64 * 1024 * 1024
    has_klines: bool = True
    max_len: int = 100_000  # entries per stream: klines of ten symbols for weeks, raw payloads for minutes
    reply_deadline_s: float = 5.0  # as the publisher's


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
    backoff_first_s: float = 0.2  # a flush, which connects anew, comes no more often
    backoff_cap_s: float = BACKOFF_CAP_S
    refused_pause_s: float = REFUSED_PAUSE_S


@dataclass(frozen=True)
class EmbeddedOptions:
    """The address that an embedded server may serve, with the user, password and databases that clients of it need.

    `url` is the same address as redis-py reads it, which the supervisor needs.
    """

    host: str
    port: int
    user: str = ""
    password: str = field(default="", repr=False)
    databases: int = 1
    url: str = field(default="", repr=False)
