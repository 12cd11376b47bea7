"""The data of every exchange: its simulated one in, raw payloads and closed klines out, by processes over sockets."""

import hashlib
import signal
from dataclasses import dataclass

import pytest

from exchanges.registry import VENUES
from tests.acceptance.harness import CollectorProcess, Subscriber, completes, wait_for_more_completes, wrong_klines
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until


@dataclass(frozen=True)
class Exchange:
    """What differs between exchanges.

    `symbol`: of BTC in linear. `liquidations`: by what those of linear are told in a topic that is of other markets,
    too; b"" where there is none such.
    """

    name: str
    symbol: str
    liquidations: bytes = b""


EXCHANGES = [
    Exchange("okx", "BTC-USDT-SWAP", liquidations=b"-USDT-SWAP"),
    Exchange("binance", "BTCUSDT"),
    Exchange("gate", "BTC_USDT"),
    Exchange("kucoin", "XBTUSDTM"),
    Exchange("bitget", "BTCUSDT"),
    Exchange("bingx", "BTC-USDT"),
]


@pytest.fixture(params=EXCHANGES, ids=lambda each: each.name)
def exchange(request):
    """One after the other."""
    return request.param


@pytest.fixture
def settings(valkey, exchange):
    """Settings that most tests start from; streams come back fast."""
    usual = {"EXCHANGE": exchange.name, "SYMBOLS": f"{exchange.symbol},ETHUSDT,SOL", "KLINE_INTERVALS": "1s,5s,1m"}
    return {**usual, "REDIS_PORT": valkey.port, "RECONNECT_DELAY": 0.1}


@pytest.fixture
def simulate(exchange):
    """Make a simulated exchange of few symbols, by further arguments."""
    return lambda *args: SimulatorProcess(*args, "--symbols", 3, "--illiquid", 0, exchange=exchange.name)


def urls(sim: SimulatorProcess) -> dict[str, str]:
    return {"WS_URL": sim.ws_base, "REST_URL": sim.rest_url}


def live(sim: SimulatorProcess, streams: int) -> None:
    """Wait until so many connections have subscribed."""
    wait_until(lambda: sim.stats()["connections"] == streams and sim.stats()["subscriptions"] >= streams)


def test_raw_channels_carry_every_byte_in_order(tmp_path, valkey, settings, exchange, simulate):
    """What the exchange wrote to each connection is what its channel carried: same bytes, same order, none lost.

    Of a topic that other markets share, what is of this one.
    """
    begin, markets = f"stream:{exchange.name}_", [VENUES[exchange.name].markets[name] for name in ("linear", "spot")]
    with simulate("--rate", 0, "--digest") as sim, Subscriber(valkey.port, exchange.name) as subscriber:
        settings |= {"ENABLE_SPOT_STREAM": True, "SYMBOLS": "BTC,ETH,SOL"}
        with CollectorProcess(tmp_path, **settings, **urls(sim)) as collector:
            live(sim, sum(len(spec.kinds) for spec in markets))
            sim.command("rate", rate=2000)
            wait_until(lambda: sum(sim.stats()["sent"].values()) > 8_000)
            stats = sim.command("stop_market")
            shared = stats["sent"]["liquidation"] if exchange.liquidations else 0
            total = sum(stats["sent"].values()) - shared
            narrowed = {f"{begin}liquidations"} if shared else set()
            raw = {n: each for n, each in subscriber.received.items() if n not in (f"{begin}klines", f"{begin}status")}
            wait_until(lambda: sum(len(each) for name, each in raw.items() if name not in narrowed) >= total)

            assert collector.stop() == 0, collector.newest_output()
        digests = {digest for entry in stats["digests"] for digest in entry["sha256"].values()}
        assert set(raw) == {
            f"{begin}{'' if spec.name == 'linear' else 'spot_'}{kind}" for spec in markets for kind in spec.kinds
        }
        for channel, messages in raw.items():
            if channel in narrowed:
                assert 0 < len(messages) < shared
                assert all(exchange.liquidations in message for message in messages)
            else:
                assert hashlib.sha256(b"".join(m + b"\n" for m in messages)).hexdigest() in digests, channel


MARKETS = [(each, market) for each in EXCHANGES for market in VENUES[each.name].markets]


@pytest.mark.parametrize(
    ("exchange", "market"), MARKETS, indirect=["exchange"], ids=lambda each: getattr(each, "name", each)
)
def test_closed_klines_equal_the_exchange(tmp_path, valkey, settings, exchange, simulate, market):
    """Contracts times their size, open by the exchange's rule: all six values equal the simulator's own truth."""
    with simulate("--rate", 500, "--true-seconds") as sim, Subscriber(valkey.port, exchange.name) as subscriber:
        settings |= {"CHANNEL_TYPE": market, "SYMBOLS": "BTC,ETH,SOL"}
        with CollectorProcess(tmp_path, **settings, **urls(sim)) as collector:
            wait_until(lambda: completes(subscriber, market) > 50)
            assert collector.stop() == 0, collector.newest_output()
        compared, wrong = wrong_klines(subscriber.klines(), sim)

    assert (compared >= 40, wrong) == (True, [])
    assert {kline["channel"] for kline in subscriber.klines()} == {market}


NUMBERED = [each for each in EXCHANGES if VENUES[each.name].ids == "consecutive"]


@pytest.mark.parametrize("exchange", NUMBERED, indirect=True, ids=lambda each: each.name)
def test_a_hole_without_a_disconnect_is_found_and_repaired_by_ids(tmp_path, valkey, settings, exchange, simulate):
    """Messages that never came leave complete klines that equal the truth, for REST has their trades."""
    status = f"stream:{exchange.name}_status"
    with simulate("--rate", 400, "--true-seconds") as sim, Subscriber(valkey.port, exchange.name) as subscriber:
        with CollectorProcess(tmp_path, **settings, **urls(sim)) as collector:
            wait_until(lambda: completes(subscriber) > 20)
            sim.command("hole", category="linear", symbol=exchange.symbol, count=10)
            wait_until(lambda: b'"how":"ids"' in b"".join(subscriber.received[status]).replace(b" ", b""))
            wait_for_more_completes(subscriber, 30)
            assert collector.stop() == 0
        compared, wrong = wrong_klines(subscriber.klines(), sim)

    assert (compared > 40, wrong) == (True, [])


def test_killed_exchange_and_stalled_connections_heal(tmp_path, valkey, settings, exchange, simulate):
    """The exchange ends without a word and comes back; then its sockets stand still: klines equal the truth after."""
    with simulate("--rate", 300, "--true-seconds") as sim, Subscriber(valkey.port, exchange.name) as subscriber:
        settings |= {"PING_INTERVAL": 1, "PONG_TIMEOUT": 1, "RAW_STREAMS": "trades"}
        with CollectorProcess(tmp_path, **settings, **urls(sim)) as collector:
            wait_until(lambda: completes(subscriber) > 10)
            sim.restart()
            restarted_ms = sim.stats()["now_ms"]
            wait_for_more_completes(subscriber, 20)
            sim.command("stall", s=8)
            wait_for_more_completes(subscriber, 30)
            assert collector.stop() == 0
        after = [kline for kline in subscriber.klines() if kline["timestamp"] > restarted_ms]
        compared, wrong = wrong_klines(after, sim)

    assert (compared > 30, wrong) == (True, [])


def test_sigterm_ends_with_0_under_load(tmp_path, valkey, settings, exchange, simulate):
    """Drained, within its time."""
    with (
        simulate("--rate", 5_000) as sim,
        Subscriber(valkey.port, exchange.name) as subscriber,
        CollectorProcess(tmp_path, **settings, **urls(sim)) as collector,
    ):
        wait_until(lambda: sum(subscriber.counts().values()) > 5_000)
        assert collector.stop(signal.SIGTERM) == 0
        assert collector.events("ended")[0]["code"] == 0
