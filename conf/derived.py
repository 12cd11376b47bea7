"""Settings derived from the declared ones: addresses, markets, kinds, outputs. Pure, but for a look for coins files."""

from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from pydantic import PrivateAttr, model_validator

from conf import values
from conf.declarations import DEFAULT_COINS, REDIS_DEFAULT_PORT, Declarations
from conf.endpoints import PUBLIC, endpoint_of, market_of, public_endpoint, rest_beside
from conf.env_file import HOME, NO_FILE
from conf.names import SettingWarning

LEGACY_COINS = Path("config/coins.json")  # an earlier system's list, which is read too
FIRST_EXCHANGE = "bybit"  # its keys under REDIS_MAIN_KEY have no exchange: programs read them from before the others
PAGE_SOCKETS = 200  # pages, probes and scrapes; a browser opens some six at a time
NEED_REDIS = frozenset({"redis", "storage", "history"})  # outputs


class DerivedSettings(Declarations):
    """The declared settings, and what follows from them. Field names are the settings' names in small letters.

    `redis_url_given` is REDIS_URL as it was set, and `redis_url` the address that counts.
    """

    _found_on_load: tuple[SettingWarning, ...] = PrivateAttr(())
    _written: dict[str, str] = PrivateAttr({})  # canonical names -> those that the user wrote
    _env_file: Path | None = PrivateAttr(None)
    _wrong: frozenset[str] = PrivateAttr(frozenset())  # canonical names of those that have their defaults instead

    @model_validator(mode="before")
    @classmethod
    def _read_addresses(cls, data: dict[str, Any]) -> dict[str, Any]:
        """Fill in what a URL holds; a wrong URL is left to the error of its own field."""
        data = dict(data)
        data |= _redis_parts(data.get("redis_url_given")) | _websocket_parts(data.get("websocket_url"))
        for field, value in _exchange_parts(data.get("bybit_ws_url")).items():
            data.setdefault(field, value)
        return data

    @property
    def coins_paths(self) -> tuple[Path, ...]:
        """Paths where the list of coins may lie, nearest first: the working directory, then beside main.py."""
        if str(self.coins_file) == NO_FILE:
            return ()
        files = (self.coins_file, LEGACY_COINS) if self.coins_file == DEFAULT_COINS else (self.coins_file,)
        return tuple(dict.fromkeys(folder / file for folder in (Path(), HOME) for file in files))

    @property
    def is_legacy_spot_bot(self) -> bool:
        """Whether these are the files of the earlier spot price bot: its list of coins, or a name that it alone had."""
        here = next((path for path in self.coins_paths if path.exists()), Path())
        return "RECONNECT_INTERVAL_MS" in self._written.values() or here.parts[-2:] == LEGACY_COINS.parts

    def written(self, name: str) -> str:
        """The name that the user wrote a setting by; its own where it is not set."""
        return self._written.get(name, name)

    def is_wrong(self, name: str) -> bool:
        """Whether the user set this to what is not allowed, and it has its default instead, to check the rest with."""
        return name in self._wrong

    @property
    def env_file(self) -> Path | None:
        """The `.env` file that was read; None where there was none."""
        return self._env_file

    @property
    def markets(self) -> tuple[str, ...]:
        """The markets to collect, the main one first."""
        beside = ("spot",) if self.enable_spot_stream and self.channel_type != "spot" else ()
        return (self.channel_type, *beside)

    @property
    def repairs_klines(self) -> bool:
        """Whether REST repairs incomplete klines: not in a replay, nor where the address is another exchange's."""
        return self.kline_repair and self.aggregation_clock == "wall" and self.has_rest

    @property
    def has_rest(self) -> bool:
        """Whether the REST address is of the same exchange as the streams."""
        return self.rest_address is not None or (self.bybit_ws_url is None and self.ws_url is None)

    @property
    def rest_address(self) -> str | None:
        """What stands in the place of the exchange's REST address; None is the exchange's own."""
        return self.rest_url or self.bybit_rest_url

    @property
    def state_name(self) -> str:
        """The prefix of this process's own files and keys: no two processes of one exchange share it."""
        return "_".join(filter(None, (self.exchange, self.channel_type, self.shard_name)))

    @property
    def shard_name(self) -> str:
        """The shard as a part of names, shard2of3; empty where one process has everything."""
        return "" if self.shard == "1/1" else f"shard{self.shard.replace('/', 'of')}"

    def public_ws_url(self, market: str) -> str | None:
        """The public endpoint of one of `markets` as BYBIT_WS_URL gives it; None is the exchange's own."""
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
        user, password = self.redis_user or "", self.redis_password.get_secret_value() if self.redis_password else ""
        login = f"{quote(user, safe='')}:{quote(password, safe='')}@" if user or password else ""
        host = f"[{self.redis_host}]" if ":" in self.redis_host else self.redis_host
        return f"{scheme}://{login}{host}:{self.redis_port}/{self.redis_db}{query}"

    @property
    def storage_main_key(self) -> str:
        """The prefix of the keys in Redis storage: REDIS_MAIN_KEY, with the exchange, or `<exchange>-streamer`."""
        if self.redis_main_key is None:
            return f"{self.exchange}-streamer"
        return self.redis_main_key if self.exchange == FIRST_EXCHANGE else f"{self.redis_main_key}:{self.exchange}"

    @property
    def relayed_exchanges(self) -> tuple[str, ...]:
        """The exchanges whose collectors a relay reads."""
        return self.relay_exchanges or (self.exchange,)

    @property
    def relayed_main_keys(self) -> tuple[str, ...]:
        """The channels of envelopes besides klines that a relay reads."""
        return self.relay_main_keys or ((self.redis_main_key,) if self.redis_main_key else ())

    @property
    def outputs(self) -> tuple[str, ...]:
        """Every output by name: ENABLED_CONSUMERS, and those that have a switch of their own."""
        switched = {"storage": self.storage_enabled, "history": self.redis_streams}
        return (*self.enabled_consumers, *(name for name, is_on in switched.items() if is_on))

    @property
    def has_store(self) -> bool:
        """Whether a collector keeps its klines in a file: not where it makes none."""
        return self.kline_store and self.enable_klines_stream

    @property
    def uses_redis(self) -> bool:
        """Whether any output needs a Redis."""
        return not NEED_REDIS.isdisjoint(self.outputs)

    @property
    def has_alerts(self) -> bool:
        """Whether any service takes alerts."""
        return self.alert_urls is not None or self.alert_webhook is not None

    @property
    def written_folders(self) -> dict[str, Path]:
        """The folders that are written to, by the settings that name them."""
        used = {
            "FILE_CONSUMER_BASE_PATH": (self.file_consumer_base_path, "file" in self.outputs),
            "PARQUET_PATH": (self.parquet_path, "parquet" in self.outputs),
            "RAW_RECORD_PATH": (self.raw_record_path, self.raw_record),
            "KLINE_STORE_PATH": (self.kline_store_path, self.has_store),
            "REDIS_BACKLOG_PATH": (self.redis_backlog_path, self.uses_redis),
            "LOG_FILE": (self.log_file and self.log_file.parent, self.log_file is not None),
        }
        return {name: path for name, (path, is_used) in used.items() if is_used and path is not None}

    @property
    def websocket_clients(self) -> int:
        """How many sockets the web server may have; few where it sends no envelopes, 0 without it."""
        if "websocket" in self.outputs:
            return self.websocket_max_clients
        return min(PAGE_SOCKETS, self.websocket_max_clients) if self.enable_web else 0

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
    def history_kinds(self) -> tuple[values.RawKind, ...]:
        """Which raw kinds are kept in Redis Streams."""
        return tuple(kind for kind in self.redis_streams_kinds if kind != "klines") if self.redis_streams else ()

    @property
    def recorded_kinds(self) -> tuple[values.RawKind, ...]:
        """Which raw kinds are recorded to files."""
        return self.raw_record_kinds if self.raw_record else ()

    @property
    def wanted_kinds(self) -> tuple[values.RawKind, ...]:
        """Which kinds are streamed, for all purposes together, as far as a market has them."""
        types = {*self.envelope_types, *self.stored_types}
        kinds: list[values.RawKind] = [*self.raw_streams, *self.history_kinds, *self.recorded_kinds]
        kinds += ["trades"] if self.enable_klines_stream or "trades" in types else []
        kinds += ["ticker"] if types & {"ticker", "price"} else []
        return tuple(dict.fromkeys(kinds))

    @property
    def has_redundancy(self) -> bool:
        """Whether any trades come over two connections."""
        return self.redundancy > 1 and bool(self.redundant_symbols)


def _redis_parts(url: Any) -> dict[str, Any]:
    text = url.get_secret_value() if hasattr(url, "get_secret_value") else url
    try:
        address = values.split_url(text or "", ("redis", "rediss"))
    except ValueError:
        return {}
    user, password = unquote(address.username or "") or None, unquote(address.password or "") or None
    stated = _stated(redis_user=user, redis_password=password, redis_db=address.path.strip("/") or None)
    return {"redis_host": address.hostname, "redis_port": address.port or REDIS_DEFAULT_PORT, **stated}


def _websocket_parts(url: Any) -> dict[str, Any]:
    try:
        address = values.split_url(url or "", ("ws", "wss"), lowest_port=0)
    except ValueError:
        return {}
    return _stated(websocket_host=address.hostname, websocket_port=address.port, websocket_path=address.path or None)


def _exchange_parts(url: Any) -> dict[str, Any]:
    """The market that an endpoint names, and the REST address of the same exchange."""
    try:
        endpoint = public_endpoint((url or "").strip())
        return _stated(channel_type=market_of(endpoint), bybit_rest_url=rest_beside(endpoint))
    except ValueError:
        return {}


def _stated(**parts: Any) -> dict[str, Any]:
    return {field: value for field, value in parts.items() if value is not None}
