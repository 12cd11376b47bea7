"""The collector's own HTTP API, /api/: klines of the store in envelopes, which series there are, and the journal.

The event loop's thread; the store is read on others. An answer has a bounded number of rows, and says where the next
one begins. Where the store lacks klines, and the request has `fill=exchange`, the newest come from the exchange's
candles, as those that the collector itself takes from there: `source` exchange, no trade count.
"""

import asyncio
import difflib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from consumers.web.http import JSON, HttpAnswer, HttpRequest, Route
from consumers.web.live.history import CANDLES, SETTLED_MS, HistoryReader, Past, ReadCandles, SeriesId
from consumers.web.live.options import Markets, PageMarket
from model.clock import now_ms
from model.envelope import json_of
from model.intervals import DAY_MS, Interval, parse_interval, step_name
from model.ports import CandleStore, KlineRows, StoreError
from model.records import Kline

ROWS_MOST = 1_000  # of an answer: 230 kB
SERIES_MOST = 20_000
SERIES_AT_ONCE = 500  # 1 ms
JOURNAL_MOST = 1_000
READS_AT_ONCE = 4  # of the store
FILL_LIMIT_S = 7.0  # for the exchange's answer; after 10 s the connection of who asks is ended
BARREN_MS, BARREN_MOST = 10_000, 10_000  # how long, and of how many series, that an exchange has nothing is remembered
SHOWN_MOST = 20  # names that an error has
COMPARED_MOST = 100  # names that a wrong one is compared with, which takes 0.1 ms each
LONGEST_MS = 1 << 53
WITHOUT_STORE = "No klines are kept here: switch the store on with KLINE_STORE=true (and ENABLE_KLINES_STREAM)."
TOO_SLOW = f"The exchange did not answer within {FILL_LIMIT_S:g} s."

Handle = Callable[[HttpRequest], Awaitable[HttpAnswer]]


@dataclass(frozen=True)
class ApiOptions:
    """What is answered from. `store()`: None where nothing is kept; `markets()` as pages have them."""

    exchange: str
    version: str
    markets: Callable[[], Markets]
    store: Callable[[], CandleStore | None]
    read_candles: ReadCandles
    now_ms: Callable[[], int] = now_ms


class RefusedError(Exception):
    """A request that is not answered: the status and the content of the answer."""

    def __init__(self, status: int, error: str, **more: Any) -> None:
        super().__init__(error)
        self.status, self.content = status, {"error": error, **more}


@dataclass(frozen=True)
class Span:
    """Which klines are asked for: the newest `limit` with start_ms <= start < end_ms."""

    market: str
    symbol: str
    interval: Interval
    start_ms: int
    end_ms: int
    limit: int
    is_last: bool


class DataApi:
    """Answers /api/. `stop` ends what reads the exchange, and is for any thread."""

    def __init__(self, options: ApiOptions) -> None:
        self._options = options
        self._history = HistoryReader(options.read_candles, options.now_ms)
        self._fills: dict[SeriesId, asyncio.Future[Past]] = {}
        self._barren: dict[SeriesId, Past] = {}  # of which the exchange had nothing when it was asked last
        self._turns = asyncio.Semaphore(READS_AT_ONCE)

    def routes(self) -> dict[str, Route]:
        """Return the paths."""
        handlers: dict[str, Handle] = {"/api/": self._about, "/api/klines": self._klines}
        handlers |= {"/api/series": self._series, "/api/journal": self._journal}
        return {path: Route(_guarded(handler)) for path, handler in handlers.items()}

    def stop(self) -> None:
        """End the reading of the exchange; does not wait."""
        self._history.stop()

    # -- handlers --------------------------------------------------------------------------------------

    async def _about(self, request: HttpRequest) -> HttpAnswer:
        if request.path != "/api/":
            raise RefusedError(404, f"There is no {request.path[:80]}.", paths=sorted(self.routes()))
        options = self._options
        markets = {
            name: {
                "symbols": list(spec.symbols),
                "intervals": [interval.name for interval in spec.intervals],
                "kinds": list(spec.kinds),
                "klines": spec.klines,
            }
            for name, spec in options.markets().items()
        }
        about = {"exchange": options.exchange, "version": options.version, "now_ms": options.now_ms()}
        return _json({**about, "store": options.store() is not None, "markets": markets})

    async def _series(self, _: HttpRequest) -> HttpAnswer:
        series = await self._read(lambda store: store.series())
        rows: list[dict[str, Any]] = []
        for begin in range(0, min(len(series), SERIES_MOST), SERIES_AT_ONCE):
            await asyncio.sleep(0)  # between some milliseconds of work: others need the loop, and the GIL
            rows += [
                {
                    "market": each.market,
                    "symbol": each.symbol,
                    "interval": step_name(each.step_ms),
                    "first": each.first_ms,
                    "last": each.last_ms,
                }
                for each in series[begin : begin + SERIES_AT_ONCE]
            ]
        return _json({"exchange": self._options.exchange, "data": rows, "total": len(series)})

    async def _journal(self, request: HttpRequest) -> HttpAnswer:
        after, limit = _number(request, "since", -1), _number(request, "last", 100)
        limit = min(max(limit, 1), JOURNAL_MOST)
        rows = await self._read(lambda store: store.journal(after, limit))
        head = msgspec.json.encode({"exchange": self._options.exchange, "next": rows[-1][0] if rows else after})
        return _answer(head, ",".join(record for _, record in rows))

    async def _klines(self, request: HttpRequest) -> HttpAnswer:
        span = self._span(request)
        is_filled = request.query.get("fill") == "exchange"
        symbols = self._options.markets()[span.market].symbols if span.market in self._options.markets() else ()
        is_collected = span.symbol in symbols
        series = span.market, span.symbol, span.interval.step_ms
        first_ms = await self._read(lambda store: store.first_ms(*series))
        if first_ms is None and not is_collected:
            near = _nearest(span.symbol.upper(), symbols)
            raise RefusedError(404, f"{span.symbol[:40]} is not collected in {span.market}.", symbols=near)
        span, until_ms = self._bounded(span, first_ms, is_filled=is_filled)
        bounds = span.start_ms, span.end_ms, span.limit
        rows = await self._read(lambda store: store.rows(*series, _form(span), *bounds))
        text, note = rows.text, ""
        if is_filled and is_collected:
            text, note = await self._fill(span, rows)
        about = {"exchange": self._options.exchange, "channel": span.market, "data_type": "klines"}
        more = {"next": span.end_ms if span.end_ms < until_ms else None, **({"note": note} if note else {})}
        return _answer(msgspec.json.encode(about), text, msgspec.json.encode(more))

    # -- reading ---------------------------------------------------------------------------------------

    async def _read(self, read: Callable[[CandleStore], Any]) -> Any:
        store = self._options.store()
        if store is None:
            raise RefusedError(503, WITHOUT_STORE)
        async with self._turns:
            return await asyncio.to_thread(read, store)

    async def _fill(self, span: Span, rows: KlineRows) -> tuple[str, str]:
        """The rows of the store, and of the exchange where it lacks them; a sentence where those cannot be read."""
        step_ms = span.interval.step_ms or 31 * DAY_MS
        settled_ms = span.interval.window_start(self._options.now_ms() - SETTLED_MS)
        end_ms = min(span.end_ms, settled_ms)
        first_ms = max(span.start_ms, end_ms - min(span.limit, CANDLES) * step_ms)
        if rows.count >= span.limit or (rows.count and rows.count * step_ms >= end_ms - first_ms):
            return rows.text, ""
        past = await self._past_of(span)
        kept = {row.timestamp: row for row in _decode_rows(f"[{rows.text}]".encode())}
        for candle in past.candles:
            if first_ms <= candle.start_ms < end_ms and candle.start_ms not in kept:
                kept[candle.start_ms] = _kline_of(span, candle)
        if len(kept) == rows.count:
            return rows.text, past.note
        newest = [kept[start] for start in sorted(kept)][-span.limit :]
        return json_of(newest)[1:-1].decode(), past.note

    async def _past_of(self, span: Span) -> Past:
        """The exchange's candles of a series; one request for all who ask at a time."""
        series = span.market, span.symbol, span.interval.name
        if (past := self._barren.get(series)) and self._options.now_ms() - past.read_ms < BARREN_MS:
            return past
        asked = self._fills.get(series)
        if asked is None:
            loop = asyncio.get_running_loop()
            asked = self._fills[series] = loop.create_future()

            def take(past: Past) -> None:
                loop.call_soon_threadsafe(self._filled, series, past)

            self._history.request(series, span.interval, take)
        try:
            return await asyncio.wait_for(asyncio.shield(asked), FILL_LIMIT_S)
        except TimeoutError:
            return Past(note=TOO_SLOW)

    def _filled(self, series: SeriesId, past: Past) -> None:
        if not past.candles:
            if len(self._barren) >= BARREN_MOST:
                self._barren.clear()
            self._barren[series] = replace(past, read_ms=self._options.now_ms())
        asked = self._fills.pop(series, None)
        if asked is not None and not asked.done():
            asked.set_result(past)

    # -- requests --------------------------------------------------------------------------------------

    def _span(self, request: HttpRequest) -> Span:
        markets = self._options.markets()
        market = request.query.get("market") or next(iter(markets), "")
        symbol = request.query.get("symbol", "")
        if not symbol:
            raise RefusedError(400, "symbol is missing: /api/klines?symbol=BTCUSDT&interval=1m&last=500")
        try:
            interval = parse_interval(request.query.get("interval", "1m")[:20])
        except ValueError as error:
            raise RefusedError(400, str(error)) from None
        _check(markets, market, interval)
        last = _number(request, "last", 0)
        start_ms, end_ms = _number(request, "start", 0), _number(request, "end", self._options.now_ms() + DAY_MS)
        if last < 0 or start_ms < 0 or end_ms < start_ms:
            raise RefusedError(400, "start, end and last are not negative, and start is before end.")
        is_last = "last" in request.query or "start" not in request.query
        return Span(market, symbol, interval, start_ms, end_ms, min(last or ROWS_MOST, ROWS_MOST), is_last)

    def _bounded(self, span: Span, first_ms: int | None, *, is_filled: bool) -> tuple[Span, int]:
        """The part of a span that one answer has, and where the whole ends."""
        if span.is_last:
            return span, span.end_ms
        step_ms = span.interval.step_ms or 31 * DAY_MS
        now = self._options.now_ms()
        oldest_ms = min([now, *([first_ms] if first_ms is not None else [])])
        if is_filled:
            oldest_ms = min(oldest_ms, now - CANDLES * step_ms)
        start_ms, until_ms = max(span.start_ms, oldest_ms), min(span.end_ms, now)
        end_ms = min(until_ms, start_ms + ROWS_MOST * step_ms)
        return Span(span.market, span.symbol, span.interval, start_ms, end_ms, ROWS_MOST, False), until_ms


def _check(markets: Markets, market: str, interval: Interval) -> None:
    spec: PageMarket | None = markets.get(market)
    if spec is None:
        if not markets:
            raise RefusedError(503, "The collector is starting: the symbols are not known yet.")
        raise RefusedError(404, f"{market[:20]} is not collected.", markets=list(markets))
    if interval.name not in (names := [each.name for each in spec.intervals]):
        made = ", ".join(names) or "none"
        text = f"No klines of {interval.name} are made in {market}, but of {made}: KLINE_INTERVALS."
        raise RefusedError(404, text, intervals=names)


def _nearest(symbol: str, symbols: Sequence[str]) -> list[str]:
    """Return names that are like a wrong one; of many only those that begin like it are compared."""
    alike = symbols
    for length in range(1, len(symbol) + 1):
        if len(alike) <= COMPARED_MOST or not (some := [each for each in alike if each.startswith(symbol[:length])]):
            break
        alike = some
    return difflib.get_close_matches(symbol, alike[:COMPARED_MOST], SHOWN_MOST) or list(symbols[:SHOWN_MOST])


def _form(span: Span) -> list[str]:
    """The form of CandleStore.rows of an envelope's klines."""
    symbol, step_ms = msgspec.json.encode(span.symbol).decode(), span.interval.step_ms
    form = [f'{{"symbol":{symbol},"interval":']
    form = (
        [f'{form[0]}{step_ms},"timestamp":', "timestamp"]
        if step_ms
        else [*form, "interval", ',"timestamp":', "timestamp"]
    )
    for name in ("open", "high", "low", "close", "volume", "trade_count", "turnover", "complete"):
        form += [f',"{name}":', name]
    return [*form, ',"source":"', "source", '","revision":', "revision", "}"]


def _kline_of(span: Span, candle: Any) -> Kline:
    length_ms = span.interval.window_end(candle.start_ms) - candle.start_ms
    prices = candle.open, candle.high, candle.low, candle.close, candle.volume
    return Kline(span.symbol, length_ms, candle.start_ms, *prices, 0, candle.turnover, True, "exchange", 0)


_decode_rows = msgspec.json.Decoder(list[Kline]).decode


def _number(request: HttpRequest, name: str, default: int) -> int:
    text = request.query.get(name, "")
    if not text:
        return default
    try:
        number = int(text)
    except ValueError:
        number = LONGEST_MS
    if abs(number) >= LONGEST_MS:
        raise RefusedError(400, f"{name} is no whole number (times are milliseconds since the epoch): {text[:40]!r}")
    return number


def _json(content: Mapping[str, Any], status: int = 200) -> HttpAnswer:
    return HttpAnswer(status, msgspec.json.encode(content) + b"\n", JSON)


def _answer(head: bytes, rows: str, more: bytes = b"{}") -> HttpAnswer:
    """An object of `head`, the rows as `data`, and what `more` has."""
    tail = b"}\n" if more == b"{}" else b"," + more[1:] + b"\n"
    return HttpAnswer(200, head[:-1] + b',"data":[' + rows.encode() + b"]" + tail, JSON)


def _guarded(handle: Handle) -> Handle:
    """Answer what is refused, and what the store cannot give."""

    async def answer(request: HttpRequest) -> HttpAnswer:
        try:
            return await handle(request)
        except RefusedError as refusal:
            return _json(refusal.content, refusal.status)
        except StoreError as error:
            return _json({"error": f"The store cannot be read: {error}"}, 503)

    return answer
