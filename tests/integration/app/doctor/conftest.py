"""The checks of the doctor in this process, for settings of the environment."""

import itertools
import socket
from collections.abc import Callable, Mapping, Sequence

import pytest

from app.doctor.command import Plan
from app.doctor.findings import Finding, State, exit_code
from app.doctor.runner import Runner
from main import SUBSCRIBE

_numbers = itertools.count()


class Found(dict[str, list[Finding]]):
    """The findings of each check by its name."""

    @property
    def all(self) -> list[Finding]:
        return [finding for findings in self.values() for finding in findings]

    @property
    def code(self) -> int:
        return int(exit_code(self.all))

    def failed(self) -> dict[str, str]:
        """The texts of those that failed, by the names of their checks."""
        bad = {name: [each for each in findings if each.state is State.FAILED] for name, findings in self.items()}
        return {name: "; ".join(each.text for each in findings) for name, findings in bad.items() if findings}

    def states(self) -> dict[str, State]:
        """The state of each check's last finding."""
        return {name: findings[-1].state for name, findings in self.items()}

    def cure(self, name: str) -> str:
        """What is to be done about a check."""
        return self[name][-1].cure


Examine = Callable[..., Found]


@pytest.fixture
def hosts(monkeypatch):
    """Have every name of the domain test be this machine, and return a name that no other test has.

    What an exchange refuses counts for its host as long as the process lives.
    """
    look_up = socket.getaddrinfo

    def resolve(host, *arguments, **options):
        return look_up("127.0.0.1" if str(host).endswith(".test") else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return f"exchange{next(_numbers)}.test"


@pytest.fixture
def examine(monkeypatch, tmp_path) -> Examine:
    """Run every check for some settings, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(streams: Sequence[Mapping[str, object]] = (), limit_s: float = 30.0, **settings: object) -> Found:
        for name, value in settings.items():
            monkeypatch.setenv(name, str(value))
        entries = [dict(entry) for entry in streams]
        found = Found()
        for name, findings in Runner(Plan(entries, SUBSCRIBE).checks, limit_s).results():
            found[name] = list(findings)
        assert list(tmp_path.iterdir()) == []  # no file stays
        return found

    return run
