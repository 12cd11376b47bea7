"""One view: history, and the collector's own candles over it."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import msgspec

from consumers.web.live.history import CANDLES, Past
from consumers.web.live.reasons import Causes
from consumers.web.live.rows import INCOMPLETE, OPEN, REPAIRED, KlineMemory
from consumers.web.live.view import View
from model.events import Gap, Repaired
from model.intervals import parse_interval
from model.records import Candle, Kline
from tests.unit.consumers.web.live.test_rows import MINUTE_MS, SERIES, kline

NAMED = ("linear", "BTCUSDT", "1m")
FLAGS, REVISION, SOURCE, REASON = 6, 7, 8, 9


def view_of(*remembered: Kline, causes: Causes | None = None) -> View:
    memory = KlineMemory()
    memory.add("linear", remembered)
    return View(NAMED, parse_interval("1m"), causes or Causes(0), memory.of(SERIES))


def candles(first: int, last: int) -> list[Candle]:
    price = Decimal("64000.5")
    return [Candle(n * MINUTE_MS, price, price, price, price, Decimal("0.25"), price) for n in range(first, last + 1)]


def past(first: int, last: int) -> Past:
    """What was read while the last of these candles was open."""
    return Past(candles(first, last), read_ms=last * MINUTE_MS + 30_000)


def read(message: bytes | None) -> Any:
    assert message is not None
    return msgspec.json.decode(message)


def test_before_history_is_there_the_page_gets_what_is_known() -> None:
    """At once, and that more is coming."""
    shown = read(view_of(kline(7, complete=False)).candles())
    assert [row[0] for row in shown["rows"]] == [7 * 60]
    assert (shown["type"], shown["is_loading"], shown["step_s"]) == ("candles", True, 60)
    assert (shown["market"], shown["symbol"], shown["interval"]) == NAMED
    assert (shown["price_decimals"], shown["volume_decimals"]) == (2, 0)


def test_the_collectors_own_candles_lie_over_the_exchanges() -> None:
    """Those that were incomplete, repaired, issued again, or are newer; the rest is history."""
    view = view_of(kline(3, complete=False), kline(4, revision=1, source="exchange"))
    view.take_past(past(1, 6))
    view.closed(kline(6))
    shown = read(view.candles())
    assert [row[0] // 60 for row in shown["rows"]] == [1, 2, 3, 4, 5, 6]
    assert [row[SOURCE] for row in shown["rows"]] == ["history", "history", "trades", "exchange", "history", "trades"]
    assert [row[FLAGS] for row in shown["rows"]] == [0, 0, INCOMPLETE, REPAIRED, 0, 0]
    assert shown["is_loading"] is False


def test_a_candle_of_the_exchange_that_was_not_over_when_it_was_read_is_open() -> None:
    """Until the collector's own closes."""
    view = view_of()
    view.take_past(past(1, 6))
    assert [row[FLAGS] for row in read(view.candles())["rows"]] == [0, 0, 0, 0, 0, OPEN]
    assert read(view.closed(kline(6)))["row"][FLAGS] == 0


def test_a_closed_candle_is_that_of_the_channel_to_the_last_digit() -> None:
    """Prices, volume, revision and source."""
    closed = replace_of(kline(9, revision=2), open=Decimal("1.10"), close=Decimal("0E-8"), volume=Decimal("12.000"))
    row = read(view_of().closed(closed))["row"]
    assert row[:6] == [540, "1.10", "64000.10", "64000.10", "0.00000000", "12.000"]
    assert row[REVISION : SOURCE + 1] == [2, "trades"]


def replace_of(of: Kline, **fields: object) -> Kline:
    return msgspec.structs.replace(of, **fields)


def test_an_open_candle_moves_and_does_not_come_back_once_it_is_closed() -> None:
    """The aggregator's thread may have made it before it closed."""
    view, opened = view_of(), kline(9, complete=False)
    assert read(view.opened(opened))["row"][FLAGS] == OPEN
    assert view.opened(opened) is None  # nothing changed
    assert view.opened(replace_of(opened, volume=Decimal(3))) is not None
    assert read(view.closed(kline(9)))["row"][FLAGS] == 0
    assert view.opened(opened) is None
    assert [row[FLAGS] for row in read(view.candles())["rows"]] == [0]


def test_an_open_candle_that_began_before_the_collector_is_shown_whole() -> None:
    """A day that began hours ago: what the exchange had then, and what came since. Closed, it is the channel's."""
    view = view_of()
    first = replace_of(kline(6, complete=False), volume=Decimal("0.05"), open=Decimal(64002), high=Decimal(64003))
    view.opened(first)
    view.take_past(past(1, 6))  # 0.25 at 64000.5
    assert read(view.candles())["rows"][-1][1:6] == [*["64000.5"] * 4, "0.25"]
    row = read(view.opened(first))["row"]
    assert row[1:6] == ["64000.5", "64003", "64000.10", "64000.10", "0.25"]
    row = read(view.opened(replace_of(first, volume=Decimal("0.15"), low=Decimal(63000))))["row"]
    assert row[1:6] == ["64000.5", "64003", "63000", "64000.10", "0.35"]
    assert read(view.closed(first))["row"][5] == "0.05"
    assert read(view.opened(kline(7, complete=False)))["row"][5] == "100"


def test_an_open_candle_that_the_collector_counted_whole_is_its_own() -> None:
    """The exchange's is only behind."""
    view = view_of()
    view.take_past(past(1, 6))
    row = read(view.opened(replace_of(kline(6, complete=False), volume=Decimal("0.26"))))["row"]
    assert row[1:6] == [*["64000.10"] * 4, "0.26"]


def test_a_repair_says_what_was_wrong_and_how_it_was_mended() -> None:
    """Hatched first; and an earlier revision that comes late changes nothing."""
    causes = Causes(0)
    view = view_of(causes=causes)
    of: Any = {"market": "linear", "symbols": ("BTCUSDT",), "from_ms": 9 * MINUTE_MS, "until_ms": 9 * MINUTE_MS + 5_000}
    causes.add(0, Gap(**of, kind="trades"))
    first = read(view.closed(kline(9, complete=False)))["row"]
    assert (first[FLAGS], first[REASON]) == (INCOMPLETE, "Trades missing 00:09:00 to 00:09:05 UTC")
    causes.add(0, Repaired(**of, how="trades"))
    second = read(view.closed(kline(9, revision=1)))["row"]
    assert (second[FLAGS], second[REVISION]) == (REPAIRED, 1)
    assert second[REASON].startswith("Trades missing 00:09:00 to 00:09:05 UTC; filled from the exchange's newest")
    assert view.closed(kline(9, complete=False)) is None


def test_an_event_that_comes_after_its_candle_explains_it() -> None:
    """The other side of a gap shows late; only what looks otherwise by it is sent again."""
    causes = Causes(0)
    view = view_of(kline(3, complete=False), causes=causes)
    view.take_past(past(1, 6))
    view.candles()
    assert view.explain() == []
    of: Any = {"market": "linear", "symbols": ("BTCUSDT",)}
    causes.add(0, Gap(**of, kind="trades", from_ms=3 * MINUTE_MS, until_ms=3 * MINUTE_MS + 1_000))
    (message,) = view.explain()
    assert read(message)["row"][REASON] == "Trades missing 00:03:00 to 00:03:01 UTC"
    assert view.explain() == []
    assert read(view.candles())["rows"][2][REASON] == "Trades missing 00:03:00 to 00:03:01 UTC"


def test_a_view_stays_bounded_however_long_it_is_open() -> None:
    """Five hundred candles and the open one are shown."""
    view = view_of()
    view.take_past(past(0, 10))
    for number in range(3 * CANDLES):
        view.closed(kline(number))
    view.opened(kline(3 * CANDLES, complete=False))
    shown = read(view.candles())["rows"]
    assert len(shown) == CANDLES + 1
    assert shown[-1][0] == 3 * CANDLES * 60
    assert len(view._own) < 3 * CANDLES


def test_what_is_missing_of_history_is_said() -> None:
    """A sentence to be shown."""
    view = view_of()
    view.take_past(replace(past(1, 1), candles=(), note="The exchange's REST API cannot be read now."))
    shown = read(view.candles())
    assert (shown["rows"], shown["note"]) == ([], "The exchange's REST API cannot be read now.")


def test_an_open_candle_looks_for_no_causes() -> None:
    """It comes every second, and causes are many where the network is bad."""

    class Unasked(Causes):
        def of(self, market: str, symbol: str) -> Any:
            raise AssertionError("nobody needs them")

    assert read(view_of(causes=Unasked(0)).opened(kline(1)))["row"][FLAGS] == OPEN
