"""Histories of any length: no hole, no double, no endless loop."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchanges.bybit.client.account import PositionService
from exchanges.bybit.client.errors import BadAnswerError, CursorLoopError, RequestError
from exchanges.bybit.client.market import KLINES_PER_PAGE, MINUTE_MS, MarketDataService, interval_name
from exchanges.bybit.client.service import spans
from exchanges.bybit.client.steps import Sync
from tests.unit.exchanges.bybit.client.steps_run import NOW_MS, Asked, Runner, answer, engine, in_turn

DAY_MS = 86_400_000


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
    seen = []
    with pytest.raises(CursorLoopError, match="second time"):
        seen.extend(service.iter_positions())
    assert len(runner.paths) == 2


def test_empty_pages_do_not_end_it() -> None:
    """A page without rows may have a next one."""
    replies = [answer({"list": [], "nextPageCursor": "x"}), answer({"list": [{"symbol": "A"}], "nextPageCursor": ""})]
    service: PositionService[Sync] = PositionService(engine(), Runner(in_turn(*replies)), float)  # type: ignore[arg-type]
    assert len(list(service.iter_positions())) == 1


def test_long_spans_of_the_past_are_asked_week_by_week() -> None:
    """Bybit refuses longer ones."""
    runner = Runner(in_turn(answer({"list": []})))
    service: PositionService[Sync] = PositionService(engine(), runner, float)  # type: ignore[arg-type]
    list(service.iter_closed_pnl(start=0, end=20 * DAY_MS))
    asked = [(int(a.params["startTime"]), int(a.params["endTime"])) for a in runner.asked if "startTime" in a.params]
    assert asked == [(0, 7 * DAY_MS - 1), (7 * DAY_MS, 14 * DAY_MS - 1), (14 * DAY_MS, 20 * DAY_MS - 1)]


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


def test_rows_that_make_no_sense_are_an_error() -> None:
    """JSON, a good retCode, and a candle without numbers."""
    service, _ = market(in_turn(answer({"list": [["1", "x", "2", "1", "2"]]})))
    with pytest.raises(BadAnswerError):
        _ = service.get_klines(symbol="A", interval="1").models
