"""A plain client of the simulated exchange: the `websockets` library, nothing of ours."""

import json
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from websockets.sync.client import ClientConnection, connect

RECEIVE_LIMIT_S = 10.0


class PlainClient:
    """One connection; every received text is kept in `texts`."""

    def __init__(self, url: str) -> None:
        self._open = ExitStack()
        self.socket: ClientConnection = self._open.enter_context(
            connect(url, compression=None, max_size=1 << 23, ping_interval=None, close_timeout=1)
        )
        self.texts: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection, if it has not ended yet."""
        self._open.close()

    def send(self, **request: Any) -> None:
        """One control frame."""
        self.socket.send(json.dumps(request))

    def receive(self, limit_s: float = RECEIVE_LIMIT_S) -> Any:
        """The next message, read; TimeoutError without one."""
        text = self.socket.recv(timeout=limit_s)
        assert isinstance(text, str)
        self.texts.append(text)
        return json.loads(text)

    def answer(self) -> Any:
        """The next control answer; data before it is kept in `texts`."""
        while "topic" in (message := self.receive()):
            pass
        return message

    def subscribe(self, *topics: str) -> Any:
        """Subscribe and take the answer."""
        self.send(op="subscribe", req_id="s", args=list(topics))
        return self.answer()

    def data(self, count: int) -> list[Any]:
        """The next `count` data messages."""
        found: list[Any] = []
        while len(found) < count:
            message = self.receive()
            if "topic" in message:
                found.append(message)
        return found

    def drain(self, quiet_s: float = 0.3) -> list[Any]:
        """Everything until nothing comes for a while."""
        found = []
        try:
            while True:
                found.append(self.receive(quiet_s))
        except TimeoutError:
            return found
