"""consumers.redis.embedded, with a scripted server."""

from typing import cast

import pytest
from structlog.testing import capture_logs

from consumers.redis.embedded import (
    ENDS_AT_MOST,
    HUNG_S,
    LOOK_OWN_S,
    PAUSES_S,
    SHUT_DOWN_PAUSE_S,
    STABLE_S,
    EmbeddedServer,
    EmbeddedSupervisor,
    State,
)

OTHERS = "/tmp/embedded-valkey-abc/valkey.conf"


class Server:
    """Up as soon as it is begun, unless `ready` is another; `config` names whose server is at the port."""

    def __init__(self):
        self.is_running, self.answers, self.config = False, True, None
        self.ready, self.begun, self.killed, self.code = [], 0, 0, 137

    @property
    def is_port_free(self):
        return self.config is None and not self.is_running

    def start(self):
        self.begin()
        return self.is_ready()

    def begin(self):
        self.begun += 1
        self.is_running = True

    def is_ready(self):
        outcome = self.ready.pop(0) if self.ready else True
        self.is_running = outcome is not False
        if isinstance(outcome, Exception):
            self.is_running = False
            raise outcome
        return outcome

    def stop(self, limit_s=1.0):
        self.is_running = False
        self.killed += limit_s == 0
        return self.code


@pytest.fixture
def made():
    """The server, the supervisor and the time."""

    class Made:
        now_s = 1_000.0

        def __init__(self):
            self.server = Server()
            self.supervisor = EmbeddedSupervisor(
                cast(EmbeddedServer, self.server), lambda: self.server.config, lambda: self.now_s
            )

        def ticks(self, seconds, step_s=0.25):
            """Whether it was kept running all the time."""
            until_s, kept = self.now_s + seconds, True
            while self.now_s < until_s:
                self.now_s += step_s
                kept = self.supervisor.tick() and kept
            return kept

    return Made()


def test_what_died_is_started_again_at_once_and_then_with_pauses(made):
    """Six ends in a row are no accident: the process ends, its supervisor starts both."""
    assert made.supervisor.start()
    waits = []
    with capture_logs() as logs:
        for _ in range(ENDS_AT_MOST):
            made.server.is_running = False
            died_s, begun = made.now_s, made.server.begun
            while made.server.begun == begun:
                assert made.ticks(0.25)
            waits.append(made.now_s - died_s)
            assert made.ticks(1.0)
            assert made.supervisor.state is State.OURS
        made.server.is_running = False
        assert not made.ticks(0.25)

    assert [pause <= wait <= pause + 0.5 for pause, wait in zip(PAUSES_S, waits, strict=True)] == [True] * 5
    assert [entry["event"] for entry in logs] == ["embedded_server_ended"] * 5 + ["embedded_server_lost"]
    assert logs[0]["code"] == 137


def test_one_that_was_shut_down_leaves_its_port_for_a_while(made):
    """`redis-cli shutdown`, and then the machine's own: that needs a moment. Where none comes, ours does again."""
    made.supervisor.start()
    made.server.is_running, made.server.code = False, 0
    made.ticks(SHUT_DOWN_PAUSE_S - 0.5)
    assert made.server.begun == 1
    made.ticks(1.0)
    assert (made.server.begun, made.supervisor.state) == (2, State.OURS)


def test_one_that_was_stable_ends_for_a_new_reason(made):
    """Once a day is no row."""
    made.supervisor.start()
    for _ in range(3 * ENDS_AT_MOST):
        assert made.ticks(STABLE_S + 1)
        made.server.is_running = False
        assert made.ticks(1.0)
    assert made.server.begun == 3 * ENDS_AT_MOST + 1


def test_a_start_that_fails_counts_as_an_end(made):
    """No space for its files, or no memory: it is tried as often, and not at full pace."""
    made.supervisor.start()
    made.server.ready = [RuntimeError("no space")] * 10
    made.server.is_running = False
    with capture_logs() as logs:
        while made.ticks(0.25):
            assert made.now_s < 1_000 + sum(PAUSES_S) + 10
    assert [entry["reason"] for entry in logs][:2] == ["ended", "no space"]
    assert made.server.begun == 1 + ENDS_AT_MOST


def test_one_that_answers_nothing_is_killed_and_started_again(made):
    """Hung is as good as dead; a short pause is not."""
    made.supervisor.start()
    made.server.answers = False
    made.ticks(HUNG_S - LOOK_OWN_S)
    assert made.server.killed == 0
    made.ticks(LOOK_OWN_S + 1)
    assert (made.server.killed, made.server.begun) == (1, 2)
    made.server.answers = True
    made.ticks(60)
    assert made.server.begun == 2


def test_anothers_is_used_and_replaced_when_it_is_gone(made):
    """The first of two collectors ends, and its server with it: the second starts one."""
    made.server.config = OTHERS
    assert not made.supervisor.start()
    made.ticks(10)
    assert (made.supervisor.state, made.server.begun) == (State.SHARED, 0)
    made.server.config = None
    made.ticks(2)
    assert (made.supervisor.state, made.server.begun) == (State.OURS, 1)


def test_the_slower_of_two_that_take_the_place_shares_again(made):
    """Three collectors: when the first ends, both others try."""
    made.server.config = OTHERS
    made.supervisor.start()
    made.ticks(2)
    made.server.config, made.server.ready = None, [None, False]
    made.ticks(1.25)
    assert made.supervisor.state is State.STARTING
    made.server.config = OTHERS
    made.ticks(2)
    assert (made.supervisor.state, made.server.begun) == (State.SHARED, 1)


def test_a_redis_that_is_not_embedded_is_never_replaced(made):
    """It is being restarted: its port must be free when it comes back."""
    made.server.config = "/etc/redis/redis.conf"
    with capture_logs() as logs:
        assert not made.supervisor.start()
        made.server.config = None
        assert made.ticks(60)
    assert (made.server.begun, logs) == (0, [])


def test_a_redis_that_took_the_place_is_named(made):
    """Ours had died, and the machine's own came before it was back."""
    made.supervisor.start()
    made.server.is_running, made.server.config = False, ""
    with capture_logs() as logs:
        made.ticks(60)
    assert [entry["event"] for entry in logs] == ["embedded_server_ended", "embedded_server_replaced"]
    assert made.server.begun == 1


def test_a_port_that_is_held_and_answers_nothing_is_looked_at_again(made):
    """Another that just starts, or just ends."""
    made.server.ready = [False]
    assert not made.supervisor.start()
    assert made.supervisor.state is State.WAITING
    made.ticks(2)
    assert made.supervisor.state is State.OURS


@pytest.mark.parametrize("answers", [True, False])
def test_the_end_does_not_wait_for_one_that_hangs(made, answers):
    """The stop deadline is over by then."""
    made.supervisor.start()
    made.server.answers = answers
    made.supervisor.stop()
    assert (made.server.is_running, made.server.killed) == (False, not answers)
