"""A client of the sockets of a simulated Gate."""

import json
import time
from types import TracebackType
from typing import Any, Self

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.support.simulator import SimulatorProcess

LIMIT_S = 20.0
PATHS = {"spot": "/ws/v4/", "futures": "/v4/ws/usdt"}
DECIMALS = {"X-Gate-Size-Decimal": "1"}


class Client:
    """One connection to the socket of a market; a context manager."""

    def __init__(
        self, simulator: SimulatorProcess, market: str = "futures", headers: dict[str, str] = DECIMALS
    ) -> None:
        self.market = market
        self._opening = connect(
            simulator.ws_base + PATHS[market],
            additional_headers=headers,
            max_size=None,
            ping_interval=None,
            close_timeout=0.5,
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

    def request(self, channel: str, *payload: str, event: str = "subscribe", **more: Any) -> dict[str, Any]:
        """Send a request of this market; returns its answer, data before it are held."""
        return self.ask(f"{self.market}.{channel}", *payload, event=event, **more)

    def ask(self, channel: str, *payload: str, event: str = "subscribe", **more: Any) -> dict[str, Any]:
        """Send a request of any channel."""
        message = {"time": int(time.time()), "channel": channel, "event": event, "payload": payload}
        return self.send(json.dumps(message | more))

    def send(self, text: str) -> dict[str, Any]:
        """Send a text; returns its answer."""
        self.ws.send(text)
        while (message := json.loads(self.ws.recv(timeout=LIMIT_S)))["event"] in ("update", "all"):
            self.held.append(message)
        return dict(message)

    def take(self, count: int, channel: str) -> list[dict[str, Any]]:
        """The next messages of a channel, in order; others are held for later."""
        name = f"{self.market}.{channel}"
        found = [message for message in self.held if message["channel"] == name][:count]
        self.held = [message for message in self.held if message not in found]
        while len(found) < count:
            message = json.loads(self.ws.recv(timeout=LIMIT_S))
            (found if message["channel"] == name else self.held).append(message)
        return found

    def end(self) -> ConnectionClosed:
        """How the exchange ends the connection."""
        try:
            while True:
                self.ws.recv(timeout=60)
        except ConnectionClosed as end:
            return end
