"""The exchange's clock, against a harness whose true time is known."""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from exchanges import clock as module
from exchanges.clock import ExchangeClock
from exchanges.clock_evidence import ONE_WAY_ONLY_MS, PERSIST_MS, PERSIST_TIMES, Measured, OneWayBound, agreed
from model.ports import HistoryError

EPOCH_MS = 1_800_000_000_000
HOUR_MS = 3_600_000


class Harness:
    """True time, a host whose clock is wrong, and REST whose requests and answers take a while."""

    def __init__(self, *, host_error_ms: float = 0, there_ms: float = 40, back_ms: float = 40) -> None:
        self.true_ms = float(EPOCH_MS)
        self.asleep_ms = 0.0
        self.host_error_ms, self.there_ms, self.back_ms = host_error_ms, there_ms, back_ms
        self.rest_is_up, self.rest_error_ms, self.drift = True, 0, 0.0
        self.ways_there_ms: Iterator[float] | None = None
        self.asked = 0
        self.clock = ExchangeClock(self.server_time_ms, wall_ms=self.wall_ms, monotonic=self.monotonic)

    def wall_ms(self) -> int:
        return int(self.true_ms + self.host_error_ms)

    def monotonic(self) -> float:
        return ((self.true_ms - EPOCH_MS - self.asleep_ms) / 1000 + 5.0) * (1 + self.drift)

    def server_time_ms(self) -> int:
        self.asked += 1
        if not self.rest_is_up:
            raise HistoryError("unreachable")
        self.true_ms += next(self.ways_there_ms) if self.ways_there_ms else self.there_ms
        answer = int(self.true_ms) + self.rest_error_ms
        self.true_ms += self.back_ms
        return answer

    def deliver(self, *delays_ms: float, source: str = "BTCUSDT") -> None:
        """Deliver messages one after another, each with its delay."""
        for delay_ms in delays_ms:
            sent_ms = int(self.true_ms)
            self.true_ms += delay_ms
            self.clock.observe(sent_ms, source)
            self.true_ms += 3

    @property
    def error_ms(self) -> float:
        """How far ahead of the truth the clock is."""
        return self.clock.now_ms() - self.true_ms


HOSTS = pytest.mark.parametrize("host_error_ms", [0, 2_000, -2_000, HOUR_MS, -HOUR_MS])
STEPS = pytest.mark.parametrize("step_ms", [HOUR_MS, -HOUR_MS, 3_000, -3_000, 100, -100])


@HOSTS
def test_rest_makes_a_wrong_host_right(host_error_ms: float) -> None:
    """Equal ways there and back: right to the millisecond, and the host's error is shown."""
    harness = Harness(host_error_ms=host_error_ms)
    assert harness.clock.refresh()
    assert abs(harness.error_ms) <= 2
    assert abs(harness.clock.offset_ms + host_error_ms) <= 2
    assert harness.clock.is_known


@HOSTS
@pytest.mark.parametrize(("there_ms", "back_ms"), [(200, 10), (10, 200), (0, 300), (300, 0)])
def test_uneven_ways_stay_within_the_uncertainty(host_error_ms: float, there_ms: float, back_ms: float) -> None:
    """Half the round trip is the most that REST alone can be off, which the uncertainty admits."""
    harness = Harness(host_error_ms=host_error_ms, there_ms=there_ms, back_ms=back_ms)
    harness.clock.refresh()
    uncertainty_ms = harness.clock.uncertainty_ms
    assert uncertainty_ms is not None
    assert abs(harness.error_ms) <= uncertainty_ms + 1 <= (there_ms + back_ms) / 2 + 3


def test_the_quickest_of_several_samples_counts() -> None:
    """The first answer pays for the connection; the bounds come from the best."""
    harness = Harness(back_ms=0)
    harness.ways_there_ms = iter([900.0, 30.0, 400.0, 30.0, 500.0])
    harness.clock.refresh()
    assert harness.clock.uncertainty_ms == 16  # half of 30 and of one millisecond


def test_messages_narrow_what_rest_left_open() -> None:
    """A slow answer makes REST's time too early; quick messages prove that it is not."""
    harness = Harness(there_ms=10, back_ms=200)
    harness.clock.refresh()
    assert harness.error_ms == pytest.approx(-95, abs=2)
    harness.deliver(30, 5, 5, 60)
    assert harness.error_ms == pytest.approx(-5, abs=2)
    assert harness.clock.uncertainty_ms == pytest.approx(15, abs=2)


@HOSTS
@settings(deadline=None)
@given(delays_ms=st.lists(st.integers(0, 2_000), max_size=30), ways=st.tuples(st.integers(0, 500), st.integers(0, 500)))
def test_the_truth_is_never_outside_the_bounds(
    host_error_ms: float, delays_ms: list[int], ways: tuple[int, int]
) -> None:
    """Whatever the delays are, REST and messages together never exclude the true time: one of many is quick."""
    if len(delays_ms) >= module.MANY:
        delays_ms[0] = min(delays_ms[0], 400)
    harness = Harness(host_error_ms=host_error_ms, there_ms=ways[0], back_ms=ways[1])
    harness.clock.refresh()
    harness.clock.now_ms()
    harness.deliver(*delays_ms)
    uncertainty_ms = harness.clock.uncertainty_ms
    assert uncertainty_ms is not None
    assert abs(harness.clock.offset_ms + harness.host_error_ms) <= uncertainty_ms + 2


@pytest.mark.parametrize("host_error_ms", [0, 2_000, -2_000, HOUR_MS])
@settings(deadline=None)
@given(delays_ms=st.lists(st.integers(1, 800), min_size=2, max_size=30))
def test_without_rest_messages_never_make_it_early(host_error_ms: float, delays_ms: list[int]) -> None:
    """A candle must not close early: a message's time can only be late, by the second quickest delay."""
    harness = Harness(host_error_ms=host_error_ms)
    harness.rest_is_up = False
    assert not harness.clock.refresh()
    harness.deliver(*delays_ms)
    behind_ms = -(harness.clock.offset_ms + harness.host_error_ms)
    assert -1 <= behind_ms <= sorted(delays_ms)[1] + 4
    assert harness.clock.is_known


def test_without_rest_and_messages_the_host_counts() -> None:
    """There is nothing else; the clock admits that nothing is known."""
    harness = Harness(host_error_ms=2_000)
    harness.rest_is_up = False
    harness.clock.refresh()
    assert harness.error_ms == pytest.approx(2_000, abs=1)
    assert (harness.clock.is_known, harness.clock.uncertainty_ms, harness.clock.offset_ms) == (False, None, 0)


@STEPS
@pytest.mark.parametrize("knows_rest", [True, False])
def test_a_step_of_the_host_changes_nothing(step_ms: float, knows_rest: bool) -> None:
    """Known by REST or only by messages: the time goes on, the offset shows the step, a refresh is due."""
    harness = Harness()
    if knows_rest:
        harness.clock.refresh()
    harness.deliver(20, 20, 20)
    before_ms = harness.error_ms
    harness.host_error_ms += step_ms
    harness.true_ms += 50
    assert abs(harness.error_ms - before_ms) <= 2
    assert harness.clock.offset_ms == pytest.approx(-step_ms, abs=40)
    assert harness.clock.steps == 1
    assert harness.clock.seconds_to_refresh() == 0


def test_a_host_that_slept_is_put_right_by_messages_and_by_rest() -> None:
    """The monotonic clock stood still meanwhile, so that the old measure is late by the sleep."""
    harness = Harness()
    harness.clock.refresh()
    harness.true_ms += 60_000
    harness.asleep_ms += 60_000
    assert harness.error_ms == pytest.approx(-60_000, abs=5)
    assert harness.clock.seconds_to_refresh() == 0
    harness.deliver(20, 20, 20)
    assert -30 <= harness.error_ms <= 0
    assert harness.clock.uncertainty_ms == ONE_WAY_ONLY_MS  # a bound on one side is all that is left
    harness.clock.refresh()
    assert abs(harness.error_ms) <= 5


@pytest.mark.parametrize("knows_rest", [True, False])
@pytest.mark.parametrize("ahead_ms", [200, 10_000, HOUR_MS, 10**15])
def test_one_wrong_time_stamp_moves_nothing(knows_rest: bool, ahead_ms: int) -> None:
    """If it counted, every candle would close early."""
    harness = Harness()
    if knows_rest:
        harness.clock.refresh()
    harness.deliver(20, 20, 20)
    before_ms = harness.error_ms
    for _ in range(2):  # the same message over two sockets is still one
        harness.clock.observe(int(harness.true_ms) + ahead_ms)
    assert abs(harness.error_ms - before_ms) <= 2
    assert harness.clock.outliers == (2 if knows_rest or ahead_ms >= module.FAR_MS else 0)


def test_many_wrong_time_stamps_against_rest_ask_for_a_refresh() -> None:
    """Either they or the measure are wrong: REST decides, soon but not at once, and never in a storm."""
    harness = Harness()
    harness.clock.refresh()
    for ahead_ms in range(100):
        harness.clock.observe(int(harness.true_ms) + 5_000 + ahead_ms)
    assert abs(harness.error_ms) <= 2
    assert harness.clock.seconds_to_refresh() == pytest.approx(module.RETRY_S, abs=0.1)


def test_rest_overrules_wrong_messages_before_it() -> None:
    """Messages that counted without REST are forgotten where REST contradicts it, though the time need not go back."""
    harness = Harness()
    for ahead_ms in (3_000, 3_001, 3_002):
        harness.clock.observe(int(harness.true_ms) + ahead_ms)
    assert harness.clock.offset_ms == pytest.approx(3_000, abs=3)
    harness.clock.refresh()
    assert abs(harness.clock.offset_ms) <= 2


def test_time_stands_still_rather_than_going_back_a_little() -> None:
    """A host 40 ms fast had given a later time already: no time is given twice with a smaller one between."""
    harness = Harness(host_error_ms=40, there_ms=1, back_ms=1)
    given = [harness.clock.now_ms()]
    harness.clock.refresh()
    for _ in range(100):
        harness.true_ms += 5
        given.append(harness.clock.now_ms())
    assert given == sorted(given)
    assert len(set(given[:5])) < 5, "it did not stand still"
    assert abs(harness.error_ms) <= 2


@pytest.mark.parametrize("ahead_ms", [2_000, HOUR_MS])
def test_time_that_was_wrong_goes_back(ahead_ms: int) -> None:
    """Standing still two seconds ahead would close the windows of two seconds before their trades."""
    harness = Harness(host_error_ms=ahead_ms)
    harness.clock.now_ms()
    harness.clock.refresh()
    assert abs(harness.error_ms) <= 2


def test_a_drifting_oscillator_stays_within_the_uncertainty() -> None:
    """Between refreshes the bounds widen faster than a usual host drifts."""
    harness = Harness(there_ms=1, back_ms=1)
    harness.drift = 5e-5
    harness.clock.refresh()
    harness.deliver(1, 1, 1)
    harness.true_ms += module.REFRESH_S * 1000
    harness.clock.now_ms()
    assert harness.clock.uncertainty_ms is not None
    assert 5 < abs(harness.error_ms) <= harness.clock.uncertainty_ms + 1


def test_refreshes_come_at_their_times() -> None:
    """Due at once, then every few minutes; sooner where REST did not answer."""
    harness = Harness()
    assert harness.clock.seconds_to_refresh() == 0
    harness.clock.refresh()
    assert harness.clock.seconds_to_refresh() == pytest.approx(module.REFRESH_S)
    harness.rest_is_up = False
    assert not harness.clock.refresh()
    assert harness.clock.seconds_to_refresh() == pytest.approx(module.RETRY_S)
    assert abs(harness.error_ms) <= 2


def test_no_request_is_sent_before_the_first_refresh() -> None:
    """Neither its construction nor reading the time sends a request."""
    harness = Harness()
    harness.clock.now_ms()
    harness.deliver(1, 1)
    assert harness.asked == 0


def test_an_old_message_binds_less() -> None:
    """After 1,000 s a usual oscillator may be 100 ms off, and a fresher message counts instead."""
    one_way = OneWayBound()
    one_way.add(50.0, 1, 0.0)
    one_way.add(50.0, 2, 0.0)
    assert one_way.at(1_000_000) == pytest.approx(-50)
    one_way.add(-20.0, 3, 1_000_000)
    one_way.add(-20.0, 4, 1_000_000)
    assert one_way.at(1_000_000) == pytest.approx(-20)


def test_samples_that_contradict_each_other_yield_to_the_narrowest() -> None:
    """Two servers of the exchange need not agree to the millisecond."""
    wide, narrow = Measured(-100, -12, 1), Measured(-10, 10, 2)
    assert agreed([wide, narrow]) == agreed([narrow, wide]) == narrow


def test_an_unreachable_rest_is_logged_once() -> None:
    """Each time it stops answering, not at each refresh."""
    harness = Harness()
    with capture_logs() as logs:
        for is_up in (True, False, False, True, False):
            harness.rest_is_up = is_up
            harness.clock.refresh()
    assert [entry["event"] for entry in logs].count("exchange_clock_unreachable") == 2


# -- three sources of time: REST, the messages, the host ------------------------------------------------------------

JUMPS = pytest.mark.parametrize("jump_ms", [HOUR_MS, -HOUR_MS, 3_000, -3_000])


@JUMPS
def test_a_wrong_rest_at_the_start_is_refuted_by_messages_and_the_host(jump_ms: int) -> None:
    """A cached answer, a wrong server: two against one. At an hour the first message is enough, at seconds a few."""
    harness = Harness()
    harness.rest_error_ms = jump_ms
    harness.clock.refresh()
    harness.deliver(*[20] * (1 if abs(jump_ms) > module.LATE_MS or jump_ms < 0 else module.MANY))
    assert harness.error_ms == pytest.approx(-20, abs=5)
    assert not harness.clock.refresh()
    harness.rest_error_ms = 0
    assert harness.clock.refresh()
    assert abs(harness.error_ms) <= 2


@JUMPS
def test_a_jump_of_rest_does_not_count_against_messages(jump_ms: int) -> None:
    """Logged once however long it goes on, measured less and less often, and nothing moves."""
    harness = Harness()
    harness.clock.refresh()
    harness.deliver(20, 20, 20)
    harness.rest_error_ms = jump_ms
    paces_s = []
    with capture_logs() as logs:
        for _ in range(4):
            assert not harness.clock.refresh()
            paces_s.append(harness.clock.seconds_to_refresh())
            harness.deliver(20)
            assert abs(harness.error_ms) <= 25
    assert [entry["event"] for entry in logs] == ["exchange_clock_implausible"]
    assert paces_s == pytest.approx([module.RETRY_S * 2**n for n in range(4)])
    assert harness.clock.rejected == 4


@JUMPS
@pytest.mark.parametrize("host_error_ms", [70_000, -70_000])
def test_messages_of_two_symbols_outweigh_rest_where_the_host_is_wrong_too(host_error_ms: int, jump_ms: int) -> None:
    """All three disagree: candles are made of trades, so that their time counts."""
    harness = Harness(host_error_ms=host_error_ms)
    harness.rest_error_ms = jump_ms
    harness.clock.refresh()
    for source in ("BTCUSDT", "ETHUSDT") * 3:
        harness.deliver(20, source=source)
    assert harness.error_ms == pytest.approx(-20, abs=5)


def test_one_symbol_outweighs_rest_and_a_wrong_host_when_it_goes_on() -> None:
    """There is no other source: a moment later it counts, so that its trades are not refused for ever."""
    harness = Harness(host_error_ms=-70_000)
    harness.rest_error_ms = -HOUR_MS
    harness.clock.refresh()
    harness.deliver(20, 20)
    assert harness.error_ms < -module.FAR_MS
    harness.true_ms += PERSIST_MS
    harness.deliver(20)
    assert harness.error_ms == pytest.approx(-20, abs=5)


def test_a_host_an_hour_slow_is_put_right_without_rest() -> None:
    """By two symbols at once; one alone has to go on."""
    harness = Harness(host_error_ms=-HOUR_MS)
    harness.deliver(20, source="BTCUSDT")
    assert harness.error_ms < -module.FAR_MS
    harness.deliver(20, source="ETHUSDT")
    assert harness.error_ms == pytest.approx(-20, abs=5)


@pytest.mark.parametrize("knows_rest", [True, False])
@pytest.mark.parametrize("ahead_ms", [1_500, HOUR_MS])
def test_one_symbol_of_several_with_wrong_times_moves_nothing(knows_rest: bool, ahead_ms: int) -> None:
    """However long it goes on: the others support the current time."""
    harness = Harness()
    if knows_rest:
        harness.clock.refresh()
    for _ in range(50):
        for source in ("AUSDT", "BUSDT", "CUSDT"):
            harness.deliver(20, source=source)
        harness.clock.observe(int(harness.true_ms) + ahead_ms, "ODDUSDT")
        harness.true_ms += 100
    assert -25 <= harness.error_ms <= 2


@pytest.mark.parametrize("behind_ms", [30_000, HOUR_MS])
def test_old_messages_move_nothing_where_rest_and_host_agree(behind_ms: int) -> None:
    """A backlog, or a feed that plays something again: the time is not when they were sent."""
    harness = Harness()
    harness.clock.refresh()
    for _ in range(20):
        harness.clock.observe(int(harness.true_ms) - behind_ms, "BTCUSDT")
        harness.true_ms += 200
    assert abs(harness.error_ms) <= 2


@pytest.mark.parametrize(("there_ms", "back_ms"), [(900, 10), (10, 900)])
@HOSTS
def test_uneven_ways_are_no_contradiction(host_error_ms: float, there_ms: float, back_ms: float) -> None:
    """REST's bounds cover uneven ways: quick messages narrow them, and refute nothing."""
    harness = Harness(host_error_ms=host_error_ms, there_ms=there_ms, back_ms=back_ms)
    harness.clock.refresh()
    for _ in range(3):
        harness.deliver(*[20] * module.MANY, source="BTCUSDT")
        assert harness.clock.refresh()
    assert harness.clock.rejected == 0
    assert harness.clock.uncertainty_ms is not None
    assert abs(harness.error_ms) <= harness.clock.uncertainty_ms + 2


@JUMPS
def test_a_jump_without_any_message_counts_when_it_is_confirmed(jump_ms: int) -> None:
    """Nobody trades, and the host supports neither: a jump of REST counts once it was measured several times."""
    harness = Harness(host_error_ms=70_000)
    harness.clock.refresh()
    harness.rest_error_ms = jump_ms
    for _ in range(module.CONFIRMATIONS - 1):
        assert not harness.clock.refresh()
        assert abs(harness.error_ms) <= 2
        assert harness.clock.sure_ms() <= harness.true_ms + min(jump_ms, 0) + 2
    assert harness.clock.refresh()
    assert harness.error_ms == pytest.approx(jump_ms, abs=500)


@JUMPS
def test_a_jump_against_the_host_and_the_time_before_never_counts(jump_ms: int) -> None:
    """Nobody trades for hours: what REST alone repeats would close them all as flat."""
    harness = Harness()
    harness.clock.refresh()
    harness.rest_error_ms = jump_ms
    for _ in range(50):
        harness.true_ms += 1000 * module.REFRESH_S
        assert not harness.clock.refresh()
        assert abs(harness.error_ms) <= 2
        assert harness.clock.sure_ms() <= harness.true_ms + min(jump_ms, 0) + 2
    harness.rest_error_ms = 0
    assert harness.clock.refresh()


@pytest.mark.parametrize("host_error_ms", [0, 5_000, -HOUR_MS // 2])
@pytest.mark.parametrize("rest_error_ms", [-HOUR_MS, -61_000, -30_000, 30_000, 61_000, HOUR_MS])
def test_one_trade_a_minute_refutes_a_rest_that_is_wrong_from_the_start(host_error_ms: int, rest_error_ms: int) -> None:
    """Three of them, after REST has repeated itself; nothing is closed early where the host is right."""
    harness = Harness(host_error_ms=host_error_ms)
    harness.rest_error_ms = rest_error_ms
    harness.clock.refresh()
    for _ in range(PERSIST_TIMES):
        for _ in range(6):
            harness.true_ms += 1000 * module.RETRY_S
            if harness.clock.seconds_to_refresh() == 0:
                harness.clock.refresh()
            if host_error_ms == 0:
                assert harness.clock.sure_ms() <= harness.true_ms + 3
        harness.deliver(50)
    assert abs(harness.error_ms) <= ONE_WAY_ONLY_MS


def test_a_jump_back_to_the_host_counts_at_once() -> None:
    """The first measure was the wrong one, and the host was right."""
    harness = Harness()
    harness.rest_error_ms = HOUR_MS
    harness.clock.refresh()
    harness.rest_error_ms = 0
    assert harness.clock.refresh()
    assert abs(harness.error_ms) <= 2


@pytest.mark.parametrize("host_error_ms", [HOUR_MS, -HOUR_MS])
def test_where_rest_and_host_contradict_each_other_nothing_is_sure_until_a_message_comes(host_error_ms: int) -> None:
    """Marks take the worse of both times, and what is over by one of them only is not over."""
    harness = Harness(host_error_ms=host_error_ms)
    harness.clock.refresh()
    before = harness.clock.changes
    assert harness.clock.sure_ms() == pytest.approx(harness.true_ms + min(host_error_ms, 0), abs=3)
    earliest_ms, latest_ms = harness.clock.span_of(harness.wall_ms())
    assert earliest_ms == pytest.approx(harness.true_ms + min(host_error_ms, 0), abs=3)
    assert latest_ms == pytest.approx(harness.true_ms + max(host_error_ms, 0), abs=3)
    assert harness.clock.seconds_to_refresh() <= module.RETRY_S

    harness.deliver(20)
    assert harness.clock.changes == before + 1
    assert harness.clock.sure_ms() == pytest.approx(harness.true_ms, abs=3)
    assert harness.clock.span_of(harness.wall_ms()) == pytest.approx((harness.true_ms, harness.true_ms), abs=3)


def test_an_unresolved_contradiction_ends_when_rest_has_repeated_itself() -> None:
    """A host an hour wrong and a market without a trade: the past is filled in some time."""
    harness = Harness(host_error_ms=-HOUR_MS)
    harness.clock.refresh()
    for waited_ms in (0, module.REPEAT_MS - 2_000):
        harness.true_ms += waited_ms
        harness.clock.refresh()
        assert harness.clock.sure_ms() == pytest.approx(harness.true_ms - HOUR_MS, abs=3)
    harness.true_ms += 2_000
    harness.clock.refresh()
    assert harness.clock.sure_ms() == pytest.approx(harness.true_ms, abs=3)


@STEPS
def test_a_stamp_from_before_a_step_means_what_it_meant(step_ms: float) -> None:
    """A connection that ends after a step received its last frame before it: the mark must not lie in the future."""
    harness = Harness()
    harness.clock.refresh()
    harness.deliver(20, 20)
    stamp_ms, meant_ms = harness.wall_ms(), harness.true_ms
    harness.true_ms += 5_000
    harness.clock.now_ms()
    harness.host_error_ms += step_ms
    harness.true_ms += 5_000
    earliest_ms, latest_ms = harness.clock.span_of(stamp_ms)
    assert earliest_ms <= meant_ms + 2
    assert latest_ms >= meant_ms - 2
    if abs(step_ms) >= HOUR_MS:  # the other reading is no moment that can be meant
        assert (earliest_ms, latest_ms) == pytest.approx((meant_ms, meant_ms), abs=3)


def test_a_change_is_counted_when_two_symbols_without_rest_disagree_at_last() -> None:
    """One alone had gone on long enough to count; what depended on its time is due anew."""
    harness = Harness()
    for _ in range(PERSIST_TIMES + 1):
        harness.clock.observe(int(harness.true_ms) + HOUR_MS, "ODDUSDT")
        harness.true_ms += PERSIST_MS
    assert harness.error_ms == pytest.approx(HOUR_MS, abs=2 * PERSIST_MS)
    before = harness.clock.changes
    harness.deliver(20, source="BTCUSDT")
    assert abs(harness.error_ms) <= 50
    assert harness.clock.changes == before + 1


def test_one_change_is_counted_when_the_time_is_known_first() -> None:
    """By two messages, of one symbol or of two."""
    for second in ("BTCUSDT", "ETHUSDT"):
        harness = Harness()
        harness.deliver(20, source="BTCUSDT")
        assert harness.clock.changes == 0
        harness.deliver(20, source=second)
        harness.deliver(20, source=second)
        assert harness.clock.changes == 1
