"""The transport: sends one request and returns the answer, or the failure as a value. Decides nothing.

Blocks the calling thread; any number of threads may call. Connections are pooled and kept by requests.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import requests
from urllib3.exceptions import HTTPError, NewConnectionError

from exchanges.bybit.client.connection import ConnectionManager
from exchanges.bybit.client.pybit_http import Request
from network.http import Session


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
    """No answer. `was_sent` is False where the exchange cannot have seen the request."""

    text: str
    was_sent: bool
    sent_s: float
    back_s: float


Reply = Answer | Failure


class Transport:
    """A pool of connections to one address; nothing is opened before the first request. Thread safe."""

    def __init__(
        self,
        connection: ConnectionManager,
        session: requests.Session | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`session` None: one of network.http, with the connection's bounds; raises CertificatesError."""
        self._connection, self._timeout, self._clock = connection, connection.timeout, clock
        self._session = session or Session(connection.request_limit_s, connection.pool_size, proxies=connection.proxies)

    def send(self, request: Request) -> Reply:
        """One attempt; never raises for what the network or the server does."""
        url, headers = self._connection.base_url + request.path_and_query, dict(request.headers)
        sent_s = self._clock()
        try:
            sent = requests.Request(request.method, url, headers=headers, data=request.body)
            answer = self._session.send(self._session.prepare_request(sent), timeout=self._timeout)
        except (requests.RequestException, HTTPError) as error:
            return Failure(_described(error), _may_have_left(error), sent_s, self._clock())
        return Answer(answer.status_code, answer.content, answer.headers, sent_s, self._clock())

    def close(self) -> None:
        """Close the kept connections; a later request opens new ones."""
        self._session.close()


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
