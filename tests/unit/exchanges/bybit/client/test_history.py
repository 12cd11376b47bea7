"""Pages of candles: an odd row costs itself and no file, an end is not guessed from one answer."""

from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from exchanges.bybit.client.cache import Series
from exchanges.bybit.client.data_frames import readable, stream_frame
from exchanges.bybit.client.errors import BadAnswerError
from exchanges.bybit.client.history import KlineFetcher, Listings
from exchanges.bybit.client.market import INTERVAL_MS, MarketDataService
from tests.unit.exchanges.bybit.client.steps_run import NOW_MS, Asked, Runner, answer, engine

MINUTE_MS = 60_000
SERIES = Series("linear", "A", "1")
BEGAN = 1_672_531_200_000  # 2023-01-01
ODD: list[Any] = [None, [], ["x"], "row", {}, 5, [str(BEGAN), "x", "2", "1", "2", "3", "4"], [str(BEGAN), "NaN"]]


def candle(start_ms: int) -> list[str]:
    return [str(start_ms), "1", "2", "1", "2", "3", "4"]


class FakeExchange:
    """A symbol that began at BEGAN; `change` makes the rows of an answer others."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []
        self.change: Any = lambda _interval, _count, rows: rows

    def __call__(self, asked: Asked) -> Any:
        name, start, end = asked.params["interval"], int(asked.params["start"]), int(asked.params["end"])
        self.asked.append((name, start))
        length = 31 * INTERVAL_MS["D"] if name == "M" else INTERVAL_MS[name]
        first = max(BEGAN, -(-(start - BEGAN) // length) * length + BEGAN)
        rows = [candle(ms) for ms in range(first, min(end, NOW_MS) + 1, length)][-1000:]
        return answer({"list": self.change(name, sum(one == (name, start) for one in self.asked), rows[::-1])})


def fetcher(exchange: FakeExchange) -> KlineFetcher:
    return KlineFetcher(MarketDataService(engine(), Runner(exchange), float))  # type: ignore[arg-type]


@pytest.mark.parametrize("odd", ODD, ids=str)
def test_an_odd_row_costs_itself(odd: Any) -> None:
    """The others of its page are there; an added column does no harm."""
    candles, count = readable([[*candle(BEGAN + MINUTE_MS), "added"], odd, candle(BEGAN)])
    assert (list(candles.starts), count) == ([BEGAN, BEGAN + MINUTE_MS], 1)
    assert readable([odd])[1] == 1


@pytest.mark.parametrize("odd", ODD, ids=str)
def test_a_page_with_an_odd_row_is_no_final_one(odd: Any) -> None:
    """It is asked for again, and not kept as if there were no candle, however old it is."""
    exchange = FakeExchange()
    span = (BEGAN, BEGAN + 10 * MINUTE_MS)
    exchange.change = lambda _name, count, rows: rows if count > 1 else [odd, *rows[1:]]
    healed = fetcher(exchange).fetch(SERIES, [span], NOW_MS, int)[0]
    assert (len(healed.candles), healed.is_final) == (10, True)
    exchange.change = lambda _name, _count, rows: [odd, *rows[1:]]
    with capture_logs() as logs:
        page = fetcher(exchange).fetch(SERIES, [span], NOW_MS, int)[0]
    assert (len(page.candles), page.lacking, page.is_final) == (9, 1, False)
    assert "kline_rows_odd" in {line["event"] for line in logs}
    exchange.change = lambda _name, _count, rows: rows[1:]
    assert fetcher(exchange).fetch(SERIES, [span], NOW_MS, int)[0].is_final


@pytest.mark.parametrize("empty", ["M", "D", "60", "1"])
def test_one_empty_answer_is_no_missing_history(empty: str, tmp_path: Path) -> None:
    """A single null is fetched again; where a finer candle stays away, the coarser one gives the begin."""
    exchange = FakeExchange()
    exchange.change = lambda name, count, rows: None if name == empty and count == 1 else rows
    assert Listings(fetcher(exchange), tmp_path / "a").begin(SERIES) == BEGAN
    exchange = FakeExchange()
    exchange.change = lambda name, _count, rows: None if name == empty else rows
    began = Listings(fetcher(exchange), tmp_path / "b").begin(SERIES)
    assert began == (None if empty == "M" else BEGAN)


def test_a_beginning_that_could_not_be_read_is_not_kept(tmp_path: Path) -> None:
    """A later first candle would hide what lies before it for ever."""
    exchange = FakeExchange()
    exchange.change = lambda name, _count, rows: [*rows[:-1], None] if name == "M" else rows
    later = Listings(fetcher(exchange), tmp_path).begin(SERIES)
    assert later is not None
    assert later > BEGAN
    assert list(tmp_path.rglob("*.json")) == []
    assert Listings(fetcher(FakeExchange()), tmp_path).begin(SERIES) == BEGAN
    assert len(list(tmp_path.rglob("*.json"))) == 1


@pytest.mark.parametrize("odd", [None, {}, {"start": BEGAN}, [], "x"], ids=str)
def test_a_stream_row_that_is_no_candle_is_a_bad_answer(odd: Any) -> None:
    """One error for whatever it is."""
    with pytest.raises(BadAnswerError):
        stream_frame(odd)
