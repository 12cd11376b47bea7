"""What the outputs in Redis are told. Pure."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from consumers.redis.backlog import MEMORY_LIMIT
from consumers.redis.checkpoint.store import PublishedOptions
from model.pairs import PairOf, unlisted

RAW_LIMIT = 200_000  # messages: 10 s of the busiest measured market
RAW_LIMIT_BYTES = 128 * 1024 * 1024  # what waiting payloads may cost in memory
HISTORY_MAX_LEN = 100_000  # entries per stream: klines of ten symbols for weeks, raw payloads for minutes
HISTORY_RAW_LIMIT = 50_000  # messages
HISTORY_RAW_LIMIT_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class WaitingOptions:
    """`url` as redis-py reads it (redis, rediss, unix), and the bounds of what waits for it.

    `spill_path` is where klines wait that memory cannot hold, and those a stop left unsent; give every
    output of every collector its own. None keeps them in memory only.
    """

    url: str = field(default="redis://localhost:6379/0", repr=False)  # it may hold the password
    spill_path: Path | None = None
    raw_limit: int = RAW_LIMIT
    raw_limit_bytes: int = RAW_LIMIT_BYTES
    klines_in_memory: int = MEMORY_LIMIT


@dataclass(frozen=True)
class RedisOptions(WaitingOptions):
    """`main_key` also gets every envelope. `published` is where the last published klines are remembered; or None.

    `cluster`: whether `url` is of a cluster, and what has a slot of its own there.
    """

    main_key: str | None = None
    published: PublishedOptions | None = None
    cluster: Literal["off", "kind", "symbol"] = "off"


@dataclass(frozen=True)
class HistoryOptions(WaitingOptions):
    """`has_klines`: closed klines are kept; `max_len` in entries per stream."""

    raw_limit: int = HISTORY_RAW_LIMIT
    raw_limit_bytes: int = HISTORY_RAW_LIMIT_BYTES
    has_klines: bool = True
    max_len: int = HISTORY_MAX_LEN


@dataclass(frozen=True)
class StorageOptions:
    """`markets` are those whose keys are this collector's; flushed at `flush_size` values or after the interval.

    `owns(symbol)` where several processes share the keys: which symbols are this one's; None: all. `pair_of` says
    which coin a symbol is.
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
