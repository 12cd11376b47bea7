"""How a written text becomes a typed value, and what to say when it does not.

Pure. Each type carries its `Allowed` sentence, which is the second half of an error line.
"""

import inspect
import ipaddress
import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from redis.connection import AbstractConnection, Connection, ConnectionPool, SSLConnection
from redis.exceptions import RedisError

from conf.endpoints import EXAMPLE, public_endpoint, rest_address
from model.symbols import canonical, is_symbol, plain, split_names

EXCHANGES = ("bybit",)  # the venues there is a folder for under exchanges/
BUILT_IN_CONSUMERS = ("redis", "websocket", "file", "parquet", "console")
ORDERBOOK_DEPTHS = (1, 50, 200, 1000)  # Bybit's; 500 was withdrawn on 2025-09-11
DAY_S = 86_400  # no wait is longer than a day; threading would refuse one of centuries
KLINE_DAYS_MAX = 366  # a longer window never closes in practice, and milliseconds must fit 64 bits

KLINE_INTERVAL = re.compile(r"[1-9][0-9]{0,8}[smhdDwWM]")
UNIT_S = {"s": 1, "m": 60, "h": 3_600, "d": DAY_S}
SHARD = re.compile(r"([1-9][0-9]{0,3})/([1-9][0-9]{0,3})")
SHARDS_MOST = 1000
CONSUMER = re.compile(r"[A-Za-z_]\w*|[A-Za-z_][\w.]*:[A-Za-z_]\w*")  # a registered name, or package.module:Class
LOG_STYLE = "%("
HOST = re.compile(r"[^\s/@:?#\[\]\\,;\"']+")
REDIS_OPTIONS = frozenset(
    name for kind in (AbstractConnection, Connection, SSLConnection) for name in inspect.signature(kind).parameters
)
LOG_FIELDS = ("asctime", "levelname", "name", "message", "threadName", "process", "filename", "lineno", "funcName")

Market = Literal["linear", "inverse", "spot"]
RawKind = Literal["trades", "orderbook", "ticker", "liquidations"]
HistoryKind = Literal["klines", "trades", "orderbook", "ticker", "liquidations"]


@dataclass(frozen=True)
class Allowed:
    """What may be written for a setting, as one would say it to a person."""

    text: str


class Address(NamedTuple):
    """The parts of a URL; None where the URL is silent."""

    scheme: str
    host: str
    port: int | None
    user: str | None
    password: str | None
    path: str
    query: str


def split_url(url: str, schemes: tuple[str, ...]) -> Address:
    """Take a URL apart. Raises ValueError that says what is missing, without repeating the URL."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or parts.scheme not in schemes:
        raise ValueError(f"it must begin with {' or '.join(f'{name}://' for name in schemes)} and a host")
    user, password = parts.username or None, parts.password or None
    return Address(
        parts.scheme, host, port, user and unquote(user), password and unquote(password), parts.path, parts.query
    )


def _lowered(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _split(value: object) -> object:
    """Comma-separated text as its non-empty items; what is no text stays what it is."""
    if not isinstance(value, str):
        return value
    return tuple(item.strip() for item in plain(value).split(",") if item.strip())


def _symbols_split(value: object) -> object:
    return split_names(value) if isinstance(value, str) else value


def _canonical(value: object) -> object:
    return canonical(value) if isinstance(value, str) else value


def _lower_split(value: object) -> object:
    return _split(value.lower() if isinstance(value, str) else value)


def _listed(items: tuple[str, ...]) -> tuple[str, ...]:
    """The items without doubles, in their order; an empty list is an error."""
    if not items:
        raise ValueError("the list is empty")
    return tuple(dict.fromkeys(items))


def _refuse(wrong: list[str]) -> None:
    if wrong:
        raise ValueError(f"not understood: {', '.join(map(repr, wrong))}")


def _symbols(items: tuple[str, ...]) -> tuple[str, ...]:
    _refuse([item for item in items if not is_symbol(item)])
    return _listed(items)


def _none_or_split(value: object) -> object:
    items = _lower_split(value)
    if items == ("none",):
        return ()
    if isinstance(items, tuple) and "none" in items:
        raise ValueError("none stands alone")
    return _listed(items) if isinstance(value, str) and isinstance(items, tuple) else items


def _redundant(items: tuple[str, ...]) -> tuple[str, ...]:
    if "ALL" in items and len(items) > 1:
        raise ValueError("all stands alone")
    return _symbols(items)


def _quote(coin: str) -> str:
    _refuse([] if is_symbol(coin) else [coin])
    return coin


def _shard(text: str) -> str:
    found = SHARD.fullmatch(text)
    if not found or not int(found[1]) <= int(found[2]) <= SHARDS_MOST:
        raise ValueError("no such part")
    return text


def _consumers(items: tuple[str, ...]) -> tuple[str, ...]:
    _refuse([item for item in items if not CONSUMER.fullmatch(item)])
    return _listed(items)


def _intervals(items: tuple[str, ...]) -> tuple[str, ...]:
    _refuse([item for item in items if not _is_interval(item)])
    seen: dict[tuple[str, int], str] = {}
    for item in items:
        window = _window_of(item)
        if window in seen:
            raise ValueError(f"{seen[window]!r} and {item!r} are the same interval; keep one")
        seen[window] = item
    return _listed(items)


def _is_interval(text: str) -> bool:
    if not KLINE_INTERVAL.fullmatch(text):
        return False
    kind, size = _window_of(text)
    return size <= KLINE_DAYS_MAX * DAY_S if kind == "s" else size == 1


def _window_of(interval: str) -> tuple[str, int]:
    """Equal for two names of one window: 1h and 60m, 1d and 1D; weeks and months are of their own kind."""
    number, unit = int(interval[:-1]), interval[-1]
    return (unit.upper(), number) if unit in "wWM" else ("s", number * UNIT_S[unit.lower()])


def _exchange(name: str) -> str:
    if name not in EXCHANGES:
        raise ValueError("no such exchange here")
    return name


def _depth(depth: int) -> int:
    if depth not in ORDERBOOK_DEPTHS:
        raise ValueError("Bybit has no such depth")
    return depth


def _log_level(name: str) -> str:
    name = {"warn": "warning", "fatal": "critical"}.get(name, name)
    if name not in ("debug", "info", "warning", "error", "critical"):
        raise ValueError("no such level")
    return name


def _log_format(text: str) -> str:
    if text.lower() in ("json", "console"):
        return text.lower()
    if LOG_STYLE not in text:
        raise ValueError("neither a name nor a %-format")
    logging.PercentStyle(text).validate()
    try:
        _ = text % vars(logging.makeLogRecord({"message": "", "asctime": ""}))
    except KeyError as error:
        raise ValueError(f"a log line has no field {error}, but {', '.join(LOG_FIELDS)}") from error
    except (TypeError, ValueError) as error:
        raise ValueError(f"not understood: {error}") from error
    return text


def _websocket_endpoint(url: str) -> str:
    split_url(url, ("ws", "wss"))
    return url


def _public_endpoint(url: str) -> str:
    split_url(url, ("ws", "wss"))
    return public_endpoint(url)


def _rest_address(url: str) -> str:
    split_url(url, ("http", "https"))
    return rest_address(url)


def _redis_endpoint(url: SecretStr) -> SecretStr:
    text = url.get_secret_value()
    address = split_url(text, ("redis", "rediss"))
    path = address.path.strip("/")
    if path and not path.isdecimal():
        raise ValueError("the path is the number of the database")
    options = [name for name, _ in parse_qsl(address.query)]
    try:
        ConnectionPool.from_url(f"{address.scheme}{text[len(address.scheme) :]}").make_connection()  # REDIS:// is one
    except (AttributeError, TypeError, ValueError, RedisError):  # its words are for programmers
        unknown = [name for name in options if name not in REDIS_OPTIONS]
        raise ValueError(f"no option {', '.join(map(repr, unknown or options))} of this kind") from None
    return url


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


def _server_path(text: str) -> str:
    if not text.startswith("/"):
        raise ValueError("it must begin with /")
    return text


REDIS_URL_FORM = (
    "redis://user:password@host:6379/0 (rediss:// for TLS; percent-encode / @ : # ? in the password; options as in "
    "?socket_timeout=3)"
)

Switch = Annotated[bool, Allowed("true or false")]
Exchange = Annotated[str, BeforeValidator(_lowered), AfterValidator(_exchange), Allowed(", ".join(EXCHANGES))]
Symbols = Annotated[
    tuple[str, ...],
    BeforeValidator(_symbols_split),
    AfterValidator(_symbols),
    Allowed("symbols of the exchange with commas between them, as in BTCUSDT,ETHUSDT"),
]
RedundantSymbols = Annotated[
    tuple[str, ...],
    BeforeValidator(_symbols_split),
    AfterValidator(_redundant),
    Allowed("all, or symbols of SYMBOLS with commas between them"),
]
Quote = Annotated[str, BeforeValidator(_canonical), AfterValidator(_quote), Allowed("one coin, as in USDT")]
Shard = Annotated[str, AfterValidator(_shard), Allowed("i/n: process i (from 1) of n, as in 2/3")]
Redundancy = Annotated[int, Field(ge=1, le=2), Allowed("1 or 2")]
RawKinds = Annotated[
    tuple[RawKind, ...],
    BeforeValidator(_lower_split),
    AfterValidator(_listed),
    Allowed("any of trades, orderbook, ticker, liquidations, with commas between them"),
]
PublishedKinds = Annotated[
    tuple[RawKind, ...],
    BeforeValidator(_none_or_split),
    Allowed("none, or any of trades, orderbook, ticker, liquidations, with commas between them"),
]
HistoryKinds = Annotated[
    tuple[HistoryKind, ...],
    BeforeValidator(_lower_split),
    AfterValidator(_listed),
    Allowed("any of klines, trades, orderbook, ticker, liquidations, with commas between them"),
]
Depth = Annotated[int, AfterValidator(_depth), Allowed("1, 50, 200 or 1000")]
ChannelType = Annotated[Market, BeforeValidator(_lowered), Allowed("linear, inverse or spot")]
Intervals = Annotated[
    tuple[str, ...],
    BeforeValidator(_split),
    AfterValidator(_intervals),
    Allowed("numbers with s, m, h or d (up to 366d), 1w and 1M, each once, with commas between them: 1m,4h,1D"),
]
Consumers = Annotated[
    tuple[str, ...],
    BeforeValidator(_split),
    AfterValidator(_consumers),
    Allowed(f"any of {', '.join(BUILT_IN_CONSUMERS)}, a registered name or package.module:Class, comma-separated"),
]
Count = Annotated[int, Field(ge=1, le=2**31), Allowed("a whole number from 1")]
Attempts = Annotated[int, Field(ge=0), Allowed("a whole number; 0 is for ever")]
Millis = Annotated[int, Field(ge=0, le=60_000), Allowed("whole milliseconds from 0 to 60000")]
Seconds = Annotated[float, Field(gt=0, le=DAY_S), Allowed("seconds, above 0 and up to 86400")]
Share = Annotated[float, Field(ge=0, le=1), Allowed("a share from 0 (none) to 1 (all)")]
Hours = Annotated[float, Field(gt=0, le=24 * 36_600), Allowed("hours, above 0")]
KeptHours = Annotated[float, Field(ge=0, le=24 * 36_600), Allowed("hours; 0 is for ever")]
Gigabytes = Annotated[float, Field(ge=0, le=1e6), Allowed("gigabytes; 0 is without limit")]
Port = Annotated[int, Field(ge=1, le=65_535), Allowed("a whole number from 1 to 65535")]
ListenPort = Annotated[int, Field(ge=0, le=65_535), Allowed("a whole number from 0 (any free port) to 65535")]
Database = Annotated[int, Field(ge=0, le=2**31), Allowed("a whole number from 0")]
KlineOpen = Annotated[
    Literal["prev_close", "first_trade"], BeforeValidator(_lowered), Allowed("prev_close or first_trade")
]
Clock = Annotated[Literal["wall", "event"], BeforeValidator(_lowered), Allowed("wall or event")]
Embedded = Annotated[Literal["auto", "never"], BeforeValidator(_lowered), Allowed("auto or never")]
Compression = Annotated[Literal["deflate", "gzip", "none"], BeforeValidator(_lowered), Allowed("deflate, gzip or none")]
FileCompression = Annotated[Literal["none", "gzip"], BeforeValidator(_lowered), Allowed("none or gzip")]
ConsoleLive = Annotated[Literal["auto", "always", "never"], BeforeValidator(_lowered), Allowed("auto, always or never")]
BybitPaths = Annotated[Literal["off", "auth", "open"], BeforeValidator(_lowered), Allowed("off, auth or open")]
Cluster = Annotated[Literal["off", "kind", "symbol"], BeforeValidator(_lowered), Allowed("off, kind or symbol")]
Text = Annotated[str, Allowed("text")]
Secret = Annotated[SecretStr, Allowed("text")]
File = Annotated[Path, Allowed("a path")]
ServerPath = Annotated[str, AfterValidator(_server_path), Allowed("a path as in /")]
LogLevel = Annotated[
    str, BeforeValidator(_lowered), AfterValidator(_log_level), Allowed("debug, info, warning, error or critical")
]
LogFormat = Annotated[
    str, AfterValidator(_log_format), Allowed("json, console or a %-format as in %(asctime)s %(message)s")
]
WebsocketEndpoint = Annotated[str, AfterValidator(_websocket_endpoint), Allowed("ws://host:port/path or wss://...")]
PublicEndpoint = Annotated[str, AfterValidator(_public_endpoint), Allowed(f"ws://... or wss://..., as in {EXAMPLE}")]
RestAddress = Annotated[str, AfterValidator(_rest_address), Allowed("http://host:port or https://...")]
Host = Annotated[str, AfterValidator(_host), Allowed("the name or the IP address of a host alone")]
RedisEndpoint = Annotated[SecretStr, AfterValidator(_redis_endpoint), Allowed(REDIS_URL_FORM)]
