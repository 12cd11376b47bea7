"""RECONNECT_MAX_ATTEMPTS and an exchange that stays away: the process ends in order, so that it is started again."""

import json

from tests.acceptance.harness import CollectorProcess, Subscriber
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until

GIVEN_UP = 6


def test_given_up_streams_end_the_process(tmp_path, valkey):
    """Everything is flushed; the status channel and the log name the streams; a new start streams again."""
    settings = {"SYMBOLS": "BTCUSDT,ETHUSDT", "REDIS_PORT": valkey.port, "KLINE_INTERVALS": "1s", "STATUS_INTERVAL": 60}
    settings |= {"RECONNECT_DELAY": 0.1, "RECONNECT_MAX_ATTEMPTS": 2}
    with SimulatorProcess("--rate", 300, "--symbols", 2) as sim, Subscriber(valkey.port) as subscriber:
        settings |= {"BYBIT_WS_URL": sim.ws_url(), "BYBIT_REST_URL": sim.rest_url}
        with CollectorProcess(tmp_path, **settings) as collector:
            wait_until(lambda: len(subscriber.klines()) > 4)
            sim.kill()
            assert collector.wait() == GIVEN_UP, collector.newest_output()
            status = collector.status
            order = [entry["event"] for entry in collector.logs]
            named = collector.events("streams_given_up")[0]
        events = [json.loads(message) for message in list(subscriber.received["stream:bybit_status"])]
        final = {event["stream"] for event in events if event["event"] == "disconnected" and event.get("final")}

        assert status["given_up"] >= 1
        assert set(named["streams"]) <= final
        assert order.index("streams_given_up") < order.index("ended")
        assert collector.events("ended")[-1]["code"] == GIVEN_UP
        assert len(subscriber.klines()) >= status["klines"]["klines"]
        assert status["consumers"]["redis"]["extra"]["klines_on_disk"] == 0

        sim.start()
        with CollectorProcess(tmp_path, **settings) as collector:
            wait_until(lambda: sim.stats()["subscriptions"] == 8)
            assert collector.stop() == 0


def test_a_stream_nobody_wants_any_more_ends_nothing(tmp_path, valkey):
    """Its entry was taken out of STREAMS before it was given up; a topic that is refused for ever is quarantined."""
    (tmp_path / "mine.py").write_text(
        "import threading\n"
        "from main import STREAMS, handle_trades, run, subscribe_trades\n"
        "failed = threading.Event()\n"
        "def fail():\n    failed.set()\n    raise ConnectionError('mine')\n"
        "STREAMS.append({'name': 'gone', 'func': fail, 'args': ()})\n"
        "STREAMS.append({'name': 'refused', 'func': subscribe_trades, 'args': ('GONEUSDT', handle_trades)})\n"
        "threading.Thread(target=lambda: failed.wait(60) and STREAMS.remove(STREAMS[0])).start()\n"
        "raise SystemExit(run())\n"
    )
    settings = {"SYMBOLS": "BTCUSDT", "REDIS_PORT": valkey.port, "STATUS_INTERVAL": 0.5}
    settings |= {"RECONNECT_DELAY": 30, "RECONNECT_MAX_ATTEMPTS": 3}
    with SimulatorProcess("--rate", 100, "--symbols", 1) as sim:
        settings |= {"BYBIT_WS_URL": sim.ws_url(), "BYBIT_REST_URL": sim.rest_url}
        with CollectorProcess(tmp_path, tmp_path / "mine.py", **settings) as collector:
            collector.wait_for("stream_removed")
            collector.wait_for("topic_refused")
            assert collector.wait_for("status", count=len(collector.events("status")) + 4)["given_up"] == 0
            assert collector.stop() == 0
