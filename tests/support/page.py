"""A page without a browser: what the socket /live brings, kept by type."""

import contextlib
import json
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.support.waiting import wait_until

Message = dict[str, Any]


class PageClient:
    """A connection to a page's socket; a context manager. `url` is that of the page: http://127.0.0.1:9500/."""

    def __init__(self, url: str, **options: Any) -> None:
        address = url.replace("http", "ws", 1).rstrip("/") + "/live"
        self._opened = contextlib.ExitStack()
        options = {"origin": url.rstrip("/"), "max_size": None, "close_timeout": 1, **options}
        self.socket = self._opened.enter_context(connect(address, **options))
        self.messages: list[Message] = []
        self.end: tuple[int, str] | None = None
        self._thread = threading.Thread(target=self._read, name="page-client", daemon=True)
        self._thread.start()

    def send(self, **message: object) -> None:
        """Send a request."""
        self.socket.send(json.dumps(message))

    def view(self, symbol: str, interval: str = "1m", market: str = "linear") -> Message:
        """Look at something; returns the first message of its candles that history is in."""
        seen = len(self.messages)
        self.send(op="view", market=market, symbol=symbol, interval=interval)
        named = {"market": market, "symbol": symbol, "interval": interval}
        return self.wait_for("candles", lambda each: named.items() <= each.items() and not each["is_loading"], seen)

    def of(self, kind: str, since: int = 0) -> list[Message]:
        """The messages of a type, oldest first."""
        return [message for message in self.messages[since:] if message["type"] == kind]

    def wait_for(
        self, kind: str, is_it: Callable[[Message], object] = lambda _message: True, since: int = 0, limit_s: float = 20
    ) -> Message:
        """Wait for a message of a type; returns the first that is it."""
        found: list[Message] = []

        def look() -> bool:
            found[:] = [message for message in self.of(kind, since) if is_it(message)]
            return bool(found) or self.end is not None

        wait_until(look, limit_s)
        assert found, f"the connection ended: {self.end}"
        return found[0]

    def rows(self) -> dict[int, list[Any]]:
        """The candles as a page shows them now, by time."""
        shown: dict[int, list[Any]] = {}
        for message in list(self.messages):
            if message["type"] == "candles":
                shown = {row[0]: row for row in message["rows"]}
            elif message["type"] == "candle":
                shown[message["row"][0]] = message["row"]
        return shown

    def _read(self) -> None:
        try:
            for message in self.socket:
                self.messages.append(json.loads(message))
        except ConnectionClosed:
            pass
        self.end = (self.socket.close_code or 0, self.socket.close_reason or "")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close it."""
        self._opened.close()
        self._thread.join(5)
