"""REST of the simulated Bitget: by a plain client, and by our own: two readings of one documentation."""

import itertools
import threading
import time
from contextlib import closing
from decimal import Decimal

import pytest

from exchanges.bitget.rest import BitgetRest
from exchanges.rest_limits import SiteLimits
from exchanges.simulated.__main__ import Simulator
from exchanges.simulated.options import Options
from exchanges.simulated.rest import Request
from model.intervals import DAY_MS, HOUR_MS, MINUTE_MS, MONTH, WEEK_MS
from model.ports import HistoryError
from tests.integration.exchanges.bitget.conftest import OPTIONS
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until

NAME = "BTCUSDT"
FOLDERS = {"spot": "/api/v2/spot/market", "linear": "/api/v2/mix/market"}
PRODUCTS = {"spot": {}, "linear": {"productType": "usdt-futures"}}
MINUTES = {"spot": "1min", "linear": "1m"}
LIMIT_S = 30.0
each_market = pytest.mark.parametrize("market", list(FOLDERS))


def opened(simulator, market="linear"):
    return closing(BitgetRest(market, stop=threading.Event(), url=simulator.rest_url, limits=SiteLimits()))


def ask(simulator, market, path, **query):
    """The answer to one request of a market, by its body."""
    body = simulator.get(f"{FOLDERS[market]}/{path}", **{"symbol": NAME, **PRODUCTS[market], **query}).json()
    return body["data"] if body["code"] == "00000" else body["code"]


@each_market
def test_symbols_are_listed(simulator, market):
    """With their coins and a turnover each."""

    def listed():
        with opened(simulator, market) as rest:
            return {each.symbol: each for each in rest.listed()}

    wait_until(lambda: all(each.turnover > 0 for each in listed().values()), LIMIT_S, poll_s=1.0)
    found = listed()
    assert set(found) == {NAME, "ETHUSDT", "SOLUSDT"}
    assert (found[NAME].base, found[NAME].quote, found[NAME].contract_size) == ("BTC", "USDT", 1)


def test_steps_are_numbers_of_decimals_and_of_the_last_one(simulator):
    """Of spot decimals alone; of a contract priceEndStep x 10^-pricePlace."""
    spot = simulator.get("/api/v2/spot/public/symbols", symbol=NAME).json()["data"]
    contract = simulator.get("/api/v2/mix/market/contracts", productType="USDT-FUTURES", symbol=NAME).json()["data"]

    assert [(row["pricePrecision"], row["quantityPrecision"]) for row in spot] == [("2", "6")]
    assert [(row["priceEndStep"], row["pricePlace"], row["sizeMultiplier"]) for row in contract] == [
        ("1", "1", "0.001")
    ]


@each_market
def test_candles_are_the_true_ones(simulator, market):
    """Of two hours, all columns; each opens at the close before it."""
    with opened(simulator, market) as rest:
        end = rest.server_time_ms() // MINUTE_MS * MINUTE_MS
        found = rest.candles(NAME, MINUTE_MS, end - 120 * MINUTE_MS, end)
    true = simulator.klines(NAME, MINUTE_MS, market, start=end - 120 * MINUTE_MS, end=end - 1)
    names = ("open", "high", "low", "close", "volume", "turnover")

    assert [each.start_ms for each in found] == [row["start"] for row in true]
    assert [[getattr(each, name) for name in names] for each in found] == [
        [Decimal(row[name]) for name in names] for row in true
    ]
    assert all(later.open == each.close for each, later in itertools.pairwise(found))


@each_market
def test_seven_weeks_of_minutes_are_read_over_both_paths(simulator, market):
    """Three pages on either side of where the recent ones end, without a hole."""
    with opened(simulator, market) as rest:
        first = rest.server_time_ms() // MINUTE_MS * MINUTE_MS - 30 * DAY_MS - 500 * MINUTE_MS
        found = rest.candles(NAME, MINUTE_MS, first, first + 1500 * MINUTE_MS)

    assert [each.start_ms for each in found] == list(range(first, first + 1500 * MINUTE_MS, MINUTE_MS))


@pytest.mark.parametrize(("step", "anchor"), [(6 * HOUR_MS, 0), (DAY_MS, 0), (WEEK_MS, 4 * DAY_MS)])
def test_long_candles_begin_in_utc(simulator, step, anchor):
    """The plain ones do not: days begin at 16:00."""
    with opened(simulator) as rest:
        now_ms = rest.server_time_ms()
        found = rest.candles(NAME, step, now_ms - 5 * step, now_ms)
        months = rest.candles(NAME, MONTH, now_ms - 100 * DAY_MS, now_ms)

    assert len(found) == 5
    assert {(each.start_ms - anchor) % step for each in found} == {0}
    assert len(months) in (3, 4)
    for market, plain in (("spot", "1day"), ("linear", "1D")):
        rows = ask(simulator, market, "candles", granularity=plain)
        assert {int(row[0]) % DAY_MS for row in rows} == {16 * HOUR_MS}


def test_names_of_candles_differ_by_market(simulator):
    """Spot's are small and has no two hours, futures' are large; spot has a column more."""
    assert {len(row) for row in ask(simulator, "spot", "candles", granularity="1h")} == {8}
    assert {len(row) for row in ask(simulator, "linear", "candles", granularity="2H")} == {7}
    for market, wrong in (("spot", "1H"), ("spot", "2h"), ("linear", "1h"), ("linear", "1min")):
        assert ask(simulator, market, "candles", granularity=wrong) == "400171"


@each_market
def test_recent_candles_have_the_open_one_and_end_after_a_month(simulator, market):
    """Oldest first, at most a thousand of them, a hundred without a number."""
    now_ms = simulator.stats()["now_ms"]
    rows = ask(simulator, market, "candles", granularity=MINUTES[market])
    assert len(rows) == 100
    assert int(rows[-1][0]) <= simulator.stats()["now_ms"] < int(rows[-1][0]) + 2 * MINUTE_MS
    assert len(ask(simulator, market, "candles", granularity=MINUTES[market], limit=5000)) == 1000
    old = {"granularity": MINUTES[market], "endTime": now_ms - 31 * DAY_MS}
    assert ask(simulator, market, "candles", **old) == []
    assert len(ask(simulator, market, "history-candles", **old)) == 100


@each_market
def test_history_candles_go_back_from_their_end(simulator, market):
    """Which is not among them, and neither is the open one; a start is ignored."""
    now_ms = simulator.stats()["now_ms"]
    opened_ms = now_ms - now_ms % HOUR_MS
    names = {"granularity": {"spot": "1h", "linear": "1H"}[market]}
    rows = ask(simulator, market, "history-candles", endTime=opened_ms, startTime=opened_ms - HOUR_MS, **names)
    assert [int(row[0]) for row in rows] == [opened_ms - (100 - number) * HOUR_MS for number in range(100)]
    newest = ask(simulator, market, "history-candles", endTime=now_ms + DAY_MS, limit=500, **names)
    assert len(newest) == 200
    assert int(newest[-1][0]) < simulator.stats()["now_ms"] - HOUR_MS + MINUTE_MS
    assert ask(simulator, "spot", "history-candles", granularity="1h") == "40019"  # of spot alone
    assert len(ask(simulator, "linear", "history-candles", granularity="1H")) == 100


@each_market
def test_a_hundred_trades_are_all_that_fills_has(simulator, market):
    """The newest first; our client turns them round."""
    with opened(simulator, market) as rest:
        wait_until(lambda: len(rest.recent_trades(NAME)) == 100, LIMIT_S, poll_s=0.2)
        simulator.command("rate", rate=0)
        ours = rest.recent_trades(NAME)
    rows = ask(simulator, market, "fills", limit=500)

    assert [each.trade_id for each in ours] == [row["tradeId"] for row in reversed(rows)]
    assert [each.event_ms for each in ours] == [int(row["ts"]) for row in reversed(rows)]
    assert len(rows) == 100
    assert any(int(row["ts"]) % 1000 for row in rows)


@each_market
def test_older_trades_have_whole_seconds(simulator, market):
    """And sides with a capital; pages go back by the id."""
    wait_until(lambda: len(ask(simulator, market, "fills-history")) > 250, LIMIT_S, poll_s=0.5)
    simulator.command("rate", rate=0)
    rows = ask(simulator, market, "fills-history")
    pages = ask(simulator, market, "fills-history", limit=100)
    for _ in range(2):
        pages += ask(simulator, market, "fills-history", limit=100, idLessThan=pages[-1]["tradeId"])

    ids = [int(row["tradeId"]) for row in pages]

    assert {int(row["ts"]) % 1000 for row in rows} == {0}
    assert {row["side"] for row in rows} == {"Buy", "Sell"}
    assert pages[:250] == rows[:250]
    assert ids == sorted(set(ids), reverse=True)
    assert [int(row["tradeId"]) for row in ask(simulator, market, "fills")] == ids[:100]
    now_ms = simulator.stats()["now_ms"]
    span = {"startTime": now_ms - 8 * DAY_MS, "endTime": now_ms}
    assert ask(simulator, market, "fills-history", **span) == "00001"


def test_ninety_days_of_futures_are_asked_at_a_time(simulator):
    """Of candles, by both times; spot bears more."""
    now_ms = simulator.stats()["now_ms"]
    span = {"startTime": now_ms - 91 * DAY_MS, "endTime": now_ms}
    assert ask(simulator, "linear", "candles", granularity="1Dutc", **span) == "00001"
    assert len(ask(simulator, "spot", "candles", granularity="1Dutc", **span)) > 50


def test_numbers_are_text_but_for_the_merged_book(simulator):
    """Of futures; neither is crossed."""
    spot, merged = ask(simulator, "spot", "orderbook", limit=5), ask(simulator, "linear", "merge-depth", limit=5)

    assert {type(number) for side in ("asks", "bids") for row in spot[side] for number in row} == {str}
    assert {type(number) for side in ("asks", "bids") for row in merged[side] for number in row} == {float}
    for book in (spot, merged):
        assert len(book["asks"]) == len(book["bids"]) == 5
        assert float(book["bids"][0][0]) < float(book["asks"][0][0])


def test_refusals_have_codes_and_no_data(simulator):
    """With HTTP 400; a symbol that was removed has another than one that never was."""
    answer = simulator.get("/api/v2/spot/market/fills", symbol="NOPEUSDT")
    assert (answer.status_code, set(answer.json())) == (400, {"code", "msg", "requestTime", "data"})
    assert answer.json()["msg"] == "Parameter NOPEUSDT does not exist"
    assert answer.json()["data"] is None
    simulator.command("delist", symbol="SOLUSDT")
    assert ask(simulator, "linear", "fills", symbol="SOLUSDT") == "40309"
    assert ask(simulator, "linear", "fills", symbol="") == "40019"
    assert ask(simulator, "linear", "fills", productType="") == "40019"
    assert ask(simulator, "linear", "tickers", productType="usdc-futures", symbol="") == []
    assert ask(simulator, "linear", "tickers", productType="moon", symbol="") == "400172"
    for symbol, code in (("NOPEUSDT", "40034"), ("SOLUSDT", "40309")):
        with opened(simulator) as rest, pytest.raises(HistoryError, match=code) as caught:
            rest.recent_trades(symbol)
        assert caught.value.is_final
    simulator.command("list", symbol="SOLUSDT")


@pytest.mark.parametrize(
    ("path", "most"),
    [("spot/market/fills", 20), ("mix/market/candles", 20), ("spot/market/fills-history", 10), ("public/time", 10)],
)
def test_requests_of_a_path_and_address_are_counted_by_the_second(path, most, monkeypatch):
    """A header says how many are left; nothing says when to ask again."""
    monkeypatch.setattr(time, "monotonic", lambda: 1_000.0)  # a second that lasts as long as the requests take
    service = Simulator(Options(categories=("linear", "spot"), symbols=1, illiquid=0, rate=0), "bitget").service
    query = {"symbol": NAME, "productType": "USDT-FUTURES", "granularity": "1m"}
    asked = Request("GET", f"/api/v2/{path}", query, {}, "10.0.0.1")
    answers = [service.answer(asked) for _ in range(most + 1)]
    others = [asked._replace(client_ip="10.0.0.2"), asked._replace(path="/api/v2/spot/public/symbols")]

    assert [answer.status for answer in answers] == [200] * most + [429]
    assert [answer.headers[0] for answer in answers[:-1]] == [
        ("x-mbx-used-remain-limit", str(most - 1 - number)) for number in range(most)
    ]
    assert answers[-1].headers == ()
    assert [service.answer(other).status for other in others] == [200, 200]


def test_limits_are_kept_and_refusals_waited_for():
    """One too many of somebody else's costs no answer."""
    with SimulatorProcess(*OPTIONS) as simulator:
        with opened(simulator) as rest, opened(simulator) as other:
            for each in [rest, other] * 12:
                assert each.server_time_ms() > 0
        simulator.command("rest_fault", what="http", status=503, count=1)
        with opened(simulator) as rest:
            assert rest.server_time_ms() > 0
