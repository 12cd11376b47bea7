"""The manifests of Kubernetes as kubectl makes them, against its schemas, the settings, and the Dockerfile."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from conf.declarations import ALL_NAMES
from conf.settings import Settings, load_settings

yaml = pytest.importorskip("yaml")
kubernetes_validate = pytest.importorskip("kubernetes_validate")

DEPLOY = Path(__file__).resolve().parents[3] / "conf" / "deploy"
FOLDER = DEPLOY / "kubernetes"
KUBECTL = Path(sys.executable).with_name("kubectl")  # of the Python package
VERSION = "1.31"  # of the schemas: the oldest that is still supported somewhere


def made(tmp_path: Path, *, replicas: int = 1) -> dict[str, Any]:
    """The objects that `kubectl kustomize` makes, by kind and name; as many collectors as the one number says."""
    folder = shutil.copytree(FOLDER, tmp_path / f"kubernetes-{replicas}")
    shutil.copy(folder / "secrets.env.example", folder / "secrets.env")
    file = folder / "kustomization.yaml"
    text, count = re.subn(r"(?m)^(\s+count): 1$", rf"\1: {replicas}", file.read_text())
    assert count == 1
    file.write_text(text)
    done = subprocess.run([KUBECTL, "kustomize", folder], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, "a warning"
    objects = list(yaml.safe_load_all(done.stdout))
    return {f"{each['kind']} {re.sub('-[a-z0-9]{10}$', '', each['metadata']['name'])}": each for each in objects}


@pytest.fixture(scope="module")
def objects(tmp_path_factory) -> dict[str, Any]:
    return made(tmp_path_factory.mktemp("kustomize"), replicas=3)


@pytest.fixture
def pod(objects) -> dict[str, Any]:
    found: dict[str, Any] = objects["StatefulSet collector"]["spec"]["template"]["spec"]
    return found


def environment(objects: dict[str, Any], pod_name: str) -> dict[str, str]:
    """What a container of a pod gets: the files, and over them its own variables, filled in as Kubernetes does."""
    (container,) = objects["StatefulSet collector"]["spec"]["template"]["spec"]["containers"]
    found = dict(objects["ConfigMap collector"]["data"])
    found |= objects["Secret collector"].get("data") or {}
    for variable in container["env"]:
        value = pod_name if "valueFrom" in variable else variable["value"]
        found[variable["name"]] = re.sub(r"\$\((\w+)\)", lambda match: found[match[1]], value)
    return found


def test_every_object_has_its_schema(objects):
    """A field that is written wrong would be dropped, or refused at the user's."""
    assert set(objects) == {
        "StatefulSet collector", "Service collector", "PodDisruptionBudget collector", "ConfigMap collector",
        "Secret collector", "Deployment valkey", "Service valkey",
    }  # fmt: skip
    for each in objects.values():
        kubernetes_validate.validate(each, VERSION, strict=True)


def test_one_number_says_how_many_there_are(objects, tmp_path):
    """The replicas, and what each is told: two numbers that differ would leave symbols to nobody."""
    for count, found in ((3, objects), (1, made(tmp_path))):
        assert found["StatefulSet collector"]["spec"]["replicas"] == count
        pods = [f"collector-{ordinal}" for ordinal in range(count)]
        shards = [load_settings(environment(found, name), env_file=None).shard for name in pods]
        assert shards == [f"{number}/{count}" for number in range(1, count + 1)]


def test_the_environment_is_of_settings_and_valid(objects):
    """All of them together; Redis is the one beside it, and no embedded one. The open port is warned of."""
    found = environment(objects, "collector-1")
    assert found.keys() - {"POD_NAME"} <= ALL_NAMES
    settings = load_settings(found, env_file=None)
    assert {warning.name for warning in settings.warnings} == {"WEBSOCKET_HOST"}
    assert (settings.redis_host, settings.redis_port, settings.redis_embedded) == ("valkey", 6379, "never")
    (service,) = objects["Service valkey"]["spec"]["ports"]
    assert service["port"] == settings.redis_port
    example = re.findall(r"^#?([A-Z_]+)=", (FOLDER / "secrets.env.example").read_text(), re.MULTILINE)
    assert set(example) <= ALL_NAMES


def test_probes_ask_the_port_that_is_opened(objects, pod):
    """From outside of the pod: it listens on all addresses."""
    (container,) = pod["containers"]
    settings = load_settings(environment(objects, "collector-0"), env_file=None)
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert settings.websocket_host == "0.0.0.0"
    assert ports == {"http": settings.websocket_port}
    probes = {name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    assert {probe["port"] for probe in probes.values()} == {"http"}
    assert [probes[name]["path"] for name in probes] == ["/livez", "/livez", "/readyz"]
    (service,) = objects["Service collector"]["spec"]["ports"]
    assert service["targetPort"] == "http"


def test_the_pod_may_do_as_little_as_it_needs(pod):
    """A number of a user, which the image has; files only below output/ and /tmp; and time to drain."""
    (container,) = pod["containers"]
    (user,) = re.findall(r"^USER (\d+)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    (workdir,) = re.findall(r"^WORKDIR (\S+)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    security = pod["securityContext"]
    assert (security["runAsNonRoot"], security["runAsUser"], security["fsGroup"]) == (True, int(user), int(user))
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounts == {f"{workdir}/output", "/tmp"}
    written = [path for path in vars(Settings()).values() if isinstance(path, Path) and path.parts[0] == "output"]
    assert len(written) > 2, "every folder that is written to by default is below output/"
    assert pod["terminationGracePeriodSeconds"] > Settings().stop_timeout


def test_selectors_find_the_pods(objects):
    """Of the services and of the budget."""
    labels = objects["StatefulSet collector"]["spec"]["template"]["metadata"]["labels"]
    assert objects["Service collector"]["spec"]["selector"].items() <= labels.items()
    assert objects["PodDisruptionBudget collector"]["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert objects["StatefulSet collector"]["spec"]["serviceName"] == objects["Service collector"]["metadata"]["name"]


@pytest.mark.parametrize("file", [".gitignore", ".dockerignore"])
def test_the_secrets_leave_no_checkout(file):
    """The example is none."""
    lines = (DEPLOY.parents[1] / file).read_text().splitlines()
    assert "conf/deploy/kubernetes/secrets.env" in lines
