"""The types of settings: how a text becomes a value, and which sentence an error shows.

Pure. A type carries `Allowed`, the second half of an error line, unless it is a Literal, whose values are the same.
"""

import inspect
import ipaddress
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from urllib.parse import SplitResult, parse_qsl, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from redis.connection import AbstractConnection, Connection, ConnectionPool, SSLConnection
from redis.exceptions import RedisError

from conf.endpoints import EXAMPLE, address_alone, public_endpoint, rest_address
from model.intervals import DAY_MS, parse_interval
from model.symbols import canonical, is_symbol, plain, split_names

EXCHANGES = tuple(  # the folders of exchanges/ that have a venue; conf imports none of them
    sorted(path.parent.name for path in (Path(__file__).parent.parent / "exchanges").glob("*/venue.py"))
)
BUILT_IN_CONSUMERS = ("redis", "websocket", "file", "parquet", "console")
DAY_S = 86_400  # no wait is longer than a day; threading would refuse one of centuries
KLINE_DAYS_MAX = 366  # a longer window never closes in practice, and milliseconds must fit 64 bits
HOURS_MAX = 24 * 36_600  # a century

SHARD = re.compile(r"([1-9][0-9]{0,3})/([1-9][0-9]{0,3})")
ORDINAL = re.compile(r"\S+-(0|[1-9][0-9]{0,3})(/.*)")
SHARDS_MAX = 1000
CONSUMER = re.compile(r"[A-Za-z_]\w*|[A-Za-z_][\w.]*:[A-Za-z_]\w*")  # a registered name, or package.module:Class
HOST = re.compile(r"[^\s/@:?#\[\]\\,;\"']+")
REDIS_OPTIONS = frozenset(
    name for kind in (AbstractConnection, Connection, SSLConnection) for name in inspect.signature(kind).parameters
)
ALERT_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")
ALERT_URL_BREAK = re.compile(rf"[\s,]+(?={ALERT_URL.pattern})")
LOG_FIELDS = ("asctime", "levelname", "name", "message", "threadName", "process", "filename", "lineno", "funcName")

Market = Literal["linear", "inverse", "spot"]
RawKind = Literal["trades", "orderbook", "ticker", "liquidations"]
HistoryKind = Literal["klines", "trades", "orderbook", "ticker", "liquidations"]


@dataclass(frozen=True)
class Allowed:
    """The allowed values of a setting, for a person to read; `choices` where these are all there is."""

    text: str
    choices: tuple[str, ...] = ()
    is_secret: bool = False  # never shown, not even when wrong


def one_of(*choices: object) -> Allowed:
    """The allowed values where these are all there is."""
    *others, last = map(str, choices)
    return Allowed(f"{', '.join(others)} or {last}" if others else last, (*others, last))


def any_of(*choices: object) -> str:
    """The allowed values where any of these may stand in a list."""
    return f"any of {', '.join(map(str, choices))}, with commas between them"


def split_url(url: str, schemes: tuple[str, ...], lowest_port: int = 1) -> SplitResult:
    """Take a URL apart. Raises ValueError with what is wrong, without repeating the URL."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        host = None
    if not host or parts.scheme not in schemes:
        raise ValueError(f"it must begin with {' or '.join(f'{name}://' for name in schemes)} and a host")
    try:
        port = parts.port
    except ValueError:
        port = -1
    if port is not None and port < lowest_port:
        raise ValueError(f"its port must be a whole number from {lowest_port} to 65535")
    return parts


def _text(read: Callable[[str], object]) -> BeforeValidator:
    """Read a text; what is no text, in Settings(...), stays what it is."""
    return BeforeValidator(lambda value: read(value) if isinstance(value, str) else value)


def _must(is_right: Callable[[Any], object], reason: str) -> AfterValidator:
    """Refuse a value that `is_right` does not hold for."""

    def check(value: Any) -> Any:
        if not is_right(value):
            raise ValueError(reason)
        return value

    return AfterValidator(check)


def _each(is_right: Callable[[str], object]) -> AfterValidator:
    """Refuse the items that `is_right` does not hold for, and an empty list; leave doubles out."""

    def check(items: tuple[str, ...]) -> tuple[str, ...]:
        _refuse([item for item in items if not is_right(item)])
        return _listed(items)

    return AfterValidator(check)


def _url(*schemes: str, canonical: Callable[[str], str] = str, lowest_port: int = 1) -> AfterValidator:
    """Refuse what is no URL of one of the schemes; write it as `canonical` does."""

    def check(url: str) -> str:
        split_url(url, schemes, lowest_port)
        return canonical(url)

    return AfterValidator(check)


def _lowered(text: str) -> str:
    return text.strip().lower()


def _split(text: str) -> tuple[str, ...]:
    """The non-empty items between commas."""
    return tuple(item.strip() for item in plain(text).split(",") if item.strip())


def _none_or_kinds(text: str) -> tuple[str, ...]:
    items = _split(text.lower())
    if items == ("none",):
        return ()
    if "none" in items:
        raise ValueError("none stands alone")
    return _listed(items)


def _log_level(text: str) -> str:
    name = _lowered(text)
    return {"warn": "warning", "fatal": "critical"}.get(name, name)


def _listed(items: tuple[str, ...]) -> tuple[str, ...]:
    """The items without doubles, in their order; an empty list is an error."""
    if not items:
        raise ValueError("the list is empty")
    return tuple(dict.fromkeys(items))


def _refuse(wrong: list[str]) -> None:
    if wrong:
        raise ValueError(f"not understood: {', '.join(map(repr, wrong))}")


def _shard(text: str) -> str:
    """i/n; of the pod of a StatefulSet, whose ordinals begin at 0, name-0/n is 1/n."""
    pod = ORDINAL.fullmatch(text.strip())
    return f"{int(pod[1]) + 1}{pod[2]}" if pod else text


def _is_shard(text: str) -> bool:
    found = SHARD.fullmatch(text)
    return found is not None and int(found[1]) <= int(found[2]) <= SHARDS_MAX


def _intervals(items: tuple[str, ...]) -> tuple[str, ...]:
    seen: dict[object, str] = {}
    _refuse([item for item in items if _window_of(item) is None])
    for item in items:
        window = _window_of(item)
        if window in seen:
            raise ValueError(f"{seen[window]!r} and {item!r} are the same interval; keep one")
        seen[window] = item
    return _listed(items)


def _window_of(text: str) -> tuple[int, int] | None:
    """Equal for two names of one window: 1h and 60m, 1d and 1D; None for what is no interval, or is too long."""
    try:
        interval = parse_interval(text)
    except ValueError:
        return None
    return (interval.step_ms, interval.anchor_ms) if interval.step_ms <= KLINE_DAYS_MAX * DAY_MS else None


def _log_format(text: str) -> str:
    if text.lower() in ("auto", "json", "console"):
        return text.lower()
    if "%(" not in text:
        raise ValueError("neither a name nor a %-format")
    logging.PercentStyle(text).validate()
    try:
        _ = text % vars(logging.makeLogRecord({"message": "", "asctime": ""}))
    except KeyError as error:
        raise ValueError(f"a log line has no field {error}, but {', '.join(LOG_FIELDS)}") from error
    except (TypeError, ValueError) as error:
        raise ValueError(f"not understood: {error}") from error
    return text


def _redis_endpoint(url: SecretStr) -> SecretStr:
    text = url.get_secret_value()
    address = split_url(text, ("redis", "rediss"))
    path = address.path.strip("/")
    if path and not path.isdecimal():
        raise ValueError("the path is the number of the database")
    options = [name for name, _ in parse_qsl(address.query)]
    try:
        ConnectionPool.from_url(f"{address.scheme}{text[len(address.scheme) :]}").make_connection()  # REDIS:// is one
    except (AttributeError, TypeError, ValueError, RedisError):  # the client's own words are for programmers
        unknown = [name for name in options if name not in REDIS_OPTIONS]
        raise ValueError(f"no option {', '.join(map(repr, unknown or options))} of this kind") from None
    return url


def split_alert_urls(text: str) -> tuple[str, ...]:
    """The URLs of a list with commas or spaces between them; a comma within one stays in it."""
    return tuple(part.strip(", \t\n") for part in ALERT_URL_BREAK.split(text.strip()) if part.strip(", \t\n"))


def _alert_urls(urls: SecretStr) -> SecretStr:
    parts = split_alert_urls(urls.get_secret_value())
    if not parts or not all(ALERT_URL.fullmatch(part) for part in parts):
        raise ValueError("each must begin with the name of a service and ://, and have no spaces")
    return urls


def _secret_url(url: SecretStr) -> SecretStr:
    split_url(url.get_secret_value().strip(), ("http", "https"))
    return SecretStr(url.get_secret_value().strip())


def _host(text: str) -> str:
    if "://" in text:
        raise ValueError("a whole address, with its scheme, is for the setting that ends in _URL")
    bare = text.removeprefix("[").removesuffix("]")
    if ":" in bare:
        try:
            ipaddress.IPv6Address(bare)
        except ValueError:
            raise ValueError("the port is a setting of its own") from None
    elif not HOST.fullmatch(text):
        raise ValueError("no host has such a name")
    return bare


REDIS_URL_FORM = (
    "redis://user:password@host:6379/0 (rediss:// for TLS; percent-encode / @ : # ? in the password; options as in "
    "?socket_timeout=3)"
)
LOWERED, KINDS, SYMBOLS = _text(_lowered), _text(lambda text: _split(text.lower())), _text(split_names)
LISTED, EACH_SYMBOL = AfterValidator(_listed), _each(is_symbol)

Switch = Annotated[bool, one_of("true", "false")]
Exchange = Annotated[  # documents do not list them, so that one that is added changes no document
    str, LOWERED, _must(EXCHANGES.__contains__, "no such exchange here"), Allowed(one_of(*EXCHANGES).text)
]
Exchanges = Annotated[tuple[str, ...], KINDS, _each(EXCHANGES.__contains__), Allowed(any_of(*EXCHANGES))]
Channels = Annotated[tuple[str, ...], _text(_split), LISTED, Allowed("names of channels with commas between them")]
Symbols = Annotated[
    tuple[str, ...],
    SYMBOLS,
    EACH_SYMBOL,
    Allowed("symbols or coins with commas between them, as in BTCUSDT,ETH/USDT,SOL"),
]
RedundantSymbols = Annotated[
    tuple[str, ...],
    SYMBOLS,
    _must(lambda items: "ALL" not in items or len(items) == 1, "all stands alone"),
    EACH_SYMBOL,
    Allowed("all, or symbols of SYMBOLS with commas between them"),
]
Quote = Annotated[str, _text(canonical), _must(is_symbol, "no coin has such a name"), Allowed("one coin, as in USDT")]
Shard = Annotated[
    str,
    _text(_shard),
    _must(_is_shard, "no such part"),
    Allowed("i/n: process i (from 1) of n, as in 2/3; or a pod's name, whose number begins at 0: collector-1/3 is 2/3"),
]
Redundancy = Annotated[int, Field(ge=1, le=2), one_of(1, 2)]
RawKinds = Annotated[tuple[RawKind, ...], KINDS, LISTED, Allowed(any_of(*get_args(RawKind)))]
PublishedKinds = Annotated[
    tuple[RawKind, ...], _text(_none_or_kinds), Allowed(f"none, or {any_of(*get_args(RawKind))}")
]
HistoryKinds = Annotated[tuple[HistoryKind, ...], KINDS, LISTED, Allowed(any_of(*get_args(HistoryKind)))]
Depth = Annotated[int, Field(ge=1), Allowed("a whole number from 1, of the depths that the exchange has")]
ChannelType = Annotated[Market, LOWERED]
Intervals = Annotated[
    tuple[str, ...],
    _text(_split),
    AfterValidator(_intervals),
    Allowed("numbers with s, m, h or d (up to 366d), 1w and 1M, each once, with commas between them: 1m,4h,1D"),
]
Consumers = Annotated[
    tuple[str, ...],
    _text(_split),
    _each(CONSUMER.fullmatch),
    Allowed(f"any of {', '.join(BUILT_IN_CONSUMERS)}, a registered name or package.module:Class, comma-separated"),
]
Count = Annotated[int, Field(ge=1, le=2**31), Allowed("a whole number from 1")]
Attempts = Annotated[int, Field(ge=0), Allowed("a whole number; 0 is for ever")]
Millis = Annotated[int, Field(ge=0, le=60_000), Allowed("whole milliseconds from 0 to 60000")]
Seconds = Annotated[float, Field(gt=0, le=DAY_S), Allowed("seconds, above 0 and up to 86400")]
Share = Annotated[float, Field(ge=0, le=1), Allowed("a share from 0 (none) to 1 (all)")]
Hours = Annotated[float, Field(gt=0, le=HOURS_MAX), Allowed("hours, above 0")]
Days = Annotated[float, Field(ge=0, le=HOURS_MAX / 24), Allowed("days; 0 is for ever")]
KeptHours = Annotated[float, Field(ge=0, le=HOURS_MAX), Allowed("hours; 0 is for ever")]
Gigabytes = Annotated[float, Field(ge=0, le=1e6), Allowed("gigabytes; 0 is without limit")]
Port = Annotated[int, Field(ge=1, le=65_535), Allowed("a whole number from 1 to 65535")]
ListenPort = Annotated[int, Field(ge=0, le=65_535), Allowed("a whole number from 0 (any free port) to 65535")]
Database = Annotated[int, Field(ge=0, le=2**31), Allowed("a whole number from 0")]
KlineOpen = Annotated[Literal["prev_close", "first_trade"], LOWERED, Allowed("prev_close or first_trade")]
Clock = Annotated[Literal["wall", "event"], LOWERED]
Embedded = Annotated[Literal["auto", "never"], LOWERED]
Compression = Annotated[Literal["deflate", "gzip", "none"], LOWERED]
FileCompression = Annotated[Literal["none", "gzip"], LOWERED]
ConsoleLive = Annotated[Literal["auto", "always", "never"], LOWERED]
ExchangePaths = Annotated[Literal["off", "auth", "open"], LOWERED]
Cluster = Annotated[Literal["off", "kind", "symbol"], LOWERED]
Text = Annotated[str, Allowed("text")]
Secret = Annotated[SecretStr, Allowed("text", is_secret=True)]
AlertUrls = Annotated[
    SecretStr, AfterValidator(_alert_urls), Allowed("URLs as apprise has them, with commas or spaces", is_secret=True)
]
SecretUrl = Annotated[SecretStr, AfterValidator(_secret_url), Allowed("http://host/... or https://...", is_secret=True)]
AlertCount = Annotated[int, Field(ge=2, le=10_000), Allowed("a whole number from 2: one alert, and its end")]
File = Annotated[Path, Allowed("a path")]
ServerPath = Annotated[str, _must(lambda path: path.startswith("/"), "it must begin with /"), Allowed("a path as in /")]
LogLevel = Annotated[Literal["debug", "info", "warning", "error", "critical"], _text(_log_level)]
LogFormat = Annotated[
    str, AfterValidator(_log_format), Allowed("auto, json, console or a %-format as in %(asctime)s %(message)s")
]
WebsocketEndpoint = Annotated[  # listened on: 0 is any free port
    str, _url("ws", "wss", lowest_port=0), Allowed("ws://host:port/path or wss://...")
]
PublicEndpoint = Annotated[
    str, _url("ws", "wss", canonical=public_endpoint), Allowed(f"ws://... or wss://..., as in {EXAMPLE}")
]
WsAddress = Annotated[
    str, _url("ws", "wss", canonical=address_alone), Allowed("ws://host:port or wss://..., nothing behind it")
]
HttpAddress = Annotated[
    str, _url("http", "https", canonical=address_alone), Allowed("http://host:port or https://..., nothing behind it")
]
RestAddress = Annotated[str, _url("http", "https", canonical=rest_address), Allowed("http://host:port or https://...")]
Host = Annotated[str, AfterValidator(_host), Allowed("the name or the IP address of a host alone")]
RedisEndpoint = Annotated[SecretStr, AfterValidator(_redis_endpoint), Allowed(REDIS_URL_FORM)]
