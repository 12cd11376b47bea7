"""Rules and dashboard of conf/deploy/monitoring against the metrics there are. Parsed; promtool runs them elsewhere."""

import re

import pytest

from app.metrics import FAMILIES
from tests.support.monitoring import FOLDER, dashboard_expressions, hurried, rules

yaml = pytest.importorskip("yaml")

OF_PROCESS = ("start_time_seconds", "open_fds", "max_fds", "resident_memory_bytes", "cpu_seconds_total")
OTHERS = {"up"} | {f"process_{name}" for name in OF_PROCESS}
NAME = re.compile(r"\b(?:collector|process)_\w+(?=[{\[\s)]|$)|\bup\b")


def names_in(expression: str) -> set[str]:
    """The metrics of an expression, without the parts of histograms."""
    return {re.sub(r"_seconds_(bucket|sum|count)$", "_seconds", name) for name in NAME.findall(expression)}


def test_every_expression_reads_metrics_that_there_are():
    """One that was renamed leaves an alert that never fires, and a panel that stays empty."""
    known = {family.full_name for family in FAMILIES} | OTHERS
    used = {
        expression: names_in(expression) for expression in (*(r["expr"] for r in rules()), *dashboard_expressions())
    }

    assert {expression: names - known for expression, names in used.items() if names - known or not names} == {}


def test_the_dashboard_shows_every_metric():
    """What nobody can see need not be measured."""
    shown = set().union(*map(names_in, dashboard_expressions()))

    assert {family.full_name for family in FAMILIES} - shown == set()


def test_every_alert_says_what_is_and_what_to_do():
    """And how bad it is; each is tested by name."""
    tested = (FOLDER / "alerts_test.yml").read_text()
    for rule in rules():
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert 10 < len(rule["annotations"]["summary"]) < 200
        assert len(rule["annotations"]["description"]) > 40
        assert f'alertname="{rule["alert"]}"' in tested or f"alertname: {rule['alert']}" in tested
    names = [rule["alert"] for rule in rules()]
    assert len(set(names)) == len(names)


def test_log_lines_that_alerts_name_are_written_at_the_usual_level():
    """Or somebody looks for what is not there."""
    top = FOLDER.parents[2]
    code = "".join(
        path.read_text() for package in ("aggregation", "app", "streams") for path in (top / package).rglob("*.py")
    )
    texts = " ".join(rule["annotations"]["description"] for rule in rules())
    named = {name for line in re.findall(r"[Ll]og lines? [^.:]*", texts) for name in re.findall(r'"([a-z_]+)"', line)}

    assert {"ended", "kline_differs"} <= named
    written = {name for name in named if re.search(rf'\.(?:info|warning|error|critical)\(\s*"{name}"', code)}
    assert named - written == set()


def test_an_alert_waits_longer_than_one_scrape_misses():
    """What lasts no longer than a reconnect wakes nobody: a wait, or a window over many scrapes."""
    for rule in rules():
        assert "for" in rule or re.search(r"\[\d+[mh]\]", rule["expr"]), rule["alert"]


def test_what_inhibits_and_is_inhibited_are_alerts():
    """A misspelt name inhibits nothing, in silence."""
    config = yaml.safe_load((FOLDER / "alertmanager.yml").read_text())
    matchers = [m for rule in config["inhibit_rules"] for m in (*rule["source_matchers"], *rule["target_matchers"])]
    named = [name for matcher in matchers for name in re.split(r"\|", matcher.partition('"')[2].rstrip('"'))]

    assert set(named) <= {rule["alert"] for rule in rules()}


def test_compose_gives_prometheus_the_files_and_the_login():
    """What it mounts is there; a part that the command replaces stands in the configuration."""
    compose = yaml.safe_load((FOLDER.parent / "compose.yaml").read_text())["services"]
    watching = {name: service for name, service in compose.items() if "monitoring" in service.get("profiles", [])}
    mounted = [volume for service in watching.values() for volume in service["volumes"] if volume.startswith("./")]
    configuration = (FOLDER / "prometheus.yml").read_text()
    (script,) = watching["prometheus"]["command"]

    assert set(watching) == {"prometheus", "alertmanager", "grafana"}
    assert all((FOLDER.parent / volume.partition(":")[0]).is_file() for volume in mounted)
    for pattern in re.findall(r"s\|([^|]*)\|", script):
        assert re.search(pattern, configuration)
    assert "password_file: wss_auth_key" in configuration
    assert "> /tmp/wss_auth_key" in script


def test_tests_hurry_every_wait_and_window():
    """Or a test would wait for a quarter of an hour."""
    text = hurried("increase(x[15m]) / z[1h] unless time() - process_start_time_seconds < 300\nfor: 5m")

    assert text == "increase(x[15000ms]) / z[60000ms] unless time() - process_start_time_seconds < 5\nfor: 5000ms"
    assert not re.search(r"for: \d+[mh]\b|\[\d+[mh]\]", hurried((FOLDER / "alerts.yml").read_text()))
