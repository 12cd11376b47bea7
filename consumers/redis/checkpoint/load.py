"""The checkpoint of an earlier run, read at the start: from Redis, the store, the spill file.

Any thread, before anything is published; blocks for a few seconds at most. What cannot be read is logged and
counts as empty: the collector starts all the same.
"""

import contextlib
import dataclasses
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import redis
import structlog
from redis.exceptions import RedisError

from consumers.redis.backlog import parse_line, spilled_klines
from consumers.redis.checkpoint.old_files import newest_of, read_lines, read_old_files, rename_old_files
from consumers.redis.checkpoint.store import (
    NOTHING,
    CheckpointOptions,
    KlineCheckpoint,
    KlineHead,
    checkpoint_hash,
    decode_message,
    interval_of,
    is_stale,
)
from consumers.redis.connection import MALFORMED_REPLY_ERRORS, bounded_client
from consumers.store.published import EarlierStore
from model.files import open_descriptor
from model.records import LastPublished, MarketKlines, Published, SeriesKey

log = structlog.get_logger()

LOAD_LIMIT_S = 3.0  # for all of Redis: a stop waits for it
TIMEOUT_S = 1.5  # a Redis that does not answer must not hold up the start; the store is there


class Loaded(NamedTuple):
    """What an earlier run left: what Redis confirmed by series, what counts as published, and what the store lacks.

    `sent` messages at the front of the spill file were published. `old` klines are of files from before the store.
    """

    confirmed: dict[SeriesKey, LastPublished]
    published: Published
    sent: int
    old: MarketKlines


def load_published(
    url: str | None,
    options: CheckpointOptions,
    markets: Iterable[str],
    spill_path: Path | None,
    store: EarlierStore | None,
    now_ms: int,
) -> Loaded:
    """Read the hash in Redis, the store, and what waits on disk to be published first.

    `url` None: there is no hash. `store` None: nothing but the hash remembers.
    """
    marks: Mapping[SeriesKey, LastPublished] = store.marks if store else {}
    old: MarketKlines = []
    if store and options.old_path:
        if marks:
            rename_old_files(options.old_path)
        else:
            marks, old = read_old_files(options.old_path)
    confirmed = load_confirmed(url, options.key_prefix, markets, marks, now_ms)
    spilled = list(spilled_klines(spill_path, now_ms))
    held = store.held(confirmed) if store else confirmed
    known = with_spilled(held, spilled) if spilled else held
    published = store.published(known) if store else Published(known)
    waiting = list(read_lines(spilled))
    if waiting or old:
        leaving = {(market, k.symbol, k.interval, k.timestamp, k.revision) for market, k in waiting}
        published = dataclasses.replace(
            published,
            recent=newest_of([*published.recent, *old, *waiting]),
            unconfirmed=[
                (market, k)
                for market, k in published.unconfirmed
                if (market, k.symbol, k.interval, k.timestamp, k.revision) not in leaving
            ],
        )
    return Loaded(confirmed, published, sent_from_file(spill_path, confirmed), old)


def published_without_redis(store: EarlierStore, now_ms: int) -> Published:
    """Return what an earlier run published, where no Redis confirms it: the store's own marks."""
    return store.published(store.held(_without_stale(store.marks, now_ms)))


def load_confirmed(
    url: str | None,
    key_prefix: str,
    markets: Iterable[str],
    marks: Mapping[SeriesKey, LastPublished],
    now_ms: int,
    limit_s: float = LOAD_LIMIT_S,
) -> dict[SeriesKey, LastPublished]:
    """Merge the hash in Redis and marks: the newer start wins, then the higher revision. None in `url`: marks alone.

    What was published last long ago is left out, and removed from Redis: its symbol is no longer collected.
    """
    found = dict(marks)
    in_redis = _from_redis(url, key_prefix, markets, now_ms, limit_s) if url else {}
    for key, last in in_redis.items():
        found[key] = max(last, found.get(key, NOTHING))
    return _without_stale(found, now_ms)


def _without_stale(known: Mapping[SeriesKey, LastPublished], now_ms: int) -> dict[SeriesKey, LastPublished]:
    return {key: last for key, last in known.items() if not is_stale(key[2], last.start_ms, now_ms)}


def with_spilled(known: dict[SeriesKey, LastPublished], spilled: Iterable[bytes]) -> dict[SeriesKey, LastPublished]:
    """Move `known` on by the klines of the spill file: they are published before any new one is."""
    checkpoint = KlineCheckpoint(CheckpointOptions(""))
    checkpoint.restore(known)
    for payload in spilled:
        checkpoint.confirm(checkpoint.stage(payload))
    return checkpoint.known()


def sent_from_file(spill_path: Path | None, known: Mapping[SeriesKey, LastPublished]) -> int:
    """Count the messages at the front of a spill file that were published before a SIGKILL.

    They left in their order: what stands before a published kline was published too, unless something in it is newer
    than what is known, which was refused. Where it is uncertain nothing is skipped; 0 on failure.
    """
    sent = 0
    if spill_path is not None:
        with contextlib.suppress(OSError), open(spill_path, "rb", opener=open_descriptor) as file:
            for number, line in enumerate(file, 1):
                ages = [_age(market, head, known) for market, head in _heads(line)]
                if any(age > 0 for age in ages):
                    break
                if 0 in ages:
                    sent = number
    return sent


def _heads(line: bytes) -> list[tuple[str, KlineHead]]:
    item = parse_line(line)
    if item is None:
        return []
    try:
        message = decode_message(item.payload)
    except msgspec.DecodeError:
        return []
    return [(message.channel, head) for head in message.data]


def _age(market: str, head: KlineHead, known: Mapping[SeriesKey, LastPublished]) -> int:
    """Compare a kline with the last published of its key: 1 newer, 0 the same, -1 older."""
    last = known.get((market, head.symbol, interval_of(head)), NOTHING)
    ours, theirs = (head.timestamp, head.revision), (last.start_ms, last.revision)
    return (ours > theirs) - (ours < theirs)


def _from_redis(
    url: str, prefix: str, markets: Iterable[str], now_ms: int, limit_s: float
) -> dict[SeriesKey, LastPublished]:
    """Return what Redis gives within `limit_s`: a thread reads it, for nothing else ends the look-up of a name."""
    found: dict[SeriesKey, LastPublished] = {}

    def read() -> None:
        try:
            with bounded_client(url, TIMEOUT_S) as client:
                for market in markets:
                    found.update(_from_hash(client, prefix, market, now_ms))
        except (OSError, RedisError, *MALFORMED_REPLY_ERRORS) as error:
            _log_unread(str(error), error_type=type(error).__name__)

    thread = threading.Thread(target=read, name="checkpoint-load", daemon=True)
    thread.start()
    thread.join(limit_s)
    if thread.is_alive():
        _log_unread(f"not done within {limit_s:g} s")
    return dict(found)


def _log_unread(error: str, **fields: str) -> None:
    """Log that Redis does not tell what an earlier run published last; that it does not work is logged elsewhere."""
    sentence = f"What the last run published is taken from the store alone: {error.rstrip('.')}."
    log.info("checkpoint_not_read_from_redis", sentence=sentence, error=error, **fields)


def _from_hash(client: "redis.Redis", prefix: str, market: str, now_ms: int) -> dict[SeriesKey, LastPublished]:
    name = checkpoint_hash(prefix, market)
    fields: dict[Any, Any] = client.hgetall(name)
    found, stale = {}, []
    for field, value in fields.items():
        try:
            symbol, _, interval = field.decode().rpartition(":")
            key = (market, symbol, int(interval))
            start_ms, revision, complete = map(int, value.split(b","))
        except ValueError:
            continue  # another program's, not ours to remove
        if is_stale(key[2], start_ms, now_ms):
            stale.append(field)
        else:
            found[key] = LastPublished(start_ms, revision, bool(complete))
    if stale:
        client.hdel(name, *stale)
    return found
