"""OKX's public REST protocol as it is served: what was collected from memory, all else passed on.

Implements model/market_api.py (documentation pages: REST, market data and public data; error codes). The event loop's
thread. A wrong request is passed on too, and so refused in OKX's own words. What needs a key is refused here.
"""

import functools
import threading
from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Literal

import msgspec

from exchanges.addresses import moved
from exchanges.contract import Endpoints
from exchanges.kline_answers import OPEN_KEPT_S, KlineAnswers, rows_of_pages, span_of, start_of_number
from exchanges.okx.candles import SERVED_BARS, VOLUMES, contract_size_of, contracts_of, exactly
from exchanges.okx.dialect.state import BookMessage
from exchanges.okx.markets import BOOKS, MARKETS
from exchanges.okx.protocol import SENT_MS
from exchanges.okx.rest import (
    CANDLES,
    CANDLES_PAGE,
    CANDLES_RECENT,
    DEMO_HEADERS,
    HISTORY_CANDLES,
    HISTORY_TRADES,
    INSTRUMENTS,
    REQUESTS,
    TICKERS,
    TIME,
    TRADES,
    URL,
    WINDOW_S,
    sort_answer,
)
from exchanges.rest_client import Budget, RestClient
from exchanges.retries import CLIENTS
from exchanges.upstream import Passage, PassageOf
from model.intervals import SECOND_MS, Interval, parse_interval, step_name
from model.market_api import FOR_EVER, ApiAnswer, ApiRequest, MarketApiOptions
from model.ports import HistoryError

PREFIX = "/api/v5/"
PUBLIC = tuple(PREFIX + name for name in ("market/", "public/", "rubik/", "system/"))
"""What needs no key begins with one of these."""
TICKER, BOOK = "/api/v5/market/ticker", "/api/v5/market/books"
CANDLES_USUAL, BOOK_MOST = 100, 400
PARAMETERS = frozenset({"instId", "bar", "after", "before", "limit"})  # of candles
DIGITS = 13  # of a time in ms
FRESH_MS = 2_000  # a book or ticker that came so long ago may have changed since: its stream may be silent

STEPS: Mapping[str, int] = MappingProxyType({bar: step_ms for step_ms, bar in SERVED_BARS.items()})
TIME_AND_PRICES = ('["', "timestamp", '","', "open", '","', "high", '","', "low", '","', "close", '","')
VOL, COLUMNS = 5, 9  # the column of a volume that of swaps is to be in contracts; columns of a row
OF_EXCHANGE = b',""]'  # the end of a row that has it so already: one column more, which no client gets

SHARE = 0.5  # of each path's limit; the collector's own reads have the rest
OTHERS = Budget(10, WINDOW_S, "others")  # what is passed on of paths whose limits are not known here, all together
REQUEST_TIMEOUT_S = 6.0

KEPT_S: Mapping[str, float] = MappingProxyType(
    {
        INSTRUMENTS: 60.0,
        TICKERS: 0.5,
        TICKER: 0.3,
        BOOK: 0.2,
        TRADES: 0.3,
        HISTORY_TRADES: 10.0,
        "/api/v5/public/funding-rate": 5.0,
        "/api/v5/public/funding-rate-history": 10.0,
        "/api/v5/public/open-interest": 3.0,
        "/api/v5/system/status": 30.0,
    }
)
"""By path: how long an answer of OKX's is kept for equal requests."""
OTHERS_KEPT_S = 0.5

LIMITED, BUSY, NO_PATH, NO_METHOD, NO_PARAMETER, SYSTEM_ERROR = "50011", "50013", "404", "50115", "51000", "50026"
TOO_MANY = "http_429"  # the cause of a problem: OKX refused this address for its rate
CODES: Mapping[int, str] = MappingProxyType({404: NO_PATH, 405: NO_METHOD, 500: SYSTEM_ERROR})
REASON_LENGTH = 300
NO_ACCOUNT = "this is a collector of market data, without an account: ask OKX itself for {path}"


class Page(msgspec.Struct):
    """The rows of an answer, as they are."""

    data: list[msgspec.Raw]


_write = msgspec.json.Encoder().encode
_read_rows = msgspec.json.Decoder(list[list[str]]).decode
_read_page = msgspec.json.Decoder(Page).decode
_read_book = msgspec.json.Decoder(BookMessage).decode


def passage(endpoints: Endpoints, stop: threading.Event) -> PassageOf:
    """Return how requests for market data are passed on: Venue.passage."""
    is_demo = endpoints.testnet and endpoints.rest_url is None
    # Instruments are counted for each product at OKX; here all that clients ask counts for the swaps'.
    keys = {path: f"{path} SWAP" if path == INSTRUMENTS else path for path in REQUESTS}
    client = RestClient(
        moved(URL, endpoints.rest_url),
        budgets={path: Budget(most, WINDOW_S, keys[path]) for path, most in REQUESTS.items()},
        sort=sort_answer,
        stop=stop,
        headers=DEMO_HEADERS if is_demo else MappingProxyType({}),
        request_timeout_s=REQUEST_TIMEOUT_S,
        retries=CLIENTS,
    )
    known = {
        path: Passage(client, path, Budget(int(most * SHARE), WINDOW_S, keys[path])) for path, most in REQUESTS.items()
    }
    others = Passage(client, None, OTHERS)
    return lambda path: known.get(path, others) if path.startswith(PUBLIC) else None


class OkxMarketApi:
    """The answers; see model.market_api.MarketApi for the methods."""

    def __init__(self, options: MarketApiOptions) -> None:
        self._options = options
        self.paths = frozenset({PREFIX})
        self._candles = {
            market: KlineAnswers(options, _form(market, "1"), _form(market, "0"), self._older)
            for market in options.markets
            if market in MARKETS
        }

    async def answer(self, request: ApiRequest) -> ApiAnswer:
        """Answer a request from what was collected, or pass it on."""
        if not request.path.startswith(PUBLIC):
            return self._error(404, NO_PATH, NO_ACCOUNT.format(path=request.path))
        try:
            return await self._own(request) or await self._passed_on(request)
        except HistoryError as error:
            if error.problem is None or error.problem.cause == TOO_MANY:
                return self.unavailable(error.problem.meaning if error.problem else str(error))
            return self._error(503, BUSY, f"Please try again later: {error.problem.meaning}")

    def refused(self, status: int, reason: str) -> ApiAnswer:
        """Return OKX's refusal of a request that makes no sense here."""
        return self._error(status, CODES.get(status, NO_PARAMETER), reason)

    def unavailable(self, reason: str) -> ApiAnswer:
        """Return OKX's refusal for the rate, which its clients repeat after a pause."""
        return self._error(429, LIMITED, f"Too Many Requests: cannot be answered now: {reason}")

    # -- from what was collected --------------------------------------------------------------------------------------

    async def _own(self, request: ApiRequest) -> ApiAnswer | None:
        """The answer of what was collected; None where that is not all of it."""
        path, query = request.path, request.query
        if path == TIME and not query:
            return _answer(_write([{"ts": str(self._options.now_ms())}]))
        if path in (CANDLES, HISTORY_CANDLES):
            return await self._candle_rows(query, is_recent=path == CANDLES)
        if path == TICKER and query.keys() == {"instId"}:
            return self._ticker(query["instId"])
        if path == BOOK and query.keys() <= {"instId", "sz"}:
            return self._book(query.get("instId", ""), query.get("sz", "1"))
        return None

    async def _candle_rows(self, query: Mapping[str, str], *, is_recent: bool) -> ApiAnswer | None:
        asked, market = CandleQuery.of(query), self._market_of(query.get("instId", ""))
        if asked is None or market is None:
            return None
        size = contract_size_of(market, asked.symbol, self._options.contract_sizes)
        if size is None:
            return None
        if not asked.is_answered_by(self._options.now_ms(), is_recent=is_recent):
            return None
        rows = await self._candles[market].joined(
            market, asked.symbol, asked.step_ms, asked.limit, asked.start_ms, asked.end_ms, newest_first=True
        )
        if rows is None:
            return None
        text: bytes | None = f"[{rows.text}]".encode()
        if text and MARKETS[market].has_contracts:
            text = _in_contracts(text, size)
        return _answer(text, "store" if rows.is_collected else "exchange")

    async def _older(self, market: str, symbol: str, interval: Interval, first_ms: int, end_ms: int) -> str | None:
        """Rows of closed candles, newest first; those of swaps marked, for their volume is in contracts already."""
        read = functools.partial(self._page, symbol, interval)
        rows = await rows_of_pages(read, interval, first_ms, end_ms, CANDLES_PAGE)
        if rows is None:
            return None
        texts = [bytes(row) for row in rows]
        if MARKETS[market].has_contracts:
            texts = [text.rstrip()[:-1] + OF_EXCHANGE for text in texts]
        return b",".join(texts).decode()

    async def _page(self, symbol: str, interval: Interval, first: int, end: int) -> list[msgspec.Raw]:
        """The rows of the candles that have these numbers, newest first."""
        query = {"instId": symbol, "bar": SERVED_BARS[interval.step_ms]}
        query |= {"after": str(start_of_number(interval, end)), "limit": str(end - first)}
        answer = await self._options.upstream.fetch(ApiRequest(HISTORY_CANDLES, query), keep_s=FOR_EVER)
        try:
            return _read_page(answer.body).data
        except (msgspec.DecodeError, ValueError):
            return []

    def _ticker(self, symbol: str) -> ApiAnswer | None:
        payload = self._latest(symbol, "tickers")
        return (
            None
            if payload is None
            else ApiAnswer(b'{"code":"0","msg":"",' + payload[payload.index(b'"data"') :], "store")
        )

    def _book(self, symbol: str, size: str) -> ApiAnswer | None:
        if not _is_number(size) or not 1 <= int(size) <= BOOK_MOST:
            return None
        payload = self._latest(symbol, BOOKS[BOOK_MOST])
        if payload is None:
            return None
        (data,) = _read_book(payload).data
        most = int(size)
        data.asks, data.bids = data.asks[:most], data.bids[:most]
        data.checksum = data.prevSeqId = None
        return _answer(_write([data]))

    def _latest(self, symbol: str, channel: str) -> bytes | None:
        """The newest state of a channel, where it is new enough to be the exchange's own of now."""
        market = self._market_of(symbol)
        payload = self._options.latest(market, f"{channel}:{symbol}") if market else None
        sent = SENT_MS.search(payload) if payload else None
        return payload if sent and self._options.now_ms() - int(sent[1]) <= FRESH_MS else None

    def _market_of(self, symbol: str) -> str | None:
        return next((market for market in self._candles if symbol in self._options.symbols(market)), None)

    # -- passed on ----------------------------------------------------------------------------------------------------

    async def _passed_on(self, request: ApiRequest) -> ApiAnswer:
        keep_s, epoch = KEPT_S.get(request.path, OTHERS_KEPT_S), 0
        if request.path in (CANDLES, HISTORY_CANDLES):
            keep_s, epoch = self._candles_sharing(request.query)
        return await self._options.upstream.fetch(request, keep_s=keep_s, epoch=epoch)

    def _candles_sharing(self, query: Mapping[str, str]) -> tuple[float, int]:
        if (asked := CandleQuery.of(query)) is None:
            return OPEN_KEPT_S, 0
        now_ms = self._options.now_ms()
        span = span_of(asked.interval, now_ms, asked.limit, asked.start_ms, asked.end_ms)
        return span.sharing(now_ms, asked.interval) if span else (OPEN_KEPT_S, asked.interval.window_start(now_ms))

    # -- answers ------------------------------------------------------------------------------------------------------

    def _error(self, status: int, code: str, reason: str) -> ApiAnswer:
        return ApiAnswer(_write({"code": code, "msg": reason[:REASON_LENGTH], "data": []}), "store", status)


class CandleQuery(msgspec.Struct, frozen=True):
    """The parameters of a request for candles; both ends are included."""

    symbol: str
    step_ms: int
    limit: int
    start_ms: int | None
    end_ms: int | None

    @property
    def interval(self) -> Interval:
        """Its bar."""
        return parse_interval(step_name(self.step_ms))

    def is_answered_by(self, now_ms: int, *, is_recent: bool) -> bool:
        """Whether the path has all of them: one has the newest bars, no seconds; the other is sure of closed ones."""
        recent = span_of(self.interval, now_ms, CANDLES_RECENT)
        span = span_of(self.interval, now_ms, self.limit, self.start_ms, self.end_ms)
        if span is None or recent is None:
            return False
        if is_recent:
            return span.first_ms >= recent.first_ms and self.step_ms != SECOND_MS
        return span.last_ms < span.open_ms

    @classmethod
    def of(cls, query: Mapping[str, str]) -> "CandleQuery | None":
        """Read them; None where OKX may refuse them, or its bars do not begin where klines here do."""
        step_ms = STEPS.get(query.get("bar") or "1m")
        numbers = [query.get(name, "") for name in ("limit", "before", "after")]
        if step_ms is None or not query.keys() <= PARAMETERS:
            return None
        if not all(text == "" or _is_number(text) for text in numbers):
            return None
        limit, before, after = (int(text) if text else None for text in numbers)
        limit = CANDLES_USUAL if limit is None else limit
        if not 1 <= limit <= CANDLES_PAGE:
            return None
        start_ms, end_ms = None if before is None else before + 1, None if after is None else after - 1
        return cls(query.get("instId", ""), step_ms, limit, start_ms, end_ms)


def _form(market: str, confirm: str) -> tuple[str, ...]:
    """The form of a row of candles (model.ports.CandleStore.rows), its volume not in contracts yet."""
    vol, in_coin, in_quote = VOLUMES[MARKETS[market].contract]
    return (*TIME_AND_PRICES, vol, '","', in_coin, '","', in_quote, f'","{confirm}"]')


def _in_contracts(text: bytes, size: Decimal) -> bytes | None:
    """The rows with their volume in contracts, without marks; None where it is no number of such."""
    rows, exact = _read_rows(text), exactly()
    for row in rows:
        if len(row) > COLUMNS:
            del row[COLUMNS:]
        elif (contracts := contracts_of(Decimal(row[VOL]), size, exact)) is None:
            return None
        else:
            row[VOL] = contracts
    return _write(rows)


def _answer(data: bytes | None, source: Literal["store", "exchange"] = "store") -> ApiAnswer | None:
    return None if data is None else ApiAnswer(b'{"code":"0","msg":"","data":' + data + b"}", source)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= DIGITS
