"""KuCoin's REST for one market: candles, trades, the exchange's time, the symbols it lists.

Blocks the calling thread, and no longer than its limits allow. Needs no key. Documentation pages: market data of spot
and futures, rate-limit, error codes.
"""

import functools
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import structlog

from exchanges.candles import ONE, LastTrade, Page, page_of, quiet_end, read_forward, read_windows, with_quiet
from exchanges.kucoin.rest_rows import (
    CANDLE,
    ContractRow,
    SymbolRow,
    TickerRow,
    tickers_of,
    trade_of,
    turnovers_of,
)
from exchanges.rest_client import BANS, Budget, Params, RestClient, Verdict, verdict_of_code, verdict_of_status
from exchanges.rest_rows import ContractSizes, RowLog, checked_time, read_row, rows_of, with_unreadable
from model.clock import now_ms
from model.intervals import DAY_MS, HOUR_MS, MINUTE_MS
from model.records import Candle, Instrument, PastTrade

URLS = {"spot": "https://api.kucoin.com", "linear": "https://api-futures.kucoin.com"}
PUBLIC = Budget(1_800, 30.0, "kucoin public")  # of 2,000 an address; the rest is for other programs

STEPS: Mapping[str, Mapping[int, str]] = MappingProxyType(
    {
        "spot": {
            **{minutes * MINUTE_MS: f"{minutes}min" for minutes in (1, 3, 5, 15, 30)},
            **{hours * HOUR_MS: f"{hours}hour" for hours in (1, 2, 4, 6, 8, 12)},
            DAY_MS: "1day",
        },
        "linear": {minutes * MINUTE_MS: str(minutes) for minutes in (1, 5, 15, 30, 60, 120, 240, 480, 720, 1440)},
    }
)
"""Step in ms -> KuCoin's name, by market; futures have no 6 h. Where its weeks begin is not documented: they and
months, which spot alone has, are made of days.
"""

CANDLES = {"spot": "/api/v1/market/candles", "linear": "/api/v1/kline/query"}
TRADES = {"spot": "/api/v1/market/histories", "linear": "/api/v1/trade/history"}
SYMBOLS, TICKERS, CONTRACTS = "/api/v2/symbols", "/api/v1/market/allTickers", "/api/v1/contracts/active"
TIME = "/api/v1/timestamp"
WEIGHTS, WEIGHT = {TICKERS: 15}, 5  # all others weigh 3 to 5
SETTLED_MS = 10_000  # after so long no trade is on its way to REST any more
SPOT_PAGE, FUTURES_PAGE = 1500, 200  # candles of an answer: the newest of a window, the oldest of one

LISTED = frozenset({"Open", "Paused", "CancelOnly"})  # the last two last for minutes, and are streamed
PRE_MARKET = "Init"
OK, LIMITED = "200000", "429000"
FINAL = frozenset({"100001", "200003", "400100", "404000", "405000", "900001"})  # parameters, symbols, paths

log = structlog.get_logger()

_data_of = functools.partial(rows_of, name="data")


def sort_answer(status: int, headers: Mapping[str, str], body: Any) -> Verdict:
    """What an answer is: by its code, which is an error even with HTTP 200, else by its status."""
    code = str(body.get("code")) if isinstance(body, dict) and "code" in body else ""
    if status in BANS or not code:
        return verdict_of_status(status, b"an answer without a code")
    limit, left = (headers.get(f"gw-ratelimit-{name}", "") for name in ("limit", "remaining"))
    used = int(limit) - int(left) if limit.isdecimal() and left.isdecimal() else None
    if code == OK:
        return Verdict("ok", used=used) if status == 200 else verdict_of_status(status)
    text = f"{code} {body.get('msg') or ''}".strip()
    if code == LIMITED:  # without a reset the exchange is overloaded, and no limit is reached
        reset = headers.get("gw-ratelimit-reset", "")
        return Verdict("limited", text, int(reset) / 1000, used) if reset.isdecimal() else Verdict("temporary", text)
    return verdict_of_code(status, code, text, final=FINAL, used=used)


class KucoinRest:
    """Reads of one market (spot, linear): model.ports.MarketHistory and Listing.

    Thread safe. Nothing is opened before the first request. Setting `stop` ends every wait with HistoryError.
    """

    def __init__(
        self, market: str, *, stop: threading.Event, url: str = "", wall_ms: Callable[[], int] = now_ms, **client: Any
    ) -> None:
        """`client`: more arguments of RestClient."""
        self.market, self._wall_ms = market, wall_ms
        self._steps, self._has_contracts = STEPS[market], market == "linear"
        self.candle_steps_ms: Sequence[int] = tuple(self._steps)
        url = url or URLS[market]
        self._client = RestClient(url, budgets={PUBLIC.key: PUBLIC}, sort=sort_answer, stop=stop, **client)
        self.url = self._client.url
        self._row_log = RowLog(log, market)
        self._sizes = ContractSizes(lambda: {row.symbol: row.instrument().contract_size for row in self._contracts()})

    def server_time_ms(self) -> int:
        """The exchange's clock; raises HistoryError."""
        return checked_time(self._get(TIME, read=lambda body: read_row(body.get("data"), int)), f"GET {TIME}")

    def candles(self, symbol: str, step_ms: int, start_ms: int, end_ms: int) -> list[Candle]:
        """Candles with start_ms <= start < end_ms, oldest first, the open one included; raises HistoryError.

        Futures have none of a window without a trade, and spot writes it with the next trade: between two that there
        are it is flat, and so is what is over since the last trade. ValueError for a step that there is not.
        """
        if step_ms not in self._steps:
            raise ValueError(f"step is {step_ms!r} ms, KuCoin has {list(self._steps)}")
        read = functools.partial(self._candles, symbol, step_ms)
        if self._has_contracts and start_ms < end_ms:
            # So much more as pages have room for: a quiet window at either end is known by what is beyond it.
            spare = (start_ms - end_ms) // step_ms % FUTURES_PAGE
            first_ms, last_ms = start_ms - max(spare // 2, 1) * step_ms, end_ms + (spare - spare // 2) * step_ms
            last_ms = max(end_ms, min(last_ms, self._wall_ms()))  # by any clock: it saves a read of nothing
            found = read_forward(read, FUTURES_PAGE, step_ms, first_ms, last_ms, symbol, FUTURES_PAGE * step_ms)
        else:
            found = read_windows(read, SPOT_PAGE, step_ms, start_ms, end_ms, symbol)
        known = [candle for candle in with_quiet(found, step_ms) if start_ms <= candle.start_ms < end_ms]
        end_ms = min(end_ms, self._wall_ms())
        return known + quiet_end(known, step_ms, start_ms, end_ms, lambda: self._last_trade(symbol))

    def _last_trade(self, symbol: str) -> LastTrade | None:
        known_ms = self.server_time_ms() - SETTLED_MS
        last = next(reversed(self.recent_trades(symbol)), None)
        return LastTrade(known_ms, last.event_ms, Decimal(str(last.price))) if last and last.size else None

    def recent_trades(self, symbol: str) -> list[PastTrade]:
        """The newest trades, at most 100, oldest first, without a hole; raises HistoryError.

        A row that makes no sense is there as an `unreadable_trade`.
        """
        path = TRADES[self.market]
        trades = self._row_log.trades(self._get(path, {"symbol": symbol}), trade_of, path, symbol)
        known = [trade.seq for trade in trades if trade]  # which end is first differs from page to page of the docs
        return list(with_unreadable(trades[::-1] if known[:1] > known[-1:] else trades))

    def trades_by_id(self, _symbol: str, _first_id: int, _last_id: int) -> Sequence[PastTrade]:
        """There are none: ids are not consecutive."""
        return ()

    def listed(self, *, pre_market: bool = False) -> list[Instrument]:
        """Every symbol that trades, and with `pre_market` contracts before their listing; raises HistoryError.

        One whose name no stream can carry is left out and logged, and so is a row that makes no sense.
        """
        if not self._has_contracts:
            return self._row_log.listed(self._pairs())
        states = LISTED | {PRE_MARKET} if pre_market else LISTED
        rows = [row for row in self._contracts() if row.status in states and not row.isInverse]
        return self._row_log.listed(row.instrument() for row in rows)

    def _pairs(self) -> Iterable[Instrument]:
        rows = self._row_log.readable(self._get(SYMBOLS), SymbolRow, SYMBOLS)
        tickers = self._row_log.readable(self._get(TICKERS, read=tickers_of), TickerRow, TICKERS)
        turnovers = turnovers_of(rows, tickers)
        return (row.instrument(turnovers.get(row.symbol, 0.0)) for row in rows if row.enableTrading)

    def _contracts(self) -> list[ContractRow]:
        return self._row_log.readable(self._get(CONTRACTS), ContractRow, CONTRACTS)

    def _candles(self, symbol: str, step_ms: int, first_ms: int, end_ms: int) -> Page:
        """One answer: of both ends of a window, the last is in (of spot in seconds)."""
        path, step = CANDLES[self.market], self._steps[step_ms]
        if self._has_contracts:
            query = {"symbol": symbol, "granularity": step, "from": first_ms, "to": end_ms - 1}
        else:
            query = {"symbol": symbol, "type": step, "startAt": -(-first_ms // 1000), "endAt": (end_ms - 1) // 1000}
        size = self._sizes.of(symbol) if self._has_contracts else ONE
        return page_of(self._get(path, query), CANDLE[self.market], self._row_log, path, symbol, size)

    def _get(self, path: str, query: Params = MappingProxyType({}), read: Callable[[Any], Any] = _data_of) -> Any:
        return self._client.get(path, query, budget=PUBLIC.key, weight=WEIGHTS.get(path, WEIGHT), read=read)
