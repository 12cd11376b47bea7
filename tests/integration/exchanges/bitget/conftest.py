"""A simulated Bitget as a process, and a client of its sockets."""

import json
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.support.simulator import SimulatorProcess

LIMIT_S, RATE = 20.0, 400
SPOT, FUTURES = "SPOT", "USDT-FUTURES"


def arg(channel: str, product: str = FUTURES, name: str = "BTCUSDT") -> dict[str, str]:
    """What names a topic."""
    return {"instType": product, "channel": channel, "instId": name}


class Client:
    """One connection; a context manager."""

    def __init__(self, simulator: SimulatorProcess, version: str = "v2") -> None:
        self._opening = connect(
            f"{simulator.ws_base}/{version}/ws/public", max_size=None, ping_interval=None, close_timeout=0.5
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

    def request(self, op: str, *args: dict[str, str]) -> None:
        """Send a request."""
        self.ws.send(json.dumps({"op": op, "args": args}))

    def next(self) -> dict[str, Any]:
        """The next message, whatever it is."""
        return dict(json.loads(self.ws.recv(timeout=LIMIT_S)))

    def until_closed(self) -> Iterator[str | bytes]:
        """All that comes until the exchange ends the connection."""
        begin_s = time.monotonic()
        while time.monotonic() - begin_s < LIMIT_S:
            try:
                message = self.ws.recv(timeout=LIMIT_S)
            except ConnectionClosed:
                return
            yield message
        pytest.fail("the connection was not closed")

    def answers(self, count: int) -> list[dict[str, Any]]:
        """The next answers, in order; data are held for later."""
        return self._take(count, lambda message: "event" in message)

    def data(self, count: int, of: dict[str, str]) -> list[dict[str, Any]]:
        """The next data of a topic, in order; other messages are held for later."""
        return self._take(count, lambda message: "action" in message and message["arg"] == of)

    def _take(self, count: int, is_meant: Any) -> list[dict[str, Any]]:
        found = [message for message in self.held if is_meant(message)][:count]
        self.held = [message for message in self.held if message not in found]
        while len(found) < count:
            message = self.next()
            (found if is_meant(message) else self.held).append(message)
        return found


OPTIONS = ("--exchange", "bitget", "--rate", RATE, "--symbols", 3, "--illiquid", 0)


@pytest.fixture(scope="module")
def running() -> Iterator[SimulatorProcess]:
    """A busy market of few symbols, whose REST bears all that tests ask."""
    with SimulatorProcess(*OPTIONS, "--rest-limit", 10_000) as process:
        yield process


@pytest.fixture
def simulator(running: SimulatorProcess) -> SimulatorProcess:
    """The same one, busy again."""
    running.command("rate", rate=RATE)
    return running
