"""Trades of Binance's REST: the newest, and those with certain ids."""

import itertools
import random

import pytest

from exchanges.contract import TradeRules
from model.records import PastTrade

from .rest_stub import NOW_MS, Exchange, aggregate, trade


def spans(trades):
    """First and last id of each, and whether it counts."""
    return [(each.trade_id - each.matches + 1, each.trade_id, each.is_counted) for each in trades]


def test_newest_trades_are_oldest_first():
    """As they come."""
    exchange = Exchange("spot")
    exchange.stub.trades = [trade(number) for number in range(1, 1_501)]
    found = exchange.rest.recent_trades("BTCUSDT")

    assert [each.trade_id for each in found] == list(range(501, 1_501))
    assert found[0] == PastTrade(501, NOW_MS - 1_000_000 + 501, 1.5, 2.0, 501)


def test_ids_that_futures_leave_out_are_there_and_do_not_count():
    """Trades of insurance and placeholders take ids; a hole would never be proven closed."""
    exchange = Exchange("linear")
    exchange.stub.trades = [trade(1), trade(2), trade(5)]

    assert spans(exchange.rest.recent_trades("BTCUSDT")) == [(1, 1, True), (2, 2, True), (3, 4, False), (5, 5, True)]


def test_ids_that_spot_leaves_out_are_a_hole():
    """It has no placeholders."""
    exchange = Exchange("spot")
    exchange.stub.trades = [trade(1), trade(3)]

    assert spans(exchange.rest.recent_trades("BTCUSDT")) == [(1, 1, True), (3, 3, True)]


@pytest.mark.parametrize(("counts", "expected"), [(True, True), (False, False)])
def test_retail_price_improvement_counts_by_the_rule(counts, expected):
    """The rows say which are."""
    exchange = Exchange("linear", TradeRules(count_rpi_trades=counts))
    exchange.stub.trades = [trade(1, isRPITrade=True), trade(2, isRPITrade=False)]

    assert spans(exchange.rest.recent_trades("BTCUSDT")) == [(1, 1, expected), (2, 2, True)]


@pytest.mark.parametrize(
    "row", [None, {}, trade(2, price="0"), trade(2, qty="NaN"), trade(2, time=5), trade(2, id="x", time=1)]
)
def test_unreadable_row_is_an_unreadable_trade(row):
    """At its neighbours' times; what it stands for is not known, so no ids are filled in."""
    exchange = Exchange("linear")
    exchange.stub.trades = [trade(1), row, trade(4)]
    found = exchange.rest.recent_trades("BTCUSDT")

    assert [each.trade_id for each in found] == [1, "", "", 4]


def test_spot_trades_are_read_by_id():
    """A thousand at a time, both ends included."""
    exchange = Exchange("spot")
    exchange.stub.trades = [trade(number) for number in range(1, 5_001)]

    assert [each.trade_id for each in exchange.rest.trades_by_id("X", 7, 2_500)] == list(range(7, 2_501))
    assert exchange.pages == ["historicalTrades"] * 3
    assert [query["limit"] for _, query in exchange.stub.asked] == ["1000", "1000", "494"]


def test_ids_that_are_not_there_end_the_reading():
    """Not yet, or not any more."""
    exchange = Exchange("spot")
    exchange.stub.trades = [trade(number) for number in range(1, 11)]

    assert [each.trade_id for each in exchange.rest.trades_by_id("X", 9, 2_500)] == [9, 10]
    assert exchange.rest.trades_by_id("X", 90, 95) == []


@pytest.mark.parametrize("market", ["linear", "inverse"])
def test_newest_ids_of_futures_are_single_trades(market):
    """One request; placeholders between them are there and do not count."""
    exchange = Exchange(market)
    exchange.stub.trades = [trade(number) for number in range(1, 2_001) if number != 1_500]

    assert spans(exchange.rest.trades_by_id("X", 1_498, 1_501)) == [
        *((1_498, 1_498, True), (1_499, 1_499, True), (1_500, 1_500, False), (1_501, 1_501, True))
    ]
    assert exchange.pages == ["trades"]


def aggregates(count, seed, first_id=1_000):
    """Of one to nine matches, sometimes with ids between that do not count."""
    chance, rows, next_id = random.Random(seed), [], first_id
    for number in range(count):
        next_id += chance.choice((0, 0, 0, 0, 0, 2))
        last_id = next_id + chance.choice((0, 0, 0, 1, 2, 8))
        rows.append(aggregate(70_000 + number, next_id, last_id))
        next_id = last_id + 1
    return rows


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("place", [0.0, 0.03, 0.5, 0.9, 0.995])
def test_older_ids_of_futures_are_aggregates(seed, place):
    """Wherever they are: every id is covered once, by what counts or by what stands for ids that do not."""
    exchange = Exchange("linear")
    rows = exchange.stub.aggregates = aggregates(20_000, seed)
    exchange.stub.trades = [trade(number) for number in range(rows[-1]["l"] - 3, rows[-1]["l"] + 1)]
    first_id = rows[int(place * len(rows))]["f"]
    last_id = min(first_id + 3_000, rows[-1]["l"])
    found = spans(exchange.rest.trades_by_id("X", first_id, last_id))

    assert found[0][0] <= first_id <= found[0][1]
    assert found[-1][0] <= last_id <= found[-1][1]
    assert all(older[1] + 1 == newer[0] for older, newer in itertools.pairwise(found))
    counted = [(row["f"], row["l"]) for row in rows if row["l"] >= first_id and row["f"] <= last_id]
    assert [(first, last) for first, last, counts in found if counts] == counted
    assert len(exchange.pages) < 12


def test_ids_before_the_oldest_aggregate_are_not_there():
    """It is so whether the answer then is empty or begins with the oldest."""
    exchange = Exchange("linear")
    exchange.stub.aggregates = aggregates(3_000, 1)

    assert exchange.rest.trades_by_id("X", 1, 20) == []
    exchange.stub.aggregates = []
    assert exchange.rest.trades_by_id("X", 1, 20) == []


def test_aggregate_that_cannot_be_read_is_a_hole():
    """Its ids are not taken for such as do not count."""
    exchange = Exchange("linear")
    rows = exchange.stub.aggregates = [aggregate(1, 1, 3), aggregate(2, 4, 6), aggregate(3, 7, 9), aggregate(4, 12, 13)]
    rows[1]["p"] = "x"

    assert spans(exchange.rest.trades_by_id("X", 1, 13)) == [
        (1, 3, True),
        (7, 9, True),
        (10, 11, False),
        (12, 13, True),
    ]


def test_aggregate_without_retail_price_improvement_has_its_other_size():
    """Where the rows give it; one of nothing else does not count."""
    exchange = Exchange("linear", TradeRules(count_rpi_trades=False))
    exchange.stub.aggregates = [aggregate(1, 1, 2, q="5", nq="3"), aggregate(2, 3, 4, nq="0"), aggregate(3, 5, 5)]
    found = exchange.rest.trades_by_id("X", 1, 5)

    assert [(each.size, each.is_counted) for each in found] == [(3.0, True), (0.0, False), (2.0, True)]
