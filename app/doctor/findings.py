"""What a check is and what it finds. Pure; the standard library alone, for packages may be missing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from app.exits import Exit


class State(StrEnum):
    """The state of a finding; SKIPPED: what it needs has failed."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Finding:
    """One line of the list. `cure` says what to do; `code` is the exit code of a failed one."""

    state: State
    text: str
    cure: str = ""
    code: Exit = Exit.ASKED

    @property
    def is_passed(self) -> bool:
        """Whether what needs this can be checked."""
        return self.state in (State.OK, State.WARNING)


@dataclass(frozen=True, eq=False)
class Check:
    """A check: a function that may block; what it raises is a finding.

    `needs`: checks whose failure skips this one; `after`: those that it only waits for. `cure`: where it does not end.
    """

    name: str
    run: Callable[[], Finding | Sequence[Finding]]
    cure: str
    needs: Sequence["Check"] = ()
    after: Sequence["Check"] = ()


def ok(text: str) -> Finding:
    """Make the finding of what is as it should be."""
    return Finding(State.OK, text)


def warning(text: str, cure: str) -> Finding:
    """Make the finding of what works, but hardly as meant."""
    return Finding(State.WARNING, text, cure)


def wrong(text: str, cure: str) -> Finding:
    """Make the finding of what somebody has to change here: a restart does not help."""
    return Finding(State.FAILED, text, cure, Exit.SETTINGS)


def unreachable(text: str, cure: str) -> Finding:
    """Make the finding of what is outside of this machine, or of this program, and cannot be used now."""
    return Finding(State.FAILED, text, cure, Exit.OUTPUT_UNREACHABLE)


def exit_code(findings: Sequence[Finding]) -> Exit:
    """Return the exit code of a list: what a restart does not help comes first."""
    codes = {finding.code for finding in findings if finding.state is State.FAILED}
    return next((code for code in (Exit.SETTINGS, Exit.OUTPUT_UNREACHABLE) if code in codes), Exit.ASKED)
