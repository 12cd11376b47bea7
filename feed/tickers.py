"""The newest ticker of each symbol, from Redis or the WebSocket output: fields as the exchange names them.

A thread of its own. Envelopes of tickers (ENABLE_TICKER_STREAM) are whole, of every exchange. Without them Bybit's own
messages are merged: what has not changed since this began is not known, so fields come by and by.
"""

import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

from .records import FeedError, UnreachableError, read_json
from .sources import Source, SourceLostError

FIRST_S = 5.0
RETRY_S = 1.0


class Tickers(Mapping[str, dict[str, Any]]):
    """The newest ticker by symbol; `unsure` while nothing comes."""

    def __init__(self, source: Source, market: str | None) -> None:
        """`market`: of envelopes those of one market are taken; None: all."""
        self._source, self._market = source, market
        self._newest: dict[str, dict[str, Any]] = {}
        self._has_come = threading.Event()
        self._is_closed = False
        self.unsure = True
        self._thread = threading.Thread(target=self._run, name="feed-tickers", daemon=True)

    def start(self, hint: str) -> None:
        """Start, and wait for the first; FeedError with `hint` where none comes."""
        try:
            self._source.connect()
        except SourceLostError as error:
            raise UnreachableError(f"{error}.") from None
        self.unsure = False
        self._thread.start()
        if not self._has_come.wait(FIRST_S):
            self.close()
            raise FeedError(f"No ticker came within {FIRST_S:g} s: {hint}")

    def close(self) -> None:
        """End the thread; does not wait."""
        self._is_closed = True

    def __getitem__(self, symbol: str) -> dict[str, Any]:
        return self._newest[symbol]

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._newest))

    __eq__ = object.__eq__  # those of one Feed are kept apart, whatever they hold
    __hash__ = object.__hash__

    def __len__(self) -> int:
        return len(self._newest)

    def _run(self) -> None:
        while not self._is_closed:
            try:
                if self.unsure:
                    self._source.connect()
                    self.unsure = False
                if (message := self._source.next(RETRY_S)) is not None:
                    self._take(message)
            except (SourceLostError, FeedError):
                self.unsure = True
                time.sleep(RETRY_S)
        self._source.close()

    def _take(self, message: bytes) -> None:
        try:
            content = read_json(message)
            if content.get("data_type") == "ticker":
                if self._market in (None, content["channel"]):
                    self._newest |= {record["symbol"]: record for record in content["data"]}
            elif str(content.get("topic", "")).startswith("tickers."):
                record = content["data"]
                known = {} if content.get("type") == "snapshot" else self._newest.get(record["symbol"], {})
                self._newest[record["symbol"]] = {**known, **record}
        except (ValueError, LookupError, TypeError, AttributeError):
            return
        if self._newest:
            self._has_come.set()
