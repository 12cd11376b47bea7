"""The settings of the outputs, in the outputs' own records. Pure."""

from collections.abc import Callable
from typing import Any

from consumers.file import FileOptions
from consumers.history import HistoryOptions
from consumers.manager import ConsumerOptions
from consumers.published import PublishedOptions
from consumers.redis import RedisOptions
from consumers.storage import StorageOptions
from consumers.websocket import WebSocketOptions


def consumer_options(settings: Any, owns: Callable[[str], bool] | None = None) -> ConsumerOptions:
    """Read them from a conf.settings.Settings, which this room does not import.

    `owns(symbol)` says which symbols are this process's, where several share a market; None: all.
    """
    return ConsumerOptions(
        redis=_redis(settings),
        file=_file(settings),
        websocket=_websocket(settings),
        storage=_storage(settings, owns),
        history=_history(settings),
    )


def _redis(settings: Any) -> RedisOptions:
    state = settings.state_name
    return RedisOptions(
        url=settings.redis_url,
        main_key=settings.redis_main_key,
        spill_path=settings.redis_backlog_path / f"{state}.jsonl",
        raw_limit=settings.raw_queue_size,
        published=PublishedOptions(
            ":".join(filter(None, (settings.storage_main_key, settings.shard_name))),
            settings.redis_backlog_path / f"{state}.published.json",
        ),
    )


def _file(settings: Any) -> FileOptions:
    return FileOptions(
        base_path=settings.file_consumer_base_path, retention_hours=settings.file_consumer_retention_hours
    )


def _websocket(settings: Any) -> WebSocketOptions:
    return WebSocketOptions(
        host=settings.websocket_host,
        port=settings.websocket_port,
        path=settings.websocket_path,
        user=settings.wss_auth_user or "",
        key=settings.wss_auth_key.get_secret_value() if settings.wss_auth_key else "",
        tls_cert=settings.websocket_tls_cert,
        tls_key=settings.websocket_tls_key,
    )


def _storage(settings: Any, owns: Callable[[str], bool] | None) -> StorageOptions:
    return StorageOptions(
        url=settings.redis_url,
        main_key=settings.storage_main_key,
        exchange=settings.exchange,
        markets=settings.markets,
        flush_size=settings.storage_buffer_flush_size,
        flush_interval_s=settings.storage_buffer_flush_interval,
        owns=owns,
    )


def _history(settings: Any) -> HistoryOptions:
    return HistoryOptions(
        url=settings.redis_url,
        has_klines="klines" in settings.redis_streams_kinds,
        max_len=settings.redis_streams_maxlen,
        spill_path=settings.redis_backlog_path / f"{settings.state_name}.history.jsonl",
    )
