"""`client.market`: public market data. Parameters as in the docs, in snake_case; `category` is linear by default.

Every call returns the `result` dict, with `.models` typed and `.raw` whole; iterators go through any span.
"""

from exchanges.bybit.client.engine import server_time_ms
from exchanges.bybit.client.errors import RequestError
from exchanges.bybit.client.models import Instrument, Kline, OrderBook, Ticker, Trade
from exchanges.bybit.client.names import Param
from exchanges.bybit.client.results import Result, Row
from exchanges.bybit.client.service import Service, spans
from exchanges.bybit.client.steps import M, N, Page, Pages, Steps, endpoint, pages
from exchanges.bybit.client.times import When, span_ms
from exchanges.bybit.intervals import INTERVALS
from model.intervals import SHORTEST_MONTH_MS, step_name

KLINES_PER_PAGE = 1000  # the most Bybit gives
# A month is taken for its shortest: no page can hold more than its limit.
INTERVAL_MS = {name: step_ms or SHORTEST_MONTH_MS for step_ms, name in INTERVALS.items()}
INTERVAL_NAMES = {step_name(step_ms): name for step_ms, name in INTERVALS.items()} | {"1D": "D"}


def interval_name(interval: str | int) -> str:
    """Bybit's name of an interval: "60", "D"; takes "1h", "1d", "1w", "1M" and minutes too. Raises RequestError."""
    name = INTERVAL_NAMES.get(str(interval), str(interval))
    if name not in INTERVAL_MS:
        raise RequestError(f"no such interval: {interval!r}, Bybit has {[*INTERVAL_MS]} (or 1m, 1h, 1d, 1w, 1M)")
    return name


class MarketDataService(Service[M, N]):
    """Public market data. No key needed."""

    @endpoint
    def get_server_time(self) -> Steps[Result[Row]]:
        """GET /v5/market/time: `timeSecond` and `timeNano`; also measures the offset of this machine's clock."""
        return self._ask("get_server_time", Row)

    @endpoint
    def get_tickers(
        self, /, *, category: str = "linear", symbol: str | None = None, base_coin: str | None = None, **more: Param
    ) -> Steps[Result[Ticker[N]]]:
        """GET /v5/market/tickers: of one symbol, or of all in one call."""
        return self._ask("get_tickers", Ticker, category=category, symbol=symbol, base_coin=base_coin, **more)

    @endpoint
    def get_orderbook(
        self, *, symbol: str, category: str = "linear", limit: int | None = None
    ) -> Steps[Result[OrderBook[N]]]:
        """GET /v5/market/orderbook: `b` and `a`, best first; at most 1000 levels (option 25)."""
        return self._ask("get_orderbook", OrderBook, category=category, symbol=symbol, limit=limit)

    @endpoint
    def get_klines(
        self,
        *,
        symbol: str,
        interval: str | int,
        category: str = "linear",
        start: When | None = None,
        end: When | None = None,
        limit: int | None = None,
    ) -> Steps[Result[Kline[N]]]:
        """GET /v5/market/kline: one page (at most 1000), newest first, the open candle included; times in ms."""
        span: dict[str, Param] = {"interval": interval_name(interval), "start": start, "end": end}
        return self._ask("get_kline", Kline, category=category, symbol=symbol, **span, limit=limit)

    @endpoint
    def get_trades(
        self, /, *, symbol: str, category: str = "linear", limit: int | None = None, **more: Param
    ) -> Steps[Result[Trade[N]]]:
        """GET /v5/market/recent-trade: the newest trades, newest first; at most 1000 (spot 60)."""
        return self._ask("get_public_trade_history", Trade, category=category, symbol=symbol, limit=limit, **more)

    @endpoint
    def get_instruments_info(
        self,
        *,
        category: str = "linear",
        symbol: str | None = None,
        status: str | None = None,
        base_coin: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Steps[Result[Instrument[N]]]:
        """GET /v5/market/instruments-info: one page of `limit` (500, at most 1000); `iter_instruments` has all."""
        params: dict[str, Param] = {"category": category, "symbol": symbol, "status": status, "base_coin": base_coin}
        return self._ask("get_instruments_info", Instrument, **params, limit=limit, cursor=cursor)

    @endpoint
    def get_risk_limit(
        self, /, *, category: str = "linear", symbol: str | None = None, **more: Param
    ) -> Steps[Result[Row]]:
        """GET /v5/market/risk-limit"""
        return self._ask("get_risk_limit", Row, category=category, symbol=symbol, **more)

    @endpoint
    def get_funding_rate_history(
        self, /, *, symbol: str, category: str = "linear", **more: Param
    ) -> Steps[Result[Row]]:
        """GET /v5/market/funding/history: at most 200, newest first; `start_time` needs `end_time`."""
        return self._ask("get_funding_rate_history", Row, category=category, symbol=symbol, **more)

    @endpoint
    def get_open_interest(
        self, /, *, symbol: str, interval_time: str, category: str = "linear", **more: Param
    ) -> Steps[Result[Row]]:
        """GET /v5/market/open-interest: `interval_time` 5min, 15min, 30min, 1h, 4h or 1d."""
        more["interval_time"] = interval_time
        return self._ask("get_open_interest", Row, category=category, symbol=symbol, **more)

    @pages
    def iter_instruments(
        self, *, category: str = "linear", status: str | None = None, base_coin: str | None = None
    ) -> Pages[Instrument[N]]:
        """All instruments of a category, page after page."""
        params: dict[str, Param] = {"category": category, "status": status, "base_coin": base_coin, "limit": 1000}
        return self._pages("get_instruments_info", Instrument, **params)

    @pages
    def iter_klines(
        self, *, symbol: str, interval: str | int, start: When, end: When | None = None, category: str = "linear"
    ) -> Pages[Kline[N]]:
        """Candles with start <= their start < end (now), oldest first, any number, none missing, none twice.

        The open candle is included where `end` reaches over it. What Bybit does not have (before the listing) is not
        there. Pages are cut by arithmetic, not by the answers: no answer can make a hole or a double.
        """
        name = interval_name(interval)
        if end is None:
            envelope = yield from self.api.ask("get_server_time", {})
            end = server_time_ms(envelope.result) + 1
        query: dict[str, Param] = {"category": category, "symbol": symbol, "interval": name, "limit": KLINES_PER_PAGE}
        for first_ms, last_ms in spans(*span_ms(start, end), INTERVAL_MS[name] * KLINES_PER_PAGE):
            result = yield from self._ask("get_kline", Kline, **query, start=first_ms, end=last_ms)
            klines = {kline.start: kline for kline in result.page()}
            yield Page([klines[ms] for ms in sorted(klines) if first_ms <= ms <= last_ms])
