"""A kline beside the exchange's candle."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from aggregation.audit.compare import FIELDS, FIELDS_WITHOUT_OPEN, Tally, advice_on, compare, is_left_out, served_step
from aggregation.klines.arithmetic import Arithmetic
from model.markets import KlineRules, MarketSpec
from model.records import Candle
from tests.support.klines import kline

DAY_MS = 86_400_000
STEPS_MS = (60_000, 300_000, DAY_MS, 7 * DAY_MS, 0)


def candle_of(one, **changes):
    values = {name: getattr(one, name) for name in FIELDS}
    return Candle(start_ms=one.timestamp, **(values | {name: Decimal(value) for name, value in changes.items()}))


def month_ms(month, year=2026):
    return int(datetime(year, month, 1, tzinfo=UTC).timestamp() * 1000)


def test_equal_numbers_are_equal_however_written():
    """The exchange writes trailing zeros."""
    one = kline()
    assert compare(one, candle_of(one, open="92967.80", volume="33.40428500")) == ()


@pytest.mark.parametrize("field", FIELDS)
def test_each_field_is_compared_to_the_last_digit(field):
    """One unit in the fourteenth decimal is a difference."""
    one = kline()
    assert compare(one, candle_of(one, **{field: getattr(one, field) + Decimal("1e-14")})) == (field,)


def test_an_exchange_may_have_no_candle_where_nothing_was_traded():
    """By the declaration of its market; where something was traded it must have one."""
    lacking = Arithmetic.of(
        MarketSpec("spot", "spot", "spot", ("trades",), (), KlineRules("first_trade", lacks_quiet=True))
    )
    quiet = kline(volume=Decimal(0), trade_count=0)
    assert is_left_out(quiet, lacking)
    assert not is_left_out(kline(), lacking)
    assert not is_left_out(quiet, Arithmetic())


def test_fields_that_mean_something_else_are_left_out():
    """With opens from the first trade, open, high and low are not the exchange's."""
    one = kline()
    assert compare(one, candle_of(one, open="1", high="2", low="3"), FIELDS_WITHOUT_OPEN) == ()


def test_interval_is_what_the_exchange_calls_it():
    """Its own lengths, months by the calendar, and nothing else."""
    assert served_step(kline(interval=60_000), STEPS_MS) == 60_000
    assert served_step(kline(interval=1_000), STEPS_MS) is None
    assert served_step(kline(interval=28 * DAY_MS, timestamp=month_ms(2)), STEPS_MS) == 0
    assert served_step(kline(interval=28 * DAY_MS, timestamp=month_ms(3)), STEPS_MS) is None
    assert served_step(kline(interval=31 * DAY_MS, timestamp=month_ms(3)), (60_000,)) is None


def test_advice_names_the_settings_and_the_direction():
    """Which trades are left out is not in a candle, so it names where to look; without a difference it is empty."""
    more, less = Tally(), Tally()
    one = kline()
    more.count(one, candle_of(one, volume="33"), ("volume",))
    less.count(one, candle_of(one, volume="34"), ("volume",))
    more.count(one, candle_of(one), ())

    assert (more.compared, more.equal, more.different, more.fields) == (2, 1, 1, {"volume": 1})
    advice = advice_on([more, less]) or ""
    assert "larger in 1 and smaller in 1" in advice
    assert "COUNT_BLOCK_TRADES and COUNT_RPI_TRADES" in advice
    assert "set to true" not in (advice_on([more]) or "")
    assert advice_on([Tally()]) is None
