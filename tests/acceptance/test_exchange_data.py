"""EXCHANGE=okx: the simulated OKX in, raw payloads and closed klines out, by processes over real sockets."""

import hashlib
import signal

import pytest

from tests.acceptance.harness import CollectorProcess, Subscriber, completes, wait_for_more_completes, wrong_klines
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until

OURS = ("stream:okx_klines", "stream:okx_status")
SYMBOL_OF = {"linear": "BTC-USDT-SWAP", "spot": "BTC-USDT", "inverse": "BTC-USD-SWAP"}


def simulator(*args: object) -> SimulatorProcess:
    return SimulatorProcess("--exchange", "okx", "--symbols", 3, "--illiquid", 0, *args)


@pytest.fixture
def settings(valkey):
    """Settings that most tests start from; streams come back fast."""
    usual = {"EXCHANGE": "okx", "SYMBOLS": "BTCUSDT,ETHUSDT,SOL-USDT-SWAP", "KLINE_INTERVALS": "1s,5s,1m"}
    return {**usual, "REDIS_PORT": valkey.port, "RECONNECT_DELAY": 0.1}


def urls(sim: SimulatorProcess) -> dict[str, str]:
    return {"WS_URL": sim.ws_base, "REST_URL": sim.rest_url}


def live(sim: SimulatorProcess, streams: int) -> None:
    """Wait until so many connections have subscribed."""
    wait_until(lambda: sim.stats()["connections"] == streams and sim.stats()["subscriptions"] >= streams)


def test_raw_channels_carry_every_byte_in_order(tmp_path, valkey, settings):
    """What the exchange wrote to each connection is what its channel carried: same bytes, same order, none lost."""
    with simulator("--rate", 0, "--digest") as sim, Subscriber(valkey.port, "okx") as subscriber:
        settings |= {"ENABLE_SPOT_STREAM": True, "SYMBOLS": "BTC,ETH,SOL"}
        with CollectorProcess(tmp_path, **settings, **urls(sim)) as collector:
            live(sim, 7)
            sim.command("rate", rate=2000)
            wait_until(lambda: sum(sim.stats()["sent"].values()) > 8_000)
            stats = sim.command("stop_market")
            liquidations = stats["sent"]["liquidation"]  # of inverse swaps, too: those are not published
            total = sum(stats["sent"].values()) - liquidations
            raw = {name: m for name, m in subscriber.received.items() if name not in OURS}
            wait_until(lambda: sum(len(m) for name, m in raw.items() if not name.endswith("liquidations")) >= total)

            assert collector.stop() == 0, collector.newest_output()
        digests = {digest for entry in stats["digests"] for digest in entry["sha256"].values()}
        assert set(raw) == {
            *(f"stream:okx_{kind}" for kind in ("trades", "orderbook", "ticker", "liquidations")),
            *(f"stream:okx_spot_{kind}" for kind in ("trades", "orderbook", "ticker")),
        }
        for channel, messages in raw.items():
            if channel.endswith("liquidations"):
                assert 0 < len(messages) < liquidations
                assert all(b"-USDT-SWAP" in message for message in messages)
            else:
                assert hashlib.sha256(b"".join(m + b"\n" for m in messages)).hexdigest() in digests, channel


@pytest.mark.parametrize("market", list(SYMBOL_OF))
def test_closed_klines_equal_the_exchange(tmp_path, valkey, settings, market):
    """Contracts times their size, the first trade opens: all six values equal the simulator's own truth."""
    with simulator("--rate", 500, "--true-seconds") as sim, Subscriber(valkey.port, "okx") as subscriber:
        settings |= {"CHANNEL_TYPE": market, "SYMBOLS": "BTC,ETH,SOL"}
        with CollectorProcess(tmp_path, **settings, **urls(sim)) as collector:
            wait_until(lambda: completes(subscriber, market) > 50)
            assert collector.stop() == 0, collector.newest_output()
        compared, wrong = wrong_klines(subscriber.klines(), sim)

    assert (compared >= 40, wrong) == (True, [])
    assert {kline["channel"] for kline in subscriber.klines()} == {market}


def test_a_hole_without_a_disconnect_is_found_and_repaired_by_ids(tmp_path, valkey, settings):
    """Messages that never came leave complete klines that equal the truth, for REST has their trades."""
    with simulator("--rate", 400, "--true-seconds") as sim, Subscriber(valkey.port, "okx") as subscriber:
        with CollectorProcess(tmp_path, **settings, **urls(sim)) as collector:
            wait_until(lambda: completes(subscriber) > 20)
            sim.command("hole", category="linear", symbol="BTC-USDT-SWAP", count=10)
            wait_until(lambda: b'"how":"ids"' in b"".join(subscriber.received["stream:okx_status"]).replace(b" ", b""))
            wait_for_more_completes(subscriber, 30)
            assert collector.stop() == 0
        compared, wrong = wrong_klines(subscriber.klines(), sim)

    assert (compared > 40, wrong) == (True, [])


def test_killed_exchange_and_stalled_connections_heal(tmp_path, valkey, settings):
    """The exchange ends without a word and comes back; then its sockets stand still: klines equal the truth after."""
    with simulator("--rate", 300, "--true-seconds") as sim, Subscriber(valkey.port, "okx") as subscriber:
        settings |= {"PING_INTERVAL": 1, "PONG_TIMEOUT": 1, "RAW_STREAMS": "trades"}
        with CollectorProcess(tmp_path, **settings, **urls(sim)) as collector:
            wait_until(lambda: completes(subscriber) > 10)
            sim.restart()
            wait_for_more_completes(subscriber, 20)
            sim.command("stall", s=8)
            wait_for_more_completes(subscriber, 30)
            assert collector.stop() == 0
        started_ms = int(sim.get("/api/v5/public/instruments", instType="SPOT").json()["data"][0]["listTime"])
        after = [kline for kline in subscriber.klines() if kline["timestamp"] > started_ms]
        compared, wrong = wrong_klines(after, sim)

    assert (compared > 30, wrong) == (True, [])


def test_sigterm_ends_with_0_under_load(tmp_path, valkey, settings):
    """Drained, within its time."""
    with (
        simulator("--rate", 5_000) as sim,
        Subscriber(valkey.port, "okx") as subscriber,
        CollectorProcess(tmp_path, **settings, **urls(sim)) as collector,
    ):
        wait_until(lambda: sum(subscriber.counts().values()) > 5_000)
        assert collector.stop(signal.SIGTERM) == 0
        assert collector.events("ended")[0]["code"] == 0
