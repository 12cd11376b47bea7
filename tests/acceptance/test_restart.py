"""A collector that was away: what closed meanwhile is sent first, and nothing is sent twice."""

import time

from tests.acceptance.harness import CollectorProcess, Subscriber, wrong_klines
from tests.integration.simulator.process import SimulatorProcess
from tests.waiting import wait_until

MINUTE_MS = 60_000
AWAY_MINUTES = 5


def test_minutes_between_two_runs_are_sent_in_order(tmp_path, valkey):
    """The memory in Redis says where the last run ended: the exchange's candles since then go out, oldest first."""
    last_ms = int(time.time()) // 60 * MINUTE_MS - AWAY_MINUTES * MINUTE_MS
    with valkey.client() as client:
        fields = {f"{symbol}:{MINUTE_MS}": f"{last_ms},0,1" for symbol in ("BTCUSDT", "ETHUSDT")}
        client.hset("bybit-streamer:last-published:linear", mapping=fields)
    settings = {"SYMBOLS": "BTCUSDT,ETHUSDT", "REDIS_PORT": valkey.port, "KLINE_INTERVALS": "1m"}
    with SimulatorProcess("--rate", 200, "--symbols", 2) as sim, Subscriber(valkey.port) as subscriber:
        settings |= {"BYBIT_WS_URL": sim.ws_url(), "BYBIT_REST_URL": sim.rest_url, "RAW_STREAMS": "trades"}
        with CollectorProcess(tmp_path, **settings) as collector:
            wait_until(lambda: len(subscriber.klines()) >= 2 * (AWAY_MINUTES - 1), 30)
            assert collector.stop() == 0
        compared, wrong = wrong_klines(subscriber.klines(), sim)

    assert (compared >= 2 * (AWAY_MINUTES - 1), wrong) == (True, [])
    for symbol in ("BTCUSDT", "ETHUSDT"):
        starts = [k["timestamp"] for k in subscriber.klines() if k["symbol"] == symbol]
        assert starts == [last_ms + (i + 1) * MINUTE_MS for i in range(len(starts))]
