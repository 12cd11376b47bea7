"""The AsyncAPI document of one collector: its servers and channels by the settings, its messages by their types.

Pure. Holds no password. What HTTP serves to people and probes (the page, /readyz, /metrics) is in the documents alone.
"""

from app import VERSION
from app.options import kinds_of
from app.schema.http_api import http_channels, http_messages
from app.schema.messages import Schema, channel_name, envelope_name, event_names, ref, schemas
from app.schema.redis_keys import redis_keys
from conf.settings import Settings
from consumers.redis.channels import klines_channel, raw_channel, status_channel, symbol_channel
from exchanges.registry import VENUES

ASYNCAPI = "3.0.0"
DESCRIPTION = """\
What a collector of the market data of {exchange} sends and takes, by its settings. Raw channels carry the exchange's
own messages byte for byte. Numbers of klines, tickers and prices are exact decimals: read them as such, not as binary
floats. A later version may add fields and events."""
RAW = "A message of the exchange itself, byte for byte: its documentation has the fields."
ANSWERS = {"Login": ["Notice"], "Request": ["Reply", "Pong"], "Ping": ["PongText"]}  # by what a client sends
CLUSTER_SYMBOL = "The symbol; subscribe with SSUBSCRIBE."
LOGIN = "HTTP Basic, or a first message of user and key"
EXCHANGE_PATHS = "The exchange's own protocol is served on the exchange's own paths."
HTTP = "Open on a loopback address, elsewhere HTTP Basic. The exchange's own REST paths are here too (MARKET_API)."
WEBSOCKET_MESSAGES = ("Login", "Request", "Reply", "Notice", "Pong")
EXTENSION = "x-redis-keys"


def document(settings: Settings) -> Schema:
    """Return the document of a collector of these settings."""
    channels = {**_redis_channels(settings), **_websocket_channels(settings)}
    paths, requests = http_channels(settings)
    return {
        "asyncapi": ASYNCAPI,
        "info": {
            "title": f"Market data of {settings.exchange}",
            "version": VERSION,
            "description": DESCRIPTION.replace("\n", " ").format(exchange=settings.exchange),
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "servers": _servers(settings),
        "channels": channels | paths,
        "operations": _operations(channels) | requests,
        "components": {
            "messages": _messages(),
            "schemas": schemas(VENUES[settings.exchange].record_names.get("trades", {})),
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic"},
                "password": {"type": "userPassword"},
            },
        },
        EXTENSION: redis_keys(settings),
    }


def _servers(settings: Settings) -> Schema:
    servers: Schema = {}
    if settings.uses_redis:
        servers["redis"] = {
            "host": _host(settings.redis_host, settings.redis_port),
            "pathname": f"/{settings.redis_db}",
            "protocol": settings.redis_url.partition(":")[0],
            "description": "Redis or Valkey, Pub/Sub" + (" by SPUBLISH" if settings.redis_cluster != "off" else ""),
        }
        if settings.redis_password:
            servers["redis"]["security"] = [{"$ref": "#/components/securitySchemes/password"}]
    if "websocket" in settings.outputs:
        servers["websocket"] = {
            "host": _host(settings.websocket_host, settings.websocket_port),
            "protocol": "wss" if settings.websocket_tls_cert else "ws",
            "description": LOGIN if settings.websocket_exchange_paths == "off" else f"{LOGIN}. {EXCHANGE_PATHS}",
            "security": [{"$ref": "#/components/securitySchemes/basic"}],
        }
    if settings.enable_web:
        servers["http"] = {
            "host": _host(settings.websocket_host, settings.websocket_port),
            "protocol": "https" if settings.websocket_tls_cert else "http",
            "description": HTTP,
        }
    return servers


def _host(name: str, port: int) -> str:
    return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"


def _redis_channels(settings: Settings) -> Schema:
    if "redis" not in settings.outputs:
        return {}
    exchange, venue = settings.exchange, VENUES[settings.exchange]
    found = {"status": _channel(status_channel(exchange), "redis", event_names(), "Changes of state.")}
    if settings.enable_klines_stream:
        found["klines"] = _channel(klines_channel(exchange), "redis", [envelope_name("klines")], "Closed klines.")
    for market in settings.markets:
        beside = None if market == settings.markets[0] else market
        for kind in kinds_of(settings, venue.markets[market]):
            if kind in settings.raw_streams:
                address = raw_channel(exchange, kind, beside)
                found[f"{market}_{kind}"] = _channel(address, "redis", ["Raw"], f"{kind.title()} of {market}.")
    if settings.redis_cluster == "symbol":
        for name, channel in found.items():
            if name != "status":
                channel["address"] = symbol_channel(channel["address"], "{symbol}")
                channel["parameters"] = {"symbol": {"description": CLUSTER_SYMBOL}}
    if settings.redis_main_key:
        found["envelopes"] = _channel(settings.redis_main_key, "redis", _envelopes(settings), "Every envelope.")
    return found


def _websocket_channels(settings: Settings) -> Schema:
    if "websocket" not in settings.outputs:
        return {}
    messages = [*WEBSOCKET_MESSAGES, "Ping", "PongText", *_envelopes(settings)]
    text = "Every envelope to each client, narrowed by its requests, by the query subscribe=kline.1m.*,ticker.*"
    return {"websocket": _channel(settings.websocket_path, "websocket", messages, f"{text}, or by its login.")}


def _envelopes(settings: Settings) -> list[str]:
    types = ["klines"] if settings.enable_klines_stream else []
    types += [*settings.envelope_types, *(["status"] if settings.enable_status_stream else [])]
    return [envelope_name(data_type) for data_type in types]


def _channel(address: str, server: str, messages: list[str], text: str) -> Schema:
    return {
        "address": address,
        "description": text,
        "servers": [{"$ref": f"#/servers/{server}"}],
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
    }


def _operations(channels: Schema) -> Schema:
    found: Schema = {}
    for name, channel in channels.items():
        reference = {"$ref": f"#/channels/{name}"}
        sent = [each for each in channel["messages"] if each not in ANSWERS]
        found[f"send_{name}"] = {"action": "send", "channel": reference, "messages": _listed(name, sent)}
        for taken in (each for each in ANSWERS if each in channel["messages"]):
            reply = {"channel": reference, "messages": _listed(name, ANSWERS[taken])}
            found[f"receive_{taken.lower()}"] = {
                "action": "receive",
                "channel": reference,
                "messages": _listed(name, [taken]),
                "reply": reply,
            }
    return found


def _listed(channel: str, messages: list[str]) -> list[Schema]:
    return [{"$ref": f"#/channels/{channel}/messages/{name}"} for name in messages]


def _messages() -> Schema:
    """The messages of all channels, also of those that these settings have not."""
    plain = [*map(envelope_name, ("klines", "ticker", "price", "trades", "status")), *WEBSOCKET_MESSAGES]
    found: Schema = {name: {"payload": ref(name)} for name in plain}
    found |= {name: {"payload": ref(channel_name(name))} for name in event_names()}
    for name in ("Request", "Reply"):
        found[name]["correlationId"] = {"location": "$message.payload#/req_id"}
    found |= http_messages()
    found["Raw"] = {"payload": {"description": RAW}}
    for name, text in (("Ping", "ping"), ("PongText", "pong")):
        found[name] = {"contentType": "text/plain", "payload": {"type": "string", "const": text}}
    return {name: {"name": name, **message} for name, message in found.items()}
