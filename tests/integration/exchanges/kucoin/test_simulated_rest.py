"""REST of the simulated KuCoin: its odd truths by plain requests, and the same read by our own client."""

import functools
import threading
import time
from contextlib import contextmanager
from decimal import Decimal

import pytest
import requests

from exchanges.contract import Endpoints, TradeRules
from exchanges.kucoin.venue import VENUE
from model.intervals import DAY_MS, HOUR_MS, MINUTE_MS
from model.ports import HistoryError
from tests.integration.exchanges.kucoin.conftest import LIMIT_S, Client
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until

SYMBOLS = {"spot": "BTC-USDT", "linear": "XBTUSDTM"}
FIELDS = ("start", "open", "high", "low", "close", "volume", "turnover")


@contextmanager
def opened(simulator, market="linear"):
    stop = threading.Event()
    yield VENUE.rest(market, Endpoints(rest_url=simulator.rest_url), TradeRules(), stop)
    stop.set()


def data(simulator, path, **query):
    answer = simulator.get(path, **query).json()
    assert answer["code"] == "200000", answer
    return answer["data"]


def are_full(simulator, path, symbol):
    return len(data(simulator, path, symbol=symbol)) == 100


# plain requests


def test_errors_have_http_200(simulator):
    """But for a path that does not exist."""
    for path, query, code in (
        ("/api/v1/market/candles", {"symbol": "NONE-USDT", "type": "1min"}, "200003"),
        ("/api/v1/market/histories", {"symbol": "XBTUSDTM"}, "200003"),
        ("/api/v1/kline/query", {"symbol": "BTC-USDT", "granularity": 1}, "404000"),
        ("/api/v1/kline/query", {"symbol": "XBTUSDTM", "granularity": 360}, "400100"),
        ("/api/v1/market/candles", {"symbol": "BTC-USDT", "type": "1m"}, "400100"),
        ("/api/v1/bullet-public", {}, "405000"),
    ):
        answer = simulator.get(path, **query)
        assert (answer.status_code, answer.json()["code"]) == (200, code)
    assert simulator.get("/api/v1/nothing").status_code == 404


def test_requests_are_weighed(simulator):
    """2000 in thirty seconds; the headers tell how many are left, and in how many ms they come back."""
    answer = simulator.get("/api/v1/market/allTickers")
    left = int(answer.headers["gw-ratelimit-remaining"])
    again = requests.post(f"{simulator.rest_url}/api/v1/bullet-public", timeout=LIMIT_S)

    assert answer.headers["gw-ratelimit-limit"] == "2000"
    assert 0 < int(answer.headers["gw-ratelimit-reset"]) <= 30_000
    assert int(again.headers["gw-ratelimit-remaining"]) in (left - 10, 1990)  # a new window may have begun
    with SimulatorProcess("--exchange", "kucoin", "--rest-limit", 20) as narrow:
        answers = [narrow.get("/api/v1/market/allTickers") for _ in range(4)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused
    assert refused[-1].json()["code"] == "429000"
    assert "gw-ratelimit-reset" in refused[-1].headers


def test_pages_of_candles(simulator):
    """Spot: 1500, newest first, seconds. Futures: the oldest 200 of a window, milliseconds, oldest first."""
    now_s = int(time.time())
    spot = data(simulator, "/api/v1/market/candles", symbol="BTC-USDT", type="1min", startAt=now_s - 10**6, endAt=now_s)
    first = (now_s - 10**5) // 60 * MINUTE_MS
    futures = data(
        simulator, "/api/v1/kline/query", symbol="XBTUSDTM", granularity=1, **{"from": first, "to": now_s * 1000}
    )

    assert len(spot) == 1500
    assert [int(row[0]) for row in spot] == list(range(int(spot[0][0]), int(spot[-1][0]) - 1, -60))
    assert {type(cell) for row in spot for cell in row} == {str}
    assert [row[0] for row in futures] == list(range(first, first + 200 * MINUTE_MS, MINUTE_MS))
    assert {type(row[5]) for row in futures} == {int}


def test_the_hundred_newest_trades_are_all_there_is(simulator):
    """Whatever the query; of both markets, with nanoseconds."""
    for path, symbol in (("/api/v1/market/histories", "BTC-USDT"), ("/api/v1/trade/history", "XBTUSDTM")):
        wait_until(functools.partial(are_full, simulator, path, symbol), LIMIT_S)
        rows = data(simulator, path, symbol=symbol, limit=1000)
        assert len(rows) == 100
        times = [row.get("time", row.get("ts")) for row in rows]
        assert times == sorted(times, reverse=symbol == "XBTUSDTM")
        assert abs(times[0] / 10**9 - time.time()) < 60


def test_quiet_minutes_are_flat_in_spot_and_missing_in_futures(simulator):
    """Of the history; how late those of spot are: tests/unit/exchanges/simulated/test_kucoin.py."""
    spot = data(simulator, "/api/v1/market/candles", symbol="BTC-USDT", type="1min")
    futures = {
        row[0]
        for first in (0, 1)
        for row in data(
            simulator,
            "/api/v1/kline/query",
            symbol="XBTUSDTM",
            granularity=1,
            **{"from": int(spot[0][0]) * 1000 - (200 - 150 * first) * MINUTE_MS},
        )
    }
    true = {market: simulator.klines(symbol, MINUTE_MS, market) for market, symbol in SYMBOLS.items()}
    quiet, traded = (
        {row["start"] for row in true["linear"] if bool(row["trade_count"]) is is_traded} for is_traded in (False, True)
    )
    written = {int(row[0]) * 1000: row for row in spot}

    flat = [row["start"] for row in true["spot"][:-2] if not row["trade_count"]]
    assert flat
    assert all(len(set(written[start][1:5])) == 1 and float(written[start][5]) == 0 for start in flat)
    assert quiet
    assert not quiet & futures
    assert {start for start in traded if start > min(futures)} <= futures


# our own client


def test_markets_are_listed_with_their_contracts(simulator):
    """Inverse ones are left out."""
    for market, symbol in SYMBOLS.items():
        with opened(simulator, market) as rest:
            found = {each.symbol: each for each in rest.listed()}

        assert len(found) == 3
        assert found[symbol].contract_size == Decimal({"spot": "1", "linear": "0.001"}[market])
        assert found[symbol].quote == "USDT"
        assert all(each.turnover >= 0 for each in found.values())  # nothing traded yet, maybe


@pytest.mark.parametrize("market", list(SYMBOLS))
def test_candles_are_the_true_ones(simulator, market):
    """Of two hours, the quiet minutes among them, all columns; volumes in the base coin."""
    with opened(simulator, market) as rest:
        end = rest.server_time_ms() // MINUTE_MS * MINUTE_MS
        found = rest.candles(SYMBOLS[market], MINUTE_MS, end - 120 * MINUTE_MS, end)
    true = simulator.klines(SYMBOLS[market], MINUTE_MS, market, start=end - 120 * MINUTE_MS, end=end - 1)
    last = max(row["start"] for row in true if row["trade_count"])
    known = [row for row in true if row["start"] <= last]
    rows = [[each.start_ms, *(getattr(each, name) for name in FIELDS[1:])] for each in found]

    assert any(not row["trade_count"] for row in known)
    assert [row for row in rows if row[0] <= last] == [
        [row["start"], *(Decimal(row[name]) for name in FIELDS[1:])] for row in known
    ]


@pytest.mark.parametrize("market", list(SYMBOLS))
def test_two_thousand_minutes_are_read_over_several_pages(simulator, market):
    """Without a hole, the open one included where something traded in it."""
    with opened(simulator, market) as rest:
        now_ms = rest.server_time_ms()
        first = now_ms // MINUTE_MS * MINUTE_MS - 2000 * MINUTE_MS
        found = rest.candles(SYMBOLS[market], MINUTE_MS, first, now_ms)
        days = rest.candles(SYMBOLS[market], DAY_MS, now_ms - 5 * DAY_MS, now_ms)
        hours = rest.candles(SYMBOLS[market], 4 * HOUR_MS, now_ms - DAY_MS, now_ms)

    starts = [each.start_ms for each in found]
    assert starts == list(range(first, starts[-1] + 1, MINUTE_MS))
    assert starts[-1] >= now_ms - 3 * MINUTE_MS
    assert {each.start_ms % DAY_MS for each in days} == {0}
    assert {each.start_ms % (4 * HOUR_MS) for each in hours} == {0}


def test_recent_trades_are_those_of_the_sockets(simulator):
    """Oldest first in both markets, by their sequences."""
    for market, channel in (("spot", "/market/match"), ("linear", "/contractMarket/execution")):
        with Client(simulator) as client, opened(simulator, market) as rest:
            topic = f"{channel}:{SYMBOLS[market]}"
            client.subscribe(topic)
            sent = [message["data"] for message in client.data(30, topic)]
            recent = {each.trade_id: each for each in rest.recent_trades(SYMBOLS[market])}

        assert list(recent) == sorted(recent, key=int)
        both = [trade for trade in sent if trade["sequence"] in recent or trade["tradeId"] in recent]
        assert len(both) > 10
        for trade in both:
            other = recent[trade["tradeId"]]
            assert (other.price, other.size) == (float(trade["price"]), float(trade["size"]))
            assert other.event_ms == int(trade.get("time", trade.get("ts"))) // 10**6


def test_refusals_are_waited_for_and_unknown_symbols_are_final(simulator):
    """By their codes."""
    for market, code in (("spot", "200003"), ("linear", "404000")):
        with opened(simulator, market) as rest:
            simulator.command("rest_fault", what="http", status=503, count=1)
            assert rest.server_time_ms() > 0
            with pytest.raises(HistoryError, match=code) as caught:
                rest.recent_trades("NONE-USDT")
        assert caught.value.is_final
