"""The `audit` thread against the simulated exchange's REST port."""

import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest

from aggregation.audit.auditor import Auditor
from aggregation.audit.compare import FIELDS
from exchanges.bybit.rest import BybitRest
from model.clock import now_ms
from model.ports import HistoryError
from model.records import Kline
from tests.support.history import FakeHistory
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until

MINUTE_MS = 60_000


def kline_of(symbol: str, interval: int, truth: dict[str, Any]) -> Kline:
    values = {name: Decimal(truth[name]) for name in FIELDS}
    return Kline(
        symbol=symbol,
        interval=interval,
        timestamp=truth["start"],
        trade_count=truth["trade_count"],
        complete=True,
        source="trades",
        revision=0,
        **values,
    )


class CountedAuditor(Auditor):
    """Keeps what was asked: (symbol, step)."""

    asked: list[tuple[str, int]]


@pytest.fixture
def auditor() -> Iterator[Callable[..., CountedAuditor]]:
    """Start an auditor of a simulator's linear market; ends it whatever happens."""
    started: list[Auditor] = []
    enough = threading.Event()

    def start(sim: SimulatorProcess, correct=None) -> CountedAuditor:
        history = BybitRest("linear", url=sim.rest_url, stop=enough)

        def read(_market, symbol, step_ms, start_ms, end_ms):
            one.asked.append((symbol, step_ms))
            try:
                return history.candles(symbol, step_ms, start_ms, end_ms)
            except HistoryError:
                return None

        source = FakeHistory(candles=read, steps_ms=history.candle_steps_ms, now_ms=now_ms)
        quick: dict[str, Any] = {"requests_per_s": 50, "recheck_ms": 100, "retry_ms": 100, "idle_s": 0.02}
        one = CountedAuditor(source, sample=1.0, correct=correct, **quick)
        one.asked = []
        started.append(one)
        one.start()
        return one

    yield start
    enough.set()
    assert all(one.stop(time.monotonic() + 5) for one in started)


def offered(sim: SimulatorProcess, symbols: list[str]) -> list[Kline]:
    return [
        kline_of(symbol, interval, truth)
        for symbol in symbols
        for interval in (MINUTE_MS, 5 * MINUTE_MS)
        for truth in sim.klines(symbol, interval)[-40:-2]  # over for minutes: final at once
    ]


def equal(auditor: Auditor) -> int:
    intervals: Any = auditor.stats()["intervals"]
    return sum(figures["equal"] for figures in intervals.values())


def test_what_the_exchange_has_is_equal_and_one_falsified_is_found(auditor):
    """Hundreds of candles in a few questions; the one that was changed is corrected with the exchange's values."""
    corrected = []
    symbols = ["BTCUSDT", "ETHUSDT", "SOLUSDT"]
    with SimulatorProcess("--rate", 50, "--symbols", 3, "--illiquid", 1) as sim:
        klines = offered(sim, symbols)
        true = klines[10]
        klines[10] = Kline(**{name: getattr(true, name) for name in Kline.__struct_fields__} | {"high": Decimal("9e9")})
        one = auditor(sim, lambda *what: corrected.append(what))
        one.put("linear", klines)
        wait_until(lambda: equal(one) == len(klines) - 1 and corrected)

        figures = one.stats()["intervals"]
        assert figures["1m"] == {
            "compared": 3 * 38, "equal": 3 * 38 - 1, "different": 1, "unknown": 0, "fields": {"high": 1},
        }  # fmt: skip
        ((market, ours, candle),) = corrected
        assert (market, ours, candle.high) == ("linear", klines[10], true.high)
        assert len(one.asked) == len(symbols) * 2 + 1, "one question per symbol and interval, and one to make sure"


def test_rate_limited_exchange_is_read_again(auditor):
    """403 for a moment costs time, no kline and no wrong figure."""
    with SimulatorProcess("--rate", 50, "--symbols", 1, "--illiquid", 0) as sim:
        klines = offered(sim, ["BTCUSDT"])
        sim.command("ratelimit", s=1.0, **{"with": 10006})
        one = auditor(sim)
        one.put("linear", klines)
        wait_until(lambda: equal(one) == len(klines))

        assert [figures["different"] for figures in one.stats()["intervals"].values()] == [0, 0]
