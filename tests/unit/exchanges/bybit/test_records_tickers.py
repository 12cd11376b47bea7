"""Tickers as the seed shows them: merged, numbers as numbers, and honest about what was lost."""

import json
from decimal import Decimal

import pytest

from exchanges.bybit.records import RECORDS
from exchanges.records import MergingReader, number_of

LINEAR = {
    "symbol": "BTCUSDT",
    "tickDirection": "PlusTick",
    "price24hPcnt": "-0.010668",
    "lastPrice": "92792.10",
    "prevPrice24h": "93792.70",
    "highPrice24h": "94749.90",
    "lowPrice24h": "92762.30",
    "prevPrice1h": "94206.70",
    "markPrice": "92792.10",
    "indexPrice": "92845.88",
    "openInterest": "51295.867",
    "openInterestValue": "4759851220.25",
    "turnover24h": "6112179211.7902",
    "volume24h": "65148.1150",
    "fundingIntervalHour": "8",
    "fundingCap": "0.005",
    "nextFundingTime": "1767744000000",
    "fundingRate": "-0.00006019",
    "bid1Price": "92792.00",
    "bid1Size": "5.203",
    "ask1Price": "92792.10",
    "ask1Size": "1.528",
    "preOpenPrice": "",
    "preQty": "",
    "curPreListingPhase": "",
}
SEED_LINEAR = {  # seed 001, "Ticker Data"
    "symbol": "BTCUSDT",
    "tickDirection": "PlusTick",
    "price24hPcnt": -0.010668,
    "lastPrice": 92792.1,
    "prevPrice24h": 93792.7,
    "highPrice24h": 94749.9,
    "lowPrice24h": 92762.3,
    "prevPrice1h": 94206.7,
    "markPrice": 92792.1,
    "indexPrice": 92845.88,
    "openInterest": 51295.867,
    "openInterestValue": 4759851220.25,
    "turnover24h": 6112179211.7902,
    "volume24h": 65148.115,
    "fundingIntervalHour": 8.0,
    "fundingCap": 0.005,
    "nextFundingTime": 1767744000000,
    "fundingRate": -0.00006019,
    "bid1Price": 92792.0,
    "bid1Size": 5.203,
    "ask1Price": 92792.1,
    "ask1Size": 1.528,
    "preOpenPrice": "",
    "preQty": "",
    "curPreListingPhase": "",
}
SPOT = {
    "symbol": "BTCUSDT",
    "lastPrice": "92846.1",
    "highPrice24h": "94774",
    "lowPrice24h": "92815.5",
    "prevPrice24h": "93839.6",
    "volume24h": "10425.837779",
    "turnover24h": "978626382.2024397",
    "price24hPcnt": "-0.0106",
    "usdIndexPrice": "92802.53128",
}


def message(kind, **data):
    symbol = data.setdefault("symbol", "BTCUSDT")
    return json.dumps({"topic": f"tickers.{symbol}", "type": kind, "data": data, "cs": 1, "ts": 2}).encode()


@pytest.fixture
def faults():
    return []


@pytest.fixture
def reader(faults):
    return MergingReader(RECORDS, lambda cause, sample: faults.append((cause, sample)))


def test_a_linear_ticker_has_the_fields_and_types_of_the_seed(reader):
    """Every field in its order, numbers as numbers, empty texts kept."""
    (ticker,) = reader([message("snapshot", **LINEAR)])["ticker"]

    assert ticker == {name: Decimal(str(v)) if isinstance(v, float) else v for name, v in SEED_LINEAR.items()}
    assert list(ticker) == list(SEED_LINEAR)


def test_a_spot_ticker_has_its_own_fields(reader):
    """Nine of them, as the exchange sends them: no bid, no ask."""
    (ticker,) = reader([message("snapshot", **SPOT)])["ticker"]

    assert ticker == {name: number_of(value) for name, value in SPOT.items()}
    assert list(ticker) == list(SPOT)


def test_a_dated_future_keeps_its_date_and_its_empty_numbers(reader, shared_data):
    """Recorded inverse tickers: a delivery time is a text, an empty funding rate stays empty, deltas are merged."""
    lines = (shared_data / "ws" / "bybit_derivatives_v5.jsonl").read_bytes().splitlines()
    tickers = {t["symbol"]: t for t in reader([line for line in lines if b'"tickers.' in line])["ticker"]}

    future = tickers["BTCUSDU23"]
    assert (future["deliveryTime"], future["fundingRate"]) == ("2023-09-29T08:00:00Z", "")
    assert future["basisRate"] == Decimal("0.01603111")
    assert (tickers["BTCUSD"]["openInterest"], tickers["BTCUSD"]["ask1Price"]) == (449736674, Decimal("28560.50"))
    assert tickers["BTCUSD"]["lastPrice"] == Decimal("28560.00")


def test_deltas_change_only_what_they_name_and_records_are_not_shared(reader):
    """A record handed out stays what it was when the next delta comes."""
    first = reader([message("snapshot", **LINEAR)])["ticker"][0]
    second = reader([message("delta", bid1Size="7.5", preQty="3")])["ticker"][0]

    assert second == first | {"bid1Size": Decimal("7.5"), "preQty": 3}
    assert first["bid1Size"] == Decimal("5.203")


def test_a_batch_gives_the_newest_of_each_symbol(reader):
    """A ticker is a state: what was overtaken within a batch is no record."""
    batch = [message("snapshot", symbol=s, lastPrice=p) for s, p in (("A", "1"), ("B", "2"))]
    batch += [message("delta", symbol="A", lastPrice="3")]

    assert reader(batch) == {
        "ticker": [{"symbol": "A", "lastPrice": 3}, {"symbol": "B", "lastPrice": 2}],
        "price": [{"symbol": "A", "price": 3}, {"symbol": "B", "price": 2}],
    }


def test_a_snapshot_replaces_everything(reader):
    """What the new snapshot does not name is gone."""
    reader([message("snapshot", lastPrice="1", basis="2")])

    assert reader([message("snapshot", lastPrice="3")])["ticker"] == [{"symbol": "BTCUSDT", "lastPrice": 3}]


def test_a_price_is_a_record_whenever_the_exchange_sends_it(reader):
    """A delta about other fields is no price; an empty one neither."""
    assert "price" in reader([message("snapshot", lastPrice="1")])
    assert "price" not in reader([message("delta", bid1Size="1")])
    assert "price" not in reader([message("delta", lastPrice="")])
    assert reader([message("delta", lastPrice="1")])["price"] == [{"symbol": "BTCUSDT", "price": 1}]


def test_a_delta_without_a_snapshot_makes_no_ticker(reader):
    """It has nothing to be merged with; its price is whole all the same."""
    assert reader([message("delta", lastPrice="5")]) == {"price": [{"symbol": "BTCUSDT", "price": 5}]}
    assert reader.without_snapshot == 1


def test_what_a_loss_may_have_made_wrong_is_named_until_confirmed(reader):
    """A lost delta never leaves a wrong value unmarked; each field clears when a message confirms it."""
    reader([message("snapshot", lastPrice="1", openInterest="2", fundingRate="3")])
    reader.mark_uncertain()

    (ticker,) = reader([message("delta", lastPrice="4")])["ticker"]
    assert ticker["unsure"] == ["openInterest", "fundingRate"]
    (ticker,) = reader([message("delta", openInterest="2", fundingRate="3")])["ticker"]
    assert "unsure" not in ticker


def test_a_snapshot_makes_every_field_certain(reader):
    """After a reconnect the exchange begins with one."""
    reader([message("snapshot", lastPrice="1", basis="2")])
    reader.mark_uncertain(["BTCUSDT", "NEVERSEEN"])

    assert reader([message("snapshot", lastPrice="1")])["ticker"] == [{"symbol": "BTCUSDT", "lastPrice": 1}]


def test_only_the_named_symbols_become_uncertain(reader):
    """A connection carries some symbols of a market, not all."""
    reader([message("snapshot", symbol=symbol, lastPrice="1", basis="2") for symbol in "AB"])
    reader.mark_uncertain(["A"])
    tickers = reader([message("delta", symbol=symbol, lastPrice="3") for symbol in "AB"])["ticker"]

    assert [ticker.get("unsure") for ticker in tickers] == [["basis"], None]


def test_what_cannot_be_read_costs_only_itself(reader, faults):
    """A cut message, one of another shape, one that is two."""
    bad = [b'{"topic":"tickers.', b'{"topic":"tickers.X","data":[]}', b"{},{}", b"\xff"]
    records = reader([bad[0], message("snapshot", lastPrice="1"), *bad[1:]])

    assert records["price"] == [{"symbol": "BTCUSDT", "price": 1}]
    assert faults == [("malformed_ticker", payload) for payload in bad]


def test_one_payload_that_reads_as_two_is_none(reader, faults):
    """Joined with others it would be valid; alone it is no message."""
    two = message("snapshot", lastPrice="7") + b"," + message("snapshot", lastPrice="8")

    assert reader([two, message("snapshot", lastPrice="1")])["price"] == [{"symbol": "BTCUSDT", "price": 1}]
    assert faults == [("malformed_ticker", two)]


def test_only_the_enabled_types_are_made(faults):
    """Tickers and prices are switched one by one."""
    assert MergingReader(RECORDS, faults.append, prices=False)([message("snapshot", **SPOT)]).keys() == {"ticker"}
    assert MergingReader(RECORDS, faults.append, tickers=False)([message("snapshot", **SPOT)]).keys() == {"price"}


@pytest.mark.parametrize(
    ("text", "number"),
    [("8", 8), ("0.10", Decimal("0.10")), ("-3", Decimal(-3)), ("1e-8", Decimal("1e-8")), ("", ""), (4, 4)]
    + [(text, text) for text in ("NaN", "-Infinity", "Trading", "1.2.3", "9" * 5_000)],
)
def test_a_number_is_exact_and_what_is_none_stays_a_text(text, number):
    """JSON has no NaN, and a word is no number."""
    assert number_of(text) == number
    assert type(number_of(text)) is type(number)


def test_null_changes_nothing():
    """In a delta the field stays what it was, in a snapshot it is not there: one field costs itself."""
    reader = MergingReader(RECORDS, lambda *_: None)
    reader([message("snapshot", lastPrice="1", markPrice=None, bid1Price="2")])
    (ticker,) = reader([message("delta", lastPrice=None, bid1Price="3")])["ticker"]

    assert ticker == {"symbol": "BTCUSDT", "lastPrice": 1, "bid1Price": 3}
