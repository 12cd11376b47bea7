"""Turnover of inverse contracts: size over price of each trade, cut to eight decimals, then added."""

import csv
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregation.klines import bars as b
from aggregation.klines.windows import turnover_of
from aggregation.recovery.candles import candles_of_trades
from tests.support.arithmetic import INVERSE
from tests.support.candles import INVERSE_TICKS, Rows, inverse_trades, thin_candles
from tests.support.trades import past_trade
from tests.unit.aggregation.klines.test_table import MINUTE, T0, table, trades, values
from tests.unit.aggregation.reference import Trade, candles

units = st.integers(1, 2**50 - 1)


@given(st.lists(st.tuples(units, units, st.integers(-6, 22)), min_size=1, max_size=8))
def test_quotients_are_those_of_whole_numbers(rows):
    """Whatever the scales: cut, never rounded, and no digit lost where 64 bits do not hold it."""
    expected = [size * 10 ** max(n, 0) // (price * 10 ** max(-n, 0)) for price, size, n in rows]
    prices, sizes, digits = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    for dtype in (object, *([np.int64] if max(expected) < 2**100 else [])):
        high, low = b.quotients(prices.astype(dtype), sizes.astype(dtype), digits)

        assert list(map(turnover_of, high.tolist(), low.tolist())) == expected


contracts = st.tuples(
    st.integers(0, 40_000), st.decimals("0.0005", "99999", places=4), st.integers(1, 10**7), st.sampled_from(["A", "B"])
)


@settings(max_examples=100, deadline=None)
@given(st.lists(contracts, min_size=1, max_size=40), st.integers(1, 9))
def test_inverse_table_equals_the_decimal_reference(rows, cut):
    """However trades are cut into batches, whatever scales they bring, at every interval."""
    now, steps, kt, klines = 0, [], table("5s", "1m", "3m", arithmetic=INVERSE), []
    for gap, price, size, symbol in rows:
        now += gap
        steps.append((now, price, size, symbol))
    for first in range(0, len(steps), cut):
        klines += kt.add(trades(*steps[first : first + cut]))
    until = T0 + now + 10 * MINUTE
    klines += kt.close_until(until)
    for symbol in {row[3] for row in steps}:
        own = [Trade(symbol, T0 + ms, price, Decimal(size)) for ms, price, size, name in steps if name == symbol]
        for step_ms in (5_000, MINUTE, 3 * MINUTE):
            got = [values(k) for k in klines if k.symbol == symbol and k.interval == step_ms]

            assert candles(own, step_ms, until, inverse=True) == got


def test_archived_trades_are_worth_what_the_exchange_wrote(shared_data):
    """Nine rows of Bybit's trade files of 2021, `grossValue` in hundred-millionths of the coin."""
    with (shared_data / "truth/bybit_inverse_archive_rows.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        kt = table("1m", arithmetic=INVERSE)
        kt.add(trades((0, row["price"], row["size"])))
        (kline,) = kt.close_until(T0 + MINUTE)

        assert kline.turnover.scaleb(8) == int(row["grossValue"]), row
    assert len(rows) == 9


@pytest.mark.parametrize("way", ["table", "past"])
def test_thin_candles_equal_the_exchange(shared_data, way):
    """All candles of 2022 of one price or of two neighbours, in six fields; their trades are made up to fit.

    With two prices the turnover says how much was traded at each. Quotients added and then rounded equal 5 of them.
    """
    compared = 0
    for coin, tick in INVERSE_TICKS.items():
        for start_ms, candle in thin_candles(shared_data / f"truth/bybit_inverse_{coin}USD_1m_2022-04-12.csv", tick):
            rows = inverse_trades(*candle)
            assert by_way[way](candle[0], rows) == candle, (coin, start_ms)
            compared += 1

    assert compared == 54


def by_table(opened: Decimal, rows: Rows) -> tuple[Decimal, ...]:
    kt = table("1m", arithmetic=INVERSE)
    kt.add(trades((-1, opened, 1), *((ms, *row) for ms, row in enumerate(rows))))
    kline = kt.close_until(T0 + MINUTE)[-1]
    return (kline.open, kline.high, kline.low, kline.close, kline.volume, kline.turnover)


def by_past(opened: Decimal, rows: Rows) -> tuple[Decimal, ...]:
    past = [(-1, opened, 1), *((ms, *row) for ms, row in enumerate(rows))]
    found = candles_of_trades(
        [past_trade(T0 + ms, float(price), float(size)) for ms, price, size in past],
        [(T0, T0 + MINUTE)],
        INVERSE,
    )
    candle = found[T0]
    return (candle.open, candle.high, candle.low, candle.close, candle.volume, candle.turnover)


by_way = {"table": by_table, "past": by_past}
