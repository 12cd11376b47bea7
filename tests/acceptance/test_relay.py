"""Several processes share the symbols; one more has the outputs that must be one."""

import json
import time

from tests.acceptance.harness import MAIN, CollectorProcess, Subscriber
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until

PODS = ("x-0", "x-1", "x-2")


def test_pods_of_a_stateful_set_and_a_relay_are_one_collector(tmp_path, valkey):
    """Each symbol is collected by exactly one of x-0, x-1 and x-2, and the relay's files have the klines of all."""
    common = {"REDIS_PORT": valkey.port, "KLINE_INTERVALS": "1s", "STATUS_INTERVAL": 1}
    with SimulatorProcess("--rate", 300, "--symbols", 6, "--illiquid", 0) as sim, Subscriber(valkey.port) as subscriber:
        common |= {"LOAD_ALL_SYMBOLS": "true", "BYBIT_WS_URL": sim.ws_url(), "BYBIT_REST_URL": sim.rest_url}
        shards = [
            CollectorProcess(
                tmp_path,
                SHARD=f"{pod}/3",
                ENABLED_CONSUMERS="redis,file",
                FILE_CONSUMER_BASE_PATH=tmp_path / pod,
                **common,
            )
            for pod in PODS
        ]
        folder = tmp_path / "relayed"
        files = {"ENABLED_CONSUMERS": "file", "FILE_CONSUMER_BASE_PATH": folder}
        with (
            shards[0],
            shards[1],
            shards[2],
            CollectorProcess(tmp_path, MAIN, "relay", **{**common, **files}) as relay,
        ):
            relay.wait_for("relay_up")
            begin_ms = time.time_ns() // 1_000_000 + 1_000
            wait_until(lambda: len(symbols_of(of_since(subscriber.klines(), begin_ms))) == 6)
            for shard in shards:
                assert shard.stop() == 0
            wait_until(lambda: relay.status["relay"]["received"] > 0)
            wait_until(lambda: relayed_since(folder, begin_ms) == of_since(subscriber.klines(), begin_ms))
            assert relay.stop() == 0
    published = of_since(subscriber.klines(), begin_ms)
    assert relayed_since(folder, begin_ms) == published
    shares = [symbols_of(relayed_since(tmp_path / pod, 0)) for pod in PODS]
    assert all(shares)
    assert sum(map(len, shares)) == 6, "each symbol has one"


def relayed_since(folder, begin_ms):
    """What lies in the files of an output."""
    lines = [json.loads(line) for path in folder.rglob("*.jsonl") for line in path.read_text().splitlines()]
    return of_since([kline for line in lines for kline in line["data"]], begin_ms)


def of_since(klines, begin_ms):
    return {(k["symbol"], k["timestamp"], k["revision"]) for k in klines if k["timestamp"] >= begin_ms}


def symbols_of(found):
    return {symbol for symbol, *_ in found}
