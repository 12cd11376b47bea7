"""A stream is of one market, one kind, one symbol: its payloads go to that market, however it was added."""

import json

import pytest

from tests.acceptance.harness import OURS, CollectorProcess, Subscriber, completes, latest, wrong_klines
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until

SCRIPT = """
from main import STREAMS, handle_orderbook, handle_spot_trades, handle_ticker, handle_trades, run
from main import subscribe_liquidations, subscribe_orderbook, subscribe_ticker, subscribe_trades

def mine(payload):
    handle_trades(payload)

{entries}
raise SystemExit(run())
"""
MARKETS = ("linear", "spot", "inverse")
CHANNELS = {
    "stream:bybit_trades": {"BTCUSDT"},
    "stream:bybit_orderbook": {"BTCUSDT"},
    "stream:bybit_ticker": {"BTCUSDT"},
    "stream:bybit_liquidations": {"BTCUSDT"},
    "stream:bybit_spot_trades": {"BTCUSDT", "ETHUSDT"},
    "stream:bybit_spot_ticker": {"BTCUSDT", "ETHUSDT"},
    "stream:bybit_inverse_trades": {"BTCUSD"},
    "stream:bybit_inverse_orderbook": {"BTCUSD"},
}
TRADED = {("linear", "BTCUSDT"), ("spot", "BTCUSDT"), ("spot", "ETHUSDT"), ("inverse", "BTCUSD")}


@pytest.fixture
def settings(valkey):
    """Settings that all start from."""
    return {"SYMBOLS": "BTCUSDT", "REDIS_PORT": valkey.port, "RECONNECT_DELAY": 0.1, "KLINE_INTERVALS": "1s"}


def write_script(folder, *entries):
    """A user's script with these entries, each the words of function and arguments."""
    lines = [
        f"STREAMS.append({{'name': 'mine_{number}', 'func': {func}, 'args': ({args})}})"
        for number, (func, args) in enumerate(entries)
    ]
    path = folder / "mine.py"
    path.write_text(SCRIPT.format(entries="\n".join(lines)))
    return path


def test_an_entry_of_another_market_goes_to_that_market(tmp_path, valkey, settings):
    """Spot and inverse beside linear, for a symbol that is collected as linear too: channels, klines and records."""
    script = write_script(
        tmp_path,
        ("subscribe_trades", "'BTCUSDT', handle_trades, 'spot'"),
        ("subscribe_trades", "'BTCUSD', handle_trades, 'inverse'"),
        ("subscribe_orderbook", "'BTCUSD', handle_orderbook, 'inverse'"),
        ("subscribe_ticker", "['BTCUSDT', 'ETHUSDT'], handle_ticker, 'spot'"),
        ("subscribe_trades", "'ETHUSDT', mine, 'spot'"),
    )
    args = ("--rate", 600, "--symbols", 3, "--true-seconds")
    with SimulatorProcess(*args) as sim, Subscriber(valkey.port) as subscriber:
        settings |= {
            "BYBIT_WS_URL": sim.ws_url("linear"),
            "BYBIT_REST_URL": sim.rest_url,
            "REDIS_MAIN_KEY": "stream:all",
        }
        settings |= {"ENABLE_TRADES_STREAM": True, "ENABLE_TICKER_STREAM": True, "STORAGE_ENABLED": True}
        with CollectorProcess(tmp_path, script, **settings) as collector:
            wait_until(lambda: min(completes(subscriber, market) for market in MARKETS) > 10)
            wait_until(lambda: symbols_by_channel(subscriber) == CHANNELS)
            wait_until(lambda: traded(subscriber) == TRADED)
            keys = ["stream:all:tickers:spot", *(f"stream:all:last-closed:{market}:1s" for market in MARKETS)]
            with valkey.client() as client:
                wait_until(lambda: client.exists(*keys) == len(keys))
            assert collector.stop() == 0
        compared, wrong = wrong_klines(subscriber.klines(), sim)

    assert (compared > 12, wrong) == (True, [])
    assert symbols_by_channel(subscriber) == CHANNELS
    assert traded(subscriber) == TRADED
    assert {key[0] for key in latest(subscriber.klines())} == set(MARKETS)


def symbols_by_channel(subscriber: Subscriber) -> dict[str, set[str]]:
    """The symbols in each raw channel so far."""
    return {
        channel: {json.loads(message)["topic"].rpartition(".")[2] for message in list(messages)}
        for channel, messages in list(subscriber.received.items())
        if messages and channel not in (*OURS, "stream:all")
    }


def traded(subscriber: Subscriber) -> set[tuple[str, str]]:
    """Market and symbol of the trades in envelopes so far."""
    envelopes = [json.loads(message) for message in list(subscriber.received["stream:all"])]
    return {(e["channel"], r["s"]) for e in envelopes if e["data_type"] == "trades" for r in e["data"]}
