"""Recorded trades of Bybit through main.py: the candles are the ones that Bybit pushed in the same seconds."""

import csv
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Set
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

from tests.acceptance.harness import VALUES, CollectorProcess, Subscriber, latest
from tests.support.candles import INVERSE_TICKS, MINUTE_MS, inverse_trades, thin_candles
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until

RECORDING = "truth/bybit_trades_and_klines_2026-08-09.jsonl"
RUNNING = "truth/bybit_running_candles_2026-08-09.csv"  # what of it each push had counted
Key = tuple[str, str, int, int]  # market, symbol, interval and start
T0 = 1_649_771_580_000  # a full minute
SYMBOLS = ("BTCUSDT", "ETHUSDT", "DOGEUSDT")


def recorded_trades(path: Path, start_ms: int) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """(market, symbol) -> trades of the minute, in stream order, every field as it was."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for line in path.read_text().splitlines():
        entry = json.loads(line)
        frame = json.loads(entry["frame"])
        if frame["topic"].startswith("publicTrade"):
            found[entry["market"], frame["data"][0]["s"]] += [t for t in frame["data"] if t["T"] >= start_ms]
    return found


def payload(market: str, symbol: str, trades: list[dict[str, Any]], shift_ms: int, marks: Iterator[int]) -> str:
    """A line for the replay: these trades at another time, under ids of their own."""
    moved = [{**trade, "T": trade["T"] + shift_ms, "i": f"{next(marks)}"} for trade in trades]
    message = {"topic": f"publicTrade.{symbol}", "type": "snapshot", "ts": moved[-1]["T"] + 1, "data": moved}
    return f"{moved[-1]['T']} {market} {json.dumps(message, separators=(',', ':'))}"


def test_running_candles_equal_the_exchange(tmp_path, valkey, shared_data, record_property):
    """50 of 50 in six fields: each is given two minutes of its own, the first for a trade at the close before it."""
    with (shared_data / RUNNING).open() as file:
        rows = list(csv.DictReader(file))
    start_ms = int(rows[0]["start"])
    recorded = recorded_trades(shared_data / RECORDING, start_ms)
    lines, expected, marks = [], {}, count(1)
    places: dict[tuple[str, str], Iterator[int]] = defaultdict(count)
    for row in rows:
        market, symbol = key = row["market"], row["symbol"]
        shift_ms = 2 * MINUTE_MS * next(places[key])
        before = {**recorded[key][0], "T": start_ms - 1, "p": row["open"]}
        lines.append(payload(market, symbol, [before], shift_ms, marks))
        counted = recorded[key][: int(row["trades_counted"])]
        lines += [payload(market, symbol, [trade], shift_ms, marks) for trade in counted]
        expected[market, symbol, MINUTE_MS, start_ms + shift_ms] = row
    lines += [
        payload(market, symbol, [{**recorded[market, symbol][0], "T": start_ms}], 2 * MINUTE_MS * next(taken), marks)
        for (market, symbol), taken in sorted(places.items())
    ]
    settings = {"SYMBOLS": ",".join(SYMBOLS), "ENABLE_SPOT_STREAM": "true"}
    klines = replayed("linear", lines, 2 * len(SYMBOLS), expected.keys(), valkey.port, tmp_path, **settings)

    different = [
        (row, klines[key])
        for key, row in expected.items()
        if six_fields(klines[key]) != six_fields(row) or klines[key]["trade_count"] != int(row["trades_counted"])
    ]
    record_property("summary", f"running candles of Bybit: {len(expected)}, equal: {len(expected) - len(different)}")
    assert len(expected) == 50
    assert different == []


def test_thin_inverse_candles_equal_the_exchange(tmp_path, valkey, shared_data, record_property):
    """54 of 54 of 2022 in six fields, their trades made up to fit; quotients that are not cut would equal 5."""
    lines, expected, marks = [], {}, count(1)
    for coin, tick in INVERSE_TICKS.items():
        symbol, shift_ms = f"{coin}USD", 0
        for start_ms, candle in thin_candles(shared_data / f"truth/bybit_inverse_{symbol}_1m_2022-04-12.csv", tick):
            shift_ms = shift_ms + 2 * MINUTE_MS
            rows = [(candle[0], 1), *inverse_trades(*candle)]
            trades = [{"T": ms - 1, "s": symbol, "v": str(size), "p": str(p)} for ms, (p, size) in enumerate(rows)]
            lines += [payload("inverse", symbol, [trade], T0 + shift_ms, marks) for trade in trades]
            expected["inverse", symbol, MINUTE_MS, T0 + shift_ms] = candle, start_ms
        lines.append(payload("inverse", symbol, trades[:1], T0 + shift_ms + 2 * MINUTE_MS, marks))
    settings = {"SYMBOLS": "XRPUSD,EOSUSD", "CHANNEL_TYPE": "inverse"}
    klines = replayed("inverse", lines, 2, expected.keys(), valkey.port, tmp_path, **settings)

    different = [(row, klines[key]) for key, row in expected.items() if six_fields(klines[key]) != list(row[0])]
    record_property("summary", f"thin inverse candles: {len(expected)}, equal: {len(expected) - len(different)}")
    assert len(expected) == 54
    assert different == []


def replayed(
    market: str, lines: list[str], topics: int, wanted: Set[Key], port: int, folder: Path, **settings: object
) -> dict[Key, dict[str, Any]]:
    """The klines that main.py publishes of these payloads, as soon as it has published those wanted."""
    (folder / "replay.txt").write_text("\n".join(lines) + "\n")
    settings |= {"RAW_STREAMS": "trades", "KLINE_INTERVALS": "1m", "AGGREGATION_CLOCK": "event", "REDIS_PORT": port}
    args = ("--rate", 0, "--replay", str(folder / "replay.txt"), "--replay-when-subscribed", topics, "--symbols", 10)
    with SimulatorProcess(*args) as sim, Subscriber(port) as subscriber:
        with CollectorProcess(folder, BYBIT_WS_URL=sim.ws_url(market), **settings) as collector:
            wait_until(lambda: wanted <= latest(subscriber.klines()).keys(), poll_s=0.1)
            assert collector.stop() == 0
        return latest(subscriber.klines())


def six_fields(row: Mapping[str, Any]) -> list[Decimal]:
    return [Decimal(row[name]) for name in (*VALUES, "turnover")]
