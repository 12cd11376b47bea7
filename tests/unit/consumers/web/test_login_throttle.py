"""Wrong logins, counted by address."""

import pytest

from consumers.web.login_throttle import ADDRESSES_LIMIT, DELAY_CAP_S, DELAYED_LIMIT, FREE_TRIES, Door, network_of
from tests.support.clock import FakeClock


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def door(clock):
    return Door(clock)


def test_each_wrong_try_waits_longer(door):
    """A person's first mistake costs a second, a program's hundredth five."""
    delays = [door.wrong_try("10.0.0.1") for _ in range(200)]
    assert delays[0] == 1.0
    assert delays == sorted(delays)
    assert delays[-1] == DELAY_CAP_S
    assert door.wrong_try("10.0.0.2") == 1.0


def test_an_address_that_goes_on_is_barred_and_forgiven(door, clock):
    """Another one is not; after ten minutes it begins anew."""
    for _ in range(FREE_TRIES):
        assert door.barred_s("10.0.0.1") == 0
        door.wrong_try("10.0.0.1")
    assert door.barred_s("10.0.0.1") > 0
    assert door.barred_s("10.0.0.2") == 0
    clock.now_s += 1.0
    assert door.barred_s("10.0.0.1") == 0
    clock.now_s += 600
    assert door.wrong_try("10.0.0.1") == 1.0


def test_memory_of_addresses_is_bounded(door):
    """A flood from everywhere costs a few hundred kilobytes."""
    for number in range(2 * ADDRESSES_LIMIT):
        door.wrong_try(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(door) == ADDRESSES_LIMIT


def test_answers_that_wait_are_bounded(door):
    """Beyond the bound "wrong" is said at once, so that connections do not pile up."""
    for _ in range(DELAYED_LIMIT):
        door.begin_delay()
    assert door.wrong_try("10.0.0.1") == 0
    door.end_delay()
    assert door.wrong_try("10.0.0.1") > 0


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unknown", "unknown"),
    ],
)
def test_addresses_of_one_customer_are_one(address, network):
    """Who has 2^64 addresses has one count."""
    assert network_of(address) == network
