"""The transport: sends one request and returns the answer, or the failure as a value. Decides nothing.

Blocks the calling thread; any number of threads may call. Connections are pooled and kept by requests.
"""

import time
from collections.abc import Callable

import requests

from exchanges.bybit.client.calls import Request
from exchanges.bybit.client.connection import ConnectionManager
from exchanges.transport import Reply, send
from network.http import Session


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
        sent = requests.Request(request.method, url, headers=headers, data=request.body)
        return send(self._session, sent, self._timeout, self._clock)

    def close(self) -> None:
        """Close the kept connections; a later request opens new ones."""
        self._session.close()
