"""Checks of a venue's REST against its simulated exchange, over real HTTP. Blocks the main thread."""

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import pairwise

from exchanges.conformance.process import Simulated
from exchanges.conformance.report import Failed, expect
from exchanges.contract import Endpoints, MarketRest, TradeRules, Venue
from model.clock import now_ms
from model.intervals import LONGEST_MONTH_MS, MINUTE_MS
from model.markets import MarketSpec
from model.ports import HistoryError
from model.records import Candle, PastTrade

CLOCK_MS = 5_000  # the simulated exchange has this machine's clock
MINUTES = 30
TRADES_LEAST, TRADES_LIMIT_S = 40, 30.0
UNKNOWN = "NOSUCHUSDT"
RETRY_AFTER_S = 1
BANNING = (418, 403, 451)
WORDS_LEAST = 6  # of a sentence that says what to do


def listing_is_whole(venue: Venue, exchange: Simulated) -> str:
    """The listing has each symbol once, with base, quote, how much a size of 1 is, and a turnover to choose by."""
    count = 0
    for market, rest in _rests(venue, exchange):
        listed = rest.listed()
        names = [each.symbol for each in listed]
        expect(sorted(names) == sorted(exchange.markets[market]), f"{market}: listed {sorted(names)[:5]}")
        for each in listed:
            expect(each.base and each.quote and each.base != each.quote, f"{market}: {each}")
            expect(isinstance(each.contract_size, Decimal) and each.contract_size > 0, f"{market}: {each}")
            expect(math.isfinite(each.turnover) and each.turnover >= 0, f"{market}: {each}")
        expect(any(each.turnover > 0 for each in listed), f"{market}: no symbol has a turnover")
        expect(
            venue.markets[market].has_contracts or all(each.contract_size == 1 for each in listed), f"{market}: sizes"
        )
        count += len(listed)
    return f"{count} symbols of {', '.join(exchange.markets)}"


def clock_is_read(venue: Venue, exchange: Simulated) -> str:
    """The exchange's time is in milliseconds since the epoch."""
    for market, rest in _rests(venue, exchange):
        before, found, after = now_ms(), rest.server_time_ms(), now_ms()
        expect(before - CLOCK_MS < found < after + CLOCK_MS, f"{market}: {found} ms at {before}")
    return ""


def candles_keep_to_their_bounds(venue: Venue, exchange: Simulated) -> str:
    """Candles of every step it serves come oldest first, without repeats, within their bounds, the open one included;
    those of closed minutes equal the simulated exchange's true ones in all fields that the exchange has.
    """
    compared = 0
    for market, rest in _rests(venue, exchange):
        if venue.markets[market].klines is None:
            continue
        symbol = exchange.markets[market][0]
        _trades(rest, symbol)  # some exchanges have no open candle before its first trade
        for step_ms in rest.candle_steps_ms:
            compared += _check_step(rest, exchange, venue.markets[market], symbol, step_ms)
        start_ms = now_ms() // MINUTE_MS * MINUTE_MS - 10 * MINUTE_MS
        three = rest.candles(symbol, MINUTE_MS, start_ms, start_ms + 3 * MINUTE_MS)
        starts = [each.start_ms - start_ms for each in three]
        expect(starts == [0, MINUTE_MS, 2 * MINUTE_MS], f"{market}: three minutes are {starts}")
        expect(not rest.candles(symbol, MINUTE_MS, start_ms, start_ms), f"{market}: a span of nothing has candles")
    return f"{compared} minutes compared"


def _check_step(rest: MarketRest, exchange: Simulated, spec: MarketSpec, symbol: str, step_ms: int) -> int:
    market, lacks_turnover = spec.name, spec.klines is not None and spec.klines.lacks_turnover
    lacking = spec.klines is not None and spec.klines.lacks_quiet  # the open one too, before its first trade
    length_ms = step_ms or LONGEST_MONTH_MS
    asked_ms = now_ms()
    start_ms = asked_ms - MINUTES * length_ms
    candles = rest.candles(symbol, step_ms, start_ms, asked_ms + length_ms)
    starts = [each.start_ms for each in candles]
    what = f"{market} {symbol} {step_ms} ms"
    expect(starts, f"{what}: there are no candles")
    expect(starts == sorted(set(starts)), f"{what}: starts are {starts}")
    expect(start_ms <= starts[0], f"{what}: begins at {starts[0]}, asked for {start_ms}")
    is_open_there = asked_ms - (1 + lacking) * length_ms < starts[-1] <= now_ms()
    expect(is_open_there, f"{what}: the open candle is not there, {starts[-1]} is last")
    for each in candles:
        is_possible = each.low <= min(each.open, each.close) <= max(each.open, each.close) <= each.high
        expect(is_possible and each.volume >= 0 and each.turnover >= 0, f"{what}: {each}")
    if step_ms != MINUTE_MS:
        return 0
    is_whole = len(starts) >= MINUTES - lacking and all(start % MINUTE_MS == 0 for start in starts)
    expect(is_whole, f"{what}: {len(starts)} minutes")
    truth = {int(true["start"]): _candle(true) for true in exchange.candles(market, symbol, MINUTE_MS)}
    known = [each for each in candles if each.start_ms in truth and each.start_ms + MINUTE_MS <= asked_ms]
    for each in known:
        true = truth[each.start_ms]
        true = replace(true, turnover=each.turnover) if lacks_turnover else true
        expect(each == true, f"{what}: {each} is truly {true}")
    expect(known, f"{what}: no minute is known to the exchange itself")
    return len(known)


def _candle(true: Mapping[str, object]) -> Candle:
    numbers = (Decimal(str(true[name])) for name in ("open", "high", "low", "close", "volume", "turnover"))
    return Candle(int(str(true["start"])), *numbers)


def recent_trades_have_no_hole(venue: Venue, exchange: Simulated) -> str:
    """The newest trades come oldest first; consecutive ids leave none out, unique ones repeat none, and where there are
    none each is "".
    """
    count = 0
    for market, rest in _rests(venue, exchange):
        trades = _trades(rest, exchange.markets[market][0])
        times = [each.event_ms for each in trades]
        expect(times == sorted(times), f"{market}: trades are not oldest first")
        expect(all(each.price > 0 and each.size > 0 for each in trades if each.is_counted), f"{market}: {trades[-1]}")
        ids = [each.trade_id for each in trades]
        if venue.ids == "none":
            expect(set(ids) == {""}, f"{market}: there are no ids, but REST has {ids[:3]}")
        else:
            expect(len(set(ids)) == len(ids), f"{market}: ids repeat")
        if venue.ids == "consecutive":
            for before, after in pairwise(trades):
                is_next = int(after.trade_id) == int(before.trade_id) + after.matches
                expect(is_next, f"{market}: {after} follows {before}")
        count += len(trades)
    return f"{count} trades"


def trades_are_found_by_id(venue: Venue, exchange: Simulated) -> str:
    """Asked for ids, it gives exactly the trades of these, one page or several, and nothing for ids not yet there."""
    if venue.ids != "consecutive":
        for _, rest in _rests(venue, exchange):
            expect(not rest.trades_by_id(UNKNOWN, 1, 2), "ids are not consecutive, but trades are found by them")
        return f"does not apply: ids are {venue.ids}"
    count = 0
    for market, rest in _rests(venue, exchange):
        symbol = exchange.markets[market][0]
        trades = _trades(rest, symbol)
        first, last = int(trades[5].trade_id), int(trades[-5].trade_id)
        found = rest.trades_by_id(symbol, first, last)
        covered = [
            number for each in found for number in range(int(each.trade_id) - each.matches + 1, int(each.trade_id) + 1)
        ]
        wanted = list(range(first, last + 1))
        expect(covered == sorted(set(covered)), f"{market}: trades repeat or are not oldest first")
        missing = sorted(set(wanted) - set(covered))
        expect(not missing, f"{market}: asked for {first} to {last}, missing {missing[:5]}")
        expect(max(each.matches for each in found) > 1 or covered == wanted, f"{market}: more than {first} to {last}")
        expect(not rest.trades_by_id(symbol, last + 10**9, last + 10**9 + 2), f"{market}: ids that are not there yet")
        count += len(found)
    return f"{count} trades"


def unknown_symbols_are_final(venue: Venue, exchange: Simulated) -> str:
    """What the exchange does not list is refused for good: the collector does not ask again and again."""
    for market, rest in _rests(venue, exchange):
        asked = {"trades": lambda r=rest: r.recent_trades(UNKNOWN)}
        if venue.markets[market].klines is not None:
            asked["candles"] = lambda r=rest: r.candles(UNKNOWN, MINUTE_MS, now_ms() - MINUTE_MS, now_ms())
        for what, ask in asked.items():
            error = _error_of(ask, f"{market}: {what} of {UNKNOWN}")
            expect(error.is_final, f"{market}: {what} of {UNKNOWN}: {error}, which is not final")
    return ""


def retry_after_is_waited_for(venue: Venue, exchange: Simulated) -> str:
    """HTTP 429 with Retry-After is asked again when that is over, and not before."""
    market, rest = next(_rests(venue, exchange))
    exchange.command("rest_fault", what="http", status=429, retry_after=RETRY_AFTER_S, count=1)
    begun_s = time.monotonic()
    rest.server_time_ms()
    waited_s = time.monotonic() - begun_s
    expect(waited_s >= RETRY_AFTER_S, f"{market}: asked again after {waited_s:.2f} s, not {RETRY_AFTER_S} s")
    return f"asked again after {waited_s:.2f} s"


def bans_end_in_a_sentence(venue: Venue, _exchange: Simulated) -> str:
    """HTTP 418, 403 and 451 end the request at once with a sentence that says what to do, and nothing more is sent."""
    market = next(iter(venue.markets))
    shown = []
    for status in BANNING:
        with _refusing(status) as (url, requests_seen):
            rest = venue.rest(market, Endpoints(rest_url=url), TradeRules(), threading.Event())
            for _ in range(2):
                error = _error_of(rest.server_time_ms, f"HTTP {status}")
                told = f"{error.problem.meaning}: {error.problem.remedy}" if error.problem else str(error)
                expect(len(told.split()) >= WORDS_LEAST, f"HTTP {status}: {told}")
            expect(len(requests_seen) == 1, f"HTTP {status}: {len(requests_seen)} requests were sent")
            shown.append(str(status))
    return ", ".join(shown)


CHECKS: tuple[Callable[[Venue, Simulated], str], ...] = (
    clock_is_read,
    candles_keep_to_their_bounds,
    recent_trades_have_no_hole,
    listing_is_whole,
    trades_are_found_by_id,
    unknown_symbols_are_final,
    retry_after_is_waited_for,
    bans_end_in_a_sentence,
)


def _rests(venue: Venue, exchange: Simulated) -> Iterator[tuple[str, MarketRest]]:
    """The REST API of each market that the simulated exchange has."""
    for market in exchange.markets:
        yield market, venue.rest(market, exchange.endpoints, TradeRules(), threading.Event())


def _trades(rest: MarketRest, symbol: str) -> list[PastTrade]:
    """The newest trades, as soon as there are some."""
    deadline_s = time.monotonic() + TRADES_LIMIT_S
    while time.monotonic() < deadline_s:
        if len(trades := list(rest.recent_trades(symbol))) >= TRADES_LEAST:
            return trades
        time.sleep(0.2)
    raise Failed(f"{symbol}: no {TRADES_LEAST} trades within {TRADES_LIMIT_S:g} s")


def _error_of(ask: Callable[[], object], what: str) -> HistoryError:
    try:
        found = ask()
    except HistoryError as error:
        return error
    raise Failed(f"{what}: no HistoryError, but {str(found)[:100]}")


@contextmanager
def _refusing(status: int) -> Iterator[tuple[str, list[str]]]:
    """A server that refuses all with one status; its URL, and the paths that it was asked for."""
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.path)
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            """Be quiet."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, name="conformance-refusing", daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
