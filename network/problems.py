"""The problem that an exception of a connection stands for: of streams, of REST over requests, of proxies. Pure."""

import errno
import socket
import ssl
from collections.abc import Iterator

import requests
import socks
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, ReadTimeoutError
from urllib3.exceptions import ProxyError as PoolProxyError

from model.problems import MEANINGS, Problem
from network.proxies import ProxyAddressError
from network.sockets import HeadClosedError, HeadError, ProxyRefusedError, ProxyUnreachableError

NO_WAY = frozenset({errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTUNREACH, errno.EHOSTDOWN, errno.EADDRNOTAVAIL})
OPEN_FILES = frozenset({errno.EMFILE, errno.ENFILE})
DEPTH_MOST = 12  # of errors that others were raised from; some refer to each other

PROXY_ERRORS = (
    ProxyUnreachableError,
    ProxyAddressError,
    ProxyRefusedError,
    socks.ProxyError,
    requests.exceptions.ProxyError,
    PoolProxyError,
)
TIMEOUTS = (TimeoutError, ConnectTimeoutError, ReadTimeoutError, requests.Timeout)


def problem_of(error: BaseException, peer: str = "") -> Problem:
    """Return why a connection to `peer` failed; an error of ours may carry its `problem`, or its `cause` by name."""
    chain = list(_chain(error))
    for each in chain:
        if isinstance(found := getattr(each, "problem", None), Problem):
            return found
        if (cause := str(getattr(each, "cause", ""))) in MEANINGS:
            return Problem(cause, peer, str(each))
    of_system = [
        each for each in chain if isinstance(each, OSError) and not isinstance(each, requests.RequestException)
    ]
    inner = of_system[-1] if of_system else error
    return Problem(_cause_of(chain), peer, f"{type(inner).__name__}: {inner}")


def _cause_of(chain: list[BaseException]) -> str:
    def has(errors: tuple[type[BaseException], ...]) -> bool:
        return any(isinstance(each, errors) for each in chain)

    if has(PROXY_ERRORS) and has((socket.gaierror, ConnectionRefusedError)):
        return "proxy_away"
    for errors, cause in (
        (PROXY_ERRORS, "proxy"),
        ((socket.gaierror, NameResolutionError), "name_not_found"),
        ((ssl.SSLCertVerificationError,), "certificate"),
        ((ConnectionRefusedError,), "refused"),
        ((HeadClosedError,), "hung_up"),
        ((HeadError,), "not_http"),
        (TIMEOUTS, "timed_out"),
        ((ssl.SSLError, requests.exceptions.SSLError), "tls"),
    ):
        if has(errors):
            return cause
    numbers = {each.errno for each in chain if isinstance(each, OSError)}
    if numbers & NO_WAY:
        return "no_way"
    if numbers & OPEN_FILES:
        return "open_files"
    return "hung_up" if has((ConnectionError, requests.ConnectionError)) else "function"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and those that it was raised from, or holds, as urllib3's and requests' do."""
    waiting, seen = [error], set[int]()
    while waiting and len(seen) < DEPTH_MOST:
        each = waiting.pop(0)
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        inner = (each.__cause__, each.__context__, getattr(each, "reason", None), *each.args)
        waiting += [other for other in inner if isinstance(other, BaseException)]
