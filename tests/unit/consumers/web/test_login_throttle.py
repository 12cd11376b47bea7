"""consumers.web.login_throttle: wrong logins, counted by address."""

import contextlib

import pytest

from consumers.web.login_throttle import (
    ADDRESSES_LIMIT,
    DELAY_CAP_S,
    DELAYED_LIMIT,
    FREE_TRIES,
    LoginThrottle,
    network_of,
)


@pytest.fixture
def throttle(clock):
    return LoginThrottle(clock)


def test_each_wrong_login_waits_longer(throttle):
    """A person's first mistake costs a second, a program's hundredth five."""
    delays = [throttle.failed("10.0.0.1") for _ in range(200)]
    assert delays[0] == 1.0
    assert delays == sorted(delays)
    assert delays[-1] == DELAY_CAP_S
    assert throttle.failed("10.0.0.2") == 1.0


def test_an_address_that_goes_on_is_blocked_and_forgiven(throttle, clock):
    """Another one is not; after ten minutes it begins anew."""
    for _ in range(FREE_TRIES):
        assert throttle.blocked_for_s("10.0.0.1") == 0
        throttle.failed("10.0.0.1")
    assert throttle.blocked_for_s("10.0.0.1") > 0
    assert throttle.blocked_for_s("10.0.0.2") == 0
    clock.now_s += 1.0
    assert throttle.blocked_for_s("10.0.0.1") == 0
    clock.now_s += 600
    assert throttle.failed("10.0.0.1") == 1.0


def test_memory_of_addresses_is_bounded(throttle):
    """A flood from everywhere costs a few hundred kilobytes."""
    for number in range(2 * ADDRESSES_LIMIT):
        throttle.failed(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(throttle) == ADDRESSES_LIMIT


def test_answers_that_wait_are_bounded(throttle):
    """Beyond the bound "wrong" is answered at once, so that connections do not pile up."""
    with contextlib.ExitStack() as delays:
        for _ in range(DELAYED_LIMIT - 1):
            delays.enter_context(throttle.delaying())
        with throttle.delaying():
            assert throttle.failed("10.0.0.1") == 0
        assert throttle.failed("10.0.0.1") > 0


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
