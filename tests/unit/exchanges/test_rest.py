"""The exchange's memory for those who want an answer or none."""

import threading

import pytest

from exchanges.rest import REFUSED_S, ExchangeMemory
from model.ports import HistoryError
from model.records import PastTrade

TRADES = [
    PastTrade("plain", 1, 1.0, 1.0, 1),
    PastTrade("block", 2, 1.0, 1.0, 2, is_block=True),
    PastTrade("rpi", 3, 1.0, 1.0, 3, is_rpi=True),
]


class Venue:
    """A market that answers, or raises what it is told to."""

    url = "http://x"
    candle_steps_ms = (60_000,)

    def __init__(self):
        self.asked = []
        self.failure = None

    def server_time_ms(self):
        return 0

    def candles(self, symbol, step_ms, start_ms, end_ms):
        self.asked.append(symbol)
        if self.failure:
            raise self.failure
        return []

    def recent_trades(self, symbol):
        self.candles(symbol, 0, 0, 0)
        return TRADES


class Memory(ExchangeMemory):
    def __init__(self, **options):
        self.now_s, self.venue, self.stopped = 0.0, Venue(), threading.Event()
        self.reported: list[str] = []
        super().__init__(
            {"linear": self.venue}, self.stopped, lambda cause, _: self.reported.append(cause),
            monotonic=lambda: self.now_s, **options,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({}, ["plain", "block", "rpi"]),
        ({"count_block_trades": False}, ["plain", "rpi"]),
        ({"count_rpi_trades": False}, ["plain", "block"]),
    ],
)
def test_trades_that_do_not_count_in_the_stream_do_not_count_here(options, kept):
    """Else a splice would put into klines what the stream left out."""
    assert [trade.trade_id for trade in Memory(**options).recent_trades("linear", "X") or []] == kept


def test_failure_that_may_pass_is_no_answer():
    """The next question is asked again."""
    memory = Memory()
    memory.venue.failure = HistoryError("down")

    assert memory.candles("linear", "X", 60_000, 0, 1) is memory.recent_trades("linear", "X") is None
    assert memory.venue.asked == ["X", "X"]
    assert memory.reported == ["history_unreadable"] * 2


def test_unknown_symbol_is_not_asked_about_again_for_a_while():
    """It may be listed later; its neighbours are asked."""
    memory = Memory()
    memory.venue.failure = HistoryError("retCode 10001", is_final=True)
    assert memory.recent_trades("linear", "GONE") == ()
    memory.venue.failure = None
    memory.now_s = REFUSED_S - 1
    assert memory.candles("linear", "GONE", 60_000, 0, 1) == ()
    assert memory.candles("linear", "X", 60_000, 0, 1) == []
    assert memory.venue.asked == ["GONE", "X"]

    memory.now_s = REFUSED_S + 1
    assert len(memory.recent_trades("linear", "GONE") or []) == 3


def test_stopped_memory_reports_nothing():
    """Whoever stops it interrupts questions."""
    memory = Memory()
    memory.venue.failure = HistoryError("interrupted")
    memory.stop()

    assert memory.recent_trades("linear", "X") is None
    assert memory.reported == []
