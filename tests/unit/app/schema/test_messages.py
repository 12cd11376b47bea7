"""The schemas of messages, held against what the code itself makes."""

import dataclasses
import json
from decimal import Decimal
from typing import Any

import pytest

from app.schema.messages import event_names, schemas
from consumers.service import OutputOptions, OutputService
from consumers.web.native import AUTHENTICATED, OPS, PONG, SHUTDOWN
from exchanges.registry import VENUES
from model import events
from model.envelope import Envelope
from model.events import StatusEvent
from tests.support.klines import kline, price
from tests.support.schema import checked, validator

EVENTS = [each for each in vars(events).values() if isinstance(each, type) and "event" in vars(each)]
VALUES = {"tuple": ("BTCUSDT",), "bool": True, "float": 1.5, "int": 7, "str": "text"}  # by what a type's name has
TRADE = {"T": 1672304486865, "s": "BTCUSDT", "S": "Buy", "v": "0.001", "p": "16578.50", "i": "20f43950", "BT": False}
TICKER = {"symbol": "BTCUSDT", "lastPrice": Decimal("16597.00"), "bid1Size": 1, "curPreListingPhase": ""}
ANSWERS = ('{"op":"ping","success":true}', '{"op":"x","success":false,"error":"no","req_id":7}')
GAP = {"event": "gap", "ts": 1795175401120, "from": 7}


def envelope(data_type: str, *data: Any, exchange: str = "bybit") -> bytes:
    return Envelope(exchange, "linear", data_type, data).json


def published(event: StatusEvent) -> bytes:
    """What the status channel carries of an event."""
    service = OutputService(OutputOptions("bybit", ("linear",)))
    service.emit(event)
    assert service.manager.redis
    ((_, payloads, _),) = service.manager.redis.raw.take(10)
    return payloads[0]


@pytest.mark.parametrize("is_whole", [False, True])
@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
def test_each_status_event_matches_its_schema(kind, is_whole):
    """With what it must have, and with all it may have, as the status channel carries it."""
    fields = [each for each in dataclasses.fields(kind) if is_whole or each.default is dataclasses.MISSING]
    values = {each.name: next(value for name, value in VALUES.items() if name in str(each.type)) for each in fields}
    payload = published(kind(**values))

    message = checked(payload)

    schema = schemas()[kind.__name__]
    expected = schema["properties"] if is_whole else ["exchange", *schema["required"]]
    assert message.keys() == set(expected)


def test_every_status_event_has_a_schema():
    """A new one too: they are found, not listed."""
    assert event_names() == [kind.__name__ for kind in EVENTS]
    assert len(EVENTS) >= 10


@pytest.mark.parametrize(
    "payload",
    [
        envelope("klines", kline(), kline(open=Decimal("1E+3"), volume=Decimal(0), complete=False)),
        price().json,
        envelope("ticker", TICKER, {**TICKER, "unsure": ["lastPrice"]}),
        envelope("trades", TRADE),
        envelope("status", GAP),
        AUTHENTICATED,
        SHUTDOWN,
        PONG,
        *ANSWERS,
    ],
)
def test_what_is_sent_matches_its_schema(payload):
    """Envelopes of each type, with exact decimals as numbers, and what the WebSocket protocol answers."""
    checked(payload)


@pytest.mark.parametrize(
    "payload",
    [
        envelope("klines", {"symbol": "BTCUSDT"}),
        envelope("klines", kline()).replace(b":92967.8", b':"92967.8"'),
        envelope("klines", kline()).replace(b'"trades"', b'"guess"'),
        envelope("klines", kline()).replace(b"true", b"null"),
        envelope("klines", kline()).replace(b'"revision"', b'"version"'),
        envelope("klines", kline()).replace(b'"channel"', b'"market"'),
        envelope("price", {"symbol": "BTCUSDT", "price": "1"}),
        envelope("ticker", {"lastPrice": 1}),
        envelope("ticker", {"symbol": "BTCUSDT", "lastPrice": None}),
        envelope("trades", {"s": "BTCUSDT"}),
        envelope("trades", TRADE, exchange="okx"),
        envelope("status", {**GAP, "event": "hole"}),
        envelope("candles"),
        *(json.dumps({"exchange": "bybit", **GAP, **wrong}) for wrong in ({"ts": "7"}, {"to": 7}, {"event": "hole"})),
        json.dumps(GAP),
        '{"status":"welcome"}',
        '{"op":"ping","success":"yes"}',
    ],
)
def test_what_no_schema_allows_is_found(payload):
    """A field that is missing, too much, or of another type; trades as another exchange has them."""
    with pytest.raises(AssertionError):
        checked(payload)


@pytest.mark.parametrize("op", OPS)
def test_each_request_matches_the_schema_of_requests(op):
    """And no other op does."""
    validator("Request")({"op": op, "args": ["kline.1m.*"], "req_id": "a"})
    with pytest.raises(Exception, match="op"):
        validator("Request")({"op": f"{op}s"})


@pytest.mark.parametrize("venue", VENUES.values(), ids=list(VENUES))
def test_the_trades_of_each_exchange_are_described_in_its_own_names(venue):
    """Those that its trades have."""
    trade = schemas(venue.record_names["trades"])["Trade"]
    assert len(trade["required"]) == 3
    assert all(f"`{name}`" in trade["description"] for name in set(trade["required"]) - {"symbol", "price", "size"})


def test_no_text_of_a_schema_names_what_a_message_has_not():
    """Python's names of fields that are called otherwise in messages."""
    text = json.dumps(schemas())
    assert "from_ms" not in text
    assert "until_ms" not in text
    assert "KlineRules" not in text
    assert '"format": "decimal"' not in text
