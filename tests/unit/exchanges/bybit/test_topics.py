"""The topics of a request, and the batches of their subscriptions."""

import pytest

from exchanges.bybit.protocol import check_request, check_symbols, fast_prefix, plan_batches, symbol_of


def test_one_symbol_or_many_are_the_same_request() -> None:
    """A text, a list, a tuple; repeats are dropped, the order stays."""
    assert check_symbols("BTCUSDT") == ["BTCUSDT"]
    assert check_symbols(("ETHUSDT", "BTCUSDT", "ETHUSDT")) == ["ETHUSDT", "BTCUSDT"]


@pytest.mark.parametrize("symbols", ["", [], ["BTC/USDT"], ["BTC USDT"], ["BTC.USDT"], ['BTC"'], [7], [None]])
def test_a_wrong_symbol_is_refused_by_name(symbols: object) -> None:
    """It would be refused by the exchange together with its neighbours."""
    with pytest.raises(ValueError, match="symbol"):
        check_symbols(symbols)  # type: ignore[arg-type]


@pytest.mark.parametrize("symbol", ["1000PEPEUSDT", "BTC-27MAR26-70000-P-USDT", "BTCUSDT-26DEC25", "BTC"])
def test_bybits_stranger_symbols_pass(symbol: str) -> None:
    """Options, dated futures, base coins."""
    assert check_symbols(symbol) == [symbol]


@pytest.mark.parametrize(
    ("market", "kind", "depth", "text"),
    [
        ("futures", "trades", 50, "market is 'futures'"),
        ("linear", "klines", 50, "kind is 'klines'"),
        ("spot", "liquidations", 50, "no liquidations for spot"),
        ("option", "liquidations", 50, "no liquidations for option"),
        ("linear", "orderbook", 500, "depth is 500, linear has 1, 50, 200, 1000"),
        ("option", "orderbook", 50, "depth is 50, option has 25, 100"),
    ],
)
def test_what_bybit_does_not_have_is_refused(market: str, kind: str, depth: int, text: str) -> None:
    """With what it has instead."""
    with pytest.raises(ValueError, match=text):
        check_request(market, kind, "BTCUSDT", depth)


def test_spot_takes_ten_topics_per_message() -> None:
    """`args size >10` refuses all of them."""
    topics = [f"publicTrade.C{i}USDT" for i in range(25)]
    assert [len(batch) for batch in plan_batches("spot", topics)] == [10, 10, 5]
    assert [len(batch) for batch in plan_batches("linear", topics)] == [25]


def test_batches_keep_every_topic_in_its_order() -> None:
    """Nothing is lost between messages."""
    topics = [f"publicTrade.C{i}USDT" for i in range(601)]
    batches = plan_batches("linear", topics)
    assert [topic for batch in batches for topic in batch] == topics
    assert max(map(len, batches)) <= 200


def test_a_connection_holds_21000_characters_counted_with_quotes_and_commas() -> None:
    """22 characters per topic: 954 fit, one more does not; the error explains how to split."""
    topics = [f"publicTrade.C{i:03}USD" for i in range(955)]
    assert len(topics[0]) == 19
    plan_batches("linear", topics[:954])
    with pytest.raises(ValueError, match=r"955 topics .* the first 954 fit; split .* over 2 or more STREAMS entries"):
        plan_batches("linear", topics)


def test_option_messages_begin_with_an_id() -> None:
    """Recorded: {"id":"publicTrade.BTC-…","topic":"publicTrade.BTC",…"""
    assert fast_prefix("option", "trades") == b'{"id":"publicTrade.'
    assert fast_prefix("spot", "orderbook") == b'{"topic":"orderbook.'


def test_the_symbol_is_a_topics_last_part() -> None:
    """Whatever stands before it."""
    assert symbol_of("orderbook.50.BTCUSDT") == "BTCUSDT"
    assert symbol_of("publicTrade.BTC") == "BTC"
