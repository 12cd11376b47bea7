"""What conf/deploy/monitoring has, for tests: rules with short times, a dashboard's expressions, and the programs that
run them."""

import contextlib
import json
import re
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import requests
import yaml

from tests.support.programs import program
from tests.support.waiting import wait_until

FOLDER = Path(__file__).resolve().parents[2] / "conf" / "deploy" / "monitoring"
UNITS_S = {"s": 1, "m": 60, "h": 3600}
SCALE = 60  # a minute of the rules is a second of the tests
SCRAPE, WINDOW_S = "500ms", 5.0  # a window has to hold several scrapes
START_LIMIT_S = 20.0


def rules() -> list[dict[str, Any]]:
    """Return every alert rule."""
    groups = yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def hurried(text: str) -> str:
    """Return rules whose waits, windows and time after a start are shorter by SCALE."""

    def wait(match: re.Match[str]) -> str:
        return f"for: {int(match[1]) * UNITS_S[match[2]] * 1000 // SCALE}ms"

    def window(match: re.Match[str]) -> str:
        return f"[{max(WINDOW_S, int(match[1]) * UNITS_S[match[2]] / SCALE) * 1000:.0f}ms]"

    text = re.sub(r"(process_start_time_seconds <) (\d+)", lambda match: f"{match[1]} {int(match[2]) // SCALE}", text)
    return re.sub(r"\[(\d+)([smh])\]", window, re.sub(r"\bfor: (\d+)([smh])\b", wait, text))


def dashboard_expressions() -> list[str]:
    """Return the expression of every panel of the dashboard, and the queries of its variables."""
    dashboard = json.loads((FOLDER / "grafana.json").read_text())
    found = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    queries = [each["definition"] for each in dashboard["templating"]["list"] if each["type"] == "query"]
    return found + [re.sub(r"label_values\((.*), (\w+)\)", r"count by (\2) (\1)", query) for query in queries]


class Webhook:
    """A receiver of Alertmanager's: the state of each alert that it was told about. A context manager."""

    def __init__(self) -> None:
        self.states: dict[str, str] = {}
        """firing or resolved, by alert."""
        webhook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                webhook.states |= {each["labels"]["alertname"]: each["status"] for each in body["alerts"]}
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/alerts"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="webhook", daemon=True)

    def __enter__(self) -> "Webhook":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Prometheus:
    """A Prometheus at a port of this machine."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the series of an expression now."""
        answer = requests.get(f"{self.url}/api/v1/query", params={"query": expression}, timeout=10).json()
        assert answer["status"] == "success", answer
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def active(self) -> set[str]:
        """Return the alerts that fire, or are about to."""
        alerts = requests.get(f"{self.url}/api/v1/alerts", timeout=10).json()["data"]["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts}


@contextlib.contextmanager
def alertmanager(folder: Path, port: int, webhook: str) -> Iterator[None]:
    """Run Alertmanager with the receivers of alertmanager.yml at `webhook`, and no waits."""
    config = yaml.safe_load((FOLDER / "alertmanager.yml").read_text())
    config["route"] |= {"group_wait": "1ms", "group_interval": "200ms"}
    for receiver in config["receivers"]:
        receiver["webhook_configs"][0]["url"] = webhook
    (folder / "alertmanager.yml").write_text(yaml.safe_dump(config))
    arguments = ["--config.file=alertmanager.yml", "--storage.path=alerts", "--cluster.listen-address="]
    name = program("prometheus-alertmanager", "alertmanager")
    with _running(folder, [name, *arguments, f"--web.listen-address=127.0.0.1:{port}"], port):
        yield


@contextlib.contextmanager
def prometheus(folder: Path, port: int, target: int, alertmanager_port: int) -> Iterator[Prometheus]:
    """Run Prometheus with prometheus.yml and hurried rules, its target and Alertmanager at these ports."""
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": SCRAPE, "evaluation_interval": SCRAPE}
    config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [f"127.0.0.1:{alertmanager_port}"]
    (job,) = config["scrape_configs"]
    del job["basic_auth"]
    job["static_configs"][0]["targets"] = [f"127.0.0.1:{target}"]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    (folder / "alerts.yml").write_text(hurried((FOLDER / "alerts.yml").read_text()))
    arguments = ["--config.file=prometheus.yml", "--storage.tsdb.path=data", "--log.level=warn"]
    with _running(folder, [program("prometheus"), *arguments, f"--web.listen-address=127.0.0.1:{port}"], port):
        yield Prometheus(port)


@contextlib.contextmanager
def _running(folder: Path, command: list[str], port: int) -> Iterator[None]:
    log = folder / f"{Path(command[0]).name}.log"
    with log.open("wb") as output, subprocess.Popen(command, cwd=folder, stdout=output, stderr=output) as process:
        try:
            wait_until(lambda: process.poll() is not None or _is_ready(port), START_LIMIT_S, 0.05)
            assert process.poll() is None, log.read_text()
            yield
        finally:
            process.kill()  # it has nothing to keep


def _is_ready(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/-/ready", timeout=5).ok
    except requests.ConnectionError:
        return False
