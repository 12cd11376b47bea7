"""Bybit's memory over real sockets: the simulated exchange's truth, its limits, and servers that misbehave."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from functools import partial
from typing import Any

import pytest

from exchanges.bybit.client.limits import HostLimits
from exchanges.bybit.rest import BybitRest
from exchanges.clock import ExchangeClock
from exchanges.rest_limits import RestLimiter
from exchanges.retries import ATTEMPTS, RetryPolicy
from model.ports import HistoryError, MarketHistory
from tests.integration.exchanges.server import ScriptedServer, response
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until

MINUTE_MS = 60_000
GOOD = response(b'{"retCode":0,"retMsg":"OK","result":{"timeSecond":"1","timeNano":"1700000000123000000"},"time":1}')


@pytest.fixture(scope="module")
def sim() -> Iterator[SimulatorProcess]:
    """A market with 2,500 minutes behind it."""
    with SimulatorProcess("--symbols", "2", "--illiquid", "1", "--history-minutes", "2500", "--rate", "500") as process:
        yield process


def requests_of(sim: SimulatorProcess) -> int:
    """How many requests the exchange received from any address."""
    return sum(ip["requests"] for ip in sim.get("/sim/limits").json()["ips"].values())


def opened(url: str, market: str = "linear", **options: Any) -> closing[BybitRest]:
    """A history with a budget of its own, closed at the end."""
    options.setdefault("limits", HostLimits())
    return closing(BybitRest(market, url=url, **options))


@pytest.mark.parametrize(("market", "symbol"), [("linear", "BTCUSDT"), ("spot", "BTCUSDT"), ("inverse", "BTCUSD")])
def test_candles_equal_the_truth(sim: SimulatorProcess, market: str, symbol: str) -> None:
    """Every closed minute of three pages, and every longer step, to the last digit, none missing, none twice."""
    with opened(sim.rest_url, market) as history:
        reader: MarketHistory = history
        now_ms = reader.server_time_ms()
        for step_ms in (MINUTE_MS, 5 * MINUTE_MS, 60 * MINUTE_MS, 86_400_000):
            truth = sim.klines(symbol, step_ms, market, end=now_ms - step_ms)
            if not truth:
                continue
            start_ms, end_ms = truth[0]["start"], truth[-1]["start"] + step_ms
            candles = reader.candles(symbol, step_ms, start_ms, end_ms)
            assert [c.start_ms for c in candles] == list(range(start_ms, end_ms, step_ms))
            assert [[c.start_ms, c.open, c.high, c.low, c.close, c.volume, c.turnover] for c in candles] == [
                [Decimal(t[key]) for key in ("start", "open", "high", "low", "close", "volume", "turnover")]
                for t in truth
            ]
        assert len(reader.candles(symbol, MINUTE_MS, now_ms - MINUTE_MS, now_ms + 1)) >= 1  # the open one is included


def test_recent_trades_continue_each_other(sim: SimulatorProcess) -> None:
    """Oldest first; a later answer overlaps an earlier one in the same order."""
    wait_until(lambda: sim.stats()["trades"] > 300)
    with opened(sim.rest_url) as history:
        first, second = history.recent_trades("BTCUSDT"), history.recent_trades("BTCUSDT")
    assert len(first) > 50
    assert [t.event_ms for t in first] == sorted(t.event_ms for t in first)
    overlap = [t for t in second if t.event_ms <= first[-1].event_ms and t.seq <= first[-1].seq]
    assert overlap == first[-len(overlap) :]


def test_a_rate_limit_is_waited_out(sim: SimulatorProcess) -> None:
    """10006 with the time of its end: the answer comes soon after it, and few requests are spent on it."""
    with opened(sim.rest_url) as history:
        before, began_s = requests_of(sim), time.monotonic()
        sim.command("ratelimit", **{"s": 1.5, "with": 10006})
        assert history.server_time_ms() > 0
        assert time.monotonic() - began_s >= 1.5
        assert requests_of(sim) - before <= 3


def test_a_ban_opens_the_breaker_for_every_market(sim: SimulatorProcess) -> None:
    """The histories of a process share the address: after one 403 none of them asks, until the time is over."""
    limiter = RestLimiter(ban_s=1.0)
    limits = HostLimits(limiter)
    with opened(sim.rest_url, limits=limits) as linear, opened(sim.rest_url, "spot", limits=limits) as spot:
        sim.command("ratelimit", **{"s": 60, "with": 403})
        with pytest.raises(HistoryError, match="HTTP 403"):
            linear.server_time_ms()
        sim.command("ratelimit", **{"s": 0, "with": 403})
        with pytest.raises(HistoryError, match="breaker"):
            spot.recent_trades("BTCUSDT")
        wait_until(lambda: limiter.banned_s == 0)
        assert spot.recent_trades("BTCUSDT") is not None


def test_many_askers_stay_below_the_limit() -> None:
    """Eight threads send all they can: with a limit ten times smaller than Bybit's there is no ban."""
    limiter = RestLimiter(rate_per_s=8, burst=10)  # 10 + 5 x 8 = 50 in 5 s
    with SimulatorProcess("--symbols", "1", "--illiquid", "0", "--rest-limit", "60", "--ban-s", "60") as sim:
        stop = threading.Event()
        answers: list[int] = []
        failures: list[HistoryError] = []

        def ask() -> None:
            with opened(sim.rest_url, limits=HostLimits(limiter), stop=stop) as history:
                while not stop.is_set():
                    try:
                        answers.append(history.server_time_ms())
                    except HistoryError as error:
                        failures.append(error)

        threads = [threading.Thread(target=ask, name=f"caller-{n}") for n in range(8)]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(answers) >= 40 or failures)
        stop.set()
        for thread in threads:
            thread.join(5)
        assert limiter.bans == 0
        assert all("stopped" in str(error) for error in failures)


def test_an_unknown_symbol_is_an_error(sim: SimulatorProcess) -> None:
    """With what was asked and what was answered."""
    with opened(sim.rest_url) as history, pytest.raises(HistoryError, match=r"NOPE.*10001.*Symbol Invalid"):
        history.candles("NOPE", MINUTE_MS, 0, MINUTE_MS)


@pytest.mark.parametrize(
    "bad",
    [
        response(b"oops", "500 Internal Server Error"),
        response(b"<html>", "502 Bad Gateway"),
        response(b"{}"),
        response(b"not json"),
        response(b"[" * 200_000),
        response(b'{"retCode":0,"result":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
        response(b'{"retCode":10016,"retMsg":"server error","result":{}}'),
        response(b'{"retCode":0', length=999),  # cut off within the body
        b"",
        b"garbage\r\n\r\n",
        None,  # never answers
    ],
    ids=[
        "500",
        "502",
        "empty object",
        "no json",
        "deep",
        "deep result",
        "10016",
        "cut off",
        "closed",
        "no http",
        "no answer",
    ],
)
def test_a_request_to_a_failing_server_is_repeated(bad: bytes | None) -> None:
    """Twice wrong in whatever way, then right."""
    with (
        ScriptedServer(lambda n: bad if n < 2 else GOOD) as server,
        opened(server.url, read_timeout_s=0.2) as history,
    ):
        assert history.server_time_ms() == 1_700_000_000_123
        assert server.requests == 3


def test_a_server_that_never_answers_is_given_up() -> None:
    """After a few tries, with the reason."""
    quick: dict[str, Any] = {"read_timeout_s": 0.1, "retries": RetryPolicy(backoff_s=0.01)}
    with ScriptedServer(lambda _: None) as server, opened(server.url, **quick) as history:
        with pytest.raises(HistoryError, match=r"market/time.*ReadTimeout"):
            history.server_time_ms()
        assert server.requests == ATTEMPTS


def test_an_unreachable_server_is_an_error_quickly(free_port: int) -> None:
    """Nothing listens: a few refused connects and their waits."""
    with opened(f"http://127.0.0.1:{free_port}") as history, pytest.raises(HistoryError, match="ConnectionError"):
        history.server_time_ms()


def test_connections_are_kept() -> None:
    """Twenty requests on one socket, and none before the first."""
    with ScriptedServer(lambda _: GOOD) as server, opened(server.url) as history:
        assert server.connections == 0
        for _ in range(20):
            history.server_time_ms()
        assert (server.requests, server.connections) == (20, 1)


@pytest.mark.parametrize("refusal", [b'{"retCode":10006,"retMsg":"Too many visits!","result":{}}', b"down"])
def test_stopping_wakes_every_waiter(refusal: bytes) -> None:
    """Whatever they wait for, they end within moments, each with HistoryError."""
    stop = threading.Event()
    limiter = RestLimiter()
    ended: list[str] = []
    with (
        ScriptedServer(lambda _: response(refusal)) as server,
        opened(server.url, limits=HostLimits(limiter), stop=stop) as history,
    ):

        def ask() -> None:
            try:
                history.server_time_ms()
            except HistoryError as error:
                ended.append(str(error))

        threads = [threading.Thread(target=ask, name=f"caller-{n}") for n in range(3)]
        for thread in threads:
            thread.start()
        wait_until(lambda: server.requests >= 1)
        limiter.pause(600)
        stop.set()
        for thread in threads:
            thread.join(30)
        assert len(ended) == 3


def wrong_ms(error_ms: int) -> int:
    return time.time_ns() // 1_000_000 + error_ms


def assert_is_now(clock: ExchangeClock, error_ms: float) -> None:
    """The clock's time lies between two looks at the real one, or `error_ms` beside them."""
    before_ms = time.time_ns() / 1e6
    now_ms = clock.now_ms()
    assert before_ms - error_ms <= now_ms <= time.time_ns() / 1e6 + error_ms


def test_the_clock_is_right_by_rest(sim: SimulatorProcess) -> None:
    """A host 2 s fast and one 2 s slow both have the exchange's time, over real round trips."""
    for error_ms in (2_000, -2_000):
        with opened(sim.rest_url) as history:
            clock = ExchangeClock(history.server_time_ms, wall_ms=partial(wrong_ms, error_ms))
            assert clock.refresh()
            uncertainty_ms = clock.uncertainty_ms
            assert uncertainty_ms is not None
            assert abs(clock.offset_ms + error_ms) <= uncertainty_ms + 2
            assert_is_now(clock, uncertainty_ms + 2)


def test_the_clock_goes_on_without_rest(free_port: int) -> None:
    """The host's own time, marked as unknown, and no exception."""
    stop = threading.Event()
    with opened(f"http://127.0.0.1:{free_port}", stop=stop) as history:
        clock = ExchangeClock(history.server_time_ms)
        stop.set()
        assert not clock.refresh()
        assert not clock.is_known
        assert_is_now(clock, 100)


@pytest.mark.parametrize(("column", "value"), [(3, "999999999"), (5, None), (6, ""), (None, None), (0, "x")])
def test_an_odd_row_costs_its_own_candle(sim: SimulatorProcess, column: int | None, value: object) -> None:
    """Of more than a page, over HTTP: the others equal the truth."""
    sim.command("rest_fault", what="odd_row", path="/v5/market/kline", count=None, row=7, column=column, value=value)
    try:
        with opened(sim.rest_url) as history:
            end_ms = history.server_time_ms() // MINUTE_MS * MINUTE_MS - MINUTE_MS
            start_ms = end_ms - 1_200 * MINUTE_MS
            candles = history.candles("BTCUSDT", MINUTE_MS, start_ms, end_ms)
    finally:
        sim.command("rest_clear")
    truth = {t["start"]: t["close"] for t in sim.klines("BTCUSDT", MINUTE_MS, "linear", start=start_ms, end=end_ms - 1)}
    assert 1_195 <= len(candles) < 1_200
    assert all(candle.close == Decimal(truth[candle.start_ms]) for candle in candles)


def test_an_odd_trade_is_a_hole_and_null_is_no_trade(sim: SimulatorProcess) -> None:
    """One that could not be read has its place in the list; a list of null is empty."""
    wait_until(lambda: sim.stats()["trades"] > 300)
    with opened(sim.rest_url) as history:
        sim.command("rest_fault", what="odd_row", path="/v5/market/recent-trade", row=3, column="price", value=None)
        found = history.recent_trades("BTCUSDT")
        assert [trade.size > 0 for trade in found[-5:]] == [True, False, True, True, True]
        sim.command("rest_fault", what="null_list", path="/v5/market/recent-trade")
        assert history.recent_trades("BTCUSDT") == []
