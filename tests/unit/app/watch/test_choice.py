"""What `main.py watch` is asked to show: arguments, channels, symbols as people name them."""

import argparse

import pytest

from app.watch.choice import KINDS, TABLE, SymbolFilter, add_arguments, channels_of, choice_of
from conf.settings import Settings, load_settings
from exchanges.registry import VENUES


def chosen(*words: str, **settings: str):
    """The choice of a command line, and its channels."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    read = load_settings(environ=settings, env_file=None) if settings else Settings()
    choice = choice_of(parser.parse_args(words), read, VENUES[read.exchange].markets)
    return choice, list(channels_of(choice, read))


@pytest.mark.parametrize(
    ("words", "view", "channels"),
    [
        ((), TABLE, ["stream:bybit_klines", "stream:bybit_trades"]),
        (("btc",), TABLE, ["stream:bybit_klines", "stream:bybit_trades"]),
        (("klines",), "klines", ["stream:bybit_klines"]),
        (("candles", "BTC"), "klines", ["stream:bybit_klines"]),
        (("prices",), "prices", ["stream:bybit_trades"]),
        (("trades", "--market", "spot"), "trades", ["stream:bybit_spot_trades"]),
        (("status",), "status", ["stream:bybit_status"]),
        (("raw", "orderbook", "BTCUSDT"), "raw", ["stream:bybit_orderbook"]),
    ],
)
def test_each_view_listens_to_its_channels(words, view, channels):
    """Those that a collector of the same settings publishes to."""
    choice, found = chosen(*words)
    assert (choice.view, found) == (view, channels)


def test_a_market_beside_the_main_one_has_channels_of_its_own():
    """As README names them."""
    _, found = chosen("raw", "ticker", ENABLE_SPOT_STREAM="true")
    assert found == ["stream:bybit_ticker", "stream:bybit_spot_ticker"]


@pytest.mark.parametrize(
    ("settings", "channels"),
    [
        ({"REDIS_MAIN_KEY": "mine", "ENABLE_PRICE_STREAM": "true"}, ["mine"]),
        ({"ENABLE_PRICE_STREAM": "true"}, ["stream:bybit_trades"]),
        ({"RAW_STREAMS": "orderbook,ticker"}, ["stream:bybit_ticker"]),
        ({"REDIS_CLUSTER": "symbol"}, ["stream:bybit_trades:BTCUSDT", "stream:bybit_trades:ETHUSDT"]),
    ],
)
def test_prices_come_from_what_is_published(settings, channels):
    """Envelopes of prices where they are on Redis, else trades, else tickers; in a cluster, of each symbol."""
    assert chosen("prices", **settings)[1] == channels


def test_where_no_prices_are_published_that_is_said():
    """Nothing would ever come."""
    with pytest.raises(ValueError, match="RAW_STREAMS has neither"):
        chosen("prices", RAW_STREAMS="orderbook")
    assert chosen(RAW_STREAMS="orderbook")[1] == ["stream:bybit_klines"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("raw",), f"one of {', '.join(KINDS)}"),
        (("raw", "BTCUSDT"), "raw needs a kind"),
        (("klines", "BTC$"), "is no symbol"),
        (("--market", "inverse"), "--market inverse: kucoin has linear, spot"),
        (("--interval", "7"), "is no kline interval"),
        (("--count", "0"), "from 1"),
    ],
)
def test_what_there_is_not_is_named(words, sentence):
    """With what there is."""
    with pytest.raises(ValueError, match=sentence):
        chosen(*words, EXCHANGE="kucoin", SYMBOLS="BTC")


@pytest.mark.parametrize(
    ("name", "market", "symbol"),
    [
        ("BTC", "linear", "BTCUSDT"),
        ("BTCUSDT", "linear", "BTCUSDT"),
        ("BTC/USDT", "spot", "BTCUSDT"),
        ("BTC", "inverse", "BTCUSD"),
        ("BTC", "linear", "BTC-USDT-SWAP"),
        ("BTCUSDT", "linear", "BTC-USDT-SWAP"),
        ("BTC-USDT", "linear", "BTC_USDT"),
        ("BTC", "linear", "XBTUSDTM"),
        ("ETHUSDT", "linear", "ETHUSDTM"),
        ("BTC-26DEC25", "linear", "BTC-26DEC25"),
    ],
)
def test_symbols_are_found_by_the_names_of_settings(name, market, symbol):
    """Whatever the exchange calls them, and without its listing."""
    assert SymbolFilter((name,))(market, symbol)


@pytest.mark.parametrize(
    ("name", "symbol"), [("BTC", "BTCUSDC"), ("BTC", "BTC-26DEC25"), ("BTC", "ETHBTC"), ("BTC", "BTCDOMUSDT")]
)
def test_a_coin_alone_is_the_usual_pair(name, symbol):
    """As in SYMBOLS."""
    assert not SymbolFilter((name,))("linear", symbol)


def test_without_names_everything_is_shown_and_remembered():
    """What there is, is said where a name finds nothing."""
    everything = SymbolFilter(())
    assert everything("linear", "BTCUSDT")
    assert everything.seen == [("linear", "BTCUSDT")]
