"""What a collector keeps in Redis, of which AsyncAPI has no notion: hashes of the storage, and Redis Streams. Pure."""

from app.schema.messages import Schema, envelope_name, ref
from conf.settings import Settings
from consumers.redis.channels import klines_channel, raw_channel
from consumers.redis.storage.keys import coin_key, last_closed_key, price_key, tickers_key
from consumers.redis.streams import FIELD
from model.intervals import LONGEST_MONTH_MS, parse_interval

TEXT = {"type": "string"}
PRICE = {"type": "string", "description": "An exact decimal."}


def redis_keys(settings: Settings) -> list[Schema]:
    """Return each key's name, type, the name of its fields, and the schema of a value; {symbol} and {coin} vary."""
    storage = _storage(settings) if "storage" in settings.outputs else []
    return [*storage, *(_streams(settings) if "history" in settings.outputs else [])]


def _storage(settings: Settings) -> list[Schema]:
    main_key, found = settings.storage_main_key, []
    for market in settings.markets:
        found.append(_hash(tickers_key(main_key, market), {"{symbol}": ref("Ticker")}))
        found.append(_hash(price_key(main_key, market), {"{symbol}": PRICE}))
        for interval in settings.kline_intervals if settings.enable_klines_stream else ():
            length_ms = parse_interval(interval).step_ms or LONGEST_MONTH_MS
            found.append(_hash(last_closed_key(main_key, market, length_ms), {"{symbol}": ref("Kline")}))
        coin = {"ltp": PRICE, "timestamp": {**TEXT, "format": "date-time"}, "original_symbol": TEXT}
        found.append(_hash(coin_key(settings.exchange, market, "{coin}"), coin))
    return found


def _streams(settings: Settings) -> list[Schema]:
    found = []
    if "klines" in settings.redis_streams_kinds:
        found.append(_stream(klines_channel(settings.exchange), ref(envelope_name("klines"))))
    for market in settings.markets:
        beside = None if market == settings.markets[0] else market
        found += [_stream(raw_channel(settings.exchange, kind, beside), {}) for kind in settings.history_kinds]
    return found


def _hash(key: str, fields: Schema) -> Schema:
    return {"key": key, "type": "hash", "fields": fields}


def _stream(key: str, value: Schema) -> Schema:
    return {"key": key, "type": "stream", "fields": {FIELD.decode(): value}}
