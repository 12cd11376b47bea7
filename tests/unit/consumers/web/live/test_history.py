"""History for pages: coalesced, cached, read by one thread."""

import threading
from collections.abc import Iterator
from decimal import Decimal

import pytest

from consumers.web.live.history import CANDLES, NOTHING, HistoryReader, Past, first_of
from model.intervals import Interval, parse_interval
from model.records import Candle
from tests.support.waiting import wait_until

MINUTE = parse_interval("1m")
NOW_MS = 1_760_000_070_000  # half a minute after a minute's begin
OPEN_MS = NOW_MS - 30_000
BTC, ETH = ("linear", "BTCUSDT", "1m"), ("linear", "ETHUSDT", "1m")


class Exchange:
    """What is read, and what that was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int, int]] = []
        self.now_ms = NOW_MS
        self.gate = threading.Event()
        self.gate.set()
        self.answer: Past | None = None

    def read(self, _market: str, symbol: str, interval: Interval, from_ms: int, until_ms: int) -> Past:
        self.asked.append((symbol, from_ms, until_ms))
        self.gate.wait(5)
        if self.answer is not None:
            return self.answer
        starts = range(-(-from_ms // interval.step_ms) * interval.step_ms, until_ms, interval.step_ms)
        return Past([candle(start) for start in starts])


def candle(start_ms: int) -> Candle:
    one = Decimal(1)
    return Candle(start_ms, one, one, one, one, one, one)


@pytest.fixture
def exchange() -> Exchange:
    return Exchange()


@pytest.fixture
def reader(exchange: Exchange) -> Iterator[HistoryReader]:
    made = HistoryReader(exchange.read, lambda: exchange.now_ms, gap_s=0.0)
    yield made
    exchange.gate.set()
    made.stop()


def read(reader: HistoryReader, series: tuple[str, str, str] = BTC) -> Past:
    taken: list[Past] = []
    reader.request(series, MINUTE, taken.append)
    wait_until(lambda: bool(taken))
    return taken[0]


def test_the_newest_candles_are_read_and_the_open_one_with_them(reader: HistoryReader, exchange: Exchange) -> None:
    """Five hundred closed ones; when it was read says which are open."""
    past = read(reader)
    assert [past.candles[0].start_ms, past.candles[-1].start_ms] == [first_of(MINUTE, NOW_MS), OPEN_MS]
    assert len(past.candles) == CANDLES + 1
    assert past.read_ms == NOW_MS
    assert past.note == ""


def test_candles_that_are_final_are_not_read_again(reader: HistoryReader, exchange: Exchange) -> None:
    """Later only what is newer, and what closed a moment ago."""
    read(reader)
    reader._known[BTC].read_s -= 60
    exchange.now_ms += 60_000
    past = read(reader)
    assert exchange.asked[1][1] == OPEN_MS
    assert len(past.candles) == CANDLES + 1
    assert past.candles[-1].start_ms == OPEN_MS + 60_000


def test_what_was_read_a_moment_ago_is_not_read_again(reader: HistoryReader, exchange: Exchange) -> None:
    """Twenty pages that open at once ask once."""
    assert [len(read(reader).candles) for _ in range(3)] == [CANDLES + 1] * 3
    assert len(exchange.asked) == 1


def test_requests_that_wait_are_one_and_what_nobody_looks_at_is_not_read(
    reader: HistoryReader, exchange: Exchange
) -> None:
    """A user who turns through the symbols reads the last one, not all."""
    exchange.gate.clear()
    taken: list[str] = []
    reader.request(BTC, MINUTE, lambda _past: taken.append("first"))
    wait_until(lambda: len(exchange.asked) == 1)
    for number in range(3):
        reader.request(ETH, MINUTE, lambda _past, number=number: taken.append(f"eth {number}"))  # type: ignore[misc]
    reader.request(("linear", "XRPUSDT", "1m"), MINUTE, lambda _past: taken.append("xrp"))
    reader.cancel(("linear", "XRPUSDT", "1m"))
    exchange.gate.set()
    wait_until(lambda: len(taken) == 2)
    assert taken == ["first", "eth 2"]
    assert [symbol for symbol, *_ in exchange.asked] == ["BTCUSDT", "ETHUSDT"]


def test_a_history_that_could_not_be_read_is_read_anew(reader: HistoryReader, exchange: Exchange) -> None:
    """And says so meanwhile; what was known before is still shown."""
    read(reader)
    reader._known[BTC].read_s -= 60
    exchange.answer = Past(note="unreadable", is_final=False)
    past = read(reader)
    assert (past.note, past.is_final, len(past.candles)) == ("unreadable", False, CANDLES)
    exchange.answer = None
    assert read(reader).note == ""


def test_an_exchange_without_candles_of_a_symbol_is_said_to_have_none(
    reader: HistoryReader, exchange: Exchange
) -> None:
    """Such as one that was listed a moment ago."""
    exchange.answer = Past()
    assert read(reader).note == NOTHING


def test_a_reader_that_raises_costs_one_answer(reader: HistoryReader, exchange: Exchange) -> None:
    """The thread goes on."""
    exchange.answer = Past([None])  # type: ignore[list-item]
    assert "cannot be read" in read(reader).note
    exchange.answer = None
    assert read(reader, ETH).note == ""
