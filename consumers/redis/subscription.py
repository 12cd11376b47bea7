"""A subscription to what collectors publish, made again after every loss, for a program that shows it.

The caller's thread; starts none. Pub/Sub keeps nothing: what is published while the connection is away is lost to it.
"""

import contextlib
import time
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, AuthenticationWrongNumberOfArgsError, NoPermissionError
from redis.retry import Retry

from consumers.redis.connection import KEEPALIVE, LOST, BoundedParser, bounded_cluster, checked_handshake
from model.pacing import Backoff

TIMEOUT_S = 5.0  # of connecting, and of a message from its first byte to its last
HEALTH_S = 15  # a silent connection is pinged after this
PAUSE_FIRST_S, PAUSE_CAP_S = 0.1, 1.0  # between attempts to connect: somebody is looking at the screen
BATCH_MOST = 5_000  # messages of one read
REFUSED = (AuthenticationError, AuthenticationWrongNumberOfArgsError, NoPermissionError)  # trying again is no use

Message = tuple[str, bytes]
"""A channel and what was published there."""


class SubscriptionRefusedError(Exception):
    """Redis answers, and refuses: a wrong password, or a user who may not do this. The text is Redis's own."""


class Subscription:
    """A subscription to `channels` of the Redis at `url`, of a cluster to their sharded ones. One thread.

    `is_up`: all channels are subscribed. `problem`: why they are not, of the last attempt; "" while they are.
    """

    def __init__(self, url: str, channels: Iterable[str], *, is_cluster: bool = False) -> None:
        self._url, self._channels, self._is_cluster = url, tuple(channels), is_cluster
        self._backoff = Backoff(PAUSE_FIRST_S, PAUSE_CAP_S, floor=0.5)
        self._client: Any = None
        self._pubsub: Any = None
        self._confirmed = 0
        self.problem = ""

    @property
    def is_up(self) -> bool:
        """Whether all channels are subscribed."""
        return self._confirmed == len(self._channels)

    def read(self, limit_s: float) -> list[Message]:
        """Return what arrives within about `limit_s` seconds; connects where there is no connection.

        Blocks for longer where connecting does. Raises SubscriptionRefusedError.
        """
        messages: list[Message] = []
        try:
            if self._pubsub is None:
                self._open()
            self._gather(messages, time.monotonic() + limit_s)
        except REFUSED as error:  # before LOST, which has some of them
            self.close()
            raise SubscriptionRefusedError(str(error)) from error
        except LOST as error:
            self.close()
            self.problem = str(error) or type(error).__name__
            time.sleep(self._backoff.next_s())
        return messages

    def close(self) -> None:
        """Close the connection; `read` opens another."""
        pubsub, client, self._pubsub, self._client, self._confirmed = self._pubsub, self._client, None, None, 0
        for each in filter(None, (pubsub, client)):
            with contextlib.suppress(*LOST):
                each.close()

    def _open(self) -> None:
        if self._is_cluster:
            self._client = bounded_cluster(self._url, TIMEOUT_S)
        else:
            self._client = redis.Redis.from_url(
                self._url,
                protocol=2,
                socket_timeout=TIMEOUT_S,
                health_check_interval=HEALTH_S,
                retry=Retry(NoBackoff(), 0),
                parser_class=BoundedParser,
                redis_connect_func=checked_handshake,
                **({} if self._url.startswith("unix:") else _TCP),
            )
        self._pubsub = self._client.pubsub()
        (self._pubsub.ssubscribe if self._is_cluster else self._pubsub.subscribe)(*self._channels)

    def _gather(self, messages: list[Message], end_s: float) -> None:
        get = self._pubsub.get_sharded_message if self._is_cluster else self._pubsub.get_message
        while len(messages) < BATCH_MOST:
            left_s = end_s - time.monotonic()
            message = get(timeout=max(0.0, left_s))
            if message is None:
                if left_s <= 0:
                    return
            elif message["type"] in ("message", "smessage"):
                messages.append((message["channel"].decode(), message["data"]))
                if left_s <= 0:
                    return
            elif message["type"] in ("subscribe", "ssubscribe"):
                self._confirmed += 1
                if self.is_up:
                    self.problem = ""
                    self._backoff.reset()


_TCP = {"socket_connect_timeout": TIMEOUT_S, "socket_keepalive": KEEPALIVE}


def address_of(url: str) -> str:
    """Return host and port, or the path, of a Redis URL: without its password."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname
    return f"{host}:{parts.port or 6379}" if host else parts.path
