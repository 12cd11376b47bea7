"""The dialer: takes a connect from the budget, opens a socket (proxy, TLS), upgrades it to WebSocket, sorts failures.

Runs on the stream's thread. Follows no redirect, keeps no cookie, negotiates no extension: the exchange's bytes stay as
they are.
"""

import ssl
import sys
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from urllib.parse import urlsplit

import websocket
from websockets.client import ClientProtocol
from websockets.exceptions import WebSocketException
from websockets.uri import parse_uri

from model.context import StreamContext, current
from model.problems import Problem, cause_of_status
from model.protocol import Refusal
from network.certificates import client_context
from network.deadline import Deadline
from network.problems import problem_of
from network.proxies import proxy_of
from network.sockets import ByteStream, open_socket, read_head, send_all, status_of
from streams.budget import ConnectBudget, DescriptorBudget
from streams.connection import MESSAGE_LIMIT_S, Connection
from streams.reader import Reader
from streams.tls import BulkTls

CONNECT_TIMEOUT_S = 10.0  # for all of it: name, TCP, proxy, TLS, upgrade
HTTP_SWITCHING = 101
REFUSALS: Mapping[int, Refusal] = MappingProxyType(
    {403: Refusal("this address is banned, or its country is blocked", 600.0)}
)
"""By HTTP status, where an exchange does not say what its own mean."""
PORTS = {"ws": 80, "wss": 443}


class ConnectFailedError(ConnectionError):
    """No connection could be opened: name, TCP, TLS, proxy or the upgrade failed, or took too long together."""

    def __init__(self, text: str, problem: Problem) -> None:
        super().__init__(text)
        self.problem = problem


class ConnectForbiddenError(ConnectFailedError):
    """The exchange refuses this address, by the status of its answer to the upgrade. The breaker is open."""


class UpgradeRefusedError(ConnectionError):
    """The answer to the upgrade was another status than 101."""

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status


class UpgradeError(ConnectionError):
    """The answer to the upgrade breaks RFC 6455."""

    cause = "not_http"


class Dialer:
    """Opens the connections of all streams of the process within one budget. Thread safe."""

    def __init__(
        self,
        budget: ConnectBudget,
        *,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        refusals: Mapping[int, Refusal] = MappingProxyType({}),
        headers: Mapping[str, str] = MappingProxyType({}),
        tls: ssl.SSLContext | None = None,
        reader: Reader | None = None,
        proxies: Mapping[str, str] | None = None,
        descriptors: DescriptorBudget | None = None,
        message_limit_s: float = MESSAGE_LIMIT_S,
    ) -> None:
        """`tls` replaces the environment's context, which is made once for all streams; raises CertificatesError.

        `reader` reads connections whose receivers never block; None: every stream reads on its own thread. `proxies`,
        as requests takes them, win over the environment's. `descriptors` None: no bound. `refusals`: the statuses by
        which the exchange refuses this address. `headers`: those of the handshake that the exchange asks for.
        """
        self._descriptors = descriptors or DescriptorBudget(lambda: sys.maxsize)
        self._reader = reader
        self._budget = budget
        self._timeout_s = connect_timeout_s
        self._refusals, self._headers = {**REFUSALS, **refusals}, headers
        self._tls = BulkTls(tls or client_context())
        self._proxies, self._message_limit_s = proxies, message_limit_s

    def open(self, url: str) -> Connection | None:
        """Connect to `url` within budget and timeout; None when the calling stream was stopped meanwhile.

        A model.ports.Dial. Blocks; raises ConnectFailedError, or ConnectForbiddenError after opening the breaker.
        """
        context = current()
        context.state = "waiting_for_descriptor"
        if not self._descriptors.acquire(context.stop):
            return None
        try:
            return self._open(url, context)
        finally:
            self._descriptors.release()

    def _open(self, url: str, context: StreamContext) -> Connection | None:
        parts = urlsplit(url)
        host, peer = parts.hostname or url, parts.netloc.rpartition("@")[2]
        context.state = "waiting_for_budget"
        if not self._budget.acquire(host, context.stop):
            return None
        context.state = "connecting"
        context.stats.connects += 1
        deadline = Deadline(self._timeout_s, context.stop)
        try:
            with deadline:
                ws = self._upgraded(url, deadline)
        except UpgradeRefusedError as error:
            raise self._refused(host, peer, error.status) from error
        except (OSError, ValueError) as error:
            if context.stop.is_set():
                return None
            text = f"{type(error).__name__}: {deadline.problem or error}"
            problem = problem_of(error, peer)
            cause = "timed_out" if deadline.problem else problem.cause
            raise ConnectFailedError(text, replace(problem, cause=cause, detail=text)) from error
        context.state = "connected"
        return Connection(ws, context, reader=self._reader, message_limit_s=self._message_limit_s)

    def _upgraded(self, url: str, deadline: Deadline) -> websocket.WebSocket:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or PORTS.get(parts.scheme)
        if not host or port is None:
            raise ValueError(f"{url!r} is no ws:// or wss:// address")
        plain = open_socket(host, port, deadline, proxy_of(url, self._proxies))
        try:
            plain.settimeout(deadline.left_s())
            sock = self._tls.wrap_socket(plain, server_hostname=host) if parts.scheme == "wss" else plain
            upgrade(sock, url, self._headers)
            sock.settimeout(self._timeout_s)
        except BaseException:
            plain.close()
            raise
        ws = websocket.WebSocket()
        ws.sock, ws.connected = sock, True  # type: ignore[assignment]  # has what websocket-client uses
        return ws

    def _refused(self, host: str, peer: str, status: int) -> ConnectFailedError:
        problem = Problem(cause_of_status(status), peer, f"HTTP {status} to the handshake", status=status)
        if (refusal := self._refusals.get(status)) is not None:
            self._budget.trip(host, refusal.pause_s)
            problem = replace(problem, pause_s=refusal.pause_s, meant=refusal.meaning)
            return ConnectForbiddenError(f"HTTP {status} from {host}: {refusal.meaning}", problem)
        return ConnectFailedError(f"HTTP {status} from {host}", problem)


def upgrade(sock: ByteStream, url: str, headers: Mapping[str, str] = MappingProxyType({})) -> None:
    """Upgrade a connected socket for `url` (ws, wss), within its deadline; no byte of the first frame is read.

    Raises UpgradeRefusedError, UpgradeError and what the socket does.
    """
    parts = urlsplit(url)
    origin = f"{'https' if parts.scheme == 'wss' else 'http'}://{parts.netloc.rpartition('@')[2]}"
    protocol = ClientProtocol(parse_uri(url), origin=origin)  # type: ignore[arg-type]
    request = protocol.connect()
    request.headers.update(headers)
    protocol.send_request(request)
    send_all(sock, b"".join(protocol.data_to_send()))
    head = read_head(sock)
    if (status := status_of(head)) != HTTP_SWITCHING:
        raise UpgradeRefusedError(status)
    protocol.receive_data(head)
    if protocol.handshake_exc is not None:
        raise UpgradeError(_described(protocol.handshake_exc)) from protocol.handshake_exc


def _described(error: BaseException) -> str:
    cause = error.__cause__ if isinstance(error, WebSocketException) and error.__cause__ else error
    return f"the upgrade cannot be accepted: {cause}"
