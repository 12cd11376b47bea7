"""Checks between settings, and on this machine's disk, beyond each one alone.

Pure but for a look at paths. Finds everything at once; decides nothing and changes nothing.
"""

import os
import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from urllib.parse import urlsplit

from conf.derived import DerivedSettings
from conf.endpoints import market_of
from conf.names import SettingWarning
from conf.values import BUILT_IN_CONSUMERS
from network.addresses import is_loopback

TEST_CERTIFICATE = (
    "openssl req -x509 -newkey rsa:2048 -nodes -days 365 -subj /CN=localhost "
    "-addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout key.pem -out cert.pem"
)
URL_PASSWORD_IN_QUERY = re.compile(r"(password=)[^&\s]*", re.IGNORECASE)
BYBIT = "bybit"  # what settings named BYBIT_... are of
# Not needed before Redis is away; an output that is on by default, whose lack costs nothing else; checked as a file.
LATER_FOLDERS = ("REDIS_BACKLOG_PATH", "KLINE_STORE_PATH", "LOG_FILE")
NO_TLS = "is reached from elsewhere without TLS, and the key can be read on the way: set WEBSOCKET_TLS_CERT and _KEY"

Shown = Mapping[str, str]  # canonical names of what the user set -> NAME='value' as it was written, secrets masked
Warnings = Iterator[tuple[str, str]]  # names and advice


def without_password(text: str) -> str:
    """The text with everything before the last @ of a URL masked; even a malformed URL shows no secret."""
    head, at, tail = text.rpartition("@")
    scheme, separator, _ = head.partition("://")
    masked = f"{scheme}{separator}***@{tail}" if at and separator else f"***@{tail}" if at else text
    return URL_PASSWORD_IN_QUERY.sub(r"\1***", masked)


def errors(settings: DerivedSettings, shown: Shown) -> Iterator[str]:
    """Find every error between settings: a line each, which begins with the setting as the user wrote it."""
    yield from _exchange_errors(settings, shown)
    yield from _certificate_errors(settings, shown)
    if "websocket" in settings.enabled_consumers:
        yield from _websocket_errors(settings, shown)
    if settings.redis_cluster != "off":
        yield from _cluster_errors(settings, shown)
    yield from _path_errors(settings, shown)


def _exchange_errors(settings: DerivedSettings, shown: Shown) -> Iterator[str]:
    for name, general in (("BYBIT_WS_URL", "WS_URL"), ("BYBIT_REST_URL", "REST_URL")):
        if name in shown and settings.exchange != BYBIT:
            yield f"{shown[name]}: it is Bybit's, and EXCHANGE is {settings.exchange}; set {general}, or remove it"
        elif name in shown and general in shown:
            yield f"{shown[name]}: {general} is set too; remove one of them"
    if settings.bybit_ws_url is not None:
        market, path = market_of(settings.bybit_ws_url), urlsplit(settings.bybit_ws_url).path
        url = shown["BYBIT_WS_URL"]
        if market and market != settings.channel_type:
            yield f"{url}: it is the {market} market's; set CHANNEL_TYPE={market} or give another endpoint"
        if not path.strip("/") and len(settings.markets) > 1:
            yield f"{url}: with ENABLE_SPOT_STREAM=true it must end in the market, as in /v5/public/linear"
    if settings.load_all_symbols and not settings.has_rest:
        beside = "BYBIT_WS_URL" if settings.bybit_ws_url else "WS_URL"
        missing = beside.replace("WS", "REST")
        yield f"{shown['LOAD_ALL_SYMBOLS']}: {missing} is not set beside {beside}; the symbols are read there"


def _certificate_errors(settings: DerivedSettings, shown: Shown) -> Iterator[str]:
    pair = {"WEBSOCKET_TLS_CERT": settings.websocket_tls_cert, "WEBSOCKET_TLS_KEY": settings.websocket_tls_key}
    given = {name: path for name, path in pair.items() if path is not None}
    if len(given) == 1:
        (name,), (missing,) = given, pair.keys() - given.keys()
        yield f"{shown[name]}: {missing} is missing; set both or neither"
    for name, path in given.items():
        if not (path.is_file() and os.access(path, os.R_OK)):
            yield f"{shown[name]}: no readable file there; allowed: a PEM file"


def _websocket_errors(settings: DerivedSettings, shown: Shown) -> Iterator[str]:
    for name, value in (("WSS_AUTH_USER", settings.wss_auth_user), ("WSS_AUTH_KEY", settings.wss_auth_key)):
        if value is None:
            yield f"{name} is not set: the websocket consumer needs it; clients log in with it"
    scheme, url = urlsplit(settings.websocket_url or "").scheme, shown.get("WEBSOCKET_URL")
    if scheme == "wss" and not (settings.websocket_tls_cert or settings.websocket_tls_key):
        yield f"{url}: wss needs WEBSOCKET_TLS_CERT and WEBSOCKET_TLS_KEY; for a test certificate: {TEST_CERTIFICATE}"
    if scheme == "ws" and settings.websocket_tls_cert:
        yield f"{url}: a certificate is set; write wss:// or leave WEBSOCKET_TLS_CERT and _KEY empty"


def _cluster_errors(settings: DerivedSettings, shown: Shown) -> Iterator[str]:
    given = shown["REDIS_CLUSTER"]
    if settings.redis_db:
        yield f"{given}: a cluster has only database 0; leave REDIS_DB empty"
    if settings.redis_streams:
        yield f"{given}: REDIS_STREAMS writes to a single server; switch one of the two off"


def _path_errors(settings: DerivedSettings, shown: Shown) -> Iterator[str]:
    for name, path in settings.written_folders.items():
        if name not in LATER_FOLDERS and not _is_writable_folder(path):
            default = f"{name}='{path}'"
            yield f"{shown.get(name, default)}: not writable; allowed: a folder this user may write"
    if settings.log_file is not None and not _is_writable_file(settings.log_file):
        yield f"{shown['LOG_FILE']}: not writable; allowed: a regular file this user may write"


def _is_writable_folder(path: Path) -> bool:
    """Whether `path` is a writable folder, or the nearest folder above allows to make it."""
    path = path.absolute()
    nearest = next(folder for folder in (path, *path.parents) if os.path.lexists(folder))
    return nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)


def _is_writable_file(path: Path) -> bool:
    if path.exists():
        return path.is_file() and os.access(path, os.W_OK)
    return _is_writable_folder(path.parent)


def warnings(settings: DerivedSettings) -> list[SettingWarning]:
    """Find every setting that works, but hardly as meant."""
    parts = (
        _legacy_warnings,
        _exchange_warnings,
        _websocket_warnings,
        _redundancy_warnings,
        _redis_warnings,
        _symbols_warnings,
        _shard_warnings,
        _consumers_warnings,
        _store_warnings,
        _alert_warnings,
    )
    return [SettingWarning(*found) for part in parts for found in part(settings)]


def _legacy_warnings(settings: DerivedSettings) -> Warnings:
    """Warnings for settings of the earlier spot price bot, where they are that system's."""
    if not settings.is_legacy_spot_bot:
        return
    if "storage" not in settings.outputs:
        yield "STORAGE_ENABLED", "is not true: prices are in Redis hashes, as bybit_spot:BTC, only with it"
    if not (settings.enable_price_stream and "console" in settings.enabled_consumers):
        advice = "is not true, or console is not in ENABLED_CONSUMERS: lines as BTC|67250.50|... need both"
        yield "ENABLE_PRICE_STREAM", advice


def _exchange_warnings(settings: DerivedSettings) -> Warnings:
    if settings.use_testnet and settings.bybit_ws_url:
        yield "USE_TESTNET", "has no effect on the streams: BYBIT_WS_URL says where they are"
    if settings.kline_repair and not settings.has_rest:
        beside = "BYBIT_WS_URL" if settings.bybit_ws_url else "WS_URL"
        yield beside.replace("WS", "REST"), f"is not set beside {beside}: klines are not repaired"
    if not settings.wanted_kinds:
        yield "RAW_STREAMS", "is none, and no output needs a stream: only STREAMS entries of your own are run"
    if settings.silence_timeout <= settings.ping_interval:
        yield "SILENCE_TIMEOUT", "is not above PING_INTERVAL: a quiet connection is dropped before its pong"


def _websocket_warnings(settings: DerivedSettings) -> Warnings:
    if "websocket" not in settings.enabled_consumers:
        if settings.websocket_url:
            yield "WEBSOCKET_URL", "gives clients no envelopes: add websocket to ENABLED_CONSUMERS"
        elif settings.enable_web and not is_loopback(settings.websocket_host):
            if not (settings.wss_auth_user and settings.wss_auth_key):
                advice = "answers only /livez and /readyz: set WSS_AUTH_USER and WSS_AUTH_KEY for the page and /metrics"
                yield "WEBSOCKET_HOST", advice
            elif not settings.websocket_tls_cert:
                yield "WEBSOCKET_HOST", NO_TLS
        if settings.websocket_exchange_paths != "off":
            yield "WEBSOCKET_EXCHANGE_PATHS", "has no effect: add websocket to ENABLED_CONSUMERS"
    elif not is_loopback(settings.websocket_host):
        if not settings.websocket_tls_cert:
            yield "WEBSOCKET_HOST", NO_TLS
        if settings.websocket_exchange_paths == "open":
            yield "WEBSOCKET_EXCHANGE_PATHS", "is open to everybody who reaches WEBSOCKET_HOST; auth asks for a login"


def _redundancy_warnings(settings: DerivedSettings) -> Warnings:
    chosen = settings.redundant_symbols or ()
    if settings.redundancy > 1 and not chosen:
        yield "REDUNDANCY", "has no effect: name symbols in REDUNDANT_SYMBOLS, or all"
    if settings.redundancy == 1 and chosen:
        yield "REDUNDANT_SYMBOLS", "has no effect: set REDUNDANCY=2"
    is_elsewhere = settings.load_all_symbols or any(path.exists() for path in settings.coins_paths)
    known = (*(chosen if is_elsewhere else settings.symbols), "ALL")
    if strange := [name for name in chosen if name not in known]:
        yield "REDUNDANT_SYMBOLS", f"names what SYMBOLS does not: {', '.join(strange)}"


def _redis_warnings(settings: DerivedSettings) -> Warnings:
    if set(settings.outputs) <= {"redis", "history"} and not settings.redis_main_key:
        advice = "has nowhere to go: name a channel in REDIS_MAIN_KEY, or add an output to ENABLED_CONSUMERS"
        types = (*settings.envelope_types, *(("status",) if settings.enable_status_stream else ()))
        yield from ((f"ENABLE_{name.upper()}_STREAM", advice) for name in types)
    if settings.redis_streams and "klines" in settings.redis_streams_kinds and not settings.enable_klines_stream:
        yield "REDIS_STREAMS_KINDS", "has klines, of which there are none with ENABLE_KLINES_STREAM=false"


def _symbols_warnings(settings: DerivedSettings) -> Warnings:
    if settings.load_all_symbols:
        return
    paths = settings.coins_paths
    if len(paths) in (1, 2) and not any(path.exists() for path in paths):  # more of them are the default's
        folders = ", nor in ".join(str(path.absolute().parent) for path in paths)
        yield "COINS_FILE", f"is not in {folders}: SYMBOLS holds until it is there"
    for name, value in (("SYMBOLS_LIMIT", settings.symbols_limit), ("SYMBOLS_PRE_MARKET", settings.symbols_pre_market)):
        if value:
            yield name, "has no effect: set LOAD_ALL_SYMBOLS=true"


def _shard_warnings(settings: DerivedSettings) -> Warnings:
    if settings.shard == "1/1":
        return
    if settings.redis_embedded != "never":
        yield "SHARD", "shares a Redis with the others, and an embedded one ends: set REDIS_EMBEDDED=never"
    own = (("websocket", "WEBSOCKET_PORT"), ("file", "FILE_CONSUMER_BASE_PATH"))  # parquet: a file per symbol anyway
    for name, setting in own:
        if name in settings.enabled_consumers:
            yield "SHARD", f"has only its own symbols in the {name} output: give each process its {setting}"


def _consumers_warnings(settings: DerivedSettings) -> Warnings:
    for name in set(settings.enabled_consumers) - set(BUILT_IN_CONSUMERS):
        if close := get_close_matches(name.lower(), BUILT_IN_CONSUMERS, n=1, cutoff=0.8):
            yield "ENABLED_CONSUMERS", f"{name} must be a consumer of your own; did you mean {close[0]}?"


def _store_warnings(settings: DerivedSettings) -> Warnings:
    if settings.kline_store and not settings.enable_klines_stream and "kline_store" in settings.model_fields_set:
        yield "KLINE_STORE", "has no effect: there are no klines with ENABLE_KLINES_STREAM=false"


def _alert_warnings(settings: DerivedSettings) -> Warnings:
    if settings.alert_listings and not settings.has_alerts:
        yield "ALERT_LISTINGS", "has no effect: set ALERT_URLS or ALERT_WEBHOOK"
    if settings.alert_listings and settings.has_alerts and not settings.has_rest:
        yield "ALERT_LISTINGS", "has no effect: what the exchange lists is not read"
