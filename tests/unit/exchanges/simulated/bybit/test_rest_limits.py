"""Rolling windows, reset times, bans."""

from exchanges.simulated.bybit.rest_limits import IpLimit, UidLimits

CREATE = "/v5/order/create"


def take(
    limits: UidLimits, now_s: float, path: str = CREATE, category: str = "linear", cost: int = 1, uid: int = 1
) -> bool:
    """Whether a request got through."""
    return not limits.take(uid, "POST", path, category, now_s, cost).is_refused


def test_the_second_rolls() -> None:
    """Ten in any second, whenever it begins; the eleventh waits for the first to be a second old."""
    limits = UidLimits()
    assert all(take(limits, i / 20) for i in range(10))
    refused = limits.take(1, "POST", CREATE, "linear", 0.9)
    assert (refused.is_refused, refused.left) == (True, 0)
    assert abs(refused.reset_s - 0.1) < 1e-9
    assert take(limits, 1.0)
    assert not take(limits, 1.01)
    assert take(limits, 1.051)


def test_what_is_refused_counts_as_arrived_alone() -> None:
    """The server's maxima have both."""
    limits = UidLimits()
    for i in range(25):
        take(limits, i / 100)
    (report,) = limits.report().values()
    assert report == {"limit": 10, "max_in_1s": 25, "max_accepted_in_1s": 10, "accepted": 10, "refused": 15}


def test_spot_uids_and_batches_are_counted_for_themselves() -> None:
    """Linear and inverse share."""
    limits = UidLimits()
    assert [take(limits, 0, category="spot") for _ in range(21)] == [True] * 20 + [False]
    assert [take(limits, 0, category=c) for c in ("linear", "inverse")] == [True, True]
    assert [take(limits, 0) for _ in range(9)] == [True] * 8 + [False]
    assert take(limits, 0, uid=2)
    assert not take(limits, 0, "/v5/order/create-batch", cost=11)
    assert take(limits, 0, "/v5/order/create-batch", cost=10)


def test_limits_are_set_and_lifted() -> None:
    """By path, or all."""
    limits = UidLimits(every=1)
    assert [take(limits, 0), take(limits, 0)] == [True, False]
    limits.set({CREATE: 3})
    assert [take(limits, 0), take(limits, 0), take(limits, 0)] == [True, True, False]
    limits.set({"all": 0, CREATE: 0})
    assert all(take(limits, 0) for _ in range(100))


def test_a_ban_begins_with_one_request_too_many_and_ends_by_itself() -> None:
    """600 in five seconds at Bybit."""
    ip = IpLimit(3, ban_s=10)
    assert [ip.is_banned("a", 0.0) for _ in range(4)] == [False, False, False, True]
    assert ip.is_banned("a", 9.9)
    assert not ip.is_banned("b", 9.9)
    assert not ip.is_banned("a", 20.0)
    assert ip.report()["a"] == {"max_in_5s": 4, "requests": 6, "bans": 1}
