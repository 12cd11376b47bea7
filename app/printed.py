"""What a command prints on stdout, and what becomes of it where that cannot be written.

Main thread. The collector itself prints nothing there: its log goes to stderr.
"""

import contextlib
import os
import sys
from collections.abc import Callable
from typing import Any, TextIO, cast

from app.exits import Exit


class Printed:
    """stdout for a command, with the first error of writing to it: argparse and others swallow that."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.failure: OSError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write as the stream does."""
        try:
            return self._stream.write(text)
        except OSError as error:
            self.failure = self.failure or error
            raise

    def flush(self) -> None:
        """Flush as the stream does."""
        try:
            self._stream.flush()
        except OSError as error:
            self.failure = self.failure or error
            raise

    def is_whole(self) -> bool:
        """Whether all is written, or its reader wanted no more (`| head`); else a sentence says on stderr why not."""
        if not getattr(self._stream, "closed", True):
            with contextlib.suppress(OSError):
                self.flush()
        if self.failure is None:
            return True
        with contextlib.suppress(OSError):  # what is left would fail once more at the interpreter's end
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
        if isinstance(self.failure, BrokenPipeError):
            return True
        sys.stderr.write(f"What was to be printed is not written whole: {self.failure.strerror}.\n")
        return False


def printing(command: Callable[[], int | None]) -> int | None:
    """Run a command that prints; returns its exit code, OUTPUT_UNREACHABLE where that is 0 and the text is not written.

    SystemExit, as after --help, with that code too. None, of a command that prints nothing, stays None.
    """
    printed = Printed(sys.stdout)
    try:
        with contextlib.redirect_stdout(cast("TextIO", printed)):
            code = command()
    except SystemExit as ended:
        if printed.is_whole() or ended.code:
            raise
        raise SystemExit(int(Exit.OUTPUT_UNREACHABLE)) from None
    except OSError as error:
        if error is not printed.failure:
            raise
        code = int(Exit.ASKED)
    return code if printed.is_whole() or code else int(Exit.OUTPUT_UNREACHABLE)
