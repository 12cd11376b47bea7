"""app.relay: the outputs but those in Redis, in a process of their own."""

import signal
from typing import Any

import structlog
from structlog.testing import capture_logs

from app import cli
from app.exits import Exit
from app.relay import OutputRelay
from consumers.base import BaseConsumer
from tests.support.settings import settings_of


def test_a_relay_watches_its_threads(monkeypatch):
    """Its source and its outputs."""
    relay = OutputRelay(settings_of(ENABLED_CONSUMERS="console"))
    assert relay.tick() is None
    (thread,) = [thread for thread in relay.threads() if thread.name == "relay"]
    monkeypatch.setattr(thread, "run", lambda: None)
    thread.start()
    thread.join()
    with structlog.testing.capture_logs() as logs:
        assert relay.tick() == Exit.THREAD_LOST
    assert logs[0]["threads"] == ["relay"]


def test_a_relays_outputs_are_stopped_though_its_source_hangs(monkeypatch):
    """What they hold is written, within the deadline; what hung is logged, and the exit code has it."""
    relay = OutputRelay(settings_of(ENABLED_CONSUMERS="console"))
    stopped = []
    monkeypatch.setattr(relay.source, "stop", lambda deadline_s: stopped.append(deadline_s))
    monkeypatch.setattr(relay.outputs.manager, "stop", lambda deadline_s: stopped.append(deadline_s) or [])
    with capture_logs() as logs:
        assert relay.stop() == Exit.STOP_DEADLINE
    of_source, of_outputs = stopped
    assert of_source < of_outputs
    assert logs[0]["threads"] == ["relay"]


class Terminating(BaseConsumer):
    """An output with which the process is asked to stop."""

    def __init__(self) -> None:
        super().__init__("terminating")

    def setup(self) -> None:
        """Ask for it."""
        signal.raise_signal(signal.SIGTERM)

    def consume(self, data: dict[str, Any]) -> None:
        """Take nothing."""


def test_a_relay_logs_odd_settings_and_its_end():
    """Like the collector; paths that speak Bybit are not served there, whatever the settings have for them."""
    enabled = {"ENABLED_CONSUMERS": f"redis,websocket,{__name__}:Terminating", "REDIS_PORT": "1"}
    wss = {"WSS_AUTH_USER": "u", "WSS_AUTH_KEY": "k", "WEBSOCKET_PORT": "0", "WEBSOCKET_EXCHANGE_PATHS": "open"}
    with capture_logs() as logs:
        assert cli.relay(settings_of(RAW_RECORD="true", **enabled, **wss)) == Exit.ASKED
    odd = [(entry["log_level"], entry["name"]) for entry in logs if entry["event"] == "setting_suspicious"]

    assert odd == [("warning", "WEBSOCKET_EXCHANGE_PATHS")]
    assert (logs[-1]["event"], logs[-1]["code"], logs[-1]["reason"]) == ("ended", 0, Exit.ASKED.reason)


def test_a_relay_without_an_output_ends_with_2(capsys):
    """What is in Redis already needs none."""
    assert cli.relay(settings_of(ENABLED_CONSUMERS="redis", STORAGE_ENABLED="true")) == Exit.SETTINGS
    assert "a relay needs an output" in capsys.readouterr().err
