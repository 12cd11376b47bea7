"""Bybit's publicTrade payloads as records for outputs: every field as the exchange wrote it.

Pure; one thread. Numbers that the exchange writes as texts stay texts. Documentation page: websocket/public/trade.
"""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import msgspec

from exchanges.bybit.decode import BatchDecoder
from model.ports import Report


class TradesMessage(msgspec.Struct, gc=False):
    """A publicTrade message; `data` in the order of matching."""

    data: list[Any]


class TradeReader:
    """Turns payloads of one market into `trades` records, in stream order."""

    def __init__(self, report: Report) -> None:
        self._decode, self._report = BatchDecoder(TradesMessage, "malformed_trades", report), report

    def __call__(self, payloads: Sequence[bytes]) -> dict[str, list[dict[str, Any]]]:
        """Take payloads in their order; returns records by data type. They are the caller's."""
        records = list(chain.from_iterable(message.data for message in self._decode(payloads)))
        if any(type(record) is not dict for record in records):
            self._report("bad_trade", next(repr(r).encode() for r in records if type(r) is not dict))
            records = [record for record in records if type(record) is dict]
        return {"trades": records} if records else {}

    def mark_uncertain(self, symbols: Iterable[str] | None = None) -> None:
        """Ignore a loss: each trade stands for itself, so nothing becomes uncertain."""
