"""exchanges.bybit.dialect: what needs no server."""

import pytest

from exchanges.bybit.dialect.dialect import BybitDialect
from model.dialect import DialectOptions

PAYLOAD = b'{"topic":"publicTrade.BTCUSDT","type":"snapshot"}'


@pytest.mark.parametrize(
    ("payload", "topic"),
    [(PAYLOAD, "publicTrade.BTCUSDT"), (b'{"ts":1, "topic" : "tickers.X"}', "tickers.X"), (b"", ""), (b"{}", "")],
)
def test_the_topic_of_a_payload_is_found(payload, topic):
    """First in the message as Bybit has it, or anywhere."""
    assert BybitDialect(DialectOptions()).topic_of(payload) == topic


EVERY_KIND = ("trades", "orderbook", "ticker", "liquidations")


@pytest.mark.parametrize(
    ("market", "kinds", "topics"),
    [
        ("linear", EVERY_KIND, {"publicTrade.A", "tickers.A", "allLiquidation.A", "orderbook.1.A", "orderbook.50.A"}),
        ("spot", EVERY_KIND, {"publicTrade.A", "tickers.A", "orderbook.1.A", "orderbook.50.A"}),
        ("linear", ("ticker",), {"tickers.A"}),
        ("linear", ("orderbook",), {"orderbook.1.A", "orderbook.50.A"}),
        ("linear", (), set()),
    ],
)
def test_a_client_may_subscribe_what_is_collected(market, kinds, topics):
    """By kind, and books no deeper than the collected one; klines in any case, of the intervals that are made."""
    symbols = {"linear": ["A"], "spot": ["A"], "inverse": ["B"]}
    dialect = BybitDialect(
        DialectOptions(markets=("linear", "spot"), kinds=kinds, intervals=("5m",), symbols=lambda name: symbols[name])
    )
    names = ["publicTrade", "tickers", "allLiquidation", "price", "", *(f"orderbook.{n}" for n in (1, 3, 50, 200, "x"))]
    names += ["kline.5", "kline.1", "kline"]
    asked = [f"{name}.{symbol}" for name in names for symbol in ("A", "B", "")] + names

    assert {topic for topic in asked if dialect.has(market, topic)} == topics | {"kline.5.A"}
