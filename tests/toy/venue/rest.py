"""Toy's REST: candles and trades, newest first; time; symbols with their turnover. Blocks the calling thread."""

import threading
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import structlog

from exchanges.addresses import moved
from exchanges.contract import Endpoints
from exchanges.rest_client import Budget, RestClient
from exchanges.rest_rows import RowLog, amount_of, decimals_of, is_candle, is_positive, is_time
from model.intervals import DAY_MS, HOUR_MS, MINUTE_MS
from model.ports import HistoryError
from model.records import Candle, Instrument, PastTrade, unreadable_trade

from .protocol import REST, sort_answer

STEPS = {MINUTE_MS: "1m", HOUR_MS: "1h", DAY_MS: "1d"}
PAGE, TRADES = 500, 500
REQUESTS, WINDOW_S = 100, 1.0
ALL = Budget(REQUESTS, WINDOW_S, "toy")


class ToyRest:
    """Reads of spot; model.ports.MarketHistory and Listing. Thread safe."""

    def __init__(self, endpoints: Endpoints, stop: threading.Event) -> None:
        self.candle_steps_ms: Sequence[int] = tuple(STEPS)
        self._client = RestClient(moved(REST, endpoints.rest_url), budgets={"all": ALL}, sort=sort_answer, stop=stop)
        self.url, self._rows = self._client.url, RowLog(structlog.get_logger(), "spot")

    def close(self) -> None:
        """Close the kept connections."""
        self._client.close()

    def server_time_ms(self) -> int:
        """Return the exchange's clock."""
        found = self._get("/time")
        if not isinstance(found, int) or not is_time(found):
            raise HistoryError(f"GET /time: {found!r} is no time of today")
        return found

    def candles(self, symbol: str, step_ms: int, start_ms: int, end_ms: int) -> list[Candle]:
        """Return candles with start_ms <= start < end_ms, oldest first, the open one included."""
        found: dict[int, Candle] = {}
        last_ms = end_ms - 1
        while last_ms >= start_ms:
            rows = self._get("/candles", symbol=symbol, step=STEPS[step_ms], end=last_ms, limit=PAGE)
            read = [_candle_of(row) for row in rows]
            self._rows.odd([row for row, made in zip(rows, read, strict=True) if made is None], "/candles", symbol)
            found |= {each.start_ms: each for each in read if each and start_ms <= each.start_ms < end_ms}
            oldest_ms = min((each.start_ms for each in read if each), default=start_ms)
            if oldest_ms > last_ms:
                break
            last_ms = oldest_ms - 1
        return [found[start] for start in sorted(found)]

    def recent_trades(self, symbol: str) -> list[PastTrade]:
        """Return the newest trades, oldest first; none has an id."""
        rows = self._get("/trades", symbol=symbol, limit=TRADES)
        return [_trade_of(row) for row in reversed(rows)]

    def trades_by_id(self, _symbol: str, _first_id: int, _last_id: int) -> list[PastTrade]:
        """There are no ids."""
        return []

    def listed(self, *, pre_market: bool = False) -> list[Instrument]:
        """Return every symbol."""
        return [
            Instrument(row["symbol"], row["base"], row["quote"], amount_of(row["turnover"]))
            for row in self._get("/symbols")
        ]

    def _get(self, path: str, **query: object) -> Any:
        return self._client.get(path, query, budget="all")


def _candle_of(row: Sequence[object]) -> Candle | None:
    numbers = decimals_of(row)
    if numbers is None or len(numbers) != 7 or not is_candle(numbers[1:5], *numbers[5:]):
        return None
    return Candle(int(numbers[0]), *numbers[1:])


def _trade_of(row: dict[str, Any]) -> PastTrade:
    price, size = float(Decimal(row["p"])), float(Decimal(row["q"]))
    return PastTrade("", row["T"], price, size, 0) if is_positive(price, size) else unreadable_trade(row["T"])
