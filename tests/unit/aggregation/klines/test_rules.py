"""Klines by each exchange's rule, all fields, against ten lines of fractions: opens, contracts, matches, anchors."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregation.klines.arithmetic import Arithmetic
from aggregation.klines.table import KlineTable
from aggregation.recovery.candles import candles_of_trades
from model.intervals import parse_interval
from model.markets import KlineRules, MarketSpec
from model.records import PastTrade, TradeBatch

T0 = 1_772_236_799_000  # the last second of a February
SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
LENGTHS = {"1s": SECOND, "1m": MINUTE, "5m": 5 * MINUTE, "1h": HOUR, "1d": DAY}


class Match(NamedTuple):
    symbol: str
    event_ms: int
    price: Decimal
    size: Decimal
    matches: int


def windows(name: str, from_ms: int, until_ms: int) -> list[tuple[int, int]]:
    """The (start, end) of all windows since the one of `from_ms`, by the calendar of UTC."""
    day = datetime.fromtimestamp(from_ms // DAY * DAY / 1000, UTC)
    found: list[tuple[int, int]] = []
    start = from_ms // LENGTHS.get(name, DAY) * LENGTHS.get(name, DAY)
    if name == "1w":
        start -= day.weekday() * DAY
    if name == "1M":
        start -= (day.day - 1) * DAY
    while True:
        end = start + LENGTHS.get(name, 7 * DAY)
        if name == "1M":
            first = datetime.fromtimestamp(start / 1000, UTC)
            end = int(((first + timedelta(days=32)).replace(day=1)).timestamp() * 1000)
        if end > until_ms:
            return found
        found.append((start, end))
        start = end


def reference(
    trades: Sequence[Match], bounds: Sequence[tuple[int, int]], arithmetic: Arithmetic, worth: Decimal
) -> list[tuple[Any, ...]]:
    """Start, open, high, low, close, volume, trade_count and turnover of each window of one symbol."""
    out: list[tuple[Any, ...]] = []
    close: Decimal | None = None
    for start, end in bounds:
        inside = [trade for trade in trades if start <= trade.event_ms < end]
        prices = [trade.price for trade in inside]
        if close is not None and (arithmetic.opens_at == "prev_close" or not prices):
            prices.insert(0, close)
        close, volume = prices[-1], sum(trade.size for trade in inside) * worth
        sums = volume, sum(trade.matches for trade in inside), turnover(inside, arithmetic, worth)
        out.append((start, prices[0], max(prices), min(prices), close, *sums))
    return out


def turnover(inside: Sequence[Match], arithmetic: Arithmetic, worth: Decimal) -> Fraction:
    if not arithmetic.is_inverse:
        return sum((Fraction(t.price) * Fraction(t.size) for t in inside), Fraction(0)) * Fraction(worth)
    coins = [Fraction(t.size) * Fraction(worth) / Fraction(t.price) * 10**8 for t in inside]
    if arithmetic.cuts_each:
        return Fraction(sum(int(each) for each in coins), 10**8)
    return Fraction(int(sum(coins, Fraction(0)) + Fraction(1, 2)), 10**8)


def batch(trades: Sequence[Match], *, with_matches: bool = True) -> TradeBatch:
    return TradeBatch(
        symbols=[trade.symbol for trade in trades],
        event_ms=[trade.event_ms for trade in trades],
        prices=[float(trade.price) for trade in trades],
        sizes=[float(trade.size) for trade in trades],
        seqs=[0] * len(trades),
        ids=[""] * len(trades),
        matches=[trade.matches for trade in trades] if with_matches else None,
    )


def fields(kline: Any) -> tuple[Any, ...]:
    sums = kline.volume, kline.trade_count, kline.turnover
    return (kline.timestamp, kline.open, kline.high, kline.low, kline.close, *sums)


BYBIT = Arithmetic()
BYBIT_INVERSE = Arithmetic(is_inverse=True)
SPOT = Arithmetic("first_trade", "first_trade")
SWAP = Arithmetic("first_trade", "first_trade", has_contracts=True)
COIN_SWAP = Arithmetic("first_trade", "first_trade", is_inverse=True, cuts_each=False, has_contracts=True)
DOLLARS = Arithmetic("prev_close", "prev_close", is_inverse=True, cuts_each=False)
SIZES = [Decimal(text) for text in ("0.0001", "0.01", "10", "100", "1000000")]

spans = st.sampled_from(
    [
        (("1s", "1m", "5m"), 40 * SECOND),
        (("1m", "5m", "1h", "1d"), 3 * HOUR),
        (("1h", "1d", "1w", "1M"), 9 * DAY),
        (("1d", "1w"), 20 * DAY),
    ]
)
prices = st.one_of(st.decimals("0.0005", "99999", places=4), st.sampled_from([Decimal(3), Decimal("0.7"), Decimal(6)]))
amounts = st.one_of(st.integers(1, 30).map(Decimal), st.decimals("0.01", "99999", places=2))


@settings(max_examples=60, deadline=None)
@given(st.data())
@pytest.mark.parametrize("arithmetic", [BYBIT, BYBIT_INVERSE, SPOT, SWAP, COIN_SWAP, DOLLARS])
def test_every_field_equals_the_reference(arithmetic, data):
    """Several symbols, windows without trades, every interval and anchor, however trades are cut into batches."""
    names, longest_ms = data.draw(spans)
    gap = st.one_of(st.integers(0, 2_000), st.integers(0, longest_ms))
    row = st.tuples(st.sampled_from("ABC"), gap, prices, amounts, st.integers(1, 400))
    now, trades = T0, []
    for symbol, gap_ms, price, size, matches in data.draw(st.lists(row, min_size=1, max_size=14)):
        now += gap_ms
        trades.append(Match(symbol, now, price, size, matches))
    worth = {symbol: data.draw(st.sampled_from(SIZES)) for symbol in "ABC"} if arithmetic.has_contracts else {}
    until = now + longest_ms + 5 * MINUTE
    kt, cut, klines = KlineTable(map(parse_interval, names), arithmetic=arithmetic, size_of=worth.get), 0, []
    while cut < len(trades):
        part = data.draw(st.integers(1, 5))
        klines += kt.add(batch(trades[cut : cut + part]))
        cut += part
    klines += kt.close_until(until)

    for symbol in {trade.symbol for trade in trades}:
        own, size = [trade for trade in trades if trade.symbol == symbol], worth.get(symbol, Decimal(1))
        for name in names:
            bounds = windows(name, own[0].event_ms, until)
            got = [
                fields(k) for k in klines if k.symbol == symbol and (k.timestamp, k.timestamp + k.interval) in bounds
            ]
            assert got == reference(own, bounds, arithmetic, size), name


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 40_000), prices, amounts, st.integers(1, 9)), min_size=2, max_size=20))
@pytest.mark.parametrize("arithmetic", [BYBIT, BYBIT_INVERSE, SPOT, SWAP, COIN_SWAP, DOLLARS])
def test_candles_made_of_past_trades_equal_the_table(arithmetic, rows):
    """What a restart, or an interval without candles, is filled with is what would have been counted."""
    now, past, size = T0, [], Decimal(10) if arithmetic.has_contracts else Decimal(1)
    for gap_ms, price, amount, matches in rows:
        now += gap_ms
        past.append(PastTrade("", now, float(price), float(amount), 0, matches=matches))
    until = (now // MINUTE + 2) * MINUTE
    kt = KlineTable([parse_interval("1m")], arithmetic=arithmetic, size_of=lambda _: size)
    trades = [Match("A", t.event_ms, Decimal(repr(t.price)), Decimal(repr(t.size)), t.matches) for t in past]
    klines = kt.add(batch(trades)) + kt.close_until(until)
    first, *later = [(k.timestamp, k.timestamp + k.interval) for k in klines]
    found = candles_of_trades(past, [first, *later], arithmetic, size)

    assert [fields_of_candle(found[start]) for start, _ in later] == [fields(k) for k in klines[1:]]


def fields_of_candle(candle: Any) -> tuple[Any, ...]:
    sums = candle.volume, candle.trade_count, candle.turnover
    return (candle.start_ms, candle.open, candle.high, candle.low, candle.close, *sums)


@pytest.mark.parametrize("with_matches", [True, False])
def test_a_trade_counts_as_many_times_as_it_stands_for(with_matches):
    """Also a late one; without the column each is one."""
    kt = KlineTable([parse_interval("1m")])
    one = Match("A", T0 - 30_000, Decimal(1), Decimal(1), 7)
    first = kt.add(batch([one, one._replace(event_ms=T0 + 1_000)], with_matches=with_matches))
    (revised,) = kt.add(batch([one], with_matches=with_matches))

    assert [k.trade_count for k in (*first, revised)] == ([7, 14] if with_matches else [1, 2])


@pytest.mark.parametrize(("price", "coins"), [(3, Decimal(1)), (600_000_000, Decimal("1e-8"))])
def test_endless_quotients_that_add_up_are_exact(price, coins):
    """A third and two thirds of a coin are one; those of half a last digit are half, which is rounded up."""
    kt = KlineTable([parse_interval("1m")], arithmetic=COIN_SWAP, size_of=lambda _: Decimal(1))
    kt.add(batch([Match("A", T0 - 59_000 + i, Decimal(price), Decimal(size), 1) for i, size in enumerate((1, 2))]))

    assert [k.turnover for k in kt.close_until(T0 + 1_000)] == [coins]


def test_pushed_coin_turnovers_are_those_of_binance():
    """EOSUSD_PERP of 2021-07-22, and its taker buys: the one way to trade so much at two prices."""
    for rows, pushed in (((("3.468", 1465), ("3.467", 130)), "4599.30073932"), ((("3.468", 401),), "1156.28604383")):
        kt = KlineTable([parse_interval("1m")], arithmetic=COIN_SWAP, size_of=lambda _: Decimal(10))
        kt.add(batch([Match("A", T0 - 59_000, Decimal(price), Decimal(size), 1) for price, size in rows]))

        assert [k.turnover for k in kt.close_until(T0 + 1_000)] == [Decimal(pushed)]


def test_the_arithmetic_follows_from_what_a_market_is_and_not_from_its_name():
    """The contract decides; KLINE_OPEN changes how klines open, and not how the exchange's candles do."""
    rules = KlineRules("first_trade", inverse_digits=4)
    spec = MarketSpec("inverse", "CM", "linear", ("trades",), (20,), rules)

    assert Arithmetic.of(spec) == Arithmetic("first_trade", "first_trade", inverse_digits=4)
    assert Arithmetic.of(spec, "prev_close").opens_as_exchange is False
    assert Arithmetic.of(spec, "first_trade").opens_as_exchange is True


def test_contracts_are_never_cut_trade_by_trade():
    """Their coins are known only with the size, when the kline is made."""
    spec = MarketSpec("coins", "CM", "inverse", ("trades",), (20,), KlineRules("first_trade"), has_contracts=True)

    assert Arithmetic.of(spec) == COIN_SWAP
