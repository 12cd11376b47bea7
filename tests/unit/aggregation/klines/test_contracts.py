"""Sizes in contracts: klines that wait for the size, one that changes, and the exchange's candles beside them."""

from decimal import Decimal

import pytest

from aggregation.aggregator import Aggregator
from aggregation.klines import contracts
from aggregation.klines.arithmetic import Arithmetic
from aggregation.klines.table import KlineTable
from model.intervals import parse_interval
from model.records import Candle, Kline, TradeBatch
from tests.support.markers import feed_up
from tests.unit.aggregation.klines.test_table import MINUTE, T0, trades

SWAP = Arithmetic("first_trade", "first_trade", has_contracts=True)
COINS = Arithmetic("first_trade", "first_trade", is_inverse=True, cuts_each=False, has_contracts=True)


class Swaps:
    """A table whose symbols have the sizes of the test, and what it reports."""

    def __init__(self, *names, arithmetic=SWAP, **sizes):
        self.sizes = {symbol: Decimal(size) for symbol, size in sizes.items()}
        self.reports: list[tuple[str, str]] = []
        self.table = KlineTable(
            [parse_interval(name) for name in names],
            arithmetic=arithmetic,
            size_of=lambda symbol: self.sizes.get(symbol),
            report=lambda cause, sample: self.reports.append((cause, sample.decode())),
        )

    def minute(self, number: int, *rows: tuple[float, float, str]) -> list[Kline]:
        """Trade (price, size, symbol) in a minute, and close it."""
        begin = number * MINUTE
        batch = trades(*((begin + i, *row) for i, row in enumerate(rows)))
        return [*(self.table.add(batch) if rows else []), *self.table.close_until(T0 + begin + MINUTE)]


def sums(klines):
    return [(k.symbol, k.interval // MINUTE, (k.timestamp - T0) // MINUTE, k.volume, k.turnover) for k in klines]


def test_a_kline_without_a_contract_size_waits_for_it():
    """Nothing of it goes out, other symbols do; what waited goes out first, in its order, with the size."""
    swaps = Swaps("1m", B="10")
    first = swaps.minute(0, (2, 3, "A"), (2, 3, "B"))
    shown = swaps.minute(1, (4, 1, "A"))
    swaps.table.add(trades((2 * MINUTE, 5, 1, "A")))
    open_symbols = [k.symbol for k in swaps.table.open_klines()]
    swaps.sizes["A"] = Decimal("0.01")
    later = swaps.table.close_until(T0 + 3 * MINUTE)

    assert sums(first) == [("B", 1, 0, 30, 60)]
    assert [k.symbol for k in shown] == ["B"]
    assert open_symbols == ["B"]
    expected = [(0, "0.03", "0.06"), (1, "0.01", "0.04"), (2, "0.01", "0.05")]
    assert sums(k for k in later if k.symbol == "A") == [("A", 1, n, Decimal(v), Decimal(t)) for n, v, t in expected]
    assert [cause for cause, _ in swaps.reports] == ["contract_size_unknown"] * 2
    assert "REST_URL" in swaps.reports[0][1]


def test_a_late_trade_of_a_kline_that_waits_is_in_it():
    """One kline goes out, of the latest revision; a later trade still revises it."""
    swaps = Swaps("1m")
    swaps.minute(0, (2, 3, "A"))
    assert swaps.table.add(trades((10, 9, 1, "A"))) == []
    swaps.sizes["A"] = Decimal(100)
    released = swaps.minute(1)
    revised = swaps.table.add(trades((11, 8, 1, "A")))

    assert [(k.volume, k.revision) for k in released if k.timestamp == T0] == [(400, 1)]
    assert [(k.volume, k.close, k.revision) for k in revised if k.timestamp == T0] == [(500, 8, 2)]


def test_what_waits_is_bounded_and_the_oldest_is_dropped(monkeypatch):
    """Each drop is counted by its own cause."""
    monkeypatch.setattr(contracts, "WITHHELD_MOST", 2)
    swaps = Swaps("1m")
    for number in range(4):
        swaps.minute(number, (2, 3, "A"))
    swaps.sizes["A"] = Decimal(1)
    released = swaps.minute(4)

    assert [(k.timestamp - T0) // MINUTE for k in released] == [2, 3, 4]
    assert [cause for cause, _ in swaps.reports].count("unsized_kline_dropped") == 2


def test_what_waits_goes_with_its_symbol():
    """A symbol that is dropped begins anew."""
    swaps = Swaps("1m")
    swaps.table.feed.up(["A"], T0)
    swaps.minute(0, (2, 3, "A"))
    swaps.table.feed.drop(["A"])
    swaps.table.feed.down(["A"], T0 + MINUTE)
    swaps.table.feed.drop([], again=["A"])
    swaps.table.feed.up(["A"], T0 + MINUTE)
    swaps.sizes["A"] = Decimal(1)

    assert sums(swaps.minute(5, (2, 4, "A"))) == [("A", 1, 5, 4, 8)]


@pytest.mark.parametrize(("before", "after"), [("10", "1"), ("1", "10")])
def test_windows_over_a_change_of_size_are_incomplete(before, after):
    """Shorter and longer ones alike, and never with more than was traded; what begins after it is whole."""
    swaps = Swaps("1m", "3m", A=before)
    start = -T0 // MINUTE % 3  # the first minute of three
    klines = swaps.minute(start, (2, 30, "A"))
    swaps.table.add(trades(((start + 1) * MINUTE, 2, 50, "A")))
    swaps.sizes["A"] = Decimal(after)
    klines += swaps.table.close_until(T0 + (start + 2) * MINUTE)
    klines += swaps.minute(start + 2, (2, 7, "A"))
    klines += swaps.minute(start + 3, (2, 7, "A"))
    least = min(Decimal(before), Decimal(after))
    whole = [(k.interval // MINUTE, k.complete, k.volume) for k in klines]

    assert whole == [
        (1, True, 30 * Decimal(before)),
        (1, False, 50 * least),
        (1, True, 7 * Decimal(after)),
        (3, False, 80 * least + 7 * Decimal(after)),
        (1, True, 7 * Decimal(after)),
    ]


def test_all_that_is_over_with_the_first_trade_of_a_new_size_is_incomplete():
    """After a pause several minutes close at once: which were of which size is not known, but for the last."""
    swaps = Swaps("1m", A="1")
    swaps.table.add(trades((0, 2, 5, "A")))
    swaps.sizes["A"] = Decimal(10)
    klines = swaps.table.add(trades((MINUTE, 2, 5, "A"), (2 * MINUTE, 2, 5, "A")))
    klines += swaps.table.close_until(T0 + 3 * MINUTE)

    assert [(k.complete, (k.timestamp - T0) // MINUTE) for k in klines] == [(False, 0), (False, 1), (True, 2)]


def test_a_change_of_size_stays_unproven_whatever_is_verified_later():
    """The span of the change is a hole in what is covered: later proofs leave its window as it is."""
    swaps = Swaps("1m", A="1")
    swaps.table.feed.up(["A"], T0 - MINUTE)
    swaps.minute(-1, (2, 3, "A"))
    swaps.table.add(trades((0, 2, 5, "A")))
    swaps.sizes["A"] = Decimal(10)
    swaps.table.close_until(T0 + MINUTE)
    (row,) = swaps.table.symbols.known(["A"])

    assert swaps.table.feed.coverage.overlaps(row, T0, T0 + MINUTE)
    assert not swaps.table.feed.coverage.overlaps(row, T0 + MINUTE, T0 + 2 * MINUTE)


@pytest.mark.parametrize("gone", [None, Decimal(0), Decimal(-1)])
def test_a_size_that_was_known_stays_known(gone):
    """A listing that cannot be read, or is wrong, for a while changes nothing."""
    swaps = Swaps("1m", A="10")
    klines = swaps.minute(0, (2, 3, "A"))
    swaps.sizes["A"] = gone
    klines += swaps.minute(1, (2, 3, "A"))

    assert [(k.volume, k.complete) for k in klines] == [(30, True), (30, True)]


@pytest.mark.parametrize(
    ("arithmetic", "volume", "turnover"),
    [(SWAP, "70.003", "1234.56789"), (COINS, "700", "0.123456789012345"), (SWAP, "0.0001", "0.00000000001")],
)
def test_the_exchanges_candle_is_in_base_units_already(arithmetic, volume, turnover):
    """It stays as it is to the last digit, also when a later trade makes ticks and lots finer."""
    swaps = Swaps("1m", arithmetic=arithmetic, A="10000")
    (kline,) = swaps.minute(0, (2, 3, "A"))
    candle = Candle(T0, *map(Decimal, ("2", "9", "1.5", "3", volume, turnover)))
    (corrected,) = swaps.table.correct(kline, candle)
    (following,) = swaps.minute(1)
    swaps.minute(2, (2.123456, 3.0001, "A"))
    again = swaps.table.feed.begin_unverified([0], T0 + MINUTE)

    prices = (corrected.open, corrected.high, corrected.low, corrected.close)
    assert prices == (2, 9, Decimal("1.5"), 3)
    assert (corrected.volume, corrected.turnover) == (Decimal(volume), Decimal(turnover))
    assert (corrected.source, corrected.revision) == ("exchange", 1)
    assert (following.open, following.close) == (3, 3)
    assert [(k.timestamp - T0) // MINUTE for k in again] == [1, 2]


def test_the_exchanges_candle_waits_in_its_place_and_is_not_multiplied():
    """Klines of a symbol go out in their order, also those that need no size."""
    swaps = Swaps("1m")
    swaps.minute(0, (2, 3, "A"))
    one = Decimal(1)
    waiting = Kline("A", MINUTE, T0, one, one, one, one, one, 1, one, True, "trades", 0)
    assert swaps.table.correct(waiting, Candle(T0, one, one, one, one, Decimal(5), Decimal(6))) == []
    swaps.sizes["A"] = Decimal(100)
    released = swaps.minute(1, (2, 3, "A"))

    assert [(k.volume, k.turnover, k.source) for k in released] == [(5, 6, "exchange"), (300, 600, "trades")]


def test_sizes_are_looked_up_by_market():
    """BTCUSDT of two markets are two symbols, each by its own rules."""
    asked: list[tuple[str, str]] = []
    published: list[tuple[str, Decimal]] = []
    now = [T0]

    def size(market, symbol):
        asked.append((market, symbol))
        return Decimal(10)

    aggregator = Aggregator(
        ["linear", "spot"],
        [parse_interval("1m")],
        lambda *_: TradeBatch(["X"], [T0], [2.0], [3.0], [0], [1]),
        lambda market, klines: published.extend((market, k.volume) for k in klines),
        arithmetic_of={"linear": SWAP, "spot": Arithmetic()}.__getitem__,
        contract_sizes=size,
        now_ms=lambda: now[0],
    )
    for market in ("linear", "spot"):
        aggregator.queues[market].put_control(feed_up(("X",), T0 - MINUTE, market=market))
        aggregator.queues[market].put(b"")
    aggregator.step()
    now[0] = T0 + MINUTE + 300
    aggregator.step()

    assert published == [("linear", 30), ("spot", 3)]
    assert set(asked) == {("linear", "X")}
