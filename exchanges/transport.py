"""One attempt of an HTTP request: the answer, or the failure as a value. Decides nothing.

Blocks the calling thread; any number of threads may call.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import HTTPError, NewConnectionError

from model.problems import Problem
from network.problems import problem_of

Timeout = tuple[float | None, float | None] | float | None


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of an HTTP server. Times are monotonic seconds, before sending and after the last byte."""

    status: int
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    sent_s: float
    back_s: float


@dataclass(frozen=True, slots=True)
class Failure:
    """No answer, and why. `was_sent` is False where the exchange cannot have seen the request."""

    text: str
    was_sent: bool
    sent_s: float
    back_s: float
    problem: Problem | None = None


Reply = Answer | Failure


def send(session: requests.Session, request: requests.Request, timeout: Timeout, clock: Callable[[], float]) -> Reply:
    """Make one attempt; never raises for what the network or the server does."""
    sent_s = clock()
    try:
        answer = session.send(session.prepare_request(request), timeout=timeout)
    except (requests.RequestException, HTTPError) as error:
        peer = urlsplit(request.url or "").netloc.rpartition("@")[2]
        return Failure(_described(error), _may_have_left(error), sent_s, clock(), problem_of(error, peer))
    return Answer(answer.status_code, answer.content, answer.headers, sent_s, clock())


def _described(error: Exception) -> str:
    """The error as text, without the request that requests attaches to it: its headers hold the key."""
    return f"{type(error).__name__}: {error}"


def _may_have_left(error: Exception) -> bool:
    """Whether the exchange can have seen the request: False only where no connection came about."""
    if isinstance(error, requests.ConnectTimeout | requests.exceptions.ProxyError):
        return False
    if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.InvalidHeader):
        return False
    cause = error.args[0] if error.args else None
    return not isinstance(getattr(cause, "reason", cause), NewConnectionError)
