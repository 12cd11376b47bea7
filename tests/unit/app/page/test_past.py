"""Candles of the past for pages: the store's first, the exchange's for the rest."""

from decimal import Decimal

import pytest

from app.page.past import read_past
from consumers.web.live.history import Past
from model.intervals import parse_interval
from model.ports import StoreError
from model.records import Candle
from tests.support.klines import kline

MINUTE, OPEN = 60_000, 100
ONE = parse_interval("1m")


class Store:
    """A CandleStore of minutes: number to whether it is complete and its source."""

    def __init__(self, minutes):
        self.minutes = minutes

    def klines(self, market, symbol, step_ms, start_ms=0, end_ms=None, limit=None):
        return [
            kline(timestamp=number * MINUTE, interval=MINUTE, volume=5, complete=complete, source=source)
            for number, (complete, source) in sorted(self.minutes.items())
            if start_ms <= number * MINUTE < end_ms
        ]


class Broken:
    def klines(self, *_, **__):
        raise StoreError("disk")


def whole(first, end, source="trades"):
    return dict.fromkeys(range(first, end), (True, source))


def read(store, since=90, note=""):
    """What is shown, by number: of the store (5) or the exchange (1); and the spans that the exchange was asked for."""
    asked = []

    def exchange(_market, _symbol, _interval, from_ms, until_ms):
        asked.append((from_ms // MINUTE, -(-until_ms // MINUTE)))
        one = Decimal(1)
        starts = range(from_ms, until_ms, MINUTE)
        return Past([] if note else [Candle(start, one, one, one, one, one, one) for start in starts], note, not note)

    past = read_past(store, exchange, "linear", "BTCUSDT", ONE, since * MINUTE, OPEN * MINUTE + 1)
    return {candle.start_ms // MINUTE: int(candle.volume) for candle in past.candles}, asked, past


@pytest.mark.parametrize("store", [None, Broken(), Store({}), Store({99: (False, "trades")})])
def test_without_the_store_all_is_the_exchanges(store):
    shown, asked, _ = read(store)
    assert (shown, asked) == (dict.fromkeys(range(90, 101), 1), [(90, 101)])


def test_what_is_all_in_the_store_asks_nobody():
    """The open one is the collector's own, which has all since it began."""
    shown, asked, _ = read(Store(whole(80, 100)))
    assert (shown, asked) == (dict.fromkeys(range(90, 100), 5), [])


@pytest.mark.parametrize(
    ("minutes", "span"),
    [
        (whole(95, 100), (90, 95)),  # older ones
        (whole(80, 99) | whole(99, 100, "exchange"), (100, 101)),  # the open one may have begun without the collector
        (whole(80, 98), (98, 101)),
        ({**whole(80, 96), 96: (False, "trades"), **whole(97, 100)}, (90, 97)),  # before the newest hole
        (whole(95, 99), (90, 101)),
    ],
)
def test_the_rest_is_the_exchanges_in_one_request(minutes, span):
    shown, asked, _ = read(Store(minutes))
    assert asked == [span]
    assert set(range(90, 100)) <= shown.keys()
    assert all(shown[number] == 1 for number in range(90, 100) if not minutes.get(number, (False, ""))[0])


def test_an_exchange_that_cannot_be_read_leaves_what_is_stored():
    shown, _, past = read(Store(whole(95, 100)), note="unreadable")
    assert shown == dict.fromkeys(range(95, 100), 5)
    assert (past.note, past.is_final) == ("unreadable", False)
