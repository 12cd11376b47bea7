"""Child processes of a benchmark: started, commanded by JSON lines, ended; CPU time and memory of a process.

Every wait has a deadline. Linux only: another process's CPU clock is read as the kernel counts it, in nanoseconds.
"""

import contextlib
import json
import mmap
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple, Self

ROOT = Path(__file__).resolve().parent.parent
BENCH_PYTHON = ROOT / ".venv-bench" / "bin" / "python"  # where requirements.txt and requirements-floor.txt go
START_LIMIT_S = 30.0
STOP_LIMIT_S = 8.0  # above the collector's own stop deadline
CPUCLOCK_SCHED = 2  # of clock_getcpuclockid(3): the scheduler's count, to the nanosecond
PROGRESS_BYTES = 8
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class BenchmarkError(RuntimeError):
    """The measurement could not be made; nothing of it is worth keeping."""


class Cpu(NamedTuple):
    """CPU time of a process since its start, all threads, in seconds; user and system to a tick (10 ms) only."""

    total_s: float
    user_s: float
    system_s: float

    def since(self, before: "Cpu") -> "Cpu":
        """The CPU time between two readings."""
        return Cpu(*(now - then for now, then in zip(self, before, strict=True)))


def cpu_of(pid: int) -> Cpu:
    """Read the clocks of a living process."""
    total_s = time.clock_gettime((~pid << 3) | CPUCLOCK_SCHED)
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return Cpu(total_s, int(fields[11]) / TICKS_PER_S, int(fields[12]) / TICKS_PER_S)


def rss_mb(pid: int) -> float:
    """Resident memory of a living process, in units of 1e6 bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def make_certificate(path: Path) -> Path | None:
    """A self-signed certificate of 127.0.0.1 and its key in one PEM file; None where there is no openssl to make it."""
    openssl = shutil.which("openssl")
    if openssl is None:
        return None
    what = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=127.0.0.1"
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(path), "-out", f"{path}.crt"]
    subprocess.run([openssl, *what.split(), *names], check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + Path(f"{path}.crt").read_bytes())
    return path


def clean_environment(**values: str) -> dict[str, str]:
    """The environment of a child: the few variables it needs, and `values`: no setting of this machine's reaches it."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    kept |= {"ENV_FILE": "none", "COINS_FILE": "none"}
    return {**kept, **values}


def has_package(name: str) -> bool:
    """Whether a package is installed in .venv-bench."""
    return any(BENCH_PYTHON.parent.parent.glob(f"lib/python*/site-packages/{name}"))


def open_progress(path: Path) -> mmap.mmap:
    """The eight bytes (a native int64) in which the subscriber counts its messages for the flooder."""
    with path.open("r+b") as file:
        return mmap.mmap(file.fileno(), PROGRESS_BYTES)


def make_progress(path: Path) -> Path:
    """A fresh file for `open_progress`, at zero."""
    path.write_bytes(bytes(PROGRESS_BYTES))
    return path


class Child:
    """One process; a context manager. Its stderr goes to `log_path`, and is quoted where something goes wrong."""

    def __init__(
        self, arguments: list[str], log_path: Path, cwd: Path = ROOT, python: str = sys.executable, **environment: str
    ) -> None:
        self.log_path = log_path
        self._log: IO[bytes] = log_path.open("wb")
        self._process = subprocess.Popen(
            [python, *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log,
            cwd=cwd, env=clean_environment(**{"KLINE_STORE_PATH": str(log_path.parent / "store"), **environment}),
        )  # fmt: skip
        self._inbox = b""

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def cpu(self) -> Cpu:
        """Read the CPU time so far; BenchmarkError where the process has ended."""
        if self._process.poll() is not None:
            raise BenchmarkError(f"process ended: {self.last_words()}")
        return cpu_of(self.pid)

    def ask(self, limit_s: float, **command: Any) -> dict[str, Any]:
        """Send one command and wait for its answer."""
        self.send(**command)
        return self.answer(limit_s)

    def send(self, **command: Any) -> None:
        """Send one command."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        self._process.stdin.flush()

    def answer(self, limit_s: float = START_LIMIT_S) -> dict[str, Any]:
        """The next JSON line; BenchmarkError where none comes in time."""
        assert self._process.stdout is not None
        number, deadline_s = self._process.stdout.fileno(), time.monotonic() + limit_s
        while b"\n" not in self._inbox:
            ready, _, _ = select.select([number], [], [], max(0.0, deadline_s - time.monotonic()))
            chunk = os.read(number, 65536) if ready else b""
            if not chunk:
                raise BenchmarkError(f"no answer within {limit_s} s: {self.last_words()}")
            self._inbox += chunk
        line, _, self._inbox = self._inbox.partition(b"\n")
        return dict(json.loads(line))

    def stop(self) -> None:
        """SIGTERM, then SIGKILL."""
        self._process.terminate()
        try:
            self._process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(STOP_LIMIT_S)
        for pipe in (self._process.stdin, self._process.stdout, self._log):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

    def last_words(self) -> str:
        """The end of the process's stderr."""
        return f"{self._process.args!r}: {self.log_path.read_text(errors='replace')[-2000:]}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
