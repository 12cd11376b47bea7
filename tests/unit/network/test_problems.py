"""Why a connection failed, found in what was raised."""

import errno
import socket
import ssl
from typing import Any

import pytest
import requests
import socks
from urllib3.exceptions import ConnectTimeoutError, MaxRetryError, NewConnectionError

from model.problems import Problem, cause_of_status
from network.deadline import DeadlineError
from network.problems import problem_of
from network.proxies import ProxyAddressError
from network.sockets import HeadClosedError, HeadError, ProxyRefusedError, ProxyUnreachableError
from streams.dialer import ConnectFailedError

POOL: Any = None
CONNECTION: Any = None


def raised_from(error, cause):
    error.__cause__ = cause
    return error


def of_requests(error, cause):
    """As requests raises it: urllib3's error inside, which was raised from the socket's."""
    return requests.ConnectionError(MaxRetryError(POOL, "/", raised_from(error, cause)))


REFUSED = ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
NO_NAME = socket.gaierror(-2, "Name or service not known")


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (NO_NAME, "name_not_found"),
        (REFUSED, "refused"),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), "no_way"),
        (OSError(errno.EHOSTUNREACH, "No route to host"), "no_way"),
        (OSError(errno.EMFILE, "Too many open files"), "open_files"),
        (DeadlineError("not done within 10 s"), "timed_out"),
        (ssl.SSLCertVerificationError(1, "self-signed certificate"), "certificate"),
        (ssl.SSLError(1, "wrong version number"), "tls"),
        (ssl.SSLEOFError(8, "EOF occurred"), "tls"),
        (ProxyRefusedError("HTTP 407"), "proxy"),
        (socks.GeneralProxyError("broken"), "proxy"),
        (ProxyAddressError("ALL_PROXY is ftp://..."), "proxy"),
        (raised_from(ProxyUnreachableError("the proxy"), REFUSED), "proxy_away"),
        (HeadClosedError("closed at once"), "hung_up"),
        (HeadError("no HTTP answer"), "not_http"),
        (ConnectionResetError(errno.ECONNRESET, "reset"), "hung_up"),
        (of_requests(NewConnectionError(CONNECTION, "no connection"), REFUSED), "refused"),
        (of_requests(NewConnectionError(CONNECTION, "no connection"), NO_NAME), "name_not_found"),
        (requests.ConnectTimeout(ConnectTimeoutError(None, "slow")), "timed_out"),
        (requests.ReadTimeout("slow"), "timed_out"),
        (requests.exceptions.SSLError(ssl.SSLCertVerificationError(1, "expired")), "certificate"),
        (requests.exceptions.ProxyError("407"), "proxy"),
        (raised_from(requests.exceptions.ProxyError("no connection"), REFUSED), "proxy_away"),
    ],
)
def test_the_cause_is_found_behind_whatever_wraps_it(error, cause):
    """Streams and REST name the same cause for the same thing."""
    assert problem_of(error, "host.test").cause == cause
    assert problem_of(raised_from(ConnectionError("it failed"), error), "host.test").cause == cause


def test_the_detail_is_what_the_system_said():
    """Not what libraries say about it."""
    found = problem_of(of_requests(NewConnectionError(CONNECTION, "no connection"), REFUSED), "host.test")
    assert found == Problem("refused", "host.test", "ConnectionRefusedError: [Errno 111] Connection refused")


def test_an_error_of_ours_carries_its_problem():
    """Which the one that raised it knows best."""
    known = Problem("http_451", "stream.test", status=451)
    error = ConnectFailedError("refused", known)
    assert problem_of(raised_from(ConnectionError("outer"), error)) is known


def test_errors_that_refer_to_each_other_end():
    """As exceptions that were raised while another was handled may."""
    first, second = ValueError("a"), ValueError("b")
    first.__context__, second.__context__ = second, first
    assert problem_of(first).cause == "function"


@pytest.mark.parametrize(
    ("status", "cause"), [(403, "http_403"), (451, "http_451"), (500, "http_5xx"), (503, "http_5xx"), (404, "http")]
)
def test_a_status_stands_for_a_cause(status, cause):
    """One of its own where people meet it."""
    assert cause_of_status(status) == cause
