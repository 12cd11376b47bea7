"""Every setting, declared once: name, type, default, section, help, other names.

A field of `Declarations` is a setting; its canonical name is the field's in capitals. Reading, warnings, .env.example,
the table of docs/SETTINGS.md and --help are made of these lines alone. Pure; `make settings` after an edit.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

from conf import values
from conf.values import Allowed, one_of

REDIS_DEFAULT_PORT = 6379
DEFAULT_COINS = Path("conf/coins.json")

STREAMER = "STREAMER_*"  # an alias: the canonical name behind the prefix of an earlier system

T = TypeVar("T")


@dataclass(frozen=True)
class Section:
    """A heading of .env.example. A call declares a setting under it."""

    title: str
    note: str = ""

    def __call__(self, default: T, help_text: str, *aliases: str, is_essential: bool = False) -> T:
        """Declare a setting, which `aliases` name too, after the canonical name and in this order.

        An alias that ends in _MS is in milliseconds where the setting is in seconds. Essential are those that a user
        wants first: that table and --help show them.
        """
        field: Any = Field(default)
        field.metadata.append(Setting(self, help_text, aliases, is_essential, default, Allowed("")))
        return field  # type: ignore[no-any-return]  # pydantic makes the default of it


@dataclass(frozen=True)
class Setting:
    """A setting of `Declarations`; `names` are all that it is read by. `_setting_of` adds the rest."""

    section: Section
    help_text: str
    aliases: tuple[str, ...]
    is_essential: bool
    default: Any
    allowed: Allowed
    field: str = ""
    name: str = ""
    names: tuple[str, ...] = ()


COLLECTED = Section("What is collected")
CONNECTIONS = Section(
    "Connections",
    "Proxies and certificates are named as for curl and requests, here or in the environment, for streams and REST "
    "alike: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY (http://, socks5h://, socks5://, socks4a://, socks4://; special "
    "characters of a password as %40), NO_PROXY; SSL_CERT_FILE, SSL_CERT_DIR, REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE",
)
KLINES = Section("Klines")
ENVELOPES = Section("What goes out")
REDIS = Section("Redis")
WEBSOCKET = Section("Web server: page, health, metrics, and the WebSocket output (websocket in ENABLED_CONSUMERS)")
FILES = Section("File output (file in ENABLED_CONSUMERS)")
PARQUET = Section("Parquet output (parquet in ENABLED_CONSUMERS; pip install -r requirements-parquet.txt)")
STORE = Section("Candle store: closed klines of the collector, to be asked for (not of a relay)")
RECORDING = Section("Recording the raw feed")
CONSOLE = Section("Console output (console in ENABLED_CONSUMERS)")
ALERTS = Section(
    "Alerts to a person",
    "Outages, lost data and full disks, told by the services that ALERT_URLS and ALERT_WEBHOOK name; test them with "
    "python main.py alert-test",
)
PROCESS = Section("The process")


class Declarations(BaseModel):
    """The settings as set. Where an address is given as a URL, its parts (`redis_host`, ...) are those of the URL."""

    # defer_build: the validator is built of the last subclass alone, and not of each.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True)

    exchange: values.Exchange = COLLECTED(
        "bybit", "The exchange, by the name of its folder under exchanges/; one process collects one", STREAMER
    )
    symbols: values.Symbols = COLLECTED(
        ("BTCUSDT", "ETHUSDT"),
        "Symbols, with commas between them, as the exchange writes them (BTC-USDT-SWAP) or as coin and quote (BTCUSDT, "
        "BTC/USDT, or BTC alone); a list in COINS_FILE takes their place",
        "BYBIT_SYMBOLS",
        "STREAMER_EXCHANGE_SYMBOLS",
        is_essential=True,
    )
    coins_file: values.File = COLLECTED(
        DEFAULT_COINS,
        '{"coins": ["BTCUSDT", "SOL"]}: the list of what is collected, where this file is, in the working directory '
        "or beside main.py (config/coins.json too); edits are followed within 2 s; none: SYMBOLS holds",
    )
    load_all_symbols: values.Switch = COLLECTED(
        False,
        "Collect every symbol the exchange lists, instead of SYMBOLS and COINS_FILE",
        "STREAMER_EXCHANGE_LOAD_ALL_SYMBOLS",
    )
    symbols_limit: values.Count | None = COLLECTED(
        None,
        "With LOAD_ALL_SYMBOLS: at most so many, those with the highest turnover of 24 hours; empty is all",
        "STREAMER_EXCHANGE_SYMBOLS_LIMIT",
    )
    symbols_quote: values.Quote | None = COLLECTED(
        None,
        "With LOAD_ALL_SYMBOLS: only symbols quoted in this coin, as in USDT; empty is all. Else: what SOL alone is "
        "quoted in; empty is USDT, and USD in the inverse market",
    )
    symbols_refresh: values.Seconds = COLLECTED(
        300.0, "Seconds between two reads of what the exchange lists: new symbols are added, delisted ones removed"
    )
    symbols_pre_market: values.Switch = COLLECTED(False, "With LOAD_ALL_SYMBOLS: contracts before their listing too")
    socket_pool_size: values.Count = COLLECTED(
        100, "Symbols per WebSocket connection", "STREAMER_EXCHANGE_SOCKET_POOL_SIZE"
    )
    shard: values.Shard = COLLECTED(
        "1/1",
        "i/n: this process is i of n that share symbols and STREAMS between them; the others need the same settings. "
        "The name of a StatefulSet's pod may stand for i: collector-0/3 is 1/3",
    )
    raw_streams: values.PublishedKinds = COLLECTED(
        ("trades", "orderbook", "ticker", "liquidations"),
        "Kinds published byte for byte on stream:<exchange>_<kind>, or none; your own STREAMS entries are published in "
        "any case",
        is_essential=True,
    )
    orderbook_depth: values.Depth | None = COLLECTED(
        None, "Levels of the order book, of the depths that the exchange has; empty is its usual one"
    )
    orderbook_check: values.Switch = COLLECTED(
        True, "Subscribe a book, ticker or trades topic anew, alone, where its messages have a hole or cease"
    )
    channel_type: values.ChannelType = COLLECTED("linear", "The market that is collected", is_essential=True)
    enable_spot_stream: values.Switch = COLLECTED(False, "Collect spot beside that market", STREAMER, is_essential=True)
    use_testnet: values.Switch = COLLECTED(
        False, "The exchange's test network instead of the real one", is_essential=True
    )
    ws_url: values.WsAddress | None = COLLECTED(
        None,
        "Scheme, host and port in the place of those of every WebSocket address of the exchange, for a proxy or a "
        "simulated exchange; set REST_URL too",
    )
    rest_url: values.HttpAddress | None = COLLECTED(
        None, "Scheme, host and port in the place of those of every REST address of the exchange"
    )
    bybit_ws_url: values.PublicEndpoint | None = COLLECTED(
        None, "Of Bybit: the whole public WebSocket endpoint of the main market; empty is the exchange's"
    )
    bybit_rest_url: values.RestAddress | None = COLLECTED(
        None, "Of Bybit: the REST address, which may have a path; empty is the exchange's"
    )

    redundancy: values.Redundancy = CONNECTIONS(
        1,
        "Connections that bring the same trades, merged by trade id, for the symbols of REDUNDANT_SYMBOLS",
        is_essential=True,
    )
    redundant_symbols: values.RedundantSymbols | None = CONNECTIONS(
        None, "Symbols with REDUNDANCY=2, with commas between them, or all", is_essential=True
    )
    reconnect_delay: values.Seconds = CONNECTIONS(
        2.0, "Seconds before the first attempt to reconnect; later ones wait longer", "RECONNECT_INTERVAL_MS"
    )
    reconnect_max_attempts: values.Attempts = CONNECTIONS(
        0, "Attempts in a row before a stream is given up, which ends the process with exit code 6; 0 is for ever"
    )
    ping_interval: values.Seconds = CONNECTIONS(20.0, "Seconds between pings")
    silence_timeout: values.Seconds = CONNECTIONS(
        60.0, "Seconds without pong or data after which a connection is taken for dead; above PING_INTERVAL"
    )
    raw_queue_size: values.Count = CONNECTIONS(
        100_000, "Raw payloads waiting for Redis at most, and 128 MB of them; then the oldest are dropped and counted"
    )

    kline_intervals: values.Intervals = KLINES(
        ("1m", "5m", "15m", "1h", "4h", "1D"),
        "Intervals, each once: numbers with s, m, h or d, 1w (from Monday) and 1M (calendar month); 1m is a minute",
        STREAMER,
        is_essential=True,
    )
    kline_open: values.KlineOpen | None = KLINES(
        None, "A kline's open: prev_close (that before it) or first_trade (its own); not set: as the exchange does"
    )
    kline_close_grace_ms: values.Millis = KLINES(
        300, "Milliseconds past its end after which a kline closes without a later trade"
    )
    aggregation_clock: values.Clock = KLINES(
        "wall", "The time that closes klines: this machine's clock, or that of the trades themselves for replays"
    )
    aggregator_waiter_mode_enabled: values.Switch = KLINES(
        True, "Wait the grace before closing a kline; false closes it at its end", STREAMER
    )
    count_block_trades: values.Switch = KLINES(
        True, "Count block trades in klines; the audit shows whether the exchange does"
    )
    count_rpi_trades: values.Switch = KLINES(True, "Count RPI trades in klines, likewise")
    audit_sample: values.Share = KLINES(
        0.05, "Share of closed klines that are compared with the exchange's own, from 0 (none) to 1 (all)"
    )
    audit_correct: values.Switch = KLINES(
        False, "Publish the exchange's values as a revision where a compared kline differs"
    )
    kline_repair: values.Switch = KLINES(
        True, "Replace klines of a minute and more that are not complete by the exchange's own, over REST"
    )

    enable_klines_stream: values.Switch = ENVELOPES(True, "Closed klines", STREAMER)
    enable_price_stream: values.Switch = ENVELOPES(False, "Price envelopes, made of tickers", STREAMER)
    enable_ticker_stream: values.Switch = ENVELOPES(False, "Ticker envelopes", STREAMER)
    enable_trades_stream: values.Switch = ENVELOPES(False, "Trade envelopes", STREAMER)
    enable_status_stream: values.Switch = ENVELOPES(
        False, "Status envelopes, made of the events that the status channel has in any case"
    )
    enabled_consumers: values.Consumers = ENVELOPES(
        ("redis",),
        "Outputs: redis, websocket, file, parquet, console, or your own as package.module:Class",
        STREAMER,
        is_essential=True,
    )

    redis_url_given: values.RedisEndpoint | None = REDIS(
        None,
        "The whole address as redis://user:password@host:port/db, or rediss:// for TLS; wins over REDIS_HOST and "
        "REDIS_PORT",
        STREAMER,
        is_essential=True,
    )
    redis_host: values.Host = REDIS("localhost", "Host of the Redis server", STREAMER, is_essential=True)
    redis_port: values.Port = REDIS(REDIS_DEFAULT_PORT, "Port of the Redis server", STREAMER, is_essential=True)
    redis_user: values.Text | None = REDIS(None, "User; empty is the default user", STREAMER)
    redis_password: values.Secret | None = REDIS(None, "Password", STREAMER)
    redis_db: values.Database = REDIS(0, "Number of the database", STREAMER, "STREAMER_REDIS_BASE")
    redis_embedded: values.Embedded = REDIS(
        "auto",
        "auto starts an embedded server where the address is this machine and nothing listens there; never where this "
        "machine has a Redis of its own, which could not start on a port that is taken",
    )
    redis_cluster: values.Cluster = REDIS(
        "off",
        "Whether the address is a node of a Redis Cluster: then SPUBLISH, with a slot per kind, or per symbol on "
        "channels named <channel>:<SYMBOL>",
    )
    redis_main_key: values.Text | None = REDIS(
        None,
        "Channel for every enabled envelope, and prefix of the stored keys, before the exchange but for bybit; empty: "
        "no channel, <exchange>-streamer",
        STREAMER,
    )
    redis_backlog_path: values.File = REDIS(
        Path("output/redis_backlog"),
        "Folder where klines wait that Redis could not take, when too many for memory or when the process must stop",
    )
    redis_streams: values.Switch = REDIS(
        False, "Keep what was published in Redis Streams too, named as the channels, so that a reader can catch up"
    )
    redis_streams_kinds: values.HistoryKinds = REDIS(
        ("klines",), "What is kept there: klines, and raw payloads of trades, orderbook, ticker, liquidations"
    )
    redis_streams_maxlen: values.Count = REDIS(100_000, "Entries per stream, about; raw payloads take 0.5 to 5 kB each")
    relay_exchanges: values.Exchanges | None = REDIS(
        None, "Exchanges whose collectors `main.py relay` reads, with commas between them; empty is EXCHANGE"
    )
    relay_main_keys: values.Channels | None = REDIS(
        None,
        "Channels of the envelopes besides klines that it reads: the REDIS_MAIN_KEY of each collector, with commas "
        "between them; empty is REDIS_MAIN_KEY",
    )
    storage_enabled: values.Switch = REDIS(False, "Store latest tickers, prices and klines in Redis keys", STREAMER)
    storage_buffer_flush_size: values.Count = REDIS(100, "Write to storage when so many changes wait", STREAMER)
    storage_buffer_flush_interval: values.Seconds = REDIS(
        1.0, "Seconds after which waiting changes are written anyway", STREAMER
    )

    enable_web: values.Switch = WEBSOCKET(
        True,
        "Serve the page, /livez, /readyz and /metrics: on this machine to everybody, elsewhere behind the login of "
        "WSS_AUTH_USER and WSS_AUTH_KEY, but for /livez and /readyz",
    )
    websocket_url: values.WebsocketEndpoint | None = WEBSOCKET(
        None, "The whole address as wss://host:port/path or ws://...; wins over host, port and path below", STREAMER
    )
    websocket_host: values.Host = WEBSOCKET(
        "127.0.0.1", "Address to listen on; 0.0.0.0 is every network of this machine", STREAMER
    )
    websocket_port: values.ListenPort = WEBSOCKET(
        9500, "Port to listen on; 0 is any free one; not set and taken, the next free one is", STREAMER
    )
    websocket_path: values.ServerPath = WEBSOCKET("/", "Path", STREAMER)
    websocket_tls_cert: values.File | None = WEBSOCKET(
        None, "Certificate as a PEM file; set with the key, it turns TLS on", STREAMER
    )
    websocket_tls_key: values.File | None = WEBSOCKET(None, "Private key of the certificate as a PEM file", STREAMER)
    websocket_compression: values.Compression = WEBSOCKET(
        "deflate",
        "deflate is negotiated with each client, gzip sends every envelope as a gzipped binary message",
        STREAMER,
    )
    websocket_client_queue: values.Count = WEBSOCKET(
        10_000,
        "Messages a client may fall behind before it is closed; tickers and prices do not count, the newest replaces "
        "older ones",
    )
    websocket_max_clients: values.Count = WEBSOCKET(
        1_000,
        "Sockets at once, logged in or not; fewer where the system allows too few open files, of which streams come "
        "first",
    )
    websocket_exchange_paths: values.ExchangePaths = WEBSOCKET(
        "off",
        "Serve the exchange's own WebSocket protocol on its own paths (docs/API.md), of Bybit /v5/public/linear etc., "
        "not in a relay; open needs no login there",
        "WEBSOCKET_BYBIT_PATHS",
    )
    market_api: values.Switch = WEBSOCKET(
        True,
        "Answer the exchange's own REST protocol for market data on this port, of Bybit /v5/market/...: from what is "
        "collected, the rest passed on (docs/API.md); not in a relay",
    )
    websocket_open_klines_interval: values.Seconds = WEBSOCKET(
        1.0, "Seconds between two states of an open kline on those paths"
    )
    wss_auth_user: values.Text | None = WEBSOCKET(
        None, "User that clients log in with; required by the WebSocket output", STREAMER
    )
    wss_auth_key: values.Secret | None = WEBSOCKET(
        None, "Key that clients log in with; required by the WebSocket output", STREAMER
    )

    file_consumer_base_path: values.File = FILES(Path("output/file_consumer"), "Folder", STREAMER)
    file_consumer_retention_hours: values.Hours = FILES(4.0, "Hours after which files are removed", STREAMER)
    file_consumer_max_gb: values.Gigabytes = FILES(
        0.0,
        "Gigabytes (10^9 bytes) of all files of this exchange and its markets, above which the oldest go; 0 is without "
        "limit",
    )
    file_consumer_compression: values.FileCompression = FILES("none", "gzip makes .jsonl.gz, some ten times smaller")

    parquet_path: values.File = PARQUET(Path("output/parquet"), "Folder; a file per symbol, type and hour")
    parquet_retention_hours: values.KeptHours = PARQUET(
        0.0, "Hours after which files are removed; 0 keeps them for ever"
    )
    parquet_max_gb: values.Gigabytes = PARQUET(
        0.0, "Gigabytes of all files of this exchange and its markets, above which the oldest go; 0 is without limit"
    )
    parquet_flush_interval: values.Seconds = PARQUET(
        60.0,
        "Seconds after which rows are on disk, in parts that become files when their hour is over: what a crash can "
        "cost",
    )

    kline_store: values.Switch = STORE(
        True, "Keep closed klines, status events and results of the audit in a SQLite file; false where klines are off"
    )
    kline_store_path: values.File = STORE(Path("output/store"), "Folder; a file per collector")
    kline_store_days: values.Days = STORE(0.0, "Days after which klines and records are removed; 0 keeps them for ever")
    kline_store_max_gb: values.Gigabytes = STORE(
        10.0, "Gigabytes of the file, above which the oldest klines and records go; 0 is without limit"
    )

    raw_record: values.Switch = RECORDING(
        False, "Record raw payloads to compressed files that the simulated exchange replays"
    )
    raw_record_path: values.File = RECORDING(Path("output/raw"), "Folder; a file per hour")
    raw_record_kinds: values.RawKinds = RECORDING(("trades", "orderbook", "ticker", "liquidations"), "Kinds")
    raw_record_retention_hours: values.KeptHours = RECORDING(
        72.0, "Hours after which files are removed; 0 keeps them for ever"
    )
    raw_record_max_gb: values.Gigabytes = RECORDING(
        20.0, "Gigabytes of all files of this process together, above which the oldest go; 0 is without limit"
    )

    console_live: values.ConsoleLive = CONSOLE(
        "auto", "A table that redraws in place instead of lines; auto where the output is a terminal"
    )

    alert_urls: values.AlertUrls | None = ALERTS(
        None,
        "Services as apprise writes them, with commas or spaces between them, as in tgram://token/chat, discord://..., "
        "mailto://...; needs pip install -r requirements-alerts.txt",
    )
    alert_webhook: values.SecretUrl | None = ALERTS(
        None, "http:// or https:// address that takes each alert as a POST of JSON: text, title, event and more"
    )
    alert_heartbeat_url: values.SecretUrl | None = ALERTS(
        None, "Address that is requested once a minute while data comes, for a service that misses it: healthchecks.io"
    )
    alert_after: values.Seconds = ALERTS(60.0, "Seconds that streams or an output are down before that is told")
    alert_max_per_hour: values.AlertCount = ALERTS(
        20, "Alerts an hour at most; what is held back is summed up in a later one, and the last are kept for ends"
    )
    alert_listings: values.Switch = ALERTS(False, "Tell of symbols that the exchange lists and delists")

    log_level: values.LogLevel = PROCESS("info", "The least severe lines that are logged", STREAMER)
    log_format: values.LogFormat = PROCESS(
        "auto",
        "auto (console where stderr is a terminal, json elsewhere and in LOG_FILE), json, console (for people), or a "
        "%-format as in %(asctime)s %(levelname)s %(message)s",
        STREAMER,
    )
    log_file: values.File | None = PROCESS(
        None, "File to log to as well, safe to rotate; empty is stderr alone", STREAMER
    )
    status_interval: values.Seconds = PROCESS(60.0, "Seconds between status lines in the log")
    stop_timeout: values.Seconds = PROCESS(
        5.0, "Seconds that everything together may take to stop; keep supervisord's stopwaitsecs above it"
    )
    demo_seconds: values.Seconds = PROCESS(70.0, "Seconds that `make demo` runs")


def _setting_of(field: str, info: FieldInfo) -> Setting:
    of_arms = [mark for arm in get_args(info.annotation) for mark in getattr(arm, "__metadata__", ())]  # of X | None
    declared = next(mark for mark in info.metadata if isinstance(mark, Setting))
    given = (mark for mark in [*info.metadata, *of_arms] if isinstance(mark, Allowed))
    allowed = next(given, None) or one_of(*get_args(info.annotation))  # of a Literal
    name = field.removesuffix("_given").upper()
    names = (name, *(alias.replace("*", name) for alias in declared.aliases))
    return replace(declared, field=field, name=name, names=names, allowed=allowed)


SETTINGS = {
    setting.name: setting for setting in (_setting_of(*field) for field in Declarations.model_fields.items())
}  # by canonical name, in the order of .env.example
ALL_NAMES = frozenset(name for setting in SETTINGS.values() for name in setting.names)
