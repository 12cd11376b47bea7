"""The limit per address that all requests of the process share: RestLimiter, and the engine's waits for it."""

import threading
from typing import Any

import pytest

from exchanges.bybit.client import limits
from exchanges.bybit.client.connection import ConnectionManager
from exchanges.bybit.client.engine import SERVER_TIME, Engine
from exchanges.bybit.client.errors import BannedError, ClosedError, RateLimitError
from exchanges.bybit.client.limits import HostLimits, limits_of
from exchanges.bybit.client.steps import SyncDriver
from exchanges.bybit.client.transport import Transport
from exchanges.bybit.rest import BybitRest
from exchanges.rest_limits import BAN_S, BreakerOpenError, RestLimiter
from exchanges.retries import SLICE_S, RetryPolicy
from tests.unit.exchanges.bybit.rest_stub import Stub, Time, enveloped, in_turn, session_of


class Caller:
    """Makes public calls through a limiter; `time.waits` are the waits for a turn."""

    def __init__(self, limiter: RestLimiter, time: Time, **options: Any) -> None:
        connection = ConnectionManager(url="http://127.0.0.1:9")
        self.stub = Stub(in_turn(enveloped({})))
        transport = Transport(connection, session_of(self.stub), time)
        event: Any = time
        self._engine = Engine(connection, limits=HostLimits(limiter), stop=event, clock=time, **options)
        self._driver = SyncDriver(transport, event)

    def call(self) -> None:
        """One request."""
        self._driver.run(self._engine.perform(SERVER_TIME))


def test_a_burst_is_free_and_then_the_rate_holds() -> None:
    """Ten at once, then one every tenth of a second."""
    time = Time()
    caller = Caller(RestLimiter(10, 10, clock=time), time)
    for _ in range(10):
        caller.call()
    assert time.waits == []
    caller.call()
    assert sum(time.waits) == pytest.approx(0.1)


def test_no_five_seconds_come_near_bybits_limit() -> None:
    """A greedy caller, resting now and then to gather a burst: 600 in 5 s would ban the address."""
    time = Time()
    limiter = RestLimiter(clock=time)
    sent = []
    for number in range(3_000):
        if number % 700 == 0:
            time.now_s += 10
        while (wait_s := limiter.try_acquire()) > 0:
            time.now_s += wait_s
        sent.append(time.now_s)
    most = max(sum(1 for other in sent[i : i + 700] if other < sent[i] + 5) for i in range(0, 3_000, 7))
    assert 300 < most <= 360


def test_all_threads_get_exactly_the_burst_together() -> None:
    """Threads share the tokens: at one moment none is given twice."""
    limiter = RestLimiter(1, 500, clock=lambda: 0.0)
    turns: list[float] = []
    threads = [
        threading.Thread(target=lambda: turns.extend(limiter.try_acquire() for _ in range(200)), name=f"caller-{n}")
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert turns.count(0.0) == 500
    assert len(turns) == 800


def test_a_ban_refuses_at_once_and_ends_by_itself() -> None:
    """Ten minutes of silence, then requests are sent again."""
    time = Time()
    limiter = RestLimiter(clock=time)
    limiter.ban()
    with pytest.raises(BreakerOpenError, match="600 s"):
        limiter.try_acquire()
    with pytest.raises(BannedError, match="600 s"):
        Caller(limiter, time).call()
    assert (limiter.banned_s, limiter.bans, time.waits) == (600.0, 1, [])
    time.now_s += BAN_S
    Caller(limiter, time).call()
    assert limiter.banned_s == 0


def test_a_ban_ends_the_waiting_of_others() -> None:
    """A request that waits for its turn while another is banned must not leave afterwards."""
    time = Time()
    limiter = RestLimiter(0.01, 1, clock=time)
    caller = Caller(limiter, time)
    caller.call()

    def ban() -> None:
        limiter.ban()

    time.while_waiting = ban
    with pytest.raises(BannedError, match="breaker"):
        caller.call()
    assert len(time.waits) == len(caller.stub.asked) == 1


def test_after_a_pause_nothing_storms() -> None:
    """All wait until its end, then go one by one at the rate."""
    time = Time()
    limiter = RestLimiter(10, 100, clock=time)
    for _ in range(100):
        limiter.try_acquire()
    time.now_s += 2  # what was gathered in quiet does not shorten the pause
    limiter.pause(3)
    limiter.pause(1)  # a shorter one shortens nothing
    caller, times = Caller(limiter, time), []
    for _ in range(5):
        caller.call()
        times.append(round(time.now_s - 102, 3))
    assert times == pytest.approx([3.0, 3.1, 3.2, 3.3, 3.4])
    assert limiter.pauses == 2


def test_stopping_ends_a_wait_without_a_turn() -> None:
    """Within one slice, however long the pause is."""
    time = Time()
    limiter = RestLimiter(clock=time)
    limiter.pause(50)

    def stop() -> None:
        time.stopped = True

    time.while_waiting = stop
    caller = Caller(limiter, time)
    with pytest.raises(ClosedError):
        caller.call()
    assert time.waits == [SLICE_S]
    assert caller.stub.asked == []


def test_no_wait_is_longer_than_its_limit() -> None:
    """A call that cannot be served in time fails instead of hanging."""
    time = Time()
    limiter = RestLimiter(clock=time)
    limiter.pause(60)
    with pytest.raises(RateLimitError, match="no permit"):
        Caller(limiter, time, retries=RetryPolicy(total_s=5)).call()
    assert sum(time.waits) == pytest.approx(5)


def test_a_refused_public_call_pauses_the_address() -> None:
    """10006 without a key counts for the address: the next call of anybody waits too."""
    time = Time()
    limiter = RestLimiter(clock=time)
    caller = Caller(limiter, time)
    caller.stub.script = in_turn(enveloped({}, 10006, "Too many visits!"), enveloped({}))
    caller.call()
    assert sum(time.waits) == pytest.approx(limits.REFUSED_WAIT_S)
    assert limiter.pauses == 1


@pytest.mark.parametrize("code", [-1, 10002])
def test_a_public_call_measures_no_time(code: int) -> None:
    """Nothing of it is signed: it is repeated as after any trouble of the server's, and given up."""
    time = Time()
    caller = Caller(RestLimiter(clock=time), time)
    caller.stub.script = in_turn(enveloped({}, code, "expired"))
    with pytest.raises(Exception, match=str(code)):
        caller.call()
    assert len(caller.stub.asked) == RetryPolicy().attempts


def test_collector_and_client_have_one_limit_per_address() -> None:
    """A history and a client of one host, and all of Bybit's hosts together."""
    url = "http://127.0.0.1:19"
    time = Time()
    limits_of(ConnectionManager(url=url)).address.ban()
    with pytest.raises(Exception, match="breaker"):
        BybitRest("linear", url=url, session=session_of(Stub(in_turn(enveloped({})))), clock=time).server_time_ms()
    hosts = [limits_of(ConnectionManager(tld=tld)) for tld in ("com", "kz")]
    assert hosts[0].address is hosts[1].address
    assert hosts[0].address is not limits_of(ConnectionManager(url=url)).address
