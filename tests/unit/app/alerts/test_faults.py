"""Hours of faults in virtual time: every outage over a minute is told once and closed once, whatever comes."""

import random
import re
from collections import Counter, defaultdict
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.alerts.outages import Problem
from tests.support.klines import kline
from tests.unit.app.alerts.timeline import BEGIN_MS, Timeline, most_in_an_hour

AFTER_S, GROUP_S, SETTLE_S = 60, 30, 10
STREAMS = tuple(f"m{number} ticker" for number in range(8))
Span = tuple[float, float]


class Exchange:
    """Streams that fail by a seed: alone, or all together; most outages are short."""

    def __init__(self, seed: int, timeline: Timeline) -> None:
        self._rng, self.timeline = random.Random(seed), timeline
        self.outages: dict[str, list[Span]] = defaultdict(list)
        self._away: dict[str, Span] = {}
        timeline.up(*STREAMS)

    def run(self, seconds: int, *, mean_s: float) -> None:
        """Fail now and then; then all is well for long enough that everything is told."""
        for _ in range(seconds):
            if self._rng.random() < 1 / mean_s:
                self._fail(STREAMS if self._rng.random() < 0.15 else self._rng.sample(STREAMS, 1))
            self._second()
        while self._away:
            self._second()
        for _ in range(700):
            self._second()

    def _fail(self, names: tuple[str, ...] | list[str]) -> None:
        length_s = self._rng.choice((1, 5, 30, 55, 70, 100, 300))
        for name in names:
            if name not in self._away:
                begin_s = self.timeline.now_s
                self._away[name] = begin_s, begin_s + length_s + self._rng.randint(0, 3)
                self.timeline.down(name)

    def _second(self) -> None:
        self.timeline.run(1)
        for name, (begin_s, end_s) in list(self._away.items()):
            if self.timeline.now_s >= end_s:
                del self._away[name]
                self.outages[name].append((begin_s, self.timeline.now_s))
                self.timeline.up(name)


def told(timeline: Timeline) -> dict[str, list[tuple[float, str]]]:
    """What a reader is told of each stream: when, and whether it is down, flapping or well again."""
    found = defaultdict(list)
    for at_s, alert in timeline.alerts:
        for market, what in re.findall(r"of bybit (m\d)\b[^\n]*?\) (down|flapping|back|steady)", alert.text):
            found[f"{market} ticker"].append((at_s, what))
    return found


@pytest.mark.parametrize("seed", range(6))
def test_each_outage_over_a_minute_is_told_once_and_closed_once_and_no_other_is(seed):
    """An hour in which streams fail every minute or two, alone and all at once; flapping is told as such."""
    timeline = Timeline(has_klines=False, most_per_hour=10_000)
    exchange = Exchange(seed, timeline)
    exchange.run(3600, mean_s=(40, 90, 200)[seed % 3])
    long = 0
    for name in STREAMS:
        messages = told(timeline)[name]
        words = [what for _, what in messages]
        begins = [index for index, what in enumerate(words) if what in ("down", "flapping")]
        ends = [index for index, what in enumerate(words) if what in ("back", "steady")]
        escalated = [index for index in begins if words[index - 1 : index] == ["flapping"]]
        assert len(begins) - len(escalated) == len(ends), words
        pairs = list(zip((index for index in begins if index not in escalated), ends, strict=True))
        assert all(begin < end for begin, end in pairs)
        spans = [(messages[begin][0], messages[end][0], words[begin]) for begin, end in pairs]
        assert all(one[1] <= next_[0] for one, next_ in pairwise(spans)), "one after the other"
        for begin_s, end_s in (span for span in exchange.outages[name] if span[1] - span[0] > AFTER_S):
            long += 1
            covering = [span for span in spans if span[0] <= begin_s + AFTER_S + GROUP_S + 1 and span[1] >= end_s]
            assert covering, (name, begin_s, end_s, spans)
        for told_s, _, what in spans:
            caused = [o for o in exchange.outages[name] if o[0] + AFTER_S <= told_s and o[1] - o[0] >= AFTER_S]
            assert what == "flapping" or any(end_s >= told_s - GROUP_S for _, end_s in caused), (name, told_s, what)
    assert long > 10, "the seed tests something"


@pytest.mark.parametrize("most", [2, 5, 20])
@pytest.mark.parametrize("seed", range(3))
def test_at_most_so_many_an_hour_and_every_begin_has_its_end_all_the_same(seed, most):
    timeline = Timeline(has_klines=False, most_per_hour=most)
    Exchange(seed, timeline).run(2 * 3600, mean_s=60)
    assert most_in_an_hour([at_s for at_s, _ in timeline.alerts]) <= most
    begins, ends = (
        Counter(alert.incident for _, alert in timeline.alerts if alert.event == event) for event in ("begin", "end")
    )
    assert begins == ends
    assert set(begins.values()) == {1}
    assert any("Held back before this" in text for text in timeline.texts)


def test_a_network_that_is_gone_is_one_message_whatever_the_number_of_streams():
    timeline = Timeline(has_klines=False)
    timeline.up(*STREAMS)
    for name in STREAMS:
        timeline.down(name)
        timeline.run(3)
    timeline.run(200)
    assert [alert.event for _, alert in timeline.alerts] == ["begin"]
    for name in STREAMS:
        timeline.up(name)
        timeline.run(5)
    timeline.run(100)
    assert [alert.event for _, alert in timeline.alerts] == ["begin", "end"]
    assert len(timeline.texts[1].splitlines()) == len(STREAMS)


NAMES = st.sampled_from([*STREAMS[:3], "m0 trades", "m0 trades 2"])
STEPS = st.one_of(
    st.tuples(st.just("up"), NAMES),
    st.tuples(st.just("down"), NAMES),
    st.tuples(st.just("stopped"), NAMES),
    st.tuples(st.just("not wanted any more"), NAMES),
    st.tuples(st.just("gone"), NAMES),
    st.tuples(st.just("sink"), st.booleans()),
    st.tuples(
        st.just("look"), st.sampled_from([("silence", True), ("silence", False), ("disk", True), ("disk", False)])
    ),
    st.tuples(st.just("klines"), st.booleans()),
    st.tuples(st.just("audit"), st.integers(1, 3)),
    st.tuples(st.just("run"), st.sampled_from([1, 7, 40, 61, 90, 400, 2000])),
    st.tuples(st.just("sleep"), st.sampled_from([5, 70, 700])),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(STEPS, max_size=60), st.integers(2, 6), st.booleans())
def test_no_order_of_events_breaks_a_pair_or_the_most_an_hour(steps, most, has_klines):
    timeline = Timeline(has_klines=has_klines, most_per_hour=most)
    for what, argument in steps:
        match what:
            case "up" | "down":
                getattr(timeline, what)(argument)
            case "stopped" | "not wanted any more":
                timeline.down(argument, reason=what)
            case "gone":
                timeline.gone.add(argument)
            case "sink":
                timeline.sink_up(lost=1) if argument else timeline.sink_down()
            case "look":
                problem = Problem("bad", None, ("m0", "ticker") if argument[0] == "silence" else None)
                timeline.planner.look(argument[0], {"x": problem} if argument[1] else {}, timeline.now_s)
            case "klines":
                one = kline(timestamp=BEGIN_MS, complete=argument, revision=int(argument))
                timeline.planner.take_klines("m0", [one], timeline.now_s)
            case "audit":
                timeline.planner.audited("1m", argument, timeline.now_s)
            case "sleep":
                timeline.now_s += argument
            case "run":
                for _ in range(min(argument, 20)):
                    timeline.now_s += argument / min(argument, 20)
                    timeline.step()
    timeline.stop()
    open_incidents: set[int | None] = set()
    seen: set[int | None] = set()
    for _, alert in timeline.alerts:
        if alert.event == "begin":
            assert alert.incident not in seen
            open_incidents.add(alert.incident)
            seen.add(alert.incident)
        elif alert.event == "end":
            open_incidents.remove(alert.incident)
        elif alert.event == "update":
            assert alert.incident in open_incidents
    assert not open_incidents
    assert most_in_an_hour([at_s for at_s, _ in timeline.alerts]) <= most
