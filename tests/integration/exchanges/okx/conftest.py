"""A simulated OKX as a process, and a client of its sockets."""

import json
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import pytest
from websockets.sync.client import ClientConnection, connect

from tests.support.simulator import SimulatorProcess

LIMIT_S = 20.0


class Client:
    """One connection; a context manager."""

    def __init__(self, simulator: SimulatorProcess, path: str = "public") -> None:
        self._opening = connect(
            f"{simulator.ws_base}/ws/v5/{path}", max_size=None, ping_interval=None, close_timeout=0.5
        )
        self.ws: ClientConnection
        self.held: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        self.ws = self._opening.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ws.close()

    def request(self, op: str, *args: dict[str, str], **more: str) -> None:
        """Send a request."""
        self.ws.send(json.dumps({**more, "op": op, "args": args}))

    def take(self, count: int, event: str | None = None, channel: str | None = None) -> list[dict[str, Any]]:
        """The next messages with an event, or of a channel, in order; others are held for later."""

        def is_meant(message: dict[str, Any]) -> bool:
            if channel is not None and "event" not in message:
                return message["arg"]["channel"] == channel
            return channel is None and (message.get("event") == event if event else "event" in message)

        found = [message for message in self.held if is_meant(message)][:count]
        self.held = [message for message in self.held if message not in found]
        while len(found) < count:
            message = json.loads(self.ws.recv(timeout=LIMIT_S))
            (found if is_meant(message) else self.held).append(message)
        return found


@pytest.fixture
def simulator() -> Iterator[SimulatorProcess]:
    """A busy market of few symbols."""
    with SimulatorProcess("--exchange", "okx", "--rate", 400, "--symbols", 3, "--illiquid", 0) as process:
        yield process
