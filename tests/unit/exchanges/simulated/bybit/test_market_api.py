"""REST answers as documented."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from exchanges.simulated.bybit.gateway import Gateway
from exchanges.simulated.bybit.private import PrivateSide
from exchanges.simulated.options import Options
from exchanges.simulated.rest import Answer, Request

from .conftest import START_MS, Harness


def ask(api: Gateway, path: str, **query: Any) -> Answer:
    """GET /v5/market/<path>."""
    texts = {name: str(value) for name, value in query.items()}
    return api.answer(Request("GET", f"/v5/market/{path}", texts, {}, "127.0.0.1"))


def gateway_of(harness: Harness, **options: Any) -> Gateway:
    """The REST side of a market."""
    return PrivateSide(replace(harness.options, **options), harness.hub, harness.market).gateway


@pytest.fixture
def api(harness: Harness) -> Gateway:
    """The market's REST side, five minutes of trades behind it."""
    harness.run(6000, step_ms=500)
    return gateway_of(harness)


def test_klines_are_newest_first_and_include_the_open_one(harness: Harness, api: Gateway) -> None:
    """Opens are the closes before them."""
    rows = ask(api, "kline", category="linear", symbol="BTCUSDT", interval=1, limit=4).body["result"]["list"]
    assert [int(row[0]) for row in rows] == [harness.now_ms - harness.now_ms % 60_000 - i * 60_000 for i in range(4)]
    assert all(newer[1] == older[4] for newer, older in pairwise(rows))
    assert all(len(row) == 7 and all(isinstance(text, str) for text in row) for row in rows)


@pytest.mark.parametrize("interval", ["1", "3", "5", "15", "30", "60", "120", "240", "360", "720", "D", "W", "M"])
def test_every_interval_is_served(api: Gateway, interval: str) -> None:
    """With at least the open candle."""
    body = ask(api, "kline", category="spot", symbol="ETHUSDT", interval=interval).body
    assert body["retCode"] == 0
    assert body["result"]["list"]


def test_start_and_limit_page_forward(api: Gateway) -> None:
    """Without an end the oldest come, still printed newest first."""
    start = START_MS - 10 * 60_000
    rows = ask(api, "kline", symbol="BTCUSDT", interval=1, start=start, limit=3).body["result"]["list"]
    assert [int(row[0]) for row in rows] == [start + 120_000, start + 60_000, start]


def test_start_and_end_give_the_newest(api: Gateway) -> None:
    """Where more than limit lie between."""
    bounds = {"start": START_MS - 10 * 60_000, "end": START_MS}
    rows = ask(api, "kline", symbol="BTCUSDT", interval=1, limit=2, **bounds).body["result"]["list"]
    assert [int(row[0]) for row in rows] == [START_MS, START_MS - 60_000]


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("kline", {"symbol": "NOPE", "interval": 1}),
        ("kline", {"symbol": "BTCUSDT", "interval": 7}),
        ("kline", {"symbol": "BTCUSDT", "interval": 1, "limit": 1001}),
        ("kline", {"symbol": "BTCUSDT", "interval": 1, "category": "option"}),
        ("recent-trade", {"category": "spot", "symbol": "BTCUSDT", "limit": 61}),
        ("instruments-info", {"category": "swap"}),
        ("tickers", {}),
        ("orderbook", {"category": "linear"}),
    ],
)
def test_bad_parameters_are_10001_with_a_message(api: Gateway, path: str, query: dict[str, Any]) -> None:
    """HTTP stays 200."""
    answer = ask(api, path, **query)
    assert (answer.status, answer.body["retCode"]) == (200, 10001)
    assert answer.body["retMsg"]


def test_recent_trades_are_at_most_60_on_spot(api: Gateway) -> None:
    """And up to 1000 elsewhere, newest first (trap T11)."""
    spot = ask(api, "recent-trade", category="spot", symbol="BTCUSDT").body["result"]["list"]
    linear = ask(api, "recent-trade", category="linear", symbol="BTCUSDT", limit=1000).body["result"]["list"]
    assert len(spot) == 60
    assert len(linear) > 200
    assert [int(t["time"]) for t in linear] == sorted((int(t["time"]) for t in linear), reverse=True)


def test_linear_instruments_come_in_pages_and_spot_whole() -> None:
    """500 unless asked otherwise, then the cursor (trap T14)."""
    harness = Harness(Options(categories=("linear", "spot"), symbols=1100, history_minutes=0))
    api, names, cursor = gateway_of(harness), [], ""
    for _ in range(3):
        result = ask(api, "instruments-info", category="linear", cursor=cursor).body["result"]
        names += [row["symbol"] for row in result["list"]]
        cursor = result["nextPageCursor"]
    assert (len(names), len(set(names)), cursor) == (1100, 1100, "")
    assert len(ask(api, "instruments-info", category="spot").body["result"]["list"]) == 1100


def test_too_many_requests_are_banned_by_http_403(harness: Harness) -> None:
    """The IP limit."""
    api = gateway_of(harness, rest_limit=5)
    assert [ask(api, "time").status for _ in range(7)] == [200] * 5 + [403] * 2


def test_commanded_limits_answer_10006_or_403(api: Gateway) -> None:
    """10006 names the time of relief in its header."""
    api.limit_for(30, 10006)
    answer = ask(api, "time")
    headers = dict(answer.headers)
    assert (answer.status, answer.body["retCode"], headers["X-Bapi-Limit-Status"]) == (200, 10006, "0")
    assert int(headers["X-Bapi-Limit-Reset-Timestamp"]) > answer.body["time"] + 20_000
    api.limit_for(30, 403)
    assert ask(api, "time").status == 403
    api.limit_for(0, 403)
    assert ask(api, "time").body["retCode"] == 0


@pytest.mark.parametrize(
    ("file", "path", "category", "symbol"),
    [
        ("tickers.0", "tickers", "inverse", "BTCUSD"),
        ("tickers.2", "tickers", "spot", "BTCUSDT"),
        ("recent-trade.0", "recent-trade", "spot", "BTCUSDT"),
        ("instrument.2", "instruments-info", "spot", "BTCUSDT"),
    ],
)
def test_rows_have_the_documented_keys(
    shared_data: Path, api: Gateway, file: str, path: str, category: str, symbol: str
) -> None:
    """The documentation's own examples decide."""
    documented = json.loads((shared_data / f"rest/docs/v5/market/{file}.json").read_text())
    ours = ask(api, path, category=category, symbol=symbol).body
    assert list(ours) == list(documented)
    assert list(ours["result"]["list"][0]) == list(documented["result"]["list"][0])
