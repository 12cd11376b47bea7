"""Where messages come from as they are published: Redis Pub/Sub, the WebSocket output, or nowhere, which is polled.

One thread. A source is connected or it is not: `next` raises SourceLostError the moment that something may have been
missed, and whoever reads connects anew and catches up elsewhere.
"""

import contextlib
import gzip
import json
import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from .records import FeedError, need, read_json

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

CONNECT_S = 5.0
PING_S, SILENT_S = 5.0, 15.0  # without a message a ping is sent; without any answer the connection is dead
GZIP_BEGIN = b"\x1f\x8b"


class SourceLostError(Exception):
    """The source is not connected (any more); the text says why."""


class Source(Protocol):
    """Messages as they are published."""

    is_pushed: bool
    """Whether messages come; else they have to be asked for."""

    def connect(self) -> None:
        """Connect and subscribe; returns once what is published next will come. SourceLostError, FeedError."""

    def next(self, timeout_s: float) -> bytes | None:
        """Return the next message; None where none came in time. SourceLostError."""

    def close(self) -> None:
        """Close it."""


class RedisSource:
    """Channels of Redis Pub/Sub. `url`: redis://host:6379, rediss:// or unix://."""

    is_pushed = True

    def __init__(self, url: str, channels: Sequence[str]) -> None:
        self._url, self._channels = url, channels
        self._pubsub: redis.client.PubSub | None = None
        self._heard_s = self._pinged_s = 0.0

    def connect(self) -> None:
        """See Source."""
        self.close()
        try:
            client = redis.Redis.from_url(
                self._url, retry=Retry(NoBackoff(), 0), socket_connect_timeout=CONNECT_S, socket_timeout=CONNECT_S
            )
            self._pubsub = pubsub = client.pubsub()  # type: ignore[no-untyped-call]
            pubsub.subscribe(*self._channels)
            subscribed, deadline_s = 0, time.monotonic() + CONNECT_S
            while subscribed < len(self._channels):
                message = pubsub.get_message(timeout=0.2)
                subscribed += message is not None and message["type"] == "subscribe"
                if time.monotonic() > deadline_s:
                    raise SourceLostError(f"Redis at {self._shown} does not confirm the subscription")
        except (redis.RedisError, OSError) as error:
            self.close()
            raise SourceLostError(f"Redis at {self._shown}: {error}") from None
        except ValueError as error:
            raise FeedError(f"{self._shown} is no address of Redis: {error}") from None
        self._heard_s = self._pinged_s = time.monotonic()

    def next(self, timeout_s: float) -> bytes | None:
        """See Source."""
        if self._pubsub is None:
            raise SourceLostError("not connected")
        try:
            message = self._pubsub.get_message(timeout=timeout_s)
            now_s = time.monotonic()
            if message is None:
                if now_s - self._heard_s > SILENT_S:
                    raise SourceLostError(f"Redis at {self._shown} has not answered for {SILENT_S:g} s")
                if now_s - max(self._heard_s, self._pinged_s) > PING_S:
                    self._pinged_s = now_s
                    self._pubsub.ping()
                return None
        except (redis.RedisError, OSError) as error:
            self.close()
            raise SourceLostError(f"Redis at {self._shown}: {error}") from None
        self._heard_s = now_s
        return message["data"] if message["type"] == "message" else None

    def close(self) -> None:
        """See Source."""
        pubsub, self._pubsub = self._pubsub, None
        if pubsub is not None:
            pubsub.close()
            pubsub.connection_pool.disconnect()

    @property
    def _shown(self) -> str:
        return self._url.rpartition("@")[2].removeprefix("redis://")


class SocketSource:
    """The WebSocket output. `url`: ws://host:9500/; `topics` as its subscribe request has them."""

    is_pushed = True

    def __init__(self, url: str, topics: Sequence[str], headers: dict[str, str]) -> None:
        self._url, self._topics, self._headers = url, topics, headers
        self._shown = urlsplit(url).netloc.rpartition("@")[2]
        need("websockets", f"{urlsplit(url).scheme}://")
        self._socket: ClientConnection | None = None
        self._opened = contextlib.ExitStack()

    def connect(self) -> None:
        """See Source."""
        from websockets.exceptions import InvalidStatus, WebSocketException
        from websockets.sync.client import connect

        self.close()
        try:
            self._socket = socket = self._opened.enter_context(
                connect(
                    self._url,
                    additional_headers=self._headers,
                    open_timeout=CONNECT_S,
                    close_timeout=1,
                    max_size=None,
                    logger=quiet(),
                )
            )
            socket.send(json.dumps({"op": "subscribe", "args": list(self._topics)}))
            while True:
                answer = read_json(_text(socket.recv(CONNECT_S)))
                if isinstance(answer, dict) and answer.get("op") == "subscribe":
                    break
            if not answer.get("success"):
                raise FeedError(f"{self._shown}: {answer.get('error')}")
        except InvalidStatus as error:
            self.close()
            status = error.response.status_code
            if status in (401, 403):
                raise FeedError(f"{self._shown} asks for the login: Feed(..., user=..., key=...).") from None
            if status == 404:
                raise FeedError(
                    f"{self._shown} sends no envelopes: ENABLED_CONSUMERS=redis,websocket, WSS_AUTH_USER and "
                    "WSS_AUTH_KEY switch that on; Feed('http://...') needs none of it."
                ) from None
            raise SourceLostError(f"{self._shown}: {error}") from None
        except (WebSocketException, OSError, ValueError) as error:  # TimeoutError is an OSError
            self.close()
            raise SourceLostError(f"{self._shown}: {error or type(error).__name__}") from None

    def next(self, timeout_s: float) -> bytes | None:
        """See Source."""
        from websockets.exceptions import ConnectionClosed

        if self._socket is None:
            raise SourceLostError("not connected")
        try:
            return _text(self._socket.recv(timeout_s))
        except TimeoutError:
            return None
        except ConnectionClosed as error:
            self.close()
            raise SourceLostError(f"{self._shown}: {error}") from None

    def close(self) -> None:
        """See Source."""
        self._socket = None
        self._opened.close()


class NoSource:
    """No messages: what is new has to be asked for over HTTP."""

    is_pushed = False

    def connect(self) -> None:
        """See Source."""

    def next(self, timeout_s: float) -> bytes | None:
        """See Source."""
        time.sleep(timeout_s)
        return None

    def close(self) -> None:
        """See Source."""


def quiet() -> logging.Logger:
    """Return the logger of a WebSocket: what it would log is raised as well."""
    logger = logging.getLogger("feed.websocket")
    logger.setLevel(logging.CRITICAL)
    return logger


def _text(message: str | bytes) -> bytes:
    data = message.encode() if isinstance(message, str) else message
    return gzip.decompress(data) if data[:2] == GZIP_BEGIN else data
