"""The collector's own HTTP API, without a socket: what is answered, refused, and taken from the exchange."""

import asyncio
import difflib
import inspect
import json
from collections import Counter
from decimal import Decimal
from types import MappingProxyType

import pytest

from consumers.web import api as web_api
from consumers.web.api import ROWS_MOST, ApiOptions, DataApi
from consumers.web.api import _nearest as nearest
from consumers.web.connection import ANSWERED_S
from consumers.web.http import HttpRequest, route_of
from consumers.web.live.history import Past
from consumers.web.live.options import PageMarket
from model.envelope import Envelope
from model.intervals import parse_interval
from model.ports import StoredSeries
from model.records import Candle, Kline
from tests.support.schema import check_answer
from tests.support.store import MemoryStore

MINUTE_MS = 60_000
NOW_MS = 1_795_000_000_000 // MINUTE_MS * MINUTE_MS + 30_000
NEWEST_MS = NOW_MS // MINUTE_MS * MINUTE_MS - MINUTE_MS
INTERVALS = [parse_interval(name) for name in ("1m", "1M")]
MARKETS = MappingProxyType(
    {"linear": PageMarket(["BTCUSDT", "ETHUSDT"], INTERVALS, ["trades"], klines=True, has_book=True, has_tape=True)}
)


def kline(start_ms: int, revision: int = 0, *, complete: bool = True, interval: int = MINUTE_MS) -> Kline:
    prices = Decimal("67250.50"), Decimal("67251"), Decimal("67250.10"), Decimal("67250.00000001")
    return Kline("BTCUSDT", interval, start_ms, *prices, Decimal("12.5"), 7, Decimal(840), complete, "trades", revision)


def candle(start_ms: int) -> Candle:
    return Candle(start_ms, *map(Decimal, ("1.50", "2", "1", "1.5", "10", "15")))


class Api:
    """An API over a store in memory, asked as over HTTP."""

    def __init__(self) -> None:
        self.store: MemoryStore | None = MemoryStore()
        self.past = Past()
        self.reads = 0
        self.turns = 0
        self._api = DataApi(ApiOptions("bybit", "1", lambda: MARKETS, lambda: self.store, self._read, lambda: NOW_MS))

    def _read(self, *_series) -> Past:
        self.reads += 1
        return self.past

    def get(self, path: str, **query: object):
        """Status and decoded content of an answer; numbers as they are written."""
        route = route_of(self._api.routes(), path)
        request = HttpRequest(path, {name: str(value) for name, value in query.items()})

        async def ask():
            assert route is not None
            turns = asyncio.ensure_future(self._count_turns())
            answer = route.handler(request)
            answer = await answer if inspect.isawaitable(answer) else answer
            turns.cancel()
            return answer

        answer = asyncio.run(ask())
        assert answer.content_type == "application/json"
        check_answer(path, answer.status, answer.body)
        return answer.status, json.loads(answer.body, parse_float=str)

    async def _count_turns(self):
        """Count how often another task had its turn."""
        while True:
            await asyncio.sleep(0)
            self.turns += 1

    def stop(self) -> None:
        self._api.stop()


@pytest.fixture
def api():
    api = Api()
    yield api
    api.stop()


def test_klines_are_the_envelopes_own(api):
    """Field for field and digit for digit what the channel has, oldest first."""
    stored = [kline(NEWEST_MS - MINUTE_MS), kline(NEWEST_MS, 3, complete=False)]
    api.store.put("linear", stored)
    status, answer = api.get("/api/klines", symbol="BTCUSDT", interval="1m", last=500)

    envelope = json.loads(Envelope("bybit", "linear", "klines", tuple(stored)).json, parse_float=str)
    assert (status, answer) == (200, {**envelope, "next": None})
    assert [list(row) for row in answer["data"]] == [list(row) for row in envelope["data"]]


def test_months_have_their_real_length(api):
    length_ms = 30 * 86_400_000
    api.store.put("linear", [kline(1_793_491_200_000, interval=length_ms)], 0)
    _, answer = api.get("/api/klines", symbol="BTCUSDT", interval="1M", last=5)

    assert [row["interval"] for row in answer["data"]] == [length_ms]


def test_a_long_span_comes_in_bounded_parts(api):
    """Each says where the next begins; together they are the span, each kline once."""
    starts = [NEWEST_MS - i * MINUTE_MS for i in range(2 * ROWS_MOST + 7)][::-1]
    api.store.put("linear", [kline(start) for start in starts])
    found, start, parts = [], 0, 0
    while start is not None:
        _, answer = api.get("/api/klines", symbol="BTCUSDT", start=start)
        found += [row["timestamp"] for row in answer["data"]]
        start, parts = answer["next"], parts + 1

    assert (found, parts) == (starts, 3)


def test_last_takes_the_newest_before_an_end(api):
    api.store.put("linear", [kline(NEWEST_MS - i * MINUTE_MS) for i in range(10)])
    _, answer = api.get("/api/klines", symbol="BTCUSDT", last=2, end=NEWEST_MS)

    assert [row["timestamp"] for row in answer["data"]] == [NEWEST_MS - 2 * MINUTE_MS, NEWEST_MS - MINUTE_MS]


def test_what_the_store_lacks_comes_from_the_exchange_where_that_is_asked_for(api):
    """What was collected stays; of the rest what is settled, as the collector itself takes the exchange's candles."""
    api.store.put("linear", [kline(NEWEST_MS), kline(NEWEST_MS - 2 * MINUTE_MS)])
    api.past = Past([candle(NEWEST_MS - i * MINUTE_MS) for i in range(4, -2, -1)], read_ms=NOW_MS)
    _, plain = api.get("/api/klines", symbol="BTCUSDT", last=4)
    _, filled = api.get("/api/klines", symbol="BTCUSDT", last=4, fill="exchange")

    assert (len(plain["data"]), api.reads) == (2, 1)
    assert [row["timestamp"] for row in filled["data"]] == [NEWEST_MS - i * MINUTE_MS for i in (3, 2, 1, 0)]
    assert [row["source"] for row in filled["data"]] == ["exchange", "trades", "exchange", "trades"]
    assert filled["data"][0] | {"open": "1.50", "trade_count": 0, "complete": True} == filled["data"][0]


def test_an_exchange_that_has_no_such_candles_is_not_asked_for_them_by_every_request(api):
    """Seconds, for example; why is told each time."""
    api.past = Past(note="The exchange has none.")
    answers = [api.get("/api/klines", symbol="BTCUSDT", fill="exchange")[1] for _ in range(3)]

    assert ([answer["note"] for answer in answers], api.reads) == (["The exchange has none."] * 3, 1)


def test_a_slow_exchange_is_told_before_the_connection_ends():
    """A connection without an answer is ended, and its client would not learn why."""
    assert web_api.FILL_LIMIT_S + 1 < ANSWERED_S


def test_the_exchange_is_not_asked_where_nothing_is_missing(api):
    api.store.put("linear", [kline(NEWEST_MS - i * MINUTE_MS) for i in range(10)])
    _, answer = api.get("/api/klines", symbol="BTCUSDT", last=10, fill="exchange")

    assert (len(answer["data"]), api.reads) == (10, 0)


@pytest.mark.parametrize(
    ("query", "status", "text"),
    [
        ({}, 400, "symbol is missing"),
        ({"symbol": "BTCUSD"}, 404, "BTCUSD is not collected in linear"),
        ({"symbol": "BTCUSDT", "market": "moon"}, 404, "moon is not collected"),
        ({"symbol": "BTCUSDT", "interval": "7x"}, 400, "is no kline interval"),
        ({"symbol": "BTCUSDT", "interval": "3m"}, 404, "No klines of 3m"),
        ({"symbol": "BTCUSDT", "start": "yesterday"}, 400, "start is no whole number"),
        ({"symbol": "BTCUSDT", "last": "9" * 400}, 400, "last is no whole number"),
        ({"symbol": "BTCUSDT", "start": 5, "end": 4}, 400, "start is before end"),
        ({"symbol": "X" * 5_000}, 404, "is not collected"),
    ],
)
def test_a_wrong_request_is_answered_with_a_sentence(api, query, status, text):
    found, answer = api.get("/api/klines", **query)

    assert (found, text in answer["error"], len(answer["error"]) < 200) == (status, True, True)


def test_an_unknown_symbol_is_answered_with_the_nearest(api):
    assert api.get("/api/klines", symbol="btcusd")[1]["symbols"][0] == "BTCUSDT"


def test_a_wrong_symbol_among_thousands_is_compared_with_those_that_begin_like_it(monkeypatch):
    """3,500 options take the event loop 0.4 s, and the reader of the streams the GIL."""
    names = [f"BTC-{day}DEC26-{strike}-{side}" for day in range(1, 30) for strike in range(1000, 1060) for side in "CP"]
    compared = []
    matches = difflib.get_close_matches
    monkeypatch.setattr(
        difflib, "get_close_matches", lambda word, names, n: compared.append(names) or matches(word, names, n)
    )
    assert "BTC-7DEC26-1007-C" in nearest("BTC-7DEC26-1007-X", names)
    assert nearest("WRONG", names) == names[:20]
    assert max(map(len, compared)) <= 100


def test_thousands_of_series_leave_the_loop_to_others(api, monkeypatch):
    """Twenty milliseconds in one go would be every client's, and every stream's."""
    in_one_go: Counter[int] = Counter()
    monkeypatch.setattr(web_api, "step_name", lambda _: in_one_go.update([api.turns]) or "1m")
    monkeypatch.setattr(api.store, "series", lambda: [StoredSeries("linear", "S", MINUTE_MS, 0, 0)] * 5_000)
    assert len(api.get("/api/series")[1]["data"]) == 5_000
    assert max(in_one_go.values()) <= 500


def test_what_was_collected_once_is_answered_still(api):
    """The symbol has left the settings; its klines have not left the store."""
    api.store.held["linear", "OLDUSDT", MINUTE_MS] = {NEWEST_MS: kline(NEWEST_MS)}

    assert len(api.get("/api/klines", symbol="OLDUSDT", fill="exchange")[1]["data"]) == 1


def test_series_and_the_journal(api):
    api.store.put("linear", [kline(NEWEST_MS - MINUTE_MS), kline(NEWEST_MS)])
    api.store.records = [f'{{"event":"gap","ts":{i}}}' for i in range(5)]

    series = {"market": "linear", "symbol": "BTCUSDT", "interval": "1m"}
    assert api.get("/api/series")[1]["data"] == [{**series, "first": NEWEST_MS - MINUTE_MS, "last": NEWEST_MS}]
    newest = api.get("/api/journal", last=2)[1]
    assert ([row["ts"] for row in newest["data"]], newest["next"]) == ([3, 4], 4)
    assert api.get("/api/journal", since=4)[1]["data"] == []
    assert [row["ts"] for row in api.get("/api/journal", since=1)[1]["data"]] == [2, 3, 4]


def test_without_a_store_the_answer_says_what_to_switch_on(api):
    api.store = None
    for path in ("/api/klines", "/api/series", "/api/journal"):
        status, answer = api.get(path, symbol="BTCUSDT")
        assert (status, "KLINE_STORE" in answer["error"]) == (503, True)


def test_a_store_that_cannot_be_read_is_told(api):
    api.store.problem = "disk I/O error"

    assert api.get("/api/klines", symbol="BTCUSDT")[0] == 503


def test_the_root_says_what_is_collected(api):
    status, about = api.get("/api/")

    assert (status, about["exchange"], about["store"]) == (200, "bybit", True)
    assert about["markets"]["linear"]["symbols"] == ["BTCUSDT", "ETHUSDT"]
    assert api.get("/api/../etc/passwd")[0] == 404
