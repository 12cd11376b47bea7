"""Payloads of Binance as records: trades, tickers, prices."""

import json
from decimal import Decimal

import pytest

from exchanges.binance.records import RECORDS
from exchanges.records import TickerReader, TradeReader

from .recorded import combined, frames


def ignore(_cause, _sample):
    """Take a report."""


def ticker(symbol="BTCUSDT", **fields):
    data = {"e": "24hrTicker", "E": 1, "s": symbol, "c": "64042.10", **fields}
    return json.dumps({"stream": f"{symbol.lower()}@ticker", "data": data}).encode()


def test_recorded_tickers_become_records_with_exact_numbers(shared_data):
    """All fields in their order behind the symbol, texts as int or Decimal; the price is the last trade's."""
    payloads = [combined(frame) for _, frame in frames(shared_data) if b"24hrTicker" in frame]
    assert len(payloads) >= 4
    for payload in payloads:
        data = json.loads(payload)["data"]
        records = TickerReader(RECORDS, ignore)([payload])
        (record,) = records["ticker"]

        assert list(record) == ["symbol", *data]
        assert record["symbol"] == record["s"] == data["s"]
        assert record["e"] == "24hrTicker"
        for name in ("c", "v", "P", "w"):
            assert record[name] == Decimal(data[name])
        assert records["price"] == [{"symbol": data["s"], "price": Decimal(data["c"])}]


def test_recorded_trades_become_records_as_they_are(shared_data):
    """Placeholders too."""
    payloads = [combined(frame) for _, frame in frames(shared_data) if b'"e":"trade"' in frame]

    assert TradeReader(RECORDS, ignore)(payloads) == {"trades": [json.loads(payload)["data"] for payload in payloads]}


def test_newest_ticker_of_a_batch_is_the_record():
    """One record a symbol."""
    records = TickerReader(RECORDS, ignore)([ticker(c="1"), ticker("ETHUSDT", c="2"), ticker(c="3")])

    assert records["price"] == [{"symbol": "BTCUSDT", "price": 3}, {"symbol": "ETHUSDT", "price": 2}]
    assert [record["c"] for record in records["ticker"]] == [3, 2]


def test_ticker_without_a_price_is_none():
    """Null, missing, or no number."""
    reader = TickerReader(RECORDS, ignore)

    assert "price" not in reader([ticker(c=None)])
    assert "price" not in reader([ticker(c="NaN")])
    assert "c" not in reader([ticker(c=None)])["ticker"][0]


@pytest.mark.parametrize("payload", [b"{", b"[]", b'{"stream":"x"}', b'{"data":[]}', b'{"data":{"c":"1"}}'])
def test_unreadable_ticker_costs_only_itself(payload):
    """It is reported; its neighbours are records."""
    causes = []
    reader = TickerReader(RECORDS, lambda cause, _sample: causes.append(cause))

    assert [record["symbol"] for record in reader([ticker("A"), payload, ticker("B")])["ticker"]] == ["A", "B"]
    assert causes == ["malformed_ticker"]


def test_unreadable_trade_costs_only_itself():
    """It is reported."""
    causes = []
    reader = TradeReader(RECORDS, lambda cause, _sample: causes.append(cause))

    assert reader([b'{"data":{"t":1}}', b'{"data":[]}', b'{"data":{"t":2}}']) == {"trades": [{"t": 1}, {"t": 2}]}
    assert reader([]) == {}
    assert causes == ["malformed_trades"]


@pytest.mark.parametrize(
    ("kind", "types", "made"),
    [
        ("ticker", {"ticker"}, TickerReader),
        ("ticker", {"price"}, TickerReader),
        ("trades", {"trades"}, TradeReader),
        ("trades", {"ticker"}, type(None)),
        ("orderbook", {"ticker", "price", "trades"}, type(None)),
    ],
)
def test_reader_is_made_where_a_kind_has_records(kind, types, made):
    """Books and liquidations have none."""
    assert isinstance(RECORDS.reader(kind, ignore, types), made)


def test_loss_makes_nothing_uncertain():
    """Tickers are whole, trades stand for themselves."""
    reader = TickerReader(RECORDS, ignore, tickers=True, prices=False)
    reader([ticker()])
    reader.mark_uncertain()

    assert list(reader([ticker()])) == ["ticker"]
    assert "unsure" not in reader([ticker()])["ticker"][0]
    assert reader.without_snapshot == 0
