"""Candles that are still open, as the paths that speak Bybit show them."""

import time
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from aggregation.aggregator import Aggregator
from aggregation.klines.table import KlineTable
from model.intervals import parse_interval
from model.records import TradeBatch
from tests.unit.aggregation.reference import Trade, true_candle

T0 = 1_700_000_040_000
INTERVALS = ("1s", "5s", "1m")
STEPS_MS = (1_000, 5_000, 60_000)

streams = st.lists(
    st.tuples(st.integers(0, 90_000), st.decimals("0.01", "99", places=2), st.sampled_from(["A", "B"])),
    min_size=1,
    max_size=40,
)


def columns(trades: list[Trade]) -> TradeBatch:
    return TradeBatch(
        symbols=[t.symbol for t in trades],
        event_ms=[t.event_ms for t in trades],
        prices=[float(t.price) for t in trades],
        sizes=[float(t.size) for t in trades],
        seqs=[0 for _ in trades],
        ids=["" for _ in trades],
    )


@settings(max_examples=150, deadline=None)
@given(streams, st.integers(1, 5))
def test_they_are_what_was_traded_so_far(rows, batch):
    """At every moment, every interval: the reference over the window of the newest trade; closing goes on as if
    nobody had looked."""
    trades = [Trade(symbol, T0 + ms, price, Decimal(1)) for ms, price, symbol in sorted(rows)]
    looked = KlineTable(map(parse_interval, INTERVALS), event_clock=True)
    alone = KlineTable(map(parse_interval, INTERVALS), event_clock=True)
    for first in range(0, len(trades), batch):
        part = columns(trades[first : first + batch])
        assert looked.add(part) == alone.add(part)
        seen = trades[: first + batch]
        shown = {(k.symbol, k.interval): k for k in looked.open_klines()}
        for symbol in {t.symbol for t in seen}:
            own = [t for t in seen if t.symbol == symbol]
            for step_ms in STEPS_MS:
                kline = shown[symbol, step_ms]
                start_ms = own[-1].event_ms // step_ms * step_ms
                found = (
                    kline.open,
                    kline.high,
                    kline.low,
                    kline.close,
                    kline.volume,
                    kline.turnover,
                    kline.trade_count,
                )
                assert (kline.timestamp, found) == (start_ms, true_candle(own, start_ms, step_ms))


def test_complete_are_those_of_which_nothing_is_missing_so_far():
    """A feed that came up within them, a gap, a price from before it: each costs the windows it touches, no others."""
    table = KlineTable(map(parse_interval, ("1m", "5m")), needs_feed=True)

    def step(at_ms, *trades):
        list(table.closing(T0 + at_ms, None))
        table.add(columns([Trade("A", T0 + ms, Decimal(1), Decimal(1)) for ms in trades]))
        return {k.interval // 60_000: k.complete for k in table.open_klines(["A"])}

    table.feed.up(["A"], T0 + 1_000)
    assert step(5_000, 5_000) == {1: False, 5: False}  # T0 begins a minute, and T0 + 60 s five
    assert step(65_000, 65_000) == {1: True, 5: True}
    assert step(130_000, 131_000) == {1: True, 5: True}
    table.feed.down(["A"], T0 + 132_000)
    table.feed.up(["A"], T0 + 133_000)
    assert step(134_000, 134_000) == {1: False, 5: False}
    assert step(185_000, 185_000) == {1: True, 5: False}
    assert step(361_000, 361_000) == {1: True, 5: True}


def test_without_a_trade_nothing_is_open():
    """A market without symbols shows nothing."""
    assert KlineTable(map(parse_interval, INTERVALS)).open_klines() == []


def test_the_aggregator_offers_open_klines_only_while_they_are_wanted():
    """Every so often, per market; what raises there costs nothing else."""
    shown, wanted = list[tuple[str, list[int]]](), list[bool]()

    def offer(market, klines):
        shown.append((market, [k.interval for k in klines]))
        if len(shown) == 2:
            raise ValueError("a bad day")

    aggregator = Aggregator(["linear"], [parse_interval("1s")], lambda *_: columns([]), lambda _market, _klines: None)
    aggregator.tables["linear"].add(columns([Trade("A", T0, Decimal(1), Decimal(1))]))
    aggregator.share_open_klines(lambda _market: None if wanted else (), offer, 0.5)
    aggregator.offer_open_klines(10.0)
    assert shown == []
    wanted.append(True)
    for now_s in (10.0, 10.1, 10.6, 11.2):
        aggregator.offer_open_klines(now_s)
    assert shown == [("linear", [1_000])] * 3
    assert aggregator.failures == 1


def test_where_somebody_waits_they_come_sooner_but_take_little_of_the_thread():
    """A fifth of a second later, or fifty times of what the last ones took."""
    shown, waits = list[float](), list[bool]()

    def offer(_market, _klines):
        time.sleep(0.01)
        shown.append(clock)

    aggregator = Aggregator(["linear"], [parse_interval("1s")], lambda *_: columns([]), lambda _market, _klines: None)
    aggregator.tables["linear"].add(columns([Trade("A", T0, Decimal(1), Decimal(1))]))
    aggregator.share_open_klines(lambda _market: None, offer, 500.0, lambda: bool(waits))
    for clock in (10.0, 10.3, 10.4):
        aggregator.offer_open_klines(clock)
    waits.append(True)
    for clock in (10.45, 100.0, 100.1, 200.0):
        aggregator.offer_open_klines(clock)
    assert shown == [10.0, 100.0, 200.0]
