"""Bitget's REST for one market: candles, trades, the exchange's time, the symbols it lists.

Blocks the calling thread, and no longer than its limits allow. Needs no key. Documentation pages: spot and futures
market endpoints (Get-Candle-Data, Get-History-Candle-Data, Get-Market-Trades, Get-Tickers), REST error codes.
"""

import functools
import threading
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import structlog

from exchanges.bitget.markets import MARKETS
from exchanges.bitget.rest_rows import CODE, InstrumentRow, TickerRow, TimeRow, trade_of
from exchanges.candles import CandleShape, OlderPages, Page, page_of, read_backward
from exchanges.rest_client import Budget, RestClient, sorter_by_code
from exchanges.rest_rows import RowLog, checked_time, read_row, with_unreadable
from model.clock import now_ms
from model.intervals import DAY_MS, HOUR_MS, LONGEST_MONTH_MS, MINUTE_MS, MONTH, WEEK_MS
from model.records import Candle, Instrument, PastTrade

URL = "https://api.bitget.com"

UTC_STEPS: Mapping[int, str] = MappingProxyType(
    # Without the suffix these begin at 16:00 UTC. On which day 3Dutc begins is not known.
    {6 * HOUR_MS: "6Hutc", 12 * HOUR_MS: "12Hutc", DAY_MS: "1Dutc", WEEK_MS: "1Wutc", MONTH: "1Mutc"}
)
MINUTES = (1, 3, 5, 15, 30)
STEPS: Mapping[str, Mapping[int, str]] = MappingProxyType(
    {
        "spot": {
            **{minutes * MINUTE_MS: f"{minutes}min" for minutes in MINUTES},
            **{hours * HOUR_MS: f"{hours}h" for hours in (1, 4)},
            **UTC_STEPS,
        },
        "linear": {
            **{minutes * MINUTE_MS: f"{minutes}m" for minutes in MINUTES},
            **{hours * HOUR_MS: f"{hours}H" for hours in (1, 2, 4)},
            **UTC_STEPS,
        },
    }
)
"""By market: step in ms (model.intervals) -> Bitget's name."""
RECENT_DAYS: Mapping[int, int] = MappingProxyType(
    {15 * MINUTE_MS: 52, 30 * MINUTE_MS: 62, HOUR_MS: 83, 2 * HOUR_MS: 120, 4 * HOUR_MS: 240}
)
"""How far back the path of recent candles goes, by step; shorter ones a month, longer ones a year."""
SHORT_DAYS, LONG_DAYS = 30, 360

CANDLES, HISTORY_CANDLES, TRADES, TICKERS = "candles", "history-candles", "fills", "tickers"
FOLDERS: Mapping[str, str] = MappingProxyType({"spot": "/api/v2/spot/market/", "linear": "/api/v2/mix/market/"})
LISTINGS: Mapping[str, str] = MappingProxyType(
    {"spot": "/api/v2/spot/public/symbols", "linear": "/api/v2/mix/market/contracts"}
)
TIME = "/api/v2/public/time"
REQUESTS, SLOW_REQUESTS, WINDOW_S = 15, 8, 1.0  # of 20 and 10 a path, and 6000 a minute of all: two markets of three
CANDLES_PAGE, HISTORY_PAGE, TRADES_PAGE = 1000, 200, 100

LISTED = frozenset({"online", "normal", "maintain", "limit_open", "restrictedAPI"})  # all but the first two for a while
PRE_MARKET = frozenset({"listed", "gray"})
LIMITED = frozenset({"429", "30007"})
TEMPORARY = frozenset({"40010", "40015", "40200", "40725", "45001"})  # timeout, abnormal, upgrade, service, unknown
FINAL = frozenset({"40017", "40019", "40020", "40034", "40309", "400172", "25100"})  # parameters, symbols

log = structlog.get_logger()


sort_answer = sorter_by_code(CODE, limited=LIMITED, temporary=TEMPORARY, final=FINAL)


class BitgetRest:
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
        """`client`: more arguments of RestClient. `wall_ms` only chooses which of two paths is asked for a candle."""
        self.market = market
        self._steps = STEPS[market]
        self.candle_steps_ms: Sequence[int] = tuple(self._steps)
        self._folder, self._listing = FOLDERS[market], LISTINGS[market]
        self._market_query = {} if market == "spot" else {"productType": MARKETS[market].product}
        self._wall_ms = wall_ms
        paths = [self._folder + name for name in (CANDLES, HISTORY_CANDLES, TRADES, TICKERS)] + [self._listing]
        budgets = {path: Budget(REQUESTS, WINDOW_S, path) for path in paths}
        budgets[TIME] = Budget(SLOW_REQUESTS, WINDOW_S, TIME)
        self._client = RestClient(url, budgets=budgets, sort=sort_answer, stop=stop, **client)
        self.url = self._client.url
        self._row_log = RowLog(log, market)

    def close(self) -> None:
        """Close the kept connections."""
        self._client.close()

    def server_time_ms(self) -> int:
        """The exchange's clock; raises HistoryError."""
        row = self._client.get(TIME, budget=TIME, read=lambda body: read_row(body.get("data"), TimeRow))
        return checked_time(row.serverTime if row else None, f"GET {TIME}")

    def candles(self, symbol: str, step_ms: int, start_ms: int, end_ms: int) -> list[Candle]:
        """Candles with start_ms <= start < end_ms, oldest first, the open one included; raises HistoryError.

        A candle that Bitget does not give (before listing, a row that makes no sense) is not there. ValueError for a
        step that Bitget does not have.
        """
        if step_ms not in self._steps:
            raise ValueError(f"step is {step_ms!r} ms, Bitget has {list(self._steps)} for {self.market}")
        usual_days = SHORT_DAYS if 0 < step_ms < HOUR_MS else LONG_DAYS
        recent_ms = self._wall_ms() - RECENT_DAYS.get(step_ms, usual_days) * DAY_MS + (step_ms or LONGEST_MONTH_MS)
        readers = [
            OlderPages(functools.partial(self._candles, name, symbol, step_ms), page, since_ms)
            for name, page, since_ms in ((CANDLES, CANDLES_PAGE, recent_ms), (HISTORY_CANDLES, HISTORY_PAGE, 0))
        ]
        return read_backward(readers, step_ms, start_ms, end_ms, f"candles of {symbol}")

    def recent_trades(self, symbol: str) -> list[PastTrade]:
        """The newest trades, at most 100, oldest first, without a hole; raises HistoryError.

        A row that makes no sense is there as an `unreadable_trade`. Those of fills-history are not read: they may have
        their time in whole seconds.
        """
        rows = self._get(self._folder + TRADES, {"symbol": symbol, "limit": TRADES_PAGE})
        trades = self._row_log.trades(rows, trade_of, TRADES, symbol)[::-1]
        if all(trades):
            return sorted((each for each in trades if each), key=lambda each: each.event_ms)
        return list(with_unreadable(trades))

    def trades_by_id(self, _symbol: str, _first_id: int, _last_id: int) -> Sequence[PastTrade]:
        """Return none: ids are not consecutive."""
        return ()

    def listed(self, *, pre_market: bool = False) -> list[Instrument]:
        """Every symbol that trades, and with `pre_market` those before their listing; raises HistoryError.

        One whose name no stream can carry is left out and logged, and so is a row that makes no sense.
        """
        states = LISTED | PRE_MARKET if pre_market else LISTED
        rows = self._row_log.readable(self._get(self._listing), InstrumentRow, self._listing)
        path = self._folder + TICKERS
        tickers = {row.symbol: row for row in self._row_log.readable(self._get(path), TickerRow, path)}
        return self._row_log.listed(
            Instrument(
                row.symbol,
                row.baseCoin,
                row.quoteCoin,
                tickers[row.symbol].dollars(row.quoteCoin) if row.symbol in tickers else 0.0,
            )
            for row in rows
            if (row.status or row.symbolStatus) in states
        )

    def _candles(self, name: str, symbol: str, step_ms: int, before_ms: int, most: int) -> Page:
        query = {"symbol": symbol, "granularity": self._steps[step_ms], "endTime": before_ms, "limit": most}
        return page_of(self._get(self._folder + name, query), CandleShape(), self._row_log, name, symbol)

    def _get(self, path: str, query: Mapping[str, object] = MappingProxyType({})) -> Sequence[object]:
        return self._client.get(path, {**query, **self._market_query}, budget=path, read=_rows_of)


def _rows_of(body: Any) -> Sequence[object]:
    rows = body.get("data") if isinstance(body, dict) else None
    if not isinstance(rows, list):
        raise ValueError("it has no list of data")  # noqa: TRY004 - the client reads again what raises ValueError
    return rows
