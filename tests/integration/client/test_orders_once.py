"""No order twice, whatever happens to requests and answers. CLIENT_ORDERS=10000 for the long form."""

import itertools
import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from exchanges.bybit.client.errors import BybitError
from tests.integration.client.conftest import Make
from tests.support.simulator import SimulatorProcess

ORDERS = int(os.environ.get("CLIENT_ORDERS", "400"))
THREADS = 16
FATES = {
    "hang_after": 0.02, "hang": 0.02, "slow": 0.03, "truncate": 0.01, "reset_after": 0.01, "reset": 0.01,
    "late": 0.02, "html": 0.01,
}  # fmt: skip


@pytest.fixture(scope="module")
def sim() -> Iterator[SimulatorProcess]:
    """One that counts orders, not requests per address."""
    with SimulatorProcess("--rate", "0", "--symbols", "1", "--rest-limit", "1000000") as process:
        yield process


def test_every_order_is_placed_once(calm: SimulatorProcess, make: Make, record_property: Any) -> None:
    """Answers hang, come late, cut off or not at all, done or undone: each order is at the exchange exactly once.

    A caller gets an error only where four attempts in a row failed.
    """
    calm.command("limits", all=5_000)
    calm.command("rest_mix", shares=FATES, path="/v5/order/create", seed=7, s=1.2)
    client = make(timeout=(3.0, 1.0))
    numbers, placed, failed = itertools.count(), [], []

    def work() -> None:
        while (number := next(numbers)) < ORDERS:
            side = "Buy" if number % 2 else "Sell"
            try:
                order = client.order.place_order(symbol="BTCUSDT", side=side, order_type="Market", qty="0.001")
            except BybitError as error:
                failed.append(error)
            else:
                placed.append(order["orderLinkId"])

    begin_s = time.monotonic()
    threads = [threading.Thread(target=work, name=f"trader-{number}") for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seen = calm.get("/sim/orders").json()
    took_s = time.monotonic() - begin_s
    text = f"{len(placed)} placed, {len(failed)} failed, {seen['attempts']} attempts, {took_s:.1f} s"
    record_property("summary", f"{ORDERS} orders under random timeouts: {text}")
    assert seen["placed_twice"] in (0, [], {})
    assert len(set(placed)) == len(placed) >= ORDERS * 0.99
    assert all(seen["placed"][link] == 1 for link in placed)
    assert all(error.may_be_done for error in failed)
    assert seen["attempts"] > ORDERS
