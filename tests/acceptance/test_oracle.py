"""Bybit's own candles as the oracle: trades made from them must come back from Redis as the same candles."""

from decimal import Decimal

from tests.acceptance.harness import VALUES, CollectorProcess, Subscriber, latest
from tests.support.candles import MINUTE_MS, read_candles, trade_payloads
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until

FILES = {1: "1m", 5: "5m", 15: "15m", 30: "30m", 60: "1h", 240: "4h"}


def test_every_candle_equals_the_exchange(tmp_path, valkey, shared_data, record_property):
    """A month of DOTUSDT at six intervals: open, high, low, close, volume, each file's first and last candle apart."""
    folder = shared_data / "klines"
    minutes = read_candles(folder / "DOTUSDT_1m.csv")
    replay = tmp_path / "dot.jsonl"
    replay.write_text("\n".join(trade_payloads(minutes, "DOTUSDT")) + "\n")
    settings = {
        "SYMBOLS": "DOTUSDT",
        "RAW_STREAMS": "trades",
        "KLINE_INTERVALS": ",".join(FILES.values()),
        "AGGREGATION_CLOCK": "event",
        "REDIS_PORT": valkey.port,
    }
    args = ("--rate", 0, "--replay", str(replay), "--replay-when-subscribed", 1, "--symbols", 10)
    with SimulatorProcess(*args) as sim, Subscriber(valkey.port) as subscriber:
        with CollectorProcess(tmp_path, BYBIT_WS_URL=sim.ws_url("linear"), **settings) as collector:
            last_ms = max(minutes) - MINUTE_MS
            newest = subscriber.received["stream:bybit_klines"]
            wait_until(lambda: newest and f'"timestamp":{last_ms},'.encode() in b"".join(newest[-200:]), poll_s=0.1)
            assert collector.stop() == 0
        klines = latest(subscriber.klines())

    table = []
    first_ms = min(minutes)
    for step, name in FILES.items():
        expected = read_candles(folder / f"DOTUSDT_{step}m.csv")
        open_ms = max(expected)
        covered = sorted(start for start in expected if first_ms < start < open_ms)
        equal = 0
        for start in covered:
            kline = klines.get(("linear", "DOTUSDT", step * MINUTE_MS, start))
            equal += kline is not None and expected[start] == tuple(Decimal(kline[value]) for value in VALUES)
        table.append((name, len(covered), equal))
    lines = ["DOTUSDT, candles of a month: interval, covered, equal to the exchange's"]
    record_property("summary", "\n".join([*lines, *("  {:>4} {:>7,} {:>7,}".format(*row) for row in table)]))

    assert table[0][:2] == ("1m", 43_198)
    assert all(covered == equal for _, covered, equal in table), table
