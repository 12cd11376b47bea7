"""Candles, trades, listing and errors of BingX's REST: recorded answers, paging, rows that make no sense."""

import json
import threading
from decimal import Decimal
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests
from requests.adapters import BaseAdapter

from exchanges.bingx.rest import INTERVALS, BingxRest, sort_answer
from exchanges.rest_limits import SiteLimits
from model.intervals import DAY_MS, HOUR_MS, MONTH
from model.ports import HistoryError
from model.records import Candle
from network.http import Session
from tests.unit.exchanges.bingx.recorded import answer

NOW_MS, MINUTE_MS = 1_800_000_000_000, 60_000
MOST = {"linear": 1440, "spot": 1000}


class Stub(BaseAdapter):
    """Answers as BingX does: the newest candles of a window, newest first; `answers` by the end of a path first."""

    def __init__(self, market):
        super().__init__()
        self.market, self.answers, self.asked = market, {}, []
        self.candles: list[int] = []

    def send(self, request, *_, **__):
        """Called by requests instead of opening a connection."""
        url = urlsplit(str(request.url))
        query = dict(parse_qsl(url.query))
        self.asked.append((url.path, query))
        status, body = next((a for end, a in self.answers.items() if url.path.endswith(end)), (200, None))
        response = requests.Response()
        response.status_code, response.url, response.request = status, str(request.url), request
        response._content = json.dumps(self._candles(query) if body is None else body).encode()
        return response

    def close(self):
        """Nothing is open."""

    def _candles(self, query):
        first, last = int(query["startTime"]), int(query["endTime"])
        limit = min(int(query["limit"]), MOST[self.market])
        inside = sorted((start for start in self.candles if first <= start <= last), reverse=True)[:limit]
        make = {"linear": swap_candle, "spot": spot_candle}[self.market]
        return {"code": 0, "data": [make(start) for start in inside]}


def swap_candle(start, **fields):
    return {"open": "1", "close": "1.1", "high": "2.5", "low": "0.5", "volume": "10", "time": start, **fields}


def spot_candle(start):
    return [start, 1, 2.5, 0.5, 1.1, 10, start + MINUTE_MS - 1, 12.5]


class Exchange:
    """A BingxRest whose every request ends in a Stub."""

    def __init__(self, market="linear", **answers):
        self.stub = Stub(market)
        self.stub.answers = {path: (200, body) for path, body in answers.items()}
        session = Session(15.0, 1)
        session.mount("https://", self.stub)
        self.rest = BingxRest(
            market, stop=threading.Event(), wall_ms=lambda: NOW_MS, session=session, limits=SiteLimits()
        )


# -- candles ------------------------------------------------------------------------------------------------------


def test_recorded_candles_of_swaps_are_read(shared_data):
    """Newest first, objects of texts; turnover is volume times close, for they have none."""
    exchange = Exchange(klines=answer(shared_data, "swap_klines_1h"))
    candles = exchange.rest.candles("BTC-USDT", HOUR_MS, 1788332400000, 1788350400000)

    assert [each.start_ms for each in candles] == list(range(1788332400000, 1788350400000, HOUR_MS))
    assert candles[-1] == Candle(
        1788346800000,
        *map(Decimal, ("76647.1", "76672.4", "76480.0", "76587.4", "96.9307", "7423670.29318")),
    )


def test_recorded_candles_of_spot_are_read(shared_data):
    """Bare numbers to the last digit, with the turnover in quote."""
    exchange = Exchange("spot", kline=answer(shared_data, "spot_kline_1m_docs"))
    candles = exchange.rest.candles("BTC-USDT", MINUTE_MS, 1702720380000, 1702720680000)

    assert len(candles) == 5
    assert candles[-1] == Candle(
        1702720620000, *map(Decimal, ("42216.29", "42216.94", "42216.29", "42216.72", "0.2", "8548.46"))
    )


@pytest.mark.parametrize("market", ["linear", "spot"])
def test_longer_spans_are_paged_without_a_hole_and_end_with_the_open_one(market):
    """The start is in, the end is not."""
    exchange = Exchange(market)
    exchange.stub.candles = [*range(NOW_MS - 4000 * MINUTE_MS, NOW_MS + 2 * MINUTE_MS, MINUTE_MS)]
    first, end = NOW_MS - 3500 * MINUTE_MS, NOW_MS + MINUTE_MS
    found = [each.start_ms for each in exchange.rest.candles("BTC-USDT", MINUTE_MS, first, end)]

    assert found == list(range(first, end, MINUTE_MS))
    assert all(int(query["limit"]) <= MOST[market] for _, query in exchange.stub.asked)
    assert len(exchange.stub.asked) == -(-3501 // MOST[market])


def test_minutes_that_the_exchange_leaves_out_are_not_there():
    """Nothing is put in their place: a row that makes no sense leaves such a hole, too."""
    exchange = Exchange()
    exchange.stub.candles = [NOW_MS - number * MINUTE_MS for number in (9, 8, 3, 0)]
    found = exchange.rest.candles("BTC-USDT", MINUTE_MS, NOW_MS - 20 * MINUTE_MS, NOW_MS + MINUTE_MS)

    assert [(NOW_MS - each.start_ms) // MINUTE_MS for each in found] == [9, 8, 3, 0]


def test_a_candle_that_makes_no_sense_costs_itself():
    """Its neighbours are there."""
    rows = [swap_candle(NOW_MS), swap_candle(NOW_MS - MINUTE_MS, high="0.1"), None, swap_candle(NOW_MS - 2 * MINUTE_MS)]
    exchange = Exchange(klines={"code": 0, "data": rows})
    found = exchange.rest.candles("BTC-USDT", MINUTE_MS, NOW_MS - 2 * MINUTE_MS, NOW_MS + MINUTE_MS)

    assert [each.start_ms for each in found] == [NOW_MS - 2 * MINUTE_MS, NOW_MS]


def test_intervals_have_names_and_others_are_refused():
    """A month is the calendar's."""
    assert [INTERVALS[step] for step in (MINUTE_MS, 12 * HOUR_MS, DAY_MS, MONTH)] == ["1m", "12h", "1d", "1M"]
    with pytest.raises(ValueError, match="step is 1000 ms"):
        Exchange().rest.candles("BTC-USDT", 1000, 0, 1)


def test_no_data_is_no_candle():
    """null, before a listing."""
    exchange = Exchange(klines={"code": 0, "msg": "", "data": None})

    assert exchange.rest.candles("BTC-USDT", MINUTE_MS, NOW_MS, NOW_MS + MINUTE_MS) == []


# -- trades -------------------------------------------------------------------------------------------------------


def test_recorded_trades_come_oldest_first_and_without_ids(shared_data):
    """What spot has as an id orders trades of one ms."""
    swap = Exchange(trades=answer(shared_data, "swap_trades_docs")).rest.recent_trades("BTC-USDT")
    spot = Exchange("spot", trades=answer(shared_data, "spot_trades_docs")).rest.recent_trades("BTC-USDT")

    assert [each.event_ms for each in swap] == [
        1702719268253,
        1702719268954,
        1702719269274,
        1702719269559,
        1702719269849,
    ]
    assert (swap[-1].price, swap[-1].size) == (42214.0, 0.0248)
    assert [each.seq for each in spot] == list(range(76909150, 76909155))
    assert {each.trade_id for each in (*swap, *spot)} == {""}
    assert Exchange().rest.trades_by_id("BTC-USDT", 1, 2) == ()


def test_an_unreadable_trade_is_there_at_the_time_of_its_neighbours():
    """So that its minute is not taken for whole."""
    rows = [{"time": NOW_MS - number, "price": "1", "qty": "x" if number == 1 else "2"} for number in range(3)]
    trades = Exchange(trades={"code": 0, "data": rows}).rest.recent_trades("BTC-USDT")

    assert [(each.event_ms - NOW_MS, each.size) for each in trades] == [(-2, 2.0), (-2, 0.0), (0, 0.0), (0, 2.0)]


# -- instruments, time --------------------------------------------------------------------------------------------


def test_recorded_contracts_that_are_online_are_listed(shared_data):
    """`size` is a step, not what a contract is; one that is paused is refused by the streams."""
    tickers = {"code": 0, "data": [{"symbol": "BTC-USDT", "lastPrice": "100", "quoteVolume": "7.5"}]}
    exchange = Exchange(contracts=answer(shared_data, "swap_contracts"), ticker=tickers)
    (found,) = exchange.rest.listed()

    assert (found.symbol, found.base, found.quote, found.turnover) == ("BTC-USDT", "BTC", "USDT", 7.5)
    assert found.contract_size == 1


def test_recorded_pairs_of_spot_have_their_coins_in_their_names(shared_data):
    """Turnover in dollars, whatever the quote; spot's tickers want the time of the request."""
    symbols = answer(shared_data, "spot_symbols")
    symbols["data"]["symbols"] += [{"symbol": "ETH-BTC", "status": 1}, {"symbol": "A-USDT", "status": 5}, {"status": 1}]
    tickers = [
        {"symbol": "BTC-USDT", "lastPrice": 100.0, "quoteVolume": 5.5},
        {"symbol": "ETH-BTC", "lastPrice": 0.1, "quoteVolume": 2.0},
    ]
    exchange = Exchange("spot", symbols=symbols, **{"24hr": {"code": 0, "data": tickers}})

    assert [(each.symbol, each.base, each.quote, each.turnover) for each in exchange.rest.listed()] == [
        ("BTC-USDT", "BTC", "USDT", 5.5),
        ("ETH-BTC", "ETH", "BTC", 200.0),
    ]
    assert exchange.stub.asked[-1] == ("/openApi/spot/v1/ticker/24hr", {"timestamp": str(NOW_MS)})
    assert [each.symbol for each in exchange.rest.listed(pre_market=True)] == ["BTC-USDT", "ETH-BTC", "A-USDT"]


@pytest.mark.parametrize("market", ["linear", "spot"])
def test_the_time_is_the_exchanges(market):
    """One address has both markets; what can be no time is an error."""
    body = {"code": 0, "msg": "", "data": {"serverTime": 1790127596258}}
    assert Exchange(market, time=body).rest.server_time_ms() == 1790127596258
    with pytest.raises(HistoryError, match="no time of today"):
        Exchange(market, time={"code": 0, "data": {"serverTime": 7}}).rest.server_time_ms()


# -- errors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, {"code": 0}, "ok"),
        (200, {"code": "0"}, "ok"),
        (200, {"code": 109425, "msg": "no such symbol"}, "final"),
        (200, {"code": 109415, "msg": "paused"}, "final"),
        (400, {"code": 109400, "msg": "invalid"}, "final"),
        (200, {"code": 100410, "msg": "rate"}, "limited"),
        (429, {"code": 100410, "msg": "rate"}, "limited"),
        (429, {}, "limited"),
        (200, {"code": 100500, "msg": "busy"}, "temporary"),
        (200, {"code": 777, "msg": "?"}, "temporary"),
        (502, {"code": 0}, "temporary"),
        (418, {"code": 100410}, "banned"),
        (403, [], "banned"),
        (200, {"code": None}, "temporary"),
        (200, [], "temporary"),
    ],
)
def test_an_answer_is_what_its_code_says(status, body, kind):
    """An error comes with HTTP 200, too."""
    assert sort_answer(status, {}, body).kind == kind


def test_a_refused_symbol_is_not_asked_again():
    """The error is final and has the exchange's words."""
    exchange = Exchange(klines={"code": 109425, "msg": "symbol not exist", "data": {}})
    with pytest.raises(HistoryError, match="109425 symbol not exist") as error:
        exchange.rest.candles("NO-USDT", MINUTE_MS, NOW_MS, NOW_MS + MINUTE_MS)

    assert error.value.is_final
    assert len(exchange.stub.asked) == 1
