"""Connections that the exchange is going to end are replaced before: by processes, over real sockets and Redis."""

import json
import re
from collections import defaultdict

import pytest

from tests.acceptance.harness import CollectorProcess, Subscriber, completes, wait_for_more_completes, wrong_klines
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until

# Symbol, the id of the last trade, and how many trades a message has (of Binance always one).
TRADES = {
    "okx": re.compile(rb'"instId":"([^"]+)","tradeId":"(\d+)".*"count":"(\d+)"'),
    "binance": re.compile(rb'"s":"([^"]+)","t":(\d+)()'),
}


@pytest.mark.parametrize(
    ("exchange", "market", "args", "reason"),
    [
        ("okx", "linear", (), "64008"),
        ("binance", "spot", ("--lifetime-s", 40), "serverShutdown"),  # of 600 s before the end
    ],
)
def test_a_connection_that_is_to_end_is_replaced_without_a_gap(tmp_path, valkey, exchange, market, args, reason):
    """Every raw trade once and in order, every kline complete and right, no event but that the stream is there."""
    settings = {"EXCHANGE": exchange, "CHANNEL_TYPE": market, "RAW_STREAMS": "trades", "SYMBOLS": "BTC,ETH"}
    settings |= {"KLINE_INTERVALS": "1s,5s", "REDIS_PORT": valkey.port}
    usual = ("--symbols", 2, "--illiquid", 0, "--rate", 800, "--true-seconds")
    with SimulatorProcess(*usual, *args, exchange=exchange) as sim, Subscriber(valkey.port, exchange) as subscriber:
        with CollectorProcess(tmp_path, **settings, WS_URL=sim.ws_base, REST_URL=sim.rest_url) as collector:
            wait_until(lambda: completes(subscriber) > 3)
            if exchange == "okx":
                sim.command("notice", s=40)
            replaced = collector.wait_for("connection_replaced")
            stats = sim.stats()
            wait_for_more_completes(subscriber, 6)
            assert collector.stop() == 0, collector.newest_output()
        compared, wrong = wrong_klines(subscriber.klines(), sim, every_issue=True)

    assert (stats["connects"], stats["connections"], stats["counters"].get("life_ended", 0)) == (2, 1, 0)
    assert reason in replaced["reason"]
    assert len(collector.events("connection_replaced")) == 1
    assert not collector.events("connection_not_replaced")
    events = [json.loads(event) for event in subscriber.received[f"stream:{exchange}_status"]]
    assert [event for event in events if event["event"] == "gap" or event.get("reason") not in (None, "stopped")] == []

    channel = f"stream:{exchange}_trades" if market == "linear" else f"stream:{exchange}_{market}_trades"
    last: dict[bytes, int] = defaultdict(int)
    for payload in subscriber.received[channel]:
        found = TRADES[exchange].search(payload)
        assert found, payload
        symbol, number, count = found[1], int(found[2]), int(found[3] or 1)
        assert last[symbol] in (0, number - count), payload
        last[symbol] = number

    assert (compared > 20, wrong) == (True, [])
    klines = [kline for kline in subscriber.klines() if kline["interval"] == 1000]
    begun = min(kline["timestamp"] for kline in klines if kline["complete"])
    end = max(kline["timestamp"] for kline in klines) - 2_000  # the stop takes back what it cannot prove
    assert [kline for kline in klines if begun < kline["timestamp"] < end and not kline["complete"]] == []
