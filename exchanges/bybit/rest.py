"""Bybit's REST for one market: candles, recent trades, the exchange's time, the symbols it lists.

Blocks the calling thread, and no longer than its limits allow. Requests share the API client's table of errors and its
limit per address for the whole process. Documentation pages: market/kline,
market/recent-trade, market/time, market/instruments-info, market/tickers.
"""

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
    EARLIEST_MS,
    LATEST_MS,
    InstrumentRow,
    InstrumentRows,
    Rows,
    ServerTime,
    TickerRow,
    candles_of,
    start_of,
    trades_of,
    turnover_of,
)
from exchanges.contract import TradeRules
from exchanges.rest_client import BANS, RestClient, Verdict, shown
from exchanges.rest_rows import read_row
from exchanges.retries import READS, RetryPolicy
from model.intervals import LONGEST_MONTH_MS, SHORTEST_MONTH_MS
from model.ports import HistoryError
from model.records import Candle, Instrument, PastTrade
from model.symbols import is_symbol
from network.http import Session

PAGE = 1000  # rows per answer, the most Bybit gives; 500 instruments unless asked, which hides a third of linear
PAGES_SPARE, PAGES_TIMES = 20, 10  # a range may take so many pages and so many times those it fills: answers are cut
LIST_PAGES_MOST = 20  # a cursor that leads nowhere new must not be followed for ever
PRE_MARKET = "PreLaunch"
TRADES = 1000  # the most recent-trade gives
TRADES_SPOT = 60

READ_TIMEOUT_S = 5.0  # between two pieces of an answer; Bybit answers in tens of milliseconds
REQUEST_TIMEOUT_S = 15.0  # from the name to the last byte
POOL_SIZE = 8  # connections kept; more threads than this at once open and close their own

ODD_EVERY_S = 60.0  # between two log lines about rows that make no sense

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
        self._odd, self._next_odd_s = 0, float("-inf")

    def close(self) -> None:
        """Close the kept connections."""
        self._client.close()

    def server_time_ms(self) -> int:
        """The exchange's clock; raises HistoryError."""
        time_ms = self._get("time", ServerTime).timeNano // 1_000_000
        if not EARLIEST_MS < time_ms < LATEST_MS:
            raise HistoryError(f"GET /v5/market/time: {time_ms} ms is no time of today")
        return time_ms

    def candles(self, symbol: str, step_ms: int, start_ms: int, end_ms: int) -> list[Candle]:
        """Candles with start_ms <= start < end_ms, oldest first, the open one included; raises HistoryError.

        A candle that Bybit does not give (before listing, lagging, a row that makes no sense) is not there. ValueError
        for a step that Bybit does not have.
        """
        if step_ms not in self.candle_steps_ms:
            raise ValueError(f"step is {step_ms!r} ms, Bybit {self.market} has {list(self.candle_steps_ms)}")
        found: dict[int, Candle] = {}
        reach_ms, longest_ms = (step_ms or SHORTEST_MONTH_MS) * PAGE, step_ms or LONGEST_MONTH_MS
        last_ms, pages_left = end_ms, PAGES_SPARE + PAGES_TIMES * (end_ms - start_ms) // reach_ms
        while last_ms > start_ms:
            first_ms = max(start_ms, last_ms - reach_ms)
            oldest_ms, newest_ms = self._read_page(found, symbol, step_ms, first_ms, last_ms)
            is_empty = newest_ms < first_ms
            while not is_empty and newest_ms + 2 * longest_ms <= last_ms:  # cut off at its newer end, or a hole
                _, beyond_ms = self._read_page(found, symbol, step_ms, newest_ms + 1, last_ms)
                newest_ms = beyond_ms if beyond_ms > newest_ms else last_ms
            if oldest_ms - first_ms >= longest_ms and not (is_empty and first_ms == start_ms):
                first_ms = self._older(found, symbol, step_ms, (start_ms, first_ms, oldest_ms))
            last_ms, pages_left = first_ms, pages_left - 1
            if pages_left < 0:
                raise HistoryError(f"kline of {symbol}: {(end_ms - start_ms) // reach_ms + 1} pages do not end")
        return [found[start] for start in sorted(found)]

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
        unsupported = sorted(each.symbol for each in instruments if not is_symbol(each.symbol))
        if unsupported:
            log.warning("symbols_unsupported", market=self.market, symbols=unsupported[:20])
        return [
            Instrument(
                each.symbol,
                each.baseCoin or "",
                each.quoteCoin or "",
                turnover.get(each.symbol, 0.0),
                is_dated=(each.contractType or "").endswith("Futures"),
            )
            for each in {each.symbol: each for each in instruments}.values()
            if is_symbol(each.symbol)
        ]

    def _older(self, found: dict[int, Candle], symbol: str, step_ms: int, span: tuple[int, int, int]) -> int:
        """Return where to go on below a page that does not reach its own start: the end, a cut or a hole.

        One answer about all that is left proves an end; an empty one about the hole proves the hole, for an empty
        answer is of its whole span however many rows a page may have.
        """
        start_ms, first_ms, oldest_ms = span
        _, below_ms = self._read_page(found, symbol, step_ms, start_ms, oldest_ms)
        if below_ms < start_ms:
            return start_ms
        if below_ms + 1 + (step_ms or LONGEST_MONTH_MS) > oldest_ms:
            return below_ms  # nothing is between
        between_ms, _ = self._read_page(found, symbol, step_ms, below_ms + 1, oldest_ms)
        return below_ms if between_ms >= oldest_ms else first_ms

    def _read_page(
        self, found: dict[int, Candle], symbol: str, step_ms: int, first_ms: int, end_ms: int
    ) -> tuple[int, int]:
        """Put the candles of one answer into `found`; return the oldest and the newest start in the answer.

        An empty answer gives `end_ms` and a time before `first_ms`. A row with a start counts, whatever else of the
        row makes no sense.
        """
        if first_ms >= end_ms:
            return end_ms, first_ms - 1
        query = {"interval": INTERVALS[step_ms], "limit": PAGE, "start": first_ms, "end": end_ms - 1}
        candles, odd = self._read("kline", symbol, lambda rows: candles_of(rows, first_ms, end_ms), **query)
        found.update(candles)
        seen = [*candles, *(start for start in map(start_of, odd) if first_ms <= start < end_ms)]
        return min(seen, default=end_ms), max(seen, default=first_ms - 1)

    def _read(
        self, page: str, symbol: str, read: Callable[[Sequence[object]], tuple[T, list[object]]], **query: Any
    ) -> tuple[T, list[object]]:
        """Read the rows of one answer, and list its odd ones; one without a row that makes sense is requested again."""
        for _ in range(2):
            answer = self._get(page, Rows, category=self.market, symbol=symbol, **query)
            found, odd = read(answer.rows or ())
            if found or not odd:
                break
        self._warn_of(odd, page, symbol)
        return found, odd

    def _warn_of(self, odd: Sequence[object], page: str, symbol: str = "") -> None:
        """Log rows that make no sense, in one line a minute."""
        self._odd += len(odd)
        if odd and time.monotonic() >= self._next_odd_s:
            self._next_odd_s = time.monotonic() + ODD_EVERY_S
            log.warning(
                "rest_rows_odd", page=page, market=self.market, symbol=symbol, rows=self._odd, sample=repr(odd[0])[:200]
            )
            self._odd = 0

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
            rows = self._readable(page, InstrumentRow, "instruments-info")
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
        answer = self._get("tickers", Rows, category=self.market)
        return {each.symbol: turnover_of(self.market, each) for each in self._readable(answer, TickerRow, "tickers")}

    def _readable(self, answer: Rows, shape: type[T], page: str) -> list[T]:
        """The rows of an answer that make sense."""
        rows = [(row, read_row(row, shape)) for row in answer.rows or ()]
        self._warn_of([row for row, read in rows if read is None], page)
        return [read for _, read in rows if read is not None]


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
    now_ms = time_ms if isinstance(time_ms, int) and EARLIEST_MS < time_ms < LATEST_MS else time.time_ns() // 1_000_000
    return Verdict(kind, text, reset_wait_s(reset_ms_of(CaseInsensitiveDict(headers)), now_ms, ADDRESS_WAIT_MOST_S))


def sort_status(status: int, body: bytes) -> Verdict:
    """What an answer is that has no retCode."""
    if status == 200:
        return Verdict("temporary", f"no JSON: {shown(body)}")
    return Verdict("banned" if status in BANS else KINDS[class_of_status(status).remedy], shown(body))


def _converted(answer: Mapping[str, Any], shape: type[T]) -> T:
    result = answer.get("result")
    return msgspec.convert({} if result is None else result, shape, strict=False)
