"""Several processes share the symbols; one more has the outputs that must be one."""

import json
import time

from tests.acceptance.harness import MAIN, CollectorProcess, Subscriber
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until


def test_two_shards_and_a_relay_are_one_collector(tmp_path, valkey):
    """Each symbol is collected by exactly one of two, and the relay's files have the klines of both."""
    common = {"REDIS_PORT": valkey.port, "KLINE_INTERVALS": "1s", "STATUS_INTERVAL": 1}
    with SimulatorProcess("--rate", 300, "--symbols", 6) as sim, Subscriber(valkey.port) as subscriber:
        common |= {"LOAD_ALL_SYMBOLS": "true", "BYBIT_WS_URL": sim.ws_url(), "BYBIT_REST_URL": sim.rest_url}
        shards = [CollectorProcess(tmp_path, SHARD=f"{number}/2", **common) for number in (1, 2)]
        folder = tmp_path / "relayed"
        files = {"ENABLED_CONSUMERS": "file", "FILE_CONSUMER_BASE_PATH": folder}
        with (
            shards[0],
            shards[1],
            CollectorProcess(tmp_path, MAIN, "relay", **{**common, **files}) as relay,
        ):
            relay.wait_for("relay_up")
            begin_ms = time.time_ns() // 1_000_000 + 1_000
            wait_until(lambda: len(of_since(subscriber.klines(), begin_ms)) >= 40)
            for shard in shards:
                assert shard.stop() == 0
            relay.wait_for("status")
            wait_until(lambda: relay.events("status")[-1]["relay"]["received"] > 0)
            wait_until(lambda: relayed_since(folder, begin_ms) == of_since(subscriber.klines(), begin_ms))
            assert relay.stop() == 0
    published = of_since(subscriber.klines(), begin_ms)
    assert relayed_since(folder, begin_ms) == published
    assert len({symbol for symbol, *_ in published}) > 3


def relayed_since(folder, begin_ms):
    """What lies in the relay's files."""
    lines = [json.loads(line) for path in folder.rglob("*.jsonl") for line in path.read_text().splitlines()]
    return of_since([kline for line in lines for kline in line["data"]], begin_ms)


def of_since(klines, begin_ms):
    return {(k["symbol"], k["timestamp"], k["revision"]) for k in klines if k["timestamp"] >= begin_ms}
