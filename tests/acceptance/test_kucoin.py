"""What is not known of KuCoin, both ways, through main.py: klines equal the simulated exchange's own."""

import pytest

from tests.acceptance.harness import CollectorProcess, Subscriber, completes, wait_for_more_completes, wrong_klines
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until

CHANNELS = {"spot": "/market/match", "linear": "/contractMarket/execution"}


@pytest.mark.parametrize(
    ("market", "unknown", "assumed"),
    [
        ("spot", "ETH-USDT", {"spoils": True, "alphabetical": True, "topics": 2}),
        ("linear", "ETHUSDTM", {"alphabetical": False, "topics": 100}),
    ],
)
def test_an_unknown_symbol_costs_the_others_nothing(tmp_path, valkey, market, unknown, assumed):
    """Refused with its list, or acknowledged and silent; whatever the order of fields, and with a new token each time
    that the exchange cuts the connection, for the one before has expired."""
    settings = {"EXCHANGE": "kucoin", "CHANNEL_TYPE": market, "SYMBOLS": "BTC,ETH,SOL", "KLINE_INTERVALS": "1s,1m"}
    settings |= {"REDIS_PORT": valkey.port, "RECONNECT_DELAY": 0.1}
    args = ("--rate", 400, "--symbols", 3, "--illiquid", 0, "--true-seconds")
    with SimulatorProcess(*args, exchange="kucoin") as sim, Subscriber(valkey.port, "kucoin") as subscriber:
        sim.command("assume", **assumed)
        sim.command("refuse", topics=[f"{CHANNELS[market]}:{unknown}"])
        with CollectorProcess(tmp_path, **settings, WS_URL=sim.ws_base, REST_URL=sim.rest_url) as collector:
            wait_until(lambda: completes(subscriber) > 2, 30)
            sim.command("expire_tokens")
            sim.command("drop", code=1000)
            wait_for_more_completes(subscriber, 9)
            assert collector.stop() == 0, collector.newest_output()
        connects = sim.stats()["counters"]
        trades = [m for name, each in subscriber.received.items() if name.endswith("trades") for m in each]
        klines = subscriber.klines()
        compared, wrong = wrong_klines(klines, sim)

    assert (compared >= 6, wrong) == (True, [])
    assert connects["connects"] >= 2
    assert len({kline["symbol"] for kline in klines if kline["complete"]} - {unknown}) == 2
    assert trades
    assert not any(unknown.encode() in message for message in trades)
