"""The typed settings turned into each package's own options. Pure; nothing else reads Settings for the outputs."""

import sys
import threading
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from aggregation.klines.arithmetic import Arithmetic
from aggregation.service import KlineOptions
from app.payload_symbols import symbols_by_channel
from app.venue_checks import depth_of
from conf.settings import Settings
from consumers.console.console import ConsoleOptions
from consumers.files.jsonl import FileOptions
from consumers.files.parquet import ParquetOptions
from consumers.files.recorder import RecorderOptions
from consumers.manager import ConsumerOptions
from consumers.redis.checkpoint.store import CheckpointOptions
from consumers.redis.options import EmbeddedOptions, RedisOptions, RedisStreamsOptions, StorageOptions
from consumers.service import OutputOptions
from consumers.store.store import StoreOptions
from consumers.web.awaited import AwaitedKlines
from consumers.web.http import Routes, Sessions
from consumers.web.klines import KlineFeed
from consumers.web.options import WebOptions
from exchanges.contract import Endpoints, MarketRest, TradeRules, Venue
from exchanges.registry import VENUES
from exchanges.universe.follower import SymbolRules
from model.dialect import Dialect, DialectOptions, Topic
from model.markets import MarketSpec
from model.pairs import PairOf, unlisted
from model.ports import ContractSizes, SymbolOf, of_no_symbol
from model.protocol import StreamProtocol
from model.records import Kind
from streams import Connects, FeedOptions, HandoverTimes, StreamOptions


class WebParts(NamedTuple):
    """What the web server serves beside envelopes."""

    routes: Routes = MappingProxyType({})
    sessions: Sessions = MappingProxyType({})
    klines: KlineFeed | None = None
    awaited: AwaitedKlines | None = None


NO_WEB_PARTS = WebParts()
SymbolsOf = Callable[[str], Collection[str]]


def stream_options(settings: Settings, venue: Venue) -> StreamOptions:
    """The options of the streams."""
    return StreamOptions(
        market=settings.channel_type,
        depth=depth_of(settings, venue),
        pool_size=settings.socket_pool_size,
        connects=Connects(venue.connects.most, venue.connects.per_s),
        shard=settings.shard,
        reconnect_delay_s=settings.reconnect_delay,
        reconnect_max_attempts=settings.reconnect_max_attempts,
        refusals=venue.connects.refusals,
        headers=venue.connects.headers,
    )


def endpoints(settings: Settings, market: str) -> Endpoints:
    """Where a market of the exchange is reached."""
    return Endpoints(
        ws_url=settings.ws_url,
        rest_url=settings.rest_address,
        stream=settings.public_ws_url(market),
        testnet=settings.use_testnet,
    )


def feed_options(settings: Settings) -> FeedOptions:
    """The options of the feeds. The later klines close, the further they date a connection's end back."""
    return FeedOptions(
        ping_interval_s=settings.ping_interval,
        silence_timeout_s=settings.silence_timeout,
        watch_topics=settings.orderbook_check,
        watch_trades=settings.orderbook_check and "ticker" in settings.raw_streams,
        is_redundant=settings.redundancy > 1,
        handover=HandoverTimes(overlap_s=HandoverTimes.overlap_s + settings.kline_close_grace_ms / 1000),
    )


class RestFactory(Protocol):
    """Makes the REST API of a market; opens nothing. `stop`, once set, ends every request with HistoryError."""

    def __call__(self, market: str, stop: threading.Event | None = None, /) -> MarketRest: ...


def rest_of(settings: Settings, venue: Venue) -> RestFactory:
    """Return what makes the REST API of a market."""

    def make(market: str, stop: threading.Event | None = None, /) -> MarketRest:
        return venue.rest(market, endpoints(settings, market), trade_rules(settings), stop or threading.Event())

    return make


def kinds_of(settings: Settings, market: MarketSpec) -> tuple[Kind, ...]:
    """The kinds of a market that are streamed, for all purposes together: of those wanted, what it has."""
    return tuple(kind for kind in settings.wanted_kinds if kind in market.kinds)


def trade_rules(settings: Settings) -> TradeRules:
    """Which trades count in klines."""
    return TradeRules(count_block_trades=settings.count_block_trades, count_rpi_trades=settings.count_rpi_trades)


def symbol_rules(settings: Settings, venue: Venue) -> SymbolRules:
    """Which symbols are followed; of an output that names coins the pairs are needed, of klines what a contract is."""
    markets = (venue.markets[market] for market in settings.markets)
    return SymbolRules(
        load_all=settings.load_all_symbols,
        limit=settings.symbols_limit,
        quote=settings.symbols_quote,
        symbols=settings.symbols,
        pre_market=settings.symbols_pre_market,
        refresh_s=settings.symbols_refresh,
        has_rest=settings.has_rest,
        needs_pairs="storage" in settings.outputs or ("console" in settings.outputs and settings.enable_price_stream),
        needs_sizes=settings.enable_klines_stream and any(market.has_contracts for market in markets),
        joins_coins=venue.joins_coins,
    )


def output_options(
    settings: Settings,
    *,
    owns: Callable[[str], bool] | None = None,
    symbols: SymbolsOf = lambda _market: (),
    status: Callable[[], Mapping[str, Any]] = dict,
    pair_of: PairOf = unlisted,
    descriptors: Callable[[], int] = lambda: sys.maxsize,
    contract_sizes: ContractSizes = lambda _market, _symbol: None,
    pass_on: Callable[[Collection[Topic]], object] | None = None,
    names_exchange: bool = False,
    has_store: bool = False,
    web: WebParts = NO_WEB_PARTS,
) -> OutputOptions:
    """Return the options of all outputs.

    `owns(symbol)`: whether a symbol is this process's, where several share a market; None: all are. `symbols(market)`
    returns those that are collected now, `status()` the figures of the console's table, `pair_of(market, symbol)` the
    listed pair, `descriptors()` the number of the first descriptor that no websocket client may have, `contract_sizes`
    what a contract is, `pass_on` takes topics to be streamed for clients of the exchange's own protocol alone.
    `names_exchange`: the console's lines say of which exchange they are. `has_store`: klines are kept, where the
    settings say so. `web`: what the web server serves beside envelopes.
    """
    return OutputOptions(
        exchange=settings.exchange,
        markets=settings.markets,
        enabled=settings.outputs,
        raw_kinds=settings.raw_streams,
        stream_kinds=settings.history_kinds,
        envelope_types=settings.envelope_types,
        sends_status=settings.enable_status_stream,
        consumers=ConsumerOptions(
            redis=_redis(settings),
            file=_file(settings),
            parquet=_parquet(settings),
            console=ConsoleOptions(
                live=settings.console_live, status=status, pair_of=pair_of, names_exchange=names_exchange
            ),
            websocket=_websocket(
                settings,
                _dialect(settings, symbols, contract_sizes, pass_on),
                descriptors,
                web if settings.enable_web else NO_WEB_PARTS,
            ),
            storage=_storage(settings, owns, pair_of),
            history=_redis_streams(settings),
            store=_store(settings) if has_store and settings.has_store else None,
            has_web=settings.enable_web,
        ),
        recorder=_recorder(settings) if settings.raw_record else None,
        embedded=_embedded(settings),
    )


def _redis(settings: Settings) -> RedisOptions:
    state = settings.state_name
    return RedisOptions(
        url=settings.redis_url,
        main_key=settings.redis_main_key,
        spill_path=settings.redis_backlog_path / f"{state}.jsonl",
        raw_limit=settings.raw_queue_size,
        cluster=settings.redis_cluster,
        symbol_of=_symbol_of(settings) if settings.redis_cluster == "symbol" else of_no_symbol,
        checkpoint=CheckpointOptions(
            ":".join(filter(None, (settings.storage_main_key, settings.shard_name))),
            settings.redis_backlog_path / f"{state}.published.json",
        ),
    )


def _symbol_of(settings: Settings) -> SymbolOf:
    venue = VENUES[settings.exchange]

    def protocol_of(market: str) -> StreamProtocol:
        return venue.protocol(market, endpoints(settings, market))

    return symbols_by_channel(settings.exchange, settings.markets, venue.markets, protocol_of)


def _file(settings: Settings) -> FileOptions:
    return FileOptions(
        base_path=settings.file_consumer_base_path,
        exchange=settings.exchange,
        markets=settings.markets,
        retention_hours=settings.file_consumer_retention_hours,
        max_gb=settings.file_consumer_max_gb,
        compression=settings.file_consumer_compression,
    )


def _parquet(settings: Settings) -> ParquetOptions:
    return ParquetOptions(
        base_path=settings.parquet_path,
        exchange=settings.exchange,
        markets=settings.markets,
        retention_hours=settings.parquet_retention_hours,
        max_gb=settings.parquet_max_gb,
        flush_s=settings.parquet_flush_interval,
        name=settings.state_name,
        names_of=lambda exchange, data_type: VENUES[exchange].record_names.get(data_type, {}),
    )


def _recorder(settings: Settings) -> RecorderOptions:
    return RecorderOptions(
        base_path=settings.raw_record_path,
        exchange=settings.exchange,
        name=settings.state_name,
        kinds=settings.recorded_kinds,
        retention_hours=settings.raw_record_retention_hours,
        max_gb=settings.raw_record_max_gb,
    )


def _websocket(
    settings: Settings, dialect: Dialect | None, descriptors: Callable[[], int], web: WebParts
) -> WebOptions:
    return WebOptions(
        host=settings.websocket_host,
        port=settings.websocket_port,
        path=settings.websocket_path,
        user=settings.wss_auth_user or "",
        key=settings.wss_auth_key.get_secret_value() if settings.wss_auth_key else "",
        tls_cert=settings.websocket_tls_cert,
        tls_key=settings.websocket_tls_key,
        compression=settings.websocket_compression,
        client_queue=settings.websocket_client_queue,
        max_clients=settings.websocket_clients,
        descriptors=descriptors,
        dialect=dialect,
        dialect_is_open=settings.websocket_exchange_paths == "open",
        open_klines_s=settings.websocket_open_klines_interval,
        may_move="websocket_port" not in settings.model_fields_set,
        routes=web.routes,
        sessions=web.sessions,
        klines=web.klines,
        awaited=web.awaited,
    )


def _dialect(
    settings: Settings,
    symbols: SymbolsOf,
    contract_sizes: ContractSizes,
    pass_on: Callable[[Collection[Topic]], object] | None,
) -> Dialect | None:
    if settings.websocket_exchange_paths == "off" or "websocket" not in settings.outputs:
        return None
    venue = VENUES[settings.exchange]
    make = venue.dialect
    if make is None:
        return None
    options = DialectOptions(
        markets=settings.markets,
        kinds=settings.raw_streams,
        depth=depth_of(settings, venue),
        intervals=settings.kline_intervals if settings.enable_klines_stream else (),
        symbols=symbols,
        contract_sizes=contract_sizes,
        pass_on=pass_on,
    )
    return make(options)


def _storage(settings: Settings, owns: Callable[[str], bool] | None, pair_of: PairOf) -> StorageOptions:
    return StorageOptions(
        url=settings.redis_url,
        main_key=settings.storage_main_key,
        exchange=settings.exchange,
        markets=settings.markets,
        flush_size=settings.storage_buffer_flush_size,
        flush_interval_s=settings.storage_buffer_flush_interval,
        owns=owns,
        is_cluster=settings.redis_cluster != "off",
        pair_of=pair_of,
    )


def _redis_streams(settings: Settings) -> RedisStreamsOptions:
    return RedisStreamsOptions(
        url=settings.redis_url,
        has_klines="klines" in settings.redis_streams_kinds,
        max_len=settings.redis_streams_maxlen,
        spill_path=settings.redis_backlog_path / f"{settings.state_name}.history.jsonl",
    )


def _store(settings: Settings) -> StoreOptions:
    name = "_".join(filter(None, (settings.state_name, "testnet" if settings.use_testnet else "")))
    return StoreOptions(
        path=settings.kline_store_path / f"{name}.sqlite",
        days=settings.kline_store_days,
        max_gb=settings.kline_store_max_gb,
        marks_published="redis" not in settings.outputs,
    )


def _embedded(settings: Settings) -> EmbeddedOptions | None:
    if not settings.uses_redis or settings.redis_cluster != "off" or settings.redis_embedded == "never":
        return None
    return EmbeddedOptions(
        url=settings.redis_url,
        host=settings.redis_host,
        port=settings.redis_port,
        user=settings.redis_user or "",
        password=settings.redis_password.get_secret_value() if settings.redis_password else "",
        databases=settings.redis_db + 1,
    )


def arithmetics(settings: Settings, venue: Venue) -> dict[str, Arithmetic]:
    """How the klines of each market are summed up: by the exchange's rules, but for KLINE_OPEN."""
    specs = venue.markets.items()
    return {name: Arithmetic.of(spec, settings.kline_open) for name, spec in specs if spec.klines}


def kline_options(settings: Settings, venue: Venue) -> KlineOptions:
    """Which klines are made, and how."""
    return KlineOptions(
        settings.markets,
        settings.kline_intervals,
        arithmetics=arithmetics(settings, venue),
        event_clock=settings.aggregation_clock == "event",
        grace_ms=settings.kline_close_grace_ms if settings.aggregator_waiter_mode_enabled else 0,
        repairs=settings.repairs_klines,
        audit_sample=settings.audit_sample,
        audit_correct=settings.audit_correct,
        consecutive_ids=venue.ids == "consecutive",
        has_ids=venue.ids != "none",
    )
