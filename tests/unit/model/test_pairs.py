"""model.pairs: which coin a symbol is."""

import pytest

from model.pairs import Pair, coin_of, rank_of


@pytest.mark.parametrize(
    ("symbol", "coin"),
    [
        ("BTCUSDT", "BTC"),
        ("XRPRLUSD", "XRP"),
        ("BTCRLUSD", "BTC"),
        ("MNTRLUSD", "MNT"),
        ("RLUSDUSDT", "RLUSD"),
        ("ETHUSDE", "ETH"),
        ("USDEUSDT", "USDE"),
        ("BTCUSD1", "BTC"),
        ("BTCPERP", "BTC"),
        ("BTCBRL", "BTC"),
        ("USDTTRY", "USDT"),
        ("AVAXUSD", "AVAX"),
        ("DOTUSD", "DOT"),
        ("币安人生USDT", "币安人生"),
        ("USDT", "USDT"),
        ("ETHBTC", "ETHBTC"),
        ("BTC-26DEC25", "BTC-26DEC25"),
        ("BTC-USDT", "BTC"),
        ("BTC-USDT-SWAP", "BTC"),
        ("BTC-USD-SWAP", "BTC"),
        ("BTC_USDT", "BTC"),
        ("BTCUSD_PERP", "BTC"),
        ("ETH-BTC", "ETH-BTC"),
        ("BTCUSDT_251226", "BTCUSDT_251226"),
        ("BTC-USD-251226", "BTC-USD-251226"),
        ("SWAP-USDT", "SWAP"),
        ("-", "-"),
    ],
)
def test_the_name_gives_the_coin_where_nothing_else_does(symbol, coin):
    """The longest quote that its end is, or its second part; of a contract that ends there is none."""
    assert coin_of(symbol) == coin


@pytest.mark.parametrize(
    ("symbol", "pair", "coin"),
    [
        ("ABCNEWUSD", Pair("ABC", "NEWUSD"), "ABC"),
        ("STUSDT", Pair("S", "TUSDT"), "S"),
        ("SOLPERP", Pair("SOL", "USDC"), "SOL"),
        ("ETHBTC", Pair("ETH", "BTC"), "ETHBTC"),
        ("BTCUSDH26", Pair("BTC", "USD", is_dated=True), "BTCUSDH26"),
    ],
)
def test_the_listing_overrules_the_name(symbol, pair, coin):
    """Whatever the name ends with; a price in coins, or of a contract that ends, is not the coin's."""
    assert coin_of(symbol, pair) == coin


def test_the_usual_dollar_is_the_best_for_a_price():
    """Then the others, then unknown ones."""
    assert rank_of("BTCUSDT") < rank_of("BTCUSDC") < rank_of("BTCRLUSD") < rank_of("BTC-26DEC25")
    assert rank_of("BTCPERP", Pair("BTC", "USDC")) == rank_of("BTCUSDC")
