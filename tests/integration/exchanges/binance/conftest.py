"""A simulated Binance as a process, and a client of its sockets."""

import json
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import pytest
from websockets.sync.client import ClientConnection, connect

from tests.support.simulator import SimulatorProcess

LIMIT_S = 10.0


class Client:
    """One connection; a context manager. `stream` makes the name of what a message is of."""

    def __init__(self, simulator: SimulatorProcess, path: str = "public/stream") -> None:
        self._opening = connect(f"{simulator.ws_base}/{path}", max_size=None, ping_interval=None, close_timeout=0.5)
        self.ws: ClientConnection
        self.held: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        self.ws = self._opening.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ws.close()

    def request(self, method: str, *names: str, number: int | str | None = 1) -> dict[str, Any]:
        """Send a request; returns its answer, data before it are held."""
        self.ws.send(json.dumps({"method": method, "params": names, "id": number}, ensure_ascii=False))
        while True:
            message: dict[str, Any] = json.loads(self.ws.recv(timeout=LIMIT_S))
            if "result" in message or "error" in message or "code" in message:
                return message
            self.held.append(message)

    def take(self, count: int, stream: str) -> list[dict[str, Any]]:
        """The data of the next messages of a stream, in order; others are held for later."""
        found = [message["data"] for message in self.held if message.get("stream") == stream][:count]
        self.held = [message for message in self.held if message.get("stream") != stream]
        while len(found) < count:
            message = json.loads(self.ws.recv(timeout=LIMIT_S))
            if message.get("stream") == stream:
                found.append(message["data"])
            else:
                self.held.append(message)
        return found


@pytest.fixture
def simulator() -> Iterator[SimulatorProcess]:
    """A busy market of few symbols."""
    with SimulatorProcess("--exchange", "binance", "--rate", 400, "--symbols", 3, "--illiquid", 0) as process:
        yield process
