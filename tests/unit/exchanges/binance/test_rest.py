"""Candles of Binance's REST, its time, and what its answers are: paging, units by market, rows that make no sense."""

import csv
from decimal import Decimal

import pytest

from exchanges.binance.rest import APIS, sort_answer
from exchanges.binance.rest_rows import CANDLE
from model.intervals import DAY_MS, HOUR_MS, MONTH, SECOND_MS, WEEK_MS
from model.ports import HistoryError
from model.records import Candle

from .rest_stub import MINUTE_MS, NOW_MS, SPAN_MS, Exchange, candle, instrument, minutes

PERP = instrument("BTCUSD_PERP", "BTC", "USD", contractSize=100)


def starts(exchange, start_ms, end_ms, step_ms=MINUTE_MS):
    return [each.start_ms for each in exchange.rest.candles("BTCUSD_PERP", step_ms, start_ms, end_ms)]


@pytest.mark.parametrize(
    ("market", "path", "volume"),
    [("spot", "/api/v3/", 1199), ("linear", "/fapi/v1/", 1199), ("inverse", "/dapi/v1/", 119900)],
)
def test_volume_and_turnover_are_in_base_and_quote(market, path, volume):
    """Of COIN-M in dollars, contracts times their size, and in the coin."""
    exchange = Exchange(market)
    exchange.stub.candles, exchange.stub.symbols = [candle(NOW_MS)], [PERP]

    assert exchange.rest.candles("BTCUSD_PERP", MINUTE_MS, NOW_MS, NOW_MS + MINUTE_MS) == [
        Candle(NOW_MS, *map(Decimal, ("1.0", "2.5", "0.5", "1.1", volume, "6889.352")))
    ]
    assert all(asked.startswith(path) for asked, _ in exchange.stub.asked)


def test_recorded_candles_are_read_to_the_last_digit(shared_data):
    """The archive's files have the columns of the API, those without trades too."""
    for path in sorted((shared_data / "binance" / "klines").glob("usdm_*_1m_*.csv")):
        with path.open() as lines:
            rows = [row for row in csv.reader(lines) if row[0].isdecimal()]
        assert rows
        for row in rows:
            found = CANDLE.read(row, Decimal(1))
            assert found == Candle(int(row[0]), *map(Decimal, (*row[1:6], row[7])))


@pytest.mark.parametrize("cut", [10**9, 700, 1])
@pytest.mark.parametrize(("market", "page"), [("spot", 1000), ("linear", 1500), ("inverse", 1500)])
def test_pages_are_joined_without_holes(market, page, cut):
    """However many rows an answer has; the newest is the open one."""
    count = 15 if cut == 1 else 4_000
    exchange = Exchange(market)
    exchange.stub.candles, exchange.stub.symbols, exchange.stub.cut = minutes(count), [PERP], cut
    first_ms = exchange.stub.candles[0][0]

    assert starts(exchange, first_ms, NOW_MS + 1) == [row[0] for row in exchange.stub.candles]
    limits = [int(query["limit"]) for path, query in exchange.stub.asked if path.endswith("klines")]
    assert max(limits) == min(page, count)


def test_bounds_are_kept():
    """The start is in, the end is not."""
    exchange = Exchange()
    exchange.stub.candles = minutes(10)
    first_ms = exchange.stub.candles[2][0]

    assert starts(exchange, first_ms, first_ms + 2 * MINUTE_MS) == [first_ms, first_ms + MINUTE_MS]
    assert starts(exchange, first_ms, first_ms) == []
    assert len(exchange.pages) == 1


def test_years_of_coin_m_are_read_in_spans_of_200_days():
    """A longer one is refused; a span before the listing is empty and does not end the reading."""
    exchange = Exchange("inverse")
    exchange.stub.symbols = [PERP]
    days = [candle(NOW_MS // DAY_MS * DAY_MS - day * DAY_MS) for day in range(300, -1, -1)]
    exchange.stub.candles = days

    assert starts(exchange, NOW_MS - 3 * SPAN_MS, NOW_MS + 1, DAY_MS) == [row[0] for row in days]


def test_hole_in_the_grid_is_no_end():
    """While a symbol is on a break there are no candles."""
    exchange = Exchange()
    whole = minutes(3_000)
    exchange.stub.candles = whole[:100] + whole[2_500:]

    assert starts(exchange, whole[0][0], NOW_MS + 1) == [row[0] for row in exchange.stub.candles]


def test_months_and_weeks_have_their_names():
    """1m is a minute, 1M a month."""
    exchange = Exchange()
    for step_ms, name in ((MONTH, "1M"), (WEEK_MS, "1w"), (MINUTE_MS, "1m"), (8 * HOUR_MS, "8h")):
        starts(exchange, NOW_MS - 40 * DAY_MS, NOW_MS, step_ms)
        assert exchange.stub.asked[-1][1]["interval"] == name


def test_seconds_are_of_spot_only():
    """Futures have no 1s."""
    assert SECOND_MS in Exchange("spot").rest.candle_steps_ms
    with pytest.raises(ValueError, match="step is 1000 ms, Binance linear has"):
        starts(Exchange(), 0, NOW_MS, SECOND_MS)


@pytest.mark.parametrize(
    "row",
    [
        None,
        [],
        {},
        [NOW_MS],
        candle(0),
        candle(NOW_MS, "1", "0.5", "0.4", "1", "1", "1"),
        candle(NOW_MS, "1", "2", "1.5", "1", "1", "1"),
        candle(NOW_MS, "0", "0", "0", "0", "0", "0"),
        candle(NOW_MS, "NaN", "2", "1", "1", "1", "1"),
        candle(NOW_MS, "1", "2", "1", "1", "-1", "1"),
        candle(NOW_MS, "1", "2", "1", "1", "1E+999999", "1"),
        ["x", *candle(NOW_MS)[1:]],
    ],
)
def test_row_that_makes_no_sense_costs_itself(row):
    """Its neighbours are candles."""
    exchange = Exchange()
    before, after = candle(NOW_MS - MINUTE_MS), candle(NOW_MS + MINUTE_MS)
    exchange.stub.script = [(200, [before, row, after], {})]

    assert starts(exchange, before[0], after[0] + 1) == [before[0], after[0]]


def test_contract_without_a_size_has_no_candles():
    """Their volume would be in an unknown unit."""
    exchange = Exchange("inverse")
    exchange.stub.symbols = [instrument("BTCUSD_PERP", "BTC", "USD")]

    with pytest.raises(HistoryError, match="does not list its contract size") as error:
        starts(exchange, 0, NOW_MS)
    assert error.value.is_final


def test_server_time_is_read():
    """A time that is none is an error."""
    exchange = Exchange()
    assert exchange.rest.server_time_ms() == NOW_MS
    for body in ({"serverTime": 5}, {"serverTime": "x"}, {}):
        exchange.stub.script = [(200, body, {})]
        with pytest.raises(HistoryError, match="is no time of today"):
            exchange.rest.server_time_ms()


def test_hosts_are_those_of_the_market_the_testnet_or_the_user():
    """REST_URL names scheme, host and port."""
    assert {market: Exchange(market).rest.url for market in APIS} == {
        "spot": "https://api.binance.com",
        "linear": "https://fapi.binance.com",
        "inverse": "https://dapi.binance.com",
    }
    assert Exchange("linear", testnet=True).rest.url == "https://testnet.binancefuture.com"
    assert Exchange("inverse", rest_url="http://127.0.0.1:9000").rest.url == "http://127.0.0.1:9000"


def test_both_futures_share_one_budget():
    """Since 2026-06-30."""
    assert APIS["linear"].budget is APIS["inverse"].budget
    assert APIS["linear"].budget.key != APIS["spot"].budget.key


@pytest.mark.parametrize(
    ("limit", "weight"), [(1, 1), (99, 1), (100, 2), (499, 2), (500, 5), (1000, 5), (1001, 10), (1500, 10)]
)
def test_weight_of_futures_candles_grows_with_the_limit(limit, weight):
    """By the documentation."""
    assert APIS["linear"].candles_weight(limit) == weight


@pytest.mark.parametrize(
    ("status", "headers", "body", "kind"),
    [
        (200, {}, [], "ok"),
        (200, {}, {"serverTime": 1}, "ok"),
        (400, {}, {"code": -1121, "msg": "Invalid symbol."}, "final"),
        (400, {}, {"code": -1122, "msg": "Invalid symbol status."}, "final"),
        (400, {}, {"code": -4108, "msg": "x"}, "final"),
        (400, {}, {"code": -1, "msg": "unheard of"}, "final"),
        (200, {}, {"code": -1121, "msg": "Invalid symbol."}, "final"),
        (400, {}, {"code": -1003, "msg": "Too many requests."}, "limited"),
        (429, {"retry-after": "7"}, {"code": -1003, "msg": "Too many requests."}, "limited"),
        (429, {}, None, "limited"),
        (418, {"retry-after": "70"}, {"code": -1003, "msg": "banned"}, "banned"),
        (403, {}, None, "banned"),
        (451, {}, {"code": 0, "msg": "restricted location"}, "banned"),
        (400, {}, {"code": -1001, "msg": "Internal error"}, "temporary"),
        (503, {}, {"code": -1008, "msg": "overloaded"}, "temporary"),
        (503, {}, None, "temporary"),
        (502, {}, {"code": -4000, "msg": "x"}, "temporary"),
    ],
)
def test_answers_are_sorted(status, headers, body, kind):
    """Final ones are not repeated; a ban ends all requests."""
    assert sort_answer(status, headers, body).kind == kind


def test_used_weight_is_read_from_the_header():
    """Binance counts what other programs behind this address use too."""
    assert sort_answer(200, {"x-mbx-used-weight-1m": "512"}, []).used == 512
    assert sort_answer(200, {}, []).used is None


def test_end_of_a_ban_is_read_from_its_text():
    """Where the answer has no Retry-After."""
    body = {
        "code": -1003,
        "msg": "Way too much request weight used; IP banned until 4102444700000.",
    }
    verdict = sort_answer(418, {}, body)

    assert verdict.retry_after_s
    assert verdict.retry_after_s > DAY_MS / 1000
    assert sort_answer(418, {"retry-after": "5"}, body).retry_after_s is None


def test_refused_symbol_is_final():
    """To ask again is no use."""
    exchange = Exchange()
    exchange.stub.script = [(400, {"code": -1121, "msg": "Invalid symbol."}, {})]

    with pytest.raises(HistoryError, match="Invalid symbol") as error:
        starts(exchange, 0, NOW_MS)
    assert error.value.is_final
    assert len(exchange.pages) == 1
