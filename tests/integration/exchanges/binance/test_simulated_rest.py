"""REST of the simulated Binance, by plain requests: weights, refusals, limits of history, rows."""

import itertools
from collections.abc import Iterator
from decimal import Decimal
from functools import partial
from typing import Any

import pytest

from model.intervals import DAY_MS, HOUR_MS
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until

USED = "X-MBX-USED-WEIGHT-1M"
LIMIT_S = 20.0
POLL_S = 0.5  # of what weighs 25 of 6,000 a minute: looked at more often, the address would be banned
PATHS = {"spot": "/api/v3/", "linear": "/fapi/v1/", "inverse": "/dapi/v1/"}
NAMES = {"spot": "BTCUSDT", "linear": "BTCUSDT", "inverse": "BTCUSD_PERP"}
STEP = Decimal("0.00000001")


@pytest.fixture(scope="module")
def simulator() -> Iterator[SimulatorProcess]:
    """One market for all tests but those that are refused."""
    options = ("--exchange", "binance", "--symbols", 3, "--illiquid", 0, "--rate", 1500, "--true-seconds")
    with SimulatorProcess(*options) as process:
        yield process


def weight_of(simulator: SimulatorProcess, path: str, **query: Any) -> int:
    """What a request weighs: the difference to a ping before it, which weighs one."""
    while True:
        before = int(simulator.get(path[: path.index("v") + 3] + "ping").headers[USED])
        answer = simulator.get(path, **query)
        assert answer.status_code == 200, answer.text
        if (found := int(answer.headers[USED]) - before) > 0:  # else a minute began between them
            return found


@pytest.mark.parametrize(
    ("path", "query", "weight"),
    [
        ("/api/v3/klines", {"interval": "1m", "limit": 1000}, 2),
        ("/api/v3/trades", {}, 25),
        ("/api/v3/historicalTrades", {}, 25),
        ("/api/v3/aggTrades", {}, 4),
        ("/api/v3/depth", {"limit": 100}, 5),
        ("/api/v3/depth", {"limit": 500}, 25),
        ("/api/v3/depth", {"limit": 1000}, 50),
        ("/api/v3/depth", {"limit": 5000}, 250),
        ("/api/v3/exchangeInfo", {"symbol": None}, 20),
        ("/api/v3/ticker/24hr", {"symbol": None}, 80),
        ("/api/v3/ticker/24hr", {}, 2),
        ("/fapi/v1/klines", {"interval": "1m", "limit": 99}, 1),
        ("/fapi/v1/klines", {"interval": "1m", "limit": 499}, 2),
        ("/fapi/v1/klines", {"interval": "1m", "limit": 1000}, 5),
        ("/fapi/v1/klines", {"interval": "1m", "limit": 1500}, 10),
        ("/fapi/v1/trades", {}, 5),
        ("/fapi/v1/aggTrades", {}, 20),
        ("/fapi/v1/depth", {"limit": 50}, 2),
        ("/fapi/v1/depth", {"limit": 1000}, 20),
        ("/fapi/v1/exchangeInfo", {"symbol": None}, 1),
        ("/fapi/v1/ticker/24hr", {"symbol": None}, 40),
        ("/fapi/v1/time", {"symbol": None}, 1),
    ],
)
def test_a_request_weighs_what_the_documentation_says(simulator, path, query, weight):
    """By the limit that is asked for, and told in a header."""
    query = {name: value for name, value in ({"symbol": "BTCUSDT"} | query).items() if value is not None}
    assert weight_of(simulator, path, **query) == weight


def test_both_futures_have_one_budget(simulator):
    """T11: USD-M counts for COIN-M; spot has its own."""
    simulator.get("/fapi/v1/depth", symbol="BTCUSDT", limit=1000)

    def counts() -> bool:
        before = int(simulator.get("/fapi/v1/ping").headers[USED])
        after, spot = (int(simulator.get(path).headers[USED]) for path in ("/dapi/v1/ping", "/api/v3/ping"))
        return after == before + 1 and spot != after

    wait_until(counts, LIMIT_S)


def test_who_goes_on_after_429_is_banned():
    """Both say how long to wait and what was used; a ban says until when, and is of all products."""
    with SimulatorProcess("--exchange", "binance", "--symbols", 1, "--illiquid", 0, "--rest-limit", 30) as simulator:
        answers = [simulator.get("/fapi/v1/ping") for _ in range(30)]
        while answers[-1].status_code != 418 and len(answers) < 90:
            answers.append(simulator.get("/fapi/v1/ping"))
        codes = [answer.status_code for answer in answers]
        refused = next(answer for answer in answers if answer.status_code == 429)
        banned = answers[-1]
        elsewhere = simulator.get("/api/v3/ping")
        now_ms = simulator.stats()["now_ms"]

    assert [code for code, _ in itertools.groupby(codes)] in ([200, 429, 418], [200, 429, 200, 429, 418])
    assert codes.count(429) >= 10
    for answer in (refused, banned):
        assert answer.json()["code"] == -1003
        assert int(answer.headers[USED]) > 30
    assert 0 < int(refused.headers["Retry-After"]) <= 61
    assert int(banned.headers["Retry-After"]) > 100
    until_ms = int(banned.json()["msg"].partition("banned until ")[2].partition(".")[0])
    assert 100_000 < until_ms - now_ms < 121_000
    assert elsewhere.status_code == 418


def test_refusals_on_command_look_like_their_cause(simulator):
    """A firewall answers a page, a restricted country a sentence in JSON, which has no code of a limit."""
    found = {}
    for code in (403, 451, 429, 418):
        simulator.command("ratelimit", **{"s": 30, "with": code})
        found[code] = simulator.get("/api/v3/ping")
    simulator.command("ratelimit", s=0)

    assert [answer.status_code for answer in found.values()] == list(found)
    assert found[403].headers["Content-Type"] == "text/html"
    assert "restricted location" in found[451].json()["msg"]
    assert found[429].json()["code"] == found[418].json()["code"] == -1003
    assert "Retry-After" in found[429].headers
    assert "Retry-After" not in found[451].headers
    assert simulator.get("/api/v3/ping").status_code == 200


@pytest.mark.parametrize(
    ("path", "query", "code"),
    [
        ("/api/v3/klines", {"symbol": "NONEUSDT", "interval": "1m"}, -1121),
        ("/api/v3/klines", {"interval": "1m"}, -1102),
        ("/api/v3/klines", {"symbol": "btcusdt", "interval": "1m"}, -1100),
        ("/api/v3/klines", {"symbol": "BTCUSDT", "interval": "7m"}, -1120),
        ("/fapi/v1/klines", {"symbol": "BTCUSDT", "interval": "1s"}, -1120),
        ("/fapi/v1/klines", {"symbol": "BTCUSDT", "interval": "1m", "limit": "x"}, -1100),
        ("/fapi/v1/depth", {"symbol": "BTCUSDT", "limit": 7}, -1130),
        ("/dapi/v1/klines", {"symbol": "BTCUSD_PERP", "interval": "1d", "startTime": 1_700_000_000_000}, -1127),
        ("/fapi/v1/aggTrades", {"symbol": "BTCUSDT", "fromId": 1, "startTime": 1}, -1128),
        ("/fapi/v1/aggTrades", {"symbol": "BTCUSDT", "startTime": 1, "endTime": 2 * HOUR_MS}, -1127),
    ],
)
def test_wrong_requests_are_refused_with_a_code(simulator, path, query, code):
    """And HTTP 400."""
    answer = simulator.get(path, **query)
    assert (answer.status_code, answer.json()["code"]) == (400, code)


def test_history_has_its_limits(simulator):
    """A page, the days of COIN-M, and old trades of futures for keys alone."""
    for market, most in (("spot", 1000), ("linear", 1500), ("inverse", 1500)):
        rows = simulator.get(PATHS[market] + "klines", symbol=NAMES[market], interval="1m", limit=5000).json()
        assert len(rows) == most
    now_ms = simulator.stats()["now_ms"]
    query = {"symbol": "BTCUSD_PERP", "interval": "1d", "startTime": now_ms - 199 * DAY_MS}
    assert len(simulator.get("/dapi/v1/klines", **query).json()) == 199
    answer = simulator.get("/fapi/v1/historicalTrades", symbol="BTCUSDT")
    assert (answer.status_code, answer.json()["code"]) == (401, -2014)
    for path in ("/api/v3/trades", "/api/v3/aggTrades"):
        query = {"symbol": "BTCUSDT", "limit": 2000}
        wait_until(partial(_has, simulator, path, query, 1000), LIMIT_S, POLL_S)
        assert len(simulator.get(path, symbol="BTCUSDT").json()) == 500


def _has(simulator: SimulatorProcess, path: str, query: dict[str, Any], count: int) -> bool:
    return len(simulator.get(path, **query).json()) == count


def test_both_ends_of_a_range_of_candles_are_inclusive(simulator):
    """Oldest first; the open one is there."""
    now_ms = simulator.stats()["now_ms"]
    last = now_ms // 60_000 * 60_000 - 600_000
    query = {"symbol": "BTCUSDT", "interval": "1m", "startTime": last - 300_000, "endTime": last}
    for market, path in PATHS.items():
        rows = simulator.get(path + "klines", **(query | {"symbol": NAMES[market]}))
        assert [row[0] for row in rows.json()] == list(range(last - 300_000, last + 1, 60_000))
    newest = simulator.get("/api/v3/klines", symbol="BTCUSDT", interval="1m", limit=1).json()[0]
    assert newest[0] <= now_ms + 60_000
    assert newest[6] > now_ms


@pytest.mark.parametrize("market", list(PATHS))
def test_rows_of_trades_are_worth_price_times_size(simulator, market):
    """In the quote coin; of COIN-M in the coin, T9: a contract is 100 dollars."""
    path, name = PATHS[market], NAMES[market]
    wait_until(lambda: len(simulator.get(path + "trades", symbol=name, limit=50).json()) == 50, LIMIT_S, POLL_S)
    for row in simulator.get(path + "trades", symbol=name, limit=50).json():
        price, size = Decimal(row["price"]), Decimal(row["qty"])
        if market == "inverse":
            assert Decimal(row["baseQty"]) == (size * 100 / price).quantize(STEP)
        else:
            assert Decimal(row["quoteQty"]) == size * price
        assert ("isBestMatch" in row, "isRPITrade" in row) == (market == "spot", market != "spot")
        if market == "spot":
            assert (len(row["price"].partition(".")[2]), len(row["qty"].partition(".")[2])) == (8, 8)


def test_a_candle_is_the_sum_of_its_trades_the_takers_share_included(simulator):
    """A second of spot, all nine columns."""

    def one() -> tuple[list[Any], list[dict[str, Any]]] | None:
        rows = simulator.get("/api/v3/klines", symbol="BTCUSDT", interval="1s", limit=3).json()
        trades = simulator.get("/api/v3/trades", symbol="BTCUSDT", limit=1000).json()
        if len(rows) < 3 or not trades or trades[0]["time"] >= rows[0][0]:
            return None
        return rows[0], [trade for trade in trades if trade["time"] // 1000 * 1000 == rows[0][0]]

    found: list[tuple[list[Any], list[dict[str, Any]]]] = []
    wait_until(lambda: found.extend(filter(None, [one()])) or found, LIMIT_S, POLL_S)
    row, trades = found[0]
    bought = [trade for trade in trades if not trade["isBuyerMaker"]]
    prices = [Decimal(trade["price"]) for trade in trades]

    assert len(trades) > len(bought) > 0
    assert [Decimal(value) for value in row[1:5]] == [prices[0], max(prices), min(prices), prices[-1]]
    assert row[8] == len(trades)
    for column, worth, of in (
        (5, "qty", trades),
        (7, "quoteQty", trades),
        (9, "qty", bought),
        (10, "quoteQty", bought),
    ):
        assert Decimal(row[column]) == sum(Decimal(trade[worth]) for trade in of)
        assert len(row[column].partition(".")[2]) == 8


def test_aggregates_hold_the_ids_between_them(simulator):
    """f .. l follow each other but for ids that do not count; what is asked for by an id begins there."""
    query = {"symbol": "BTCUSDT", "limit": 200}
    wait_until(partial(_has, simulator, "/fapi/v1/aggTrades", query, 200), LIMIT_S, POLL_S)
    rows = simulator.get("/fapi/v1/aggTrades", **query).json()
    assert all(b["a"] == a["a"] + 1 and b["f"] > a["l"] for a, b in itertools.pairwise(rows))
    assert sum(b["f"] > a["l"] + 1 for a, b in itertools.pairwise(rows)) < len(rows) / 10
    first = simulator.get("/fapi/v1/aggTrades", symbol="BTCUSDT", fromId=rows[10]["a"], limit=5).json()
    assert first == rows[10:15]


def test_delisted_symbols_stay_in_the_list_with_another_status():
    """BREAK, SETTLING; the limits are told as well."""
    with SimulatorProcess("--exchange", "binance", "--symbols", 2, "--illiquid", 0, "--rate", 0) as simulator:
        for market, name in (("spot", "ETHUSDT"), ("linear", "ETHUSDT"), ("inverse", "ETHUSD_PERP")):
            simulator.command("delist", category=market, symbol=name)
        info = {market: simulator.get(path + "exchangeInfo").json() for market, path in PATHS.items()}
        trading = simulator.get("/api/v3/exchangeInfo", symbolStatus="TRADING").json()["symbols"]

    states = {
        market: {row["symbol"]: row.get("status") or row.get("contractStatus") for row in answer["symbols"]}
        for market, answer in info.items()
    }
    assert states == {
        "spot": {"BTCUSDT": "TRADING", "ETHUSDT": "BREAK"},
        "linear": {"BTCUSDT": "TRADING", "ETHUSDT": "SETTLING"},
        "inverse": {"BTCUSD_PERP": "TRADING", "ETHUSD_PERP": "SETTLING"},
    }
    assert [row["symbol"] for row in trading] == ["BTCUSDT"]
    assert [answer["rateLimits"][0]["limit"] for answer in info.values()] == [6000, 2400, 2400]
    assert info["inverse"]["symbols"][0]["contractSize"] == 100
    assert trading[0]["filters"][0]["tickSize"] == "0.01000000"
