"""consumers.web.sockets, with stand-ins for sockets."""

from collections.abc import Callable
from typing import cast

import pytest

from consumers.web.sockets import ABORTED_MOST, UNAUTHENTICATED_PER_ADDRESS, AcceptedSocket, Sockets


class Accepted:
    """A socket by its descriptor."""

    def __init__(self, number):
        self.number = self.descriptor = number
        self.is_aborted = False
        self.on_close: Callable[[Accepted], object] = print

    def fileno(self):
        return self.descriptor

    def abort(self):
        self.is_aborted = True

    def close(self):
        self.descriptor = -1
        self.on_close(self)


def admit(sockets: Sockets, accepted: Accepted, address: str) -> bool:
    return sockets.admit(cast(AcceptedSocket, accepted), address)


@pytest.fixture
def sockets():
    """Sockets for three, below descriptor 100; `come(number, address)` makes one; returns it, and if it is admitted."""

    class BoundedSockets(Sockets):
        bound = 100

        def come(self, number, address="10.0.0.1"):
            accepted = Accepted(number)
            return accepted, admit(self, accepted, address)

    made = BoundedSockets(3, lambda: made.bound)
    return made


def test_a_new_socket_at_the_bound_takes_the_oldest_unauthenticated_ones_place(sockets):
    """Those that logged in stay."""
    logged_in, first, second = (sockets.come(number)[0] for number in (10, 11, 12))
    sockets.authenticated(10)
    third, is_admitted = sockets.come(13)

    assert (is_admitted, logged_in.is_aborted, first.is_aborted, second.is_aborted) == (True, False, True, False)
    assert (len(sockets), sockets.turned_away) == (3, 1)
    for accepted in (logged_in, first, second, third):
        accepted.close()
    assert len(sockets) == 0


def test_a_bound_full_of_logins_admits_no_more(sockets):
    """The limit is the user's."""
    for number in (10, 11, 12):
        sockets.come(number)
        sockets.authenticated(number)

    assert sockets.come(13)[1] is False
    assert (len(sockets), sockets.turned_away) == (3, 1)


def test_descriptors_that_are_kept_for_others_stay_free(sockets):
    """An unauthenticated one goes for each new one, whatever its number; without those none is admitted."""
    unknown, _ = sockets.come(98)
    logged_in, _ = sockets.come(99)
    sockets.authenticated(99)
    is_admitted = sockets.come(100)[1]

    assert (is_admitted, unknown.is_aborted, logged_in.is_aborted) == (True, True, False)
    sockets.authenticated(100)
    assert sockets.come(101)[1] is False
    unknown.close()
    assert sockets.come(98)[1] is True


def test_a_burst_takes_no_more_than_it_frees():
    """An aborted socket is closed a moment later: until then only so many take their places."""
    sockets = Sockets(10_000, lambda: 100)
    for number in range(100):
        assert admit(sockets, Accepted(number), "10.0.0.1")
    burst = [Accepted(number) for number in range(100, 150)]

    assert [admit(sockets, each, "10.0.0.2") for each in burst].count(True) == ABORTED_MOST


def test_an_address_has_only_so_many_unauthenticated_sockets():
    """Others are not kept out by it; its own are admitted once the first have logged in or gone."""
    sockets = Sockets(10_000)
    for number in range(UNAUTHENTICATED_PER_ADDRESS):
        assert admit(sockets, Accepted(number), "10.0.0.1")

    assert not admit(sockets, Accepted(1_000), "10.0.0.1")
    assert admit(sockets, Accepted(1_001), "10.0.0.2")
    sockets.authenticated(0)
    assert admit(sockets, Accepted(1_002), "10.0.0.1")


def test_a_socket_that_is_being_answered_keeps_its_place(sockets):
    """At the bound one goes that was answered, then the oldest without a request, then none."""
    answering, answered, silent = (sockets.come(number)[0] for number in (10, 11, 12))
    for number in (10, 11):
        sockets.asks(number)
    sockets.answered(11)

    assert sockets.come(13)[1]
    assert (answering.is_aborted, answered.is_aborted, silent.is_aborted) == (False, True, False)
    assert sockets.turned_away == 0, "it lost nothing"
    sockets.asks(13)
    last, is_admitted = sockets.come(14)
    assert (is_admitted, silent.is_aborted) == (True, True)
    sockets.asks(14)
    assert not sockets.come(15)[1]
    sockets.answered(14)
    sockets.asks(14)
    assert not sockets.come(15)[1], "it is asking again"
    assert not last.is_aborted


def test_an_address_at_its_bound_gives_up_what_it_keeps_without_a_request():
    """Clients of one machine with large pools must not keep each other out."""
    sockets = Sockets(10, per_address=2)
    first, second, third, other = (Accepted(number) for number in range(4))
    assert admit(sockets, first, "10.0.0.1")
    assert admit(sockets, second, "10.0.0.1")
    assert not admit(sockets, third, "10.0.0.1")
    sockets.asks(0)
    sockets.answered(0)
    assert admit(sockets, other, "10.0.0.2")
    assert admit(sockets, third, "10.0.0.1")
    assert (first.is_aborted, second.is_aborted, other.is_aborted) == (True, False, False)
    for accepted in (first, second, third, other):
        accepted.close()
    assert len(sockets) == 0


def test_on_this_machine_those_that_have_asked_do_not_count_for_their_address():
    """For it is everybody's; silent ones do."""
    sockets = Sockets(10, per_address=2, is_local=True)
    come = [Accepted(number) for number in range(6)]
    for accepted in come[:4]:
        assert admit(sockets, accepted, "127.0.0.1")
        sockets.asks(accepted.number)
    assert admit(sockets, come[4], "127.0.0.1")
    assert len(sockets) == 5
    for accepted in come[:5]:
        accepted.close()
    assert len(sockets) == 0
    assert [admit(sockets, Accepted(20 + number), "127.0.0.1") for number in range(3)] == [True, True, False]
