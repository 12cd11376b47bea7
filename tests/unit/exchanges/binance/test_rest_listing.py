"""The symbols that Binance lists: which can be streamed, their coins, contracts and turnovers."""

import json
from decimal import Decimal

import pytest

from model.records import Instrument

from .rest_stub import Exchange, instrument


def ticker(symbol, **fields):
    return {"symbol": symbol, "lastPrice": "2", "volume": "10", "quoteVolume": "20", **fields}


def listed(market, symbols, tickers=(), **options):
    exchange = Exchange(market)
    exchange.stub.symbols, exchange.stub.tickers = list(symbols), list(tickers)
    return {each.symbol: each for each in exchange.rest.listed(**options)}


@pytest.mark.parametrize(
    ("market", "name", "count"), [("spot", "spot", 8), ("linear", "usdm", 8), ("inverse", "coinm", 21)]
)
def test_recorded_listing_is_read(shared_data, market, name, count):
    """Of 2021: those that trade, with base, quote and dates; COIN-M with the sizes of its contracts."""
    body = json.loads((shared_data / "binance" / "rest" / f"{name}_exchangeInfo_2021.json").read_text())
    found = listed(market, body["symbols"])

    assert len(found) == count
    for row in body["symbols"]:
        each = found.get(row["symbol"])
        assert (each is not None) == (row.get("contractStatus", row.get("status")) == "TRADING")
        if each:
            assert (each.base, each.quote) == (row["baseAsset"], row["quoteAsset"])
            assert each.is_dated == row.get("contractType", "").endswith("QUARTER")
            assert each.contract_size == Decimal(row.get("contractSize", 1))


def test_symbol_before_its_listing_is_there_where_asked():
    """PENDING_TRADING has no type of contract yet."""
    rows = [instrument("NEWUSDT", "NEW", "USDT", status="PENDING_TRADING", contractType="")]

    assert listed("linear", rows) == {}
    assert listed("linear", rows, pre_market=True)["NEWUSDT"] == Instrument("NEWUSDT", "NEW", "USDT", 0.0)


@pytest.mark.parametrize("status", ["BREAK", "HALT", "SETTLING", "PRE_DELIVERING", "CLOSE", ""])
def test_symbol_that_does_not_trade_is_left_out(status):
    """Its stream would be silent without an error."""
    assert listed("linear", [instrument("AUSDT", "A", "USDT", status=status)]) == {}


def test_gold_and_stocks_are_perpetual():
    """TRADIFI_PERPETUAL."""
    rows = [instrument("XAUUSDT", "XAU", "USDT", contractType="TRADIFI_PERPETUAL")]

    assert not listed("linear", rows)["XAUUSDT"].is_dated


def test_turnovers_are_comparable_within_a_market():
    """In dollars by the exchange's own prices, whichever side of the pair the dollar is on; unknown ones are last."""
    rows = [
        instrument("BTCUSDT", "BTC", "USDT"),
        instrument("ETHBTC", "ETH", "BTC"),
        instrument("USDTTRY", "USDT", "TRY"),
        instrument("BTCTRY", "BTC", "TRY"),
        instrument("AXYZ", "A", "XYZ"),
        instrument("NONE", "N", "USDT"),
    ]
    tickers = [
        ticker("BTCUSDT", lastPrice="50000", quoteVolume="1000"),
        ticker("ETHBTC", lastPrice="0.05", quoteVolume="3"),
        ticker("USDTTRY", lastPrice="40", quoteVolume="400"),
        ticker("BTCTRY", lastPrice="2000000", quoteVolume="80"),
        ticker("AXYZ"),
        ticker("OTHER"),
        {"no": "symbol"},
    ]
    found = listed("spot", rows, tickers)

    assert {symbol: each.turnover for symbol, each in found.items()} == {
        "BTCUSDT": 1000.0,
        "ETHBTC": 150_000.0,
        "USDTTRY": 10.0,
        "BTCTRY": 2.0,
        "AXYZ": 0.0,
        "NONE": 0.0,
    }


def test_turnover_of_coin_m_is_contracts_times_their_size():
    """In dollars: 100 of BTC, 10 of the others."""
    rows = [instrument(f"{coin}USD_PERP", coin, "USD", contractSize=size) for coin, size in (("BTC", 100), ("ETH", 10))]
    found = listed("inverse", rows, [ticker("BTCUSD_PERP"), ticker("ETHUSD_PERP", volume="NaN")])

    assert [each.turnover for each in found.values()] == [1000.0, 0.0]


@pytest.mark.parametrize("size", [None, 0, -1, "x"])
def test_coin_m_contract_without_a_size_is_listed_without_one(size):
    """No candles can be made of it; a size that is none makes the row senseless."""
    found = listed("inverse", [instrument("BTCUSD_PERP", "BTC", "USD", contractSize=size)])

    assert found == {} if size == "x" else found["BTCUSD_PERP"].contract_size is None


def test_row_that_makes_no_sense_costs_itself():
    """So does a name that no stream can carry."""
    rows = [None, {}, instrument("A/B", "A", "B"), instrument("AUSDT", "A", "USDT"), {"symbol": 7}]

    assert list(listed("linear", rows)) == ["AUSDT"]


def test_names_may_be_chinese():
    """币安人生USDT is traded."""
    assert "币安人生USDT" in listed("linear", [instrument("币安人生USDT", "币安人生", "USDT")])


def test_spot_asks_for_little():
    """Its whole listing has 20 MB."""
    exchange = Exchange("spot")
    exchange.rest.listed()

    assert exchange.stub.asked == [
        ("/api/v3/exchangeInfo", {"symbolStatus": "TRADING", "showPermissionSets": "false"}),
        ("/api/v3/ticker/24hr", {"type": "MINI"}),
    ]
