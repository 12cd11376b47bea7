"""Rows of candles, and the memory of those that are special."""

from decimal import Decimal

import msgspec

from consumers.web.live.rows import (
    INCOMPLETE,
    OF_SERIES,
    OPEN,
    REPAIRED,
    REVISED,
    KlineMemory,
    flags_of,
    row_of_candle,
    row_of_kline,
)
from model.records import Candle, Kline

MINUTE_MS = 60_000
SERIES = ("linear", "BTCUSDT", MINUTE_MS)


def kline(number: int = 0, *, complete: bool = True, revision: int = 0, source: str = "trades", **of: object) -> Kline:
    values = {"symbol": "BTCUSDT", "volume": Decimal("1E+2"), **of}
    price = Decimal("64000.10")
    return Kline(
        interval=MINUTE_MS,
        timestamp=number * MINUTE_MS,
        open=price,
        high=price,
        low=price,
        close=price,
        trade_count=1,
        turnover=price,
        complete=complete,
        source=source,
        revision=revision,
        **values,  # type: ignore[arg-type]
    )


def test_a_row_has_the_texts_of_the_channel_and_never_an_exponent() -> None:
    """To the last digit, with a reason only where there is one."""
    row = row_of_kline(kline(2, revision=3, complete=False), INCOMPLETE)
    start = [120, *["64000.10"] * 4, "100", INCOMPLETE, 3, "trades"]
    assert msgspec.json.decode(row.json()) == start
    assert msgspec.json.decode(row.json('"lost \\"all\\""')) == [*start, 'lost "all"']
    assert (row.price_decimals, row.volume_decimals) == (2, 0)


def test_a_candle_of_the_exchange_says_that_it_is_history_and_whether_it_is_open() -> None:
    """So that a page can tell it from the collector's own."""
    one = Decimal(1)
    row = row_of_candle(Candle(60_000, one, one, one, one, Decimal("0.50"), one), is_open=True)
    assert msgspec.json.decode(row.json()) == [60, "1", "1", "1", "1", "0.50", OPEN, 0, "history"]


def test_only_klines_with_something_special_are_remembered() -> None:
    """A complete first issue is what the exchange's history has too."""
    memory = KlineMemory()
    memory.add("linear", [kline(1), kline(2, complete=False), kline(3, revision=1)])
    assert {start // MINUTE_MS: row.flags for start, row in memory.of(SERIES).items()} == {2: INCOMPLETE, 3: REVISED}
    assert (memory.closed, memory.incomplete, memory.revised) == (3, 1, 1)


def test_what_was_incomplete_and_is_complete_now_is_repaired() -> None:
    """And stays so when it is issued again; an earlier revision that comes late changes nothing."""
    memory = KlineMemory()
    memory.add("linear", [kline(1, complete=False)])
    memory.add("linear", [kline(1, revision=1, source="exchange")])
    memory.add("linear", [kline(1, revision=2)])
    memory.add("linear", [kline(1, revision=1, complete=False)])
    (row,) = memory.of(SERIES).values()
    assert (row.flags, row.revision, row.source) == (REPAIRED, 2, "trades")


def test_a_complete_candle_that_is_issued_again_was_revised_whatever_its_source() -> None:
    """The audit's correction of one that was seen complete repairs nothing; of one that was not seen it may."""
    corrected = kline(1, revision=1, source="exchange")
    assert [flags_of(corrected, before) for before in (0, INCOMPLETE, None)] == [REVISED, REPAIRED, REPAIRED]


def test_the_memory_is_bounded_by_series_and_in_all() -> None:
    """The oldest candle goes; of all series the one that got none for longest."""
    memory = KlineMemory(limit=OF_SERIES + 10)
    memory.add("linear", [kline(number, complete=False) for number in range(OF_SERIES + 5)])
    assert min(memory.of(SERIES)) == 5 * MINUTE_MS
    memory.add("spot", [kline(number, complete=False) for number in range(20)])
    assert len(memory) == OF_SERIES + 10
    assert len(memory.of(("spot", "BTCUSDT", MINUTE_MS))) == 20
    assert min(memory.of(SERIES)) == 15 * MINUTE_MS
    memory.add("inverse", [kline(number, complete=False) for number in range(OF_SERIES)])
    assert len(memory) == OF_SERIES + 10
    assert len(memory.of(SERIES)) == 0
