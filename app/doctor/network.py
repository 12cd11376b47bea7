"""Checks of the ways to the exchange: proxies, names, connections, certificates. Each blocks its own thread."""

import functools
import ipaddress
import socket
import ssl
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from app.doctor.findings import Check, Finding, ok, unreachable
from app.outages import duration
from network.addresses import is_address
from network.certificates import client_context
from network.deadline import Deadline, DeadlineError
from network.problems import problem_of
from network.proxies import Proxy, proxy_of
from network.report import describe_network
from network.sockets import look_up, open_socket

LOOKUP_LIMIT_S = 3.0  # a resolver asks its second server after five seconds: then each stream would wait as long
CONNECT_LIMIT_S = 3.0
PORTS = {"ws": 80, "wss": 443, "http": 80, "https": 443}
ENCRYPTED = ("wss", "https")

EXPIRED, NOT_YET_VALID = 10, 9  # OpenSSL's X509_V_ERR_...
OTHER_HOST = (62, 64)  # a name, an address
NO_CHECK_TIME = 0x200000  # OpenSSL's X509_V_FLAG_NO_CHECK_TIME
DETAIL_CHARACTERS = 160

RESOLVER = "see that this machine has a network, and what resolver it has (/etc/resolv.conf; of a container: --dns)"
SILENT = "a firewall drops it, or the other side hangs: try from another network, or through a proxy (HTTPS_PROXY)"


@dataclass(frozen=True)
class Way:
    """The way to a server: its address, whether TLS is spoken, and the proxy between, None: straight."""

    host: str
    port: int
    has_tls: bool
    proxy: Proxy | None

    @property
    def names(self) -> list[str]:
        """The names that this machine looks up."""
        nearest = [self.proxy.host] if self.proxy else []
        hosts = nearest if self.proxy and self.proxy.looks_names_up else [*nearest, self.host]
        return [host for host in hosts if not is_address(host)]

    @property
    def place(self) -> str:
        """Host and port, without that of TLS."""
        return self.host if self.has_tls and self.port == PORTS["https"] else f"{self.host}:{self.port}"


def way_of(url: str) -> Way:
    """The way to a URL (ws, wss, http, https) with the environment's proxies; raises ValueError."""
    parts = urlsplit(url)
    return Way(parts.hostname or "", parts.port or PORTS[parts.scheme], parts.scheme in ENCRYPTED, proxy_of(url))


def way_checks(urls: Iterable[str], are_own: bool) -> dict[str, Check]:
    """Checks of the names and servers of URLs, by URL the last one of its way; `are_own`: they are the exchange's.

    Those that it needs are in `needs`.
    """
    by_name: dict[str, Check] = {}
    by_way: dict[Way, Check] = {}
    found: dict[str, Check] = {}
    for url in urls:
        way = way_of(url)
        for name in way.names:
            look = functools.partial(check_name, name, is_public=are_own and name == way.host)
            by_name.setdefault(name, Check(f"DNS {name}", look, RESOLVER))
        kind, needs = "TLS" if way.has_tls else "TCP", [by_name[name] for name in way.names]
        by_way.setdefault(way, Check(f"{kind} {way.place}", functools.partial(check_server, way), SILENT, needs))
        found[url] = by_way[way]
    return found


def check_proxies(urls: Sequence[str]) -> Finding:
    """Name the proxy on each way, without its password, and the certificates that are trusted."""
    described = describe_network(urls)
    ways = [f"{host} {f'through {proxy}' if proxy else 'straight'}" for host, proxy in described["proxies"].items()]
    text = ", ".join(ways) if any(described["proxies"].values()) else "none"
    return ok(f"{text}; trusted certificates: {described['certificates']}")


# -- names ----------------------------------------------------------------------------------------------------------


def check_name(name: str, *, is_public: bool, limit_s: float = LOOKUP_LIMIT_S) -> Finding:
    """Look a name up as a stream does; `is_public`: no address of this machine is right."""
    begun_s = time.monotonic()
    try:
        with Deadline(limit_s) as deadline:
            found = look_up(name, 0, deadline)
    except DeadlineError:
        return unreachable(f"no answer within {limit_s:g} s", RESOLVER)
    except socket.gaierror as error:
        return unreachable(*_explain_lookup(name, error))
    except OSError as error:
        return unreachable(f"cannot be looked up: {error}", RESOLVER)
    addresses = list(dict.fromkeys(address[0] for _, address in found))
    if not addresses:
        return unreachable(f"the resolver has no address of the name {name}", RESOLVER)
    if is_public and all(map(_is_sinkhole, addresses)):
        cure = "take another resolver (such as 1.1.1.1), or a proxy (HTTPS_PROXY); look into /etc/hosts"
        return unreachable(f"is {addresses[0]} by this resolver, which blocks the exchange", cure)
    more = f" and {len(addresses) - 1} more" if len(addresses) > 1 else ""
    return ok(f"{addresses[0]}{more}, in {1000 * (time.monotonic() - begun_s):.0f} ms")


def _explain_lookup(name: str, error: socket.gaierror) -> tuple[str, str]:
    if error.errno == socket.EAI_AGAIN:
        return "the resolver does not answer", RESOLVER
    if error.errno in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", None)):
        return f"no resolver knows the name {name}", f"see that it is spelled right where a setting has it; {RESOLVER}"
    return f"cannot be looked up: {error.strerror}", RESOLVER


def _is_sinkhole(address: str) -> bool:
    parsed = ipaddress.ip_address(address.partition("%")[0])
    return parsed.is_loopback or parsed.is_unspecified


# -- connections ----------------------------------------------------------------------------------------------------


def check_server(way: Way, limit_s: float = CONNECT_LIMIT_S) -> Finding:
    """Connect to a server, through its proxy, and shake hands where it speaks TLS."""
    begun_s, deadline = time.monotonic(), Deadline(limit_s)
    through = f" through {way.proxy}" if way.proxy else ""
    try:
        with deadline:
            issuer = _connect(way, deadline)
    except ssl.SSLCertVerificationError as error:
        return unreachable(*_explain_certificate(way, error, limit_s))
    except (OSError, ValueError) as error:  # a handshake that the deadline ended says that the other side has hung up
        return explain(DeadlineError(deadline.problem) if deadline.problem else error, f"https://{way.place}")
    return ok(f"answers in {1000 * (time.monotonic() - begun_s):.0f} ms{through}{issuer}")


def _connect(way: Way, deadline: Deadline) -> str:
    plain = open_socket(way.host, way.port, deadline, way.proxy)
    if not way.has_tls:
        plain.close()
        return ""
    certificate = _shaken(plain, way, deadline, client_context())
    return f", {_name_in(certificate['issuer'])} vouches for it"


def _shaken(plain: socket.socket, way: Way, deadline: Deadline, context: ssl.SSLContext) -> Any:
    """Shake hands over a connected socket, and close it; returns the server's certificate, in DER if unverified."""
    with context.wrap_socket(plain, server_hostname=way.host, do_handshake_on_connect=False) as sock:
        deadline.watch(sock)
        sock.settimeout(deadline.left_s())
        sock.do_handshake()
        return sock.getpeercert(context.verify_mode is ssl.CERT_NONE)


def explain(error: Exception, url: str) -> Finding:
    """The finding of a connection, or a request, to `url` that failed: what it means, the error's words, what to do."""
    problem = problem_of(error, urlsplit(url).netloc.rpartition("@")[2])
    text = problem.meaning
    if problem.pause_s:
        text += f"; the collector would leave it alone for {duration(problem.pause_s)}"
    if not (problem.status and "<" in problem.detail):  # a page for people says no more than its status
        text += f" [{problem.detail[:DETAIL_CHARACTERS]}]"
    return unreachable(text, problem.remedy)


# -- certificates ---------------------------------------------------------------------------------------------------


def _explain_certificate(way: Way, error: ssl.SSLCertVerificationError, limit_s: float) -> tuple[str, str]:
    shown = _unverified(way, limit_s)
    date = f"this machine's date is {datetime.now(UTC):%Y-%m-%d}: set it where that is wrong; else wait for a new one"
    if error.verify_code == EXPIRED:
        return f"the certificate has expired{_dated(shown, 'notAfter')}", date
    if error.verify_code == NOT_YET_VALID:
        return f"the certificate is not valid yet{_dated(shown, 'notBefore')}", date
    issuer = f" by {_name_in(shown['issuer'])}" if shown else ""
    if error.verify_code in OTHER_HOST:
        names = ", ".join(value for _, value in shown.get("subjectAltName", ())) or "another host"
        cure = "another server answers: a login page of the network, a proxy, a wrong address in /etc/hosts"
        return f"the certificate is for {names}, not {way.host}", cure
    cure = (
        "a company's proxy or a virus scanner that opens TLS does so: name its authority in SSL_CERT_FILE; "
        "where there is none, somebody listens"
    )
    return f"the certificate, issued{issuer}, is not trusted ({error.verify_message})", cure


def _unverified(way: Way, limit_s: float) -> Mapping[str, Any]:
    """What stands in the certificate that a server shows, trusted or not; nothing where it cannot be read.

    ssl reads only what it has verified: the second handshake trusts what the first one was shown.
    """
    looking = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    looking.check_hostname = False
    looking.verify_mode = ssl.CERT_NONE
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname = False
    trusting.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | NO_CHECK_TIME
    try:
        with Deadline(limit_s) as deadline:
            der = _shaken(open_socket(way.host, way.port, deadline, way.proxy), way, deadline, looking)
            trusting.load_verify_locations(cadata=der)
            shown = _shaken(open_socket(way.host, way.port, deadline, way.proxy), way, deadline, trusting)
    except (OSError, ValueError):
        return {}
    return dict(shown)


def _name_in(parts: Sequence[Sequence[tuple[str, str]]]) -> str:
    """The organisation of a distinguished name, or its common name."""
    named = {name: value for part in parts for name, value in part}
    return repr(named.get("organizationName") or named.get("commonName") or "nobody")


def _dated(certificate: Mapping[str, Any], field: str) -> str:
    return f" ({certificate[field]})" if field in certificate else ""
