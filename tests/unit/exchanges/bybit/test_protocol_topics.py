"""The topics of a request, and the batches of their subscriptions."""

import pytest

from exchanges.bybit.protocol import check_request, check_symbols, read_topic, symbol_of
from model.batches import batches
from tests.support.protocol import frames_of, protocol_of

LIMITS = protocol_of().limits


def test_one_symbol_or_many_are_the_same_request() -> None:
    """A text, a list, a tuple; repeats are dropped, the order stays."""
    assert check_symbols("BTCUSDT") == ["BTCUSDT"]
    assert check_symbols(("ETHUSDT", "BTCUSDT", "ETHUSDT")) == ["ETHUSDT", "BTCUSDT"]


@pytest.mark.parametrize("symbols", ["", [], ["BTC#USDT"], ["BTC USDT"], ["BTC.USDT"], ['BTC"'], [7], [None]])
def test_a_wrong_symbol_is_refused_by_name(symbols: object) -> None:
    """It would be refused by the exchange together with its neighbours."""
    with pytest.raises(ValueError, match="symbol"):
        check_symbols(symbols)  # type: ignore[arg-type]


@pytest.mark.parametrize("symbol", ["1000PEPEUSDT", "BTC-27MAR26-70000-P-USDT", "BTCUSDT-26DEC25", "BTC"])
def test_bybits_unusual_symbols_pass(symbol: str) -> None:
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
    assert [len(batch) for batch in batches(topics, protocol_of("spot").limits)] == [10, 10, 5]
    assert [len(batch) for batch in batches(topics, LIMITS)] == [25]


def test_batches_keep_every_topic_in_its_order() -> None:
    """Nothing is lost between messages."""
    topics = [f"publicTrade.C{i}USDT" for i in range(601)]
    planned = batches(topics, LIMITS)
    assert [topic for batch in planned for topic in batch] == topics
    assert max(map(len, planned)) <= 200


def test_a_connection_holds_21000_characters_counted_with_quotes_and_commas() -> None:
    """22 characters per topic: 954 fit, one more does not; the error explains how to split."""
    topics = [f"publicTrade.C{i:03}USD" for i in range(955)]
    assert len(topics[0]) == 19
    batches(topics[:954], LIMITS)
    with pytest.raises(ValueError, match=r"955 topics .* the first 954 fit; split .* over 2 or more STREAMS entries"):
        batches(topics, LIMITS)


def test_option_messages_begin_with_an_id() -> None:
    """Recorded: {"id":"publicTrade.BTC-…","topic":"publicTrade.BTC",…"""
    assert frames_of("trades", (), "option").prefix == b'{"id":"publicTrade.'
    assert frames_of("orderbook", (), "spot").prefix == b'{"topic":"orderbook.'


def test_the_symbol_is_a_topics_last_part() -> None:
    """Whatever stands before it."""
    assert symbol_of("orderbook.50.BTCUSDT") == "BTCUSDT"
    assert symbol_of("publicTrade.BTC") == "BTC"


# -- topics by name, of no kind or of another


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
