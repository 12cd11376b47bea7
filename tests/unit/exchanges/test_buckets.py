"""The limit per endpoint, as counted where requests arrive."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchanges.buckets import ARRIVAL_MOST_S, CERTAIN_SAMPLES, CUT, Bucket, Ticket
from tests.support.clock import FakeClock


def made(limit: int = 10) -> tuple[Bucket, FakeClock]:
    clock = FakeClock()
    return Bucket(limit, clock=clock), clock


def take(bucket: Bucket, count: int = 1) -> list[Ticket]:
    """Tickets that must have their turn at once."""
    tickets = [bucket.enqueue() for _ in range(count)]
    assert [bucket.try_acquire(ticket) for ticket in tickets] == [0.0] * count
    return tickets


def most_in(arrivals: list[float], window_s: float) -> int:
    """The most arrivals within any window."""
    ordered = sorted(arrivals)
    return max(sum(start <= other < start + window_s for other in ordered) for start in ordered)


def simulate(limit: int, ways: list[tuple[float, float]], callers: int) -> tuple[list[float], float]:
    """Arrival times at a server, and how long it took, for requests with these ways there and back."""
    bucket, clock = made(limit)
    waiting = [bucket.enqueue() for _ in range(min(callers, len(ways)))]
    left = list(ways)[len(waiting) :]
    todo = list(ways)
    flying: list[tuple[float, float, Ticket]] = []
    arrivals: list[float] = []
    begin_s = clock.now_s
    while waiting or flying:
        clock.now_s += 0.004
        for back_s, sent_s, ticket in [entry for entry in flying if entry[0] <= clock.now_s]:
            flying.remove((back_s, sent_s, ticket))
            bucket.answered(ticket, sent_s, clock.now_s)
        for ticket in list(waiting):
            if bucket.try_acquire(ticket) == 0:
                there_s, back_s = todo.pop()
                waiting.remove(ticket)
                arrivals.append(clock.now_s + there_s)
                flying.append((clock.now_s + there_s + back_s, clock.now_s, ticket))
                if left:
                    left.pop()
                    waiting.append(bucket.enqueue())
    return arrivals, clock.now_s - begin_s


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.floats(0.001, 0.4), st.floats(0.001, 0.4)), min_size=5, max_size=60), st.integers(1, 10))
def test_never_more_than_the_limit_arrives(ways: list[tuple[float, float]], limit: int) -> None:
    """However requests bunch up on their way, no window at the server holds more than the limit."""
    arrivals, _ = simulate(limit, ways, callers=50)
    assert most_in(arrivals, 1.0) <= limit


@pytest.mark.parametrize("way_s", [0.001, 0.05, 0.15])
def test_a_steady_distance_costs_no_rate(way_s: float) -> None:
    """Only what the ways vary is lost: at least 95 % of the limit, at 300 ms round trip too."""
    jitter = random.Random(1)
    ways = [(way_s + jitter.uniform(0, 0.002), way_s + jitter.uniform(0, 0.002)) for _ in range(200)]
    _, took_s = simulate(10, ways, callers=12)
    assert 200 / took_s >= 9.5


def test_tickets_are_served_in_order() -> None:
    """A late caller that looks at the right moment does not overtake."""
    bucket, clock = made(1)
    first_out = take(bucket)[0]
    bucket.answered(first_out, clock.now_s, clock.now_s)
    early, late = bucket.enqueue(), bucket.enqueue()
    clock.now_s += 1.1
    assert bucket.try_acquire(late) > 0
    assert bucket.try_acquire(early) == 0


def test_a_cancelled_ticket_frees_its_place() -> None:
    """A cancelled call does not block the queue."""
    bucket, _ = made(2)
    take(bucket)
    gone, next_one = bucket.enqueue(), bucket.enqueue()
    assert bucket.try_acquire(next_one) > 0
    bucket.leave(gone)
    bucket.leave(gone)
    assert bucket.try_acquire(next_one) == 0


def test_an_answer_that_never_comes_gives_its_token_back() -> None:
    """After the time in which it must have arrived, and a window."""
    bucket, clock = made(1)
    take(bucket)
    waiter = bucket.enqueue()
    clock.now_s += ARRIVAL_MOST_S + 0.9
    assert bucket.try_acquire(waiter) > 0
    clock.now_s += 0.2
    assert bucket.try_acquire(waiter) == 0


def test_what_others_use_is_not_used_again() -> None:
    """The headers have 3 left while we have used 2: another process has 5."""
    bucket, clock = made()
    take(bucket, 2)
    bucket.adjust(10, 3)
    take(bucket, 2)  # 3 are left, and one is given up for the other's sake
    assert bucket.try_acquire(bucket.enqueue()) > 0
    clock.now_s += 1.01
    assert bucket.limit == 10


def test_headers_replace_the_limit_of_the_table() -> None:
    """An account of a higher class has more."""
    bucket, _ = made(5)
    bucket.adjust(20, 20)
    take(bucket, 20)


def test_a_refusal_pauses_all_and_costs_some_share() -> None:
    """Once for many refused together; regained with time."""
    bucket, clock = made()
    for _ in range(5):
        bucket.refused(1.0)
    assert bucket.try_acquire(bucket.enqueue()) >= 0.99
    assert bucket.allowed == int(10 * CUT)
    clock.now_s += 60
    bucket.adjust(10, 10)
    assert bucket.allowed == 10


def test_the_share_shrinks_down_to_half() -> None:
    """Another process shows in every answer: it gets half of the limit, not more."""
    bucket, clock = made()
    foreign_until_s: list[float] = []
    for _ in range(40):
        clock.now_s += 0.1
        foreign_until_s = [until_s for until_s in foreign_until_s if until_s > clock.now_s]
        left = max(0, 9 - len(foreign_until_s))  # one more than the bucket knows of
        foreign_until_s += [clock.now_s + 1.0] * max(0, 10 - left - len(foreign_until_s))
        bucket.adjust(10, left)
    assert bucket.allowed in (5, 6)


def test_a_batch_costs_as_many_as_it_holds() -> None:
    """More than the whole limit goes alone, when all is back."""
    bucket, clock = made()
    take(bucket)
    batch = bucket.enqueue(cost=20)
    assert bucket.try_acquire(batch) > 0
    clock.now_s += ARRIVAL_MOST_S + 1.1
    assert bucket.try_acquire(batch) == 0
    assert bucket.try_acquire(bucket.enqueue()) > 0


def test_a_batch_above_the_share_goes_alone() -> None:
    """After refusals the share may be smaller than a batch: it must not wait for ever."""
    bucket, clock = made()
    bucket.refused(0.1)
    clock.now_s += 0.2
    assert bucket.try_acquire(bucket.enqueue(cost=10)) == 0


def test_few_answers_prove_no_quickest_way() -> None:
    """Before enough round trips are known each token waits for the whole window after its answer."""
    bucket, clock = made(1)
    ticket = take(bucket)[0]
    bucket.answered(ticket, clock.now_s, clock.now_s + 0.2)
    waiter = bucket.enqueue()
    assert CERTAIN_SAMPLES > 1
    clock.now_s += 1.19
    assert bucket.try_acquire(waiter) > 0


class SharedLimit:
    """An exchange that counts two processes of one UID together, in virtual time; `refused` requests of `sent`."""

    def __init__(self, limit: int, way_s: float = 0.02, callers: int = 4, **options: float) -> None:
        self.clock, self.limit, self.way_s = FakeClock(), limit, way_s
        self.buckets = [Bucket(limit, clock=self.clock, **options) for _ in range(2)]
        self.waiting = [[bucket.enqueue() for _ in range(callers)] for bucket in self.buckets]
        self.under_way: list[tuple[float, int, Ticket, float, bool]] = []  # when, process, ticket, sent, has arrived
        self.accepted: list[float] = []
        self.outcomes: dict[Ticket, tuple[bool, int, float]] = {}
        self.done, self.refused = [0, 0], 0
        self.jitter = random.Random(1)

    def run(self, seconds: float) -> None:
        """Let both processes send all they may."""
        end_s = self.clock.now_s + seconds
        while self.clock.now_s < end_s:
            self.clock.now_s += 0.002
            due = sorted(
                (entry for entry in self.under_way if entry[0] <= self.clock.now_s), key=lambda entry: entry[0]
            )
            for entry in due:
                self.under_way.remove(entry)
                (self._answer if entry[4] else self._arrive)(*entry[:4])
            for process, bucket in enumerate(self.buckets):
                for ticket in [ticket for ticket in self.waiting[process] if bucket.try_acquire(ticket) == 0]:
                    self.waiting[process].remove(ticket)
                    self._later(process, ticket, self.clock.now_s, has_arrived=False)

    def _later(self, process: int, ticket: Ticket, sent_s: float, *, has_arrived: bool) -> None:
        when_s = self.clock.now_s + self.way_s + self.jitter.uniform(0, self.way_s / 5)
        self.under_way.append((when_s, process, ticket, sent_s, has_arrived))

    def _arrive(self, now_s: float, process: int, ticket: Ticket, sent_s: float) -> None:
        self.accepted = [other for other in self.accepted if other > now_s - 1.0]
        is_good = len(self.accepted) < self.limit
        wait_s = 0.0 if is_good else min(self.accepted) + 1.0 - now_s
        if is_good:
            self.accepted.append(now_s)
        self.outcomes[ticket] = (is_good, self.limit - len(self.accepted), wait_s)
        self._later(process, ticket, sent_s, has_arrived=True)

    def _answer(self, _now_s: float, process: int, ticket: Ticket, sent_s: float) -> None:
        bucket, (is_good, left, wait_s) = self.buckets[process], self.outcomes.pop(ticket)
        bucket.answered(ticket, sent_s, self.clock.now_s)
        if is_good:
            bucket.adjust(self.limit, left)
            self.done[process] += 1
        else:
            bucket.refused(max(wait_s, 0.05))
            self.refused += 1
        self.waiting[process].append(bucket.enqueue())


def test_two_processes_share_a_limit_by_what_its_answers_say() -> None:
    """A minute of all they may: few are refused, most of the limit is used, each gets its half."""
    shared = SharedLimit(10)
    shared.run(60)
    assert shared.refused <= 0.05 * sum(shared.done)
    assert sum(shared.done) >= 0.7 * 600
    assert min(shared.done) >= 0.4 * sum(shared.done)


def test_without_a_measured_share_a_third_is_refused() -> None:
    """What CUT and YIELD are worth: an exchange bans addresses that are refused so often."""
    shared = SharedLimit(10, cut=1.0, given_up=0.0)
    shared.run(60)
    assert shared.refused > 0.3 * sum(shared.done)
