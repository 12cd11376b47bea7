"""OKX's REST protocol as it is served: what is answered here, and what is passed on."""

import asyncio
import json
import threading
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest

from exchanges.contract import Endpoints
from exchanges.okx.market_api import KEPT_S, OkxMarketApi, passage
from exchanges.okx.rest import REQUESTS
from model.market_api import FOR_EVER, ApiAnswer, ApiRequest, MarketApiOptions
from model.ports import HistoryError, KlineRows
from model.problems import Problem
from model.records import Kline
from tests.support.klines import kline

MINUTE = 60_000
OPEN = 1_767_716_940_000
NOW = OPEN + 30_000
CANDLES, HISTORY = "/api/v5/market/candles", "/api/v5/market/history-candles"
SYMBOLS = {"linear": ["BTC-USDT-SWAP"], "spot": ["BTC-USDT"], "inverse": ["BTC-USD-SWAP"]}
SIZES = {"linear": Decimal("0.01"), "inverse": Decimal(100)}


class Exchange:
    """An Upstream: what is passed on, and how long its answer may be kept."""

    def __init__(self) -> None:
        self.asked: list[tuple[ApiRequest, float]] = []
        self.fails: HistoryError | None = None

    async def fetch(self, request: ApiRequest, *, keep_s: float = 0.0, weight: int = 1, epoch: int = 0) -> ApiAnswer:
        self.asked.append((request, keep_s))
        if self.fails:
            raise self.fails
        return ApiAnswer(b"its own", "exchange")


class Store:
    """A CandleStore of minutes that are complete, down to `first_ms`."""

    commits = 0

    def __init__(self, first_ms: int = 0) -> None:
        self.first_ms = first_ms

    def rows(
        self, _market: str, _symbol: str, step_ms: int, form: Any, start_ms: int, end_ms: int, *, newest_first: bool
    ) -> KlineRows:
        assert newest_first
        starts = range(max(start_ms, self.first_ms), end_ms, step_ms)[::-1]
        texts = [written(kline(timestamp=start), form) for start in starts]
        return KlineRows(",".join(texts), len(texts), len(texts), starts[-1], starts[0])


class Live:
    """LiveKlines."""

    async def open_kline(self, _market: str, symbol: str, step_ms: int, _start_ms: int) -> Kline:
        return kline(symbol=symbol, interval=step_ms, timestamp=OPEN)

    async def closed(self, *_key: object) -> bool:
        return True


def written(each: Kline, form: tuple[str, ...]) -> str:
    names = [f"{getattr(each, name)}" for name in form[1::2]]
    return "".join(text + value for text, value in zip(form[::2], [*names, ""], strict=True))


def api_of(exchange: Exchange, **changes: Any) -> OkxMarketApi:
    options: dict[str, Any] = {
        "store": Store,
        "live": Live(),
        "markets": ("linear", "spot", "inverse"),
        "intervals": ("1s", "1m", "1D"),
        "symbols": lambda market: SYMBOLS[market],
        "contract_sizes": lambda market, _symbol: SIZES[market],
        "now_ms": lambda: NOW,
    }
    return OkxMarketApi(MarketApiOptions(exchange, **(options | changes)))


@pytest.fixture
def exchange():
    return Exchange()


def ask(api: OkxMarketApi, path: str, **query: object) -> tuple[ApiAnswer, Any]:
    answer = asyncio.run(api.answer(ApiRequest(path, {name: str(value) for name, value in query.items()})))
    return answer, json.loads(answer.body) if answer.source == "store" else None


@pytest.mark.parametrize(
    ("symbol", "volumes"),
    [
        ("BTC-USDT", ["33.404285", "3104285.99121", "3104285.99121"]),
        ("BTC-USDT-SWAP", ["3340.4285", "33.404285", "3104285.99121"]),
        ("BTC-USD-SWAP", ["0.33404285", "3104285.99121", "33.404285"]),
    ],
)
def test_candles_are_the_stores_and_the_open_one_the_aggregators(exchange, symbol, volumes):
    """The newest first; `vol` of swaps in contracts; confirm 0 of the open one alone."""
    answer, body = ask(api_of(exchange), CANDLES, instId=symbol, limit=3)
    prices = ["92967.8", "92970.8", "92815.5", "92846.1"]
    assert (answer.status, body["code"], body["msg"], exchange.asked) == (200, "0", "", [])
    starts = [OPEN, OPEN - MINUTE, OPEN - 2 * MINUTE]
    assert body["data"] == [[str(start), *prices, *volumes, "01"[start < OPEN]] for start in starts]


@pytest.mark.parametrize(
    ("path", "query", "starts"),
    [
        (CANDLES, {"after": OPEN, "limit": 2}, [OPEN - MINUTE, OPEN - 2 * MINUTE]),
        (CANDLES, {"after": OPEN + 1, "limit": 2}, [OPEN, OPEN - MINUTE]),
        (CANDLES, {"before": OPEN - 2 * MINUTE}, [OPEN, OPEN - MINUTE]),
        (CANDLES, {"before": OPEN - 3 * MINUTE, "after": OPEN - MINUTE}, [OPEN - 2 * MINUTE]),
        (HISTORY, {"before": OPEN - 3 * MINUTE, "after": OPEN}, [OPEN - MINUTE, OPEN - 2 * MINUTE]),
        (HISTORY, {"after": OPEN - 5000 * MINUTE, "limit": 1}, [OPEN - 5001 * MINUTE]),
        (HISTORY, {"bar": "1s", "after": OPEN, "limit": 2}, [OPEN - 1000, OPEN - 2000]),
    ],
)
def test_after_is_older_and_before_is_newer_and_both_exclude(exchange, path, query, starts):
    """As OKX pages."""
    _, body = ask(api_of(exchange), path, instId="BTC-USDT", **query)
    assert [int(row[0]) for row in body["data"]] == starts


def test_a_request_has_a_hundred_candles_unless_it_says(exchange):
    """300 at most: more is for OKX to refuse."""
    assert len(ask(api_of(exchange), CANDLES, instId="BTC-USDT")[1]["data"]) == 100
    assert len(ask(api_of(exchange), CANDLES, instId="BTC-USDT", bar="", limit="300")[1]["data"]) == 300


@pytest.mark.parametrize(
    ("path", "query", "keep_s"),
    [
        (CANDLES, {"instId": "NONE-USDT"}, 0.5),
        (CANDLES, {}, 0.5),
        (CANDLES, {"instId": "BTC-USDT", "bar": "5m"}, 0.5),  # not collected
        (CANDLES, {"instId": "BTC-USDT", "bar": "1D"}, 0.5),  # of Hong Kong
        (CANDLES, {"instId": "BTC-USDT", "bar": "7x"}, 0.5),
        (CANDLES, {"instId": "BTC-USDT", "bar": "1s"}, 0.5),  # that path has none
        (CANDLES, {"instId": "BTC-USDT", "limit": "301"}, 0.5),
        (CANDLES, {"instId": "BTC-USDT", "limit": "0"}, 0.5),
        (CANDLES, {"instId": "BTC-USDT", "limit": "-1"}, 0.5),
        (CANDLES, {"instId": "BTC-USDT", "after": "1e9"}, 0.5),
        (CANDLES, {"instId": "BTC-USDT", "after": "9" * 400}, 0.5),
        (CANDLES, {"instId": "BTC-USDT", "after": "٣"}, 0.5),
        (CANDLES, {"instId": "BTC-USDT", "more": "1"}, 0.5),
        (CANDLES, {"instId": "BTC-USDT", "before": str(OPEN)}, 0.5),  # none
        (CANDLES, {"instId": "BTC-USDT", "after": str(OPEN - 1400 * MINUTE)}, FOR_EVER),  # not all of the newest 1,440
        (HISTORY, {"instId": "BTC-USDT"}, 0.5),  # whether it has the open one is not known
        (HISTORY, {"instId": "BTC-USDT", "after": str(OPEN + 1)}, 0.5),
        (HISTORY, {"instId": "NONE-USDT", "after": str(OPEN - MINUTE)}, FOR_EVER),
    ],
)
def test_what_cannot_be_answered_whole_is_passed_on_as_it_came(exchange, path, query, keep_s):
    """And a wrong request is refused by OKX itself; closed candles are kept for ever."""
    answer, _ = ask(api_of(exchange), path, **query)
    assert answer == ApiAnswer(b"its own", "exchange")
    assert exchange.asked == [(ApiRequest(path, query), keep_s)]


@pytest.mark.parametrize(
    "changes",
    [
        {"store": lambda: None},
        {"store": lambda: Store(OPEN - 50 * MINUTE)},
        {"live": None},
        {"symbols": lambda _market: ()},
        {"contract_sizes": lambda *_: None},
        {"contract_sizes": lambda *_: Decimal(3)},
    ],
)
def test_nothing_is_answered_half(exchange, changes):
    """No store, a part of the span, no open candle, not collected any more, no size of a contract, or another one."""
    assert ask(api_of(exchange, **changes), CANDLES, instId="BTC-USDT-SWAP")[0].source == "exchange"


class Paged(Exchange):
    """An Upstream of closed candles of a minute, from one on."""

    first_ms = 0

    async def fetch(self, request: ApiRequest, *, keep_s: float = 0.0, weight: int = 1, epoch: int = 0) -> ApiAnswer:
        await super().fetch(request, keep_s=keep_s)
        after, limit = int(request.query["after"]), int(request.query["limit"])
        starts = range(after - MINUTE, max(after - (limit + 1) * MINUTE, self.first_ms - MINUTE), -MINUTE)
        return ApiAnswer(json.dumps({"code": "0", "data": [theirs(start) for start in starts]}).encode(), "exchange")


def theirs(start_ms: int) -> list[str]:
    return [str(start_ms), "1", "2", "1", "2", "77.0", "0.77", "9", "1"]


@pytest.mark.parametrize("symbol", ["BTC-USDT", "BTC-USDT-SWAP"])
def test_what_closed_before_the_collection_is_read_once_for_all(symbol):
    """The exchange's own rows as they are, of pages that are kept for ever, behind those of the store."""
    exchange = Paged()
    api = api_of(exchange, store=lambda: Store(OPEN - 2 * MINUTE))
    answer = asyncio.run(api.answer(ApiRequest(CANDLES, {"instId": symbol, "limit": "5"})))
    rows = json.loads(answer.body)["data"]
    assert answer.source == "exchange"
    assert [int(row[0]) for row in rows] == [OPEN - number * MINUTE for number in range(5)]
    assert rows[3:] == [theirs(OPEN - 3 * MINUTE), theirs(OPEN - 4 * MINUTE)]
    assert [row[5] for row in rows[:3]] == [{"BTC-USDT": "33.404285"}.get(symbol, "3340.4285")] * 3
    assert {request.path for request, _ in exchange.asked} == {HISTORY}
    assert {keep_s for _, keep_s in exchange.asked} == {FOR_EVER}
    before = list(exchange.asked)
    asyncio.run(api.answer(ApiRequest(CANDLES, {"instId": symbol, "limit": "4"})))
    assert exchange.asked == before * 2  # the upstream has it


def test_a_listing_that_is_younger_than_the_span_has_what_there_is():
    """Where its candles begin is the exchange's to say."""
    exchange = Paged()
    exchange.first_ms = OPEN - 3 * MINUTE
    api = api_of(exchange, store=lambda: Store(OPEN - 2 * MINUTE))
    query = {"instId": "BTC-USDT", "limit": "5", "after": str(OPEN)}
    answer = asyncio.run(api.answer(ApiRequest(CANDLES, query)))
    assert [int(row[0]) for row in json.loads(answer.body)["data"]] == [OPEN - number * MINUTE for number in (1, 2, 3)]


TICKER = b'{"arg":{"channel":"tickers","instId":"BTC-USDT"},"data":[{"instId":"BTC-USDT","last":"1.50","ts":"%d"}]}'
BOOK = b'{"arg":{"channel":"books","instId":"BTC-USDT"},"action":"snapshot","data":[{"asks":[["11","3","0","1"],["12","4","0","2"]],"bids":[["10","2","0","3"]],"ts":"%d","checksum":0,"prevSeqId":-1,"seqId":70}]}'  # noqa: E501


def latest(sent_ms: int) -> Mapping[str, Any]:
    messages = {("spot", "tickers:BTC-USDT"): TICKER % sent_ms, ("spot", "books:BTC-USDT"): BOOK % sent_ms}
    return {"latest": lambda market, topic: messages.get((market, topic))}


def test_a_ticker_and_a_book_are_the_newest_of_the_stream(exchange):
    """As REST has them: without ids but the book's own; one level unless it says."""
    api = api_of(exchange, **latest(NOW - 100))
    ticker, _ = ask(api, "/api/v5/market/ticker", instId="BTC-USDT")
    assert ticker.body == b'{"code":"0","msg":"","data":[{"instId":"BTC-USDT","last":"1.50","ts":"%d"}]}' % (NOW - 100)
    book, _ = ask(api, "/api/v5/market/books", instId="BTC-USDT")
    assert book.body == (
        b'{"code":"0","msg":"","data":[{"asks":[["11","3","0","1"]],"bids":[["10","2","0","3"]],"ts":"%d","seqId":70}]}'
        % (NOW - 100)
    )
    assert len(ask(api, "/api/v5/market/books", instId="BTC-USDT", sz=400)[1]["data"][0]["asks"]) == 2
    assert exchange.asked == []


@pytest.mark.parametrize(
    ("query", "sent_ms"),
    [
        ({"instId": "BTC-USDT"}, NOW - 5_000),  # the stream may be silent
        ({"instId": "BTC-USDT-SWAP"}, NOW),  # nothing came yet
        ({"instId": "NONE"}, NOW),
        ({"instId": "BTC-USDT", "sz": "401"}, NOW),
        ({"instId": "BTC-USDT", "sz": "x"}, NOW),
        ({}, NOW),
    ],
)
def test_an_old_book_is_none(exchange, query, sent_ms):
    """Nor one that is not collected; a wrong number of levels is for OKX to refuse."""
    assert ask(api_of(exchange, **latest(sent_ms)), "/api/v5/market/books", **query)[0].source == "exchange"
    asked, keep_s = exchange.asked[0]
    assert (asked.query, keep_s) == (query, KEPT_S[asked.path])


def test_the_time_is_the_exchanges_as_it_is_known_here(exchange):
    """It is asked often."""
    assert ask(api_of(exchange), "/api/v5/public/time")[1] == {"code": "0", "msg": "", "data": [{"ts": str(NOW)}]}


@pytest.mark.parametrize(
    ("path", "keep_s"),
    [("/api/v5/public/instruments", 60.0), ("/api/v5/market/trades", 0.3), ("/api/v5/public/x", 0.5)],
)
def test_all_else_that_is_public_is_passed_on(exchange, path, keep_s):
    """And kept for a while, by its nature."""
    ask(api_of(exchange), path, instType="SPOT")
    assert exchange.asked == [(ApiRequest(path, {"instType": "SPOT"}), keep_s)]


def test_refusals_have_okxs_form(exchange):
    """What needs a key is refused here; what cannot be asked now is too, so that its clients try again later."""
    api = api_of(exchange)
    answer, body = ask(api, "/api/v5/account/balance")
    assert (answer.status, body["code"], body["data"], exchange.asked) == (404, "404", [], [])
    assert "without an account" in body["msg"]
    for problem, expected in (
        (None, (429, "50011")),
        (Problem("refused", "the.reason"), (503, "50013")),
        (Problem("http_429", "the.reason"), (429, "50011")),
    ):
        exchange.fails = HistoryError("the.reason", problem=problem)
        answer, body = ask(api, "/api/v5/market/tickers", instType="SPOT")
        assert (answer.status, body["code"]) == expected
        assert "the.reason" in body["msg"]
    codes = {status: json.loads(api.refused(status, "x" * 9_999).body) for status in (400, 404, 405, 500)}
    assert {status: each["code"] for status, each in codes.items()} == {
        400: "51000", 404: "404", 405: "50115", 500: "50026",
    }  # fmt: skip
    assert all(len(each["msg"]) == 300 for each in codes.values())


def test_clients_share_a_half_of_each_limit():
    """The collector's own reads have the rest; paths whose limits are not known share one."""
    of = passage(Endpoints(rest_url="http://127.0.0.1:9"), threading.Event())
    for path, most in REQUESTS.items():
        known = of(path)
        assert known is not None
        assert (known.budget, known.share.weight, known.share.per_s) == (path, most // 2, 2.0)
    first, second = of("/api/v5/market/x"), of("/api/v5/rubik/y")
    assert first is not None
    assert first is second
    assert of("/api/v5/account/balance") is of("/api/v5/trade/order") is None
