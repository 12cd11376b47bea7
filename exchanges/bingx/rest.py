"""BingX's REST for one market: candles, trades, the exchange's time, the symbols it lists.

Blocks the calling thread, and no longer than its limits allow. Needs no key. Documentation pages: swap and spot market
data; FAQ (limits); error codes.
"""

import functools
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import structlog

from exchanges.bingx.rest_rows import (
    SPOT_CANDLE,
    SWAP_CANDLE,
    InstrumentRow,
    TickerRow,
    rows_of,
    symbols_of,
    time_of,
    trade_of,
    turnovers_of,
)
from exchanges.candles import CandleShape, Page, page_of, read_windows
from exchanges.rest_client import Budget, RestClient, sorter_by_code
from exchanges.rest_rows import RowLog, checked_time, with_unreadable
from model.clock import now_ms
from model.intervals import DAY_MS, HOUR_MS, MINUTE_MS, MONTH, SHORTEST_MONTH_MS, WEEK_MS
from model.records import Candle, Instrument, PastTrade

URL, URL_DEMO = "https://open-api.bingx.com", "https://open-api-vst.bingx.com"

INTERVALS: Mapping[int, str] = MappingProxyType(
    {
        **{minutes * MINUTE_MS: f"{minutes}m" for minutes in (1, 3, 5, 15, 30)},
        **{hours * HOUR_MS: f"{hours}h" for hours in (1, 2, 4, 6, 8, 12)},
        DAY_MS: "1d",
        WEEK_MS: "1w",
        MONTH: "1M",
    }
)
"""Step in ms (model.intervals) -> BingX's name. 3d is left out: from which day it counts is not known."""

REQUESTS, WINDOW_S = 160, 10.0  # of 500 in 10 s and 1,000 in a minute, for an address and all market data
BUDGET = Budget(REQUESTS, WINDOW_S, "market data")
TIME = "/openApi/swap/v2/server/time"  # the address is one for both markets

ONLINE, PRE_ONLINE = 1, 5  # status of an instrument; 0 off, 25 paused

LIMITED = frozenset({"100410", "109429"})
TEMPORARY = frozenset({"80012", "100500", "100503", "109500"})  # unavailable, busy, internal errors
FINAL = frozenset({"100202", "100204", "100400", "100404", "109400", "109415", "109425"})

log = structlog.get_logger()


@dataclass(frozen=True)
class ApiSpec:
    """The paths of a market, how many rows an answer has at most, and how a candle looks."""

    candles: str
    candles_page: int
    candle: CandleShape
    trades: str
    trades_page: int
    instruments: str
    tickers: str


APIS: Mapping[str, ApiSpec] = MappingProxyType(
    {
        "linear": ApiSpec(
            *("/openApi/swap/v3/quote/klines", 1440, SWAP_CANDLE),
            *("/openApi/swap/v2/quote/trades", 1000),
            *("/openApi/swap/v2/quote/contracts", "/openApi/swap/v2/quote/ticker"),
        ),
        "spot": ApiSpec(
            *("/openApi/spot/v2/market/kline", 1000, SPOT_CANDLE),
            *("/openApi/spot/v1/market/trades", 500),
            *("/openApi/spot/v1/common/symbols", "/openApi/spot/v1/ticker/24hr"),
        ),
    }
)


sort_answer = sorter_by_code("0", limited=LIMITED, temporary=TEMPORARY, final=FINAL)


class BingxRest:
    """Reads of one market (spot, linear): model.ports.MarketHistory and Listing.

    Thread safe. Nothing is opened before the first request. Setting `stop` ends every wait with HistoryError.
    """

    def __init__(
        self,
        market: str,
        *,
        stop: threading.Event,
        url: str = URL,
        wall_ms: Callable[[], int] = now_ms,
        **client: Any,
    ) -> None:
        """`client`: more arguments of RestClient. `wall_ms`: spot's tickers want the time of the request."""
        self.market = market
        self.candle_steps_ms: Sequence[int] = tuple(INTERVALS)
        self._api, self._wall_ms = APIS[market], wall_ms
        self._client = RestClient(url, budgets={BUDGET.key: BUDGET}, sort=sort_answer, stop=stop, **client)
        self.url = self._client.url
        self._row_log = RowLog(log, market)

    def close(self) -> None:
        """Close the kept connections."""
        self._client.close()

    def server_time_ms(self) -> int:
        """The exchange's clock; raises HistoryError."""
        return checked_time(self._client.get(TIME, budget=BUDGET.key, read=time_of), f"GET {TIME}")

    def candles(self, symbol: str, step_ms: int, start_ms: int, end_ms: int) -> list[Candle]:
        """Candles with start_ms <= start < end_ms, oldest first, the open one included; raises HistoryError.

        A candle that BingX does not give (before listing, a row that makes no sense) is not there. Turnover of swaps
        is volume times close: they have none. ValueError for a step that BingX does not have.
        """
        if step_ms not in INTERVALS:
            raise ValueError(f"step is {step_ms!r} ms, BingX has {list(INTERVALS)}")
        read = functools.partial(self._candles, symbol, step_ms)
        return read_windows(read, self._api.candles_page, step_ms, start_ms, end_ms, f"candles of {symbol}")

    def recent_trades(self, symbol: str) -> list[PastTrade]:
        """The newest trades, oldest first, without a hole, at most 1000, of spot 500; raises HistoryError.

        None has an id. A row that makes no sense is there as an `unreadable_trade`.
        """
        rows = self._rows(self._api.trades, {"symbol": symbol, "limit": self._api.trades_page})
        trades = self._row_log.trades(rows, trade_of, self._api.trades, symbol)[::-1]
        if all(trades):
            return sorted((each for each in trades if each), key=lambda each: (each.event_ms, each.seq))
        return list(with_unreadable(trades))

    def trades_by_id(self, _symbol: str, _first_id: int, _last_id: int) -> Sequence[PastTrade]:
        """No trades: they have no ids."""
        return ()

    def listed(self, *, pre_market: bool = False) -> list[Instrument]:
        """Every symbol that trades, and with `pre_market` those before their listing; raises HistoryError.

        One whose name no stream can carry is left out and logged, and so is a row that makes no sense.
        """
        api = self._api
        states = {ONLINE, PRE_ONLINE} if pre_market else {ONLINE}
        rows = self._row_log.readable(self._rows(api.instruments, {}, symbols_of), InstrumentRow, api.instruments)
        query = {"timestamp": self._wall_ms()} if self.market == "spot" else {}
        tickers = self._row_log.readable(self._rows(api.tickers, query), TickerRow, api.tickers)
        turnovers = turnovers_of(rows, tickers)
        return self._row_log.listed(
            Instrument(row.symbol, *row.coins(), turnovers.get(row.symbol, 0.0)) for row in rows if row.status in states
        )

    def _candles(self, symbol: str, step_ms: int, first_ms: int, end_ms: int) -> Page:
        limit = min(self._api.candles_page, (end_ms - first_ms) // (step_ms or SHORTEST_MONTH_MS) + 1)
        query = {"symbol": symbol, "interval": INTERVALS[step_ms], "startTime": first_ms, "endTime": end_ms - 1}
        rows = self._rows(self._api.candles, query | {"limit": limit})
        return page_of(rows, self._api.candle, self._row_log, self._api.candles, symbol)

    def _rows(
        self, path: str, query: Mapping[str, object], read: Callable[[Any], Sequence[object]] = rows_of
    ) -> Sequence[object]:
        return self._client.get(path, query, budget=BUDGET.key, read=read)
