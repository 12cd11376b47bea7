"""Histories of any length: no hole, no double, no endless loop."""

import itertools
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from exchanges.bybit.client.account import PositionService
from exchanges.bybit.client.errors import BadAnswerError, BybitError, CursorLoopError, RequestError
from exchanges.bybit.client.market import KLINES_PER_PAGE, MarketDataService, interval_name
from exchanges.bybit.client.order import OrderService
from exchanges.bybit.client.service import spans
from exchanges.bybit.client.steps import Sync
from model.intervals import MINUTE_MS
from tests.unit.exchanges.bybit.client.steps_run import NOW_MS, Asked, Runner, answer, engine, in_turn

DAY_MS = 86_400_000
BEGAN = 1_672_531_200_000  # 2023-01-01


def kline_venue(listed_ms: int) -> Any:
    """market/kline as Bybit answers: at most `limit`, the newest of the span, newest first."""

    def script(asked: Asked) -> Any:
        if asked.path == "/v5/market/time":
            return answer({"timeNano": str(NOW_MS * 1_000_000)})
        start, end, limit = (int(asked.params[name]) for name in ("start", "end", "limit"))
        first = max(-(-start // MINUTE_MS) * MINUTE_MS, listed_ms)
        times = list(range(first, min(end, NOW_MS) + 1, MINUTE_MS))[-limit:]
        return answer({"list": [[str(ms), "1", "2", "1", "2", "3", "4"] for ms in reversed(times)]})

    return script


def market(script: Any) -> tuple[MarketDataService[Sync], Runner]:
    runner = Runner(script)
    return MarketDataService(engine(), runner, float), runner  # type: ignore[arg-type]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 3_000 * MINUTE_MS), st.integers(0, 3_500 * MINUTE_MS), st.integers(0, 2_000))
def test_every_candle_comes_once_in_order(offset_ms: int, length_ms: int, listed: int) -> None:
    """Any bounds, over page borders, over the listing and the open candle."""
    start = NOW_MS - 3_000 * MINUTE_MS + offset_ms
    listed_ms = (NOW_MS - listed * MINUTE_MS) // MINUTE_MS * MINUTE_MS
    service, _ = market(kline_venue(listed_ms))
    got = [k.start for k in service.iter_klines(symbol="A", interval="1", start=start, end=start + length_ms)]
    first = max(-(-start // MINUTE_MS) * MINUTE_MS, listed_ms)
    assert got == list(range(first, min(start + length_ms, NOW_MS + 1), MINUTE_MS))


def test_without_an_end_it_goes_up_to_now() -> None:
    """The open candle included, and pages of the future not asked for."""
    service, runner = market(kline_venue(0))
    start = (NOW_MS // MINUTE_MS - KLINES_PER_PAGE) * MINUTE_MS
    got = list(service.iter_klines(symbol="A", interval="1m", start=start))
    assert len(got) == KLINES_PER_PAGE + 1
    assert runner.paths == ["/v5/market/kline"] * 2


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 10**4), st.integers(100, 10**4))
def test_spans_leave_nothing_out(start: int, length: int, most: int) -> None:
    """Neighbours touch, none is too long."""
    cut = list(spans(start, start + length, most))
    assert [ms for first, last in cut for ms in (first, last + 1)][1:-1] == [
        border for _, last in cut[:-1] for border in (last + 1, last + 1)
    ]
    assert all(last - first < most for first, last in cut)
    assert (not cut and not length) or (cut[0][0], cut[-1][1]) == (start, start + length - 1)


def test_cursors_are_followed_to_the_end() -> None:
    """Each page's cursor is sent back as it came."""
    rows = [{"list": [{"symbol": f"S{n}"}], "nextPageCursor": cursor} for n, cursor in enumerate(("a%3D1", "b", ""))]
    runner = Runner(in_turn(*[answer(row) for row in rows]))
    service: PositionService[Sync] = PositionService(engine(), runner, float)  # type: ignore[arg-type]
    assert [position.symbol for position in service.iter_positions()] == ["S0", "S1", "S2"]
    assert [asked.params.get("cursor") for asked in runner.asked[-3:]] == [None, "a=1", "b"]


def test_a_cursor_that_comes_again_ends_the_iteration() -> None:
    """With an error, after the rows that were there."""
    runner = Runner(in_turn(answer({"list": [{"symbol": "A"}], "nextPageCursor": "same"})))
    service: PositionService[Sync] = PositionService(engine(), runner, float)  # type: ignore[arg-type]
    seen: list[object] = []
    with pytest.raises(CursorLoopError, match="second time"):
        seen.extend(service.iter_positions())
    assert len(runner.paths) == 2


def test_empty_pages_do_not_end_it() -> None:
    """A page without rows may have a next one."""
    replies = [answer({"list": [], "nextPageCursor": "x"}), answer({"list": [{"symbol": "A"}], "nextPageCursor": ""})]
    service: PositionService[Sync] = PositionService(engine(), Runner(in_turn(*replies)), float)  # type: ignore[arg-type]
    assert len(list(service.iter_positions())) == 1


def test_long_spans_of_the_past_are_read_week_by_week() -> None:
    """Bybit refuses longer ones."""
    runner = Runner(in_turn(answer({"list": []})))
    service: PositionService[Sync] = PositionService(engine(), runner, float)  # type: ignore[arg-type]
    list(service.iter_closed_pnl(start=BEGAN, end=datetime(2023, 1, 21)))
    asked = [(int(a.params["startTime"]), int(a.params["endTime"])) for a in runner.asked if "startTime" in a.params]
    ends = [BEGAN + days * DAY_MS for days in (0, 7, 14, 20)]
    assert asked == [(begin, end - 1) for begin, end in itertools.pairwise(ends)]


@pytest.mark.parametrize(
    ("given", "name"), [("60", "60"), (60, "60"), ("1h", "60"), ("1d", "D"), ("1M", "M"), ("1m", "1")]
)
def test_intervals_have_bybits_names(given: str | int, name: str) -> None:
    """Both ways to write them."""
    assert interval_name(given) == name


def test_an_unknown_interval_is_refused() -> None:
    """Before anything is asked."""
    with pytest.raises(RequestError, match="7m"):
        interval_name("7m")


def pages_of(*results: Any) -> list[Any]:
    """The orders of an iteration over these pages, and the error it ended in."""
    runner = Runner(in_turn(*[answer(result) for result in results]))
    orders: OrderService[Sync] = OrderService(engine(), runner, float)  # type: ignore[arg-type]
    found: list[Any] = []
    try:
        found.extend(order.order_id for order in orders.iter_active_orders())
    except BybitError as error:
        found.append(type(error))
    return found


def rows(*ids: str, **fields: Any) -> list[dict[str, Any]]:
    return [{"orderId": one, **fields} for one in ids]


@pytest.mark.parametrize(
    ("results", "found"),
    [
        ([{"list": rows("1", "2"), "nextPageCursor": "a"}], ["1", "2", CursorLoopError]),
        (
            [{"list": rows("1"), "nextPageCursor": "a"}, {"list": rows("2"), "nextPageCursor": "b"},
             {"list": rows("1"), "nextPageCursor": "a"}],
            ["1", "2", CursorLoopError],
        ),
        (
            [{"list": rows("1", "2"), "nextPageCursor": "a"}, {"list": rows("2", "3", price="5")}],
            ["1", "2", "3"],
        ),
        (
            [{"list": rows("1"), "nextPageCursor": "a"}, *[{"list": [], "nextPageCursor": f"{n}"} for n in range(30)],
             {"list": rows("2")}],
            ["1", "2"],
        ),
        ([{"list": rows("1"), "nextPageCursor": ["a"]}], ["1", BadAnswerError]),
        ([{"list": "rows"}], [BadAnswerError]),
        ([{"list": None, "nextPageCursor": "a"}, {"list": rows("1"), "nextPageCursor": None}], ["1"]),
        ([{"nextPageCursor": "", "category": "linear"}], []),
        ([None], []),
    ],
    ids=str,
)  # fmt: skip
def test_each_row_comes_once_and_no_end_is_assumed(results: list[Any], found: list[Any]) -> None:
    """Pages that lead to themselves, overlap, are empty for long; lists and cursors that are null or none."""
    assert pages_of(*results) == found


def test_equal_rows_of_one_page_are_two() -> None:
    """Rows without ids may be alike; on the next page they are the same ones."""
    row = {"symbol": "A", "closedPnl": "1"}
    runner = Runner(in_turn(answer({"list": [row, row], "nextPageCursor": "a"}), answer({"list": [row]})))
    service: PositionService[Sync] = PositionService(engine(), runner, float)  # type: ignore[arg-type]
    assert list(service.iter_closed_pnl(start=BEGAN, end=BEGAN + 1)) == [row, row]


ODD_ROWS: list[Any] = [None, {}, [], "row", 5, {"symbol": None}]


@pytest.mark.parametrize("odd", ODD_ROWS, ids=str)
def test_one_odd_row_costs_itself(odd: Any) -> None:
    """Of a page, of an iteration, alone on its page too."""
    good = {"symbol": "A", "size": "1"}
    for results in ([{"list": [odd, good]}], [{"list": [odd], "nextPageCursor": "a"}, {"list": [good]}]):
        runner = Runner(in_turn(*[answer(result) for result in results]))
        service: PositionService[Sync] = PositionService(engine(), runner, Decimal)  # type: ignore[arg-type]
        assert [position.symbol for position in service.iter_positions()] == ["A"]
    runner = Runner(in_turn(answer({"list": [good, odd]})))
    service = PositionService(engine(), runner, Decimal)  # type: ignore[arg-type]
    with capture_logs() as logs:
        assert [position.size for position in service.get_positions().models] == [1]
    assert len([line for line in logs if line["event"] == "rest_rows_odd"]) == 1


@pytest.mark.parametrize("odd", ["much", [], {}, "NaN"], ids=str)
def test_one_odd_field_costs_itself(odd: Any) -> None:
    """A field that a row can do without is None; what is new at Bybit is kept."""
    row = {"symbol": "A", "size": odd, "avgPrice": "5", "newField": {"a": odd}}
    runner = Runner(in_turn(answer({"list": [row]})))
    service: PositionService[Sync] = PositionService(engine(), runner, Decimal)  # type: ignore[arg-type]
    position = service.get_positions().model
    assert (position.size, position.avg_price, position.model_extra) == (None, 5, {"newField": {"a": odd}})


def test_one_odd_candle_costs_itself() -> None:
    """In pages of any number: null, too short, no number, an added column."""
    times = [NOW_MS - n * MINUTE_MS for n in range(5)]
    page: list[Any] = [[str(ms), "1", "2", "1", "2", "3", "4"] for ms in times]
    page[1], page[2], page[3] = None, [page[2][0]], [page[3][0], "x", "2", "1", "2", "3", "4"]
    page[4] = [*page[4], "added"]
    service, _ = market(in_turn(answer({"list": page})))
    got = [kline.start for kline in service.iter_klines(symbol="A", interval="1", start=times[-1], end=NOW_MS + 1)]
    assert got == [times[4], times[0]]


@pytest.mark.parametrize("odd", [None, {}, [], {"timeNano": None}, {"timeNano": "soon"}, {"timeNano": -1}], ids=str)
def test_a_time_that_is_none_is_a_bad_answer(odd: Any) -> None:
    """Not a KeyError."""
    service, _ = market(lambda _asked: answer(odd))
    with pytest.raises(BadAnswerError, match="no time"):
        list(service.iter_klines(symbol="A", interval="1", start=BEGAN))


def test_rows_that_make_no_sense_are_an_error() -> None:
    """JSON, a good retCode, and a candle without numbers."""
    service, _ = market(in_turn(answer({"list": [["1", "x", "2", "1", "2"]]})))
    with pytest.raises(BadAnswerError):
        _ = service.get_klines(symbol="A", interval="1").models
