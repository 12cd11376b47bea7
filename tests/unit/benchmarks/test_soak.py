"""The soak in small: it runs, it judges, and it sees what is wrong."""

import random
from collections import Counter
from dataclasses import replace as replaced
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from benchmarks.naive import Bucket, NaiveAggregator
from benchmarks.soak import numbered_table, soak, table
from benchmarks.soak_collector import INTERVALS
from benchmarks.soak_connections import Collector
from benchmarks.soak_cuts import OrderedConnections
from benchmarks.soak_exchange import Exchange, Print, aggregates_of, binance_messages, okx_messages
from benchmarks.soak_judge import HEALED_MS, SETTLED_MS, Judge
from benchmarks.soak_market import MINUTE_MS, CandleRule, Series, make_market
from benchmarks.soak_timeline import BEGIN_MS, Timeline
from model.records import Kline, PastTrade


class NoChance(random.Random):
    """A market that always trades alike."""

    def choice(self, seq: Any) -> Any:
        return seq[0]

    def randint(self, a: int, b: int) -> int:
        return max(a, 1)


START = 1_700_002_860_000


@pytest.fixture
def market():
    return make_market(1, NoChance(), START - 1)


@pytest.fixture
def judge(market):
    return Judge(market)


def kline(market, start_ms=START, **changes):
    """The true candle of a minute, but for the changes."""
    (symbol,) = market.values()
    opened, high, low, close, volume, turnover, count = symbol.truth(start_ms, MINUTE_MS)
    true = Kline(
        symbol.name, MINUTE_MS, start_ms, opened, high, low, close, volume, count, turnover, True, "trades", 0
    )  # fmt: skip
    return replace(true, **changes)


def test_a_short_soak_finds_nothing_wrong_and_many_faults():
    """Some minutes of market, the host two seconds fast: most kinds of faults came, every last candle is right."""
    run = soak(1_000, 3, symbols=5, clock_error_ms=2_000)

    assert dict(run.judge.violations) == {}
    assert run.judge.candles >= 1_000
    assert min(run.timeline.faults[name] for name in ("disconnects", "duplicates", "trades lost", "spliced (seen)")) > 0
    assert sum(figures["wrong"] for figures in run.naive_judge.figures.values()) > 0
    assert table(run).count("\n") == len(INTERVALS) + 1


def test_true_candles_are_no_violation(market, judge):
    """One after another, and the last one long over."""
    judge.take(kline(market))
    judge.take(kline(market, START + MINUTE_MS))
    judge.judge(START + 2 * MINUTE_MS, is_end=True)

    assert not judge.violations


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"volume": Decimal(1)}, "complete and wrong"),
        ({"complete": False}, "incomplete at the end"),
        ({"trade_count": 5}, "complete and wrong"),
    ],
)
def test_last_issue_is_held_against_the_truth(market, judge, changes, rule):
    """Whatever its values, and whether it is marked incomplete."""
    judge.take(kline(market, **changes))
    judge.judge(START + MINUTE_MS, is_end=True)

    assert dict(judge.violations) == {rule: 1}


@pytest.mark.parametrize(
    ("minutes", "rule"), [((0, 2), "missing"), ((0, 1, -1), "out of order"), ((0, 1), "missing at the end")]
)
def test_holes_and_disorder_are_seen(market, judge, minutes, rule):
    """First issues follow each other, up to the end."""
    for minute in minutes:
        judge.take(kline(market, START + minute * MINUTE_MS))
    if rule == "missing at the end":
        judge.judge(START + 3 * MINUTE_MS, is_end=True)

    assert dict(judge.violations) == {rule: 1}


def test_interval_that_begins_later_than_the_others_is_seen(market, judge):
    """A candle that was open when the process was killed must not be missing."""
    judge.take(kline(market))
    judge.take(kline(market, START + 5 * MINUTE_MS, interval=5 * MINUTE_MS))

    assert dict(judge.violations) == {"missing at the start": 1}


def test_incomplete_second_is_not_judged_before_it_can_be_healed(market, judge):
    """A later run may still find its trades."""
    judge.take(kline(market, interval=1_000, complete=False))
    judge.judge(START + HEALED_MS - SETTLED_MS)
    judge.take(kline(market, interval=1_000, revision=1))
    assert not judge.violations

    judge.judge(START + MINUTE_MS)
    judge.take(kline(market, interval=1_000, revision=2))
    assert dict(judge.violations) == {"revised very late": 1}


@pytest.mark.parametrize(
    ("causes", "lives", "why"),
    [
        ([None], [], "no process"),
        (["late"], [[START - 20_000]], "at a start"),
        (["late"], [[START - 200_000, START + 60_000]], "killed"),
        (["late", None], [[START - 200_000, START + 600_000]], "killed"),
        (["late", "late"], [[START - 200_000, START + 600_000]], "left"),
    ],
)
def test_why_a_second_stays_incomplete_is_known(market, causes, lives, why):
    """Who sent it, who took it back, and when the process began and was killed."""
    told = iter(causes)
    judge = Judge(market, lambda _kline: next(told))
    judge.lives = lives
    for revision in range(len(causes)):
        judge.take(kline(market, interval=1_000, complete=False, revision=revision))
    judge.judge(START + HEALED_MS)

    assert judge.figures[1_000][why] == 1


def test_two_values_of_one_revision_are_seen(market, judge):
    """The same again is only a double, and counted too."""
    judge.take(kline(market))
    judge.take(kline(market))
    judge.take(kline(market, volume=Decimal(1)))

    assert dict(judge.violations) == {"revision twice": 1, "two values of a revision": 1}


def test_naive_aggregator_drops_what_comes_late():
    """A trade after the close of its window is in no candle; silence is a flat one."""
    candles = []
    naive = NaiveAggregator([1_000], lambda *candle: candles.append(candle), 10_000)
    naive.add("X", 10_500, 2.0, 1.0)
    naive.close(11_080)
    naive.add("X", 10_900, 3.0, 1.0)
    naive.close(12_080)

    assert candles[0] == ("X", 1_000, 10_000, Bucket(2.0, 2.0, 2.0, 2.0, 1.0, 2.0))
    assert candles[1] == ("X", 1_000, 11_000, replaced(Bucket(3.0, 3.0, 3.0, 3.0)))


@pytest.mark.parametrize("exchange", ["binance", "okx"])
@pytest.mark.parametrize("market", ["linear", "inverse", "spot"])
def test_short_soak_of_numbered_trades_finds_nothing_wrong_and_many_faults(exchange, market):
    """Holes that nothing but the ids tells of, among other faults: no last candle is missing, or wrong and complete."""
    run = soak(0, 5, symbols=8, hours=0.12, exchange=exchange, market=market)

    assert dict(run.judge.violations) == {}
    figures = sum((each for each in run.judge.figures.values()), Counter())
    assert min(figures[how] for how in ("at once", "ids", "trades", "candle")) > 0
    faults = ["holes", "reordered", "duplicates", "disconnects", "stalls", "REST limits (429)", "duplicates (seen)"]
    assert min(run.timeline.faults[name] for name in faults) > 0
    assert bool(run.timeline.faults["last trades replayed"]) == (exchange == "okx")
    assert sum(figures["wrong"] for figures in run.naive_judge.figures.values()) > 0
    assert numbered_table(run).count("\n") == len(INTERVALS) + 1


@pytest.mark.parametrize(
    ("exchange", "market"), [("kucoin", "linear"), ("kucoin", "spot"), ("bitget", "linear"), ("bitget", "spot")]
)
def test_short_soak_of_trades_with_unique_ids_finds_nothing_wrong_and_many_faults(exchange, market):
    """Symbols among them that are quiet for minutes, of which the exchange writes candles late, or none."""
    run = soak(0, 5, symbols=10, hours=0.12, exchange=exchange, market=market)

    assert dict(run.judge.violations) == {}
    assert min(run.timeline.faults[name] for name in ("disconnects", "duplicates", "trades lost", "spliced (seen)")) > 0
    assert sum(figures["wrong"] for figures in run.naive_judge.figures.values()) > 0


@pytest.mark.parametrize("market", ["linear", "spot"])
def test_short_soak_of_trades_without_ids_finds_nothing_wrong_and_many_faults(market):
    """Equal trades count, what a connection repeats does not; spot's come in any order."""
    run = soak(0, 5, symbols=10, hours=0.12, exchange="bingx", market=market)

    assert dict(run.judge.violations) == {}
    faults = ("disconnects", "trades lost", "unspliced (seen)", "duplicates (seen)")
    assert min(run.timeline.faults[name] for name in faults) > 0
    assert run.timeline.faults["duplicates"] == 0
    assert sum(figures["from exchange"] for figures in run.judge.figures.values()) > 0


def test_messages_without_ids_are_read_oldest_first():
    """A message of swaps has all trades of a moment, the newest first."""
    exchange = Exchange("bingx")
    symbol = exchange.make_symbol(1, 1_000, random.Random(3), START)
    payloads = [payload for number in range(9) for payload in symbol.burst(START + number)]
    batch = exchange.decode(payloads)

    assert len(payloads) == 9
    assert len(batch.symbols) > 9
    assert list(zip(batch.event_ms, batch.prices, batch.sizes, strict=True)) == [
        (each.event_ms, each.price, each.size) for each in list(symbol.newest)[1:]
    ]
    assert {each.trade_id for each in symbol.newest} == {""}


@pytest.mark.parametrize("market", ["linear", "spot"])
def test_messages_of_unique_ids_are_read_by_the_venues(market):
    """Ids as texts, the sequence beside them; sizes of futures are lots."""
    exchange = Exchange("kucoin", market)
    symbol = exchange.make_symbol(1, 1_000, random.Random(1), START)
    batch = exchange.decode([symbol.trade(START + 5)])

    newest = symbol.newest[-1]
    assert (batch.ids, batch.seqs, batch.event_ms) == ([newest.trade_id], [newest.seq], [START + 5])
    assert (batch.prices, batch.sizes, batch.symbols) == ([newest.price], [newest.size], [symbol.name])
    assert len(symbol.newest) == 2
    assert symbol.newest.maxlen == 100


def test_old_connections_of_the_soak_end_with_the_next_one_beside_them_or_not():
    """Every ten minutes, after 24 hours at the exchange: planned, both bring trades for some seconds."""
    timeline, marks = Timeline(1), []
    market = make_market(5, timeline.rng, BEGIN_MS - 1, Exchange("okx").make_symbol)
    connections = OrderedConnections(timeline, market, replays_last=True)
    nothing = lambda *_: None  # noqa: E731
    connections.attach(Collector(nothing, lambda kind, *_: marks.append(kind), nothing, nothing))
    connections.begin()
    timeline.run_until(BEGIN_MS + 1_800_000, nothing)

    assert min(timeline.faults["cuts, planned"], timeline.faults["cuts, not planned"]) > 0
    assert abs(marks.count("up") - marks.count("down")) <= 5


def test_messages_of_the_soak_are_read_by_the_venues_to_the_last_trade():
    """Prints of no candle keep their ids, matches of one order at one price are one message of OKX."""
    prints = [Print(7, START, Decimal("1.5"), Decimal(2)), Print(8, START, Decimal("1.5"), Decimal(3))]
    void = Print(9, START, Decimal(0), Decimal(0), "NA")

    binance = Exchange("binance").decode(binance_messages("S00USDT", [*prints, void], has_marks=True))
    okx = Exchange("okx").decode(okx_messages("S00-USDT-SWAP", prints))

    assert (binance.ids, binance.sizes, list(binance.uncounted)) == ([7, 8], [2.0, 3.0], [("S00USDT", 9)])
    assert (okx.ids, okx.sizes, okx.matches, okx.prices) == ([8], [5.0], [2], [1.5])


def test_candle_of_an_inverse_contract_is_rounded_once():
    """The coins of both trades of 2021 that Binance's rule was measured on; cut one by one, they are less."""
    trades = [(Decimal("3.468"), Decimal(1465)), (Decimal("3.467"), Decimal(130))]

    def turnover(**rule):
        series = Series(MINUTE_MS, CandleRule(is_inverse=True, contract=Decimal(10), **rule))
        series.add(START - 1, *trades[0])
        for price, size in trades:
            series.add(START, price, size)
        return series.window(START, START + MINUTE_MS)[5]

    assert turnover(cuts_each=False) == Decimal("4599.30073932")
    assert turnover(cuts_each=True) == Decimal("4599.30073931")


def test_rows_of_aggregates_cover_the_ids_of_their_matches():
    """Matches of one price and time are one row; an id between two that counts in no candle ends it."""
    prints = [PastTrade(number, START, 1.5, 2.0, number) for number in (5, 6, 8)]

    rows = aggregates_of(prints)

    assert [(row.f, row.l, row.q) for row in rows] == [(5, 6, 4.0), (8, 8, 2.0)]
