"""Never above the limit as the exchange counts it. CLIENT_LIMIT_S=30 for the long form, which wants an idle machine.

How much of the limit is used, and two processes that share one, are measured in virtual time by the unit tests.
"""

import itertools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest

from exchanges.buckets import ARRIVAL_MOST_S, CERTAIN_SAMPLES, MARGIN_S, WINDOW_S
from exchanges.bybit import BybitClient
from exchanges.bybit.client.calls import Request
from exchanges.bybit.client.errors import BannedError
from exchanges.transport import Reply
from tests.integration.client.conftest import KEY, SECRET, Make, address
from tests.support.simulator import ROOT, SimulatorProcess

DURATION_S = float(os.environ.get("CLIENT_LIMIT_S", "6"))
THREADS = 50
LIMIT = 10
CALLS = int(LIMIT * DURATION_S)
PATH = "/v5/account/wallet-balance"

SHARER = """
import itertools, sys, threading
from exchanges.bybit import BybitClient
url, calls = sys.argv[1], int(sys.argv[2])
client = BybitClient(url=url, api_key="simulatorkey", api_secret="simulatorsecret")
numbers, done = itertools.count(), []
def work():
    while next(numbers) < calls:
        client.account.get_wallet_balance()
        done.append(1)
threads = [threading.Thread(target=work) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(len(done))
"""


def counted(sim: SimulatorProcess) -> dict[str, Any]:
    """What the exchange counted at the path."""
    endpoints = sim.get("/sim/limits").json()["endpoints"]
    return next(dict(counts) for name, counts in endpoints.items() if PATH in name)


@pytest.fixture
def slow(sim: SimulatorProcess) -> SimulatorProcess:
    """The exchange with the limit that is tried."""
    sim.command("limits", forget=True)
    sim.command("limits", **{PATH: LIMIT})
    return sim


class Replies:
    """The replies to clients, as their transports return them."""

    def __init__(self, clients: Sequence[BybitClient[Any]], patch: pytest.MonkeyPatch) -> None:
        self.all: list[Reply] = []
        for client in clients:
            patch.setattr(client.transport, "send", self._recording(client.transport.send))

    def _recording(self, send: Any) -> Any:
        def recorded(request: Request) -> Reply:
            reply: Reply = send(request)
            self.all.append(reply)
            return reply

        return recorded

    def assert_paced(self, counts: dict[str, Any]) -> None:
        """No more than the limit left in any second; nor arrived, unless the machine was too slow to prove that."""
        sent_s = sorted(reply.sent_s for reply in self.all)
        assert all(later - early >= WINDOW_S for early, later in zip(sent_s, sent_s[LIMIT:], strict=False))
        trips_s = [reply.back_s - reply.sent_s for reply in sorted(self.all, key=lambda reply: reply.back_s)]
        if min(trips_s[: CERTAIN_SAMPLES // 2]) <= MARGIN_S and max(trips_s) < ARRIVAL_MOST_S:
            assert counts["max_in_1s"] <= LIMIT
            assert counts["refused"] == 0


def call_all(clients: Sequence[BybitClient[Any]], calls: int, callers: int = THREADS) -> int:
    """Make the calls from many threads, with the clients in turn; how many were answered."""
    numbers, done = itertools.count(), list[int]()

    def work(client: BybitClient[Any]) -> None:
        while (number := next(numbers)) < calls:
            client.account.get_wallet_balance()
            done.append(number)

    chosen = itertools.islice(itertools.cycle(clients), callers)
    threads = [threading.Thread(target=work, args=(one,), name=f"caller-{n}") for n, one in enumerate(chosen)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(done)


def test_fifty_threads_use_the_limit_and_not_more(
    slow: SimulatorProcess, make: Make, record_property: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never more than the limit in any second, and none refused; in the long form 95 % of it is used."""
    client = make()
    client.account.get_wallet_balance()  # the limit of this account stands in the first answer
    replies = Replies([client], monkeypatch)
    begin_s = time.monotonic()
    assert call_all([client], CALLS) == CALLS
    share = CALLS / (time.monotonic() - begin_s) / LIMIT
    counts = counted(slow)
    record_property("summary", f"limit {LIMIT}/s, {THREADS} threads, {CALLS} calls: {share:.1%} used, {counts}")
    assert counts["accepted"] == 1 + CALLS
    replies.assert_paced(counts)
    assert share >= 0.95 or DURATION_S < 30


def test_two_clients_of_a_process_share_the_limit(slow: SimulatorProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exchange cannot distinguish them."""
    clients = [BybitClient(**address(slow), api_key=KEY, api_secret=SECRET) for _ in range(2)]
    for client in clients:
        client.account.get_wallet_balance()
    replies = Replies(clients, monkeypatch)
    assert call_all(clients, calls=25, callers=20) == 25
    counts = counted(slow)
    assert counts["accepted"] == 27
    replies.assert_paced(counts)
    for client in clients:
        client.close()


def test_two_processes_of_one_uid_settle(slow: SimulatorProcess, record_property: Any) -> None:
    """Each adapts by headers and refusals to the use of the other: every call is answered, few are refused, no ban."""
    calls = CALLS // 2
    command = [sys.executable, "-c", SHARER, slow.rest_url, str(calls)]
    processes = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    done = [int(process.communicate()[0].splitlines()[-1]) for process in processes]
    limits = slow.get("/sim/limits").json()
    counts = counted(slow)
    record_property("summary", f"two processes, limit {LIMIT}/s: {done} answers, {counts}")
    assert done == [calls, calls]
    assert [ip["bans"] for ip in limits["ips"].values()] == [0]
    assert counts["accepted"] == 2 * calls
    assert counts["max_accepted_in_1s"] <= LIMIT
    assert counts["refused"] <= calls


def test_a_ban_stops_all_clients_of_the_process(calm: SimulatorProcess, make: Make) -> None:
    """403: nothing leaves any more, for ten minutes."""
    client = make()
    calm.command("rest_fault", what="http", status=403, count=1)
    with pytest.raises(BannedError):
        client.market.get_tickers(symbol="BTCUSDT")
    other = make(host_limits=client.api.limits)
    before = calm.get("/sim/limits").json()["ips"]
    with pytest.raises(BannedError, match="breaker"):
        other.market.get_tickers(symbol="BTCUSDT")
    assert calm.get("/sim/limits").json()["ips"] == before
