"""Recorded once, replayed through the same pipeline: the same candles."""

from pathlib import Path
from typing import Any

from tests.acceptance.harness import VALUES, CollectorProcess, Subscriber, latest
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until

SYMBOLS = ("BTCUSDT", "ETHUSDT")
CANDLES = 60  # complete ones to see before the recording ends: some eight seconds
SETTINGS = {
    "SYMBOLS": ",".join(SYMBOLS),
    "RAW_STREAMS": "trades,ticker",
    "KLINE_INTERVALS": "1s,2s,5s",
    "KLINE_REPAIR": "false",
    "AUDIT_SAMPLE": "0",
    "ENABLE_SPOT_STREAM": "true",
}
TOPICS = 8  # two kinds of two symbols in two markets


def values(klines: list[dict[str, Any]]) -> dict[Any, tuple[Any, ...]]:
    """What is to be equal, of the complete ones."""
    return {
        key: tuple(kline[name] for name in (*VALUES, "turnover", "trade_count"))
        for key, kline in latest(klines).items()
        if kline["complete"]
    }


def record(folder: Path, port: int) -> list[dict[str, Any]]:
    """Collect a live market for a while, recording it; the klines of the day."""
    with (
        SimulatorProcess("--rate", 300, "--symbols", 2, "--illiquid", 0) as sim,
        Subscriber(port) as subscriber,
        CollectorProcess(
            folder, BYBIT_WS_URL=sim.ws_url(), REDIS_PORT=port, RAW_RECORD="true",
            RAW_RECORD_KINDS="trades,ticker", RAW_RECORD_PATH=folder / "raw", **SETTINGS,
        ) as collector,
    ):  # fmt: skip
        wait_until(lambda: len(values(subscriber.klines())) >= CANDLES, 60)
        assert collector.stop() == 0
        return subscriber.klines()


def replay(folder: Path, port: int) -> list[dict[str, Any]]:
    """Send the recording through the simulator to a new collector."""
    arguments = ("--rate", 0, "--replay", folder / "raw", "--replay-when-subscribed", TOPICS)
    with (
        SimulatorProcess(*arguments) as sim,
        Subscriber(port) as subscriber,
        CollectorProcess(
            folder / "again", BYBIT_WS_URL=sim.ws_url(), REDIS_PORT=port, AGGREGATION_CLOCK="event", **SETTINGS
        ) as collector,
    ):
        wait_until(lambda: sim.stats()["replay"]["done"], 60)
        payloads = sim.stats()["replay"]["payloads"]
        raw = ("stream:bybit_trades", "stream:bybit_ticker", "stream:bybit_spot_trades", "stream:bybit_spot_ticker")
        wait_until(lambda: sum(len(subscriber.received[name]) for name in raw) >= payloads)
        assert collector.stop() == 0
        return subscriber.klines()


def test_recorded_on_monday_replayed_on_tuesday(tmp_path, valkey):
    """Same payloads, same pipeline, same candles, whatever the pace."""
    (tmp_path / "again").mkdir()
    first = values(record(tmp_path, valkey.port))
    again = values(replay(tmp_path, valkey.port))
    both = first.keys() & again.keys()
    assert {key: first[key] for key in both} == {key: again[key] for key in both}
    assert len(both) > 0.8 * len(first)
