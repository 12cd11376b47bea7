"""A host whose clock is wrong: candles close by the exchange's."""

import time

import pytest

from tests.acceptance.harness import CollectorProcess, Subscriber, completes, wrong_klines
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until

WRONG_CLOCK = """
import time
real_ns, real = time.time_ns, time.time
time.time_ns = lambda: real_ns() + {ms} * 1_000_000
time.time = lambda: real() + {ms} / 1000
import main
raise SystemExit(main.run())
"""
STEPPED_CLOCK = """
import pathlib, time
real_ns, real = time.time_ns, time.time
step = lambda: {ms} if pathlib.Path("step").exists() else 0
time.time_ns = lambda: real_ns() + step() * 1_000_000
time.time = lambda: real() + step() / 1000
import main
raise SystemExit(main.run())
"""
IN_TIME_MS = 1_500  # after its end: the grace, the way, and a busy machine


@pytest.mark.parametrize("wrong_by_ms", [2_000, -2_000])
def test_wrong_host_clock_closes_no_candle_early_or_late(tmp_path, valkey, wrong_by_ms):
    """Two seconds fast or slow: no candle is closed before its trades, and none waits two seconds for nothing."""
    (tmp_path / "wrong.py").write_text(WRONG_CLOCK.format(ms=wrong_by_ms))
    settings = {"SYMBOLS": "BTCUSDT,ETHUSDT,LTCUSDT", "REDIS_PORT": valkey.port, "KLINE_INTERVALS": "1s"}
    args = ("--rate", 300, "--symbols", 10, "--illiquid", 3, "--true-seconds", "--categories", "linear")
    with SimulatorProcess(*args) as sim, Subscriber(valkey.port) as subscriber:
        settings |= {"BYBIT_WS_URL": sim.ws_url(), "BYBIT_REST_URL": sim.rest_url, "STATUS_INTERVAL": 1}
        with CollectorProcess(tmp_path, tmp_path / "wrong.py", **settings) as collector:
            wait_until(lambda: completes(subscriber) > 10)
            delays: list[float] = []

            def has_seen_enough() -> bool:
                seen, now_ms = subscriber.klines(), time.time() * 1000
                if len(seen) > len(delays):
                    delays.append(now_ms - max(k["timestamp"] + k["interval"] for k in seen))
                return len(delays) >= 30 and completes(subscriber) > 30

            wait_until(has_seen_enough, 60)
            wait_until(lambda: abs(collector.status["clock_offset_ms"] + wrong_by_ms) < 500)
            assert collector.stop() == 0
        compared, wrong = wrong_klines(subscriber.klines(), sim, every_issue=True)

    assert (compared > 20, wrong) == (True, [])
    assert min(delays) < IN_TIME_MS


@pytest.mark.parametrize("rest_error_ms", [3_600_000, -3_600_000])
def test_a_wrong_rest_time_makes_no_false_candle_and_refuses_no_trade(tmp_path, valkey, rest_error_ms):
    """An hour off for the first seconds, as a cached answer is: trades and the host outweigh it at once."""
    settings = {"SYMBOLS": "BTCUSDT,ETHUSDT", "REDIS_PORT": valkey.port, "KLINE_INTERVALS": "1s"}
    args = ("--rate", 100, "--symbols", 2, "--illiquid", 0, "--true-seconds", "--categories", "linear")
    with SimulatorProcess(*args) as sim, Subscriber(valkey.port) as subscriber:
        sim.command("clock", shift_ms=rest_error_ms)
        settings |= {"BYBIT_WS_URL": sim.ws_url(), "BYBIT_REST_URL": sim.rest_url, "STATUS_INTERVAL": 1}
        with CollectorProcess(tmp_path, **settings) as collector:
            collector.wait_for("exchange_clock_refuted")
            wait_until(lambda: completes(subscriber) > 10)
            sim.command("clock", shift_ms=0)
            done = completes(subscriber)
            wait_until(lambda: completes(subscriber) > done + 10)
            wait_until(lambda: abs(collector.status["clock_offset_ms"]) < 500)
            status = collector.status
            assert collector.stop() == 0
        compared, wrong = wrong_klines(subscriber.klines(), sim)

    assert status["klines"]["refused"] == 0
    assert (compared > 8, wrong) == (True, [])
    assert all(k["timestamp"] < time.time() * 1000 for k in subscriber.klines())


@pytest.mark.parametrize("step_ms", [3_600_000, -3_600_000])
def test_a_host_clock_set_meanwhile_makes_no_false_candle(tmp_path, valkey, step_ms):
    """An hour forwards or back, and an outage right after it, whose last frame was stamped before."""
    (tmp_path / "stepped.py").write_text(STEPPED_CLOCK.format(ms=step_ms))
    settings = {"SYMBOLS": "BTCUSDT,ETHUSDT", "REDIS_PORT": valkey.port, "KLINE_INTERVALS": "1s"}
    args = ("--rate", 100, "--symbols", 2, "--illiquid", 0, "--true-seconds", "--categories", "linear")
    with SimulatorProcess(*args) as sim, Subscriber(valkey.port) as subscriber:
        settings |= {"BYBIT_WS_URL": sim.ws_url(), "BYBIT_REST_URL": sim.rest_url, "RECONNECT_DELAY": 0.2}
        with CollectorProcess(tmp_path, tmp_path / "stepped.py", **settings) as collector:
            wait_until(lambda: completes(subscriber) > 6)
            (tmp_path / "step").touch()
            collector.wait_for("host_clock_stepped")
            sim.command("outage", s=1)
            done = completes(subscriber)
            wait_until(lambda: completes(subscriber) > done + 10)
            assert collector.stop() == 0
        compared, wrong = wrong_klines(subscriber.klines(), sim)

    assert (compared > 8, wrong) == (True, [])
    assert all(k["timestamp"] < time.time() * 1000 for k in subscriber.klines())
