"""What Bybit remembers, read through pybit without a socket."""

import json
from dataclasses import astuple
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from exchanges.bybit.client.connection import CONNECT_TIMEOUT_S
from exchanges.bybit.client.engine import CATALOGUE
from exchanges.bybit.client.limits import HostLimits
from exchanges.bybit.intervals import INTERVALS
from exchanges.bybit.rest import PAGE, READ_TIMEOUT_S, BybitRest
from exchanges.contract import TradeRules
from model.intervals import DAY_MS, MINUTE_MS
from model.ports import HistoryError
from model.records import Candle, PastTrade, unreadable_trade
from tests.unit.exchanges.bybit.rest_stub import (
    NOW_MS,
    Exchange,
    Reply,
    Stub,
    enveloped,
    in_turn,
    klines,
    row,
    session_of,
)

NOW_MINUTE = NOW_MS // MINUTE_MS
STEPS_OF = {name: step for step, name in INTERVALS.items()}


class Remembered:
    """market/kline as measured: at most 1000, with both bounds the newest (or, to be safe, the oldest) of them."""

    def __init__(self, listed_ms: int = 0, delisted_ms: int = NOW_MS, *, newest: bool = True) -> None:
        self.listed_ms, self.delisted_ms, self.newest = listed_ms, delisted_ms, newest

    def __call__(self, path: str, query: dict[str, str]) -> Reply:
        if path.endswith("/time"):
            return enveloped({"timeSecond": str(NOW_MS // 1000), "timeNano": f"{NOW_MS}000000"})
        step = STEPS_OF[query["interval"]]
        first = max(int(query["start"]), self.listed_ms)
        starts = list(range(-(-first // step) * step, min(int(query["end"]), self.delisted_ms) + 1, step))
        limit = int(query["limit"])
        chosen = starts[-limit:] if self.newest else starts[:limit]
        return klines(*(row(start) for start in reversed(chosen)))


def starts_of(candles: list[Candle]) -> list[int]:
    return [candle.start_ms for candle in candles]


@settings(deadline=None)
@given(
    start=st.integers(-3_500, 10), count=st.integers(0, 3_500), shift=st.integers(-70_000, 70_000), newest=st.booleans()
)
def test_pages_have_no_hole_and_no_double(start: int, count: int, shift: int, newest: bool) -> None:
    """Whatever the bounds, aligned or not: every start within them once, in order; the known paging defect is one
    candle missing per thousand."""
    start_ms = (NOW_MINUTE + start) * MINUTE_MS + shift
    end_ms = start_ms + count * MINUTE_MS
    exchange = Exchange(Remembered(newest=newest))
    candles = exchange.history.candles("BTCUSDT", MINUTE_MS, start_ms, end_ms)
    first = -(-start_ms // MINUTE_MS) * MINUTE_MS
    assert starts_of(candles) == list(range(first, min(end_ms, NOW_MS + 1), MINUTE_MS))
    assert len(exchange.queries) <= 2 * (count // PAGE) + 5  # twice as many where the range goes on beyond now


@pytest.mark.parametrize("count", [1, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE, 2 * PAGE + 1])
def test_the_ends_of_pages_meet(count: int) -> None:
    """Just around whole pages, with as few requests as will do."""
    end_ms = NOW_MINUTE * MINUTE_MS
    exchange = Exchange(Remembered())
    candles = exchange.history.candles("BTCUSDT", MINUTE_MS, end_ms - count * MINUTE_MS, end_ms)
    assert starts_of(candles) == [end_ms - n * MINUTE_MS for n in range(count, 0, -1)]
    assert len(exchange.queries) == -(-count // PAGE)


def test_reading_stops_at_the_listing() -> None:
    """From 1970 until far from now costs a few requests: empty pages of the future and before the listing."""
    listed_ms = (NOW_MINUTE - 2_500) * MINUTE_MS
    exchange = Exchange(Remembered(listed_ms))
    candles = exchange.history.candles("BTCUSDT", MINUTE_MS, 0, NOW_MS + 10**12)
    assert starts_of(candles) == list(range(listed_ms, NOW_MS + 1, MINUTE_MS))
    assert len(exchange.queries) == 3 + 3 + 1


def test_what_a_delisted_symbol_left_is_found() -> None:
    """Empty pages at the new end are no reason to stop."""
    delisted_ms = (NOW_MINUTE - 2_500) * MINUTE_MS
    exchange = Exchange(Remembered(delisted_ms=delisted_ms))
    start_ms = delisted_ms - 10 * MINUTE_MS
    candles = exchange.history.candles("BTCUSDT", MINUTE_MS, start_ms, NOW_MS)
    assert starts_of(candles) == list(range(start_ms, delisted_ms + 1, MINUTE_MS))


def test_an_empty_range_asks_nothing() -> None:
    """Start at or after the end."""
    exchange = Exchange(Remembered())
    assert exchange.history.candles("BTCUSDT", MINUTE_MS, NOW_MS, NOW_MS) == []
    assert exchange.history.candles("BTCUSDT", MINUTE_MS, NOW_MS, 0) == []
    assert exchange.queries == []


@pytest.mark.parametrize("step_ms", INTERVALS)
def test_every_interval_is_requested_by_bybits_name(step_ms: int) -> None:
    """docs: market/kline"""
    exchange = Exchange(in_turn(klines()))
    exchange.history.candles("BTCUSDT", step_ms, NOW_MS - MINUTE_MS, NOW_MS)
    expected = {DAY_MS: "D", 7 * DAY_MS: "W", 0: "M"}.get(step_ms, str(step_ms // MINUTE_MS))
    assert exchange.queries == [
        {
            "category": "linear", "symbol": "BTCUSDT", "interval": expected, "limit": "1000",
            "start": str(NOW_MS - MINUTE_MS), "end": str(NOW_MS - 1),
        }
    ]  # fmt: skip


def test_months_are_paged_by_their_shortest_length() -> None:
    """A page of months never holds more than one answer gives, and many years are one page."""
    months = [datetime(2020 + n // 12, n % 12 + 1, 1, tzinfo=UTC) for n in range(84)]
    starts = [int(month.timestamp() * 1000) for month in months]
    exchange = Exchange(in_turn(klines(*(row(start) for start in reversed(starts)))))
    candles = exchange.history.candles("BTCUSDT", 0, starts[3], starts[80])
    assert starts_of(candles) == starts[3:80]
    assert len(exchange.queries) == 1


def test_numbers_are_exact() -> None:
    """As the exchange wrote them, to the last zero; the float next to 33.404285 has fifteen more digits."""
    exchange = Exchange(in_turn(klines(row(NOW_MS))))
    (candle,) = exchange.history.candles("BTCUSDT", MINUTE_MS, NOW_MS, NOW_MS + 1)
    expected = [NOW_MS, *map(Decimal, ("1.0", "2.50", "0.5", "1.10", "33.404285", "36.7447135"))]
    assert list(map(str, astuple(candle))) == list(map(str, expected))


def test_rows_outside_the_bounds_and_twice_are_dropped() -> None:
    """An exchange that answers more than it was asked for makes no wrong candle."""
    starts = [NOW_MS + n * MINUTE_MS for n in (3, 2, 2, 1, 0, -1)]
    exchange = Exchange(in_turn(klines(*map(row, starts))))
    candles = exchange.history.candles("BTCUSDT", MINUTE_MS, NOW_MS, NOW_MS + 3 * MINUTE_MS)
    assert starts_of(candles) == [NOW_MS + n * MINUTE_MS for n in (0, 1, 2)]


def test_a_step_that_bybit_does_not_have_is_an_error_of_the_caller() -> None:
    """Sub-minute candles are remembered nowhere."""
    exchange = Exchange(Remembered())
    with pytest.raises(ValueError, match="1000 ms"):
        exchange.history.candles("BTCUSDT", 1_000, 0, NOW_MS)
    assert Exchange(Remembered(), "option").history.candle_steps_ms == ()


@pytest.mark.parametrize(("market", "limit"), [("linear", "1000"), ("inverse", "1000"), ("spot", "60")])
def test_recent_trades_come_oldest_first(market: str, limit: str) -> None:
    """Bybit gives the newest first and seq as text; as many are asked as the market gives."""
    listed = [
        {"execId": i, "symbol": "BTCUSDT", "price": "67250.5", "size": "0.001", "side": "Buy", "time": str(NOW_MS + ms),
         "isBlockTrade": False, "isRPITrade": True, "seq": seq}
        for i, ms, seq in (("c", 30, "12"), ("b", 20, "11"), ("a", 20, "10"))
    ]  # fmt: skip
    exchange = Exchange(in_turn(enveloped({"category": market, "list": listed})), market)
    assert exchange.history.recent_trades("BTCUSDT") == [
        PastTrade("a", NOW_MS + 20, 67250.5, 0.001, 10),
        PastTrade("b", NOW_MS + 20, 67250.5, 0.001, 11),
        PastTrade("c", NOW_MS + 30, 67250.5, 0.001, 12),
    ]
    assert exchange.queries == [{"category": market, "symbol": "BTCUSDT", "limit": limit}]


@pytest.mark.parametrize(
    ("rules", "counted"),
    [
        (TradeRules(), [True, True, True]),
        (TradeRules(count_block_trades=False), [True, False, True]),
        (TradeRules(count_rpi_trades=False), [True, True, False]),
    ],
)
def test_trades_that_do_not_count_in_the_stream_do_not_count_here(rules: TradeRules, counted: list[bool]) -> None:
    """Else a splice would put into klines what the stream left out."""
    kinds = {"plain": {}, "block": {"isBlockTrade": True}, "rpi": {"isRPITrade": True}}
    listed = [
        {"execId": name, "price": "1", "size": "1", "time": str(NOW_MS + at), "seq": "1"} | flags
        for at, (name, flags) in enumerate(kinds.items())
    ]
    exchange = Exchange(in_turn(enveloped({"category": "linear", "list": listed[::-1]})), rules=rules)
    assert [trade.is_counted for trade in exchange.history.recent_trades("BTCUSDT")] == counted


@pytest.mark.parametrize("place", [0, 1, 2, 3])
@pytest.mark.parametrize("odd", [{"time": "1e3"}, {"time": NOW_MS - 3_600_000}, {"seq": "9" * 30}, {"seq": -1}])
def test_one_wrong_time_or_sequence_turns_no_page_around(odd: dict[str, Any], place: int) -> None:
    """The others keep their order, wherever it stands."""
    listed: list[dict[str, Any]] = [
        {"execId": str(n), "price": "1", "size": "1", "time": str(NOW_MS + n), "seq": str(n)} for n in (4, 3, 2, 1)
    ]
    listed[place] |= odd
    exchange = Exchange(in_turn(enveloped({"list": listed})))
    trades = exchange.history.recent_trades("BTCUSDT")
    others = [trade.trade_id for trade in trades if trade.trade_id not in ("", listed[place]["execId"])]
    assert others == sorted(set("1234") - {listed[place]["execId"]})
    assert all(0 <= trade.seq < 2**63 for trade in trades)


def test_the_time_is_read_to_the_millisecond() -> None:
    """timeSecond would be a second off."""
    exchange = Exchange(in_turn(enveloped({"timeSecond": "1688639403", "timeNano": "1688639403423213947"})))
    assert exchange.history.server_time_ms() == 1688639403423


def test_the_steps_are_bybits() -> None:
    """Ascending by how long they are, months last."""
    minutes = (1, 3, 5, 15, 30, 60, 120, 240, 360, 720, 1440, 10080)
    assert Exchange(Remembered()).history.candle_steps_ms == (*(m * MINUTE_MS for m in minutes), 0)


def test_an_error_has_endpoint_parameters_code_and_message() -> None:
    """So that one log line is enough."""
    exchange = Exchange(in_turn(enveloped({}, 10001, "params error: Symbol Invalid")))
    with pytest.raises(HistoryError) as caught:
        exchange.history.recent_trades("NOPE")
    text = str(caught.value)
    for part in ("/v5/market/recent-trade", "'symbol': 'NOPE'", "'limit': 1000", "10001", "Symbol Invalid"):
        assert part in text


# -- one odd row costs itself ---------------------------------------------------------------------------------

ODD_CANDLES = {
    "a low above the open": {3: "1.05"},
    "an empty text": {6: ""},
    "null": {5: None},
    "NaN": {2: "NaN"},
    "no number": {4: "n/a"},
    "a list": {1: []},
    "negative": {5: "-1"},
    "a price of nothing": {1: "0", 2: "0", 3: "0", 4: "0"},
    "a start of nothing": {0: None},
    "a start between": {0: "1.5"},
    "a start of a million digits": {0: "1E+999999999"},
    "a volume of a million digits": {5: "1E+999999"},
    "a turnover of a million decimals": {6: "1E-999999"},
    "nothing, to a million decimals": {5: "0E-999999"},
}
NUMBERS = ("1.0", "1.2", "0.9", "1.1", "10", "11")


def page_of(count, odd=None, changes=None):
    """Newest first, the row `odd` changed."""
    rows = [row(NOW_MS + n * MINUTE_MS, NUMBERS) for n in range(count)]
    if odd is not None:
        for column, value in changes.items():
            rows[odd][column] = value
    return rows[::-1]


@pytest.mark.parametrize("odd", [0, 50, 99])
@pytest.mark.parametrize("changes", ODD_CANDLES.values(), ids=ODD_CANDLES)
def test_a_candle_that_makes_no_sense_costs_itself(odd: int, changes: dict[int, Any]) -> None:
    """The first, one between, the last: the others are had, and nothing is asked for at full pace."""
    exchange = Exchange(in_turn(klines(*page_of(100, odd, changes))))
    with capture_logs() as logs:
        for _ in range(3):
            candles = exchange.history.candles("BTCUSDT", MINUTE_MS, NOW_MS, NOW_MS + 100 * MINUTE_MS)
            assert starts_of(candles) == [NOW_MS + n * MINUTE_MS for n in range(100) if n != odd]
    assert len(exchange.queries) <= 3 * 3  # two more where an end of the page has no start
    assert [entry["event"] for entry in logs] == ["rest_rows_odd"]


@pytest.mark.parametrize("odd_row", [None, {}, "x", 7, [], ["1800000000000"], [None] * 7])
def test_a_row_that_is_none_costs_itself(odd_row: Any) -> None:
    """Whatever stands in its place."""
    rows: list[Any] = [*page_of(3), odd_row]
    exchange = Exchange(in_turn(klines(*rows)))
    assert len(exchange.history.candles("BTCUSDT", MINUTE_MS, NOW_MS, NOW_MS + 3 * MINUTE_MS)) == 3


def test_columns_that_are_added_are_left_alone() -> None:
    """The first seven mean what they meant."""
    exchange = Exchange(in_turn(klines(*([*each, "new", None] for each in page_of(3)))))
    assert len(exchange.history.candles("BTCUSDT", MINUTE_MS, NOW_MS, NOW_MS + 3 * MINUTE_MS)) == 3


def test_two_rows_for_one_candle_that_are_not_equal_cost_it() -> None:
    """Which is right cannot be decided; two equal ones are one."""
    rows = page_of(5)
    other = [*rows[2]]
    other[5] = "12"
    exchange = Exchange(in_turn(klines(*rows, rows[1], other)))
    candles = exchange.history.candles("BTCUSDT", MINUTE_MS, NOW_MS, NOW_MS + 5 * MINUTE_MS)
    assert starts_of(candles) == [NOW_MS + n * MINUTE_MS for n in (0, 1, 3, 4)]


def test_null_is_an_empty_list() -> None:
    """Of candles and of trades."""
    exchange = Exchange(in_turn(enveloped({"category": "linear", "list": None})))
    assert exchange.history.candles("BTCUSDT", MINUTE_MS, NOW_MS, NOW_MS + MINUTE_MS) == []
    assert exchange.history.recent_trades("BTCUSDT") == []
    assert len(exchange.queries) == 2


def trade_row(number: int, **changes: Any) -> dict[str, Any]:
    plain = {"execId": f"t{number}", "price": "2.5", "size": "1", "time": str(NOW_MS + 10 * number), "seq": str(number)}
    return {**plain, "side": "Buy", "isBlockTrade": False, "isRPITrade": False, **changes}


def trades_with(odd: int, count: int = 5, **changes: Any) -> list[PastTrade]:
    listed = [trade_row(n, **(changes if n == odd else {})) for n in range(count)]
    exchange = Exchange(in_turn(enveloped({"category": "linear", "list": listed[::-1]})))
    return exchange.history.recent_trades("BTCUSDT")


@pytest.mark.parametrize("changes", [{"price": None}, {"size": ""}, {"price": "NaN"}, {"size": "0"}, {"execId": None},
                                     {"execId": ""}, {"price": "-1"}, {"size": []}])  # fmt: skip
@pytest.mark.parametrize("odd", [0, 2, 4])
def test_a_trade_that_makes_no_sense_is_a_hole_at_its_own_time(odd: int, changes: dict[str, Any]) -> None:
    """The others are what they are; without it the list would claim to have no hole."""
    found = trades_with(odd, **changes)
    assert [trade.trade_id for trade in found] == ["" if n == odd else f"t{n}" for n in range(5)]
    assert found[odd] == unreadable_trade(NOW_MS + 10 * odd)


@pytest.mark.parametrize(("odd", "holes"), [(0, [1]), (2, [1, 3]), (4, [3])])
@pytest.mark.parametrize("time", [None, "soon", 0, 10**17])
def test_one_without_a_time_is_a_hole_at_both_its_neighbours_times(odd: int, holes: list[int], time: Any) -> None:
    """It may belong to the window of either."""
    found = trades_with(odd, time=time)
    assert [trade.event_ms for trade in found if trade.size == 0] == [NOW_MS + 10 * n for n in holes]
    assert [trade.trade_id for trade in found if trade.size] == [f"t{n}" for n in range(5) if n != odd]


def test_what_a_trade_need_not_have_may_be_null() -> None:
    """Its sequence and marks."""
    (first, *_) = trades_with(0, seq=None, isBlockTrade=None, isRPITrade=None)
    assert first == PastTrade("t0", NOW_MS, 2.5, 1.0, 0)


def test_a_trade_listed_twice_is_one_and_in_either_order_it_is_oldest_first() -> None:
    """Equal rows; two with one id that are not equal are a hole."""
    listed = [trade_row(n) for n in (0, 1, 1, 2)]
    exchange = Exchange(in_turn(enveloped({"list": listed}), enveloped({"list": listed[::-1]}),
                                enveloped({"list": [*listed, trade_row(1, size="7")]})))  # fmt: skip
    for _ in range(2):
        assert [trade.trade_id for trade in exchange.history.recent_trades("BTCUSDT")] == ["t0", "t1", "t2"]
    assert unreadable_trade(NOW_MS + 10) in exchange.history.recent_trades("BTCUSDT")


# -- an end is not guessed from one answer --------------------------------------------------------------------


class Holed(Remembered):
    """The same with holes (first minute, last minute; counted back from now), and with answers cut to `most` rows."""

    def __init__(self, *holes: tuple[int, int], most: int = PAGE, **options: Any) -> None:
        super().__init__(**options)
        self.holes, self.most = holes, most
        self.lost_page = -1
        self.asked = 0

    def __call__(self, path: str, query: dict[str, str]) -> Reply:
        self.asked += 1
        if self.asked == self.lost_page:
            return klines()
        status, text, headers = super().__call__(path, {**query, "limit": str(10**9)})
        body = json.loads(text)
        rows = [each for each in body["result"]["list"] if not self.is_hole(int(each[0]))]
        limit = min(int(query["limit"]), self.most)
        body["result"]["list"] = rows[:limit] if self.newest else rows[-limit:]
        return status, json.dumps(body), headers

    def is_hole(self, start_ms: int) -> bool:
        back = NOW_MINUTE - start_ms // MINUTE_MS
        return any(last <= back <= first for first, last in self.holes)


@pytest.mark.parametrize("newest", [True, False])
@pytest.mark.parametrize(
    "holes", [[(2_600, 900)], [(1_000, 1)], [(3_999, 3_000)], [(1_500, 1_400)], [(3_500, 1_200), (1_000, 10)]], ids=str
)
def test_a_hole_longer_than_a_page_ends_nothing(holes: list[tuple[int, int]], newest: bool) -> None:
    """A maintenance of days: what is older comes all the same, whichever end of a range the exchange cuts off."""
    memory = Holed(*holes, newest=newest, listed_ms=(NOW_MINUTE - 4_000) * MINUTE_MS)
    exchange = Exchange(memory)
    candles = exchange.history.candles("BTCUSDT", MINUTE_MS, (NOW_MINUTE - 5_000) * MINUTE_MS, NOW_MS)
    expected = [(NOW_MINUTE - back) * MINUTE_MS for back in range(4_000, 0, -1)]
    assert starts_of(candles) == [start for start in expected if not memory.is_hole(start)]
    assert len(exchange.queries) <= 20


@pytest.mark.parametrize("newest", [True, False])
@pytest.mark.parametrize("most", [200, 999])
def test_answers_shorter_than_requested_leave_no_hole(most: int, newest: bool) -> None:
    """A limit that the exchange has lowered."""
    exchange = Exchange(Holed(newest=newest, most=most))
    candles = exchange.history.candles("BTCUSDT", MINUTE_MS, (NOW_MINUTE - 2_500) * MINUTE_MS, NOW_MS)
    assert starts_of(candles) == [(NOW_MINUTE - back) * MINUTE_MS for back in range(2_500, 0, -1)]
    assert len(exchange.queries) <= 2_500 / most * 3 + 3


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_a_page_that_comes_empty_once_is_requested_again(lost: int) -> None:
    """Older candles are there, so that it was not the end."""
    memory = Holed()
    memory.lost_page = lost
    exchange = Exchange(memory)
    candles = exchange.history.candles("BTCUSDT", MINUTE_MS, (NOW_MINUTE - 3_500) * MINUTE_MS, NOW_MS)
    assert starts_of(candles) == [(NOW_MINUTE - back) * MINUTE_MS for back in range(3_500, 0, -1)]


def test_an_exchange_that_gives_one_row_at_a_time_is_given_up() -> None:
    """Rather than asked a million times."""
    exchange = Exchange(Holed(most=1))
    with pytest.raises(HistoryError, match="do not end"):
        exchange.history.candles("BTCUSDT", MINUTE_MS, (NOW_MINUTE - 3_000) * MINUTE_MS, NOW_MS)
    assert len(exchange.queries) < 200


@pytest.mark.parametrize(
    ("options", "base"),
    [
        ({}, "https://api.bybit.com"),
        ({"testnet": True}, "https://api-testnet.bybit.com"),
        ({"url": "http://127.0.0.1:8080/"}, "http://127.0.0.1:8080"),
        ({"url": "http://127.0.0.1:8080", "testnet": True}, "http://127.0.0.1:8080"),
        ({"url": "https://api.bybit.com", "testnet": True}, "https://api.bybit.com"),
    ],
)
def test_paths_are_the_documented_ones(options: dict[str, Any], base: str) -> None:
    """docs: market/kline, market/recent-trade, market/time; pybit's endpoints have the same, the timeouts are ours."""
    stub = Stub(Remembered())
    history = BybitRest("linear", limits=HostLimits(), session=session_of(stub), **options)
    history.server_time_ms()
    history.candles("A", MINUTE_MS, NOW_MS, NOW_MS + 1)
    stub.script = in_turn(enveloped({"list": []}))
    history.recent_trades("A")
    history.close()
    history.close()
    names = ("get_server_time", "get_kline", "get_public_trade_history")
    assert history.url == base
    assert [url for url, _ in stub.asked] == [base + CATALOGUE.call(name, {}).path for name in names]
    assert stub.timeouts == [(CONNECT_TIMEOUT_S, READ_TIMEOUT_S)] * 3
