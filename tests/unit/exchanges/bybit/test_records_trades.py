"""Trades for outputs: as the exchange wrote them."""

import json

import pytest

from exchanges.bybit.records import RECORDS
from exchanges.records import TradeReader

SEED = {  # seed 001, "Trades Data"
    "T": 1767716999877,
    "s": "BTCUSDT",
    "S": "Sell",
    "v": "0.100",
    "p": "92792.00",
    "L": "MinusTick",
    "i": "ffe924d3-eee1-5b19-af47-248825c37611",
    "BT": False,
    "RPI": False,
    "seq": 508178141815,
}


def payload(*trades):
    return json.dumps({"topic": "publicTrade.BTCUSDT", "type": "snapshot", "ts": 1, "data": trades}).encode()


def test_trades_keep_every_field_in_order():
    """Texts stay texts: 0.100 is not 0.1 to everyone. All trades of a batch are one list."""
    first, second = SEED, SEED | {"i": "2", "v": "7"}
    records = TradeReader(RECORDS, lambda *_: None)([payload(first), payload(second, first)])

    assert records == {"trades": [first, second, first]}
    assert list(records["trades"][0]) == list(SEED)


def test_what_cannot_be_read_is_reported_and_the_rest_goes_on():
    """A message without trades makes no envelope."""
    faults = []
    reader = TradeReader(RECORDS, lambda cause, sample: faults.append((cause, sample)))

    assert reader([b"{", payload(SEED)]) == {"trades": [SEED]}
    assert reader([payload()]) == {}
    assert faults == [("malformed_trades", b"{")]


@pytest.mark.parametrize("odd", [None, 7, "x", []])
def test_a_row_that_is_no_trade_costs_itself(odd):
    """Not the message, and not the batch."""
    faults = []
    reader = TradeReader(RECORDS, lambda cause, _sample: faults.append(cause))

    assert reader([payload(SEED, odd), payload(SEED)]) == {"trades": [SEED, SEED]}
    assert faults == ["bad_trade"]
