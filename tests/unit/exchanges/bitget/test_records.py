"""Tickers, prices and trades of Bitget as records of envelopes."""

import json
from decimal import Decimal

from exchanges.bitget.records import RECORDS
from tests.unit.exchanges.bitget.recorded import of_channel


def reader(kind, *types):
    causes = []
    return RECORDS.reader(kind, lambda cause, _sample: causes.append(cause), types), causes


def test_recorded_tickers_are_all_read(shared_data):
    """Of spot and contracts, in the exchange's fields behind the symbol; numbers keep their digits."""
    payloads = of_channel(shared_data, "ticker")
    read, causes = reader("ticker", "ticker", "price")
    for payload in payloads:
        (row,), found = json.loads(payload)["data"], read([payload])
        (ticker,), (price,) = found["ticker"], found["price"]
        assert list(ticker) == list(dict.fromkeys(["symbol", *row]))
        assert ticker["symbol"] == ticker["instId"] == row["instId"]
        assert str(ticker["baseVolume"]) == row["baseVolume"]
        assert price == {"symbol": row["instId"], "price": Decimal(row["lastPr"])}

    assert len(payloads) > 3
    assert causes == []


def test_recorded_trades_become_records_oldest_first(shared_data):
    """With the symbol, which their arg has; all else as Bitget writes it."""
    payloads = of_channel(shared_data, "trade")
    read, causes = reader("trades", "trades")
    expected = [
        {"symbol": body["arg"]["instId"], **row} for body in map(json.loads, payloads) for row in reversed(body["data"])
    ]

    assert read(payloads)["trades"] == expected
    assert causes == []
