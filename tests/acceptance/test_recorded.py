"""Recorded exchange data through the simulator's sockets: every payload back from Redis, byte for byte."""

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from tests.acceptance.harness import OURS, CollectorProcess, Subscriber
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until

CHANNELS = {  # how a topic begins -> its callback and its channel
    "publicTrade": ("handle_trades", "stream:bybit_trades"),
    "orderbook": ("handle_orderbook", "stream:bybit_orderbook"),
    "tickers": ("handle_ticker", "stream:bybit_ticker"),
    "allLiquidation": ("handle_liquidations", "stream:bybit_liquidations"),
    "liquidation": ("handle_liquidations", "stream:bybit_liquidations"),
}


def payloads(file: Path) -> list[str]:
    """The data messages of a recording, in order; acknowledgements and REST answers have no topic."""
    lines = [line.strip() for line in file.read_text().splitlines() if line.strip()]
    if file.suffix == ".txt":  # "local_ns payload"
        lines = [line.partition(" ")[2] for line in lines]
    return [line for line in lines if "topic" in json.loads(line)]


def script_for(topics: set[str]) -> str:
    """A user's script with one connection per callback, for all topics of a recording."""
    by_callback = defaultdict(list)
    for topic in sorted(topics):
        by_callback[CHANNELS[topic.partition(".")[0]][0]].append(topic)
    entries = "".join(
        f"main.STREAMS.append({{'name': '{callback}', 'func': main.subscribe_topics,"
        f" 'args': ({names!r}, main.{callback})}})\n"
        for callback, names in by_callback.items()
    )
    return f"import main\n{entries}raise SystemExit(main.run())\n"


def test_every_recorded_payload_arrives_unchanged(tmp_path, valkey, shared_data):
    """Linear, inverse, spot and option captures of four years: same bytes, same order, on the channel of their kind."""
    files = sorted((shared_data / "ws").iterdir())
    assert len(files) == 8
    for file in files:
        expected = defaultdict(list)
        for line in payloads(file):
            expected[CHANNELS[json.loads(line)["topic"].partition(".")[0]][1]].append(line.encode())

        assert replayed(file, tmp_path, valkey.port, expected) == expected, file.name


def replayed(file: Path, folder: Path, port: int, expected: Mapping[str, list[bytes]]) -> dict[str, list[bytes]]:
    """What a subscriber receives of a recording by channel, as soon as it is as much as expected."""
    topics = {json.loads(line)["topic"] for line in payloads(file)}
    (folder / "replay.py").write_text(script_for(topics))
    settings = {"SYMBOLS": "NONEUSDT", "RAW_STREAMS": "", "REDIS_PORT": port, "ENABLE_KLINES_STREAM": "true"}
    args = ("--rate", 0, "--replay", file, "--replay-when-subscribed", len(topics))
    with (
        SimulatorProcess(*args) as sim,
        Subscriber(port) as subscriber,
        CollectorProcess(folder, folder / "replay.py", BYBIT_WS_URL=sim.ws_url(), **settings) as collector,
    ):
        wait_until(lambda: sim.stats()["replay"]["done"])
        wait_until(lambda: all(len(subscriber.received[name]) >= len(expected[name]) for name in expected))
        assert collector.stop() == 0
    return {name: found for name, found in subscriber.received.items() if found and name not in OURS}
