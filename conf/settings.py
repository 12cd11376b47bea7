"""The settings of one process: one typed, frozen object, or every error at once.

`load_settings` is the way in; importing or constructing reads nothing. Names are in conf.names, types in
conf.values, what must hold between settings in conf.checks. Times are seconds unless the name says _ms.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, PrivateAttr, ValidationError, model_validator

from conf import checks, names, values
from conf.endpoints import PUBLIC, endpoint_of, market_of, public_endpoint, rest_beside
from conf.env_file import DEFAULT, HOME, NO_FILE, NOTHING, find_env_file, read_env_file
from conf.names import RawSetting, SettingWarning
from conf.values import Allowed

REDIS_DEFAULT_PORT = 6379
DEFAULT_COINS = Path("conf/coins.json")
SEEDS_COINS = Path("config/coins.json")  # an earlier system's, which is read too
SECRETS = frozenset({"REDIS_PASSWORD", "WSS_AUTH_KEY"})  # never shown, not even when wrong
IN_REDIS = frozenset({"redis", "storage", "history"})  # the outputs that need one
NOT_IN_A_RELAY = "has no effect in a relay, which has no raw payloads: let the collectors serve these paths"
MILLISECOND_NAMES = frozenset({"RECONNECT_INTERVAL_MS"})  # aliases of settings in seconds


class SettingsError(ValueError):
    """The settings are wrong; the text has one line per error: name, value, what is allowed.

    `sound` are the settings with defaults in place of what is wrong, to look for further errors with.
    """

    def __init__(self, text: str, sound: "Settings | None" = None) -> None:
        super().__init__(text)
        self.sound = sound


class Settings(BaseModel):
    """What the user asked for. Field names are the settings' names in lower case (`redis_url_given` apart).

    Where an address is given as a URL, its parts (`redis_host`, `websocket_port`, ...) hold what the URL says.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    exchange: values.Exchange = "bybit"
    symbols: values.Symbols = ("BTCUSDT", "ETHUSDT")
    coins_file: values.File = DEFAULT_COINS
    load_all_symbols: values.Switch = False
    symbols_limit: values.Count | None = None
    symbols_quote: values.Quote | None = None
    symbols_refresh: values.Seconds = 300.0
    symbols_pre_market: values.Switch = False
    socket_pool_size: values.Count = 100
    shard: values.Shard = "1/1"
    raw_streams: values.PublishedKinds = ("trades", "orderbook", "ticker", "liquidations")
    orderbook_depth: values.Depth = 50
    orderbook_check: values.Switch = True
    channel_type: values.ChannelType = "linear"
    enable_spot_stream: values.Switch = False
    use_testnet: values.Switch = False
    bybit_ws_url: values.PublicEndpoint | None = None
    bybit_rest_url: values.RestAddress | None = None

    redundancy: values.Redundancy = 1
    redundant_symbols: values.RedundantSymbols | None = None
    reconnect_delay: values.Seconds = 2.0
    reconnect_max_attempts: values.Attempts = 0
    ping_interval: values.Seconds = 20.0
    silence_timeout: values.Seconds = 60.0
    raw_queue_size: values.Count = 100_000

    kline_intervals: values.Intervals = ("1m", "5m", "15m", "1h", "4h", "1D")
    kline_open: values.KlineOpen = "prev_close"
    kline_close_grace_ms: values.Millis = 300
    aggregation_clock: values.Clock = "wall"
    aggregator_waiter_mode_enabled: values.Switch = True
    count_block_trades: values.Switch = True
    count_rpi_trades: values.Switch = True
    audit_sample: values.Share = 0.05
    audit_correct: values.Switch = False
    kline_repair: values.Switch = True

    enable_klines_stream: values.Switch = True
    enable_price_stream: values.Switch = False
    enable_ticker_stream: values.Switch = False
    enable_trades_stream: values.Switch = False
    enabled_consumers: values.Consumers = ("redis",)

    redis_url_given: values.RedisEndpoint | None = None
    redis_host: values.Host = "localhost"
    redis_port: values.Port = REDIS_DEFAULT_PORT
    redis_user: values.Text | None = None
    redis_password: values.Secret | None = None
    redis_db: values.Database = 0
    redis_embedded: values.Embedded = "auto"
    redis_cluster: values.Cluster = "off"
    redis_main_key: values.Text | None = None
    redis_backlog_path: values.File = Path("output/redis_backlog")
    redis_streams: values.Switch = False
    redis_streams_kinds: values.HistoryKinds = ("klines",)
    redis_streams_maxlen: values.Count = 100_000
    storage_enabled: values.Switch = False
    storage_buffer_flush_size: values.Count = 100
    storage_buffer_flush_interval: values.Seconds = 1.0

    websocket_url: values.WebsocketEndpoint | None = None
    websocket_host: values.Host = "127.0.0.1"
    websocket_port: values.ListenPort = 9500
    websocket_path: values.ServerPath = "/"
    websocket_tls_cert: values.File | None = None
    websocket_tls_key: values.File | None = None
    websocket_compression: values.Compression = "deflate"
    websocket_client_queue: values.Count = 10_000
    websocket_max_clients: values.Count = 1_000
    websocket_bybit_paths: values.BybitPaths = "off"
    websocket_open_klines_interval: values.Seconds = 1.0
    wss_auth_user: values.Text | None = None
    wss_auth_key: values.Secret | None = None

    file_consumer_base_path: values.File = Path("output/file_consumer")
    file_consumer_retention_hours: values.Hours = 4.0
    file_consumer_max_gb: values.Gigabytes = 0.0
    file_consumer_compression: values.FileCompression = "none"
    parquet_path: values.File = Path("output/parquet")
    parquet_retention_hours: values.KeptHours = 0.0
    parquet_max_gb: values.Gigabytes = 0.0
    parquet_flush_interval: values.Seconds = 60.0
    raw_record: values.Switch = False
    raw_record_path: values.File = Path("output/raw")
    raw_record_kinds: values.RawKinds = ("trades", "orderbook", "ticker", "liquidations")
    raw_record_retention_hours: values.KeptHours = 72.0
    raw_record_max_gb: values.Gigabytes = 20.0
    console_live: values.ConsoleLive = "auto"

    log_level: values.LogLevel = "info"
    log_format: values.LogFormat = "json"
    log_file: values.File | None = None
    status_interval: values.Seconds = 60.0
    stop_timeout: values.Seconds = 5.0
    demo_seconds: values.Seconds = 70.0

    _noticed: tuple[SettingWarning, ...] = PrivateAttr(())  # by whoever read them
    _written: dict[str, str] = PrivateAttr({})  # canonical names -> those that the user wrote
    _env_file: Path | None = PrivateAttr(None)

    @model_validator(mode="before")
    @classmethod
    def _read_addresses(cls, data: dict[str, Any]) -> dict[str, Any]:
        """A URL fills in the parts it names; a wrong one is left to its own field's error."""
        data = dict(data)
        data |= _redis_parts(data.get("redis_url_given")) | _websocket_parts(data.get("websocket_url"))
        for field, value in _exchange_parts(data.get("bybit_ws_url")).items():
            data.setdefault(field, value)
        return data

    @property
    def coins_paths(self) -> tuple[Path, ...]:
        """Where the list of coins may be: in the working directory, else beside main.py; none for "none"."""
        if str(self.coins_file) == NO_FILE:
            return ()
        files = (self.coins_file, SEEDS_COINS) if self.coins_file == DEFAULT_COINS else (self.coins_file,)
        return tuple(dict.fromkeys(folder / file for folder in (Path(), HOME) for file in files))

    @property
    def is_of_spot_bot(self) -> bool:
        """Whether the user has the files of the earlier spot price bot: its list of coins, or a name only it had."""
        here = next((path for path in self.coins_paths if path.exists()), Path())
        return "RECONNECT_INTERVAL_MS" in self._written.values() or here.parts[-2:] == SEEDS_COINS.parts

    @property
    def env_file(self) -> Path | None:
        """The file that was read below the environment; None where there was none."""
        return self._env_file

    @property
    def warnings(self) -> tuple[SettingWarning, ...]:
        """What is odd but not wrong, to be logged once logging is set up."""
        found = [
            warning._replace(name=self._written.get(warning.name, warning.name)) for warning in checks.warnings(self)
        ]
        return (*self._noticed, *found)

    @property
    def markets(self) -> tuple[str, ...]:
        """The markets to collect, the main one first."""
        beside = ("spot",) if self.enable_spot_stream and self.channel_type != "spot" else ()
        return (self.channel_type, *beside)

    @property
    def repairs_klines(self) -> bool:
        """Whether incomplete klines are asked for: not in a replay, nor where only the exchange's own REST is known."""
        return self.kline_repair and self.aggregation_clock == "wall" and self.knows_rest

    @property
    def knows_rest(self) -> bool:
        """Whether the REST address is of the same exchange as the streams."""
        return self.bybit_rest_url is not None or self.bybit_ws_url is None

    @property
    def state_name(self) -> str:
        """What begins the names of this process's own files and keys: no two processes of one exchange share it."""
        return "_".join(filter(None, (self.exchange, self.channel_type, self.shard_name)))

    @property
    def shard_name(self) -> str:
        """As in shard2of3; empty where one process has everything."""
        return "" if self.shard == "1/1" else f"shard{self.shard.replace('/', 'of')}"

    def public_ws_url(self, market: str) -> str | None:
        """The public endpoint of one of `markets` where BYBIT_WS_URL gives it; None is the exchange's own."""
        if self.bybit_ws_url is None or (market == self.channel_type and not self.bybit_ws_url.endswith(PUBLIC)):
            return self.bybit_ws_url
        return endpoint_of(self.bybit_ws_url, market)

    @property
    def redis_url(self) -> str:
        """The Redis address as a URL, password included and quoted: hand it to the client, never to a log."""
        scheme, query = "redis", ""
        if self.redis_url_given is not None:
            address = values.split_url(self.redis_url_given.get_secret_value(), ("redis", "rediss"))
            scheme, query = address.scheme, address.query and f"?{address.query}"
        host = f"[{self.redis_host}]" if ":" in self.redis_host else self.redis_host
        return f"{scheme}://{self._redis_userinfo()}{host}:{self.redis_port}/{self.redis_db}{query}"

    def _redis_userinfo(self) -> str:
        password = self.redis_password.get_secret_value() if self.redis_password else ""
        if not (password or self.redis_user):
            return ""
        return f"{quote(self.redis_user or '', safe='')}:{quote(password, safe='')}@"

    @property
    def storage_main_key(self) -> str:
        """The prefix of the keys in Redis storage; REDIS_MAIN_KEY or `<exchange>-streamer`."""
        return self.redis_main_key or f"{self.exchange}-streamer"

    @property
    def outputs(self) -> tuple[str, ...]:
        """Every output by name: ENABLED_CONSUMERS, and those that have a switch of their own."""
        switched = {"storage": self.storage_enabled, "history": self.redis_streams}
        return (*self.enabled_consumers, *(name for name, is_on in switched.items() if is_on))

    def relayed(self) -> "Settings":
        """The settings of a process that reads from Redis, not from the exchange; SettingsError without an output."""
        names = tuple(name for name in self.enabled_consumers if name not in IN_REDIS)
        if not names:
            raise SettingsError("ENABLED_CONSUMERS: a relay needs an output such as websocket, file or console")
        others = {"storage_enabled": False, "redis_streams": False, "raw_record": False, "websocket_bybit_paths": "off"}
        relayed = self.model_copy(update={"enabled_consumers": names, **others})
        if self.websocket_bybit_paths != "off" and "websocket" in names:
            relayed._noticed = (*self._noticed, SettingWarning("WEBSOCKET_BYBIT_PATHS", NOT_IN_A_RELAY))
        return relayed

    @property
    def uses_redis(self) -> bool:
        """Whether any output needs a Redis."""
        return not IN_REDIS.isdisjoint(self.outputs)

    @property
    def websocket_clients(self) -> int:
        """How many clients the WSS output may have; 0 without it."""
        return self.websocket_max_clients if "websocket" in self.outputs else 0

    @property
    def envelope_types(self) -> tuple[str, ...]:
        """Which envelopes, klines apart, go to every output."""
        switched = {
            "ticker": self.enable_ticker_stream,
            "price": self.enable_price_stream,
            "trades": self.enable_trades_stream,
        }
        return tuple(name for name, is_on in switched.items() if is_on)

    @property
    def stored_types(self) -> tuple[str, ...]:
        """Which envelopes, klines apart, the storage keeps, sent or not."""
        return ("ticker", "price") if "storage" in self.outputs else ()

    @property
    def names_coins(self) -> bool:
        """Whether an output names coins, so that what the exchange lists is of use: keys of prices, lines of prices."""
        return "storage" in self.outputs or ("console" in self.enabled_consumers and self.enable_price_stream)

    @property
    def history_kinds(self) -> tuple[values.RawKind, ...]:
        """Which raw kinds are kept in Redis Streams."""
        return tuple(kind for kind in self.redis_streams_kinds if kind != "klines") if self.redis_streams else ()

    @property
    def recorded_kinds(self) -> tuple[values.RawKind, ...]:
        """Which raw kinds are recorded to files."""
        return self.raw_record_kinds if self.raw_record else ()

    def streamed_kinds(self, market: str) -> tuple[values.RawKind, ...]:
        """Which kinds of a market are streamed, for whatever purpose; spot has no liquidations."""
        types = {*self.envelope_types, *self.stored_types}
        kinds: list[values.RawKind] = [*self.raw_streams, *self.history_kinds, *self.recorded_kinds]
        kinds += ["trades"] if self.enable_klines_stream or "trades" in types else []
        kinds += ["ticker"] if types & {"ticker", "price"} else []
        return tuple(kind for kind in dict.fromkeys(kinds) if not (market == "spot" and kind == "liquidations"))

    def is_redundant(self, symbol: str) -> bool:
        """Whether the trades of a symbol come over two connections."""
        chosen = self.redundant_symbols or ()
        return self.redundancy > 1 and (symbol in chosen or "ALL" in chosen)

    @property
    def websocket_tls(self) -> bool:
        """True where the WSS output has a certificate to serve."""
        return self.websocket_tls_cert is not None


def canonical_name(field: str) -> str:
    """The setting's name for a field of Settings."""
    return field.removesuffix("_given").upper()


FIELDS = {canonical_name(field): field for field in Settings.model_fields}  # canonical name -> field
ALL_NAMES = frozenset(name for canonical in FIELDS for name in names.names_of(canonical))


def load_settings(environ: Mapping[str, str] | None = None, env_file: str | Path | None = DEFAULT) -> Settings:
    """Read the settings from `environ` (default: the process's) and below it from `env_file`.

    `.env` is looked for as conf.env_file says; another file must exist. Raises SettingsError, whose text lists every
    error at once. Proxies and certificates that only the file names go into the process's environment.
    """
    is_process = environ is None
    environ = os.environ if environ is None else environ
    path, choice = find_env_file(environ) if env_file == DEFAULT else (env_file, NOTHING)
    in_file = read_env_file(path, environ)
    wrong = [*choice.wrong, *in_file.wrong]
    own, links = names.without_service_links(environ, FIELDS)  # a line of the file may name a link all the same
    layers = [own, in_file.values]
    found, warned = names.resolve(layers, FIELDS)
    warned = [*links, *choice.warned, *in_file.warned, *warned]
    settings, field_errors = _build(found)
    wrong += field_errors.values()
    shown = {name: _shown(name, written) for name, written in found.items()}
    wrong += checks.errors(settings, shown)
    if is_process:
        os.environ.update(names.network_variables(os.environ, in_file.values))
    if wrong:
        raise SettingsError("\n".join(wrong), settings)
    settings._written = {name: written.name for name, written in found.items()}
    settings._env_file = Path(path) if path else None
    settings._noticed = (*warned, *names.near_misses(layers, tuple(FIELDS)))
    return settings


def _build(found: Mapping[str, RawSetting]) -> tuple[Settings, dict[str, str]]:
    """The settings, and a line per wrong field; a wrong field keeps its default, so that the rest is checked."""
    given = {FIELDS[name]: _in_seconds(written) for name, written in found.items()}
    try:
        return Settings.model_validate(given), {}
    except ValidationError as error:
        lines: dict[str, str] = {}
        for problem in error.errors(include_url=False):
            field = _source(str(problem["loc"][0]), given)
            lines.setdefault(field, _line(field, found[canonical_name(field)], _reason(problem)))
    sound = {field: value for field, value in given.items() if field not in lines}
    return Settings.model_validate(sound), lines


def _source(field: str, given: Mapping[str, str]) -> str:
    """The field the user wrote: the URL's, where a part came out of a URL."""
    return field if field in given else FIELDS[f"{field.partition('_')[0].upper()}_URL"]


def _in_seconds(written: RawSetting) -> str:
    """The text in the canonical unit; one that is no number stays as it is and fails as itself."""
    if written.name not in MILLISECOND_NAMES:
        return written.value
    try:
        return str(float(written.value) / 1000)
    except ValueError:
        return written.value


def _reason(problem: Any) -> str:
    """What a validator of ours said, or which item of a list is wrong; pydantic's own words are for programmers."""
    if problem["type"] == "value_error":
        return f"{problem['ctx']['error']}; "
    return f"not understood: {problem['input']!r}; " if len(problem["loc"]) > 1 else ""


def _line(field: str, written: RawSetting, reason: str) -> str:
    unit = f"; {written.name} is in milliseconds" if written.name in MILLISECOND_NAMES else ""
    return f"{_shown(canonical_name(field), written)}: {reason}allowed: {_allowed(field)}{unit}"


def _shown(canonical: str, written: RawSetting) -> str:
    if canonical in SECRETS:
        return f"{written.name}=***"
    return f"{written.name}={checks.without_password(written.value)!r}"


def _allowed(field: str) -> str:
    info = Settings.model_fields[field]
    of_arms = [mark for arm in get_args(info.annotation) for mark in getattr(arm, "__metadata__", ())]
    return next(mark.text for mark in [*info.metadata, *of_arms] if isinstance(mark, Allowed))


def _redis_parts(url: Any) -> dict[str, Any]:
    text = url.get_secret_value() if hasattr(url, "get_secret_value") else url
    try:
        address = values.split_url(text or "", ("redis", "rediss"))
    except ValueError:
        return {}
    parts = {
        "redis_user": address.user,
        "redis_password": address.password,
        "redis_db": address.path.strip("/") or None,
    }
    stated = {field: value for field, value in parts.items() if value is not None}
    return {"redis_host": address.host, "redis_port": address.port or REDIS_DEFAULT_PORT, **stated}


def _exchange_parts(url: Any) -> dict[str, Any]:
    """The market that an endpoint names, and where the same exchange is asked."""
    try:
        endpoint = public_endpoint((url or "").strip())
        parts = {"channel_type": market_of(endpoint), "bybit_rest_url": rest_beside(endpoint)}
    except ValueError:
        return {}
    return {field: value for field, value in parts.items() if value is not None}


def _websocket_parts(url: Any) -> dict[str, Any]:
    try:
        address = values.split_url(url or "", ("ws", "wss"))
    except ValueError:
        return {}
    parts = {"websocket_host": address.host, "websocket_port": address.port, "websocket_path": address.path or None}
    return {field: value for field, value in parts.items() if value is not None}
