"""Gate's REST without a socket: paging, columns by market, times by market, rows that make no sense."""

import csv
import json
import threading
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests
from requests.adapters import BaseAdapter

from exchanges.gate.rest import CANDLES_PAGE, GateRest, sort_answer
from exchanges.gate.rest_rows import CANDLE
from exchanges.gate.venue import VENUE
from exchanges.rest_limits import SiteLimits
from model.intervals import HOUR_MS, MONTH
from model.markets import KlineRules
from model.ports import HistoryError
from model.records import Candle
from network.http import Session

NOW_MS = 1_790_350_260_000
MINUTE_MS = 60_000
KEPT = 10_000  # candles of a step
BTC = "BTC_USDT"
TOO_OLD = {"label": "INVALID_PARAM_VALUE", "message": "Candlestick too long ago. Maximum 10000 points ago are allowed"}
TOO_MANY = {"label": "INVALID_PARAM_VALUE", "message": "Candlestick range too broad. Maximum 1000 data points ..."}


class Stub(BaseAdapter):
    """Answers requests as Gate does; `script` are answers that come first, of any path."""

    def __init__(self, market: str) -> None:
        super().__init__()
        self.market = market
        self.candles_ms: list[int] = []  # starts
        self.trades: list[Any] = []  # newest first
        self.rows: dict[str, Any] = {
            "time": {"server_time": NOW_MS},
            "currency_pairs": [],
            "contracts": [],
            "tickers": [],
        }
        self.script: list[tuple[int, Any]] = []
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.headers: list[dict[str, str]] = []

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        """Called by requests instead of opening a connection."""
        url = urlsplit(str(request.url))
        query = dict(parse_qsl(url.query))
        self.asked.append((url.path, query))
        self.headers.append(dict(request.headers))
        status, body = self.script.pop(0) if self.script else self._answer(url.path.rpartition("/")[2], query)
        response = requests.Response()
        response.status_code, response.url, response.request = status, str(request.url), request
        response._content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return response

    def close(self) -> None:
        """Nothing is open."""

    def _answer(self, page: str, query: dict[str, str]) -> tuple[int, Any]:
        if page == "candlesticks":
            first, last = int(query["from"]), int(query["to"])
            if first * 1000 < NOW_MS - KEPT * MINUTE_MS:
                return 400, TOO_OLD
            found = [row(self.market, ms) for ms in self.candles_ms if first <= ms // 1000 <= last]
            return (400, TOO_MANY) if len(found) > 1000 else (200, found)
        if page == "trades":
            older = [each for each in self.trades if int(each["id"]) < int(query.get("last_id", 10**18))]
            return 200, older[: int(query["limit"])]
        return 200, self.rows[page]


class Exchange:
    """A GateRest whose every request ends in a Stub."""

    def __init__(self, market: str = "linear") -> None:
        self.stub = Stub(market)
        self.stub.rows["contracts"] = [contract(BTC)]
        session = Session(15.0, 1)
        session.mount("https://", self.stub)
        self.rest = GateRest(
            market, stop=threading.Event(), wall_ms=lambda: NOW_MS, session=session, limits=SiteLimits()
        )

    def minutes(self, start_ms: int, end_ms: int) -> list[int]:
        return [each.start_ms for each in self.rest.candles(BTC, MINUTE_MS, start_ms, end_ms)]

    @property
    def pages(self) -> list[str]:
        """The last part of the path of every request so far."""
        return [path.rpartition("/")[2] for path, _ in self.stub.asked]


def row(market: str, ms: int) -> Any:
    if market == "spot":
        return [str(ms // 1000), "355349.006", "83859", "83864.5", "83829.6", "83853.4", "4.238184", "true"]
    return {
        "o": "83807.3",
        "v": 291170,
        "t": ms // 1000,
        "c": "83817.9",
        "l": "83788.1",
        "h": "83823",
        "sum": "2440050.2",
    }


def contract(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "quanto_multiplier": "0.0001", "status": "trading", "is_pre_market": False, **fields}


def pair(name: str, **fields: Any) -> dict[str, Any]:
    base, _, quote = name.partition("_")
    return {"id": name, "base": base, "quote": quote, "trade_status": "tradable", **fields}


def spot_trade(trade_id: int, **fields: Any) -> dict[str, Any]:
    ms = f"{NOW_MS - 1_000_000 + trade_id}.221000"
    return {
        "id": str(trade_id),
        "create_time_ms": ms,
        "amount": "2",
        "price": "1.5",
        "sequence_id": str(trade_id),
        **fields,
    }


def futures_trade(trade_id: int, **fields: Any) -> dict[str, Any]:
    return {
        "id": trade_id,
        "create_time_ms": (NOW_MS - 1_000_000 + trade_id) / 1000,
        "size": -2,
        "price": "1.5",
        **fields,
    }


TRADE = {"spot": spot_trade, "linear": futures_trade}


@pytest.fixture(params=["spot", "linear"])
def exchange(request):
    """Of both markets."""
    return Exchange(request.param)


# -- candles ------------------------------------------------------------------------------------------------------


def test_recorded_candles_are_read(shared_data):
    """Columns of spot, names of futures, whose volume is in contracts; seconds either way."""
    folder = shared_data / "gate"
    spot = json.loads((folder / "rest_spot_candlesticks_1m.json").read_text())
    linear = json.loads((folder / "rest_futures_candlesticks_1m.json").read_text())

    assert CANDLE["spot"].read(spot[0]) == Candle(
        1790349960000,
        *map(Decimal, ("83853.4", "83864.5", "83829.6", "83859", "4.23818400", "355349.00613100")),
    )
    assert CANDLE["linear"].read(linear[0], Decimal("0.0001")) == Candle(
        1790349960000, *map(Decimal, ("83807.3", "83823", "83788.1", "83817.9", "29.1170", "2440050.23996"))
    )
    for market, file in (("spot", "rest_spot_candlesticks_1h.json"), ("linear", "rest_futures_candlesticks_1h.json")):
        assert all(CANDLE[market].read(each) for each in json.loads((folder / file).read_text()))


@pytest.mark.parametrize("coin", ["FUN", "BTC", "ZKJ"])
def test_a_longer_candle_is_made_of_the_shorter_ones_that_have_trades(coin, shared_data):
    """Quiet ones, flat at the close before, are there and give nothing: what the rule first_trade says."""

    def rows(interval):
        with (shared_data / "gate" / f"futures_{coin}_USDT_{interval}_2024-08.csv").open() as lines:
            return [[int(each[0]), *map(Decimal, each[1:])] for each in list(csv.reader(lines))[1:]]

    short, long = rows("5m"), rows("4h")
    compared = 0
    for start_ms, *values in long:
        parts = [each for each in short if start_ms <= each[0] < start_ms + 4 * HOUR_MS]
        traded = [each for each in parts if each[5] > 0]
        if len(parts) == 48 and traded:
            compared += 1
            made = [traded[0][1], max(r[2] for r in traded), min(r[3] for r in traded), traded[-1][4]]
            assert values == [*made, sum(r[5] for r in traded)]
    assert compared > 20
    assert VENUE.markets["linear"].klines == KlineRules("first_trade")


def test_candles_are_paged_without_a_hole_and_end_with_the_open_one(exchange):
    """The bounds: the start is in, the end is not; more than 1,000 of an answer are refused."""
    exchange.stub.candles_ms = list(range(NOW_MS - 3000 * MINUTE_MS, NOW_MS + 1, MINUTE_MS))
    first, end = NOW_MS - 2500 * MINUTE_MS, NOW_MS + MINUTE_MS

    assert exchange.minutes(first, end) == list(range(first, end, MINUTE_MS))
    assert exchange.minutes(first + 1, first + 2 * MINUTE_MS + 1) == [first + MINUTE_MS, first + 2 * MINUTE_MS]
    assert exchange.minutes(first, first) == []
    assert exchange.pages.count("candlesticks") == 2501 // CANDLES_PAGE + 2


def test_what_is_older_than_the_newest_10_000_is_not_there(exchange):
    """It is refused; of a span that is partly older the rest is read."""
    exchange.stub.candles_ms = list(range(NOW_MS - 12_000 * MINUTE_MS, NOW_MS + 1, MINUTE_MS))
    found = exchange.minutes(NOW_MS - 11_500 * MINUTE_MS, NOW_MS + MINUTE_MS)

    assert found == list(range(found[0], NOW_MS + 1, MINUTE_MS))
    assert 9_900 < len(found) <= KEPT
    assert exchange.minutes(NOW_MS - 11_500 * MINUTE_MS, NOW_MS - 11_000 * MINUTE_MS) == []


def test_quiet_times_are_passed(exchange):
    """An empty answer is no end."""
    exchange.stub.candles_ms = [NOW_MS - 2900 * MINUTE_MS, NOW_MS]

    assert exchange.minutes(NOW_MS - 3000 * MINUTE_MS, NOW_MS + 1) == exchange.stub.candles_ms


def test_volumes_are_of_contracts_whose_size_must_be_known():
    """The listing is read for it; a contract that is not in it is refused for good."""
    exchange = Exchange()
    exchange.stub.candles_ms = [NOW_MS]

    (candle,) = exchange.rest.candles(BTC, MINUTE_MS, NOW_MS, NOW_MS + 1)
    assert (candle.volume, candle.turnover) == (Decimal("29.1170"), Decimal("2440050.2"))
    with pytest.raises(HistoryError, match="contract size") as caught:
        exchange.rest.candles("NOPE_USDT", MINUTE_MS, NOW_MS, NOW_MS + 1)
    assert caught.value.is_final


def test_volumes_are_of_the_size_that_the_newest_listing_has():
    """It may change: what is read because the exchange says so counts for candles, too."""
    exchange = Exchange()
    exchange.stub.candles_ms = [NOW_MS]
    exchange.rest.candles(BTC, MINUTE_MS, NOW_MS, NOW_MS + 1)
    exchange.stub.rows["contracts"] = [contract(BTC, quanto_multiplier="0.01")]
    exchange.rest.listed()

    (candle,) = exchange.rest.candles(BTC, MINUTE_MS, NOW_MS, NOW_MS + 1)
    assert candle.volume == Decimal("2911.70")


def test_months_are_calendar_months_and_weeks_are_left_out():
    """7d begins on Thursdays."""
    exchange = Exchange("spot")
    months = [1_788_220_800_000, 1_790_812_800_000]
    exchange.stub.script = [(200, [row("spot", month) for month in months])]

    assert [each.start_ms for each in exchange.rest.candles(BTC, MONTH, months[0], months[1] + 1)] == months
    assert exchange.stub.asked[0][1]["interval"] == "30d"
    with pytest.raises(ValueError, match="step is"):
        exchange.rest.candles(BTC, 7 * 24 * HOUR_MS, 0, 1)


# -- trades -------------------------------------------------------------------------------------------------------


def test_recorded_trades_are_read(shared_data):
    """Milliseconds with decimals of spot, seconds with decimals of futures; oldest first."""
    for market, file, times in (
        ("spot", "rest_spot_trades.json", [1790359364413, 1790359364969]),
        ("linear", "rest_futures_trades.json", [1790359375111, 1790359375258]),
    ):
        exchange = Exchange(market)
        exchange.stub.trades = json.loads((shared_data / "gate" / file).read_text())
        found = exchange.rest.recent_trades(BTC)

        assert [each.event_ms for each in found] == times
        assert [str(each.trade_id) for each in found] == [str(each["id"]) for each in exchange.stub.trades[::-1]]
        assert all(each.size > 0 and each.seq == each.trade_id for each in found)


def test_recent_trades_are_the_newest_oldest_first(exchange):
    """A thousand of an answer."""
    exchange.stub.trades = [TRADE[exchange.rest.market](number) for number in range(1700, 0, -1)]
    found = exchange.rest.recent_trades(BTC)

    assert [each.trade_id for each in found] == list(range(701, 1701))
    assert (found[0].price, found[0].size, found[0].event_ms) == (1.5, 2.0, NOW_MS - 1_000_000 + 701)


def test_an_unreadable_trade_is_among_the_recent_ones(exchange):
    """At the times of both its neighbours: its own is not known."""
    make = TRADE[exchange.rest.market]
    exchange.stub.trades = [make(5), make(4, price="-1"), make(3)]
    found = exchange.rest.recent_trades(BTC)

    assert [(each.trade_id, each.size) for each in found] == [(3, 2.0), ("", 0.0), ("", 0.0), (5, 2.0)]


def test_a_hole_is_read_by_id(exchange):
    """Both ends included, whatever the pages hold beyond; ids that are not there are left out."""
    make = TRADE[exchange.rest.market]
    exchange.stub.trades = [make(number) for number in range(3000, 0, -1) if number != 2600]
    wanted = [number for number in range(250, 2900) if number != 2600]

    assert [each.trade_id for each in exchange.rest.trades_by_id(BTC, 250, 2899)] == wanted
    assert exchange.stub.asked[0][1]["last_id"] == "2900"
    assert [each.trade_id for each in exchange.rest.trades_by_id(BTC, -5, 2)] == [1, 2]
    assert exchange.rest.trades_by_id(BTC, 4000, 4001) == []


def test_internal_trades_are_there_and_do_not_count():
    """Their ids are no hole."""
    exchange = Exchange()
    exchange.stub.trades = [futures_trade(2, is_internal=True), futures_trade(1)]

    assert [each.is_counted for each in exchange.rest.recent_trades(BTC)] == [True, False]


# -- instruments, time, errors --------------------------------------------------------------------------------------


def test_recorded_listings_are_read(shared_data):
    """Base and quote; what may not be traded at all is not there; a contract has a size."""
    spot, linear = Exchange("spot"), Exchange()
    spot.stub.rows["currency_pairs"] = json.loads((shared_data / "gate" / "rest_spot_currency_pairs.json").read_text())
    linear.stub.rows["contracts"] = json.loads((shared_data / "gate" / "rest_futures_contracts.json").read_text())
    pairs = {each.symbol: each for each in spot.rest.listed()}
    contracts = {each.symbol: each for each in linear.rest.listed(pre_market=True)}

    assert {"BTC_USDT", "MAG7XON_USDT"} <= {*pairs}
    assert "POOLX_USDT" not in pairs
    assert (pairs[BTC].base, pairs[BTC].quote, pairs[BTC].contract_size) == ("BTC", "USDT", 1)
    assert (contracts[BTC].base, contracts[BTC].quote, contracts[BTC].contract_size) == (
        "BTC",
        "USDT",
        Decimal("0.0001"),
    )
    assert {*contracts} == {each["name"] for each in linear.stub.rows["contracts"] if each["status"] == "trading"}


def test_which_contracts_are_listed():
    """Those before their listing only where that is asked for; 0 is no size of a linear contract."""
    exchange = Exchange()
    exchange.stub.rows["contracts"] = [
        contract("A_USDT"),
        contract("B_USDT", is_pre_market=True),
        contract("C_USDT", status="delisted"),
        contract("D_USDT", quanto_multiplier="0"),
    ]

    assert [(each.symbol, each.contract_size) for each in exchange.rest.listed()] == [
        ("A_USDT", Decimal("0.0001")),
        ("D_USDT", None),
    ]
    assert [each.symbol for each in exchange.rest.listed(pre_market=True)] == ["A_USDT", "B_USDT", "D_USDT"]


def test_turnovers_are_comparable_within_a_market():
    """In dollars: of spot by the price of the quote."""
    exchange = Exchange("spot")
    exchange.stub.rows["currency_pairs"] = [pair(name) for name in ("BTC_USDT", "ETH_BTC", "A_XYZ", "B_USDT")]
    exchange.stub.rows["tickers"] = [
        {"currency_pair": "BTC_USDT", "last": "100", "quote_volume": "5"},
        {"currency_pair": "ETH_BTC", "last": "0.5", "quote_volume": "5"},
        {"currency_pair": "A_XYZ", "last": "1", "quote_volume": "5"},
    ]
    assert [each.turnover for each in exchange.rest.listed()] == [5, 500, 0, 0]

    linear = Exchange()
    linear.stub.rows["tickers"] = [{"contract": BTC, "last": "1", "volume_24h": "9", "volume_24h_quote": "7"}]
    assert [each.turnover for each in linear.rest.listed()] == [7]


def test_the_time_is_in_milliseconds_and_sizes_are_asked_for_with_decimals():
    """Without the header, the sizes of some contracts are rounded down."""
    exchange = Exchange()

    assert exchange.rest.server_time_ms() == NOW_MS
    assert exchange.stub.asked[0][0] == "/api/v4/spot/time"
    assert exchange.stub.headers[0]["X-Gate-Size-Decimal"] == "1"
    exchange.stub.rows["time"] = {"server_time": 7}
    with pytest.raises(HistoryError, match="no time of today"):
        exchange.rest.server_time_ms()


@pytest.mark.parametrize("label", ["INVALID_CURRENCY_PAIR", "CONTRACT_NOT_FOUND", "INVALID_PARAM_VALUE"])
def test_a_wrong_request_is_final(label, exchange):
    """It is not repeated; the exchange's text is in the error."""
    exchange.stub.script = [(400, {"label": label})]

    with pytest.raises(HistoryError, match=label) as caught:
        exchange.rest.recent_trades("NOPE_USDT")
    assert caught.value.is_final
    assert len(exchange.stub.asked) == 1


def test_recorded_refusal_is_final(shared_data):
    """A range that is too broad."""
    body = json.loads((shared_data / "gate" / "rest_error_range.json").read_text())

    assert sort_answer(400, {}, body).kind == "final"
    assert sort_answer(429, {}, {"label": "TOO_MANY_REQUESTS"}).kind == "limited"
    assert sort_answer(500, {}, {"label": "SERVER_ERROR"}).kind == "temporary"
    assert sort_answer(403, {}, {"label": "FORBIDDEN"}).kind == "banned"


def test_a_busy_exchange_is_asked_again():
    """And so is an answer of another shape."""
    exchange = Exchange()
    exchange.stub.script = [(500, {"label": "SERVER_ERROR"}), (200, {"rows": []}), (502, b"<html>")]

    assert exchange.rest.recent_trades(BTC) == []
    assert len(exchange.stub.asked) == 4
