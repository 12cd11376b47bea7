"""Which hosts share their limits, and buckets by key. The limit per address: bybit/client/test_limits.py."""

import pytest

from exchanges.rest_limits import BreakerOpenError, RestLimiter, SiteLimits, limits_of_site, site_of
from tests.support.clock import FakeClock


@pytest.mark.parametrize(
    ("url", "site"),
    [
        ("https://fapi.binance.com", "binance.com"),
        ("https://dapi.binance.com:443", "binance.com"),
        ("https://www.okx.com", "okx.com"),
        ("http://127.0.0.1:8080", "127.0.0.1:8080"),
        ("http://[::1]:8080", "[::1]:8080"),
        ("http://localhost:8080", "localhost:8080"),
        ("http://user:secret@exchange:80", "exchange:80"),
    ],
)
def test_hosts_of_one_domain_are_one_site(url: str, site: str) -> None:
    """Binance counts USD-M and COIN-M together; servers at addresses are apart by their ports."""
    assert site_of(url) == site


def test_one_site_has_one_set_of_limits_in_the_process() -> None:
    """Whoever asks; another site has its own."""
    assert limits_of_site("https://fapi.a-test.example") is limits_of_site("https://dapi.a-test.example")
    assert limits_of_site("https://fapi.a-test.example") is not limits_of_site("https://b-test.invalid")


def test_a_key_has_one_bucket() -> None:
    """Made with the limit of its first use."""
    limits = SiteLimits()

    assert limits.bucket_of("futures", 2400, 60.0) is limits.bucket_of("futures", 2400, 60.0)
    assert limits.bucket_of("futures", 2400, 60.0) is not limits.bucket_of("spot", 6000, 60.0)


def test_a_ban_lasts_as_long_as_the_longest_and_says_why() -> None:
    """A second answer with a shorter time, to a request that was under way, does not end it."""
    clock = FakeClock()
    limiter = RestLimiter(clock=clock)

    limiter.ban(300.0, "too many requests")
    limiter.ban(10.0, "too many requests")

    with pytest.raises(BreakerOpenError, match="300 s more after a ban: too many requests"):
        limiter.try_acquire()
