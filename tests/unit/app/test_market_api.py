"""Whether a collector answers the exchange's own REST protocol, and from which symbols."""

import pytest


@pytest.mark.parametrize(
    ("environ", "paths"),
    [
        ({}, {"/v5/"}),
        ({"MARKET_API": "false"}, set()),
        ({"EXCHANGE": "gate"}, set()),  # whose protocol is not served
        ({"BYBIT_WS_URL": "ws://127.0.0.1:1/v5/public/linear", "KLINE_REPAIR": "false"}, {"/v5/"}),  # without REST
    ],
)
def test_it_is_on_where_the_exchange_has_it(collect, environ, paths):
    collector, _ = collect(**environ)
    assert set(collector.served.routes()) == paths


def test_the_symbols_are_those_that_are_collected(collect, monkeypatch):
    """Of the settings and of entries; the set is made anew only when they change."""
    collector, _ = collect()
    monkeypatch.setattr(collector, "_brought", {("linear", "BTCUSDT"), ("spot", "ETHUSDT")})
    assert set(collector.served.symbols("linear")) == {"BTCUSDT"}
    assert collector.served.symbols("linear") is collector.served.symbols("linear")
    assert not collector.served.symbols("option")
    monkeypatch.setattr(collector, "_brought", set())
    assert not collector.served.symbols("linear")
