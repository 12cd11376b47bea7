"""The limit of open files and sockets, and how many of them streams and WebSocket clients may use.

Main plans once, before streams and outputs start; the bounds are read by any thread. A new descriptor has the lowest
number that is free, so that it counts how many are open at least: a descriptor beyond a bound is given back.
"""

import contextlib
import resource
import socket
import sys

import structlog

OWN = 64  # files, Redis, REST, event loops, the embedded server: some 40 with every output on, and what users open
GROWTH = 16  # connections for symbols that are listed later

log = structlog.get_logger()


class Descriptors:
    """The bounds of descriptor numbers; none before `plan`."""

    def __init__(self) -> None:
        self.for_streams = self.for_clients = sys.maxsize
        """A connection's number is below the first, a websocket client's below the second."""

    def plan(self, streams: int, clients: int) -> None:
        """Compare what is wanted with what the system allows, and raise that where it can be raised.

        Where it does not suffice, one log line has the figures: streams have what the process leaves that it needs
        for itself, WebSocket clients what the streams leave.
        """
        with contextlib.suppress(OSError):
            socket.getaddrinfo("localhost", None)  # what the resolver loads at first use it loads while there is room
        wanted = wanted_descriptors(streams, clients)
        limit = raised_limit(wanted)
        own = min(OWN, limit // 2)
        self.for_streams = limit - own
        self.for_clients = max(0, self.for_streams - streams - GROWTH)
        if limit < wanted:
            log.warning(
                "open_files_short",
                limit=limit,
                wanted=wanted,
                streams={"wanted": streams, "at_most": min(streams, self.for_streams)},
                websocket_clients={"wanted": clients, "at_most": min(clients, max(0, self.for_clients - own))},
                remedy=remedy_for(wanted),
            )


def wanted_descriptors(streams: int, clients: int) -> int:
    """Return how many descriptors a process with so many connections and clients wants."""
    return OWN + streams + GROWTH + clients


def allowed_descriptors() -> int:
    """Return how many descriptors the limit can be raised to."""
    return _number(resource.getrlimit(resource.RLIMIT_NOFILE)[1])


def remedy_for(wanted: int) -> str:
    """Say how to allow so many descriptors."""
    return f"allow {wanted}: ulimit -n, LimitNOFILE= in a systemd unit, minfds= in supervisord.conf"


def raised_limit(wanted: int) -> int:
    """Return how many descriptors there may be, after an attempt to have `wanted`."""
    soft, hard = (_number(each) for each in resource.getrlimit(resource.RLIMIT_NOFILE))
    if soft < wanted and soft < hard:
        with contextlib.suppress(OSError, ValueError):  # macOS allows less than it reports
            _, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard_limit))
            log.info("open_files_limit_raised", before=soft, after=min(wanted, hard))
    return _number(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def _number(limit: int) -> int:
    return sys.maxsize if limit == resource.RLIM_INFINITY else limit
