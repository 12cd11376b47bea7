"""The collector's own HTTP API, /api/, as AsyncAPI has it: a channel for each path, its query, and what it answers.

Pure. The exchange's own REST protocol, which the same port serves, is in the exchange's documentation.
"""

from collections.abc import Mapping
from types import MappingProxyType

from app.schema.messages import Schema, ref
from conf.settings import Settings

INTEGER: Schema = {"type": "integer", "minimum": 0}
TEXT: Schema = {"type": "string"}
KLINES_QUERY: Schema = {
    "symbol": {**TEXT, "description": "As the exchange writes it."},
    "market": {**TEXT, "description": "The main one unless given."},
    "interval": {**TEXT, "default": "1m"},
    "start": {**INTEGER, "description": "ms: the first start."},
    "end": {**INTEGER, "description": "ms: what begins then is left out."},
    "last": {**INTEGER, "description": "So many of the newest."},
    "fill": {"enum": ["exchange"], "description": "What the store lacks of the newest is read from the exchange."},
}
JOURNAL_QUERY: Schema = {
    "since": {"type": "integer", "description": "The `next` of the answer before."},
    "last": {**INTEGER, "default": 100},
}
PATHS: Mapping[str, tuple[str, Schema | None, tuple[str, ...], str]] = MappingProxyType(
    {
        "/api/klines": ("ApiKlines", KLINES_QUERY, ("symbol",), "Closed klines of the store."),
        "/api/journal": ("ApiJournal", JOURNAL_QUERY, (), "Status events and results of the audit, the oldest first."),
        "/api/series": ("ApiSeries", None, (), "What the store has."),
        "/api/": ("ApiAbout", None, (), "What is collected."),
    }
)
"""By path: answer, query, what must be in it, what it is for."""


def http_channels(settings: Settings) -> tuple[Schema, Schema]:
    """Return the channels of paths, and the operations that ask them; nothing where they are not served."""
    channels: Schema = {}
    operations: Schema = {}
    for path, (answer, query, required, text) in PATHS.items() if settings.enable_web else ():
        name = f"http_{path.removeprefix('/api/') or 'about'}"
        messages = {each: {"$ref": f"#/components/messages/{each}"} for each in ("ApiRequest", answer, "ApiError")}
        servers = [{"$ref": "#/servers/http"}]
        channels[name] = {"address": path, "description": text, "servers": servers, "messages": messages}
        asked = {"type": "object", "properties": query or {}, "required": list(required)}
        of = f"#/channels/{name}/messages/"
        operations[f"get_{name}"] = {
            "action": "receive",
            "channel": {"$ref": f"#/channels/{name}"},
            "messages": [{"$ref": f"{of}ApiRequest"}],
            "bindings": {"http": {"method": "GET", "query": asked}},
            "reply": {
                "channel": {"$ref": f"#/channels/{name}"},
                "messages": [{"$ref": of + each} for each in (answer, "ApiError")],
            },
        }
    return channels, operations


def http_messages() -> Schema:
    """Return the messages of paths; a request has no body."""
    answers = [answer for answer, *_ in PATHS.values()]
    return {
        "ApiRequest": {"payload": {"type": "null"}},
        **{name: {"payload": ref(name)} for name in [*answers, "ApiError"]},
    }
