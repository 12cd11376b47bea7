"""Trades: to the raw channel, and to the aggregator, which makes klines of them.

Called on stream threads; never blocks. The aggregator also learns here, in the order of the data, when the
feed came and went.
"""

from collections.abc import Callable, Sequence
from typing import Any

from callbacks.payload import Hand, PayloadCallback


class TradesCallback(PayloadCallback):
    """Payloads of `publicTrade.<SYMBOL>`: `{"topic", "type", "ts", "data": [{"T", "s", "S", "v", "p", "i", ...}]}`."""

    def __init__(self, market: str | None = None) -> None:
        super().__init__("trades", market)
        self._aggregate: Hand | None = None
        self._mark: Callable[[Any], Any] | None = None

    def take_all(self, payloads: Sequence[bytes]) -> None:
        """Hand on payloads in their order, exact bytes, to the raw channel and the aggregator. Never blocks."""
        self._publish(payloads)
        if self._aggregate is not None:
            self._aggregate(payloads)

    def mark(self, marker: Any) -> None:
        """The feed came up or went down here, between two payloads; an exchanges.contract.Marker."""
        if self._mark is not None:
            self._mark(marker)

    def bind_aggregator(self, aggregate: Hand, mark: Callable[[Any], Any]) -> None:
        """From now on give payloads and markers to the aggregator too."""
        self._aggregate, self._mark = aggregate, mark

    def unbind(self) -> None:
        """The collector is gone."""
        super().unbind()
        self._aggregate = self._mark = None


handle_trades = TradesCallback()
handle_spot_trades = TradesCallback("spot")
