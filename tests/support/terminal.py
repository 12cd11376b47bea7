"""A program on a terminal as a person sees it: a tmux session of its own server, whose screen is read as text."""

import contextlib
import itertools
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.programs import program
from tests.support.waiting import LIMIT_S

ROOT = Path(__file__).resolve().parents[2]
END_LIMIT_S = 15.0
POLL_S = 0.1
HISTORY_LINES = "5000"  # those that have left the screen at its top

_numbers = itertools.count()


class Terminal:
    """`command` on a terminal of a size; a context manager, at whose end the program is asked to end (SIGTERM).

    `env` is added to the environment, in which TERM is tmux's. Skips the test where tmux is absent.
    """

    def __init__(
        self,
        *command: object,
        env: Mapping[str, str] | None = None,
        cwd: Path | str = ROOT,
        columns: int = 120,
        lines: int = 40,
    ) -> None:
        self._command = [str(each) for each in command]
        self._env, self._cwd, self._size = dict(env or {}), str(cwd), ("-x", str(columns), "-y", str(lines))
        self._tmux = [program("tmux"), "-u", "-L", f"collector-{os.getpid()}-{next(_numbers)}", "-f", os.devnull]

    def __enter__(self) -> Self:
        options = {"remain-on-exit": "on", "remain-on-exit-format": "", "history-limit": HISTORY_LINES}
        settings = [word for name, value in options.items() for word in ("set-option", "-gq", name, value, ";")]
        start = ["new-session", "-d", *self._size, "-c", self._cwd, "--", *self._command]
        self._ask("start-server", ";", *settings, *start, env=os.environ | self._env)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(ProcessLookupError, AssertionError):
            if self.code is None:
                os.kill(self.pid, signal.SIGTERM)
                self.wait_for_end(END_LIMIT_S)
        self._ask("kill-server")

    @property
    def pid(self) -> int:
        """Of the program."""
        return int(self._ask("display-message", "-p", "#{pane_pid}"))

    @property
    def code(self) -> int | None:
        """The exit code of the program, of a signal as a negative number; None while it runs."""
        values = self._ask("display-message", "-p", "#{pid},#{pane_dead},#{pane_dead_status},#{pane_dead_signal}")
        server, is_dead, status, number = values.strip().split(",")
        if is_dead != "1":
            return None
        if not (status or number):  # tmux 3.3a sometimes misses the signal that its child has ended
            os.kill(int(server), signal.SIGCHLD)
            return None
        return int(status) if status else -int(number)

    def screen(self, *, colors: bool = False) -> str:
        """Return what is on the screen now, line by line, without spaces at their ends; `colors`: with its escapes."""
        return _stripped(self._ask("capture-pane", "-p", *(["-e"] if colors else [])))

    def text(self) -> str:
        """Return all that was written: what has left the screen too, and lines wider than the screen as one."""
        return _stripped(self._ask("capture-pane", "-p", "-J", "-S", "-"))

    def type(self, *keys: str) -> None:
        """Press keys, as tmux names them: "q", "C-c", "Up"; several letters are typed."""
        self._ask("send-keys", *keys)

    def resize(self, columns: int, lines: int) -> None:
        """Change the size of the terminal."""
        self._ask("resize-window", "-x", str(columns), "-y", str(lines))

    def wait_for(self, *texts: str, limit_s: float = LIMIT_S) -> str:
        """Wait until each of `texts` was written, and return all that was; fails with it after `limit_s`."""
        deadline_s = time.monotonic() + limit_s
        while lacking := [text for text in texts if text not in (found := self.text())]:
            code = self.code
            if time.monotonic() > deadline_s or (code is not None and self.text() == found):
                ended = "" if code is None else f", and the program ended with {code}"
                raise AssertionError(f"{lacking} not on the terminal within {limit_s} s{ended}:\n{found}")
            time.sleep(POLL_S)
        return found

    def wait_for_end(self, limit_s: float = LIMIT_S) -> int:
        """Wait until the program has ended, and return its exit code; fails with the text after `limit_s`."""
        deadline_s = time.monotonic() + limit_s
        while (code := self.code) is None:
            if time.monotonic() > deadline_s:
                raise AssertionError(f"not ended within {limit_s} s:\n{self.text()}")
            time.sleep(POLL_S)
        return code

    def _ask(self, *words: str, env: Mapping[str, str] | None = None) -> str:
        done = subprocess.run(
            [*self._tmux, *words], env=env, capture_output=True, text=True, check=False, timeout=END_LIMIT_S
        )
        assert done.returncode == 0, f"tmux {words}: {done.stderr}"
        return done.stdout


def _stripped(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.splitlines()).rstrip()
