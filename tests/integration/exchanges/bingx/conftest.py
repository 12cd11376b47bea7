"""A simulated BingX as a process, and a plain client of its sockets."""

import gzip
import json
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import pytest
from websockets.sync.client import ClientConnection, connect

from tests.support.simulator import SimulatorProcess

LIMIT_S = 20.0
PATHS = {"linear": "/swap-market", "spot": "/market"}


class Client:
    """One connection; a context manager. `answers_pings`: with Pong, which `pings` counts either way."""

    def __init__(self, simulator: SimulatorProcess, market: str = "linear", *, answers_pings: bool = True) -> None:
        url = f"{simulator.ws_base}{PATHS[market]}"
        self._opening = connect(url, max_size=None, ping_interval=None, close_timeout=0.5)
        self._answers_pings = answers_pings
        self.ws: ClientConnection
        self.held: list[dict[str, Any]] = []
        self.pings = 0

    def __enter__(self) -> Self:
        self.ws = self._opening.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ws.close()

    def request(self, topic: object, req_id: str = "1", req_type: str = "sub") -> None:
        """Send a request of one topic."""
        self.ws.send(json.dumps({"id": req_id, "reqType": req_type, "dataType": topic}))

    def ask(self, topic: object, req_id: str = "1", req_type: str = "sub") -> dict[str, Any]:
        """Send a request; its answer."""
        self.request(topic, req_id, req_type)
        return self.take(1)[0]

    def receive(self, timeout: float = LIMIT_S) -> str:
        """The text of the next frame, which is binary and one gzip member; a ping is answered."""
        frame = self.ws.recv(timeout=timeout)
        assert isinstance(frame, bytes)
        text = gzip.decompress(frame).decode()
        if text == "Ping":
            self.pings += 1
            if self._answers_pings:
                self.ws.send("Pong")
        return text

    def receive_until_the_end(self) -> None:
        """Read until the connection ends, which raises."""
        while True:
            self.receive()

    def take(self, count: int, topic: str = "") -> list[dict[str, Any]]:
        """The next data of a topic in order, without one the next answers; others are held for later."""
        found = [message for message in self.held if _topic_of(message) == topic][:count]
        self.held = [message for message in self.held if message not in found]
        deadline_s = time.monotonic() + LIMIT_S
        while len(found) < count:
            if (text := self.receive(max(0.0, deadline_s - time.monotonic()))) != "Ping":
                message = json.loads(text)
                (found if _topic_of(message) == topic else self.held).append(message)
        return found


def _topic_of(message: dict[str, Any]) -> str:
    return str(message.get("dataType", ""))


@pytest.fixture
def simulator() -> Iterator[SimulatorProcess]:
    """A busy market of few symbols."""
    with SimulatorProcess("--rate", 400, "--symbols", 3, "--illiquid", 0, exchange="bingx") as process:
        yield process
