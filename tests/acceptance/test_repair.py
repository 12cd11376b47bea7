"""What went out incomplete is replaced by the exchange's own candle."""

import time

import pytest

from tests.acceptance.harness import (
    CollectorProcess,
    Subscriber,
    completes,
    latest,
    wait_for_more_completes,
    wrong_klines,
)
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until

MINUTE_MS = 60_000
LATE_IN_THE_MINUTE_S = 35  # begin so late that the first, partial minute is soon over


@pytest.mark.timeout(300)  # it waits for minutes to end, and for the exchange to finish them
def test_first_minute_and_a_minute_with_a_hole_end_complete(tmp_path, valkey):
    """The minute the collector was started in, and one over a disconnect: in the end equal to the truth."""
    args = ("--rate", 400, "--symbols", 3, "--true-seconds", "--categories", "linear")
    settings = {"SYMBOLS": "BTCUSDT,ETHUSDT,SOLUSDT", "REDIS_PORT": valkey.port, "KLINE_INTERVALS": "1m"}
    settings |= {"RAW_STREAMS": "trades", "RECONNECT_DELAY": 0.2}
    with SimulatorProcess(*args) as sim, Subscriber(valkey.port) as subscriber:
        settings |= {"BYBIT_WS_URL": sim.ws_url(), "BYBIT_REST_URL": sim.rest_url}
        wait_until(lambda: time.time() % 60 > LATE_IN_THE_MINUTE_S, poll_s=0.2)
        with CollectorProcess(tmp_path, **settings) as collector:
            wait_until(lambda: sim.stats()["connections"] == 1)
            wait_until(lambda: subscriber.klines(), 120, poll_s=0.2)
            sim.command("outage", s=12)  # longer than the newest trades that REST has
            first = min(k["timestamp"] for k in subscriber.klines())

            def is_healed(start: int) -> bool:
                klines = [k for k in latest(subscriber.klines()).values() if k["timestamp"] == start]
                return len(klines) == 3 and all(k["complete"] for k in klines)

            wait_until(lambda: is_healed(first), poll_s=0.2)
            wait_until(lambda: is_healed(first + MINUTE_MS), 120, poll_s=0.5)
            # Now: another minute may close, and the end of the feed takes back what closed within a second of it.
            minutes = [k for k in subscriber.klines() if k["timestamp"] <= first + MINUTE_MS]
            assert collector.stop() == 0
        compared, wrong = wrong_klines(minutes, sim)

    assert (compared, wrong) == (6, [])
    assert "exchange" in {k["source"] for k in latest(minutes).values()}, "the hole is longer than what REST has"


def test_seconds_over_outages_are_healed_from_recent_trades(tmp_path, valkey):
    """Candles that the exchange does not have: spliced by trade id, complete and true, the first of all included."""
    # so slow that the thousand trades REST lists reach over an outage on a busy machine too
    args = ("--rate", 100, "--symbols", 3, "--illiquid", 0, "--true-seconds", "--categories", "linear")
    settings = {"SYMBOLS": "BTCUSDT,ETHUSDT,SOLUSDT", "REDIS_PORT": valkey.port, "KLINE_INTERVALS": "1s,5s"}
    settings |= {"RAW_STREAMS": "trades", "RECONNECT_DELAY": 0.2, "STATUS_INTERVAL": 1}
    with SimulatorProcess(*args) as sim, Subscriber(valkey.port) as subscriber:
        settings |= {"BYBIT_WS_URL": sim.ws_url(), "BYBIT_REST_URL": sim.rest_url}
        wait_until(lambda: sim.stats()["trades"] > 200)  # the exchange has traded before
        with CollectorProcess(tmp_path, **settings) as collector:
            for number, outage_s in enumerate((0.5, 1.5, 3)):
                wait_for_more_completes(subscriber, 15)
                sim.command("outage", s=outage_s)
                wait_until(lambda n=number: spliced(collector) >= 3 * (n + 1))  # type: ignore[misc]
            wait_for_more_completes(subscriber, 60)
            wait_until(lambda: not incomplete_seconds(subscriber), poll_s=0.5)  # REST may be asked again, and again
            assert collector.stop() == 0
        compared, wrong = wrong_klines(subscriber.klines(), sim)

    assert wrong == []
    assert compared > 50
    assert incomplete_seconds(subscriber) == []


def test_seconds_of_unreadable_messages_are_healed(tmp_path, valkey):
    """Whatever the reason, and beside a neighbour that is not touched: no candle is complete without those trades."""
    args = ("--rate", 60, "--symbols", 2, "--illiquid", 0, "--true-seconds", "--categories", "linear")
    settings = {"SYMBOLS": "BTCUSDT,ETHUSDT", "REDIS_PORT": valkey.port, "KLINE_INTERVALS": "1s"}
    settings |= {"RAW_STREAMS": "trades", "STATUS_INTERVAL": 1}
    ways = ("rsv1", "binary", "damaged", "cut", "in_a_list", "deep", "no_price")
    with SimulatorProcess(*args) as sim, Subscriber(valkey.port) as subscriber:
        settings |= {"BYBIT_WS_URL": sim.ws_url(), "BYBIT_REST_URL": sim.rest_url}
        wait_until(lambda: sim.stats()["trades"] > 200)  # the exchange has traded before
        with CollectorProcess(tmp_path, **settings) as collector:
            wait_until(lambda: completes(subscriber) > 4)
            for number, what in enumerate(ways, 1):
                garble(sim, subscriber, what, number)
            wait_for_more_completes(subscriber, 20)
            wait_until(lambda: not incomplete_seconds(subscriber))
            failures = collector.status["klines"]["failures"]
            assert collector.stop() == 0
        compared, wrong = wrong_klines(subscriber.klines(), sim)

    assert (wrong, failures) == ([], 0)
    assert compared > 10


def garble(sim: SimulatorProcess, subscriber: Subscriber, what: str, number: int) -> None:
    """Break the next message, the one of this number, and wait until klines have come after it."""
    sim.command("garble", what=what, topic="publicTrade.BTCUSDT")
    closed = len(subscriber.klines())
    wait_until(lambda: sim.stats()["counters"].get("garbled", 0) == number)
    wait_until(lambda: len(subscriber.klines()) > closed + 1)


def spliced(collector: CollectorProcess) -> int:
    """How many gaps of a symbol were spliced, as the newest status line has it."""
    return int(collector.status["klines"]["spliced"])


def incomplete_seconds(subscriber: Subscriber) -> list[object]:
    """Those that were not healed, the newest apart."""
    seconds = {key: k for key, k in latest(subscriber.klines()).items() if key[2] == 1_000}
    newest = max(start for _, _, _, start in seconds)
    return [key for key, k in seconds.items() if not k["complete"] and key[3] < newest - 3_000]
