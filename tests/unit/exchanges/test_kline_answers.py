"""Klines as an exchange's REST API answers them: which are asked for, and that they are all of them or none."""

import asyncio
from decimal import Decimal

import pytest

from exchanges.kline_answers import KlineAnswers, Span, span_of
from model.intervals import parse_interval
from model.market_api import FOR_EVER, MarketApiOptions
from model.ports import KlineRows, StoreError
from model.records import Kline

MINUTE = 60_000
NOW = 1_000 * MINUTE + 30_000
FORM = ("[", "timestamp", ",", "close", "]")


def minute(number, complete=True):
    one = Decimal(1)
    return Kline("BTCUSDT", MINUTE, number * MINUTE, one, one, one, Decimal(number), one, 1, one, complete, "trades", 0)


class Nowhere:
    """An Upstream that is never asked."""

    def fetch(self, request, *, keep_s=0.0, weight=1, epoch=0):
        raise AssertionError


class Store:
    """A CandleStore of the minutes whose numbers are given."""

    def __init__(self, numbers, incomplete=()):
        self.numbers, self.incomplete, self.reads = set(numbers), incomplete, 0

    @property
    def commits(self):
        return len(self.numbers)

    def rows(self, market, symbol, step_ms, form, start_ms=0, end_ms=None, limit=None, *, newest_first=False):
        self.reads += 1
        found = sorted(number for number in self.numbers if start_ms <= number * MINUTE < end_ms)
        texts = [f"[{number * MINUTE},{number}]" for number in found]
        complete = len(found) - len([number for number in found if number in self.incomplete])
        first, last = (found[0] * MINUTE, found[-1] * MINUTE) if found else (0, 0)
        return KlineRows(",".join(texts[::-1] if newest_first else texts), len(found), complete, first, last)


class Broken:
    commits = 0

    def rows(self, *_arguments, **_options):
        raise StoreError("disk")


class Live:
    """LiveKlines; what closes is put into the store while it is waited for."""

    def __init__(self, store=None, number=1000, complete=True, closes=True):
        self.store, self.kline, self.closes, self.waited = store, minute(number, complete), closes, []

    async def open_kline(self, market, symbol, step_ms, start_ms):
        return self.kline

    async def closed(self, market, symbol, step_ms, start_ms):
        self.waited.append(start_ms // MINUTE)
        if self.closes:
            self.store.numbers.add(start_ms // MINUTE)
        return self.closes


def answers_of(store, live=None, now_ms=NOW):
    options = MarketApiOptions(
        upstream=Nowhere(), store=lambda: store, live=live, intervals=("1m",), symbols=lambda _: {"BTCUSDT"},
        now_ms=lambda: now_ms,
    )  # fmt: skip
    return KlineAnswers(options, FORM)


def rows(store, live=None, limit=3, now_ms=NOW, **bounds):
    return asyncio.run(answers_of(store, live, now_ms).rows("linear", "BTCUSDT", MINUTE, limit, **bounds))


def test_rows_of_the_store_are_read_again_only_when_klines_were_added():
    """For several clients ask for the same, and each reading takes a thread."""
    store = Store(range(990, 999))
    answers = answers_of(store)

    def ask(number):
        return asyncio.run(answers.rows("linear", "BTCUSDT", MINUTE, 2, end_ms=number * MINUTE))

    first = ask(995)
    assert first == "[59640000,994],[59700000,995]"
    assert ask(995) == first
    assert store.reads == 1
    assert ask(996) != first
    store.numbers.add(980)
    assert ask(995) == first
    assert store.reads == 3


ONE, MONTH = parse_interval("1m"), parse_interval("1M")


@pytest.mark.parametrize(
    ("bounds", "first", "last"),
    [
        ({}, 998, 1000),
        ({"end_ms": 10 * MINUTE}, 8, 10),
        ({"end_ms": 10 * MINUTE - 1}, 7, 9),
        ({"start_ms": 999 * MINUTE - 5}, 999, 1000),
        ({"start_ms": 5 * MINUTE + 1, "is_forward": True}, 6, 8),
        ({"start_ms": 5 * MINUTE, "end_ms": 6 * MINUTE}, 5, 6),
        ({"start_ms": 5 * MINUTE, "end_ms": 90 * MINUTE}, 88, 90),
        ({"end_ms": 10**15}, 998, 1000),
    ],
)
def test_the_span_of_a_request(bounds, first, last):
    found = span_of(ONE, NOW, 3, **bounds)
    assert found == Span(first * MINUTE, last * MINUTE, last - first + 1, 1000 * MINUTE)


@pytest.mark.parametrize("bounds", [{"start_ms": NOW + MINUTE}, {"start_ms": 120_000, "end_ms": 60_001}])
def test_a_span_without_klines(bounds):
    assert span_of(ONE, NOW, 3, **bounds) is None


def test_months_are_counted_by_the_calendar():
    now_ms = 1_700_000_000_000  # November 2023
    found = span_of(MONTH, now_ms, 3)
    assert found is not None
    assert (found.first_ms, found.last_ms, found.count) == (1_693_526_400_000, 1_698_796_800_000, 3)


@pytest.mark.parametrize(
    ("bounds", "now_ms", "is_kept"),
    [
        ({"end_ms": 990 * MINUTE}, NOW, True),
        ({}, NOW, False),
        ({"end_ms": 999 * MINUTE}, 1000 * MINUTE + 1, False),  # it may change yet
    ],
)
def test_an_answer_of_the_exchange_without_an_open_candle_is_kept_for_ever(bounds, now_ms, is_kept):
    span = span_of(ONE, now_ms, 3, **bounds)
    assert span is not None
    assert (span.kept_s(now_ms, ONE) == FOR_EVER) == is_kept


def test_closed_klines_are_of_the_store():
    store = Store(range(900, 1000))
    assert rows(store, end_ms=991 * MINUTE) == "[59340000,989],[59400000,990],[59460000,991]"
    assert rows(store, end_ms=991 * MINUTE, newest_first=True).startswith("[59460000,991]")


def test_the_open_one_is_the_newest():
    live = Live()
    assert rows(Store(range(900, 1000)), live) == "[59880000,998],[59940000,999],[60000000,1000]"
    assert rows(Store(range(900, 1000)), live, newest_first=True, limit=2) == "[60000000,1000],[59940000,999]"
    assert rows(Store(range(900, 1000)), live, limit=1) == "[60000000,1000]"


@pytest.mark.parametrize(
    ("store", "live"),
    [
        (None, Live()),
        (Broken(), Live()),
        (Store([996, 997, 999]), Live()),  # a hole
        (Store(range(900, 1000), incomplete=(999,)), Live()),
        (Store(range(999, 1000)), Live()),  # collected since a minute ago
        (Store(range(900, 1000)), Live(complete=False)),  # begun in the middle of it
        (Store(range(900, 1000)), Live(number=999)),  # an old one
        (Store(range(900, 1000)), None),
    ],
)
def test_never_half(store, live):
    """What is not there whole is not answered: the exchange has it."""
    assert rows(store, live) is None


def test_what_closes_this_moment_is_waited_for():
    """Bots ask right at the boundary."""
    store = Store(range(900, 999))
    live = Live(store)
    assert rows(store, live, now_ms=1000 * MINUTE + 100).endswith("[59940000,999],[60000000,1000]")
    assert live.waited == [999]


def test_and_not_for_long():
    store = Store(range(900, 999))
    assert rows(store, Live(store, closes=False), now_ms=1000 * MINUTE + 100) is None
    late = Live(store)
    assert rows(store, late, now_ms=1000 * MINUTE + 10_000) is None
    assert not late.waited
