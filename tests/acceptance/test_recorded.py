"""Recorded exchange data through the simulator's sockets: every payload back from Redis, byte for byte."""

import json
from collections import defaultdict
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
        sent = payloads(file)
        (tmp_path / "replay.py").write_text(script_for({json.loads(line)["topic"] for line in sent}))
        topics = len({json.loads(line)["topic"] for line in sent})
        expected = defaultdict(list)
        for line in sent:
            expected[CHANNELS[json.loads(line)["topic"].partition(".")[0]][1]].append(line.encode())
        settings = {"SYMBOLS": "NONEUSDT", "RAW_STREAMS": "", "REDIS_PORT": valkey.port, "ENABLE_KLINES_STREAM": "true"}
        args = ("--rate", 0, "--replay", str(file), "--replay-when-subscribed", topics)
        with (
            SimulatorProcess(*args) as sim,
            Subscriber(valkey.port) as subscriber,
            CollectorProcess(tmp_path, tmp_path / "replay.py", BYBIT_WS_URL=sim.ws_url(), **settings) as collector,
        ):
            wait_until(lambda sim=sim: sim.stats()["replay"]["done"], 20)
            raw = {name: found for name, found in subscriber.received.items() if name not in OURS}
            wait_until(lambda r=subscriber.received, e=expected: all(len(r[name]) >= len(e[name]) for name in e), 10)
            assert collector.stop() == 0
        raw = {name: found for name, found in subscriber.received.items() if found and name not in OURS}

        assert raw == expected, file.name
