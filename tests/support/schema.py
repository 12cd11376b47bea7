"""The schemas of `main.py schema`, held against messages as tests see them: a field that no schema has is an error."""

import functools
import gzip
import json
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any

import fastjsonschema
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as connect_unchecked

from app.schema.http_api import PATHS
from app.schema.messages import channel_name, envelope_name, event_names, ref, schemas
from exchanges.registry import VENUES

RAW_KINDS = ("trades", "orderbook", "ticker", "liquidations")

Validate = Callable[[Any], object]


@functools.cache
def validator(name: str, exchange: str = "") -> Validate:
    """Return what raises for a message that does not match a schema of this name."""
    found = schemas(VENUES[exchange].record_names.get("trades", {}) if exchange in VENUES else None)
    for schema in found.values():
        if "properties" in schema:
            schema.setdefault("additionalProperties", False)
    compiled: Validate = fastjsonschema.compile({"allOf": [ref(name)], "components": {"schemas": found}})
    return compiled


@functools.cache
def _events() -> Mapping[str, str]:
    """The names of the schemas of the status channel by those of the events."""
    found = schemas()
    return {found[name]["properties"]["event"]["enum"][0]: channel_name(name) for name in event_names()}


def checked(payload: str | bytes) -> Any:
    """Return a message of ours, read; an AssertionError says what no schema allows.

    The message itself tells which schema: an envelope, a status event, or an answer of the WebSocket protocol.
    """
    message = json.loads(payload)
    exchange = message.get("exchange", "")
    if "data_type" in message:
        name = envelope_name(message["data_type"])
    elif "event" in message:
        name = _events().get(message["event"], "")
    else:
        name = "Reply" if "op" in message else "Notice" if "status" in message else "Pong"
    assert name, f"no schema has this event: {payload!r}"
    try:
        validator(name, exchange)(message)
    except fastjsonschema.JsonSchemaException as error:
        raise AssertionError(f"no {name}: {error}: {payload[:500]!r}") from error
    return message


def check_answer(path: str, status: int, body: str | bytes) -> None:
    """Check an answer of the HTTP API; an AssertionError says what no schema allows."""
    name = PATHS[path][0] if status == HTTPStatus.OK else "ApiError"
    try:
        validator(name)(json.loads(body))
    except fastjsonschema.JsonSchemaException as error:
        raise AssertionError(f"no {name}: {error}: {body[:500]!r}") from error


def check_channels(received: Mapping[str, Iterable[bytes]]) -> None:
    """Check the messages of Redis channels; what the exchange sent is its own."""
    for channel, messages in received.items():
        if channel.rpartition("_")[2] not in RAW_KINDS:
            for message in messages:
                checked(message)


class CheckedConnection(ClientConnection):
    """A client of the WebSocket output: `recv` checks what comes on the path of the collector's own protocol."""

    def recv(self, *arguments: Any, **options: Any) -> Any:
        """Receive a message; AssertionError where no schema allows it."""
        message = super().recv(*arguments, **options)
        if self.request and self.request.path.partition("?")[0] == "/" and message not in ("pong", b"pong"):
            is_gzipped = isinstance(message, bytes) and message.startswith(b"\x1f\x8b")
            checked(gzip.decompress(message) if is_gzipped else message)
        return message


connect = functools.partial(connect_unchecked, create_connection=CheckedConnection)
