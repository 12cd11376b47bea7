"""Klines as OKX's rows of candles."""

from decimal import Decimal

import pytest

from exchanges.okx.candles import candle_row, contract_size_of
from tests.support.klines import kline


@pytest.mark.parametrize(
    ("market", "size", "volumes", "expected"),
    [
        ("spot", "1", ("2.16787395", "138825.265446816"), ["2.16787395", "138825.265446816", "138825.265446816"]),
        ("linear", "0.01", ("18.0361", "1153203.99426"), ["1803.61", "18.0361", "1153203.99426"]),
        ("linear", "10", ("11990", "6889.352"), ["1199", "11990", "6889.352"]),
        ("inverse", "100", ("4500", "0.07042254"), ["45", "0.07042254", "4500"]),
        ("linear", "0.01", ("0", "0"), ["0", "0", "0"]),
    ],
)
def test_volumes_are_in_contracts_in_the_coin_and_in_the_quote(market, size, volumes, expected):
    """As recorded of OKX; of spot the quote comes twice."""
    volume, turnover = map(Decimal, volumes)
    row = candle_row(market, kline(1, volume=volume, turnover=turnover), Decimal(size), is_closed=True)
    assert row is not None
    assert (row[5:8], row[8]) == (expected, "1")


def test_a_volume_that_is_no_number_of_contracts_makes_no_row():
    """Better none than one that is not exact: the size of a contract may have changed since."""
    for volume in (1, 2):
        assert candle_row("linear", kline(1, volume=Decimal(volume)), Decimal(3), is_closed=False) is None


def test_spot_has_no_contracts():
    """Their size is asked for swaps alone; one that is not known, or 0, is none."""
    sizes = {("linear", "A"): Decimal(10), ("linear", "B"): Decimal(0)}
    assert contract_size_of("spot", "A", lambda *_: None) == 1
    assert [contract_size_of("linear", name, lambda *key: sizes.get(key)) for name in "ABC"] == [10, None, None]
