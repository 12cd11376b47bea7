"""Few descriptors: what is open goes on, and nothing is opened for the first time in the middle of work."""

import base64
import contextlib
import importlib.util
import json
import os
import resource
import signal
import socket

import pytest
import redis

from tests.acceptance.harness import CollectorProcess, Subscriber
from tests.conftest import unused_port
from tests.support.schema import connect
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until

LOGIN = {"Authorization": f"Basic {base64.b64encode(b'u:' + b'k' * 16).decode()}"}

# From the start of the streams on: what is imported, and which files of libraries are opened.
WATCHED = """
import sys, threading
import main, streams.supervisor
seen = open("seen.txt", "w", buffering=1)
def saw(event, arguments):
    if event == "import":
        print("import", arguments[0], threading.current_thread().name, file=seen)
    elif event == "open" and str(arguments[0]).startswith((sys.prefix, sys.base_prefix, "/lib", "/usr", "/etc")):
        print("open", arguments[0], threading.current_thread().name, file=seen)
start = streams.supervisor.Supervisor.start
def watch(supervisor):
    sys.addaudithook(saw)
    print("begin", file=seen)
    start(supervisor)
streams.supervisor.Supervisor.start = watch
raise SystemExit(main.run())
"""
# redis-py reads its own version for each connection that it opens; without it that connection is tried again.
ALLOWED = (".dist-info/METADATA", ".zip")


def few(number):
    """A script that runs the collector with so many descriptors."""
    return (
        "import resource\n"
        f"resource.setrlimit(resource.RLIMIT_NOFILE, ({number}, {number}))\n"
        "import main\nraise SystemExit(main.run())\n"
    )


def test_nothing_is_imported_or_opened_for_the_first_time_in_the_middle_of_work(tmp_path, free_port):
    """Every output on, trades, klines, a lost connection, a repair, a killed server, a client, the end."""
    (tmp_path / "watched.py").write_text(WATCHED)
    outputs = "redis,file,websocket,console" + (",parquet" if importlib.util.find_spec("pyarrow") else "")
    websocket_port = unused_port()
    with SimulatorProcess("--rate", 100, "--symbols", 2, "--true-seconds") as sim:
        settings = {
            "SYMBOLS": "BTCUSDT,ETHUSDT",
            "REDIS_PORT": free_port,
            "KLINE_INTERVALS": "1s",
            "BYBIT_WS_URL": sim.ws_url(),
            "BYBIT_REST_URL": sim.rest_url,
            "RECONNECT_DELAY": 0.2,
            "ENABLED_CONSUMERS": outputs,
            "PARQUET_FLUSH_INTERVAL": 1,
            "WSS_AUTH_USER": "u",
            "WSS_AUTH_KEY": "k" * 16,
            "WEBSOCKET_PORT": websocket_port,
            "WEBSOCKET_EXCHANGE_PATHS": "open",
            "RAW_RECORD": True,
            **dict.fromkeys(("STORAGE_ENABLED", "REDIS_STREAMS", "ENABLE_TICKER_STREAM", "ENABLE_TRADES_STREAM"), True),
        }
        with CollectorProcess(tmp_path, tmp_path / "watched.py", **settings) as collector:
            collector.wait_for("redis_up")
            wait_until(lambda: sim.stats()["connections"] >= 4)
            with Subscriber(free_port) as subscriber:
                wait_until(lambda: len(subscriber.klines()) >= 4)
                sim.command("drop", code="abort")
                with connect(f"ws://127.0.0.1:{websocket_port}/", additional_headers=LOGIN) as client:
                    assert json.loads(client.recv(timeout=30)) == {"status": "authenticated"}
                    client.recv(timeout=30)
                with redis.Redis(port=free_port) as admin:
                    os.kill(admin.info("server")["process_id"], signal.SIGKILL)
                collector.wait_for("redis_up")
                count = len(subscriber.klines())
                wait_until(lambda: len(subscriber.klines()) >= count + 4)
            assert collector.stop() == 0
    seen = (tmp_path / "seen.txt").read_text().splitlines()
    assert seen[0] == "begin"
    assert [line for line in seen[1:] if not line.split()[1].endswith(ALLOWED)] == []


def test_where_descriptors_run_out_what_is_open_goes_on(tmp_path, valkey):
    """64 of them, and 80 connections wanted: the streams leave what klines, REST and Redis need."""
    (tmp_path / "few.py").write_text(few(64))
    with (
        SimulatorProcess("--rate", 200, "--symbols", 20, "--true-seconds") as sim,
        Subscriber(valkey.port) as subscriber,
    ):
        settings = {
            "LOAD_ALL_SYMBOLS": True,
            "SOCKET_POOL_SIZE": 1,
            "REDIS_PORT": valkey.port,
            "KLINE_INTERVALS": "1s",
            "BYBIT_WS_URL": sim.ws_url(),
            "BYBIT_REST_URL": sim.rest_url,
            "STATUS_INTERVAL": 1,
        }
        with CollectorProcess(tmp_path, tmp_path / "few.py", **settings) as collector:
            short = collector.wait_for("open_files_short")
            wait_until(
                lambda: len(subscriber.klines()) >= 20 and any(kline["complete"] for kline in subscriber.klines()), 30
            )
            collector.wait_for("connect_waits_for_descriptor")
            assert collector.stop() == 0
            assert not collector.events("aggregation_failed")
    assert (short["limit"], short["streams"]["at_most"]) == (64, 32)


@pytest.mark.skipif(resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 1_024, reason="the test itself opens 300 sockets")
def test_unauthenticated_clients_of_the_websocket_output_cost_the_streams_nothing(tmp_path, valkey, free_port):
    """They take what the streams leave; a connection that is lost comes back, files are written, a login gets in."""
    (tmp_path / "few.py").write_text(few(256))
    with SimulatorProcess("--rate", 200, "--symbols", 10) as sim:
        settings = {
            "LOAD_ALL_SYMBOLS": True,
            "SOCKET_POOL_SIZE": 1,
            "RAW_STREAMS": "trades",
            "REDIS_PORT": valkey.port,
            "KLINE_INTERVALS": "1s",
            "BYBIT_WS_URL": sim.ws_url(),
            "BYBIT_REST_URL": sim.rest_url,
            "RECONNECT_DELAY": 0.2,
            "STATUS_INTERVAL": 1,
            "ENABLED_CONSUMERS": "redis,file,websocket",
            "WSS_AUTH_USER": "u",
            "WSS_AUTH_KEY": "k" * 16,
            "WEBSOCKET_PORT": free_port,
        }

        def figures(collector):
            return collector.status["consumers"]

        with (
            CollectorProcess(tmp_path, tmp_path / "few.py", **settings) as collector,
            contextlib.ExitStack() as unauthenticated,
        ):
            wait_until(lambda: sim.stats()["connections"] == 10)
            wait_until(lambda: collector.events("websocket_listening"))
            for number in range(300):
                outsider = unauthenticated.enter_context(socket.socket())
                outsider.bind((f"127.0.0.{2 + number // 100}", 0))
                outsider.connect(("127.0.0.1", free_port))
            sim.command("drop", code="abort")
            wait_until(lambda: sim.stats()["connections"] == 10)
            files = figures(collector)["file"]["extra"]["files"]
            wait_until(lambda: figures(collector)["file"]["extra"]["files"] > files)
            with connect(f"ws://127.0.0.1:{free_port}/", additional_headers=LOGIN) as client:
                assert json.loads(client.recv(timeout=30)) == {"status": "authenticated"}
            assert figures(collector)["file"]["extra"]["write_errors"] == 0
            assert len(collector.logs) < 500
            assert collector.stop() == 0
