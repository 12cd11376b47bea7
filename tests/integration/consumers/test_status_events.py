"""Status events on their way to every output that gets them, through the service, as the collector uses it."""

import dataclasses
import json
import time
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest
import redis

from app.options import output_options
from consumers import ConsumerManager
from consumers.base import BaseConsumer
from consumers.service import OutputService
from model.events import Gap, SinkUp
from tests.support.schema import checked, connect
from tests.support.settings import settings_of
from tests.support.waiting import wait_until

WSS: dict[str, object] = {"WSS_AUTH_USER": "u", "WSS_AUTH_KEY": "k"}
GAP = Gap(stream="T", market="spot", kind="orderbook", symbols=("BTCUSDT",), topic="orderbook.50.BTCUSDT", from_ms=7)
GAP_FIELDS = {
    "event": "gap",
    "stream": "T",
    "market": "spot",
    "kind": "orderbook",
    "symbols": ["BTCUSDT"],
    "topic": "orderbook.50.BTCUSDT",
    "from": 7,
}


class Mine(BaseConsumer):
    """A user's consumer that keeps its envelopes."""

    seen: ClassVar[list[dict[str, Any]]] = []

    def consume(self, data: dict[str, Any]) -> None:
        """Keep it."""
        Mine.seen.append(data)


class Failing(BaseConsumer):
    """A user's consumer that fails at every envelope while it is broken."""

    is_broken: ClassVar[bool] = True

    def consume(self, data: dict[str, Any]) -> None:
        """Fail."""
        if Failing.is_broken:
            raise OSError("gone")


@pytest.fixture
def run(tmp_path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., OutputService]]:
    """Start the outputs of some settings; an output that fails once counts as down. Ends them whatever happens."""
    ConsumerManager.register_consumer("mine", Mine)
    ConsumerManager.register_consumer("failing", Failing)
    monkeypatch.chdir(tmp_path)
    Failing.is_broken = True
    Mine.seen.clear()
    started: list[OutputService] = []

    def start(**environ: object) -> OutputService:
        options = output_options(settings_of(**{"CONSOLE_LIVE": "never", "REDIS_EMBEDDED": "never", **environ}))
        quick = dataclasses.replace(options.consumers, lasting_s=0.0)
        started.append(OutputService(dataclasses.replace(options, consumers=quick)))
        assert started[-1].start()
        return started[-1]

    yield start
    for service in started:
        service.stop(time.monotonic() + 3, time.monotonic() + 5)
    ConsumerManager.registered.clear()


def events_seen() -> list[str]:
    return [record["event"] for envelope in Mine.seen for record in envelope["data"]]


def test_an_event_reaches_every_output(run, tmp_path, valkey, free_port):
    """Redis, a WebSocket client that subscribed to it, a file, and a user's consumer: the same fields for all."""
    service = run(
        **{"ENABLED_CONSUMERS": "redis,websocket,file,mine", "ENABLE_STATUS_STREAM": "true", **WSS},
        **{"REDIS_PORT": valkey.port, "REDIS_MAIN_KEY": "everything", "WEBSOCKET_PORT": free_port},
    )
    with (
        redis.Redis(port=valkey.port) as client,
        client.pubsub(ignore_subscribe_messages=True) as channels,
        connect(f"ws://127.0.0.1:{free_port}/?subscribe=spot:status.gap") as connection,
    ):
        channels.subscribe("stream:bybit_status", "everything")
        wait_until(lambda: client.pubsub_numsub("everything")[0][1] == 1)
        connection.send('{"user":"u","key":"k"}')
        assert json.loads(connection.recv(timeout=30)) == {"status": "authenticated"}
        assert json.loads(connection.recv(timeout=30))["args"] == ["spot:status.GAP"]
        service.emit(SinkUp(sink="elsewhere", lost=0))
        service.emit(GAP)
        envelope = json.loads(connection.recv(timeout=30))
        wait_until(lambda: len(Mine.seen) == 2)
        messages: list[Any] = []
        wait_until(lambda: messages.append(channels.get_message(timeout=0.1)) or len(list(filter(None, messages))) == 4)
    assert service.stop(time.monotonic() + 3, time.monotonic() + 5) == []

    (record,) = envelope.pop("data")
    assert envelope == {"exchange": "bybit", "channel": "spot", "data_type": "status"}
    assert record == {"event": "gap", "ts": record["ts"], **GAP_FIELDS}
    assert Mine.seen[1] == {**envelope, "data": [record]}
    by_channel = [(message["channel"], checked(message["data"])) for message in filter(None, messages)]
    assert [sent for channel, sent in by_channel if channel == b"everything"][1] == {**envelope, "data": [record]}
    assert [sent for channel, sent in by_channel if channel != b"everything"][1] == {"exchange": "bybit", **record}
    files = {path.name[23:]: path for path in tmp_path.rglob("*.jsonl")}
    assert json.loads(files["spot_status.jsonl"].read_text())["data"] == [record]
    assert json.loads(files["linear_status.jsonl"].read_text())["data"][0]["sink"] == "elsewhere"


def test_without_the_setting_no_output_gets_them(run, tmp_path):
    """Nobody's files, consumers or clients change who did not ask."""
    service = run(ENABLED_CONSUMERS="file,mine")
    service.emit(GAP)
    assert service.stop(time.monotonic() + 3, time.monotonic() + 5) == []

    assert (Mine.seen, list(tmp_path.rglob("*.jsonl"))) == ([], [])


def test_an_output_that_fails_at_events_of_its_own_failure_is_down_once(run):
    """Its sink_down reaches the others, and itself, where it fails again: no event follows from that."""
    service = run(ENABLED_CONSUMERS="mine,failing", ENABLE_STATUS_STREAM="true")  # mine has each event before the other
    service.emit(GAP)
    wait_until(lambda: service.manager.stats()["failing"].errors == 2)
    wait_until(lambda: len(Mine.seen) == 2)
    assert events_seen() == ["gap", "sink_down"]
    for _ in range(3):
        service.emit(GAP)
    wait_until(lambda: service.manager.stats()["failing"].errors == 5)
    assert events_seen()[2:] == ["gap"] * 3

    Failing.is_broken = False
    service.emit(GAP)
    wait_until(lambda: events_seen()[5:] == ["gap", "sink_up"])
    wait_until(lambda: service.manager.stats()["failing"].delivered == 2)
    assert len(Mine.seen) == 7
    assert Mine.seen[-1]["data"][0]["lost"] == 5
