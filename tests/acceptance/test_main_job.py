"""The main job: exchange sockets in, raw payloads and closed klines out, by processes over real sockets."""

import hashlib
import json
import os
import signal
import subprocess
import sys

import pytest

from tests.acceptance.harness import OURS, ROOT, CollectorProcess, Subscriber, completes, latest, listens, wrong_klines
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until

SYMBOLS = "BTCUSDT,ETHUSDT,SOLUSDT,PEPEUSDT,XRPUSDT"
KIND_OF = {"trades": "trades", "orderbook": "orderbook", "ticker": "ticker", "liquidations": "liquidation"}


def live(sim: SimulatorProcess, streams: int) -> None:
    """Wait until so many connections have subscribed."""
    wait_until(lambda: sim.stats()["connections"] == streams and sim.stats()["subscriptions"] >= streams)


@pytest.fixture
def settings(valkey):
    """Settings that most tests start from; streams come back fast."""
    return {"SYMBOLS": SYMBOLS, "REDIS_PORT": valkey.port, "RECONNECT_DELAY": 0.1, "KLINE_INTERVALS": "1s,5s,1m"}


def test_raw_channels_carry_every_byte_in_order(tmp_path, valkey, settings):
    """What the exchange wrote to each connection is what its channel carried: same bytes, same order, none lost."""
    with SimulatorProcess("--rate", 0, "--symbols", 5, "--digest") as sim, Subscriber(valkey.port) as subscriber:
        settings |= {"BYBIT_WS_URL": sim.ws_url("linear"), "ENABLE_SPOT_STREAM": True}
        with CollectorProcess(tmp_path, **settings) as collector:
            live(sim, 7)
            sim.command("rate", rate=4000)
            wait_until(lambda: sum(sim.stats()["sent"].values()) > 15_000)
            stats = sim.command("stop_market")
            total = sum(stats["sent"].values())
            raw = {name: m for name, m in subscriber.received.items() if name not in OURS}
            wait_until(lambda: sum(map(len, raw.values())) >= total)

            assert collector.stop() == 0
        digests = {digest for entry in stats["digests"] for digest in entry["sha256"].values()}
        for channel, messages in raw.items():
            assert hashlib.sha256(b"".join(m + b"\n" for m in messages)).hexdigest() in digests, channel
        assert sum(map(len, raw.values())) == total
        assert len(raw) == 7


def test_closed_klines_equal_the_exchange(tmp_path, valkey, settings):
    """Every complete kline of linear and spot equals the simulator's own truth in all six values."""
    args = ("--rate", 800, "--symbols", 5, "--true-seconds")
    with SimulatorProcess(*args) as sim, Subscriber(valkey.port) as subscriber:
        settings |= {"BYBIT_WS_URL": sim.ws_url("linear"), "ENABLE_SPOT_STREAM": True}
        with CollectorProcess(tmp_path, **settings):
            wait_until(lambda: completes(subscriber) > 120)

        compared, wrong = wrong_klines(subscriber.klines(), sim)

    assert (compared >= 100, wrong) == (True, [])
    assert {key[0] for key in latest(subscriber.klines())} == {"linear", "spot"}


@pytest.mark.parametrize(("symbols", "has_rest"), [("BTCUSD,ETHUSD", False), ("BTCUSDT,ETHUSDT", True)])
def test_inverse_klines_equal_the_exchange(tmp_path, valkey, settings, symbols, has_rest):
    """Inverse contracts: volume in dollars, turnover in the coin to the eighth decimal, as the exchange has them.

    Where the listing is read, the default symbols are those of the coins in dollars.
    """
    args = ("--rate", 500, "--symbols", 3, "--true-seconds", "--categories", "inverse")
    with SimulatorProcess(*args) as sim, Subscriber(valkey.port) as subscriber:
        settings |= {"BYBIT_WS_URL": sim.ws_url("inverse"), "SYMBOLS": symbols}
        settings |= {"BYBIT_REST_URL": sim.rest_url} if has_rest else {}
        with CollectorProcess(tmp_path, **settings):
            wait_until(lambda: completes(subscriber) > 30)

        compared, wrong = wrong_klines(subscriber.klines(), sim)

    assert (compared >= 20, wrong) == (True, [])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signal_ends_with_0_under_load(tmp_path, valkey, settings, number):
    """Asked to stop at 20,000 messages a second, the collector drains and ends with 0 within its five seconds."""
    settings |= {"STOP_TIMEOUT": 5}
    with (
        SimulatorProcess("--rate", 20_000, "--symbols", 5) as sim,
        Subscriber(valkey.port) as subscriber,
        CollectorProcess(tmp_path, BYBIT_WS_URL=sim.ws_url("linear"), **settings) as collector,
    ):
        wait_until(lambda: sum(subscriber.counts().values()) > 20_000)

        assert collector.stop(number) == 0, "5 says that STOP_TIMEOUT was not enough"
        assert collector.events("ended")[0]["code"] == 0


def test_second_signal_ends_at_once(tmp_path, settings):
    """A user who sends it twice does not want to wait: the process dies of the second signal."""
    (tmp_path / "stuck.py").write_text(
        "import time, main\n"
        "main.STREAMS.append({'name': 'stuck', 'func': lambda: time.sleep(60), 'args': ()})\n"
        "raise SystemExit(main.run())\n"
    )
    settings |= {"STOP_TIMEOUT": 30, "SYMBOLS": "BTCUSDT", "BYBIT_WS_URL": "ws://127.0.0.1:9/v5/public/linear"}
    with CollectorProcess(tmp_path, tmp_path / "stuck.py", **settings) as collector:
        collector.wait_for("outage_began")
        collector.process.send_signal(signal.SIGTERM)
        collector.wait_for("stopping")

        assert collector.stop(signal.SIGTERM, limit_s=20.0) == -signal.SIGTERM


def test_a_function_of_ones_own_does_not_hold_the_exit_up(tmp_path, settings):
    """It ignores its stop, and has a pool whose workers the interpreter would wait for."""
    (tmp_path / "stuck.py").write_text(
        "import time, main\nfrom concurrent.futures import ThreadPoolExecutor\n"
        "pool = ThreadPoolExecutor()\n"
        "def hang():\n    print('hangs', flush=True)\n    pool.submit(time.sleep, 100).result()\n"
        "main.STREAMS.append({'name': 'stuck', 'func': hang, 'args': ()})\n"
        "raise SystemExit(main.run())\n"
    )
    settings |= {"STOP_TIMEOUT": 1, "SYMBOLS": "BTCUSDT", "BYBIT_WS_URL": "ws://127.0.0.1:9/v5/public/linear"}
    with CollectorProcess(tmp_path, tmp_path / "stuck.py", **settings) as collector:
        wait_until(lambda: "hangs" in collector.output)

        assert collector.stop() == 5


def test_closed_standard_streams_cost_nothing_but_their_lines(tmp_path, valkey, settings):
    """Started with all three closed: what is published is no log line, and the log file has all of them."""
    with SimulatorProcess("--rate", 300, "--symbols", 5) as sim, Subscriber(valkey.port) as subscriber:
        environment = {
            **settings,
            "BYBIT_WS_URL": sim.ws_url(),
            "LOG_FILE": "own.log",
            "ENABLED_CONSUMERS": "console,redis",
        }
        environment = {name: str(value) for name, value in environment.items()}
        command = ["sh", "-c", 'exec "$0" "$1" <&- >&- 2>&-', sys.executable, str(ROOT / "main.py")]
        collector = subprocess.Popen(command, cwd=tmp_path, env={**os.environ, **environment})
        try:
            wait_until(lambda: subscriber.klines())
            collector.terminate()
            assert collector.wait() == 0
        finally:
            collector.kill()
            collector.wait()
    assert "ended" in (tmp_path / "own.log").read_text()
    assert not [
        message for channel in subscriber.received.values() for message in channel if not message.startswith(b"{")
    ]


def test_appended_entry_runs_from_a_script_and_on_the_running_list(tmp_path, valkey, settings):
    """The documented snippet works in a user's script, and in the list of a running collector within a second."""
    snippet = """
STREAMS.append({
    "name": "Trades_%s",
    "func": subscribe_trades,
    "args": ("%s", handle_trades)
})
"""
    (tmp_path / "mine.py").write_text(
        "import threading\nfrom main import *\nfrom main import STREAMS, handle_trades, run, subscribe_trades\n"
        f"{snippet % ('ETHUSDT', 'ETHUSDT')}\n"
        f"def later():\n    {' '.join((snippet % ('SOLUSDT', 'SOLUSDT')).split())}\n"
        "threading.Timer(2.0, later).start()\nraise SystemExit(run())\n"
    )
    with SimulatorProcess("--rate", 300, "--symbols", 5) as sim, Subscriber(valkey.port) as subscriber:
        settings |= {"BYBIT_WS_URL": sim.ws_url(), "SYMBOLS": "BTCUSDT,ETHUSDT", "RAW_STREAMS": "trades"}

        def symbols() -> set[str]:
            return {json.loads(m)["data"][0]["s"] for m in list(subscriber.received["stream:bybit_trades"])}

        with CollectorProcess(tmp_path, tmp_path / "mine.py", **settings) as collector:
            wait_until(lambda: symbols() == {"BTCUSDT", "ETHUSDT", "SOLUSDT"})

            assert sim.stats()["connections"] == 3
            assert collector.stop() == 0
        ids = [t["i"] for m in subscriber.received["stream:bybit_trades"] for t in json.loads(m)["data"]]
        assert len(ids) == len(set(ids)), "an entry of one's own takes its symbol out of the settings' entries"


def test_wrong_settings_are_all_reported_at_once(tmp_path):
    """Three mistakes, three lines, exit code 2, and no secret among them."""
    settings = {"CHANNEL_TYPE": "liner", "KLINE_INTERVALS": "1x", "REDIS_PORT": "many", "WSS_AUTH_KEY": "s3cret"}
    with CollectorProcess(tmp_path, **settings) as collector:
        assert collector.wait() == 2

        output = "\n".join(collector.output)
    assert all(name in output for name in ("CHANNEL_TYPE", "liner", "KLINE_INTERVALS", "1x", "REDIS_PORT", "many"))
    assert "s3cret" not in output


def test_embedded_server_starts_and_ends_with_the_process(tmp_path, settings, free_port):
    """Nothing listens on the loopback address: a server of our own does, and is gone after SIGKILL too."""
    with SimulatorProcess("--rate", 100, "--symbols", 2) as sim:
        settings |= {"REDIS_PORT": free_port, "BYBIT_WS_URL": sim.ws_url()}
        with CollectorProcess(tmp_path, **settings) as collector:
            collector.wait_for("embedded_server_started")
            wait_until(lambda: listens(free_port))
            assert collector.stop() == 0
            wait_until(lambda: not listens(free_port))
        with CollectorProcess(tmp_path, **settings) as collector:
            collector.wait_for("embedded_server_started")
            wait_until(lambda: listens(free_port))
            assert collector.stop(signal.SIGKILL) == -signal.SIGKILL
            wait_until(lambda: not listens(free_port))
    assert not listens(free_port)


def test_remote_redis_is_waited_for(tmp_path, settings):
    """A remote address never starts a server: streams run, the outage is logged once, the end is orderly."""
    with SimulatorProcess("--rate", 100, "--symbols", 2) as sim:
        settings |= {"REDIS_HOST": "192.0.2.1", "BYBIT_WS_URL": sim.ws_url(), "STATUS_INTERVAL": 1, "STOP_TIMEOUT": 5}
        with CollectorProcess(tmp_path, **settings) as collector:
            live(sim, 4)
            collector.wait_for("status", count=2)

            assert not collector.events("embedded_server_started")
            assert collector.stop() == 0
