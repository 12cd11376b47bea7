"""Tickers, prices and trades of OKX as records of envelopes."""

import json
from decimal import Decimal

import pytest

from exchanges.okx.records import RECORDS
from exchanges.records import TickerReader, TradeReader
from tests.unit.exchanges.okx.recorded import of_channel


def ticker(symbol="BTC-USDT", **fields):
    row = {"instType": "SPOT", "instId": symbol, "last": "63707.30", "askPx": "", "ts": "1786613174873", **fields}
    return json.dumps({"arg": {"channel": "tickers", "instId": symbol}, "data": [row]}).encode()


def ignore(_cause, _sample):
    """Take a report."""


def test_a_ticker_has_the_fields_of_the_exchange_behind_its_symbol():
    """In its order; numbers keep their digits, what is empty stays so, null is not there."""
    (record,) = TickerReader(RECORDS, ignore)([ticker(vol24h="3601.1585121", sodUtc0=None)])["ticker"]

    assert list(record) == ["symbol", "instType", "instId", "last", "askPx", "ts", "vol24h"]
    assert record == {
        "symbol": "BTC-USDT",
        "instType": "SPOT",
        "instId": "BTC-USDT",
        "last": Decimal("63707.30"),
        "askPx": "",
        "ts": 1786613174873,
        "vol24h": Decimal("3601.1585121"),
    }


def test_prices_are_of_the_last_trade_and_the_newest_of_a_symbol():
    """One record for a symbol and batch; nothing traded yet is no price."""
    reader = TickerReader(RECORDS, ignore, tickers=False)

    assert reader([ticker(), ticker("ETH-USDT", last=""), ticker(last="7")]) == {
        "price": [{"symbol": "BTC-USDT", "price": 7}]
    }


def test_recorded_tickers_are_all_read(shared_data):
    """Of spot, swaps and futures."""
    causes = []
    payloads = of_channel(shared_data, "tickers")
    reader = TickerReader(RECORDS, lambda cause, _sample: causes.append(cause))
    symbols = {reader([payload])["price"][0]["symbol"] for payload in payloads}

    assert symbols == {json.loads(payload)["arg"]["instId"] for payload in payloads}
    assert causes == []


@pytest.mark.parametrize("payload", [b"", b"{", b'{"data":{}}', b'{"data":[7]}', b'{"data":[{"last":"1"}]}'])
def test_a_ticker_that_cannot_be_read_costs_itself(payload):
    """It is reported; the one behind it is read."""
    causes = []
    records = TickerReader(RECORDS, lambda cause, _sample: causes.append(cause))([payload, ticker()])

    assert len(records["ticker"]) == 1
    assert len(causes) == 1


@pytest.mark.parametrize(
    ("kind", "types", "made"),
    [
        ("ticker", {"price"}, TickerReader),
        ("ticker", {"trades"}, None),
        ("trades", {"trades"}, TradeReader),
        ("trades", {"ticker", "price"}, None),
        ("orderbook", {"ticker", "price", "trades"}, None),
    ],
)
def test_a_kind_has_a_reader_where_its_envelopes_are_wanted(kind, types, made):
    """Other kinds have no reader and cost nothing."""
    reader = RECORDS.reader(kind, ignore, types)

    assert reader is made is None or type(reader) is made


def test_trades_are_records_as_the_exchange_names_their_fields(shared_data):
    """Texts as they came, behind the symbol by the name that envelopes have for it."""
    payloads = of_channel(shared_data, "trades")
    reader = RECORDS.reader("trades", ignore, {"trades"})

    assert reader is not None
    trades = [trade for payload in payloads for trade in json.loads(payload)["data"]]
    assert reader(payloads)["trades"] == [{"symbol": trade["instId"], **trade} for trade in trades]
