"""Tickers, prices and trades of KuCoin as records of envelopes."""

from decimal import Decimal

import pytest

from exchanges.kucoin.records import RECORDS
from exchanges.kucoin.venue import VENUE
from tests.unit.exchanges.kucoin.recorded import of_channel

SNAPSHOT = (
    b'{"topic":"/market/snapshot:BTC-USDT","type":"message","subject":"trade.snapshot","data":{"sequence":"35915949287",'
    b'"data":{"askSize":0.4901566,"bidSize":0.18858834,"buy":77320.7,"changeRate":-0.0015,"datetime":1787423030030,'
    b'"high":78816.10000000000000000000,"lastTradedPrice":77320.7,"low":76486.5,"marketChange24h":{"vol":4235.4},'
    b'"open":77443.7,"quoteCurrency":"USDT","sell":77320.8,"symbol":"BTC-USDT","trading":true,"vol":4235.4,'
    b'"volValue":328310222.5}}}'
)


def reader_of(market, kind, types):
    reader = VENUE.reader(market, kind, lambda *report: pytest.fail(str(report)), types)
    assert reader
    return reader


def test_a_ticker_of_spot_has_the_names_of_futures_before_its_own():
    """So that one table of names is of both; the fields are those of the inner object, with their digits."""
    found = reader_of("spot", "ticker", {"ticker", "price"})([SNAPSHOT])
    (ticker,) = found["ticker"]

    assert found["price"] == [{"symbol": "BTC-USDT", "price": Decimal("77320.7")}]
    assert ticker["lastPrice"] == ticker["lastTradedPrice"] == Decimal("77320.7")
    assert ticker["highPrice"] == Decimal("78816.1")
    assert (ticker["buy"], ticker["datetime"], ticker["quoteCurrency"]) == (Decimal("77320.7"), 1787423030030, "USDT")
    assert {name: ticker[own] for name, own in VENUE.record_names["ticker"].items()} == {
        "highPrice24h": Decimal("78816.1"), "lowPrice24h": Decimal("76486.5"), "prevPrice24h": Decimal("77443.7"),
        "price24hPcnt": Decimal("-0.0015"), "volume24h": Decimal("4235.4"), "turnover24h": Decimal("328310222.5"),
        "bid1Price": Decimal("77320.7"), "bid1Size": Decimal("0.18858834"), "ask1Price": Decimal("77320.8"),
        "ask1Size": Decimal("0.4901566"),
    }  # fmt: skip


def test_the_recorded_ticker_of_futures_is_a_record(shared_data):
    """Whole, as the exchange names its fields."""
    found = reader_of("linear", "ticker", {"ticker", "price"})(of_channel(shared_data, "/contractMarket/snapshot"))

    assert found["price"] == [{"symbol": "XBTUSDTM", "price": Decimal("84556.7")}]
    assert found["ticker"][0]["turnover"] == Decimal("337376435.2988")


@pytest.mark.parametrize("data", [b"{}", b'{"data":null}', b'{"data":[]}', b'{"data":{"symbol":7}}', b"[]"])
def test_a_ticker_without_a_ticker_costs_itself(data):
    """It is reported."""
    causes = []
    reader = RECORDS["spot"].reader("ticker", lambda cause, _sample: causes.append(cause), {"ticker", "price"})
    assert reader
    assert reader([b'{"data":%s}' % data, SNAPSHOT])["price"] == [{"symbol": "BTC-USDT", "price": Decimal("77320.7")}]
    assert causes == ["malformed_ticker"]


@pytest.mark.parametrize(
    ("market", "channel", "ms"),
    [("spot", "/market/match", 1660608000026), ("linear", "/contractMarket/execution", 1705708799998)],
)
def test_a_trade_has_its_time_in_ms_before_its_own_fields(shared_data, market, channel, ms):
    """Which have nanoseconds."""
    trades = reader_of(market, "trades", {"trades"})(of_channel(shared_data, channel))["trades"]

    assert ms in [trade["timestamp"] for trade in trades]
    assert all(trade["symbol"] and next(iter(trade)) == "timestamp" for trade in trades)


def test_a_time_that_is_none_is_left_out():
    """The trade stays."""
    reader = reader_of("spot", "trades", {"trades"})
    assert reader([b'{"data":{"symbol":"A-B","time":"soon"}}', b'{"data":{"symbol":"A-B","time":[1]}}'])["trades"] == [
        {"symbol": "A-B", "time": "soon"},
        {"symbol": "A-B", "time": [1]},
    ]
