"""Alerts between the collector and the planner: what is taken, looked at, and left out."""

import shutil
import threading
import time
from collections import namedtuple
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from structlog.testing import capture_logs

from app.alerts.build import build_alerts
from app.alerts.disks import Disks
from app.alerts.planner import PlannerOptions
from app.alerts.service import LASTED_S, AlertOptions, AlertService, Sources
from app.alerts.services import ServiceOptions
from conf.settings import SettingsError, load_settings
from model.clock import now_ms
from model.events import Connected, Disconnected
from tests.support.clock import FakeClock
from tests.support.collector import collector_of
from tests.support.inbox import Inbox
from tests.support.klines import kline
from tests.support.waiting import LIMIT_S, wait_until

STREAM: Any = {"stream": "a", "market": "linear", "kind": "ticker", "symbols": ("BTCUSDT",)}
Usage = namedtuple("Usage", "total used free")  # as shutil's


@pytest.fixture
def inbox():
    with Inbox() as running:
        yield running


class Run:
    """A service with a clock of the test; `texts` are what was handed to the sender."""

    def __init__(self, inbox: Inbox, folders: Mapping[str, Path] = MappingProxyType({})) -> None:
        self.clock = FakeClock()
        self.reasons: list[dict[str, object]] = []
        self.audit: dict[str, dict[str, int]] = {}
        options = AlertOptions(
            PlannerOptions("bybit", "bybit linear"),
            ServiceOptions("bybit", webhook=f"http://127.0.0.1:{inbox.port}/a"),
            folders=folders,
        )
        self.service = AlertService(
            options, Sources(lambda: {"a": ""}, lambda: self.audit, lambda: self.reasons), self.clock
        )
        self.texts: list[str] = []

    def run(self, seconds: int) -> None:
        """Tick each second."""
        for _ in range(seconds):
            self.clock.now_s += 1.0
            with capture_logs() as logs:
                self.service.tick()
            self.texts += [entry["text"] for entry in logs if entry["event"] == "alert"]

    def is_not_ready(self, reason: str, what: str) -> None:
        """Have the health say so from now on."""
        self.reasons = [{"reason": reason, "what": what, "since": now_ms()}]


def test_a_class_that_is_silent_is_told_although_its_connection_lives(inbox):
    """And is silent still while the connection is opened anew for that."""
    run = Run(inbox)
    run.is_not_ready("stream_silent", "linear ticker: no data for 61 s on 1 live connections")
    run.run(40)
    run.is_not_ready("stream_down", "linear ticker: 1 of 1 connections are down")
    run.run(40)
    run.is_not_ready("stream_silent", "linear ticker: no data for 141 s on 1 live connections")
    run.run(40)
    assert len(run.texts) == 1
    assert run.texts[0].startswith("Tickers of bybit linear silent since ")
    run.reasons = []
    run.run(60)
    assert run.texts[1].startswith("Tickers of bybit linear back after ")


@pytest.mark.parametrize("reason", ["stream_down", "sink_down", "starting"])
def test_what_events_tell_is_not_told_twice(inbox, reason):
    run = Run(inbox)
    run.is_not_ready(reason, "linear ticker: 1 of 1 connections are down")
    run.run(200)
    assert run.texts == []


def test_only_odd_klines_are_kept_for_main(inbox):
    """A boundary of the whole market hands over thousands that need no look."""
    run = Run(inbox)
    run.service.put("linear", [kline(), kline(1)])
    assert not run.service._klines
    run.service.put("linear", [kline(), kline(1, complete=False), kline(2, revision=1)])
    assert [len(klines) for _, _, klines in run.service._klines] == [2]


def test_differences_of_the_audit_are_told_as_they_are_found(inbox):
    run = Run(inbox)
    run.audit = {"1m": {"different": 2, "unknown": 1}}
    run.run(100)
    run.run(1000)
    assert [text.split()[0] for text in run.texts] == ["3"]


def test_a_stop_tells_what_is_open_and_a_problem_of_a_process_that_has_lasted(inbox):
    for lasted_s in (0.0, LASTED_S):
        run = Run(inbox)
        run.service.emit(Connected(**STREAM))
        run.service.emit(Disconnected(**STREAM, reason="it went"))
        run.run(100)
        run.clock.now_s += lasted_s
        run.service.start()
        with capture_logs() as logs:
            run.service.begin_stop("a thread died")
            run.service.emit(Disconnected(**STREAM, reason="stopped"))
            run.service.join(time.monotonic() + 5)
        told = [entry["about"] for entry in logs if entry["event"] == "alert"]
        assert told == (["note", "end"] if lasted_s else ["end"])
    assert [body["event"] for body in inbox.of("/a")] == ["begin", "end", "begin", "note", "end"]
    assert {"alerts", "heartbeat"}.isdisjoint(thread.name for thread in threading.enumerate())


def test_a_run_without_alerts_has_none_and_a_heartbeat_alone_tells_nothing():
    assert build_alerts(load_settings({}, None), None) is None  # type: ignore[arg-type]
    collector = collector_of(load_settings({"ALERT_HEARTBEAT_URL": "http://127.0.0.1:1/"}, None))
    assert collector.alerts
    collector.alerts.put("linear", [kline(complete=False)])
    collector.alerts.emit(Connected(**STREAM))
    collector.alerts.tick()
    assert not collector.alerts._klines
    assert not collector.alerts._events
    assert [thread.name for thread in collector.alerts.threads()] == ["heartbeat"]
    collector.stop()


def test_a_collector_with_alerts_hands_them_its_events(inbox):
    collector = collector_of(load_settings({"ALERT_WEBHOOK": f"http://127.0.0.1:{inbox.port}/a"}, None))
    collector.events.emit(Connected(**STREAM))
    assert collector.alerts
    assert len(collector.alerts._events) == 1
    assert collector.status()["alerts"] == {"sent": 0, "retries": 0, "dropped": 0, "waiting": 0}
    collector.stop()


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
def test_wrong_services_are_told_with_every_other_wrong_setting():
    settings = load_settings({"ALERT_URLS": "nosuch://s3cret", "USE_TESTNET": "true", "EXCHANGE": "bitget"}, None)
    with pytest.raises(SettingsError, match="ALERT_URLS") as raised:
        collector_of(settings)
    assert "USE_TESTNET" in str(raised.value)
    assert "s3cret" not in str(raised.value)


def test_a_disk_is_nearly_full_until_there_is_clearly_more_space(tmp_path, monkeypatch):
    """Folders of one disk are one; one that is not there yet counts where it will be."""
    usage = Usage(100_000_000_000, 0, 50_000_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    disks = Disks({"A": tmp_path / "later" / "a", "B": tmp_path})
    assert disks.look() == {}
    usage = Usage(100_000_000_000, 0, 4_900_000_000)
    assert disks.look() == {f"{tmp_path / 'later' / 'a'}, {tmp_path}": "4.9 GB are free, 4.9%"}
    usage = Usage(100_000_000_000, 0, 5_500_000_000)
    assert disks.look()
    usage = Usage(100_000_000_000, 0, 6_100_000_000)
    assert disks.look() == {}
    usage = Usage(10_000_000_000, 0, 900_000_000)
    assert disks.look(), "below 1 GB"


def test_a_disk_that_hangs_holds_up_no_alert(inbox, tmp_path, monkeypatch):
    hangs = threading.Event()
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: hangs.wait(LIMIT_S) and Usage(10, 0, 10))
    run = Run(inbox, folders={"LOG_FILE": tmp_path})
    run.service.start()
    try:
        run.is_not_ready("clock_unknown", "the exchange's time is not known")
        run.run(100)
        wait_until(lambda: inbox.of("/a"))
    finally:
        hangs.set()
        run.service.begin_stop(None)
        run.service.join(time.monotonic() + LIMIT_S)
