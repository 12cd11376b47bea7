"""Gate's REST for one market: candles, trades, the exchange's time, the symbols it lists.

Blocks the calling thread, and no longer than its limits allow. Needs no key. Documentation pages: REST v4, spot and
futures; what is measured says so.
"""

import functools
import threading
from collections.abc import Callable, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import structlog

from exchanges.candles import ONE, Page, page_of, read_forward
from exchanges.gate.rest_rows import CANDLE, InstrumentRow, TickerRow, trade_of, turnovers_of
from exchanges.rest_client import BANS, Budget, RestClient, Verdict, verdict_of_code, verdict_of_status
from exchanges.rest_rows import ContractSizes, RowLog, checked_time, id_of, read_row, rows_of, with_unreadable
from model.clock import now_ms
from model.intervals import DAY_MS, HOUR_MS, LONGEST_MONTH_MS, MINUTE_MS, MONTH, SHORTEST_MONTH_MS
from model.ports import HistoryError
from model.records import Candle, Instrument, PastTrade

URL, TESTNET_URL = "https://api.gateio.ws", "https://api-testnet.gateapi.io"
TIME = "/api/v4/spot/time"
PATHS: Mapping[str, str] = MappingProxyType({"spot": "/api/v4/spot/", "linear": "/api/v4/futures/usdt/"})
DECIMALS = MappingProxyType({"X-Gate-Size-Decimal": "1"})  # else sizes below one contract are cut to 0

INTERVALS: Mapping[int, str] = MappingProxyType(
    {
        **{minutes * MINUTE_MS: f"{minutes}m" for minutes in (1, 5, 15, 30)},
        **{hours * HOUR_MS: f"{hours}h" for hours in (1, 4, 8)},
        DAY_MS: "1d",
        MONTH: "30d",  # a calendar month (measured); 7d begin on Thursdays
    }
)
"""Step in ms (model.intervals) -> Gate's name."""
REQUESTS, WINDOW_S = 180, 10.0  # of 200 for each path and address; the rest is for other programs
CANDLES_PAGE = 999  # 1,000 of spot, 2,000 of futures; from and to are both included
CANDLES_KEPT, TOO_OLD = 9_980, "too long ago"  # what begins before the newest 10,000 of a step is refused (measured)
TRADES_PAGE = 1000
UNTRADABLE = "untradable"  # of some pairs one side alone is allowed, which is traded all the same
LIMITED = frozenset({"TOO_MANY_REQUESTS"})
TEMPORARY = frozenset({"SERVER_ERROR", "INTERNAL", "TOO_BUSY"})

log = structlog.get_logger()


def sort_answer(status: int, _headers: Mapping[str, str], body: Any) -> Verdict:
    """What an answer is: errors have a label, and mostly HTTP 400."""
    label = str(body.get("label") or "") if isinstance(body, dict) else ""
    if status in BANS or not label:
        return Verdict("ok") if status == 200 else verdict_of_status(status)
    text = f"{label} {body.get('message') or ''}".strip()
    return verdict_of_code(status, label, text, limited=LIMITED, temporary=TEMPORARY)


class GateRest:
    """Reads of one market (spot, linear): model.ports.MarketHistory and Listing.

    Thread safe. Nothing is opened before the first request. Setting `stop` ends every wait with HistoryError.
    """

    candle_steps_ms = tuple(INTERVALS)

    def __init__(
        self, market: str, *, stop: threading.Event, url: str = URL, wall_ms: Callable[[], int] = now_ms, **client: Any
    ) -> None:
        """`client`: more arguments of RestClient. `wall_ms` only says which candles are too old, where some are."""
        self.market = market
        self._is_spot, self._wall_ms = market == "spot", wall_ms
        self._symbol = "currency_pair" if self._is_spot else "contract"
        self._path = PATHS[market]
        self._listing = "currency_pairs" if self._is_spot else "contracts"
        paths = (TIME, *(self._path + name for name in ("candlesticks", "trades", "tickers", self._listing)))
        budgets = {path: Budget(REQUESTS, WINDOW_S, f"gate {path}") for path in paths}
        self._client = RestClient(url, budgets=budgets, sort=sort_answer, stop=stop, headers=DECIMALS, **client)
        self.url = self._client.url
        self._row_log = RowLog(log, market)
        self._sizes = ContractSizes(lambda: {row.symbol: row.contract_size for row in self._instruments()})

    def close(self) -> None:
        """Close the kept connections."""
        self._client.close()

    def server_time_ms(self) -> int:
        """The exchange's clock; raises HistoryError."""
        body = self._client.get(TIME, budget=TIME)
        time_ms = read_row(body.get("server_time"), int) if isinstance(body, dict) else None
        return checked_time(time_ms, f"GET {TIME}")

    def candles(self, symbol: str, step_ms: int, start_ms: int, end_ms: int) -> list[Candle]:
        """Candles with start_ms <= start < end_ms, oldest first, the open one included; raises HistoryError.

        A candle that Gate does not give (before listing, older than the newest 10,000, a row that makes no sense) is
        not there. ValueError for a step that Gate does not have.
        """
        if step_ms not in INTERVALS:
            raise ValueError(f"step is {step_ms!r} ms, Gate has {list(INTERVALS)}")
        if start_ms >= end_ms:
            return []
        read = functools.partial(self._candles, symbol, step_ms, ONE if self._is_spot else self._sizes.of(symbol))
        span_ms = CANDLES_PAGE * (step_ms or SHORTEST_MONTH_MS)
        return read_forward(read, CANDLES_PAGE, step_ms, start_ms, end_ms, f"candles of {symbol}", span_ms)

    def recent_trades(self, symbol: str) -> list[PastTrade]:
        """The newest trades, at most 1000, oldest first, without a hole; raises HistoryError.

        A row that makes no sense is there as an `unreadable_trade`.
        """
        return list(with_unreadable(self._trades(symbol)))

    def trades_by_id(self, symbol: str, first_id: int, last_id: int) -> list[PastTrade]:
        """The trades with these ids, both included, oldest first, 30 days back; raises HistoryError."""
        found: dict[int, PastTrade] = {}
        before = last_id + 1
        while before > first_id:
            reverse = "true" if self._is_spot else None  # older ones; those of futures always are
            trades = [each for each in self._trades(symbol, last_id=before, reverse=reverse) if each]
            older = {id_of(each): each for each in trades if id_of(each) < before}
            if not older:
                break
            found |= older
            before = min(older)
        return [found[each] for each in sorted(found) if first_id <= each <= last_id]

    def listed(self, *, pre_market: bool = False) -> list[Instrument]:
        """Every symbol that trades, and with `pre_market` those before their listing; raises HistoryError.

        One whose name no stream can carry is left out and logged, and so is a row that makes no sense. A contract
        without a size is listed and logged: no candles can be made of it.
        """
        rows = [row for row in self._instruments() if row.status == "trading" and row.trade_status != UNTRADABLE]
        rows = [row for row in rows if pre_market or not row.is_pre_market]
        turnovers = turnovers_of(rows, self._row_log.readable(self._get("tickers"), TickerRow, "tickers"))
        return self._row_log.listed(
            Instrument(row.symbol, *row.coins(), turnovers[row.symbol], contract_size=row.contract_size) for row in rows
        )

    def _instruments(self) -> list[InstrumentRow]:
        rows = self._row_log.readable(self._get(self._listing), InstrumentRow, self._listing)
        self._sizes.know({row.symbol: row.contract_size for row in rows})
        return rows

    def _trades(self, symbol: str, **query: object) -> list[PastTrade | None]:
        """The trades of one answer, oldest first; None for a row that makes no sense."""
        rows = self._get("trades", {self._symbol: symbol, "limit": TRADES_PAGE} | query)
        return self._row_log.trades(rows, trade_of, "trades", symbol)[::-1]

    def _candles(self, symbol: str, step_ms: int, size: Decimal, first_ms: int, end_ms: int) -> Page:
        query = {"interval": INTERVALS[step_ms], "from": -(-first_ms // 1000), "to": (end_ms - 1) // 1000}
        try:
            rows = self._get("candlesticks", {self._symbol: symbol} | query)
        except HistoryError as error:
            if TOO_OLD not in str(error):
                raise
            kept_ms = self._wall_ms() - CANDLES_KEPT * (step_ms or LONGEST_MONTH_MS)
            is_partly_kept = first_ms < kept_ms < end_ms
            return self._candles(symbol, step_ms, size, kept_ms, end_ms) if is_partly_kept else Page((), ())
        return page_of(rows, CANDLE[self.market], self._row_log, "candlesticks", symbol, size)

    def _get(self, name: str, query: Mapping[str, object] = MappingProxyType({})) -> Any:
        path = self._path + name
        return self._client.get(path, query, budget=path, read=rows_of)
