"""Bitget's REST: candles by page, trades, listing, and what a refusal means."""

import itertools
import json
from decimal import Decimal

import pytest

from exchanges.bitget.rest import STEPS, sort_answer
from model.intervals import DAY_MS, HOUR_MS, MONTH, WEEK_MS
from model.ports import HistoryError
from model.records import Candle, unreadable_trade
from tests.unit.exchanges.bitget.rest_stub import MINUTE_MS, NOW_MS, Exchange, enveloped, minutes, trade


def starts(exchange, start_ms, end_ms):
    return [each.start_ms for each in exchange.rest.candles("BTCUSDT", MINUTE_MS, start_ms, end_ms)]


def recorded(shared_data, name):
    return json.loads((shared_data / "bitget" / f"rest_{name}.json").read_text())


# -- candles ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("market", "name", "count"),
    [
        ("spot", "spot_history_candles_1m", 5),
        ("spot", "spot_history_candles_1h", 10),
        ("linear", "usdt_futures_history_candles_1m", 5),
        ("linear", "usdt_futures_candles_1h", 5),
    ],
)
def test_recorded_candles_are_read_to_the_last_digit(shared_data, market, name, count):
    """Eight columns of spot, seven of contracts; each opens at the close before."""
    exchange, body = Exchange(market), recorded(shared_data, name)
    exchange.stub.script = [(200, body)]
    step_ms = HOUR_MS if name.endswith("1h") else MINUTE_MS
    found = exchange.rest.candles("BTCUSDT", step_ms, int(body["data"][0][0]), int(body["data"][-1][0]) + step_ms)

    assert found == [Candle(int(row[0]), *map(Decimal, row[1:7])) for row in body["data"]]
    assert len(found) == count
    assert all(after.open == before.close for before, after in itertools.pairwise(found))


def test_names_of_intervals_differ_by_market_and_begin_at_utc():
    """Minutes of spot are min, hours small; 6H, 12H, 1D, 1W and 1M without utc begin at 16:00 UTC."""
    assert (STEPS["spot"][MINUTE_MS], STEPS["linear"][MINUTE_MS]) == ("1min", "1m")
    assert (STEPS["spot"][HOUR_MS], STEPS["linear"][HOUR_MS]) == ("1h", "1H")
    assert 2 * HOUR_MS not in STEPS["spot"]
    for steps in STEPS.values():
        assert [steps[step] for step in (6 * HOUR_MS, 12 * HOUR_MS, DAY_MS, WEEK_MS, MONTH)] == [
            "6Hutc",
            "12Hutc",
            "1Dutc",
            "1Wutc",
            "1Mutc",
        ]
    exchange = Exchange("spot")
    with pytest.raises(ValueError, match="Bitget has"):
        exchange.rest.candles("BTCUSDT", 2 * HOUR_MS, 0, 1)


def test_recent_candles_are_paged_without_a_hole_and_end_with_the_open_one():
    """The bounds: the start is in, the end is not; 1000 rows are the most of an answer."""
    exchange = Exchange()
    exchange.stub.candles = minutes(5000)
    first, end = NOW_MS - 2100 * MINUTE_MS, NOW_MS + MINUTE_MS

    assert starts(exchange, first, end) == list(range(first, end, MINUTE_MS))
    assert exchange.pages == ["candles"] * 3
    assert [int(query["limit"]) for _, query in exchange.stub.asked] == [1000, 1000, 102]
    assert {path for path, _ in exchange.stub.asked} == {"/api/v2/mix/market/candles"}
    assert all(query["productType"] == "USDT-FUTURES" for _, query in exchange.stub.asked)


def test_older_candles_are_read_from_the_other_path():
    """200 rows at a time."""
    exchange = Exchange("spot")
    exchange.stub.candles, exchange.stub.recent = minutes(3000), 1500
    first, end = NOW_MS - 2000 * MINUTE_MS, NOW_MS + MINUTE_MS

    assert starts(exchange, first, end) == list(range(first, end, MINUTE_MS))
    assert exchange.pages == ["candles"] * 2 + ["history-candles"] * 3
    assert "productType" not in exchange.stub.asked[0][1]


def test_candles_of_more_than_a_month_ago_are_asked_of_the_longer_path_alone():
    """The other has 30 days of minutes, 83 of hours."""
    exchange = Exchange()
    exchange.rest.candles("BTCUSDT", MINUTE_MS, NOW_MS - 40 * DAY_MS, NOW_MS - 39 * DAY_MS)
    exchange.rest.candles("BTCUSDT", HOUR_MS, NOW_MS - 40 * DAY_MS, NOW_MS - 39 * DAY_MS)

    assert exchange.pages == ["history-candles", "candles", "history-candles"]


def test_a_row_that_makes_no_sense_costs_itself():
    """Its neighbours are there."""
    exchange = Exchange()
    exchange.stub.candles = minutes(9)
    exchange.stub.candles[4] = [exchange.stub.candles[4][0], "NaN", *exchange.stub.candles[4][2:]]

    assert len(starts(exchange, NOW_MS - 8 * MINUTE_MS, NOW_MS + MINUTE_MS)) == 8


# -- trades -------------------------------------------------------------------------------------------------------


def test_recent_trades_come_oldest_first_with_their_ids():
    """A hundred; of a millisecond in the order of their matching."""
    exchange = Exchange()
    exchange.stub.trades = [trade(number, ts=str(NOW_MS - 1_000 + number // 3)) for number in range(200, 0, -1)]
    found = exchange.rest.recent_trades("BTCUSDT")

    assert [each.trade_id for each in found] == [str(10**18 + 2 * number) for number in range(101, 201)]
    assert (found[0].price, found[0].size, found[0].event_ms) == (1.5, 2.0, NOW_MS - 1_000 + 101 // 3)
    assert exchange.stub.asked == [
        ("/api/v2/mix/market/fills", {"symbol": "BTCUSDT", "limit": "100", "productType": "USDT-FUTURES"})
    ]
    assert exchange.rest.trades_by_id("BTCUSDT", 1, 2) == ()


@pytest.mark.parametrize("odd", [{"price": "0"}, {"size": None}, {"tradeId": ""}, {"ts": "soon"}])
def test_a_trade_that_makes_no_sense_leaves_its_place(odd):
    """So that nothing is taken for whole across it."""
    exchange = Exchange()
    exchange.stub.trades = [trade(3), trade(2, **odd), trade(1)]
    found = exchange.rest.recent_trades("BTCUSDT")

    assert [each.trade_id for each in found if each != unreadable_trade(each.event_ms)] == [
        trade(1)["tradeId"],
        trade(3)["tradeId"],
    ]
    assert len(found) > 2


# -- the listing, the time ----------------------------------------------------------------------------------------


def test_recorded_instruments_are_listed_with_their_turnover(shared_data):
    """Sizes of contracts are in the base coin."""
    for market, name in (("spot", "spot_symbols"), ("linear", "usdt_futures_contracts")):
        exchange = Exchange(market)
        exchange.stub.instruments = recorded(shared_data, name)["data"]
        exchange.stub.tickers = [{"symbol": "BTCUSDT", "lastPr": "1", "quoteVolume": "7", "usdtVolume": "8"}]
        found = {each.symbol: each for each in exchange.rest.listed()}

        assert found.keys() == {"BTCUSDT", "XRPUSDT"}
        assert (found["XRPUSDT"].base, found["XRPUSDT"].quote) == ("XRP", "USDT")
        assert (found["BTCUSDT"].turnover, found["XRPUSDT"].turnover) == (8.0, 0.0)
        assert all(each.contract_size == 1 for each in found.values())


def test_what_does_not_trade_is_not_listed():
    """Before its listing, where that is asked for."""
    exchange = Exchange("spot")
    exchange.stub.instruments = [
        {"symbol": f"{state.upper()}USDT", "baseCoin": state.upper(), "quoteCoin": "USDT", "status": state}
        for state in ("online", "offline", "halt", "gray")
    ]

    assert [each.symbol for each in exchange.rest.listed()] == ["ONLINEUSDT"]
    assert [each.symbol for each in exchange.rest.listed(pre_market=True)] == ["ONLINEUSDT", "GRAYUSDT"]


@pytest.mark.parametrize(
    ("ticker", "quote", "dollars"),
    [
        ({"quoteVolume": "7", "usdtVolume": "8"}, "BTC", 8.0),
        ({"quoteVolume": "7"}, "USDC", 7.0),
        ({"quoteVolume": "7", "usdtVolume": ""}, "BTC", 0.0),
        ({"quoteVolume": "NaN", "usdtVolume": "NaN"}, "USDT", 0.0),
    ],
)
def test_turnovers_are_in_dollars(ticker, quote, dollars):
    """So that symbols of several quotes can be compared; 0 where that cannot be known."""
    exchange = Exchange("spot")
    row = {"symbol": "XUSDT", "baseCoin": "X", "quoteCoin": quote, "status": "online"}
    exchange.stub.instruments, exchange.stub.tickers = [row], [{"symbol": "XUSDT", **ticker}]

    assert [each.turnover for each in exchange.rest.listed()] == [dollars]


def test_the_exchanges_time_is_read():
    """In milliseconds."""
    exchange = Exchange()

    assert exchange.rest.server_time_ms() == NOW_MS
    for data in ({"serverTime": "7"}, {}, None):
        exchange.stub.script = [enveloped(data)]
        with pytest.raises(HistoryError, match="no time of today"):
            exchange.rest.server_time_ms()


# -- refusals -----------------------------------------------------------------------------------------------------


def test_the_recorded_refusal_of_a_symbol_is_final(shared_data):
    """Whatever its HTTP status: it is not asked again."""
    body = recorded(shared_data, "error_symbol")
    for status in (400, 200):
        exchange = Exchange()
        exchange.stub.script = [(status, body)]
        with pytest.raises(HistoryError, match="NOPEUSDT does not exist") as caught:
            exchange.rest.recent_trades("NOPEUSDT")
        assert caught.value.is_final


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (200, "00000", "ok"),
        (429, "429", "limited"),
        (400, "30007", "limited"),
        (200, "40725", "temporary"),
        (400, "40309", "final"),
        (400, "49999", "final"),
        (200, "49999", "temporary"),
        (500, "49999", "temporary"),
        (503, "00000", "temporary"),
        (403, "40034", "banned"),
    ],
)
def test_an_answer_is_sorted_by_its_code_and_else_by_its_status(status, code, kind):
    """One that is not known may be over soon, unless the status says that the request is wrong."""
    assert sort_answer(status, {}, {"code": code, "msg": "x", "data": None}).kind == kind
    assert sort_answer(status, {}, {"code": int(code), "msg": "x"}).kind == kind or code == "00000"


@pytest.mark.parametrize("body", [None, [], 7, {"data": []}])
def test_an_answer_without_a_code_is_none(body):
    """It is asked for again."""
    assert sort_answer(200, {}, body).kind == "temporary"


def test_a_list_is_expected():
    """An answer that is none is read again."""
    exchange = Exchange()
    exchange.stub.script = [enveloped(None), enveloped({})]
    exchange.stub.trades = [trade(1)]

    assert len(exchange.rest.recent_trades("BTCUSDT")) == 1
