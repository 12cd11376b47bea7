"""A simulated KuCoin as a process, and a client of its sockets."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

import pytest
import requests
from websockets.sync.client import ClientConnection, connect

from tests.support.simulator import SimulatorProcess

LIMIT_S = 20.0
Messages = list[dict[str, Any]]


def bullet(simulator: SimulatorProcess) -> dict[str, Any]:
    """The answer to a request for a token."""
    answer: dict[str, Any] = requests.post(f"{simulator.rest_url}/api/v1/bullet-public", timeout=LIMIT_S).json()
    assert answer["code"] == "200000"
    return dict(answer["data"])


def dialled(endpoint: str, **query: str) -> AbstractContextManager[ClientConnection]:
    """A connection that is not open yet."""
    url = f"{endpoint}?{urlencode(query)}"
    return connect(url, max_size=None, ping_interval=None, close_timeout=0.5)


class Client:
    """One connection with a token of its own, after its welcome; a context manager."""

    def __init__(self, simulator: SimulatorProcess) -> None:
        given = bullet(simulator)
        self._opening = dialled(given["instanceServers"][0]["endpoint"], token=given["token"], connectId="mine")
        self.ws: ClientConnection
        self.held: Messages = []

    def __enter__(self) -> Self:
        self.ws = self._opening.__enter__()
        assert self.read() == {"id": "mine", "type": "welcome"}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ws.close()

    def read(self) -> dict[str, Any]:
        """The next message."""
        message: dict[str, Any] = json.loads(self.ws.recv(timeout=LIMIT_S))
        return message

    def send(self, **request: object) -> None:
        """Send a message."""
        self.ws.send(json.dumps(request))

    def subscribe(self, topic: str, **more: object) -> dict[str, Any]:
        """Subscribe; returns the answer."""
        self.send(**{"id": "7", "type": "subscribe", "topic": topic, "response": True, **more})
        return self.take(1, lambda message: message["type"] != "message")[0]

    def data(self, count: int, topic: str) -> Messages:
        """The next messages of a topic, or of all topics that begin so."""
        return self.take(count, lambda message: str(message.get("topic", "")).startswith(topic))

    def take(self, count: int, is_meant: Callable[[dict[str, Any]], bool]) -> Messages:
        """The next messages of a kind, in order; others are held for later."""
        found = [message for message in self.held if is_meant(message)][:count]
        self.held = [message for message in self.held if message not in found]
        while len(found) < count:
            message = self.read()
            (found if is_meant(message) else self.held).append(message)
        return found


@pytest.fixture
def simulator() -> Iterator[SimulatorProcess]:
    """A busy market of few symbols, inverse ones too."""
    options = ("--rate", 400, "--symbols", 3, "--illiquid", 0, "--categories", "linear,spot,inverse")
    with SimulatorProcess(*options, exchange="kucoin") as process:
        yield process
