"""What an earlier run published last, read at the start: from Redis, from the state file, from what waits on disk.

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
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from consumers.redis.backlog import parse_line, waiting_in_file
from consumers.redis.checkpoint.entries import (
    NOTHING,
    Issue,
    Key,
    LastPublished,
    decode_message,
    interval_of,
    is_stale,
    last_of,
    published_key,
)
from consumers.redis.checkpoint.store import PublishedMemory, PublishedOptions
from consumers.redis.connection import NONSENSE, BoundedParser, shake_hands
from model.files import open_descriptor, read_file

log = structlog.get_logger()

LOAD_LIMIT_S = 3.0  # for all of it: a stop waits for it
TIMEOUT_S = 1.5  # a Redis that does not answer must not hold up the start; the file is there


def load_published(
    url: str | None, options: PublishedOptions, markets: Iterable[str], now_ms: int
) -> dict[Key, LastPublished]:
    """Merge Redis and the file: the newer start wins, then the higher revision. None in `url`: the file alone.

    What was published last long ago is left out, and removed from Redis: its symbol is no longer collected.
    """
    found = _from_file(options.path)
    in_redis = _from_redis(url, options.key_prefix, markets, now_ms) if url else {}
    for key, last in in_redis.items():
        found[key] = max(last, found.get(key, NOTHING))
    return {key: last for key, last in found.items() if not is_stale(key[2], last.start_ms, now_ms)}


def with_waiting(known: dict[Key, LastPublished], spill_path: Path | None, now_ms: int) -> dict[Key, LastPublished]:
    """Move `known` on by the klines that wait on disk: they are published before any new one is."""
    memory = PublishedMemory(PublishedOptions(""))
    memory.seed(known)
    for item in waiting_in_file(spill_path, now_ms):
        if item.klines:
            memory.confirm(memory.note(item.payload))
    return memory.known()


def sent_from_file(spill_path: Path | None, known: Mapping[Key, LastPublished]) -> int:
    """Count the messages at the front of a spill file that were published before a SIGKILL.

    They left in their order: what stands before a kline that is known as published was published too, unless
    something in it is newer than what is known, which was refused. Nothing is skipped in doubt; 0 on failure.
    """
    sent = 0
    if spill_path is not None:
        with contextlib.suppress(OSError), open(spill_path, "rb", opener=open_descriptor) as file:
            for number, line in enumerate(file, 1):
                ages = [_age(market, issue, known) for market, issue in _issues(line)]
                if any(age > 0 for age in ages):
                    break
                if 0 in ages:
                    sent = number
    return sent


def _issues(line: bytes) -> list[tuple[str, Issue]]:
    item = parse_line(line)
    if item is None:
        return []
    try:
        message = decode_message(item.payload)
    except msgspec.DecodeError:
        return []
    return [(message.channel, issue) for issue in message.data]


def _age(market: str, issue: Issue, known: Mapping[Key, LastPublished]) -> int:
    """Say how an issue stands to what is known: 1 newer, 0 the same, -1 older."""
    last = known.get((market, issue.symbol, interval_of(issue)), NOTHING)
    ours, theirs = (issue.timestamp, issue.revision), (last.start_ms, last.revision)
    return (ours > theirs) - (ours < theirs)


def _from_file(path: Path | None) -> dict[Key, LastPublished]:
    try:
        content = read_file(path) if path else b"{}"
        by_market = msgspec.json.decode(content, type=dict[str, list[Issue]])
        return {
            (market, issue.symbol, interval_of(issue)): last_of(issue)
            for market, issues in by_market.items()
            for issue in issues
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:  # msgspec's errors are ValueErrors
        log.warning("published_file_unreadable", path=str(path), error=str(error))
        return {}


def _from_redis(url: str, prefix: str, markets: Iterable[str], now_ms: int) -> dict[Key, LastPublished]:
    """What Redis has given within LOAD_LIMIT_S: a thread reads it, for nothing else ends the look-up of a name."""
    found: dict[Key, LastPublished] = {}
    thread = threading.Thread(
        target=_read_redis, args=(found, url, prefix, markets, now_ms), name="published-load", daemon=True
    )
    thread.start()
    thread.join(LOAD_LIMIT_S)
    if thread.is_alive():
        log.warning("published_not_read_from_redis", error=f"not done within {LOAD_LIMIT_S:g} s")
    return dict(found)


def _read_redis(found: dict[Key, LastPublished], url: str, prefix: str, markets: Iterable[str], now_ms: int) -> None:
    options = {} if url.startswith("unix:") else {"socket_connect_timeout": TIMEOUT_S}
    try:
        with redis.Redis.from_url(
            url,
            protocol=2,
            socket_timeout=TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
            parser_class=BoundedParser,
            redis_connect_func=shake_hands,
            **options,
        ) as client:
            for market in markets:
                found.update(_from_hash(client, prefix, market, now_ms))
    except (OSError, RedisError, *NONSENSE) as error:
        log.warning("published_not_read_from_redis", error=str(error), error_type=type(error).__name__)


def _from_hash(client: "redis.Redis", prefix: str, market: str, now_ms: int) -> dict[Key, LastPublished]:
    key = published_key(prefix, market)
    fields: dict[Any, Any] = client.hgetall(key)
    found, gone = {}, []
    for name, value in fields.items():
        try:
            place, last = _key(market, name.decode()), _value(value)
        except ValueError:
            continue  # not ours to remove
        if is_stale(place[2], last.start_ms, now_ms):
            gone.append(name)
        else:
            found[place] = last
    if gone:
        client.hdel(key, *gone)
    return found


def _key(market: str, name: str) -> Key:
    symbol, _, interval = name.rpartition(":")
    return market, symbol, int(interval)


def _value(text: bytes) -> LastPublished:
    start_ms, revision, complete = map(int, text.split(b","))
    return LastPublished(start_ms, revision, bool(complete))
