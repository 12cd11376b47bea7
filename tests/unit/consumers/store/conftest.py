"""A store in a folder of the test's own."""

from collections.abc import Callable, Iterator

import pytest

from consumers.store.store import StoreConsumer, StoreOptions
from tests.support.clock import FakeClock


@pytest.fixture
def path(tmp_path):
    return tmp_path / "store" / "bybit_linear.sqlite"


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def open_store(path, clock) -> Iterator[Callable[..., StoreConsumer]]:
    """Set up stores at `path`, with these options; all are stopped at the end."""
    opened: list[StoreConsumer] = []

    def open_one(**options: object) -> StoreConsumer:
        store = StoreConsumer(StoreOptions(**{"path": path, **options}), clock)
        store.setup()
        opened.append(store)
        return store

    yield open_one
    for store in opened:
        store.stop()


@pytest.fixture
def store(open_store) -> StoreConsumer:
    return open_store()
