"""What the page of a collector shows: markets, candles of the past, the strip. Nothing here connects to anything."""

from decimal import Decimal
from types import SimpleNamespace

import pytest

import main
from consumers.health import SinkOutage
from model.intervals import DAY_MS, MINUTE_MS, MONTH, parse_interval
from model.records import Candle
from streams.supervisor import StreamStatus
from tests.support.collector import follow
from tests.support.history import FakeHistory

NOW_MS = 1_760_000_070_000
MINUTES = [MINUTE_MS, 5 * MINUTE_MS, DAY_MS, MONTH]


def candle(start_ms, volume="1"):
    price = Decimal(start_ms // MINUTE_MS % 100 + 1)
    return Candle(start_ms, price, price + 1, price - 1, price, Decimal(volume), price)


@pytest.fixture
def asked():
    return []


@pytest.fixture
def collector(collect, asked):
    """A collector of three symbols; its exchange has a candle for each step, and what it was asked for is kept."""

    def candles(market, symbol, step_ms, start_ms, end_ms):
        asked.append((market, symbol, step_ms, start_ms, end_ms))
        return [candle(start) for start in range(-(-start_ms // step_ms) * step_ms, end_ms, step_ms)] if step_ms else []

    collector, _ = collect(KLINE_INTERVALS="1m,1h,1D,1M", SYMBOLS="BTCUSDT,ETHUSDT", ENABLE_SPOT_STREAM=True)
    collector.rest = FakeHistory(candles=candles, steps_ms=MINUTES, now_ms=lambda: NOW_MS)
    follow(collector, linear=("BTCUSDT", "ETHUSDT"), spot=("BTCUSDT",))
    return collector


def read(collector, interval, count=10, symbol="BTCUSDT"):
    """The past of a symbol for the newest candles of an interval."""
    each = parse_interval(interval)
    from_ms = each.window_start(NOW_MS - count * (each.step_ms or 31 * DAY_MS))
    return collector.page.read_candles("linear", symbol, each, from_ms, NOW_MS + 1)


def test_the_markets_are_those_that_are_collected(collector):
    """Symbols as the settings choose them, intervals by their length; the same object until something changes."""
    markets = collector.page.markets()
    assert {name: list(market.symbols) for name, market in markets.items()} == {
        "linear": ["BTCUSDT", "ETHUSDT"],
        "spot": ["BTCUSDT"],
    }
    assert [interval.name for interval in markets["linear"].intervals] == ["1m", "1h", "1d", "1M"]
    assert (markets["spot"].has_book, markets["spot"].has_tape, markets["spot"].klines) == (True, True, True)
    assert collector.page.markets() is markets
    follow(collector, linear=("BTCUSDT", "ETHUSDT", "XRPUSDT"), spot=("BTCUSDT",))
    assert list(collector.page.markets()["linear"].symbols) == ["BTCUSDT", "ETHUSDT", "XRPUSDT"]


def test_without_klines_the_intervals_are_those_of_the_exchange(collect):
    """Its history is shown all the same."""
    collector, _ = collect(ENABLE_KLINES_STREAM=False, SYMBOLS="BTCUSDT")
    collector.rest = FakeHistory(steps_ms=MINUTES)
    follow(collector, linear=("BTCUSDT",))
    market = collector.page.markets()["linear"]
    assert [interval.name for interval in market.intervals] == ["1m", "5m", "1d", "1M"]
    assert not market.klines


def test_candles_that_the_exchange_has_are_read_as_they_are(collector, asked):
    """One request for the span."""
    past = read(collector, "1m")
    first_ms = NOW_MS - NOW_MS % MINUTE_MS - 10 * MINUTE_MS
    assert [each.start_ms for each in past.candles] == [first_ms + n * MINUTE_MS for n in range(11)]
    assert (past.note, past.is_final) == ("", True)
    assert asked == [("linear", "BTCUSDT", MINUTE_MS, first_ms, NOW_MS + 1)]


def test_candles_that_the_exchange_has_not_are_made_of_shorter_ones(collector, asked):
    """The longest that fit; the open one of those that there are."""
    past = read(collector, "1h", count=2)
    assert [symbol for _, symbol, *_ in asked] == ["BTCUSDT"]
    assert asked[0][2] == 5 * MINUTE_MS
    assert len(past.candles) == 3
    whole, last = past.candles[1], past.candles[-1]
    parts = [candle(whole.start_ms + n * 5 * MINUTE_MS) for n in range(12)]
    assert whole.volume == 12
    assert (whole.open, whole.close) == (parts[0].open, parts[-1].close)
    assert (whole.high, whole.low) == (max(each.high for each in parts), min(each.low for each in parts))
    assert last.volume == (NOW_MS - last.start_ms) // (5 * MINUTE_MS) + 1


def test_what_would_take_too_many_shorter_candles_is_cut(collector, asked):
    """A few requests for a view, not hundreds."""
    collector.rest = FakeHistory(candles=lambda *request: asked.append(request) or [], steps_ms=[MINUTE_MS])
    read(collector, "1d", count=500)
    ((_, _, step_ms, start_ms, end_ms),) = asked
    assert step_ms == MINUTE_MS
    assert (end_ms - start_ms) // MINUTE_MS <= 3_000 + DAY_MS // MINUTE_MS


@pytest.mark.parametrize(
    ("steps_ms", "candles", "note", "is_final"),
    [
        ([MINUTE_MS], None, "cannot be read now", False),
        ([7 * MINUTE_MS], [], "no candles that 1m is made of", True),
    ],
)
def test_why_history_is_missing_is_said(collector, steps_ms, candles, note, is_final):
    """And whether it will be asked for again."""
    collector.rest = FakeHistory(candles=lambda *_: candles, steps_ms=steps_ms)
    past = read(collector, "1m")
    assert note in past.note
    assert (list(past.candles), past.is_final) == ([], is_final)


def test_without_a_rest_api_it_is_said_and_nothing_is_asked(collect, asked):
    """A simulated socket alone."""
    collector, _ = collect(WS_URL="ws://127.0.0.1:9", SYMBOLS="BTCUSDT")
    assert not collector.settings.has_rest
    collector.rest = FakeHistory(candles=lambda *request: asked.append(request), steps_ms=[MINUTE_MS])
    assert "REST_URL" in read(collector, "1m").note
    assert asked == []


def test_a_market_without_candles_shows_its_book_and_trades(collect):
    """Options of an entry of the user's, for example; the chart says why it is empty."""
    entry = {"name": "options", "func": main.subscribe_trades, "args": ("BTC", main.handle_trades)}
    collector, _ = collect(entry | {"kwargs": {"market": "option"}}, SYMBOLS="BTCUSDT")
    follow(collector, linear=("BTCUSDT",))
    market = collector.page.markets()["option"]
    assert ([interval.name for interval in market.intervals], market.klines, market.has_book) == (["1m"], False, True)
    past = collector.page.read_candles("option", "BTC", market.intervals[0], 0, NOW_MS)
    assert past.note == "There are no candles of this market."


def test_the_strip_has_the_figures_of_all_parts(collector, monkeypatch):
    """Streams by market and kind with their rate, outputs that are down, the clock."""
    statuses = [
        [StreamStatus(f"t{n}", state, messages, 1, 0, 0, 0.1, "linear", "trades") for n, state, messages in rows]
        for rows in ([(1, "live", 100), (2, "backoff", 50)], [(1, "live", 300), (2, "live", 50)])
    ]
    monkeypatch.setattr(collector.streams.supervisor, "status", lambda: statuses[0])
    monkeypatch.setattr(collector.outputs, "outages", lambda: [SinkOutage("redis", "refused", 7)])
    times = iter([0.0, 2.0])
    monkeypatch.setattr(
        "app.page.parts.time", SimpleNamespace(monotonic=lambda: next(times), time_ns=lambda: 7 * 10**6)
    )
    collector.page._strip._read_s = -1.0
    strip = collector.page._strip.read()
    assert strip["streams"] == [{"market": "linear", "kind": "trades", "live": 1, "total": 2, "messages_s": 0}]
    statuses[0][:] = statuses[1]
    strip = collector.page._strip.read()
    assert strip["streams"] == [{"market": "linear", "kind": "trades", "live": 2, "total": 2, "messages_s": 100}]
    assert strip["messages_s"] == 100
    assert [(each["name"], each["up"]) for each in strip["outputs"]] == [("redis", False), ("store", True)]
    assert strip["clock"] == {"offset_ms": 0, "known": True}
    assert strip["ready"] is False
    assert [each["reason"] for each in strip["reasons"]] == ["sink_down"]
