"""The ways to a server: names, connections, certificates, proxies, over real sockets."""

import datetime
import socket
import ssl
import threading

import pytest
import trustme

from app.doctor.findings import State
from app.doctor.network import check_name, check_server, way_of
from tests.support.servers import Proxy, Server, answer, read_request

HOUR = datetime.timedelta(hours=1)
NOW = datetime.datetime.now(datetime.UTC)


@pytest.fixture
def authority(tmp_path, monkeypatch):
    """An authority that this machine trusts."""
    found = trustme.CA(organization_name="Our Authority")
    found.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    return found


def serving(authority, *hosts, **options):
    """A server with a certificate of an authority, that says nothing after the handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*hosts, **options).configure_cert(context)
    return Server(lambda sock: sock.recv(1), tls=context)


def checked(port, scheme="https", host="127.0.0.1", limit_s=10.0):
    return check_server(way_of(f"{scheme}://{host}:{port}"), limit_s)


def test_a_trusted_certificate_names_its_issuer(authority):
    """A proxy that opens TLS is seen although it is trusted."""
    with serving(authority, "127.0.0.1") as server:
        finding = checked(server.port)
    assert finding.state is State.OK
    assert "'Our Authority' vouches for it" in finding.text


def test_a_certificate_of_nobody_known_names_who_issued_it(authority):
    """A company's proxy or a virus scanner, by name."""
    with serving(trustme.CA(organization_name="Big Brother Inc"), "127.0.0.1") as server:
        finding = checked(server.port)
    assert finding.state is State.FAILED
    assert "issued by 'Big Brother Inc', is not trusted" in finding.text
    assert "SSL_CERT_FILE" in finding.cure


def test_a_certificate_that_has_expired_says_when(authority):
    """Or this machine's date is wrong."""
    with serving(authority, "127.0.0.1", not_before=NOW - 48 * HOUR, not_after=NOW - HOUR) as server:
        finding = checked(server.port)
    assert finding.state is State.FAILED
    assert "has expired (" in finding.text
    assert str((NOW - HOUR).year) in finding.text
    assert f"{NOW:%Y-%m-%d}" in finding.cure


def test_a_certificate_of_the_future_doubts_this_machines_date(authority):
    """A machine whose battery is empty."""
    with serving(authority, "127.0.0.1", not_before=NOW + 48 * HOUR, not_after=NOW + 480 * HOUR) as server:
        finding = checked(server.port)
    assert finding.state is State.FAILED
    assert "is not valid yet (" in finding.text
    assert f"{NOW:%Y-%m-%d}" in finding.cure


def test_a_certificate_of_another_host_names_that(authority):
    """A login page of a hotel."""
    with serving(authority, "login.hotel.example") as server:
        finding = checked(server.port)
    assert finding.state is State.FAILED
    assert finding.text == "the certificate is for login.hotel.example, not 127.0.0.1"


def test_a_server_without_tls_is_no_exchange(authority):
    """What answers in plain text is something else."""
    with Server(lambda sock: sock.sendall(answer(b"hello", "400 Bad Request"))) as server:
        finding = checked(server.port)
    assert finding.state is State.FAILED
    assert "TLS" in finding.text


def test_a_black_hole_ends_in_time(authority):
    """It accepts and says nothing."""
    over = threading.Event()
    with Server(lambda _sock: over.wait(60)) as server:
        finding = checked(server.port, limit_s=0.5)
        over.set()
    assert finding.state is State.FAILED
    assert "does not answer" in finding.text


def test_a_port_where_nothing_listens_refuses(free_port):
    """In one sentence, with the host."""
    finding = checked(free_port, scheme="ws")
    assert finding.state is State.FAILED
    assert f"127.0.0.1:{free_port} refuses the connection" in finding.text
    assert finding.cure


def test_a_plain_server_is_reached(free_port):
    """ws:// and http:// have no certificate."""
    with Server(read_request) as server:
        assert checked(server.port, scheme="ws").state is State.OK


def test_a_proxy_that_wants_a_login_is_named(monkeypatch):
    """Without its password."""
    with Proxy("http", "me:secret") as proxy, Server(read_request) as server:
        monkeypatch.setenv("HTTP_PROXY", proxy.url(login="me:wrong"))
        finding = checked(server.port, scheme="ws", host="exchange.invalid")
        assert finding.state is State.FAILED
        assert "proxy" in finding.text
        assert "wrong" not in finding.text + finding.cure
        monkeypatch.setenv("HTTP_PROXY", proxy.url(login="me:secret"))
        right = checked(server.port, scheme="ws", host="exchange.invalid")
        assert right.state is State.OK
        assert f"through http://127.0.0.1:{proxy.port}" in right.text


# -- names


def test_a_name_that_nobody_knows_fails():
    """By the real resolver: .invalid is of no domain."""
    finding = check_name("exchange.invalid", is_public=True)
    assert finding.state is State.FAILED
    assert finding.cure


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "no resolver knows the name some.example"),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"), "the resolver does not answer"),
        (socket.gaierror(socket.EAI_FAIL, "Non-recoverable failure"), "Non-recoverable failure"),
    ],
)
def test_a_resolver_that_fails_is_told_apart_from_a_wrong_name(monkeypatch, error, words):
    """No network is not a spelling mistake."""

    def fail(*_arguments):
        raise error

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    finding = check_name("some.example", is_public=True)
    assert finding.state is State.FAILED
    assert words in finding.text


def test_a_resolver_that_never_answers_ends_in_time(monkeypatch):
    """The system's own look-up cannot be ended."""
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: over.wait(60) and [])
    finding = check_name("hangs.example", is_public=True, limit_s=0.3)  # a name that no other test looks up
    over.set()
    assert (finding.state, finding.text) == (State.FAILED, "no answer within 0.3 s")


def test_a_name_without_an_address_fails(monkeypatch):
    """Whatever the resolver means by it."""
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: [])
    finding = check_name("empty.example", is_public=True)
    assert (finding.state, finding.text) == (State.FAILED, "the resolver has no address of the name empty.example")


@pytest.mark.parametrize(("is_public", "state"), [(True, State.FAILED), (False, State.OK)])
def test_a_resolver_that_blocks_the_exchange_is_seen(monkeypatch, is_public, state):
    """Some networks answer with this machine's own address; for a user's own host that is right."""
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("0.0.0.0", 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: found)
    assert check_name("api.binance.com", is_public=is_public).state is state
