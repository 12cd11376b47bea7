"""The symbols of raw payloads, for channels of a symbol each."""

import json
from typing import Any

import pytest

from app import payload_symbols
from app.payload_symbols import symbol_reader, symbols_by_channel
from exchanges.contract import Endpoints
from exchanges.registry import VENUES
from model.protocol import StreamProtocol

BYBIT = VENUES["bybit"]
NAME = "币安人生USDT"


def protocol(market: str = "linear") -> StreamProtocol:
    return BYBIT.protocol(market, Endpoints())


class Counted:
    """A protocol that counts how many payloads it parses."""

    def __init__(self) -> None:
        self.count = 0
        self._protocol = protocol()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._protocol, name)

    def read(self, payload: bytes) -> Any:
        self.count += 1
        return self._protocol.read(payload)


def trades(topic: str) -> bytes:
    return f'{{"topic":"publicTrade.{topic}","type":"snapshot","ts":1,"data":[]}}'.encode()


def test_a_symbol_is_read_once_and_then_known_by_the_key_of_its_payloads() -> None:
    """A Chinese name as it is, and as JSON may write it."""
    counted = Counted()
    read = symbol_reader(counted, "trades")
    spellings = [NAME, json.dumps(NAME).strip('"'), "BTCUSDT"]
    for _ in range(3):
        assert [read(trades(spelling)) for spelling in spellings] == [NAME, NAME, "BTCUSDT"]
    assert counted.count == 3


@pytest.mark.parametrize("topic", [rb"a.\q", b"a.\\", rb"a.\ud800", b"a.\xff\\u5e01", b"a.\\u5e01\n", b"a. ", b""])
def test_a_payload_without_a_symbol_has_none_and_spoils_no_other(topic: bytes) -> None:
    """A user's program handed it in."""
    read = symbol_reader(protocol(), "trades")
    assert read(b'{"topic":"' + topic + b'","data":[]}') == ""
    assert read(b'{"topic":"publicTrade.BTCUSDT"') == ""
    assert read(trades("BTCUSDT")) == "BTCUSDT"


def test_a_flood_of_names_does_not_fill_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are read anew."""
    monkeypatch.setattr(payload_symbols, "KEYS_MOST", 2)
    counted = Counted()
    read = symbol_reader(counted, "trades")
    assert [read(trades(name)) for name in ("A", "B", "C", "A")] == ["A", "B", "C", "A"]
    assert counted.count == 4


def test_each_channel_is_read_as_its_market_and_kind() -> None:
    """The main market's has no market in its name; another channel's payloads have no symbol."""
    made: list[str] = []

    def protocol_of(market: str) -> StreamProtocol:
        made.append(market)
        return protocol(market)

    symbol_of = symbols_by_channel("bybit", ("linear", "spot"), BYBIT.markets, protocol_of)
    assert symbol_of("stream:bybit_trades", trades("BTCUSDT")) == "BTCUSDT"
    assert symbol_of("stream:bybit_spot_trades", trades("ETHUSDT")) == "ETHUSDT"
    assert symbol_of("stream:bybit_status", trades("ETHUSDT")) == ""
    assert made == ["linear", "spot"]
