"""Topics by name, for what the four kinds do not cover."""

import pytest

from exchanges.bybit.topics import check_request


def test_topics_are_taken_as_named_without_repeats():
    """Old depths, other streams: whether they exist is for the exchange to say."""
    assert check_request("linear", "topics", ["kline.5.BTCUSDT", "kline.5.BTCUSDT", "orderbook.500.X"], 50) == [
        "kline.5.BTCUSDT",
        "orderbook.500.X",
    ]


@pytest.mark.parametrize("wrong", [[], "", "BTCUSDT", 'a."b', "kline."])
def test_what_is_no_topic_is_named(wrong):
    """The message shows how a topic looks."""
    with pytest.raises(ValueError, match=r"kline\.5\.BTCUSDT"):
        check_request("linear", "topics", wrong, 50)
