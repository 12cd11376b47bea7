"""model.symbols: one grammar for every reader of names."""

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.arguments import parser
from conf.coins import CoinsError, read_coins
from conf.settings import SettingsError, load_settings
from consumers.web.topics import parse_pattern
from exchanges.bybit.protocol import check_symbols, check_topics
from model.symbols import canonical, is_symbol, read_symbol

CHINESE = "币安人生USDT"
GOOD = {
    "BTCUSDT": "BTCUSDT",
    " btcusdt\t": "BTCUSDT",
    "btc-26dec25": "BTC-26DEC25",
    "BTC-26DEC25-100000-C-USDT": "BTC-26DEC25-100000-C-USDT",
    "1000PEPEUSDT": "1000PEPEUSDT",
    "W": "W",
    "btc/usdt": "BTC-USDT",
    "BTC/USDT:USDT": "BTC-USDT-USDT",
    "BTC_USDT": "BTC_USDT",
    CHINESE: CHINESE,
    "币安人生usdt": CHINESE,
    "ＢＴＣＵＳＤＴ": "BTCUSDT",  # noqa: RUF001 - full-width, as a Chinese keyboard writes it
    unicodedata.normalize("NFD", "ÉUSDT"): "ÉUSDT",
    "\ufeffBTCUSDT\u200b": "BTCUSDT",
    "\u3000BTCUSDT\xa0": "BTCUSDT",
    "กำไรUSDT": "กำไรUSDT",
    "𠮷USDT": "𠮷USDT",
}  # fmt: skip
BAD = [
    "BTC\\USDT",
    "BTC USDT",
    "BTC.USDT",
    "-BTC",
    "_X",
    "“BTCUSDT”",
    "/BTC",
    "BTC*",
    "$X",
    "X" * 41,
    "BTC\u200bUSDT",
]
# What each reader makes of one name.
READERS = {
    "SYMBOLS": lambda text: (load_settings({"SYMBOLS": text}, None).symbols or ())[0],
    "REDUNDANT_SYMBOLS": lambda text: (load_settings({"REDUNDANT_SYMBOLS": text}, None).redundant_symbols or ())[0],
    "SYMBOLS_QUOTE": lambda text: load_settings({"SYMBOLS_QUOTE": text}, None).symbols_quote,
    "coins file": lambda text: read_coins(json.dumps([text]))[0],
    "audit": lambda text: parser().parse_args(["audit", "--from", "2026-01-01", "--symbols", text]).symbols[0],
    "STREAMS": lambda text: check_symbols(text)[0],
    "topics": lambda text: check_topics(f"kline.5.{text}")[0].removeprefix("kline.5."),
    "websocket output": lambda text: parse_pattern(f"kline.5m.{text}").removeprefix("*:*:kline.5m."),
}


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
@pytest.mark.parametrize(("written", "name"), GOOD.items())
def test_every_reader_takes_what_a_name_may_be(reader, written, name):
    """However it is typed, copied or composed."""
    assert reader(written) == name


@pytest.mark.parametrize("name", [name for name in READERS if name != "websocket output"])  # which takes patterns
@pytest.mark.parametrize("written", BAD)
def test_every_reader_refuses_what_no_symbol_is_called(name, written):
    """A topic, a key or a file's name would be taken apart elsewhere."""
    reader = READERS[name]
    if (name, written) == ("topics", "BTC.USDT"):
        return  # points part a topic
    with pytest.raises((CoinsError, SettingsError, ValueError, SystemExit)):
        reader(written)


@pytest.mark.parametrize("written", ["BTC\\USDT", "BTC USDT", "$X", "[A-Z]", "*\u200b"])
def test_a_pattern_holds_names_and_wildcards_alone(written):
    """It becomes an expression."""
    with pytest.raises(ValueError, match="not a topic"):
        parse_pattern(f"ticker.{written}X")


def test_commas_of_a_chinese_keyboard_part_a_list():
    """Beside the names they come with."""
    assert load_settings({"SYMBOLS": "币安人生USDT，BTCUSDT、ethusdt"}, None).symbols == (  # noqa: RUF001
        CHINESE,
        "BTCUSDT",
        "ETHUSDT",
    )


def test_two_spellings_of_a_name_are_one():
    """Not two topics."""
    assert check_symbols(["btcusdt", "BTCUSDT "]) == ["BTCUSDT"]
    assert check_topics(["kline.5.btcusdt", "kline.5.BTCUSDT"]) == ["kline.5.BTCUSDT"]


@pytest.mark.parametrize("topic", ["system.status", "insurance.inverse", "orderbook.rpi.BTCUSDT", "kline.D.BTCUSDT"])
def test_topics_that_end_in_no_symbol_stay_as_they_are(topic):
    """Only the symbol of a topic is a name."""
    assert check_topics(topic) == [topic]


@pytest.mark.parametrize("wrong", [5, None, b"BTCUSDT", ["BTCUSDT", 5], [], "", iter(["BTCUSDT"])])
def test_what_is_no_text_is_refused_by_name(wrong):
    """An entry of STREAMS may hold anything."""
    with pytest.raises(ValueError, match="symbol"):
        check_symbols(wrong)


@given(st.text(max_size=45))
def test_what_is_read_is_a_symbol_and_stays_one(text):
    """Reading is idempotent, for every text there is."""
    name = canonical(text)
    assert canonical(name) == name
    if is_symbol(name):
        assert read_symbol(text) == name
