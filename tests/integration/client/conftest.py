"""The simulated exchange with its accounts, and clients of it."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from exchanges.bybit import BybitClient
from exchanges.bybit.client.limits import HostLimits
from exchanges.rest_limits import RestLimiter
from tests.support.simulator import SimulatorProcess

KEY, SECRET = "simulatorkey", "simulatorsecret"
_uids = itertools.count(200_001)

Make = Callable[..., BybitClient[Any]]


@pytest.fixture(scope="module")
def sim() -> Iterator[SimulatorProcess]:
    """One exchange per module; a test that breaks it clears its faults."""
    with SimulatorProcess("--rate", "200", "--symbols", "3", "--illiquid", "0") as process:
        yield process


@pytest.fixture
def calm(sim: SimulatorProcess) -> Iterator[SimulatorProcess]:
    """The exchange, without the faults of tests before and after."""
    yield sim
    sim.command("rest_clear")
    sim.command("clock", shift_ms=0)


def address(sim: SimulatorProcess) -> dict[str, Any]:
    """Where the exchange is."""
    return {"url": sim.rest_url, "ws_url": sim.ws_base}


def own_limits() -> HostLimits:
    """Limits not shared: a ban in one test is none in the next. Requests per address are not what is tried here."""
    return HostLimits(RestLimiter(5_000, 5_000))


@pytest.fixture
def make(sim: SimulatorProcess) -> Iterator[Make]:
    """Clients with a fresh account each, closed in the end."""
    made: list[BybitClient[Any]] = []

    def client(**options: Any) -> BybitClient[Any]:
        uid = next(_uids)
        sim.command("key", key=f"key{uid}", secret="s", uid=uid, permission="trade", balances={"USDT": "1000000"})
        given: dict[str, Any] = {"api_key": f"key{uid}", "api_secret": "s", "host_limits": own_limits(), **options}
        made.append(BybitClient(**address(sim), **given))
        return made[-1]

    yield client
    for one in made:
        one.close()


@pytest.fixture
def client(make: Make) -> BybitClient[Any]:
    """A client with a fresh account."""
    return make()
