"""Bybit's REST protocol as it is served: what is of the store, what is joined, and what is passed on."""

import asyncio
import json

import pytest

from exchanges.bybit.market_api import KLINE_MOST, BybitMarketApi
from model.market_api import FOR_EVER, ApiAnswer, ApiRequest, MarketApiOptions
from model.ports import HistoryError
from tests.unit.exchanges.test_kline_answers import MINUTE, Live, Store

NOW = 5_000 * MINUTE + 30_000
KLINE = "/v5/market/kline"


def row(number, close="2"):
    return [str(number * MINUTE), "1", "3", "1", close, "5", "6"]


class Exchange:
    """An Upstream: candles of minutes since `listed`, but for `lacking`; counts what it is asked."""

    def __init__(self, listed=0, lacking=()):
        self.listed, self.lacking, self.asked = listed, lacking, []

    async def fetch(self, request, *, keep_s=0.0, weight=1, epoch=0):
        self.asked.append((request.path, dict(request.query), keep_s))
        if request.path != KLINE:
            return ApiAnswer(b'{"retCode":0}', "exchange")
        query = request.query
        last = min(int(query.get("end", NOW)), NOW) // MINUTE
        first = max(self.listed, -(-int(query.get("start", 0)) // MINUTE), last - int(query.get("limit", 200)) + 1)
        rows = [row(number) for number in range(last, first - 1, -1) if number not in self.lacking]
        return ApiAnswer(json.dumps({"retCode": 0, "result": {"list": rows}}).encode(), "exchange")

    @property
    def pages(self):
        return [(query["start"], query["end"], keep_s) for path, query, keep_s in self.asked if path == KLINE]


class Kept(Store):
    """The rows of the store in Bybit's form."""

    def rows(self, market, symbol, step_ms, form, start_ms=0, end_ms=None, limit=None, *, newest_first=False):
        found = super().rows(market, symbol, step_ms, form, start_ms, end_ms, limit, newest_first=newest_first)
        starts = [json.loads(f"[{found.text}]")[i][0] for i in range(found.count)]
        text = ",".join(json.dumps(row(start // MINUTE, "7"), separators=(",", ":")) for start in starts)
        return type(found)(text, found.count, found.complete, found.first_ms, found.last_ms)


def api_of(upstream, store=None, live=None):
    options = MarketApiOptions(
        upstream=upstream,
        store=lambda: store,
        live=live,
        intervals=("1m",),
        symbols=lambda market: {"BTCUSDT"} if market == "linear" else (),
        now_ms=lambda: NOW,
    )
    return BybitMarketApi(options)


def ask(api, path=KLINE, **query):
    return asyncio.run(api.answer(ApiRequest(path, {name: str(value) for name, value in query.items()})))


def klines(answer):
    return [int(each[0]) // MINUTE for each in json.loads(answer.body)["result"]["list"]]


def test_klines_of_the_store_have_bybits_form():
    exchange = Exchange()
    answer = ask(api_of(exchange, Kept(range(4000, 5000)), Live(number=5000)), symbol="BTCUSDT", interval=1, limit=2)
    assert answer.source == "store"
    assert answer.body.startswith(
        b'{"retCode":0,"retMsg":"OK","result":{"symbol":"BTCUSDT","category":"linear","list":[["300000000","1",'
    )
    assert klines(answer) == [5000, 4999]
    assert not exchange.asked


def test_older_candles_are_of_pages_that_are_the_same_for_all():
    """Whatever span is asked for, whenever: a page is asked for once, and kept for ever."""
    exchange = Exchange()
    api = api_of(exchange, Kept(range(4990, 5000)), Live(number=5000))
    for limit in (1000, 200, 12):
        answer = ask(api, category="linear", symbol="BTCUSDT", interval=1, limit=limit)
        assert answer.source == "exchange"
        assert klines(answer) == list(range(5000, 5000 - limit, -1))
    page = str(4000 * MINUTE), str(4990 * MINUTE - 1), FOR_EVER
    assert set(exchange.pages) == {page}


def test_a_symbol_listed_lately_has_what_there_is():
    exchange = Exchange(listed=4980)
    answer = ask(api_of(exchange, Kept(range(4990, 5000)), Live(number=5000)), symbol="BTCUSDT", interval=1)
    assert klines(answer) == list(range(5000, 4979, -1))


@pytest.mark.parametrize("lacking", [4989, 4985])
def test_what_does_not_join_is_passed_on_whole(lacking):
    exchange = Exchange(lacking=(lacking,))
    answer = ask(api_of(exchange, Kept(range(4990, 5000)), Live(number=5000)), symbol="BTCUSDT", interval=1, limit=30)
    assert len(klines(answer)) == 29
    assert exchange.asked[-1][1] == {"symbol": "BTCUSDT", "interval": "1", "limit": "30"}


@pytest.mark.parametrize(
    "query",
    [
        {"symbol": "NOPE", "interval": 1},
        {"symbol": "BTCUSDT", "interval": 7},
        {"symbol": "BTCUSDT", "interval": 1, "category": "spot"},
        {"symbol": "BTCUSDT", "interval": 1, "limit": 0},
        {"symbol": "BTCUSDT", "interval": 1, "limit": "1e3"},
        {"symbol": "BTCUSDT", "interval": 1, "start": 10**30},
        {"symbol": "BTCUSDT", "interval": 1, "start": 9, "end": 8},
        {"symbol": "BTCUSDT", "interval": 1, "limit": "٣"},
        {"symbol": "BTCUSDT", "interval": 1, "more": 1},
        {},
    ],
)
def test_what_bybit_may_refuse_is_passed_on(query):
    """So that it is refused in Bybit's own words."""

    class Refusing:
        async def fetch(self, request, *, keep_s=0.0, weight=1, epoch=0):
            return ApiAnswer(b'{"retCode":10001}', "exchange")

    answer = ask(api_of(Refusing(), Kept(range(KLINE_MOST, 5000)), Live(number=5000)), **query)
    assert (answer.body, answer.source) == (b'{"retCode":10001}', "exchange")


def test_unknown_market_data_is_passed_on_and_accounts_are_refused_here():
    exchange = Exchange()
    assert ask(api_of(exchange), "/v5/market/new-thing", a=1).body == b'{"retCode":0}'
    refused = ask(api_of(exchange), "/v5/order/realtime")
    assert (refused.status, json.loads(refused.body)["retCode"]) == (200, 10017)
    assert len(exchange.asked) == 1


def test_an_exchange_that_cannot_be_asked_is_a_limit_to_wait_for():
    """pybit and ccxt repeat 10006; pybit reads the header."""

    class Banned:
        async def fetch(self, request, *, keep_s=0.0, weight=1, epoch=0):
            raise HistoryError("the breaker is open for 500 s more after a ban")

    answer = ask(api_of(Banned()), "/v5/market/tickers", category="linear")
    body = json.loads(answer.body)
    assert (answer.status, body["retCode"], "ban" in body["retMsg"]) == (200, 10006, True)
    assert int(answer.headers["X-Bapi-Limit-Reset-Timestamp"]) > NOW


def test_time_is_the_exchanges_clock():
    body = json.loads(ask(api_of(Exchange()), "/v5/market/time").body)
    assert body["result"] == {"timeSecond": str(NOW // 1000), "timeNano": str(NOW * 1_000_000)}
