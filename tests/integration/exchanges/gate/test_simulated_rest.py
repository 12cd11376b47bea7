"""REST of the simulated Gate: by a plain client what it refuses, and by our own client, two readings of one page."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from itertools import pairwise

import pytest

from exchanges.contract import Endpoints, TradeRules
from exchanges.gate.rest import GateRest
from exchanges.gate.venue import VENUE
from exchanges.simulated.gate.service import LIMIT, WINDOW_S
from model.intervals import DAY_MS, HOUR_MS, MINUTE_MS, MONTH
from tests.integration.exchanges.gate.conftest import DECIMALS
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until

BTC, DECIMAL = "BTC_USDT", "SOL_USDT"  # the other is a contract whose sizes have decimals
MARKETS = ("spot", "linear")
PATHS = {"spot": "/api/v4/spot/", "linear": "/api/v4/futures/usdt/"}
NAMES = {"spot": "currency_pair", "linear": "contract"}


@pytest.fixture(scope="module")
def simulator() -> Iterator[SimulatorProcess]:
    """One market for all tests: none of them changes it for the others."""
    options = ("--rate", 400, "--symbols", 3, "--illiquid", 0, "--rest-limit", 100_000)
    with SimulatorProcess(*options, exchange="gate") as process:
        yield process


def opened(simulator, market):
    endpoints = Endpoints(rest_url=simulator.rest_url)
    rest = VENUE.rest(market, endpoints, TradeRules(), threading.Event())
    assert isinstance(rest, GateRest)
    return closing(rest)


def asked(simulator, market, name, **query):
    """The body of a plain answer, in which `from_` is from."""
    query = {NAMES[market]: BTC} | {key.rstrip("_"): value for key, value in query.items()}
    return simulator.get(PATHS[market] + name, **query).json()


@pytest.mark.parametrize("market", MARKETS)
def test_markets_are_listed_with_their_contracts(simulator, market):
    """Base, quote and size of a contract."""
    with opened(simulator, market) as rest:
        found = {each.symbol: each for each in rest.listed()}
    sizes = {"BTC_USDT": "0.0001", "ETH_USDT": "0.01", "SOL_USDT": "1"}

    assert set(found) == set(sizes)
    assert all((each.base, each.quote) == tuple(symbol.split("_")) for symbol, each in found.items())
    for symbol, each in found.items():
        assert each.contract_size == (1 if market == "spot" else Decimal(sizes[symbol]))


@pytest.mark.parametrize("symbol", [BTC, DECIMAL])
@pytest.mark.parametrize("market", MARKETS)
def test_candles_are_the_true_ones(simulator, market, symbol):
    """Of two hours, all columns; volume in the base coin, though futures have it in contracts."""
    with opened(simulator, market) as rest:
        end = rest.server_time_ms() // MINUTE_MS * MINUTE_MS
        found = rest.candles(symbol, MINUTE_MS, end - 120 * MINUTE_MS, end)
    true = simulator.klines(symbol, MINUTE_MS, market, start=end - 120 * MINUTE_MS, end=end - 1)
    names = ("open", "high", "low", "close", "volume", "turnover")

    assert [each.start_ms for each in found] == [row["start"] for row in true]
    assert [[getattr(each, name) for name in names] for each in found] == [
        [Decimal(row[name]) for name in names] for row in true
    ]


@pytest.mark.parametrize("market", MARKETS)
def test_candles_begin_where_gate_begins_them(simulator, market):
    """7d on Thursdays, 30d with the calendar month, 1w on Mondays and of futures alone."""
    with opened(simulator, market) as rest:
        now_ms = rest.server_time_ms()
        months = [each.start_ms for each in rest.candles(BTC, MONTH, now_ms - 100 * DAY_MS, now_ms)]
        minutes = rest.candles(BTC, MINUTE_MS, now_ms - 2500 * MINUTE_MS, now_ms)
    key = 0 if market == "spot" else "t"
    weeks = [int(row[key]) for row in asked(simulator, market, "candlesticks", interval="7d", limit=5)]
    mondays = asked(simulator, market, "candlesticks", interval="1w", limit=5)

    assert len(months) in (3, 4)
    assert all(time.gmtime(start / 1000)[2:5] == (1, 0, 0) for start in months)
    assert all(b.start_ms == a.start_ms + MINUTE_MS for a, b in pairwise(minutes))
    assert len(minutes) in (2499, 2500)
    assert len(weeks) == 5
    assert {start % (7 * 86_400) for start in weeks} == {0}
    if market == "spot":
        assert mondays["label"] == "INVALID_PARAM_VALUE"
    else:
        assert {row["t"] % (7 * 86_400) for row in mondays} == {4 * 86_400}


def test_both_ends_are_included_and_a_range_of_spot_may_not_be_broad(simulator):
    """Five intervals give six rows; of futures the newest 2001 come without a word."""
    now_s = int(time.time()) // 60 * 60 - 60
    for market in MARKETS:
        assert len(asked(simulator, market, "candlesticks", interval="1m", from_=now_s - 300, to=now_s)) == 6
    wide = {"interval": "1m", "from_": now_s - 3000 * 60, "to": now_s}
    refused = asked(simulator, "spot", "candlesticks", **wide)
    rows = asked(simulator, "linear", "candlesticks", **wide)

    assert refused == {
        "label": "INVALID_PARAM_VALUE",
        "message": "Candlestick range too broad. Maximum 1000 data points are allowed per request",
    }
    assert len(rows) == 2001
    assert rows[-1]["t"] == now_s


@pytest.mark.parametrize("market", MARKETS)
@pytest.mark.parametrize(
    "query",
    [
        {"interval": "7m"},
        {"interval": "1s"},
        {"limit": 0},
        {"limit": 2001},
        {"limit": "many"},
        {"from_": "yesterday"},
        {"interval": "1m", "from_": 1_700_000_000, "to": 1_700_000_060},
    ],
)
def test_candles_that_there_are_not_are_refused(simulator, market, query):
    """Also those before the newest ten thousand."""
    assert asked(simulator, market, "candlesticks", **query)["label"] == "INVALID_PARAM_VALUE"


def test_a_limit_of_spot_does_not_go_with_a_range(simulator):
    """As documented."""
    now_s = int(time.time())
    refused = asked(simulator, "spot", "candlesticks", interval="1m", limit=5, from_=now_s - 300, to=now_s)
    assert refused["label"] == "INVALID_PARAM_VALUE"


def test_on_command_spot_leaves_out_minutes_without_trades(simulator):
    """That it has them is not known; our own client gives those that there are."""
    with opened(simulator, "spot") as rest:
        end = rest.server_time_ms() // MINUTE_MS * MINUTE_MS
        all_of_them = rest.candles(BTC, MINUTE_MS, end - 60 * MINUTE_MS, end)
        simulator.command("assume", empty=False)
        try:
            traded = rest.candles(BTC, MINUTE_MS, end - 60 * MINUTE_MS, end)
        finally:
            simulator.command("assume", empty=True)

    assert len(all_of_them) == 60
    assert traded == [each for each in all_of_them if each.volume]
    assert 0 < len(traded) < 60


def test_what_is_not_listed_has_a_label_of_its_own_in_each_market(simulator):
    """The message may be absent."""
    spot = asked(simulator, "spot", "trades", currency_pair="NO_USDT")
    assert spot["label"] == "INVALID_CURRENCY_PAIR"
    assert asked(simulator, "linear", "trades", contract="NO_USDT") == {"label": "CONTRACT_NOT_FOUND"}
    assert asked(simulator, "linear", "order_book", limit=301) == {"label": "TOO_BIG", "message": "limit 300"}


@pytest.mark.parametrize("market", MARKETS)
def test_a_hole_is_read_by_its_ids(simulator, market):
    """Several pages, exactly; internal trades are among them, and do not count."""
    with opened(simulator, market) as rest:
        until = time.monotonic() + 60
        while len(recent := rest.recent_trades(BTC)) < 400 and time.monotonic() < until:
            time.sleep(0.2)
        first, last = recent[20].seq, recent[-20].seq
        found = rest.trades_by_id(BTC, first, last)

    assert [each.seq for each in found] == list(range(first, last + 1))
    assert found == list(recent[20:-19])
    assert {each.is_counted for each in recent} == ({True} if market == "spot" else {True, False})


def test_pages_of_trades_go_back_by_id_and_by_number(simulator):
    """last_id is excluded; reverse=true is older, and futures have it so always."""
    wait_until(lambda: len(asked(simulator, "spot", "trades", limit=1000)) > 300, 60)
    for market, older in (("spot", {"reverse": "true"}), ("linear", {})):
        newest = int(asked(simulator, market, "trades", limit=1)[0]["id"])
        back = [int(row["id"]) for row in asked(simulator, market, "trades", limit=50, last_id=newest - 10, **older)]
        assert back == list(range(newest - 11, newest - 61, -1))
    last_id = int(asked(simulator, "spot", "trades", limit=1)[0]["id"]) - 100
    newer = [int(row["id"]) for row in asked(simulator, "spot", "trades", limit=5, last_id=last_id)]
    assert newer == list(range(last_id + 5, last_id, -1))
    assert asked(simulator, "spot", "trades", limit=1000, page=102)["label"] == "INVALID_PARAM_VALUE"
    end = int(time.time())
    first, second = (asked(simulator, "spot", "trades", limit=20, page=page, to=end - 2) for page in (1, 2))
    assert int(second[0]["id"]) == int(first[-1]["id"]) - 1
    assert float(first[0]["create_time_ms"]) < (end - 1) * 1000


def test_a_pair_that_was_delisted_is_untradable():
    """And no trades of it are had."""
    with SimulatorProcess("--rate", 0, "--symbols", 2, "--illiquid", 0, exchange="gate") as simulator:
        simulator.command("delist", category="spot", symbol=BTC)
        rows = {row["id"]: row["trade_status"] for row in simulator.get("/api/v4/spot/currency_pairs").json()}
        with opened(simulator, "spot") as rest:
            listed = {each.symbol for each in rest.listed()}

    assert rows == {"ETH_USDT": "tradable", BTC: "untradable"}
    assert listed == {"ETH_USDT"}


def test_two_hundred_requests_in_ten_seconds_are_allowed_on_a_path():
    """Headers count them; another path has its own."""
    options = ("--rate", 0, "--symbols", 1, "--illiquid", 0, "--rest-limit", 20)
    with SimulatorProcess(*options, exchange="gate") as simulator:
        answers = [simulator.get("/api/v4/spot/time") for _ in range(41)]  # in two windows at most
        other = simulator.get("/api/v4/spot/tickers")
    remain = [int(each.headers["X-Gate-RateLimit-Requests-Remain"]) for each in answers]
    refused = [each for each in answers if each.status_code == 429]

    assert (LIMIT, WINDOW_S) == (200, 10)
    assert answers[0].headers["X-Gate-RateLimit-Limit"] == "20"
    assert remain[:2] in ([19, 18], [19, 19])
    assert {each.json()["label"] for each in refused} == {"TOO_MANY_REQUESTS"}
    assert other.status_code == 200


def test_minutes_and_hours_of_futures_are_integers_without_the_header(simulator):
    """With it, they are text."""
    plain = asked(simulator, "linear", "candlesticks", interval="1h", limit=3)
    exact = simulator._session.get(
        f"{simulator.rest_url}{PATHS['linear']}candlesticks",
        params={"contract": DECIMAL, "interval": "1h", "limit": 3},
        headers=DECIMALS,
        timeout=10,
    ).json()

    assert {type(row["v"]) for row in plain} == {int}
    assert {type(row["v"]) for row in exact} == {str}
    assert all(row["t"] % (HOUR_MS // 1000) == 0 for row in plain + exact)
