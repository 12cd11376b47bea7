"""A running WSS output per test."""

import base64
import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from websockets.sync.client import ClientConnection

from consumers.web.options import WebOptions
from consumers.web.server import WebServer
from consumers.worker import Worker
from tests.support.schema import connect

Serve = Callable[..., Worker]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start the output with the given options on a free port; ends it whatever happens."""
    workers: list[Worker] = []

    def start(**options: Any) -> Worker:
        consumer = WebServer(WebOptions(**{"port": 0, "user": "admin", "key": "s3cret", **options}))
        consumer.validate()
        workers.append(Worker(consumer, consumer.name))
        workers[-1].start()
        assert workers[-1].wait_settled(time.monotonic() + 5) is None
        return workers[-1]

    yield start
    for worker in workers:
        worker.begin_stop(time.monotonic() + 3)
        worker.join(time.monotonic() + 5)


def basic(text: str = "admin:s3cret") -> dict[str, str]:
    """The header of HTTP Basic."""
    return {"Authorization": f"Basic {base64.b64encode(text.encode()).decode()}"}


@contextlib.contextmanager
def opened(worker: Worker, path: str = "/", *, scheme: str = "ws", **options: Any) -> Iterator[ClientConnection]:
    """An open connection that has not logged in."""
    assert isinstance(worker.consumer, WebServer)
    url = f"{scheme}://127.0.0.1:{worker.consumer.port}{path}"
    with connect(url, **{"compression": None, "close_timeout": 1, **options}) as connection:
        yield connection


def client(worker: Worker, path: str = "/", **options: Any) -> contextlib.AbstractContextManager[ClientConnection]:
    """An open connection, logged in unless other headers are given."""
    return opened(worker, path, **{"additional_headers": basic(), **options})
