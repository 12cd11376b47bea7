"""What is not known of Gate, the one way and the other, through main.py: klines equal the simulated exchange's own."""

import pytest

from tests.acceptance.harness import CollectorProcess, Subscriber, completes, wait_for_more_completes, wrong_klines
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until

STATUS, REFUSED = "stream:gate_status", "ETH_USDT"


@pytest.mark.parametrize(("market", "is_atomic"), [("spot", True), ("linear", False)])
def test_a_refused_name_costs_the_others_nothing(tmp_path, valkey, market, is_atomic):
    """Whether or not their whole request is refused; of messages of several ids, too, a hole is repaired by ids."""
    settings = {"EXCHANGE": "gate", "CHANNEL_TYPE": market, "SYMBOLS": "BTC,ETH,SOL", "KLINE_INTERVALS": "1s,1m"}
    settings |= {"REDIS_PORT": valkey.port, "RECONNECT_DELAY": 0.1, "STATUS_INTERVAL": 1}
    args = ("--rate", 400, "--symbols", 3, "--illiquid", 0, "--true-seconds")
    with SimulatorProcess(*args, exchange="gate") as sim, Subscriber(valkey.port, "gate") as subscriber:
        sim.command("assume", atomic=is_atomic, merged=True, empty=False)
        sim.command("refuse", topics=[f"{'spot' if market == 'spot' else 'futures'}.trades:{REFUSED}"])
        urls = {"WS_URL": sim.ws_base, "REST_URL": sim.rest_url}
        with CollectorProcess(tmp_path, **settings, **urls) as collector:
            wait_until(lambda: completes(subscriber) > 4, 30)
            sim.command("hole", category=market, symbol="BTC_USDT", count=5)
            wait_until(lambda: b'"how":"ids"' in b"".join(subscriber.received[STATUS]).replace(b" ", b""), 30)
            wait_for_more_completes(subscriber, 3)
            assert collector.stop() == 0, collector.newest_output()
        trades = [m for name, each in subscriber.received.items() if name.endswith("trades") for m in each]
        klines = subscriber.klines()
        compared, wrong = wrong_klines(klines, sim)

    assert (compared >= 6, wrong) == (True, [])
    assert {"BTC_USDT", "SOL_USDT"} <= {kline["symbol"] for kline in klines if kline["complete"]}
    assert trades
    assert not any(REFUSED.encode() in message for message in trades)
