"""Why a peer on the network cannot be used: the cause by name, what that means and what to do. Pure.

`network/problems.py` finds the cause of an exception; `app/outages.py` logs each outage once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

NETWORK = "see that this machine has a network"
PROXY = "a proxy (HTTPS_PROXY)"
MEANINGS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "name_not_found": (
            "the name {peer} is not found",
            f"{NETWORK} and that its DNS works, or name {PROXY}",
        ),
        "no_way": ("there is no way to {peer}", f"{NETWORK}; behind a firewall, name {PROXY}"),
        "refused": (
            "{peer} refuses the connection",
            "see that the address is right and nothing on the way, such as a firewall, refuses it",
        ),
        "hung_up": (
            "{peer} closes the connection at once",
            "nothing but to wait; where it goes on, see what is on the way",
        ),
        "timed_out": ("{peer} does not answer", f"{NETWORK}; behind a firewall, name {PROXY}"),
        "certificate": (
            "the certificate of {peer} is not trusted",
            "see the clock of this machine; where a proxy opens TLS, name its certificate (SSL_CERT_FILE)",
        ),
        "tls": (
            "TLS with {peer} does not come about",
            "see what is between here and it: a proxy, a firewall, a portal",
        ),
        "proxy": (
            "the proxy on the way to {peer} does not let the connection through",
            "see HTTPS_PROXY, HTTP_PROXY and ALL_PROXY: address, user and password, and what the proxy allows",
        ),
        "not_http": (
            "what answers at {peer} is not the exchange",
            "see the address, and what is between here and it: a proxy, a firewall, a portal that wants a login",
        ),
        "open_files": ("this machine allows no more open files", "allow more: ulimit -n, LimitNOFILE=, minfds="),
        "closed": ("the connection ended", "it is opened again"),
        "silent": ("the connection went silent", "another is opened"),
        "proxy_away": (
            "the proxy on the way to {peer} cannot be reached",
            "see HTTPS_PROXY, HTTP_PROXY and ALL_PROXY, and that the proxy runs",
        ),
        "http_401": ("{peer} does not take the login", "nothing: it is repeated with a new one"),
        "http_403": (
            "{peer} refuses this address: it is banned for now, or its country is blocked",
            f"send fewer requests from it; where it goes on, use {PROXY} elsewhere, or another exchange (EXCHANGE)",
        ),
        "http_407": (
            "the proxy on the way to {peer} wants another login",
            "set user and password: HTTPS_PROXY=http://user:password@host:port",
        ),
        "http_418": (
            "{peer} has banned this address for too many requests",
            "run fewer collectors and clients behind it; it is left alone until the ban is over",
        ),
        "http_429": (
            "{peer} takes no more for now: too much came from this address",
            "run fewer collectors and clients behind it",
        ),
        "http_451": (
            "{peer} may not serve the country of this address",
            f"use {PROXY} elsewhere, or another exchange (EXCHANGE)",
        ),
        "http_5xx": (
            "{peer} has a fault or a maintenance of its own",
            "nothing but to wait; the exchange's status page may say for how long",
        ),
        "http": ("{peer} gives an answer that is none of the exchange", "see the address: WS_URL, REST_URL"),
        "function": ("its function failed", "see the traceback; it is called again"),
        "returned": ("its function returned", "it is called again"),
        "odd_answer": ("{peer} gives an answer that makes no sense", "see what is between here and it"),
    }
)
"""What a cause means, and what to do about it."""
REST = "REST "  # before a market: the name of a part that is no stream
OF_A_STREAM = frozenset({"closed", "silent", "function", "returned"})
"""Causes that concern one stream; the others keep all of a host from being reached."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why `peer`, a host, cannot be used. `detail` is the error's own text.

    `pause_s`: for how long it is left alone now. `status`: of HTTP. `meant`: what the venue says that it means.
    """

    cause: str
    peer: str = ""
    detail: str = ""
    pause_s: float | None = None
    status: int | None = None
    meant: str = ""

    @property
    def meaning(self) -> str:
        """What it means, as a clause that names the peer."""
        peer = self.peer or "the exchange"
        if self.meant:
            return f"{peer} answers HTTP {self.status}: {self.meant}"
        status = f" (HTTP {self.status})" if self.status else ""
        return MEANINGS[self.cause][0].format(peer=peer) + status

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return MEANINGS[self.cause][1]

    @property
    def is_of_stream(self) -> bool:
        """Whether it concerns one stream alone."""
        return self.cause in OF_A_STREAM


def cause_of_status(status: int) -> str:
    """Return the cause that an HTTP status stands for."""
    exact = f"http_{status}"
    return exact if exact in MEANINGS else "http_5xx" if status >= 500 else "http"


def part_of(market: str) -> str:
    """Return the name under which REST of a market is reported to an OutageSink."""
    return f"{REST}{market}"


class OutageSink(Protocol):
    """The port that takes failures of parts of the process, by their names, and that they work again. Any thread."""

    def failed(self, part: str, problem: Problem, /) -> None:
        """Record a failed attempt."""

    def works(self, part: str, /) -> None:
        """Record that an attempt succeeded; cheap where none had failed."""

    def removed(self, part: str, /) -> None:
        """Forget a part: nothing is tried any more."""


class NullOutageSink:
    """The OutageSink of parts that run alone: it drops everything."""

    def failed(self, part: str, problem: Problem, /) -> None:
        """Drop it."""

    def works(self, part: str, /) -> None:
        """Drop it."""

    def removed(self, part: str, /) -> None:
        """Drop it."""


NO_OUTAGES = NullOutageSink()
