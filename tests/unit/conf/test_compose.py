"""The compose files for several exchanges: services, profiles, files, routes. Parsed, for docker is not everywhere."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from conf.declarations import ALL_NAMES
from conf.settings import Settings, load_settings
from conf.values import EXCHANGES

yaml = pytest.importorskip("yaml")

DEPLOY = Path(__file__).resolve().parents[3] / "conf" / "deploy"
NAMES = ("bybit", "binance", "okx", "bitget", "gate", "kucoin", "bingx")
SERVICES = (*NAMES, "relay")
FILES = ("compose.yaml", "compose-exchanges.yaml", "compose-traefik.yaml")
PORT = "9500"  # of every WebSocket output, in its container


def services(file: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / file).read_text())["services"]
    return found


@pytest.fixture(scope="module")
def collectors() -> dict[str, Any]:
    return {name: one for name, one in services("compose-exchanges.yaml").items() if name != "valkey"}


def test_each_exchange_has_a_service_a_profile_and_a_file(collectors):
    """None starts unasked, but the one server that all share."""
    assert tuple(collectors) == SERVICES
    assert "profiles" not in services("compose-exchanges.yaml")["valkey"]
    for name, service in collectors.items():
        assert service["profiles"] == [name]
        assert [file["path"] for file in service["env_file"]] == [f"../../.env.{name}"]
        assert (DEPLOY / "env" / f"{name}.env.example").is_file()
        assert list(service["depends_on"]) == ["valkey"]
        assert service["environment"].get("EXCHANGE") == (None if name == "relay" else name)


def test_the_environment_is_of_settings_and_valid(collectors):
    """What compose sets wins over the file: the shared server, and a port that other containers reach."""
    for name, service in collectors.items():
        environment = service["environment"]
        assert environment.keys() <= ALL_NAMES
        if name in ("relay", *EXCHANGES):
            settings = load_settings(environment, env_file=None)
            assert (settings.redis_host, settings.redis_embedded) == ("valkey", "never")
            assert (settings.websocket_host, settings.websocket_port) == ("0.0.0.0", int(PORT))


def test_the_image_asks_the_port_whether_the_collector_lives(collectors):
    """And no service has it otherwise: what the settings of each say is asked, on whatever port that is."""
    (command,) = re.findall(r"^HEALTHCHECK .*CMD (.*)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    python, option, module = json.loads(command)
    assert (python, option) == ("python", "-m")
    assert (DEPLOY.parents[1] / module.replace(".", "/")).with_suffix(".py").is_file()
    for service in (*collectors.values(), services("compose.yaml")["collector"]):
        assert "healthcheck" not in service
        assert service["environment"]["WEBSOCKET_PORT"] == PORT


def test_no_two_services_take_a_port_of_this_machine():
    """And each WebSocket output has the port that its example has without containers."""
    taken = {
        name: [port.rsplit(":", 1)[0].rpartition(":")[2] for port in service.get("ports", [])]
        for name, service in (services("compose-traefik.yaml") | services("compose-exchanges.yaml")).items()
    }
    ports = [port for each in taken.values() for port in each]
    assert len(set(ports)) == len(ports)
    for name in SERVICES:
        example = (DEPLOY / "env" / f"{name}.env.example").read_text()
        assert f"\nWEBSOCKET_PORT={taken[name][0]}\n" in example


def test_commands_and_builds_are_of_files_there_are(collectors):
    """The image is the Dockerfile's; the relay is a command of main.py."""
    for name, service in collectors.items():
        context = (DEPLOY / service["build"]["context"]).resolve()
        assert (context / service["build"]["dockerfile"]).is_file()
        assert service.get("command") == (["python", "main.py", "relay"] if name == "relay" else None)
        assert float(service["stop_grace_period"].removesuffix("s")) > Settings().stop_timeout


def test_traefik_routes_each_exchange_to_its_own_service(collectors):
    """A router, a middleware and a service of its name each, on the path of its name, over TLS."""
    routed = services("compose-traefik.yaml")
    assert set(routed) == {"traefik", *collectors}
    command = " ".join(routed["traefik"]["command"])
    for name in collectors:
        labels = dict(label.split("=", 1) for label in routed[name]["labels"])
        router = {key.removeprefix(f"traefik.http.routers.{name}."): value for key, value in labels.items()}
        assert re.fullmatch(rf"Host\(`\$\{{STREAMER_HOST:\?[^}}]+\}}`\) && PathPrefix\(`/{name}`\)", router["rule"])
        assert router["middlewares"] == name
        assert labels[f"traefik.http.middlewares.{name}.stripprefix.prefixes"] == f"/{name}"
        assert labels[f"traefik.http.services.{name}.loadbalancer.server.port"] == PORT
        assert labels["traefik.enable"] == "true"
        assert f"--entrypoints.{router['entrypoints']}.address=:443" in command
        assert f"--certificatesresolvers.{router['tls.certresolver']}.acme.storage=" in command
        assert {key.split(".")[3] for key in labels if key.startswith("traefik.http.")} == {name}
        assert name in routed["traefik"]["profiles"]


@pytest.mark.parametrize("file", FILES)
def test_every_variable_is_documented_at_the_top(file):
    """What is to be exported before `docker compose` stands in the file's first lines, or beside where it is used."""
    text = (DEPLOY / file).read_text()
    comments = " ".join(re.findall(r"#(.*)$", text, re.MULTILINE))
    used = set(re.findall(r"\$\{([A-Z_]+)", re.sub(r"#.*$", "", text, flags=re.MULTILINE)))
    assert [name for name in used if f"{name}=" not in comments] == []


@pytest.mark.parametrize("file", FILES)
def test_named_volumes_are_declared(file):
    """Or compose would refuse the file."""
    document = yaml.safe_load((DEPLOY / file).read_text())
    named = {
        volume.partition(":")[0]
        for service in document["services"].values()
        for volume in service.get("volumes", [])
        if volume[0] not in "./"
    }
    assert named == set(document["volumes"])
