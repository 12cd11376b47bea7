"""Every output of a running collector, side by side; a bad one costs only its own messages."""

import base64
import json
import socket
import time

import pytest
from websockets.exceptions import InvalidStatus

from consumers.manager import SETUP_LIMIT_S
from tests.acceptance.harness import CollectorProcess, Subscriber, listens
from tests.support.schema import connect
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until

MINE = """
import asyncio, json, time
from consumers.base import BaseConsumer

class MyConsumer(BaseConsumer):
    def __init__(self, name="my"): super().__init__(name)
    def validate(self): pass
    async def setup(self): pass
    async def start(self): self._is_running = True
    async def consume(self, data):
        with open("mine.jsonl", "a") as file: print(json.dumps(data), file=file)
    async def stop(self): self._is_running = False

class Raising(MyConsumer):
    async def consume(self, data): raise RuntimeError("always")

class Stuck(MyConsumer):
    queue_size = 5
    def consume(self, data): time.sleep(3600)
"""


@pytest.fixture
def settings(valkey, free_port):
    return {
        "SYMBOLS": "BTCUSDT,ETHUSDT",
        "REDIS_PORT": valkey.port,
        "KLINE_INTERVALS": "1s",
        "STATUS_INTERVAL": 1,
        "STOP_TIMEOUT": 5,
        "WEBSOCKET_PORT": free_port,
        "WSS_AUTH_USER": "user",
        "WSS_AUTH_KEY": "s3cret-key",
    }


def test_all_outputs_get_the_same_klines_beside_bad_ones(tmp_path, valkey, settings, free_port):
    """redis, file, console, websocket and a user's consumer agree; a raising and a stuck one disturb nobody."""
    (tmp_path / "mine.py").write_text(MINE)
    consumers = "redis,file,console,websocket,mine:MyConsumer,mine:Raising,mine:Stuck"
    settings |= {"ENABLED_CONSUMERS": consumers, "PYTHONPATH": f"{tmp_path}"}
    with (
        SimulatorProcess("--rate", 300, "--symbols", 2) as sim,
        Subscriber(valkey.port) as subscriber,
        CollectorProcess(tmp_path, BYBIT_WS_URL=sim.ws_url(), **settings) as collector,
    ):
        wait_until(lambda: subscriber.klines())
        with connect(f"ws://127.0.0.1:{free_port}/") as client:
            client.send(json.dumps({"user": "user", "key": "s3cret-key"}))
            assert json.loads(client.recv(30)) == {"status": "authenticated"}
            over_wss = [json.loads(client.recv(30)) for _ in range(4)]

        def figures(name):
            return collector.status["consumers"][name]

        wait_until(lambda: figures("Raising")["errors"] > 3)
        wait_until(lambda: figures("Stuck")["dropped"] > 0 or figures("Stuck")["queued"] > 0)
        began = time.monotonic()
        code = collector.stop()

        assert (code, time.monotonic() - began < 30) == (5, True), "a stuck consumer is named, not waited for"
        assert "Stuck" in str(collector.events("stop_deadline_passed"))
        assert "s3cret-key" not in collector.newest_output()
    published = {(k["symbol"], k["timestamp"]): k for k in subscriber.klines()}
    files = [json.loads(line) for path in tmp_path.glob("output/**/*.jsonl") for line in path.read_text().splitlines()]
    mine = [json.loads(line) for line in (tmp_path / "mine.jsonl").read_text().splitlines()]

    assert all((k["symbol"], k["timestamp"]) in published for e in over_wss for k in e["data"])
    assert {(k["symbol"], k["timestamp"]) for e in mine for k in e["data"]} == set(published)
    assert {(k["symbol"], k["timestamp"]) for e in files if "data" in e for k in e["data"]} == set(published)
    assert any("BTCUSDT" in line for line in collector.output), "the console's lines"


def test_websocket_lets_in_whom_it_should(tmp_path, settings, valkey, free_port):
    """Basic credentials in the handshake work, wrong ones are refused."""
    with (
        SimulatorProcess("--rate", 300, "--symbols", 2) as sim,
        CollectorProcess(
            tmp_path, BYBIT_WS_URL=sim.ws_url(), **(settings | {"ENABLED_CONSUMERS": "websocket"})
        ) as collector,
    ):
        wait_until(lambda: listens(free_port))
        good, bad = (base64.b64encode(pair).decode() for pair in (b"user:s3cret-key", b"user:wrong"))
        url = f"ws://127.0.0.1:{free_port}/"
        with connect(url, additional_headers={"Authorization": f"Basic {good}"}) as client:
            found = next(m for m in (json.loads(client.recv(30)) for _ in range(5)) if "data" in m)
            assert found["data_type"] == "klines"
        with pytest.raises(InvalidStatus):
            connect(url, additional_headers={"Authorization": f"Basic {bad}"})
        assert collector.stop() == 0


def test_taken_port_ends_with_3(tmp_path, settings, valkey, free_port):
    """An output that cannot be opened at the start is a mistake that ends the start."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_port))
        taken.listen()
        settings |= {"ENABLED_CONSUMERS": "redis,websocket", "BYBIT_WS_URL": "ws://127.0.0.1:9/v5/public/linear"}
        with CollectorProcess(tmp_path, **settings) as collector:
            assert collector.wait() == 3
            assert "websocket" in str(collector.events("outputs_unreachable"))


def test_an_output_that_hangs_at_the_start_does_not_hold_the_stop_up(tmp_path, settings):
    """Its set-up never returns: asked to stop while it is waited for, the collector does."""
    (tmp_path / "mine.py").write_text(
        "import time\nfrom consumers.base import BaseConsumer\n"
        "class Hangs(BaseConsumer):\n"
        "    def __init__(self): super().__init__('hangs')\n"
        "    def setup(self):\n        print('hangs', flush=True)\n        time.sleep(3600)\n"
    )
    settings |= {"ENABLED_CONSUMERS": "redis,mine:Hangs", "STOP_TIMEOUT": 1, "PYTHONPATH": tmp_path}
    settings |= {"BYBIT_WS_URL": "ws://127.0.0.1:9/v5/public/linear"}
    with CollectorProcess(tmp_path, **settings) as collector:
        wait_until(lambda: "hangs" in collector.output, 60)
        begin_s = time.monotonic()

        assert collector.stop(limit_s=30.0) == 5
        assert time.monotonic() - begin_s < SETUP_LIMIT_S, "it waited for the set-up"
