"""Lines a person can read."""

import os

from structlog.testing import capture_logs

from consumers.console.console import ConsoleConsumer, ConsoleOptions, lines_of
from model.envelope import Envelope
from model.pairs import Pair
from tests.support.klines import klines, price

NOW_MS = 1_725_895_825_123


def test_price_line_is_the_legacy_systems():
    """The legacy system shows this line; the price keeps its digits."""
    assert lines_of(price(), NOW_MS) == ["BTC|67250.50|2024-09-09T15:30:25.123Z"]
    assert lines_of(price("0.00000012", "PEPEUSDT"), NOW_MS) == ["PEPE|0.00000012|2024-09-09T15:30:25.123Z"]


def test_kline_line_names_what_is_unusual():
    """A complete candle of trades is the rule; only exceptions are named."""
    usual = "2026-01-06T16:29:00Z BTCUSDT 1m O 92967.8 H 92970.8 L 92815.5 C 92846.1 V 33.404285 trades 3664"
    assert lines_of(klines(), NOW_MS) == [usual]
    odd = klines(complete=False, source="exchange", revision=2)
    assert lines_of(odd, NOW_MS) == [f"{usual} incomplete from exchange revision 2"]


def test_other_types_are_shown_as_json():
    """Trades and tickers have no short form."""
    envelope = Envelope("bybit", "linear", "trades", ({"s": "BTCUSDT"},))
    assert lines_of(envelope, NOW_MS) == [envelope.json.decode()]


def test_the_coin_of_a_price_is_the_listings():
    """Where that is known."""
    known = {("linear", "ABCNEWUSD"): Pair("ABC", "NEWUSD")}
    envelope = price("1", "ABCNEWUSD")
    assert lines_of(envelope, NOW_MS, lambda *place: known.get(place)) == ["ABC|1|2024-09-09T15:30:25.123Z"]
    assert lines_of(envelope, NOW_MS)[0].startswith("ABCNEW|")


def test_lines_of_several_exchanges_name_theirs():
    """BTCUSDT is a symbol of many."""
    reading, writing = os.pipe()
    console = ConsoleConsumer(ConsoleOptions(descriptor=writing, names_exchange=True))
    console.deliver([price(), klines()])
    os.close(writing)
    with os.fdopen(reading) as lines:
        of_price, of_kline = lines.read().splitlines()
    assert of_price.startswith("bybit:BTC|67250.50|")
    assert of_kline.startswith("2026-01-06T16:29:00Z bybit:BTCUSDT 1m O ")


def test_a_reader_that_went_away_ends_the_output_quietly():
    """`python main.py | head` is no reason to fail, nor to complain per line."""
    reading, writing = os.pipe()
    console = ConsoleConsumer(ConsoleOptions(descriptor=writing))
    console.deliver([price(), klines()])
    assert os.read(reading, 10_000).count(b"\n") == 2
    os.close(reading)
    with capture_logs() as logs:
        console.deliver([price()])
        console.deliver([price()])
    os.close(writing)
    assert [entry["event"] for entry in logs] == ["console_closed"]
