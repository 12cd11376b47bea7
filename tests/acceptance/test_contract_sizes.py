"""A contract that changes its size while it is collected, at an exchange that says so: through main.py and Redis."""

from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.acceptance.harness import CollectorProcess, Subscriber, completes, wrong_klines
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until

SIZE = "0.007"
BTC = "BTC_USDT"


def test_volumes_are_of_the_new_size_once_the_exchange_has_told_of_it(tmp_path: Path, valkey: Any) -> None:
    """The listing is read at once, not after its five minutes; the klines after it are the exchange's own."""
    settings = {"EXCHANGE": "gate", "REDIS_PORT": valkey.port, "SYMBOLS": "BTC", "KLINE_INTERVALS": "1s"}
    settings |= {"RAW_STREAMS": "trades", "SYMBOLS_REFRESH": 300}
    with (
        SimulatorProcess("--symbols", 2, "--illiquid", 0, "--true-seconds", "--rate", 200, exchange="gate") as sim,
        Subscriber(valkey.port, "gate") as subscriber,
        CollectorProcess(tmp_path, WS_URL=sim.ws_base, REST_URL=sim.rest_url, **settings) as collector,
    ):
        wait_until(lambda: completes(subscriber) > 3, 40)
        before = sim.stats()["now_ms"]
        assert sim.command("multiplier", symbol=BTC, quanto_multiplier=SIZE)["messages"] == 1
        seen = len(subscriber.klines())
        wait_until(lambda: any(is_of(kline, sim, before) for kline in subscriber.klines()[seen:]), 30)
        changed_ms = subscriber.klines()[-1]["timestamp"]
        wait_until(lambda: completes(subscriber) > 8 and subscriber.klines()[-1]["timestamp"] > changed_ms + 4_000)
        assert collector.stop() == 0, collector.newest_output()
        after = [kline for kline in subscriber.klines() if kline["timestamp"] > changed_ms]
        compared, wrong = wrong_klines(after, sim)

    assert (compared > 2, wrong) == (True, [])
    assert not [entry for entry in collector.events("status") if entry["faults"].get("unknown_message")]


def is_of(kline: dict[str, Any], sim: SimulatorProcess, since_ms: int) -> bool:
    """Whether a later kline has the volume of the new size."""
    truths = {each["start"]: each for each in sim.klines(BTC, 1000, category="linear")}
    truth = truths.get(kline["timestamp"])
    is_later = kline["timestamp"] > since_ms + 1_000
    return bool(is_later and truth and Decimal(truth["volume"]) == Decimal(kline["volume"]))
