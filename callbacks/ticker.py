"""Tickers: snapshots and deltas to the raw channel, untouched.

Called on stream threads; never blocks. Payloads of `tickers.<SYMBOL>`; linear and inverse send a snapshot and
then only what changed, spot sends snapshots. Who merges them learns here when the feed came and went.
"""

from collections.abc import Callable
from typing import Any

from callbacks.payload import PayloadCallback


class TickerCallback(PayloadCallback):
    """Payloads of tickers, and between them the feed's markers."""

    def __init__(self, market: str | None = None) -> None:
        super().__init__("ticker", market)
        self._mark: Callable[[Any], Any] | None = None

    def mark(self, marker: Any) -> None:
        """The feed came up or went down here, between two payloads; an exchanges.contract.Marker."""
        if self._mark is not None:
            self._mark(marker)

    def bind_mark(self, mark: Callable[[Any], Any]) -> None:
        """From now on give markers to `mark`, on the stream's thread."""
        self._mark = mark

    def unbind(self) -> None:
        """The collector is gone."""
        super().unbind()
        self._mark = None


handle_ticker = TickerCallback()
handle_spot_ticker = TickerCallback("spot")
