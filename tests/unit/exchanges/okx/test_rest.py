"""Candles and trades of OKX's REST: paging, columns by market, rows that make no sense."""

import csv
import json
from decimal import Decimal

import pytest

from exchanges.contract import TradeRules
from exchanges.okx.rest import BARS
from exchanges.okx.rest_rows import CANDLE
from model.intervals import DAY_MS, HOUR_MS, MONTH, WEEK_MS
from model.ports import HistoryError
from model.records import Candle
from tests.unit.exchanges.okx.rest_stub import MINUTE_MS, NOW_MS, Exchange, candle, enveloped, minutes, trade

SWAP = "BTC-USDT-SWAP"


def starts(exchange, start_ms, end_ms):
    return [each.start_ms for each in exchange.rest.candles(SWAP, MINUTE_MS, start_ms, end_ms)]


@pytest.mark.parametrize(
    ("market", "volume", "turnover"),
    [("spot", "1199", "6889.352"), ("linear", "11990", "6889.352"), ("inverse", "6889.352", "11990")],
)
def test_volume_and_turnover_are_in_base_and_quote(market, volume, turnover):
    """Never in contracts; of inverse swaps in dollars and the coin."""
    exchange = Exchange(market)
    exchange.stub.candles = [candle(NOW_MS)]

    assert exchange.rest.candles(SWAP, MINUTE_MS, NOW_MS, NOW_MS + MINUTE_MS) == [
        Candle(NOW_MS, *map(Decimal, ("1.0", "2.5", "0.5", "1.1", volume, turnover)))
    ]


def test_the_oracle_minute_is_read_to_the_last_digit(shared_data):
    """MATIC-USDT-SWAP of 2023, ten coins a contract."""
    with (shared_data / "okx" / "klines" / "swap_MATIC-USDT-SWAP_1m_1692547260000.csv").open() as lines:
        row = next(csv.reader(list(lines)[1:]))

    assert CANDLE["linear"].read([*row, "1"]) == Candle(
        1692547260000, *map(Decimal, ("0.5747", "0.5748", "0.5744", "0.5744", "11990", "6889.352"))
    )


def test_recorded_candles_are_read(shared_data):
    """Of 2025, with nine columns."""
    body = json.loads((shared_data / "okx" / "rest" / "fixture_candlesticks_full.json").read_text())

    assert len(body["data"]) > 1
    assert all(CANDLE["linear"].read(row) for row in body["data"])


def test_recent_candles_are_paged_without_a_hole_and_end_with_the_open_one():
    """The bounds: the start is in, the end is not; 300 rows are the most of an answer."""
    exchange = Exchange()
    exchange.stub.candles = minutes(1440)
    first, end = NOW_MS - 700 * MINUTE_MS, NOW_MS + MINUTE_MS

    assert starts(exchange, first, end) == list(range(first, end, MINUTE_MS))
    assert exchange.pages == ["market/candles"] * 3
    assert [int(query["limit"]) for _, query in exchange.stub.asked] == [300, 300, 102]


def test_older_candles_are_read_from_the_other_path():
    """market/candles ends after 1,440 bars, whatever it is asked."""
    exchange = Exchange()
    exchange.stub.candles = minutes(3000)
    first, end = NOW_MS - 2000 * MINUTE_MS, NOW_MS + MINUTE_MS

    assert starts(exchange, first, end) == list(range(first, end, MINUTE_MS))
    assert (exchange.pages[0], exchange.pages[-1]) == ("market/candles", "market/history-candles")
    assert starts(exchange, first, first + MINUTE_MS) == [first]
    assert exchange.pages[-1] == "market/history-candles"


def test_a_wrong_host_clock_costs_no_candle():
    """What market/candles does not have is looked for in the other, too."""
    exchange = Exchange()
    exchange.stub.candles = minutes(3000, NOW_MS + 2 * DAY_MS)  # the host is two days behind

    assert len(starts(exchange, NOW_MS + MINUTE_MS, NOW_MS + 100 * MINUTE_MS)) == 99


def test_nothing_is_read_before_the_listing():
    """An empty answer of the longer path is the end."""
    exchange = Exchange()
    exchange.stub.candles = minutes(10)

    assert len(starts(exchange, NOW_MS - 2000 * MINUTE_MS, NOW_MS + MINUTE_MS)) == 10
    assert exchange.pages == ["market/candles", "market/history-candles"]


def test_answers_that_are_cut_off_are_followed():
    """Whatever the exchange sends less than was asked, the next page begins where it ended."""
    exchange = Exchange()
    exchange.stub.candles = minutes(500)
    for rows in (minutes(500)[:7], minutes(500)[7:9]):
        exchange.stub.script.append(enveloped(rows))
    first, end = NOW_MS - 100 * MINUTE_MS, NOW_MS + MINUTE_MS

    assert starts(exchange, first, end) == list(range(first, end, MINUTE_MS))


def test_a_row_that_makes_no_sense_costs_itself():
    """Its neighbours are there."""
    exchange = Exchange()
    rows: list[object] = [*minutes(9)]
    rows[1:9:2] = [
        candle(NOW_MS - MINUTE_MS, "1", "2", "3", "1", "0", "0", "0"),  # below its low
        candle(NOW_MS - 3 * MINUTE_MS, "x", "2", "1", "1", "0", "0", "0"),
        ["no time", "1"],
        None,
    ]
    exchange.stub.script = [enveloped(rows)]

    assert starts(exchange, NOW_MS - 8 * MINUTE_MS, NOW_MS + MINUTE_MS) == [
        NOW_MS - number * MINUTE_MS for number in (8, 6, 4, 2, 0)
    ]


def test_pages_that_never_end_are_given_up():
    """An exchange that answers with one row at a time, each a millisecond older."""
    exchange = Exchange()
    exchange.stub.script = [enveloped([candle(NOW_MS - number)]) for number in range(1000)]

    with pytest.raises(HistoryError, match="do not end"):
        starts(exchange, NOW_MS - MINUTE_MS, NOW_MS + 1)


def test_bars_are_anchored_in_utc():
    """From six hours on the plain names begin at 16:00 UTC."""
    assert [BARS[step] for step in (4 * HOUR_MS, 6 * HOUR_MS, 12 * HOUR_MS, DAY_MS, WEEK_MS, MONTH)] == [
        "4H",
        "6Hutc",
        "12Hutc",
        "1Dutc",
        "1Wutc",
        "1Mutc",
    ]
    with pytest.raises(ValueError, match="step is 1000 ms"):
        Exchange().rest.candles(SWAP, 1000, 0, 1)


def test_months_are_read():
    """Their length varies: what counts is their start."""
    exchange = Exchange()
    months = [1_796_083_200_000, 1_793_491_200_000, 1_790_812_800_000]  # December to October 2026
    exchange.stub.candles = [candle(month) for month in months]

    found = exchange.rest.candles(SWAP, MONTH, months[1], NOW_MS)
    assert [each.start_ms for each in found] == [months[1], months[0]]
    assert exchange.stub.asked[0][1]["bar"] == "1Mutc"


# -- trades -----------------------------------------------------------------------------------------------------


def test_recent_trades_are_the_newest_oldest_first():
    """Single matches, their id as an integer, their size in contracts."""
    exchange = Exchange()
    exchange.stub.trades = [trade(number) for number in range(700, 0, -1)]
    found = exchange.rest.recent_trades(SWAP)

    assert [each.trade_id for each in found] == list(range(201, 701))
    assert (found[0].price, found[0].size, found[0].seq, found[0].matches) == (1.5, 2.0, 201, 1)
    assert exchange.stub.asked == [("market/trades", {"instId": SWAP, "limit": "500"})]


def test_recorded_trades_are_read(shared_data):
    """Of 2025, without a source."""
    exchange = Exchange("spot")
    body = json.loads((shared_data / "okx" / "rest" / "fixture_trades.json").read_text())
    exchange.stub.trades = body["data"]

    assert [str(each.trade_id) for each in exchange.rest.recent_trades("BTC-USDT")] == [
        row["tradeId"] for row in reversed(body["data"])
    ]


def test_trades_of_price_improvement_are_marked():
    """They count by COUNT_RPI_TRADES, and are there all the same."""
    for counts in (True, False):
        exchange = Exchange(rules=TradeRules(count_rpi_trades=counts))
        exchange.stub.trades = [trade(2, source="1"), trade(1)]
        found = exchange.rest.recent_trades(SWAP)

        assert [each.is_counted for each in found] == [True, counts]


def test_an_unreadable_trade_is_among_the_recent_ones():
    """At the times of both its neighbours: its own is not known."""
    exchange = Exchange()
    exchange.stub.trades = [trade(5), trade(4, px="-1"), trade(3)]
    found = exchange.rest.recent_trades(SWAP)

    assert [(each.trade_id, each.size) for each in found] == [(3, 2.0), ("", 0.0), ("", 0.0), (5, 2.0)]
    assert [each.event_ms for each in found[1:3]] == [found[0].event_ms, found[3].event_ms]


def test_a_hole_is_read_by_id():
    """Both ends included, 100 a page, whatever the pages hold beyond."""
    exchange = Exchange()
    exchange.stub.trades = [trade(number) for number in range(1000, 0, -1)]

    assert [each.trade_id for each in exchange.rest.trades_by_id(SWAP, 250, 499)] == list(range(250, 500))
    assert [query["after"] for _, query in exchange.stub.asked] == ["500", "400", "300"]
    assert exchange.stub.asked[0][1]["type"] == "1"


def test_ids_that_the_exchange_has_not_are_left_out():
    """Before the listing, beyond three months, and ids that are not yet there."""
    exchange = Exchange()
    exchange.stub.trades = [trade(number) for number in (12, 11, 9)]

    assert [each.trade_id for each in exchange.rest.trades_by_id(SWAP, 1, 20)] == [9, 11, 12]


# -- errors -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["51001", "51000", "50014"])
def test_a_wrong_request_is_final(code):
    """It is not repeated; the exchange's text is in the error."""
    exchange = Exchange()
    exchange.stub.script = [enveloped([], code, "Instrument ID does not exist")]

    with pytest.raises(HistoryError, match=f"{code} Instrument ID does not exist") as caught:
        exchange.rest.recent_trades("NONE-USDT-SWAP")
    assert caught.value.is_final
    assert len(exchange.stub.asked) == 1


@pytest.mark.parametrize("answer", [(200, "50013"), (503, "50001"), (500, "50026"), (200, "99999"), (429, "50013")])
def test_a_busy_exchange_is_asked_again(answer):
    """A code is an error even with HTTP 200."""
    exchange = Exchange()
    exchange.stub.script = [(answer[0], {"code": answer[1], "msg": "System busy", "data": []})]

    assert exchange.rest.server_time_ms() == NOW_MS
    assert len(exchange.stub.asked) == 2


def test_an_answer_without_data_is_asked_again():
    """And so is one whose data is no list."""
    exchange = Exchange()
    exchange.stub.script = [(200, {"code": "0", "msg": ""}), (200, {"code": "0", "data": {}}), (200, b"<html>")]

    assert exchange.rest.server_time_ms() == NOW_MS


def test_a_time_that_makes_no_sense_is_none():
    """Neither zero nor a text."""
    for ts in ("0", "soon"):
        exchange = Exchange()
        exchange.stub.script = [enveloped([{"ts": ts}])]
        with pytest.raises(HistoryError, match="no time of today"):
            exchange.rest.server_time_ms()


def test_the_demo_is_a_header():
    """The host is the same."""
    exchange = Exchange(testnet=True)
    exchange.rest.server_time_ms()

    assert exchange.stub.headers[0]["x-simulated-trading"] == "1"
