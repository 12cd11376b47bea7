"""What the tests of a process share."""

import pytest

from app import process
from tests.support.collector import collector_of


@pytest.fixture(autouse=True)
def logging_as_it_was(monkeypatch):
    """A service configures the whole process's logging; here it stays pytest's."""
    monkeypatch.setattr(process, "configure_logging", lambda *_: None)


@pytest.fixture
def make_collector():
    """`collector_of`; ends the threads that were started of what it made."""
    made = []

    def make(*arguments):
        made.append(collector_of(*arguments))
        return made[-1]

    yield make
    for collector in made:
        collector.symbols.stop()
        assert collector.streams.stop(5.0) == []
