"""The supervisor of the embedded server: starts one again where it died or hangs, or another collector's ended.

Has no thread: main calls `start`, `tick` and `stop`. Never takes the port of a Redis that is no embedded one, also
not while that is restarted; gives up after `ENDS_AT_MOST` ends in a row.
"""

import time
from collections.abc import Callable
from enum import Enum, auto
from pathlib import PurePath
from typing import Any
from urllib.parse import urlsplit

import redis
import structlog
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisError
from redis.retry import Retry

from consumers.redis.connection import BoundedParser, checked_handshake
from consumers.redis.embedded import (
    ANSWER_LIMIT_S,
    FOLDER_PREFIX,
    OWN_REDIS,
    STOP_LIMIT_S,
    EmbeddedServer,
    is_listening,
    is_loopback,
)
from consumers.redis.options import EmbeddedOptions

log = structlog.get_logger()

PAUSES_S = (0.0, 1.0, 2.0, 4.0, 8.0)  # before it is started again, by how often in a row it ended
ENDS_AT_MOST = len(PAUSES_S)
SHUT_DOWN_PAUSE_S = 10.0  # after an orderly end: who shut it down may want the port, for a server of the machine's own
STABLE_S = 60.0  # one that ran for so long ended for a new reason
LOOK_OWN_S, LOOK_SHARED_S = 5.0, 1.0  # how often ours is pinged; how often another's port is looked at
HUNG_S = 15.0  # without an answer for so long it is killed: no command of ours takes a second


class State(Enum):
    """Whose server is at the address."""

    OURS = auto()
    STARTING = auto()  # ours, begun
    WAITING = auto()  # there is none, until the next start
    SHARED = auto()  # another collector's embedded one
    FOREIGN = auto()  # one that is not embedded: not ours to look after, nor to replace


class EmbeddedSupervisor:
    """The supervisor of one address: who serves it, and when a server is started there.

    `find_config()` gives the path of that server's configuration, empty where it has none, None where there is none.
    """

    def __init__(
        self,
        server: EmbeddedServer,
        find_config: Callable[[], str | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._server, self._find_config, self._clock = server, find_config, clock
        self.state = State.WAITING
        self._ends = 0
        self._begun_s = self._due_s = self._look_s = self._answered_s = 0.0

    def start(self) -> bool:
        """Find out who serves the address, and start a server where there is none; True for ours, which is empty.

        Blocks for seconds at most; raises RuntimeError where it cannot start.
        """
        self._identify()
        if self.state is State.WAITING:
            self._begun_s = self._clock()
            if self._server.start():
                self._set_ours()
            else:
                self._identify()
        return self.state is State.OURS

    def tick(self) -> bool:
        """Keep the server running, without waiting for it; False where that cannot be."""
        now_s = self._clock()
        if self.state is State.OURS:
            self._check_ours(now_s)
        elif self.state is State.STARTING:
            self._check_start()
        elif self.state is State.SHARED and now_s >= self._look_s:
            self._look_s = now_s + LOOK_SHARED_S
            if self._server.is_port_free:
                log.warning("embedded_server_left", remedy="its owner has ended: this process starts one in its place")
                self.state, self._due_s = State.WAITING, now_s
        if self.state is State.WAITING and now_s >= self._due_s:
            self._begin(now_s)
        return self._ends <= ENDS_AT_MOST

    def stop(self) -> None:
        """End the server where it is ours, at once where it hangs; another collector that uses it starts one."""
        self._server.stop(STOP_LIMIT_S if self._server.answers else 0.0)

    def _check_ours(self, now_s: float) -> None:
        if not self._server.is_running:
            self._ended(now_s, "ended", self._server.stop())
        elif now_s >= self._look_s:
            self._look_s = now_s + LOOK_OWN_S
            if self._server.answers:
                self._answered_s = now_s
            elif now_s - self._answered_s >= HUNG_S:
                self._server.stop(0.0)
                self._ended(now_s, f"no answer for {HUNG_S:.0f} s", None)

    def _begin(self, now_s: float) -> None:
        if not self._server.is_port_free:
            self._identify()
            return
        self._begun_s = now_s
        try:
            self._server.begin()
        except RuntimeError as error:
            self._ended(now_s, str(error), None)
        else:
            self.state = State.STARTING

    def _check_start(self) -> None:
        try:
            is_ours = self._server.is_ready()
        except RuntimeError as error:
            self._ended(self._clock(), str(error), None)
            return
        if is_ours:
            self._set_ours()
        elif is_ours is False:
            self._identify()

    def _set_ours(self) -> None:
        self.state = State.OURS
        self._answered_s = self._begun_s
        self._look_s = self._begun_s + LOOK_OWN_S

    def _ended(self, now_s: float, reason: str, code: int | None) -> None:
        """Count an end, and set when the next start is due."""
        self._ends = 1 if now_s - self._begun_s >= STABLE_S else self._ends + 1
        pause_s = PAUSES_S[min(self._ends, ENDS_AT_MOST) - 1] if code != 0 else SHUT_DOWN_PAUSE_S
        self.state, self._due_s = State.WAITING, now_s + pause_s
        if self._ends > ENDS_AT_MOST:
            log.critical("embedded_server_lost", reason=reason, code=code, ends=self._ends)
        else:
            log.error("embedded_server_ended", reason=reason, code=code, restart_in_s=pause_s, lost="what it stored")

    def _identify(self) -> None:
        """Find out who serves the address."""
        config = self._find_config()
        if config is None:
            self.state, self._due_s = State.WAITING, self._clock() + LOOK_SHARED_S
        elif FOLDER_PREFIX in PurePath(config).parent.name:
            self.state, self._look_s = State.SHARED, self._clock() + LOOK_SHARED_S
            log.warning("embedded_server_shared", config=config, remedy=OWN_REDIS)
        else:
            self.state = State.FOREIGN
            if self._begun_s:
                problem = (
                    "a server that is no embedded one has the port now, and is used; what the other one stored is lost"
                )
                log.warning("embedded_server_replaced", problem=problem)


def start_embedded(options: EmbeddedOptions | None) -> tuple[EmbeddedSupervisor | None, bool]:
    """Start the supervisor of an address that an embedded server may serve; None where `options` allow none.

    Returns also whether the server is one of ours, new and empty. Raises RuntimeError as `EmbeddedSupervisor.start`.
    """
    if options is None or not is_loopback(options.host):
        return None, False
    host, port = options.host, options.port
    server = EmbeddedServer(host, port, options.password, options.user, options.databases)
    supervisor = EmbeddedSupervisor(server, lambda: find_config(options.url, host, port))
    is_new = supervisor.start()
    return supervisor, is_new


def find_config(url: str, host: str, port: int) -> str | None:
    """Return the path of the server's configuration, empty where it has none; None where no server answers."""
    if not is_listening(host, port):
        return None
    limits: dict[str, Any] = {"socket_timeout": ANSWER_LIMIT_S, "socket_connect_timeout": ANSWER_LIMIT_S}
    limits |= {"parser_class": BoundedParser, "redis_connect_func": checked_handshake}
    try:
        any_database = urlsplit(url)._replace(path="").geturl()  # it may have fewer than the settings' one
        with redis.Redis.from_url(any_database, retry=Retry(NoBackoff(), 0), **limits) as client:
            return str(client.info("server").get("config_file", ""))
    except AuthenticationError:
        return ""
    except (redis.ConnectionError, redis.TimeoutError, OSError):
        return None
    except RedisError:
        return ""
