"""REST of the simulated BingX by a plain client: shapes, pages, errors and limits of the documentation."""

import json
from decimal import Decimal
from typing import Any

import pytest
import requests

from model.intervals import MINUTE_MS
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until

SWAP_CANDLES, SPOT_CANDLES = "/openApi/swap/v3/quote/klines", "/openApi/spot/v2/market/kline"
SWAP_TRADES, SPOT_TRADES = "/openApi/swap/v2/quote/trades", "/openApi/spot/v1/market/trades"
LIMIT_S, POLL_S = 30.0, 0.1  # REST has a limit per address
MINUTES = {"symbol": "BTC-USDT", "interval": "1m"}
PRICES = ("open", "high", "low", "close")


def rows(answer: requests.Response) -> Any:
    """The data of an answer, numbers exact."""
    assert answer.status_code == 200
    body = json.loads(answer.text, parse_float=Decimal)
    assert body["code"] == 0
    return body["data"]


def shape(value: Any) -> Any:
    """Keys in order, and types."""
    if isinstance(value, dict):
        return [(key, shape(each)) for key, each in value.items()]
    return [shape(each) for each in value] if isinstance(value, list) else type(value)


@pytest.mark.parametrize(
    ("name", "path", "query"),
    [
        ("swap_klines_1h", SWAP_CANDLES, {"symbol": "BTC-USDT", "interval": "1h"}),
        ("spot_kline_1h", SPOT_CANDLES, {"symbol": "BTC-USDT", "interval": "1h"}),
        ("swap_trades_docs", SWAP_TRADES, {"symbol": "BTC-USDT"}),
        ("spot_trades_docs", SPOT_TRADES, {"symbol": "BTC-USDT"}),
    ],
)
def test_rows_look_as_recorded(shared_data, simulator, name, path, query):
    """The same keys in the same order, texts and numbers where they are."""
    recorded = json.loads((shared_data / "bingx" / f"rest_{name}.json").read_text())
    wait_until(lambda: rows(simulator.get(path, **query)), LIMIT_S, POLL_S)
    ours = simulator.get(path, **query).json()

    assert list(ours) == list(recorded)
    assert {str(shape(row)) for row in ours["data"]} <= {str(shape(row)) for row in recorded["data"]}


def test_candles_of_swaps_are_the_true_ones_without_a_turnover(simulator):
    """Newest first, the open one included."""
    found = rows(simulator.get(SWAP_CANDLES, **MINUTES, limit=100))
    true = {row["start"]: row for row in simulator.klines("BTC-USDT", MINUTE_MS)}

    assert [row["time"] for row in found] == [found[0]["time"] - n * MINUTE_MS for n in range(100)]
    assert all(set(row) == {*PRICES, "volume", "time"} for row in found)
    for row in found[1:]:
        assert all(Decimal(row[key]) == Decimal(true[row["time"]][key]) for key in (*PRICES, "volume"))


def test_candles_of_spot_are_numbers_with_a_turnover_of_two_decimals(simulator):
    """Start, prices, volume, last ms, turnover."""
    found = rows(simulator.get(SPOT_CANDLES, **MINUTES, limit=100))
    true = {row["start"]: row for row in simulator.klines("BTC-USDT", MINUTE_MS, "spot")}

    for start, opened, high, low, closed, volume, last_ms, turnover in found[1:]:
        expected = [Decimal(true[start][key]) for key in (*PRICES, "volume")]
        assert [Decimal(value) for value in (opened, high, low, closed, volume)] == expected
        assert last_ms == start + MINUTE_MS - 1
        assert abs(turnover - Decimal(true[start]["turnover"])) <= Decimal("0.005")
        assert turnover == round(turnover, 2)


@pytest.mark.parametrize(("path", "usual", "most"), [(SWAP_CANDLES, 500, 1440), (SPOT_CANDLES, 500, 1000)])
def test_candles_have_a_usual_and_a_greatest_number_and_both_times_are_inclusive(simulator, path, usual, most):
    """More is not refused."""
    newest = rows(simulator.get(path, **MINUTES, limit=1))[0]
    start = newest["time"] if isinstance(newest, dict) else newest[0]
    starts = [
        row["time"] if isinstance(row, dict) else row[0]
        for row in rows(simulator.get(path, **MINUTES, startTime=start - 5 * MINUTE_MS, endTime=start - 2 * MINUTE_MS))
    ]

    assert len(rows(simulator.get(path, **MINUTES))) == usual
    assert len(rows(simulator.get(path, **MINUTES, limit=5000))) == most
    assert starts == [start - n * MINUTE_MS for n in (2, 3, 4, 5)]


@pytest.mark.parametrize(("path", "usual", "most"), [(SWAP_TRADES, 500, 1000), (SPOT_TRADES, 100, 500)])
def test_trades_are_newest_first_and_of_swaps_have_no_id(path, usual, most):
    """The usual number, and the greatest."""
    with SimulatorProcess("--rate", 4000, "--symbols", 1, "--illiquid", 0, exchange="bingx") as simulator:
        wait_until(lambda: len(rows(simulator.get(path, symbol="BTC-USDT", limit=5000))) == most, LIMIT_S, POLL_S)
        found = rows(simulator.get(path, symbol="BTC-USDT"))

    assert len(found) == usual
    assert [row["time"] for row in found] == sorted((row["time"] for row in found), reverse=True)
    if path == SPOT_TRADES:
        assert [row["id"] for row in found] == [found[0]["id"] - n for n in range(usual)]
    else:
        assert all("id" not in row for row in found)


@pytest.mark.parametrize(
    ("path", "query", "code"),
    [
        (SWAP_CANDLES, {"symbol": "NONE-USDT", "interval": "1m"}, 109425),
        (SWAP_TRADES, {"symbol": "NONE-USDT"}, 109425),
        (SWAP_TRADES, {"symbol": "NCFXEUR2JPY-USDT"}, 109415),
        (SWAP_CANDLES, {"symbol": "BTC-USDT", "interval": "1min"}, 109400),
        (SWAP_CANDLES, {"symbol": "BTC-USDT", "interval": "1m", "limit": "x"}, 109400),
        (SPOT_TRADES, {"symbol": "NONE-USDT"}, 100400),
        ("/openApi/spot/v1/ticker/24hr", {}, 100400),
        ("/openApi/swap/v9/nothing", {}, 100400),
    ],
)
def test_errors_are_codes_in_an_answer_with_status_200(simulator, path, query, code):
    """An unknown symbol, a paused contract, a wrong parameter, one that is missing, a path that is none."""
    answer = simulator.get(path, **query)
    assert (answer.status_code, answer.json()["code"]) == (200, code)


def test_what_is_not_traded_is_listed_all_the_same(simulator):
    """A paused contract, a pair that is off; steps of contracts are told by numbers of decimals."""
    contracts = {row["symbol"]: row for row in rows(simulator.get("/openApi/swap/v2/quote/contracts"))}
    pairs = {row["symbol"]: row for row in rows(simulator.get("/openApi/spot/v1/common/symbols"))["symbols"]}
    btc = contracts["BTC-USDT"]

    assert {name: row["status"] for name, row in contracts.items() if row["status"] != 1} == {"NCFXEUR2JPY-USDT": 25}
    assert (btc["pricePrecision"], btc["quantityPrecision"], btc["size"]) == (1, 4, "0.0001")
    assert {row["status"] for row in pairs.values()} == {0, 1}
    assert pairs["BTC-USDT"]["tickSize"] == Decimal("0.01")


def test_too_many_requests_are_refused_and_who_goes_on_is_banned():
    """429 with a code, then 418; what remains stands in a header."""
    with SimulatorProcess("--rate", 0, "--symbols", 1, "--rest-limit", 20, exchange="bingx") as simulator:
        path = "/openApi/swap/v2/server/time"
        answers = [simulator.get(path) for _ in range(40)]

    assert answers[0].headers["X-RateLimit-Requests-Remain"] == "19"
    assert int(answers[0].headers["X-RateLimit-Requests-Expire"]) > 0
    assert [answer.status_code for answer in answers] == [200] * 20 + [429] * 10 + [418] * 10
    assert answers[20].json()["code"] == 100410
