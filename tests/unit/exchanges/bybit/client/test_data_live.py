"""Prices that streams keep: an odd one is asked for by REST."""

from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from exchanges.bybit.client.data_live import Live
from exchanges.bybit.client.errors import BadAnswerError


def live(*rows: tuple[str, Any]) -> Live[Decimal]:
    """Without streams; REST has these symbols and last prices."""
    tickers = [SimpleNamespace(symbol=symbol, last_price=price) for symbol, price in rows]
    market = SimpleNamespace(get_tickers=lambda **_params: SimpleNamespace(models=tickers))
    client: Any = SimpleNamespace(market=market, number=Decimal)
    return Live(client)


@pytest.mark.parametrize(
    ("text", "price"), [("5.50", "5.50"), ("dear", "7"), ("NaN", "7"), (["5"], "7"), (None, "7")], ids=str
)
def test_what_a_stream_sends_counts_where_it_is_a_number(text: Any, price: str) -> None:
    """Else the price is REST's."""
    one = live(("A", Decimal(7)))
    one.take_ticker(("linear", "A"), {"data": {"symbol": "A", "lastPrice": text}})
    assert one.price(("linear", "A")) == Decimal(price)


def test_another_symbols_price_is_none() -> None:
    """Whatever comes first in an answer."""
    assert live(("B", Decimal(1)), ("A", Decimal(7))).price(("linear", "A")) == 7
    with pytest.raises(BadAnswerError, match="no last price"):
        live(("B", Decimal(1))).price(("linear", "A"))
