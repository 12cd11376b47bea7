"""Toy's REST: candles and trades, newest first; time; symbols with their turnover. Blocks the calling thread."""

import threading
from collections.abc import Sequence
from typing import Any

import msgspec
import structlog

from exchanges.addresses import moved
from exchanges.candles import CandleShape, OlderPages, Page, page_of, read_backward
from exchanges.contract import Endpoints
from exchanges.rest_client import Budget, RestClient
from exchanges.rest_rows import RowLog, amount_of, checked_time, past_trade, read_row, with_unreadable
from model.intervals import DAY_MS, HOUR_MS, MINUTE_MS
from model.records import Candle, Instrument, PastTrade

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
        return checked_time(self._get("/time"), "GET /time")

    def candles(self, symbol: str, step_ms: int, start_ms: int, end_ms: int) -> list[Candle]:
        """Return candles with start_ms <= start < end_ms, oldest first, the open one included."""

        def read(before_ms: int, rows: int) -> Page:
            query = {"symbol": symbol, "step": STEPS[step_ms], "end": before_ms - 1, "limit": rows}
            return page_of(self._get("/candles", **query), CandleShape(), self._rows, "/candles", symbol)

        return read_backward([OlderPages(read, PAGE)], step_ms, start_ms, end_ms, f"candles of {symbol}")

    def recent_trades(self, symbol: str) -> list[PastTrade]:
        """Return the newest trades, oldest first; none has an id."""
        rows = self._get("/trades", symbol=symbol, limit=TRADES)
        return [*with_unreadable(self._rows.trades(rows, _trade_of, "/trades", symbol)[::-1])]

    def trades_by_id(self, _symbol: str, _first_id: int, _last_id: int) -> list[PastTrade]:
        """There are no ids."""
        return []

    def listed(self, *, pre_market: bool = False) -> list[Instrument]:
        """Return every symbol."""
        return self._rows.listed(
            Instrument(row["symbol"], row["base"], row["quote"], amount_of(row["turnover"]))
            for row in self._get("/symbols")
        )

    def _get(self, path: str, **query: object) -> Any:
        return self._client.get(path, query, budget="all")


class TradeRow(msgspec.Struct):
    T: int
    p: float
    q: float


def _trade_of(row: object) -> PastTrade | None:
    raw = read_row(row, TradeRow)
    return past_trade("", raw.T, raw.p, raw.q) if raw else None
