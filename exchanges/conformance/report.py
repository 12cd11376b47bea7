"""Checks and what they found. Pure.

A check is a function whose name and first sentence say what it proves. It returns a detail, or raises Failed, or NotRun
where what it needs is not there.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Outcome = Literal["passed", "failed", "not run"]
EXAMPLES = 3


class Failed(Exception):  # noqa: N818
    """The venue does not keep to what is checked; the text says how."""


class NotRun(Exception):  # noqa: N818
    """What the check needs is not there."""


@dataclass(frozen=True)
class Result:
    """The outcome of one check of a part: declaration, protocol, recorded, simulated."""

    part: str
    name: str
    proves: str
    outcome: Outcome
    detail: str = ""

    def lines(self) -> str:
        """The result as a person reads it."""
        end = f"\n    {self.detail}" if self.detail else ""
        return f"{self.outcome:8} {self.part}: {self.name}\n    {self.proves}{end}"


def expect(is_so: object, text: str) -> None:
    """Raise Failed where something is not so."""
    if not is_so:
        raise Failed(text)


def expect_none(faults: Sequence[str], of: int, what: str) -> None:
    """Raise Failed with the first few faults, where there are any."""
    if faults:
        raise Failed(f"{len(faults)} of {of} {what}: {'; '.join(faults[:EXAMPLES])}")


def run(part: str, check: Callable[..., str], *arguments: Any) -> Result:
    """Run a check; whatever else the venue's code raises is a failure of it."""
    name = check.__name__.strip("_").replace("_", " ")
    proves = " ".join((check.__doc__ or "").partition("\n\n")[0].split())
    try:
        return Result(part, name, proves, "passed", check(*arguments))
    except NotRun as reason:
        return Result(part, name, proves, "not run", str(reason))
    except Failed as failure:
        return Result(part, name, proves, "failed", str(failure))
    except Exception as error:  # noqa: BLE001 - a venue may raise anything
        return Result(part, name, proves, "failed", f"raised {type(error).__name__}: {error}")
