"""Late trades across intervals, one rule at a time. test_soundness.py mixes them at random."""

from tests.support.arithmetic import FIRST_TRADE
from tests.unit.aggregation.klines.test_table import MINUTE, T0, ohlc, table, trades

HOUR = 60 * MINUTE
SECOND = 1_000


def latest(klines):
    """(interval, start after T0) -> the last issue."""
    return {(k.interval, k.timestamp - T0): k for k in klines}


def test_late_trade_is_counted_once_at_every_interval():
    """1s is closed, 1m is closed, the hour is open: the trade is in each of them, in none twice."""
    kt = table("1s", "1m", "1h")
    klines = kt.add(trades((0, 10, 1), (MINUTE + 500, 11, 1)))
    klines += kt.add(trades((30_000, 15, 2)))
    klines += kt.close_until(T0 + 2 * HOUR)

    of = latest(klines)
    assert ohlc(of[SECOND, 30_000]) == (10, 15, 10, 15)
    assert (of[SECOND, 30_000].volume, of[SECOND, 30_000].revision) == (2, 1)
    assert (of[MINUTE, 0].volume, of[MINUTE, 0].close, of[MINUTE, 0].revision) == (3, 15, 1)
    assert ohlc(of[MINUTE, MINUTE]) == (15, 15, 11, 11)
    hours = [k for k in klines if k.interval == HOUR]
    assert (sum(k.volume for k in hours), [k.revision for k in hours][:1]) == (4, [0])


def test_late_trade_in_a_minute_still_open_is_handed_on_once():
    """The second is closed, its minute is not: the minute takes it in and passes it to the five minutes itself."""
    kt = table("1s", "1m", "5m")
    start = 5 * MINUTE - T0 % (5 * MINUTE)
    klines = kt.add(trades((start, 10, 1), (start + MINUTE, 10, 1), (start + MINUTE + 20_000, 11, 1)))
    klines += kt.add(trades((start + MINUTE + 5_000, 12, 4)))
    klines += kt.close_until(T0 + start + 5 * MINUTE)

    assert sum(k.volume for k in klines if k.interval == MINUTE) == 7
    assert [k.volume for k in klines if k.interval == 5 * MINUTE] == [7]
    assert {k.revision for k in klines if k.interval > SECOND} == {0}


def test_late_trade_reaches_three_and_five_minutes_through_a_minute_that_is_not_published():
    """The shared base is corrected without being sent; both intervals are sent again, once."""
    kt = table("3m", "5m")
    start = (15 - T0 // MINUTE % 15) * MINUTE  # where a window of both begins
    kt.add(trades((start, 10, 1)))
    kt.close_until(T0 + start + 5 * MINUTE)

    klines = kt.add(trades((start + 1, 14, 1)))

    assert [(k.interval, k.timestamp - T0, k.high, k.revision) for k in klines] == [
        (3 * MINUTE, start, 14, 1),
        (5 * MINUTE, start, 14, 1),
    ]


def test_late_trade_that_is_not_the_last_moves_no_close():
    """High and volume change, the close does not, and so nothing after it."""
    kt = table("1m")
    kt.add(trades((0, 10, 1), (50_000, 11, 1), (MINUTE, 11, 1)))
    kt.close_until(T0 + 2 * MINUTE)

    (kline,) = kt.add(trades((20_000, 15, 1)))

    assert ohlc(kline) == (10, 15, 10, 11)


def test_late_trade_moves_the_whole_flat_run_after_it():
    """Flat candles stand at the close before them; the first traded one keeps its own."""
    kt = table("20s")
    kt.add(trades((0, 10, 1)))
    kt.close_until(T0 + 60_000)
    kt.add(trades((61_000, 11, 1)))
    kt.close_until(T0 + 80_000)

    again = kt.add(trades((1_000, 14, 1)))

    assert [ohlc(k) for k in again] == [(10, 14, 10, 14), (14, 14, 14, 14), (14, 14, 14, 14), (14, 14, 11, 11)]
    assert [k.revision for k in again] == [1, 1, 1, 1]


def test_late_trade_into_a_flat_candle():
    """It was called flat; now it is traded, and the flat ones after it stand at the new price."""
    kt = table("20s")
    kt.add(trades((0, 10, 1)))
    kt.close_until(T0 + 60_000)

    again = kt.add(trades((25_000, 9, 3)))

    assert [(ohlc(k), k.trade_count) for k in again] == [((10, 10, 9, 9), 1), ((9, 9, 9, 9), 0)]


def test_late_trade_moves_the_open_of_the_candle_not_yet_over():
    """The close it changes is the next candle's open, though that one is still open."""
    kt = table("1m")
    kt.add(trades((0, 10, 1), (MINUTE, 11, 1)))
    kt.add(trades((59_000, 20, 1)))

    (kline,) = kt.close_until(T0 + 2 * MINUTE)

    assert (ohlc(kline), kline.revision) == ((20, 20, 11, 11), 0)


def test_late_first_trade_is_the_open_under_the_first_trade_rule():
    """KLINE_OPEN=first_trade: an earlier trade opens; the traded candle after it stays as it is."""
    kt = table("1m", arithmetic=FIRST_TRADE)
    kt.add(trades((10, 10, 1), (MINUTE, 11, 1)))
    kt.close_until(T0 + 2 * MINUTE)

    (kline,) = kt.add(trades((5, 14, 1)))

    assert (ohlc(kline), kline.revision) == ((14, 14, 10, 10), 1)


def test_late_close_under_the_first_trade_rule_moves_flats_only():
    """A flat candle stands at the last close under either rule."""
    kt = table("20s", arithmetic=FIRST_TRADE)
    kt.add(trades((0, 10, 1), (45_000, 12, 1)))
    kt.close_until(T0 + 60_000)

    again = kt.add(trades((19_000, 14, 1)))

    assert [ohlc(k) for k in again] == [(10, 14, 10, 14), (14, 14, 14, 14)]


def test_first_trade_of_two_of_one_millisecond_is_that_of_the_lower_sequence():
    """Equal times that arrive apart: sequence decides the open as it decides the close."""
    kt = table("1m", arithmetic=FIRST_TRADE)
    kt.add(trades((5, 10, 1, "BTCUSDT", 8), (10, 11, 1, "BTCUSDT", 12)))
    kt.add(trades((5, 14, 1, "BTCUSDT", 9)))

    (kline,) = kt.close_until(T0 + MINUTE)

    assert ohlc(kline) == (10, 14, 10, 11)


def test_many_late_trades_of_one_batch_are_one_revision():
    """However many trades, and through however many candles the close is carried: each is sent again once."""
    kt = table("20s")
    kt.add(trades((0, 10, 1)))
    kt.close_until(T0 + 60_000)

    again = kt.add(trades((1, 11, 1), (2, 12, 1), (21_000, 13, 1), (3, 14, 1), (41_000, 15, 1)))

    assert [(k.timestamp - T0, k.revision, k.trade_count) for k in again] == [(0, 1, 4), (20_000, 1, 1), (40_000, 1, 1)]
    assert (kt.counts.late_amended, kt.counts.late_dropped) == (5, 0)


def test_batch_that_closes_a_candle_and_corrects_it():
    """A late trade beside the one that closes the window of now: both candles come out, in order."""
    kt = table("1m")
    kt.add(trades((0, 10, 1), (MINUTE, 11, 1)))

    klines = kt.add(trades((2 * MINUTE, 12, 1), (30_000, 9, 1)))

    assert [(k.timestamp - T0, k.revision, k.open) for k in klines] == [(MINUTE, 0, 10), (0, 1, 10), (MINUTE, 1, 9)]


def test_late_trade_of_a_window_that_only_longer_intervals_keep_is_not_dropped():
    """Its second is forgotten, its hour is open: it counts there and as amended."""
    kt = table("1s", "1h")
    start = HOUR - T0 % HOUR
    klines = kt.add(trades((start, 10, 1)))
    kt.close_until(T0 + start + 5 * MINUTE)
    klines += kt.add(trades((start + 10_000, 12, 1)))
    klines += kt.close_until(T0 + start + HOUR)

    assert (kt.counts.late_amended, kt.counts.late_dropped) == (1, 0)
    assert [(k.trade_count, k.high) for k in klines if k.interval == HOUR] == [(2, 12)]


def test_late_trade_before_the_first_candle_is_dropped():
    """There is no candle to correct, and none is invented."""
    kt = table("1m")
    kt.add(trades((MINUTE, 10, 1)))

    assert kt.add(trades((0, 9, 1))) == []
    assert kt.counts.late_dropped == 1


def test_late_trade_of_last_month_corrects_it():
    """The calendar's windows are kept as the others are."""
    kt = table("1d", "1M")
    february = 1_706_745_600_000 - T0
    march = february + 29 * 86_400_000
    klines = kt.add(trades((february, 10, 1), (march + 5, 11, 1)))
    klines += kt.add(trades((march - 1, 14, 1)))

    months = [(k.timestamp - T0, k.close, k.revision) for k in klines if k.interval == 29 * 86_400_000]
    assert months == [(february, 10, 0), (february, 14, 1)]


def test_sixty_seconds_and_a_minute_are_one_interval():
    """Asked for twice under two names, a candle still goes out once."""
    kt = table("1m", "60s", "1d", "1D")

    assert len(kt.add(trades((0, 10, 1), (MINUTE, 11, 1)))) == 1


def test_lateness_is_that_of_the_trade_that_came_late():
    """Measured from the end of its window, the longest of a batch."""
    kt = table("1s")
    kt.add(trades((500, 10, 1), (3_100, 10, 1)), T0 + 3_150)
    assert kt.lateness_ms == 0

    kt.add(trades((2_900, 10, 1), (2_100, 11, 1), (3_200, 10, 1)), T0 + 3_300)
    assert kt.lateness_ms == 300


def test_trades_of_one_batch_do_not_make_each_other_late():
    """A pause of ours is no lateness of theirs: only the one whose window had closed before counts."""
    kt = table("1s")
    kt.add(trades((500, 10, 1), (2_100, 10, 1)), T0 + 2_150)
    kt.add(trades((1_900, 10, 1), (2_200, 10, 1), (3_500, 10, 1)), T0 + 3_900)

    assert kt.lateness_ms == 1_900
    kt.lateness_ms = 0
    kt.add(trades((3_600, 10, 1), (4_200, 10, 1), (5_200, 10, 1)), T0 + 6_900)
    kt.add(trades((5_900, 10, 1), (7_200, 10, 1), (7_100, 10, 1)), T0 + 7_300)
    assert kt.lateness_ms == 0


def test_what_a_gap_held_up_is_no_lateness():
    """A new connection sends the last trades again: no window waits two seconds from then on."""
    kt = table("1s")
    kt.add(trades((500, 10, 1)), T0 + 600)
    kt.feed.down(["BTCUSDT"], T0 + 600)
    kt.close_until(T0 + 2_000)
    kt.feed.up(["BTCUSDT"], T0 + 2_100)
    kt.add(trades((900, 11, 1), (2_200, 11, 1)), T0 + 2_250)

    assert (kt.counts.late_amended, kt.lateness_ms) == (1, 0)
