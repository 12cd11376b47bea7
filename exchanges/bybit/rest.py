"""Bybit's REST for one market: candles, recent trades, the exchange's time, the symbols it lists.

Blocks the calling thread, and no longer than its limits allow. Requests share the API client's table of errors and its
limit per address for the whole process. Documentation pages: market/kline,
market/recent-trade, market/time, market/instruments-info, market/tickers.
"""

import functools
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, TypeVar
from urllib.parse import unquote

import msgspec
import requests
import structlog
from requests.structures import CaseInsensitiveDict

from exchanges.bybit.client.connection import ConnectionManager
from exchanges.bybit.client.errors import class_of_code, class_of_status, code_of
from exchanges.bybit.client.limits import ADDRESS_WAIT_MOST_S, HostLimits, limits_of, reset_ms_of, reset_wait_s
from exchanges.bybit.intervals import INTERVALS
from exchanges.bybit.rest_rows import (
    CANDLE,
    InstrumentRow,
    InstrumentRows,
    Rows,
    ServerTime,
    TickerRow,
    candles_of,
    trades_of,
    turnover_of,
)
from exchanges.candles import Page, read_windows
from exchanges.contract import TradeRules
from exchanges.rest_client import BANS, RestClient, Verdict, shown
from exchanges.rest_rows import RowLog, checked_time, is_time
from exchanges.retries import READS, RetryPolicy
from model.ports import HistoryError
from model.records import Candle, Instrument, PastTrade
from network.http import Session

PAGE = 1000  # rows per answer, the most Bybit gives; 500 instruments unless asked, which hides a third of linear
LIST_PAGES_MOST = 20  # a cursor that leads nowhere new must not be followed for ever
PRE_MARKET = "PreLaunch"
TRADES = 1000  # the most recent-trade gives
TRADES_SPOT = 60

READ_TIMEOUT_S = 5.0  # between two pieces of an answer; Bybit answers in tens of milliseconds
REQUEST_TIMEOUT_S = 15.0  # from the name to the last byte
POOL_SIZE = 8  # connections kept; more threads than this at once open and close their own

KINDS: Mapping[str, Literal["temporary", "limited", "banned", "final"]] = MappingProxyType(
    {"none": "final", "retry": "temporary", "resync": "temporary", "wait": "limited", "breaker": "banned"}
)
"""By the remedy of the API client; nothing here is signed, so what is out of step is just repeated."""

log = structlog.get_logger()

T = TypeVar("T")


class BybitRest:
    """Reads of one market (linear, inverse, spot; option without candles): model.ports.MarketHistory and Listing.

    Thread safe. Nothing is opened before the first request. Setting `stop` ends every wait with HistoryError.
    """

    def __init__(
        self,
        market: str,
        *,
        rules: TradeRules | None = None,
        url: str | None = None,
        testnet: bool = False,
        stop: threading.Event | None = None,
        limits: HostLimits | None = None,
        retries: RetryPolicy = READS,
        read_timeout_s: float = READ_TIMEOUT_S,
        session: requests.Session | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`url` (scheme, host, port) replaces the exchange's own; `limits` and `session` None: the process's, its own.

        `rules` None: all trades count.

        Raises CertificatesError where certificates are named that are not there.
        """
        self.market, self._rules = market, rules or TradeRules()
        self.candle_steps_ms: Sequence[int] = () if market == "option" else tuple(INTERVALS)
        stop = stop or threading.Event()
        connection = ConnectionManager(testnet=testnet and url is None, url=url)
        self.url: str = connection.base_url
        self._client = RestClient(
            self.url,
            budgets={},
            sort=sort_answer,
            sort_status=sort_status,
            stop=stop,
            limits=limits or limits_of(connection),
            session=session or Session(REQUEST_TIMEOUT_S, POOL_SIZE, stop),
            read_timeout_s=read_timeout_s,
            retries=retries,
            clock=clock,
        )
        self._row_log = RowLog(log, market)

    def close(self) -> None:
        """Close the kept connections."""
        self._client.close()

    def server_time_ms(self) -> int:
        """The exchange's clock; raises HistoryError."""
        return checked_time(self._get("time", ServerTime).timeNano // 1_000_000, "GET /v5/market/time")

    def candles(self, symbol: str, step_ms: int, start_ms: int, end_ms: int) -> list[Candle]:
        """Candles with start_ms <= start < end_ms, oldest first, the open one included; raises HistoryError.

        A candle that Bybit does not give (before listing, lagging, a row that makes no sense) is not there. ValueError
        for a step that Bybit does not have.
        """
        if step_ms not in self.candle_steps_ms:
            raise ValueError(f"step is {step_ms!r} ms, Bybit {self.market} has {list(self.candle_steps_ms)}")
        read = functools.partial(self._candles, symbol, step_ms)
        return read_windows(read, PAGE, step_ms, start_ms, end_ms, f"kline of {symbol}")

    def recent_trades(self, symbol: str) -> list[PastTrade]:
        """The newest trades, at most 1000 (spot 60), oldest first, without a hole; raises HistoryError.

        A row that makes no sense is there as an `unreadable_trade`.
        """
        limit = TRADES_SPOT if self.market == "spot" else TRADES
        return self._read("recent-trade", symbol, lambda rows: trades_of(rows, self._rules), limit=limit)[0]

    def trades_by_id(self, _symbol: str, _first_id: int, _last_id: int) -> Sequence[PastTrade]:
        """Nothing: Bybit's ids are no numbers."""
        return ()

    def listed(self, *, pre_market: bool = False) -> list[Instrument]:
        """Every symbol that trades, and with `pre_market` those before their listing; raises HistoryError.

        One whose name no stream can carry is left out and logged, and so is a row that makes no sense.
        """
        instruments = self._instruments()
        if pre_market and self.market == "linear":
            instruments += self._instruments(status=PRE_MARKET)
        turnover = self._turnover()
        return self._row_log.listed(
            Instrument(
                each.symbol,
                each.baseCoin or "",
                each.quoteCoin or "",
                turnover.get(each.symbol, 0.0),
                is_dated=(each.contractType or "").endswith("Futures"),
            )
            for each in instruments
        )

    def _candles(self, symbol: str, step_ms: int, first_ms: int, end_ms: int) -> Page:
        """The candles of one answer. A row with a start counts as one, whatever else of the row makes no sense."""
        query = {"interval": INTERVALS[step_ms], "limit": PAGE, "start": first_ms, "end": end_ms - 1}
        candles, odd = self._read("kline", symbol, lambda rows: candles_of(rows, first_ms, end_ms), **query)
        return Page([*candles.values()], [*candles, *(start for row in odd if (start := CANDLE.start_of(row)))])

    def _read(
        self, page: str, symbol: str, read: Callable[[Sequence[object]], tuple[T, list[object]]], **query: Any
    ) -> tuple[T, list[object]]:
        """Read the rows of one answer, and list its odd ones; one without a row that makes sense is requested again."""
        for _ in range(2):
            answer = self._get(page, Rows, category=self.market, symbol=symbol, **query)
            found, odd = read(answer.rows or ())
            if found or not odd:
                break
        self._row_log.odd(odd, page, symbol)
        return found, odd

    def _get(self, page: str, shape: type[T], **query: Any) -> T:
        """The `result` of one GET as `shape`; raises HistoryError with the last failure."""
        return self._client.get(f"/v5/market/{page}", query, budget=None, read=lambda answer: _converted(answer, shape))

    def _instruments(self, **query: Any) -> list[InstrumentRow]:
        query |= {"category": self.market, "limit": PAGE}
        if self.market == "spot":
            del query["limit"]  # spot has no pages
        found: dict[str, InstrumentRow] = {}
        followed, is_again = {""}, False
        for _ in range(LIST_PAGES_MOST):
            page = self._get("instruments-info", InstrumentRows, **query)
            rows = self._row_log.readable(page.rows or (), InstrumentRow, "instruments-info")
            found.update((each.symbol, each) for each in rows if each.symbol)
            cursor = page.nextPageCursor or ""
            if cursor in followed:  # the end, or one that leads back; an empty page is requested once more
                if rows or not cursor or is_again:
                    return list(found.values())
                is_again = True
                continue
            followed.add(cursor)
            query["cursor"] = unquote(cursor)  # it comes as it stands in a query
        raise HistoryError(f"instruments-info of {self.market} does not end after {LIST_PAGES_MOST} pages")

    def _turnover(self) -> dict[str, float]:
        rows = self._get("tickers", Rows, category=self.market).rows or ()
        return {
            each.symbol: turnover_of(self.market, each) for each in self._row_log.readable(rows, TickerRow, "tickers")
        }


def sort_answer(status: int, headers: Mapping[str, str], body: Any) -> Verdict:
    """What an answer is by Bybit's retCode; docs: error, rate-limit."""
    if status != 200:
        return sort_status(status, msgspec.json.encode(body))
    code = code_of(body) if isinstance(body, dict) else None
    if code is None or (code != 0 and not body.keys() & {"retMsg", "ret_msg"}):
        return Verdict("temporary", f"no answer of Bybit's: {shown(msgspec.json.encode(body))}")
    if code == 0:
        return Verdict("ok")
    text, kind = f"retCode {code}: {body.get('retMsg', '')}", KINDS[class_of_code(code).remedy]
    if kind != "limited":
        return Verdict(kind, text)
    time_ms = body.get("time")
    now_ms = time_ms if isinstance(time_ms, int) and is_time(time_ms) else time.time_ns() // 1_000_000
    return Verdict(kind, text, reset_wait_s(reset_ms_of(CaseInsensitiveDict(headers)), now_ms, ADDRESS_WAIT_MOST_S))


def sort_status(status: int, body: bytes) -> Verdict:
    """What an answer is that has no retCode."""
    if status == 200:
        return Verdict("temporary", f"no JSON: {shown(body)}")
    return Verdict("banned" if status in BANS else KINDS[class_of_status(status).remedy], shown(body))


def _converted(answer: Mapping[str, Any], shape: type[T]) -> T:
    result = answer.get("result")
    return msgspec.convert({} if result is None else result, shape, strict=False)
