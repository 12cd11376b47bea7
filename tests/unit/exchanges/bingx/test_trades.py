"""Trade payloads to columns: recorded ones, equal neighbours, odd ones."""

import json
from decimal import Decimal

import pytest

from exchanges.bingx.trades import trade_decoder
from tests.unit.exchanges.bingx.recorded import frames


def decode(market, *payloads):
    """The batch and the causes reported."""
    causes = []
    return trade_decoder(market, lambda cause, _sample: causes.append(cause))(payloads), causes


def rows(batch):
    return list(zip(batch.symbols, batch.event_ms, batch.prices, batch.sizes, batch.seqs, strict=True))


def swap(*trades, symbol="BTC-USDT"):
    return json.dumps({"code": 0, "dataType": f"{symbol}@trade", "data": list(trades)}).encode()


def one(**fields):
    return {"q": "0.5", "p": "100", "T": 1788348255196, "m": False, "s": "BTC-USDT", **fields}


def spot(**fields):
    data = {"E": 1, "e": "trade", **one(t="233847470"), **fields}
    return json.dumps({"code": 0, "data": data, "dataType": "BTC-USDT@trade", "success": True}).encode()


def test_the_newest_trade_of_a_message_of_swaps_comes_last(shared_data):
    """The recorded message of 23: T falls in it, and rises in the batch."""
    (payload,) = frames(shared_data, "swap trades, many")
    batch, causes = decode("linear", payload)
    data = json.loads(payload)["data"]

    assert causes == []
    assert rows(batch) == [("ETH-USDT", t["T"], float(t["p"]), float(t["q"]), 0) for t in reversed(data)]
    assert batch.event_ms == sorted(batch.event_ms)
    assert (batch.prices[0], batch.prices[-1]) == (2984.42, 2983.48)


def test_equal_neighbours_all_count(shared_data):
    """15 of 22 neighbours of that message are equal in all fields: each has a text of its own, so has each repeat."""
    (payload,) = frames(shared_data, "swap trades, many")
    batch, _ = decode("linear", payload, payload)

    assert len({*batch.ids}) == len(batch.symbols) == 46
    assert "" not in batch.ids
    assert sum(batch.sizes[:23]) == pytest.approx(17.28)


def test_recorded_trades_of_spot_are_read(shared_data):
    """Of 2023 and 2026, whose keys have other orders; the number orders trades of one ms."""
    batch, causes = decode("spot", *frames(shared_data, "spot trade"))

    assert causes == []
    assert rows(batch) == [
        ("BTC-USDT", 1788336366288, 77495.49, 0.0074439581595275245, 233847470),
        ("BTC-USDT", 1690214529386, 29110.19, 0.1868, 57903921),
    ]
    assert batch.written()[0] == (Decimal("77495.49"), Decimal("0.0074439581595275245"))


def test_ids_go_on_from_batch_to_batch():
    """The decoder numbers what the exchange does not."""
    decoder = trade_decoder("linear", lambda *_: None)
    first, second = decoder([swap(one(), one())]), decoder([swap(one())])

    assert [*first.ids, *second.ids] == ["#1", "#2", "#3"]


def test_an_unreadable_trade_of_swaps_costs_itself():
    """Its neighbours are there, oldest first, and its symbol is named."""
    batch, causes = decode("linear", swap(one(T=3_000), one(p="x"), one(T=1_000)))

    assert batch.event_ms == [1_000, 3_000]
    assert batch.broken == ["BTC-USDT"]
    assert causes == ["bad_trade"]
    assert batch.written() == [(Decimal(100), Decimal("0.5"))] * 2


@pytest.mark.parametrize(
    ("market", "payload"),
    [
        ("linear", b'{"code":0,"dataType":"BTC-USDT@trade","data":null}'),
        ("linear", b'{"code":0,"dataType":"BTC-USDT@trade","data":{}}'),
        ("spot", spot(p=None)),
        ("spot", spot(T="soon")),
        ("spot", spot(t="-1")),
    ],
)
def test_a_message_that_cannot_be_read_names_its_symbol(market, payload):
    """The next one is read."""
    batch, causes = decode(market, payload, swap(one()) if market == "linear" else spot())

    assert len(batch.symbols) == 1
    assert batch.broken == ["BTC-USDT"]
    assert causes == ["malformed_trades"]
