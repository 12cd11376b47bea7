"""consumers.web.sockets, with sockets that are none."""

import pytest

from consumers.web.sockets import LEAVING_MOST, STRANGERS_PER_ADDRESS, Sockets


class Accepted:
    """A socket by its descriptor."""

    def __init__(self, number):
        self.descriptor, self.is_cut_off, self.on_close = number, False, None

    def fileno(self):
        return self.descriptor

    def cut_off(self):
        self.is_cut_off = True

    def close(self):
        self.descriptor = -1
        self.on_close(self)


@pytest.fixture
def house():
    """Sockets for three, below descriptor 100; `come(number, address)` is one that knocks, and whether it is in."""

    class House(Sockets):
        bound = 100

        def come(self, number, address="10.0.0.1"):
            accepted = Accepted(number)
            return accepted, self.admit(accepted, address)

    house = House(3, lambda: house.bound)
    return house


def test_a_newcomer_to_a_full_house_takes_the_oldest_strangers_place(house):
    """Those that logged in stay."""
    known, first, second = (house.come(number)[0] for number in (10, 11, 12))
    house.let_in(10)
    third, is_in = house.come(13)

    assert (is_in, known.is_cut_off, first.is_cut_off, second.is_cut_off) == (True, False, True, False)
    assert (len(house), house.turned_away) == (3, 1)
    for accepted in (known, first, second, third):
        accepted.close()
    assert len(house) == 0


def test_a_house_full_of_logins_takes_nobody(house):
    """The limit is the user's."""
    for number in (10, 11, 12):
        house.come(number)
        house.let_in(number)

    assert house.come(13)[1] is False
    assert (len(house), house.turned_away) == (3, 1)


def test_descriptors_that_are_kept_for_others_stay_free(house):
    """A stranger goes for each newcomer, whatever its number; without strangers nobody comes."""
    stranger, _ = house.come(98)
    known, _ = house.come(99)
    house.let_in(99)
    is_in = house.come(100)[1]

    assert (is_in, stranger.is_cut_off, known.is_cut_off) == (True, True, False)
    house.let_in(100)
    assert house.come(101)[1] is False
    stranger.close()
    assert house.come(98)[1] is True


def test_a_burst_takes_no_more_than_it_frees():
    """Who was cut off is closed a moment later: until then only so many take the places."""
    house = Sockets(10_000, lambda: 100)
    for number in range(100):
        assert house.admit(Accepted(number), "10.0.0.1")
    burst = [Accepted(number) for number in range(100, 150)]

    assert [house.admit(each, "10.0.0.2") for each in burst].count(True) == LEAVING_MOST


def test_an_address_has_only_so_many_strangers():
    """Others are not kept out by it; its own come in once the first are let in or gone."""
    house = Sockets(10_000)
    for number in range(STRANGERS_PER_ADDRESS):
        assert house.admit(Accepted(number), "10.0.0.1")

    assert not house.admit(Accepted(1_000), "10.0.0.1")
    assert house.admit(Accepted(1_001), "10.0.0.2")
    house.let_in(0)
    assert house.admit(Accepted(1_002), "10.0.0.1")
