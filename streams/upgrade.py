"""From HTTP to WebSocket: the request, and the answer held against it, within the deadline and a bound of bytes.

Follows no redirect, keeps no cookie, negotiates no extension: the exchange's bytes stay as they are.
"""

from urllib.parse import urlsplit

from websockets.client import ClientProtocol
from websockets.exceptions import WebSocketException
from websockets.uri import parse_uri

from network.sockets import Talking, read_head, send_all, status_of

SWITCHING = 101


class UpgradeRefusedError(ConnectionError):
    """The answer to the upgrade was another status than 101."""

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status


class UpgradeError(ConnectionError):
    """The answer to the upgrade breaks RFC 6455."""


def upgrade(sock: Talking, url: str) -> None:
    """Shake hands for `url` (ws, wss) on a connected socket, from which nothing of the first frame is taken.

    Raises UpgradeRefusedError, UpgradeError and what the socket does.
    """
    parts = urlsplit(url)
    origin = f"{'https' if parts.scheme == 'wss' else 'http'}://{parts.netloc.rpartition('@')[2]}"
    protocol = ClientProtocol(parse_uri(url), origin=origin)  # type: ignore[arg-type]
    protocol.send_request(protocol.connect())
    send_all(sock, b"".join(protocol.data_to_send()))
    head = read_head(sock)
    if (status := status_of(head)) != SWITCHING:
        raise UpgradeRefusedError(status)
    protocol.receive_data(head)
    if protocol.handshake_exc is not None:
        raise UpgradeError(_described(protocol.handshake_exc)) from protocol.handshake_exc


def _described(error: BaseException) -> str:
    cause = error.__cause__ if isinstance(error, WebSocketException) and error.__cause__ else error
    return f"the upgrade cannot be accepted: {cause}"
