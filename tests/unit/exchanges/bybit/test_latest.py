"""Tickers and order books as REST answers them, of what is collected: whole, fresh, or not at all."""

import asyncio
import json

import pytest

from exchanges.bybit.latest import LIVE, LatestState
from model.market_api import ApiAnswer, MarketApiOptions

NOW = 1_760_325_052_630
FIELDS = dict.fromkeys(sorted(LIVE["linear"]), "1")
STILL = {"symbol": "BTCUSDT", **dict.fromkeys(FIELDS, "0"), "deliveryFeeRate": "", "basis": "", "fundingCap": "0.005"}
SPOT_LIVE = {name: "1" for name in LIVE["spot"] if "1" not in name}
SPOT = {"symbol": "BTCUSDT", "bid1Price": "0", "bid1Size": "0", "ask1Price": "0", "ask1Size": "0"} | dict.fromkeys(
    SPOT_LIVE, "0"
)


class Exchange:
    """An Upstream with the tickers of all symbols."""

    def __init__(self, row):
        self.asked = []
        self.body = json.dumps({"result": {"list": [row, {**row, "symbol": "ETHUSDT"}]}}).encode()

    async def fetch(self, request, *, keep_s=0.0, weight=1, epoch=0):
        self.asked.append((dict(request.query), keep_s))
        return ApiAnswer(self.body, "exchange")


def ticker(data=FIELDS, ts=NOW):
    return json.dumps({"topic": "tickers.BTCUSDT", "type": "snapshot", "data": data, "ts": ts}).encode()


def book(levels=50, ts=NOW, depth=50):
    asks = [[str(100 + i), "2"] for i in range(levels)]
    data = {"s": "BTCUSDT", "b": [[str(99 - i), "3"] for i in range(levels)], "a": asks, "u": 7, "seq": 9}
    topic = f"orderbook.{depth}.BTCUSDT"
    return json.dumps({"topic": topic, "type": "snapshot", "ts": ts, "data": data, "cts": ts - 2}).encode()


def state(messages, exchange=None):
    options = MarketApiOptions(
        upstream=exchange or Exchange(STILL),
        latest=lambda market, topic: messages.get((market, topic)),
        now_ms=lambda: NOW + 100,
    )
    return LatestState(options)


def ask(latest, category="linear", **more):
    found = asyncio.run(latest.ticker({"category": category, "symbol": "BTCUSDT", **more}))
    return json.loads(found)["list"][0] if found else None


def test_a_ticker_has_the_fields_of_rest_in_their_order_with_the_streams_values():
    """What the streams do not have is the exchange's, asked for once a minute for all symbols together."""
    exchange = Exchange(STILL)
    latest = state({("linear", "tickers.BTCUSDT"): ticker({**FIELDS, "tickDirection": "PlusTick"})}, exchange)
    row = ask(latest)
    assert row == {**STILL, **FIELDS}
    assert list(row) == list(STILL)
    assert exchange.asked == [({"category": "linear"}, 60.0)]


@pytest.mark.parametrize(
    "payload",
    [
        None,
        ticker(ts=NOW - 3_000),  # of a connection that is down, perhaps
        ticker({name: value for name, value in FIELDS.items() if name != "markPrice"}),
        ticker({**FIELDS, "markPrice": None}),
    ],
)
def test_a_ticker_that_is_not_whole_or_old_is_not_answered(payload):
    assert ask(state({("linear", "tickers.BTCUSDT"): payload})) is None


@pytest.mark.parametrize("more", [{"category": "option"}, {"more": "1"}, {"symbol": "NOPE"}])
def test_other_requests_for_tickers_are_not_answered(more):
    assert ask(state({("linear", "tickers.BTCUSDT"): ticker()}), **more) is None


def test_spots_best_prices_are_of_its_book():
    """Its tickers have none on the stream."""
    messages = {("spot", "tickers.BTCUSDT"): ticker(SPOT_LIVE), ("spot", "orderbook.50.BTCUSDT"): book()}
    row = ask(state(messages, Exchange(SPOT)), "spot")
    assert row == {**SPOT, **SPOT_LIVE, "bid1Price": "99", "bid1Size": "3", "ask1Price": "100", "ask1Size": "2"}
    del messages["spot", "orderbook.50.BTCUSDT"]
    assert ask(state(messages, Exchange(SPOT)), "spot") is None


@pytest.mark.parametrize(
    ("query", "levels"),
    [
        ({}, 25),
        ({"limit": "5"}, 5),
        ({"limit": "50"}, 50),
        ({"limit": "51"}, None),  # collected 50 deep
        ({"limit": "0"}, None),
        ({"limit": "x"}, None),
        ({"limit": "9999999"}, None),
        ({"category": "spot"}, None),
        ({"more": "1"}, None),
    ],
)
def test_a_book_has_so_many_levels_or_is_not_answered(query, levels):
    latest = state({("linear", "orderbook.50.BTCUSDT"): book()})
    found = latest.orderbook({"category": "linear", "symbol": "BTCUSDT", **query})
    if levels is None:
        assert found is None
        return
    row = json.loads(found)
    assert list(row) == ["s", "a", "b", "ts", "u", "seq", "cts"]
    assert (len(row["a"]), len(row["b"]), row["u"], row["cts"]) == (levels, levels, 7, NOW - 2)
    assert (row["a"][0], row["b"][0]) == (["100", "2"], ["99", "3"])


def test_an_old_book_is_not_answered():
    latest = state({("linear", "orderbook.50.BTCUSDT"): book(ts=NOW - 5_000)})
    assert latest.orderbook({"category": "linear", "symbol": "BTCUSDT"}) is None
