"""Topics by name, for what the four kinds do not cover."""

import pytest

from exchanges.bybit.protocol import check_request, read_topic


def test_topics_are_taken_as_named_without_repeats():
    """Old depths, other streams: the exchange itself refuses those that do not exist."""
    assert check_request("linear", "topics", ["kline.5.BTCUSDT", "kline.5.BTCUSDT", "orderbook.500.X"], 50) == [
        "kline.5.BTCUSDT",
        "orderbook.500.X",
    ]


@pytest.mark.parametrize("wrong", [[], "", "BTCUSDT", 'a."b', "kline."])
def test_what_is_no_topic_is_named(wrong):
    """The message shows how a topic looks."""
    with pytest.raises(ValueError, match=r"kline\.5\.BTCUSDT"):
        check_request("linear", "topics", wrong, 50)


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        ("publicTrade.BTCUSDT", ("trades", None, "BTCUSDT")),
        (" publicTrade.btcusdt ", ("trades", None, "btcusdt")),
        ("tickers.币安人生USDT", ("ticker", None, "币安人生USDT")),
        ("allLiquidation.BTCUSD", ("liquidations", None, "BTCUSD")),
        ("orderbook.200.BTC-26DEC25", ("orderbook", 200, "BTC-26DEC25")),
        ("orderbook.500.BTCUSDT", None),
        ("orderbook.BTCUSDT", None),
        ("orderbook.x.BTCUSDT", None),
        ("liquidation.BTCUSDT", None),
        ("kline.5.BTCUSDT", None),
        ("system.status", None),
        ("publicTrade.", None),
        ("publicTrade", None),
        ("x.publicTrade.BTCUSDT", None),
        ("", None),
    ],
)
def test_topics_of_the_other_kinds_are_known(topic, expected):
    """By kind, depth and symbol; a depth that Bybit has no more is of no kind."""
    assert read_topic(topic) == expected
