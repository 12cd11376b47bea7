"""The checkpoint of an earlier run, read at the start: from Redis, the state file, the spill file.

Any thread, before anything is published; blocks for a few seconds at most. What cannot be read is logged and
counts as empty: the collector starts all the same.
"""

import contextlib
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import redis
import structlog
from redis.exceptions import RedisError

from consumers.redis.backlog import parse_line
from consumers.redis.checkpoint.store import (
    NOTHING,
    CheckpointOptions,
    KlineCheckpoint,
    KlineHead,
    checkpoint_hash,
    decode_message,
    interval_of,
    is_stale,
    last_of,
)
from consumers.redis.connection import MALFORMED_REPLY_ERRORS, bounded_client
from model.files import open_descriptor, read_file
from model.records import LastPublished, SeriesKey

log = structlog.get_logger()

LOAD_LIMIT_S = 3.0  # for all of Redis: a stop waits for it
TIMEOUT_S = 1.5  # a Redis that does not answer must not hold up the start; the file is there


def load_checkpoint(
    url: str | None,
    options: CheckpointOptions,
    markets: Iterable[str],
    now_ms: int,
    limit_s: float = LOAD_LIMIT_S,
) -> dict[SeriesKey, LastPublished]:
    """Merge Redis and the file: the newer start wins, then the higher revision. None in `url`: the file alone.

    What was published last long ago is left out, and removed from Redis: its symbol is no longer collected.
    """
    found = _from_file(options.path)
    in_redis = _from_redis(url, options.key_prefix, markets, now_ms, limit_s) if url else {}
    for key, last in in_redis.items():
        found[key] = max(last, found.get(key, NOTHING))
    return {key: last for key, last in found.items() if not is_stale(key[2], last.start_ms, now_ms)}


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


def _from_file(path: Path | None) -> dict[SeriesKey, LastPublished]:
    try:
        content = read_file(path) if path else b"{}"
        by_market = msgspec.json.decode(content, type=dict[str, list[KlineHead]])
        return {
            (market, head.symbol, interval_of(head)): last_of(head)
            for market, heads in by_market.items()
            for head in heads
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:  # msgspec's errors are ValueErrors
        log.warning("checkpoint_file_unreadable", path=str(path), error=str(error))
        return {}


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
    """Log that files alone give what an earlier run published last; that Redis does not work is logged elsewhere."""
    sentence = f"What the last run published is taken from files alone: {error.rstrip('.')}."
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
