"""Several exchanges on one Redis server and in one folder: what each publishes, stores and remembers is its own."""

import json
from collections import defaultdict
from contextlib import ExitStack

import redis

from tests.acceptance.harness import MAIN, CollectorProcess, Subscriber, latest, wrong_klines
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until

EXCHANGES = ("bybit", "okx", "binance")
COUNT = 12  # klines of each, twice
EVERYTHING = {
    **dict.fromkeys(("ENABLE_PRICE_STREAM", "ENABLE_TICKER_STREAM", "ENABLE_TRADES_STREAM"), "true"),
    **{"RAW_RECORD": "true", "ENABLED_CONSUMERS": "redis,file", "KLINE_INTERVALS": "1s"},
}


def test_exchanges_share_a_server_and_a_folder_and_no_name(tmp_path, valkey):
    """Channels, keys, hashes, files, state; a restart of one resumes what is its own; a relay tells them apart."""
    with ExitStack() as stack:
        exchange = {
            name: stack.enter_context(
                SimulatorProcess("--rate", 300, "--symbols", 3, "--illiquid", 0, "--true-seconds", exchange=name)
            )
            for name in EXCHANGES
        }
        heard = {name: stack.enter_context(Subscriber(valkey.port, name)) for name in EXCHANGES}
        common = {"REDIS_PORT": valkey.port, "SYMBOLS": "BTC,ETH", "COINS_FILE": "none", "REDIS_MAIN_KEY": "team"}

        def start(name):
            sim = exchange[name]
            addresses = {"WS_URL": sim.ws_base, "REST_URL": sim.rest_url}
            return stack.enter_context(
                CollectorProcess(tmp_path, **{**EVERYTHING, **common, **addresses, "EXCHANGE": name})
            )

        collectors = {name: start(name) for name in EXCHANGES}
        relayed = tmp_path / "relayed"
        relay = stack.enter_context(
            CollectorProcess(
                tmp_path, MAIN, "relay", RELAY_EXCHANGES=",".join(EXCHANGES), ENABLED_CONSUMERS="file",
                FILE_CONSUMER_BASE_PATH=relayed, **common,
            )
        )  # fmt: skip
        relay.wait_for("relay_up")
        wait_until(lambda: all(len(latest(heard[name].klines())) >= COUNT for name in EXCHANGES))
        assert collectors["okx"].stop() == 0, collectors["okx"].newest_output()
        collectors["okx"] = start("okx")
        before = {name: len(latest(heard[name].klines())) for name in EXCHANGES}
        wait_until(lambda: all(len(latest(heard[name].klines())) >= before[name] + COUNT for name in EXCHANGES))
        for name in EXCHANGES:
            assert collectors[name].stop() == 0, collectors[name].newest_output()
        assert relay.stop() == 0, relay.newest_output()

        for name in EXCHANGES:
            compared, wrong = wrong_klines(heard[name].klines(), exchange[name])
            assert (compared >= COUNT, wrong) == (True, []), name
        server = redis.Redis(port=valkey.port, decode_responses=True)
        assert all(owner_of(key) for key in server.scan_iter()), list(server.scan_iter())
        assert {owner_of(key) for key in server.scan_iter()} == set(EXCHANGES)
        assert all(owner_of(channel) for channel in heard["okx"].received), list(heard["okx"].received)

    files = [str(path.relative_to(tmp_path / "output")) for path in (tmp_path / "output").rglob("*") if path.is_file()]
    assert all(owner_of(file) for file in files), files
    contents = defaultdict(set)
    for path in [*(tmp_path / "output" / "file_consumer").rglob("*.jsonl"), *relayed.rglob("*.jsonl")]:
        for line in path.read_text().splitlines():
            contents[path.relative_to(tmp_path).parts[0], json.loads(line)["exchange"]].add(owner_of(str(path)))
    assert {(top, exchange): {exchange} for top in ("output", "relayed") for exchange in EXCHANGES} == contents


def owner_of(name):
    """The exchange that a channel, key or path is of; Bybit's are without a name where the server has Bybit's alone."""
    named = [exchange for exchange in EXCHANGES if exchange in name]
    if not named and name.startswith("team:"):
        return "bybit"
    return named[0] if len(named) == 1 else None
