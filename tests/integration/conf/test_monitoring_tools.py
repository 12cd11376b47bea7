"""Prometheus' and Alertmanager's own tools on conf/deploy/monitoring."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.support.monitoring import FOLDER
from tests.support.programs import program


def run(name: str, *arguments: str, cwd: Path = FOLDER) -> str:
    """Run a tool; its output, with which a failure is asserted."""
    done = subprocess.run([program(name), *arguments], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_rules_are_valid_and_do_what_their_tests_say():
    """promtool's unit tests of rules, which have no other runner."""
    assert "SUCCESS" in run("promtool", "check", "rules", "alerts.yml")
    assert "SUCCESS" in run("promtool", "test", "rules", "alerts_test.yml")


@pytest.mark.parametrize(("was", "becomes"), [("> 1\n", "> 100\n"), ("== 0\n", "== 3\n"), ("for: 1m", "for: 0s")])
def test_the_tests_of_the_rules_can_fail(tmp_path, was, becomes):
    """A rule that was changed by mistake is found."""
    text = (FOLDER / "alerts.yml").read_text()
    assert was in text
    (tmp_path / "alerts.yml").write_text(text.replace(was, becomes))
    shutil.copy(FOLDER / "alerts_test.yml", tmp_path)

    with pytest.raises(AssertionError, match="FAILED"):
        run("promtool", "test", "rules", "alerts_test.yml", cwd=tmp_path)


def test_compose_makes_a_configuration_with_the_login(tmp_path):
    """Prometheus reads no environment: the command of its container writes user and key where it looks."""
    (script,) = yaml.safe_load((FOLDER.parent / "compose.yaml").read_text())["services"]["prometheus"]["command"]
    for name, path in (("/tmp/", tmp_path), ("/etc/prometheus/", FOLDER)):
        script = script.replace(name, f"{path}/")
    script = script.replace("$$", "$").replace("exec /bin/prometheus", "echo")
    environment = {"PATH": os.environ["PATH"], "WSS_AUTH_USER": "a user", "WSS_AUTH_KEY": "k$y: 'x"}
    subprocess.run(["sh", "-ec", script], env=environment, check=True, capture_output=True)
    (job,) = yaml.safe_load((tmp_path / "prometheus.yml").read_text())["scrape_configs"]

    assert job["basic_auth"]["username"] == "a user"
    assert (tmp_path / job["basic_auth"]["password_file"]).read_text() == "k$y: 'x"
    run("promtool", "check", "config", str(tmp_path / "prometheus.yml"))


def test_both_configurations_are_valid():
    """As the programs themselves read them."""
    run("promtool", "check", "config", "--syntax-only", "prometheus.yml")
    run("amtool", "check-config", "alertmanager.yml")
