"""Binance's REST for one market: candles, trades, the exchange's time, the symbols it lists.

Blocks the calling thread, and no longer than its limits allow. Needs no key. Documentation pages: market data endpoints
and limits of spot, USD-M and COIN-M futures; error codes.
"""

import functools
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import Any, TypeVar

import structlog

from exchanges.addresses import moved
from exchanges.binance.rest_rows import (
    CANDLE,
    AggregateRow,
    InstrumentRow,
    TickerRow,
    aggregate_of,
    overlapping,
    trade_of,
    trades_of_aggregates,
    turnovers_of,
    with_uncounted,
)
from exchanges.candles import ONE, Page, page_of, read_forward
from exchanges.contract import TradeRules
from exchanges.rest_client import BANS, Budget, RestClient, Verdict, verdict_of_code, verdict_of_status
from exchanges.rest_rows import ContractSizes, RowLog, checked_time, id_of, read_row, rows_of, with_unreadable
from model.clock import now_ms
from model.intervals import DAY_MS, HOUR_MS, MINUTE_MS, MONTH, SECOND_MS, SHORTEST_MONTH_MS, WEEK_MS
from model.records import Candle, Instrument, PastTrade

INTERVALS: Mapping[int, str] = MappingProxyType(
    {
        **{minutes * MINUTE_MS: f"{minutes}m" for minutes in (1, 3, 5, 15, 30)},
        **{hours * HOUR_MS: f"{hours}h" for hours in (1, 2, 4, 6, 8, 12)},
        DAY_MS: "1d",
        WEEK_MS: "1w",
        MONTH: "1M",
    }
)
"""Step in ms (model.intervals) -> Binance's name. Where its 3d begin is not documented: it is left out."""

MINUTE_S = 60.0
SPOT_WEIGHT, FUTURES_WEIGHT = 5_400, 2_160  # 6,000 and 2,400 a minute and address; the rest is for other programs
SPAN_MOST_MS = 200 * DAY_MS  # from startTime to endTime of klines, COIN-M
TRADES_PAGE = 1000
SEARCH_MOST = 12  # pages of aggTrades that are read to find an id, each some ten times nearer

TRADING, PRE_MARKET = "TRADING", "PENDING_TRADING"

LIMITED = frozenset({-1003, -1015})
TEMPORARY = frozenset({-1000, -1001, -1006, -1007, -1008, -1016})
FINAL = frozenset(range(-1130, -1099)) | frozenset(range(-4999, -3999))  # parameters, symbols and intervals
USED_WEIGHT = "x-mbx-used-weight-1m"
_BANNED_UNTIL = re.compile(r"banned until (\d{13})")

log = structlog.get_logger()

T = TypeVar("T")


@dataclass(frozen=True)
class ApiSpec:
    """The API of one market: its hosts, the path before all others, and what klines cost. Weights by documentation."""

    host: str
    testnet: str
    path: str
    budget: Budget
    candles_page: int
    candles_weight: Callable[[int], int]
    trades_weight: int
    info_weight: int
    tickers_weight: int


def _futures_candles_weight(limit: int) -> int:
    return 1 if limit < 100 else 2 if limit < 500 else 5 if limit <= 1000 else 10


SPOT_BUDGET = Budget(SPOT_WEIGHT, MINUTE_S, "binance spot")
FUTURES_BUDGET = Budget(FUTURES_WEIGHT, MINUTE_S, "binance futures")  # of both since 2026-06-30
APIS: Mapping[str, ApiSpec] = MappingProxyType(
    {
        "spot": ApiSpec(
            *("https://api.binance.com", "https://testnet.binance.vision", "/api/v3/", SPOT_BUDGET, 1000),
            *(lambda _limit: 2, 25, 20, 80),
        ),
        "linear": ApiSpec(
            *("https://fapi.binance.com", "https://testnet.binancefuture.com", "/fapi/v1/", FUTURES_BUDGET, 1500),
            *(_futures_candles_weight, 5, 1, 40),
        ),
        "inverse": ApiSpec(
            *("https://dapi.binance.com", "https://testnet.binancefuture.com", "/dapi/v1/", FUTURES_BUDGET, 1500),
            *(_futures_candles_weight, 5, 1, 40),
        ),
    }
)
AGGREGATES_WEIGHT = 20


def sort_answer(status: int, headers: Mapping[str, str], body: Any) -> Verdict:
    """What an answer is: by its status, then by the code of an error."""
    used = int(text) if (text := headers.get(USED_WEIGHT, "")).isdecimal() else None
    code = read_row(body.get("code"), int) if isinstance(body, dict) else None
    text = f"{code} {body.get('msg') or ''}".strip() if code is not None else ""
    if status in BANS:
        until = _BANNED_UNTIL.search(text)
        retry_s = (int(until[1]) - now_ms()) / 1000 if until and "retry-after" not in headers else None
        return Verdict("banned", text, max(0.0, retry_s) if retry_s is not None else None, used)
    if status == 429 or code in LIMITED:
        return Verdict("limited", text, used=used)
    if code is None or (code >= 0 and status == 200):
        return Verdict("ok", used=used) if status == 200 else verdict_of_status(status)
    if status >= 500:
        return Verdict("temporary", text, used=used)
    return verdict_of_code(status, code, text, temporary=TEMPORARY, final=FINAL, used=used)


class BinanceRest:
    """Reads of one market (spot, linear, inverse): model.ports.MarketHistory and Listing.

    Thread safe. Nothing is opened before the first request. Setting `stop` ends every wait with HistoryError.
    """

    def __init__(
        self,
        market: str,
        *,
        rules: TradeRules,
        stop: threading.Event,
        rest_url: str | None = None,
        testnet: bool = False,
        **client: Any,
    ) -> None:
        """`rest_url` (scheme, host, port) replaces the exchange's own; `client`: more arguments of RestClient."""
        self.market = market
        self._api = APIS[market]
        self._intervals = {SECOND_MS: "1s", **INTERVALS} if market == "spot" else INTERVALS
        self.candle_steps_ms: Sequence[int] = tuple(self._intervals)
        self._counts_rpi = rules.count_rpi_trades
        url = moved(self._api.testnet if testnet else self._api.host, rest_url)
        budget = self._api.budget
        self._client = RestClient(url, budgets={budget.key: budget}, sort=sort_answer, stop=stop, **client)
        self.url = self._client.url
        self._sizes = ContractSizes(lambda: {row.symbol: row.contract_size for row in self._instruments()})
        self._row_log = RowLog(log, market)

    def close(self) -> None:
        """Close the kept connections."""
        self._client.close()

    def server_time_ms(self) -> int:
        """The exchange's clock; raises HistoryError."""
        body = self._client.get(f"{self._api.path}time", budget=self._api.budget.key)
        time_ms = read_row(body.get("serverTime"), int) if isinstance(body, dict) else None
        return checked_time(time_ms, f"GET {self._api.path}time")

    def candles(self, symbol: str, step_ms: int, start_ms: int, end_ms: int) -> list[Candle]:
        """Candles with start_ms <= start < end_ms, oldest first, the open one included; raises HistoryError.

        A candle that Binance does not give (before listing, a row that makes no sense) is not there. ValueError for a
        step that Binance does not have.
        """
        if step_ms not in self._intervals:
            raise ValueError(f"step is {step_ms!r} ms, Binance {self.market} has {list(self._intervals)}")
        if start_ms >= end_ms:
            return []
        contract_size = self._sizes.of(symbol) if self.market == "inverse" else ONE
        read = functools.partial(self._candles, symbol, step_ms, contract_size)
        span_ms = SPAN_MOST_MS if self.market == "inverse" else None
        what = f"klines of {symbol}"
        return read_forward(read, self._api.candles_page, step_ms, start_ms, end_ms, what, span_ms)

    def recent_trades(self, symbol: str) -> list[PastTrade]:
        """The newest trades, at most 1000, oldest first, without a hole; raises HistoryError.

        A row that makes no sense is there as an `unreadable_trade`.
        """
        return self._trades("trades", symbol)

    def trades_by_id(self, symbol: str, first_id: int, last_id: int) -> list[PastTrade]:
        """The trades that have these ids, both ends included, oldest first; raises HistoryError.

        Of futures the newest 1000 are single matches. Older ones are aggregates: they may reach beyond both ends, and
        go back 48 hours (COIN-M 24).
        """
        if self.market == "spot":
            return self._single_by_id(symbol, first_id, last_id)
        recent = [each for each in self._trades("trades", symbol) if isinstance(each.trade_id, int)]
        if recent and id_of(recent[0]) <= first_id:
            return overlapping(recent, first_id, last_id)
        return self._aggregates_by_id(symbol, first_id, last_id)

    def listed(self, *, pre_market: bool = False) -> list[Instrument]:
        """Every symbol that trades, and with `pre_market` those before their listing; raises HistoryError.

        One whose name no stream can carry is left out and logged, and so is a row that makes no sense. A COIN-M symbol
        without a contract size is listed and logged: no candles can be made of it.
        """
        states = {TRADING, PRE_MARKET} if pre_market else {TRADING}
        rows = [row for row in self._instruments() if row.state in states and row.isSpotTradingAllowed]
        kind = {"type": "MINI"} if self.market == "spot" else {}
        tickers = self._rows("ticker/24hr", kind, self._api.tickers_weight)
        turnovers = turnovers_of(self.market, rows, self._row_log.readable(tickers, TickerRow, "ticker/24hr"))
        is_inverse = self.market == "inverse"
        return self._row_log.listed(
            Instrument(
                row.symbol,
                row.baseAsset,
                row.quoteAsset,
                turnovers.get(row.symbol, 0.0),
                is_dated=row.is_dated,
                contract_size=row.contract_size if is_inverse else ONE,
            )
            for row in rows
        )

    # -- candles -------------------------------------------------------------------------------------------------

    def _candles(self, symbol: str, step_ms: int, contract_size: Decimal, first_ms: int, end_ms: int) -> Page:
        limit = min(self._api.candles_page, (end_ms - first_ms) // (step_ms or SHORTEST_MONTH_MS) + 1)
        query = {"symbol": symbol, "interval": self._intervals[step_ms], "startTime": first_ms, "endTime": end_ms - 1}
        rows = self._rows("klines", query | {"limit": limit}, self._api.candles_weight(limit))
        return page_of(rows, CANDLE, self._row_log, "klines", symbol, contract_size)

    # -- trades --------------------------------------------------------------------------------------------------

    def _trades(self, path: str, symbol: str, **query: object) -> list[PastTrade]:
        """The trades of one answer, oldest first, with what stands for ids that it leaves out."""
        query = {"symbol": symbol, "limit": TRADES_PAGE} | query
        rows = self._rows(path, query, self._api.trades_weight)
        read = functools.partial(trade_of, counts_rpi=self._counts_rpi)
        trades = self._row_log.trades(rows, read, path, symbol)
        readable = sorted((each for each in trades if each), key=id_of)
        if len(readable) < len(trades):
            return list(with_unreadable(trades))
        return readable if self.market == "spot" else with_uncounted(readable)

    def _single_by_id(self, symbol: str, first_id: int, last_id: int) -> list[PastTrade]:
        found: list[PastTrade] = []
        next_id = first_id
        while next_id <= last_id:
            limit = min(TRADES_PAGE, last_id - next_id + 1)
            trades = self._trades("historicalTrades", symbol, fromId=next_id, limit=limit)
            newer = [each for each in trades if isinstance(each.trade_id, int) and each.trade_id >= next_id]
            if not newer:
                break
            found += newer
            next_id = id_of(newer[-1]) + 1
        return overlapping(found, first_id, last_id)

    def _aggregates_by_id(self, symbol: str, first_id: int, last_id: int) -> list[PastTrade]:
        """Aggregates are numbered apart: where that of a trade is, is searched from the newest backwards."""
        page = self._aggregates(symbol)
        for _ in range(SEARCH_MOST):
            if not page or page[0].f <= first_id <= page[-1].l:
                break
            if (page[0].a == 0 and first_id < page[0].f) or (first_id > page[-1].l and len(page) < TRADES_PAGE):
                return []
            matches_each = (page[-1].l - page[0].f + 1) / (page[-1].a - page[0].a + 1)
            begin = page[0].a + int((first_id - page[0].f) / matches_each)
            page = self._aggregates(symbol, max(0, begin - TRADES_PAGE // 2))
        else:
            return []
        found = list(page)
        while page and page[-1].l < last_id:
            page = self._aggregates(symbol, page[-1].a + 1)
            found += page
        return overlapping(trades_of_aggregates(found, counts_rpi=self._counts_rpi), first_id, last_id)

    def _aggregates(self, symbol: str, from_id: int | None = None) -> list[AggregateRow]:
        query: dict[str, object] = {"symbol": symbol, "limit": TRADES_PAGE, "fromId": from_id}
        rows = self._rows("aggTrades", query, AGGREGATES_WEIGHT)
        read = [(row, aggregate_of(row)) for row in rows]
        self._row_log.odd([row for row, made in read if made is None], "aggTrades", symbol)
        return sorted((made for _, made in read if made and made.a >= (from_id or 0)), key=lambda each: each.a)

    # -- instruments ---------------------------------------------------------------------------------------------

    def _instruments(self) -> list[InstrumentRow]:
        query = {"symbolStatus": TRADING, "showPermissionSets": "false"} if self.market == "spot" else {}
        rows = self._rows("exchangeInfo", query, self._api.info_weight, functools.partial(rows_of, name="symbols"))
        return self._row_log.readable(rows, InstrumentRow, "exchangeInfo")

    def _rows(
        self, path: str, query: Mapping[str, object], weight: int, read: Callable[[Any], Sequence[object]] = rows_of
    ) -> Sequence[object]:
        budget = self._api.budget.key
        return self._client.get(self._api.path + path, query, budget=budget, weight=weight, read=read)
