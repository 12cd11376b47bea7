"""OKX's REST for one market: candles, trades, the exchange's time, the symbols it lists.

Blocks the calling thread, and no longer than its limits allow. Needs no key. Documentation pages: REST, market data
and public data; error codes.
"""

import functools
import threading
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import structlog

from exchanges.candles import OlderPages, Page, page_of, read_backward
from exchanges.contract import TradeRules
from exchanges.okx.markets import MARKETS
from exchanges.okx.rest_rows import (
    CANDLE,
    InstrumentRow,
    TickerRow,
    TimeRow,
    trade_of,
    turnovers_of,
)
from exchanges.rest_client import Budget, RestClient, sorter_by_code
from exchanges.rest_rows import RowLog, checked_time, id_of, rows_of, with_unreadable
from model.clock import now_ms
from model.intervals import DAY_MS, HOUR_MS, LONGEST_MONTH_MS, MINUTE_MS, MONTH, WEEK_MS
from model.records import Candle, Instrument, PastTrade

URL = "https://www.okx.com"
DEMO_HEADERS: Mapping[str, str] = MappingProxyType({"x-simulated-trading": "1"})  # the demo is on the same host

BARS: Mapping[int, str] = MappingProxyType(
    {
        **{minutes * MINUTE_MS: f"{minutes}m" for minutes in (1, 3, 5, 15, 30)},
        **{hours * HOUR_MS: f"{hours}H" for hours in (1, 2, 4)},
        # Without the suffix these begin at 16:00 UTC.
        6 * HOUR_MS: "6Hutc",
        12 * HOUR_MS: "12Hutc",
        DAY_MS: "1Dutc",
        WEEK_MS: "1Wutc",
        MONTH: "1Mutc",
    }
)
"""Step in ms (model.intervals) -> OKX's name."""

CANDLES, HISTORY_CANDLES = "/api/v5/market/candles", "/api/v5/market/history-candles"
TRADES, HISTORY_TRADES = "/api/v5/market/trades", "/api/v5/market/history-trades"
TICKERS, INSTRUMENTS, TIME = "/api/v5/market/tickers", "/api/v5/public/instruments", "/api/v5/public/time"
REQUESTS: Mapping[str, int] = MappingProxyType(
    {CANDLES: 40, HISTORY_CANDLES: 20, TRADES: 100, HISTORY_TRADES: 20, TICKERS: 20, INSTRUMENTS: 20, TIME: 10}
)
"""Requests that each path allows in any WINDOW_S and address."""
WINDOW_S = 2.0

CANDLES_PAGE, CANDLES_RECENT = 300, 1440  # rows per answer; bars that CANDLES has, the open one included
TRADES_PAGE, HISTORY_TRADES_PAGE = 500, 100
BY_ID = 1  # the type of HISTORY_TRADES that pages by id

LISTED = frozenset({"live", "post_only", "rebase", "settling"})  # the last three last for minutes, and are streamed
PRE_MARKET = "preopen"

LIMITED = frozenset({"50011", "50040"})
TEMPORARY = frozenset({"50001", "50004", "50013", "50026"})  # unavailable, timeout, busy, system error
FINAL = frozenset({"50005", "50014", "50015", "50024", "50025", "50039", "50047", "51000", "51001"})

log = structlog.get_logger()


sort_answer = sorter_by_code("0", limited=LIMITED, temporary=TEMPORARY, final=FINAL)


class OkxRest:
    """Reads of one market (spot, linear, inverse): model.ports.MarketHistory and Listing.

    Thread safe. Nothing is opened before the first request. Setting `stop` ends every wait with HistoryError.
    """

    def __init__(
        self,
        market: str,
        *,
        rules: TradeRules,
        stop: threading.Event,
        url: str = URL,
        testnet: bool = False,
        wall_ms: Callable[[], int] = now_ms,
        **client: Any,
    ) -> None:
        """`client`: more arguments of RestClient. `wall_ms` only chooses which of two paths is asked for a candle."""
        self.market = market
        self.candle_steps_ms: Sequence[int] = tuple(BARS)
        spec = MARKETS[market]
        self._contract, self._product, self._has_contracts = spec.contract, spec.product, spec.has_contracts
        self._counts_rpi = rules.count_rpi_trades
        self._wall_ms = wall_ms
        budgets = {path: Budget(most, WINDOW_S, path) for path, most in REQUESTS.items()}
        budgets[INSTRUMENTS] = Budget(REQUESTS[INSTRUMENTS], WINDOW_S, f"{INSTRUMENTS} {self._product}")
        headers = DEMO_HEADERS if testnet else MappingProxyType({})
        self._client = RestClient(url, budgets=budgets, sort=sort_answer, stop=stop, headers=headers, **client)
        self.url = self._client.url
        self._row_log = RowLog(log, market)

    def close(self) -> None:
        """Close the kept connections."""
        self._client.close()

    def server_time_ms(self) -> int:
        """The exchange's clock; raises HistoryError."""
        row = next(iter(self._row_log.readable(self._get(TIME), TimeRow, TIME)), None)
        return checked_time(row.ts if row else None, f"GET {TIME}")

    def candles(self, symbol: str, step_ms: int, start_ms: int, end_ms: int) -> list[Candle]:
        """Candles with start_ms <= start < end_ms, oldest first, the open one included; raises HistoryError.

        A candle that OKX does not give (before listing, a row that makes no sense) is not there. ValueError for a step
        that OKX does not have.
        """
        if step_ms not in BARS:
            raise ValueError(f"step is {step_ms!r} ms, OKX has {list(BARS)}")
        recent_ms = self._wall_ms() - CANDLES_RECENT * (step_ms or LONGEST_MONTH_MS)
        readers = [
            OlderPages(functools.partial(self._candles, path, symbol, step_ms), CANDLES_PAGE, since_ms)
            for path, since_ms in ((CANDLES, recent_ms), (HISTORY_CANDLES, 0))
        ]
        return read_backward(readers, step_ms, start_ms, end_ms, f"candles of {symbol}")

    def recent_trades(self, symbol: str) -> list[PastTrade]:
        """The newest trades, at most 500, oldest first, without a hole; raises HistoryError.

        A row that makes no sense is there as an `unreadable_trade`.
        """
        trades = self._trades(TRADES, symbol, {"instId": symbol, "limit": TRADES_PAGE})
        if all(trades):
            return sorted((each for each in trades if each), key=id_of)
        return list(with_unreadable(trades))

    def trades_by_id(self, symbol: str, first_id: int, last_id: int) -> list[PastTrade]:
        """The trades with these ids, both included, oldest first, as far as the last three months; HistoryError."""
        found: dict[int, PastTrade] = {}
        after = last_id + 1
        while after > first_id:
            most = min(HISTORY_TRADES_PAGE, after - first_id)
            query = {"instId": symbol, "type": BY_ID, "after": after, "limit": most}
            trades = [each for each in self._trades(HISTORY_TRADES, symbol, query) if each]
            older = {id_of(each): each for each in trades if id_of(each) < after}
            if not older:
                break
            found |= older
            after = min(older)
        return [found[each] for each in sorted(found) if first_id <= each <= last_id]

    def listed(self, *, pre_market: bool = False) -> list[Instrument]:
        """Every symbol that trades, and with `pre_market` those before their listing; raises HistoryError.

        One whose name no stream can carry is left out and logged, and so is a row that makes no sense. A swap without
        a contract size is listed and logged: no candles can be made of it.
        """
        query = {"instType": self._product}
        states = LISTED | {PRE_MARKET} if pre_market else LISTED
        rows = [
            row
            for row in self._row_log.readable(self._get(INSTRUMENTS, query), InstrumentRow, INSTRUMENTS)
            if row.state in states and (self._contract == "spot" or row.ctType == self._contract)
        ]
        turnovers = turnovers_of(
            self._contract, rows, self._row_log.readable(self._get(TICKERS, query), TickerRow, TICKERS)
        )
        return self._row_log.listed(
            Instrument(
                row.instId,
                *row.coins(),
                turnovers.get(row.instId, 0.0),
                contract_size=row.contract_size() if self._has_contracts else Decimal(1),
            )
            for row in rows
        )

    def _trades(self, path: str, symbol: str, query: Mapping[str, object]) -> list[PastTrade | None]:
        """The trades of one answer, oldest first; None for a row that makes no sense."""
        read = functools.partial(trade_of, counts_rpi=self._counts_rpi)
        return self._row_log.trades(self._get(path, query), read, path, symbol)[::-1]

    def _candles(self, path: str, symbol: str, step_ms: int, before_ms: int, most: int) -> Page:
        query = {"instId": symbol, "bar": BARS[step_ms], "after": before_ms, "limit": most}
        return page_of(self._get(path, query), CANDLE[self._contract], self._row_log, CANDLES, symbol)

    def _get(self, path: str, query: Mapping[str, object] = MappingProxyType({})) -> Sequence[object]:
        return self._client.get(path, query, budget=path, read=functools.partial(rows_of, name="data"))
