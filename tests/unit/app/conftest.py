"""What the tests of a process share."""

import pytest

import main
from app import process
from exchanges.bybit.rest import BybitRest
from model.context import StreamContext, set_current
from model.ports import HistoryError
from tests.support.collector import collector_of, feed_of, idle
from tests.support.settings import settings_of


@pytest.fixture(autouse=True)
def logging_as_it_was(monkeypatch):
    """A service configures the whole process's logging; here it stays pytest's."""
    monkeypatch.setattr(process, "configure_logging", lambda *_: None)


@pytest.fixture(autouse=True)
def no_listing(monkeypatch):
    """What the exchange lists, and its time, cannot be read here: nothing goes to the network."""

    def read(*_, **__):
        raise HistoryError("no network in a unit test")

    monkeypatch.setattr(BybitRest, "listed", read)
    monkeypatch.setattr(BybitRest, "server_time_ms", read)


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


@pytest.fixture(autouse=True)
def leave_no_trace(monkeypatch):
    """Each test has a STREAMS of its own and leaves its thread without a collector."""
    monkeypatch.setattr(main, "STREAMS", [])
    yield
    set_current(None)


@pytest.fixture
def collect(make_collector, tmp_path):
    """Build a collector from settings by name, beside the entries given; not started, and this thread is a stream's.

    `run` is what its feeds do in the place of a connection.
    """

    def build(*own, run=idle, **environ):
        streams = list(own)
        plain = {"ENABLED_CONSUMERS": "redis", "ENABLE_WEB": "false", "KLINE_STORE_PATH": tmp_path / "store"}
        collector = make_collector(settings_of(**plain | environ), streams, None, feed_of(run))
        set_current(StreamContext("test", collector=collector))
        return collector, streams

    return build
