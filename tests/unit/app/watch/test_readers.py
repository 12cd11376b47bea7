"""Payloads of channels as what a person sees."""

import argparse
import json

import pytest

from app.watch.choice import add_arguments, channels_of, choice_of
from app.watch.readers import Readers, event_line, lines_of, text_of
from conf.settings import load_settings
from exchanges.registry import VENUES
from model.envelope import Envelope

KLINE = (
    '{"symbol":"%s","interval":%d,"timestamp":1767716940000,"open":92967.80,"high":92970.8,"low":92815.5,'
    '"close":92846.1,"volume":33.404285,"trade_count":3664,"turnover":3102581.15,"complete":true,"source":"trades",'
    '"revision":0}'
)
TRADES = {
    "bybit": b'{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1767716940001,"data":[{"T":1767716940000,'
    b'"s":"BTCUSDT","S":"Buy","v":"0.002","p":"92846.10","L":"PlusTick","i":"a-1","BT":false,"seq":1}]}',
    "okx": b'{"arg":{"channel":"trades","instId":"BTC-USDT-SWAP"},"data":[{"instId":"BTC-USDT-SWAP","tradeId":"1",'
    b'"px":"92846.10","sz":"2","side":"buy","ts":"1767716940000","count":"1"}]}',
}
TICKER = b'{"topic":"tickers.%s","type":"delta","ts":1,"data":{"symbol":"%s","lastPrice":"92846.10"}}'


def klines(*named: tuple[str, int], market: str = "linear") -> bytes:
    """An envelope as it is published."""
    data = ",".join(KLINE % each for each in named)
    return f'{{"exchange":"bybit","channel":"{market}","data_type":"klines","data":[{data}]}}'.encode()


def shown(payloads, *words: str, **settings: str):
    """What is shown of the payloads of the one channel of a command line, and the readers."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    read = load_settings(environ=settings, env_file=None)
    choice = choice_of(parser.parse_args(words), read, VENUES[read.exchange].markets)
    (channel, *_) = channels = channels_of(choice, read)
    readers = Readers(choice, channels, read)
    return readers.read(channel, payloads), readers


def as_lines(items, readers) -> list[str]:
    lines = []
    for item in items:
        lines += [item.decode()] if isinstance(item, bytes) else lines_of(item, 1767716940123, "", readers.names)
    return lines


def test_klines_are_lines_as_of_the_console():
    """The same words in both."""
    (line,) = as_lines(*shown([klines(("BTCUSDT", 60_000))], "klines"))
    assert line.startswith("2026-01-06T16:29:00Z BTCUSDT 1m O 92967.80 H 92970.8 L 92815.5 C 92846.1 V 33.404285")


def test_klines_are_chosen_by_symbol_interval_and_market():
    """One envelope may hold many."""
    payload = klines(("BTCUSDT", 60_000), ("ETHUSDT", 60_000), ("BTCUSDT", 300_000))
    (envelope,), _ = shown([payload], "klines", "btc", "--interval", "1m")
    assert [(each.symbol, each.interval) for each in envelope.data] == [("BTCUSDT", 60_000)]
    assert shown([payload], "klines", "--market", "spot")[0] == []


def test_json_is_what_was_published():
    """To the byte, where nothing is left out; else a smaller envelope of the same form, exact."""
    payload = klines(("BTCUSDT", 60_000), ("ETHUSDT", 60_000))
    assert shown([payload], "klines", "--json")[0] == [payload]
    (smaller,), _ = shown([payload], "klines", "eth", "--json")
    assert smaller.json == klines(("ETHUSDT", 60_000))


@pytest.mark.parametrize(("exchange", "symbol"), [("bybit", "BTCUSDT"), ("okx", "BTC-USDT-SWAP")])
def test_prices_are_made_of_trades(exchange, symbol):
    """Each exchange's own, one per symbol of what came together."""
    payloads = [TRADES[exchange], TRADES[exchange]]
    (envelope,), _ = shown(payloads, "prices", "BTC", EXCHANGE=exchange, SYMBOLS="BTC")
    assert [(each["symbol"], str(each["price"])) for each in envelope.data] == [(symbol, "92846.1")]


def test_prices_are_made_of_tickers_where_no_trades_are_published():
    """Also of one that has changes alone."""
    payloads = [TICKER % (b"BTCUSDT", b"BTCUSDT"), TICKER % (b"ETHUSDT", b"ETHUSDT")]
    items, readers = shown(payloads, "prices", "eth", RAW_STREAMS="ticker")
    assert as_lines(items, readers) == ["2026-01-06T16:29:00.123Z ETHUSDT 92846.10"]


def test_prices_of_envelopes_are_shown_as_they_came():
    """Other envelopes of that channel are not."""
    price = (
        b'{"exchange":"bybit","channel":"linear","data_type":"price","data":[{"symbol":"BTCUSDT","price":92846.10}]}'
    )
    settings = {"REDIS_MAIN_KEY": "main", "ENABLE_PRICE_STREAM": "true"}
    items, readers = shown([klines(("BTCUSDT", 60_000)), price], "prices", **settings)
    assert as_lines(items, readers) == ["2026-01-06T16:29:00.123Z BTCUSDT 92846.10"]
    assert shown([price], "prices", "--json", **settings)[0] == [price]


@pytest.mark.parametrize(
    ("exchange", "line"),
    [
        ("bybit", "2026-01-06T16:29:00.000Z BTCUSDT buy 92846.10 x 0.002"),
        ("okx", "2026-01-06T16:29:00.000Z BTC-USDT-SWAP buy 92846.10 x 2"),
    ],
)
def test_trades_have_time_side_price_and_size(exchange, line):
    """With the digits of the exchange."""
    assert as_lines(*shown([TRADES[exchange]], "trades", EXCHANGE=exchange, SYMBOLS="BTC")) == [line]


def test_raw_payloads_are_shown_byte_for_byte():
    """Those of the symbols that were named."""
    other = TRADES["bybit"].replace(b"BTCUSDT", b"ETHUSDT")
    assert shown([TRADES["bybit"], other], "raw", "trades")[0] == [TRADES["bybit"], other]
    assert shown([TRADES["bybit"], other], "raw", "trades", "eth")[0] == [other]
    assert shown([TRADES["bybit"], other], "trades", "eth", "--json")[0] == [other]


def test_status_events_are_sentences():
    """Of the named symbols, and of what is of no symbol."""
    disconnected = {
        "exchange": "bybit", "event": "disconnected", "ts": 1767716940000, "stream": "Trades_linear_1",
        "market": "linear", "kind": "trades", "symbols": ["A", "B", "C", "D", "E", "F"], "reason": "no pong",
        "from": 1767716939000,
    }  # fmt: skip
    sink = {"exchange": "bybit", "event": "sink_down", "ts": 1767716940000, "sink": "redis", "reason": "gone"}
    assert event_line(disconnected) == (
        "2026-01-06T16:29:00.000Z disconnected Trades_linear_1 linear trades A,B,C,D,E and 1 more "
        'reason="no pong" from=2026-01-06T16:28:59.000Z'
    )
    payloads = [json.dumps(each).encode() for each in (disconnected, sink)]
    assert shown(payloads, "status", "DOGE")[0] == [b"2026-01-06T16:29:00.000Z sink_down sink=redis reason=gone"]
    assert shown(payloads, "status", "--json")[0] == payloads


@pytest.mark.parametrize("words", [("klines",), ("status",), ("prices",), ("trades",)])
def test_what_cannot_be_read_is_counted_and_costs_itself(words):
    """A message of something else on the channel, or of another exchange."""
    items, readers = shown([b"{", b"[]", b'{"data":7}'], *words)
    assert items == []
    assert readers.unreadable >= 1


def test_numbers_keep_their_digits():
    """In plain notation."""
    (envelope,), _ = shown([klines(("BTCUSDT", 60_000))], "klines")
    assert isinstance(envelope, Envelope)
    assert text_of(envelope.data[0].open) == "92967.80"
