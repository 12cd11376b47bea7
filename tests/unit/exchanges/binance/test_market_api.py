"""exchanges.binance.market_api: what is answered here, what is passed on, at which weight, how long it is kept."""

import asyncio
import json
import threading

import pytest

from exchanges.binance.market_api import BinanceMarketApi, passage
from exchanges.contract import Endpoints
from model.intervals import MINUTE_MS
from model.market_api import FOR_EVER, ApiAnswer, ApiRequest, MarketApiOptions
from model.ports import HistoryError
from model.problems import Problem

OPEN_MS = 29_000_000 * MINUTE_MS
NOW_MS = OPEN_MS + 30_000
ANSWER = ApiAnswer(b"[]", "exchange")


class Upstream:
    """Keeps what it was asked."""

    def __init__(self, error: str = "", problem: Problem | None = None) -> None:
        self.asked: list[tuple[float, int, int]] = []
        self._error, self._problem = error, problem

    async def fetch(self, request, *, keep_s=0.0, weight=1, epoch=0):
        self.asked.append((keep_s, weight, epoch))
        if self._error:
            raise HistoryError(self._error, problem=self._problem)
        return ANSWER


def ask(path, upstream=None, **query):
    """The answer, and how it was passed on: keep_s, weight, epoch; None where it was not."""
    upstream = upstream or Upstream()
    api = BinanceMarketApi(MarketApiOptions(upstream, now_ms=lambda: NOW_MS))
    answer = asyncio.run(api.answer(ApiRequest(path, {name: str(value) for name, value in query.items()})))
    return answer, next(iter(upstream.asked), None)


@pytest.mark.parametrize("prefix", ["/api/v3/", "/fapi/v1/", "/dapi/v1/"])
def test_the_time_is_of_the_exchanges_clock_here(prefix):
    """It costs the exchange nothing."""
    assert ask(f"{prefix}time") == (ApiAnswer(b'{"serverTime":%d}' % NOW_MS, "store"), None)
    assert ask(f"{prefix}ping") == (ApiAnswer(b"{}", "store"), None)


@pytest.mark.parametrize(
    ("path", "query", "keep_s", "weight"),
    [
        ("/api/v3/exchangeInfo", {}, 60.0, 20),
        ("/fapi/v1/exchangeInfo", {}, 60.0, 1),
        ("/api/v3/depth", {"limit": 1000}, 0.0, 50),
        ("/api/v3/depth", {}, 0.0, 5),
        ("/api/v3/depth", {"limit": 5000}, 0.0, 250),
        ("/fapi/v1/depth", {"limit": 1000}, 0.0, 20),
        ("/dapi/v1/depth", {"limit": "x"}, 0.0, 10),
        ("/api/v3/trades", {"symbol": "BTCUSDT"}, 0.5, 25),
        ("/dapi/v1/trades", {"symbol": "BTCUSD_PERP"}, 0.5, 5),
        ("/api/v3/aggTrades", {"symbol": "BTCUSDT"}, 0.5, 4),
        ("/api/v3/ticker/24hr", {"symbol": "BTCUSDT"}, 0.5, 2),
        ("/api/v3/ticker/24hr", {"symbols": '["A","B"]'}, 3.0, 2),
        ("/api/v3/ticker/24hr", {"symbols": ",".join("A" * 30)}, 3.0, 40),
        ("/api/v3/ticker/24hr", {}, 3.0, 80),
        ("/api/v3/ticker", {"symbols": '["A","B"]'}, 3.0, 8),
        ("/fapi/v1/ticker/24hr", {}, 3.0, 40),
        ("/fapi/v1/ticker/24hr", {"symbol": "BTCUSDT"}, 0.5, 1),
        ("/fapi/v2/ticker/price", {"symbol": "BTCUSDT"}, 0.5, 1),
        ("/dapi/v1/ticker/bookTicker", {}, 0.5, 5),
    ],
)
def test_requests_weigh_and_are_kept_by_their_nature(path, query, keep_s, weight):
    """Weights of the documentation; a book is never kept, for it must be newer than the changes that a client has."""
    assert ask(path, **query) == (ANSWER, (keep_s, weight, 0))


@pytest.mark.parametrize(
    ("path", "query", "expected"),
    [
        ("/api/v3/klines", {}, (0.5, 2, OPEN_MS)),
        ("/fapi/v1/klines", {"limit": 99}, (0.5, 1, OPEN_MS)),
        ("/fapi/v1/klines", {}, (0.5, 5, OPEN_MS)),
        ("/dapi/v1/markPriceKlines", {"limit": 1500}, (0.5, 10, OPEN_MS)),
        ("/api/v3/klines", {"endTime": OPEN_MS - 1}, (FOR_EVER, 2, 0)),
        ("/api/v3/klines", {"endTime": OPEN_MS}, (0.5, 2, OPEN_MS)),
        ("/api/v3/klines", {"startTime": OPEN_MS - 10 * MINUTE_MS}, (0.5, 2, OPEN_MS)),
        ("/api/v3/klines", {"startTime": OPEN_MS - 1000 * MINUTE_MS}, (FOR_EVER, 2, 0)),  # 500 of them: long closed
        ("/api/v3/klines", {"startTime": OPEN_MS - 1000 * MINUTE_MS, "limit": 9999}, (FOR_EVER, 2, 0)),  # 1000 at most
        ("/fapi/v1/klines", {"startTime": OPEN_MS - 1000 * MINUTE_MS, "limit": 1500}, (0.5, 10, OPEN_MS)),
        ("/api/v3/klines", {"startTime": OPEN_MS + MINUTE_MS}, (0.5, 2, OPEN_MS)),
        ("/api/v3/klines", {"startTime": "x"}, (0.5, 2, OPEN_MS)),
        ("/api/v3/klines", {"limit": 0}, (0.5, 2, OPEN_MS)),
        ("/api/v3/klines", {"timeZone": "8", "endTime": OPEN_MS - 1}, (0.0, 2, 0)),  # other windows
        ("/api/v3/klines", {"interval": "3d", "endTime": 1}, (0.0, 2, 0)),
        ("/api/v3/klines", {"interval": ""}, (0.0, 2, 0)),
    ],
)
def test_klines_are_kept_for_ever_once_all_are_closed(path, query, expected):
    """An answer with the open one is for those alone who ask before it closes."""
    assert ask(path, **{"symbol": "BTCUSDT", "interval": "1m"} | query) == (ANSWER, expected)


def test_a_kline_that_has_just_closed_may_still_change():
    """For ten seconds its answer is not kept for ever."""
    just_closed = {"symbol": "BTCUSDT", "interval": "1s", "endTime": NOW_MS - 1}
    assert ask("/api/v3/klines", **just_closed)[1] == (0.5, 2, NOW_MS)


@pytest.mark.parametrize(
    "path", ["/api/v3/account", "/fapi/v1/historicalTrades", "/api/v3/", "/api/v4/time", "/dapi/v1/order", "/fapi/x"]
)
def test_what_is_not_served_is_refused_in_binances_form(path):
    """Account data and what needs a key; nothing is passed on."""
    answer, passed = ask(path)
    assert (answer.status, answer.source, passed) == (404, "store", None)
    assert json.loads(answer.body)["code"] == -5000
    assert path in json.loads(answer.body)["msg"]


@pytest.mark.parametrize("problem", [None, Problem("http_429", "api.binance.com", status=429)])
def test_who_asks_too_much_is_told_to_come_back(problem):
    """Clients of Binance know -1003 with 429, and Retry-After."""
    answer, _ = ask("/api/v3/trades", Upstream("2700 in 60 s are passed on", problem))
    assert (answer.status, answer.headers["Retry-After"]) == (429, "1")
    body = json.loads(answer.body)
    assert (body["code"], "Too many requests" in body["msg"]) == (-1003, True)


def test_an_exchange_that_cannot_be_reached_is_an_error_of_its_own():
    """-1001 with 503, which clients repeat as well; the reason is a sentence for a person."""
    answer, _ = ask("/api/v3/trades", Upstream("no", Problem("http_451", "api.binance.com", status=451)))
    assert (answer.status, answer.source) == (503, "store")
    body = json.loads(answer.body)
    assert (body["code"], "api.binance.com" in body["msg"]) == (-1001, True)


def test_refusals_of_the_server_have_binances_form():
    """Odd paths, other methods."""
    api = BinanceMarketApi(MarketApiOptions(Upstream()))
    assert [json.loads(api.refused(status, "no").body)["code"] for status in (404, 400, 405)] == [-5000, -1100, -1100]
    assert api.refused(405, "x" * 9999).status == 405


@pytest.mark.parametrize(
    ("endpoints", "hosts"),
    [
        (Endpoints(), ("https://api.binance.com", "https://fapi.binance.com", "https://dapi.binance.com")),
        (
            Endpoints(testnet=True),
            (
                "https://testnet.binance.vision",
                "https://testnet.binancefuture.com",
                "https://testnet.binancefuture.com",
            ),
        ),
        (Endpoints(rest_url="http://127.0.0.1:8080"), ("http://127.0.0.1:8080",) * 3),
    ],
)
def test_each_product_is_passed_on_to_its_host_within_its_limit(endpoints, hosts):
    """Spot has a limit of its own, both futures share one: clients get half of it."""
    passage_of = passage(endpoints, threading.Event())
    found = [passage_of(f"{prefix}klines") for prefix in ("/api/v3/", "/fapi/v1/", "/dapi/v1/")]
    assert passage_of("/api/klines") is None
    assert tuple(each.client.url for each in found if each) == hosts
    assert [(each.budget, each.share.weight) for each in found if each] == [
        ("binance spot", 2700),
        ("binance futures", 1080),
        ("binance futures", 1080),
    ]
    assert len({each.share.key for each in found if each}) == 2
