"""What clients ask for, and what it matches."""

import pytest

from consumers.web.topics import EVERYTHING, PATTERN_LENGTH, Patterns, parse_pattern, shown, topics_of
from model.envelope import Envelope
from tests.support.klines import kline, price


def wants(*patterns: str) -> Patterns:
    return Patterns(map(parse_pattern, patterns))


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("kline.1m.BTCUSDT", "linear:kline.1m.BTCUSDT", "linear:kline.1m.ETHUSDT"),
        ("kline.1m.*", "spot:kline.1m.BTCUSDT", "spot:kline.15m.BTCUSDT"),
        ("kline.*.BTCUSDT", "linear:kline.1h.BTCUSDT", "linear:kline.1h.BTCUSDT-26DEC25"),
        ("kline.*", "linear:kline.1h.BTCUSDT", "linear:ticker.BTCUSDT"),
        ("klines", "linear:kline.1h.BTCUSDT", "linear:price.BTCUSDT"),
        ("ticker.*", "linear:ticker.BTC-26DEC25", "linear:price.BTC-26DEC25"),
        ("ticker.BTC*", "linear:ticker.BTCUSDT", "linear:ticker.ETHUSDT"),
        ("ticker.???USDT", "linear:ticker.BTCUSDT", "linear:ticker.DOGEUSDT"),
        ("spot:price.*", "spot:price.BTCUSDT", "linear:price.BTCUSDT"),
        ("spot:*", "spot:price.BTCUSDT", "linear:price.BTCUSDT"),
        ("trade.BTCUSDT", "linear:trades.BTCUSDT", "linear:trades.BTCUSDTX"),
        ("kline.60m.BTCUSDT", "linear:kline.1h.BTCUSDT", "linear:kline.1m.BTCUSDT"),
        ("kline.1D.BTCUSDT", "linear:kline.1d.BTCUSDT", "linear:kline.1h.BTCUSDT"),
        ("kline.1M.BTCUSDT", "linear:kline.1M.BTCUSDT", "linear:kline.1m.BTCUSDT"),
        ("status", "linear:status.GAP", "linear:price.GAP"),
        ("status.sink_*", "linear:status.SINK_DOWN", "linear:status.GAP"),
        ("spot:status.gap", "spot:status.GAP", "linear:status.GAP"),
    ],
)
def test_a_pattern_matches_what_it_names(pattern, matching, other):
    """Symbols, intervals, data types and markets can each be narrowed."""
    matching, other = f"bybit:{matching}", f"bybit:{other}"
    assert wants(pattern).matches(matching)
    assert not wants(pattern).matches(other)
    assert EVERYTHING.matches(matching)
    assert not Patterns([]).matches(matching)


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("okx:ticker.*", "okx:spot:ticker.BTCUSDT", "bybit:spot:ticker.BTCUSDT"),
        ("okx:price.BTCUSDT", "okx:linear:price.BTCUSDT", "binance:linear:price.BTCUSDT"),
        ("okx:spot:price.BTCUSDT", "okx:spot:price.BTCUSDT", "okx:linear:price.BTCUSDT"),
        ("*:spot:price.BTCUSDT", "okx:spot:price.BTCUSDT", "okx:linear:price.BTCUSDT"),
        ("b*:spot:price.*", "binance:spot:price.BTCUSDT", "okx:spot:price.BTCUSDT"),
    ],
)
def test_a_pattern_may_name_the_exchange(pattern, matching, other):
    """Alone, where it is no market's name, or before the market; without one all exchanges are meant."""
    assert wants(pattern).matches(matching)
    assert not wants(pattern).matches(other)
    assert wants(parse_pattern(pattern)) == wants(pattern) == wants(shown(parse_pattern(pattern)))
    assert wants("price.*", "ticker.*").matches(other)


def test_exchanges_and_markets_make_no_pattern_wild():
    """They are looked up: only so many patterns with * are let in."""
    named = wants("price.A", "spot:price.B", "okx:price.C", "okx:spot:price.D", "okx:*:price.E")
    assert named.wild == []
    assert wants("price.*", "o*:spot:price.D").wild == ["*:*:price.*", "o*:spot:price.D"]


@pytest.mark.parametrize(
    "text", ["", "candle.1m.BTCUSDT", "kline 1m", "kline.[a-z]*", "kline.1m.BTC#USDT", "ticker." + "B" * PATTERN_LENGTH]
)
def test_what_is_no_topic_is_refused_with_what_is(text):
    """The error shows how to write it."""
    with pytest.raises(ValueError, match=r"allowed: kline.<interval>.<symbol>, ticker.<symbol>"):
        parse_pattern(text)


def test_a_hostile_pattern_takes_no_time():
    """Many stars before a miss would take a naive matcher hours."""
    assert not wants("ticker." + "A*" * 30 + "B").matches("bybit:linear:ticker." + "A" * 60)


def test_equal_wishes_are_equal():
    """Clients that want the same are one group."""
    assert wants("ticker.*", "kline.60m.*") == wants("klines.1h.*", "ticker.*", "ticker.*")
    assert hash(wants("ticker.*")) == hash(wants("ticker.*"))


def test_topics_of_envelopes():
    """Klines name their interval, status events themselves; the exchange's trades call their symbol s."""
    klines = Envelope("bybit", "spot", "klines", (kline(), kline(symbol="ETHUSDT", interval=300_000)))
    trades = Envelope("bybit", "linear", "trades", ({"s": "BTCUSDT", "p": "1"},))
    status = Envelope("bybit", "spot", "status", ({"event": "sink_up", "ts": 1, "sink": "redis"},))
    assert list(topics_of(status)) == ["bybit:spot:status.SINK_UP"]
    assert list(topics_of(klines)) == ["bybit:spot:kline.1m.BTCUSDT", "bybit:spot:kline.5m.ETHUSDT"]
    assert list(topics_of(price())) == ["bybit:linear:price.BTCUSDT"]
    assert list(topics_of(trades)) == ["bybit:linear:trades.BTCUSDT"]
