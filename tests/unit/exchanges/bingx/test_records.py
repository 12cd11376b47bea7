"""Tickers, prices and trades of BingX as records of envelopes."""

import json
from decimal import Decimal

from exchanges.bingx.records import RECORDS
from tests.unit.exchanges.bingx.recorded import frames


def records(shared_data, market, kind, types, what):
    causes = []
    reader = RECORDS[market].reader(kind, lambda cause, _sample: causes.append(cause), types)
    assert reader is not None
    found = reader(frames(shared_data, what))
    assert causes == []
    return found


def test_a_ticker_is_of_the_symbol_of_its_topic(shared_data):
    """The recorded one of spot names another inside; numbers of JSON keep their digits."""
    found = records(shared_data, "spot", "ticker", ("ticker", "price"), "spot ticker")

    assert found["price"] == [{"symbol": "BTC-USDT", "price": Decimal("2642.27")}]
    (ticker,) = found["ticker"]
    assert (ticker["symbol"], ticker["s"], ticker["P"]) == ("BTC-USDT", "ETH-USDT", "-0.09%")
    assert str(ticker["q"]) == "36747069.40"


def test_a_ticker_of_swaps_is_read(shared_data):
    """All of its numbers are texts."""
    (ticker,) = records(shared_data, "linear", "ticker", ("ticker",), "swap ticker")["ticker"]

    assert (ticker["symbol"], ticker["c"], ticker["v"]) == ("ETH-USDT", Decimal("2986.23"), Decimal("608870.36"))


def test_trades_of_swaps_are_records_oldest_first(shared_data):
    """As the exchange writes them, equal ones too."""
    (payload,) = frames(shared_data, "swap trades, many")
    found = records(shared_data, "linear", "trades", ("trades",), "swap trades, many")["trades"]

    assert found == [{"symbol": "ETH-USDT", **trade} for trade in reversed(json.loads(payload)["data"])]


def test_a_trade_of_spot_is_a_record_with_its_number(shared_data):
    """One a message."""
    found = records(shared_data, "spot", "trades", ("trades",), "spot trade")["trades"]

    assert [(trade["symbol"], trade["t"]) for trade in found] == [("BTC-USDT", "233847470"), ("BTC-USDT", "57903921")]


def test_books_make_no_records():
    """They go out as they are."""
    assert RECORDS["linear"].reader("orderbook", lambda *_: None, ("ticker", "price", "trades")) is None
