"""Which kinds of payload make which envelopes."""

from typing import Any

import pytest

from exchanges.bybit.records import RECORDS
from exchanges.records import MergingReader, TradeReader

TICKER = b'{"topic":"tickers.A","type":"snapshot","data":{"symbol":"A","lastPrice":"1"}}'


@pytest.mark.parametrize(
    ("kind", "types", "made"),
    [
        ("ticker", {"price"}, MergingReader),
        ("ticker", {"trades"}, None),
        ("trades", {"trades"}, TradeReader),
        ("trades", {"ticker", "price"}, None),
        ("orderbook", {"ticker", "price", "trades"}, None),
        ("ticker", (), None),
    ],
)
def test_a_kind_has_a_reader_where_its_envelopes_are_wanted(kind, types, made):
    """Other kinds have no reader and cost nothing."""
    reader = RECORDS.reader(kind, lambda *_: None, types)

    assert reader is made is None or type(reader) is made


def read(kind: str, types: set[str]) -> dict[str, Any]:
    reader = RECORDS.reader(kind, lambda *_: None, types)
    assert reader
    return dict(reader([TICKER]))


def test_only_the_wanted_of_a_kind_is_made():
    """Prices without tickers, and the other way round."""
    assert read("ticker", {"price"}).keys() == {"price"}
    assert read("ticker", {"ticker"}).keys() == {"ticker"}
