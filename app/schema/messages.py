"""JSON Schema (draft 7) of every message, made of the structs and dataclasses that messages are made of.

Pure. A later version may add fields; none of these goes, or changes its type.
"""

import dataclasses
import functools
import operator
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from types import NoneType
from typing import Any, Literal, get_args, get_type_hints

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import fields

from consumers.web.auth import Login, Notice
from consumers.web.native import OPS, Pong, Reply, Request
from consumers.web.topics import ALLOWED
from model import events
from model.envelope import Envelope
from model.events import JSON_NAMES, StatusEvent
from model.records import Kline

Schema = dict[str, Any]
Names = Mapping[str, str]

REF = "#/components/schemas/{name}"
INTERNAL = re.compile(r" \([a-z]+\.[\w.]+\)")  # where in the code something is, in a docstring
VALUE_TYPES = ["number", "string", "boolean", "array", "object"]  # of an exchange's fields; those of null are left out
TRADE_FIELDS = ("symbol", "price", "size")  # what the trades of every exchange have, by common name


class Price(msgspec.Struct):
    """The last price of a symbol."""

    symbol: str
    price: Decimal


class Ticker(msgspec.Struct):
    """A whole ticker: every field as the exchange names it, numbers exact.

    `unsure` is there only after messages were lost: it names the fields that none has confirmed since.
    """

    symbol: str
    unsure: list[str] | UnsetType = UNSET


class JournalRecord(msgspec.Struct):
    """A status event with its exchange, or a result of the audit."""

    event: str
    ts: int


class Trade(msgspec.Struct):
    """A trade, every field as the exchange names and writes it."""


class ApiSeriesRow(msgspec.Struct):
    """One series of the store: the starts of its first and its last kline, in ms."""

    market: str
    symbol: str
    interval: str
    first: int
    last: int


class ApiSeries(msgspec.Struct):
    """What the store has; `total` of all, also where `data` has not all of them."""

    exchange: str
    data: list[ApiSeriesRow]
    total: int


class ApiJournal(msgspec.Struct):
    """Records of the journal, oldest first: status events, `audit`, `kline_differs`. `next`: `since` of the next."""

    exchange: str
    next: int
    data: list[JournalRecord]


class ApiMarket(msgspec.Struct):
    """What is collected of a market; `klines`: whether any are made."""

    symbols: list[str]
    intervals: list[str]
    kinds: list[str]
    klines: bool


class ApiAbout(msgspec.Struct):
    """What is collected, and whether it is kept (`store`)."""

    exchange: str
    version: str
    now_ms: int
    store: bool
    markets: dict[str, ApiMarket]


class ApiError(msgspec.Struct):
    """Why nothing is answered, in words, and what would be."""

    error: str


def schemas(trade_names: Names | None = None) -> dict[str, Schema]:
    """Return the schemas of all messages and of their parts, by name; they refer to each other as REF says.

    `trade_names`: how an exchange names the fields of its trades, where it names them otherwise than we do
    (Venue.record_names); None: any exchange.
    """
    envelopes = _envelope_types()
    types = [*envelopes.values(), Login, Request, Reply, Notice, Pong, ApiSeries, ApiJournal, ApiAbout, ApiError]
    types.append(_api_klines(envelopes["klines"]))
    _, found = msgspec.json.schema_components(types, ref_template=REF)
    for schema in found.values():
        _finish(schema)
    found["Ticker"]["additionalProperties"] = {"type": VALUE_TYPES}
    found["Trade"] |= {
        "required": [] if trade_names is None else [trade_names.get(name, name) for name in TRADE_FIELDS],
        "additionalProperties": {"type": [*VALUE_TYPES, "null"]},
    }
    if trade_names:
        meanings = ", ".join(f"`{written}` is the {name}" for name, written in trade_names.items() if written != name)
        found["Trade"]["description"] += f" {meanings}."
    for name in ("JournalRecord", "ApiError"):
        found[name]["additionalProperties"] = True
    for name in event_names():
        found[channel_name(name)] = {"title": channel_name(name), "allOf": [ref(name), {"required": ["exchange"]}]}
    request = found["Request"]["properties"]
    request["op"]["enum"] = [*OPS, ""]
    request["args"]["description"] = f"Topics: {ALLOWED}."
    return found


def event_names() -> list[str]:
    """Return the names of the schemas of status events."""
    return list(_event_types())


def envelope_name(data_type: str) -> str:
    """Return the name of the schema of an envelope."""
    return f"{data_type.title()}Envelope"


def ref(name: str) -> Schema:
    """Return a reference to one of `schemas`."""
    return {"$ref": REF.format(name=name)}


def channel_name(event: str) -> str:
    """Return the name of the schema of an event on the status channel, where it has its exchange."""
    return f"{event}Message"


def _event_types() -> dict[str, type[msgspec.Struct]]:
    classes = [each for each in vars(events).values() if isinstance(each, type) and issubclass(each, StatusEvent)]
    return {each.__name__: _event_type(each) for each in classes if "event" in vars(each)}


def _event_type(event: type[StatusEvent]) -> type[msgspec.Struct]:
    """Return a struct of an event as it leaves: what is None is left out."""
    hints = get_type_hints(event)
    required: list[Any] = [("ts", int)]
    optional: list[Any] = [("exchange", str | UnsetType, UNSET)]
    for each in dataclasses.fields(event):
        name, hint = JSON_NAMES.get(each.name, each.name), hints[each.name]
        if each.default is dataclasses.MISSING:
            required.append((name, hint))
        else:
            kinds = [kind for kind in get_args(hint) if kind is not NoneType]
            optional.append((name, functools.reduce(operator.or_, kinds, UnsetType), UNSET))
    text = event.__doc__ or ""
    for name, written in JSON_NAMES.items():
        text = text.replace(f"`{name}`", f"`{written}`")
    return _struct(event.__name__, [*required, *optional], text, tag_field="event", tag=event.event)


def _envelope_types() -> dict[str, type[msgspec.Struct]]:
    status = functools.reduce(operator.or_, _event_types().values())
    records = {"klines": Kline, "ticker": Ticker, "price": Price, "trades": Trade, "status": status}
    return {data_type: _envelope_type(data_type, record) for data_type, record in records.items()}


def _envelope_type(data_type: str, record: Any) -> type[msgspec.Struct]:
    types = {"data_type": Literal[data_type], "data": tuple[record, ...]}
    text = f"An envelope of {data_type}; `channel` is the market."
    return _struct(envelope_name(data_type), [(f.name, types.get(f.name, f.type)) for f in fields(Envelope)], text)


def _api_klines(envelope: type[msgspec.Struct]) -> type[msgspec.Struct]:
    more: list[Any] = [("next", int | None), ("note", str | UnsetType, UNSET)]
    text = "Klines of the store, as an envelope. `next`: where to go on with `start`, or null; `note`: what lacks."
    return _struct("ApiKlines", [*((each.name, each.type) for each in fields(envelope)), *more], text)


def _struct(name: str, members: Sequence[Any], text: str, **options: Any) -> type[msgspec.Struct]:
    return msgspec.defstruct(name, members, namespace={"__doc__": text}, **options)


def _finish(schema: Any) -> None:
    """Make numbers of decimals, as which they leave, and one line of each text; AsyncAPI's discriminator is another."""
    if isinstance(schema, list):
        for each in schema:
            _finish(each)
    elif isinstance(schema, dict):
        if schema.get("format") == "decimal":
            del schema["format"]
            schema["type"] = "number"
        schema.pop("discriminator", None)
        if isinstance(text := schema.get("description"), str):
            schema["description"] = " ".join(INTERNAL.sub("", text).split())
        for each in schema.values():
            _finish(each)
