"""Consumers of every manner on their threads: none costs another anything."""

import asyncio
import importlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from consumers import ConsumerManager
from consumers.base import BaseConsumer
from consumers.manager import ConsumerOptions, ConsumerSettingsError
from consumers.worker import Worker
from tests.support.events import RecordedEvents
from tests.support.klines import klines, price
from tests.support.waiting import wait_until

# The legacy system's text (001, "Extend: Custom Consumer") with its two import lines changed.
LEGACY_EXAMPLE = """
from consumers.base import BaseConsumer
class MyConsumer(BaseConsumer):
    def __init__(self, name="my"): super().__init__(name)
    def validate(self): pass
    async def setup(self): pass
    async def start(self): self._is_running = True
    async def consume(self, data): pass
    async def stop(self): self._is_running = False

from consumers import ConsumerManager
ConsumerManager.register_consumer("my", MyConsumer)
"""
STOP_S = 20.0


@pytest.fixture(autouse=True)
def _fresh_registry() -> Iterator[None]:
    yield
    ConsumerManager.registered.clear()


class Recorder(BaseConsumer):
    """Keeps what it is given, and on which thread."""

    made: ClassVar["list[Recorder]"] = []

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.seen: list[dict[str, Any]] = []
        self.threads: set[str] = set()
        Recorder.made.append(self)

    def consume(self, data: dict[str, Any]) -> Any:
        """Keep it."""
        self.threads.add(threading.current_thread().name)
        self.seen.append(data)


class Raising(Recorder):
    """Raises at every third envelope."""

    def consume(self, data: dict[str, Any]) -> None:
        """Keep it, and raise."""
        super().consume(data)
        if len(self.seen) % 3 == 0:
            raise RuntimeError("no")


class Leaving(Recorder):
    """Ends as a script would, waits for a task that was cancelled, and has odd figures."""

    async def consume(self, data: dict[str, Any]) -> None:
        """Keep it, and leave in one of three ways."""
        super().consume(data)
        if len(self.seen) == 2:
            sys.exit("enough")
        if len(self.seen) == 3:
            raise KeyboardInterrupt
        if len(self.seen) == 4:
            task = asyncio.ensure_future(asyncio.sleep(60))
            task.cancel()
            await task

    def counters(self) -> dict[str, float]:
        """Fail."""
        raise KeyError("no")


class Broken(Recorder):
    """Raises while `is_broken`."""

    is_broken = True

    def consume(self, data: dict[str, Any]) -> None:
        """Keep it, and raise."""
        super().consume(data)
        if self.is_broken:
            raise OSError("gone")


class Stuck(Recorder):
    """Never returns from its first envelope, until the test lets it."""

    queue_size = 10
    release = threading.Event()

    def consume(self, data: dict[str, Any]) -> None:
        """Hang."""
        super().consume(data)
        Stuck.release.wait(30)


class AsyncStuck(Recorder):
    """Hangs in an await."""

    async def consume(self, data: dict[str, Any]) -> None:
        """Hang."""
        super().consume(data)
        await asyncio.Event().wait()


class LateSetup(Recorder):
    """Can be set up at the second attempt."""

    attempts = 0

    async def setup(self) -> None:
        """Fail once."""
        LateSetup.attempts += 1
        if LateSetup.attempts == 1:
            raise OSError("address in use")


@pytest.fixture
def run() -> Iterator[Callable[..., tuple[ConsumerManager, list[Recorder]]]]:
    """Start a manager of the given classes; ends it whatever happens."""
    managers: list[ConsumerManager] = []
    Recorder.made.clear()
    Stuck.release.clear()
    LateSetup.attempts = 0

    def start(*classes: type[Recorder]) -> tuple[ConsumerManager, list[Recorder]]:
        for one in classes:
            ConsumerManager.register_consumer(one.__name__, one)
        manager = ConsumerManager([one.__name__ for one in classes])
        managers.append(manager)
        manager.start()
        return manager, list(Recorder.made)

    yield start
    Stuck.release.set()
    for manager in managers:
        manager.stop(time.monotonic() + STOP_S)


def test_the_legacy_systems_example_works_verbatim():
    """Only the import lines differ from the legacy system's text."""
    names: dict[str, Any] = {}
    exec(LEGACY_EXAMPLE, names)
    manager = ConsumerManager(["my"])
    assert manager.start() == {}
    manager.publish(klines())
    assert manager.stop(time.monotonic() + STOP_S) == []
    assert manager.stats()["my"].delivered == 1


def test_a_dotted_name_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A consumer needs no registration: its place is enough."""
    (tmp_path / "my_outputs.py").write_text(LEGACY_EXAMPLE.partition("\nfrom consumers import")[0])
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    manager = ConsumerManager(["my_outputs:MyConsumer"])
    manager.start()
    manager.publish(klines())
    assert manager.stop(time.monotonic() + STOP_S) == []
    assert manager.stats()["MyConsumer"].delivered == 1
    del sys.modules["my_outputs"]


def test_each_consumer_has_its_own_thread_and_its_own_data(run):
    """A dict one consumer changes is not the dict another sees."""
    manager, (first, second) = run(Recorder, type("Second", (Recorder,), {}))
    for number in range(100):
        manager.publish(klines(number))
    wait_until(lambda: len(first.seen) == len(second.seen) == 100)
    assert (first.threads, second.threads) == ({"consumer-Recorder"}, {"consumer-Second"})
    assert first.seen == second.seen
    assert first.seen[0] is not second.seen[0]


def test_a_raising_consumer_loses_only_what_it_refused(run):
    """An exception is counted and costs one envelope; the neighbour has all."""
    manager, (good, bad) = run(Recorder, Raising)
    for number in range(30):
        manager.publish(klines(number))
    wait_until(lambda: len(good.seen) == len(bad.seen) == 30)
    wait_until(lambda: (manager.stats()["Raising"].delivered, manager.stats()["Raising"].errors) == (20, 10))
    assert manager.stats()["Recorder"].errors == 0


def test_a_consumer_that_leaves_costs_the_envelope_in_hand(run):
    """sys.exit(), KeyboardInterrupt, a cancelled task it waited for: its thread goes on; odd figures are left out."""
    manager, (leaving,) = run(Leaving)
    for _ in range(6):
        manager.publish(klines())
    wait_until(lambda: len(leaving.seen) == 6)
    wait_until(lambda: manager.stats()["Leaving"].delivered == 3)
    assert manager.stats()["Leaving"].errors == 3
    assert manager.stats()["Leaving"].extra == {}
    assert [thread.is_alive() for thread in manager.threads()] == [True]
    assert manager.stop(time.monotonic() + STOP_S) == []
    assert not leaving.is_running


def test_a_stuck_consumer_costs_its_own_envelopes_alone(run):
    """It fills its own queue, drops the oldest, and is named by the stop, which does not wait for it."""
    manager, (good, stuck) = run(Recorder, Stuck)
    manager.publish(klines())
    wait_until(lambda: stuck.seen)
    started = time.monotonic()
    for number in range(100):
        manager.publish(klines(number))
    assert time.monotonic() - started < 10
    wait_until(lambda: len(good.seen) == 101)
    stats = manager.stats()["Stuck"]
    assert (stats.queued, stats.dropped, stats.delivered) == (10, 90, 0)
    wait_until(lambda: manager.stats()["Stuck"].lag_s > 0.1)
    assert manager.stop(time.monotonic() + 1.0) == ["Stuck"]
    assert time.monotonic() - started < 20


def test_a_consumer_hanging_in_an_await_is_cut_and_named(run):
    """Its thread ends, its stop() runs, and the manager returns that it did not finish."""
    manager, (stuck,) = run(AsyncStuck)
    manager.publish(klines())
    wait_until(lambda: stuck.seen)
    assert stuck.is_running
    assert manager.stop(time.monotonic() + 1.0) == ["AsyncStuck"]
    assert not stuck.is_running
    assert not [thread for thread in threading.enumerate() if thread.name == "consumer-AsyncStuck"]


def test_a_failed_setup_is_reported_and_tried_again(run):
    """A port in use at start may be free a second later; what was published meanwhile is delivered."""
    ConsumerManager.register_consumer("late", LateSetup)
    manager = ConsumerManager(["late"])
    assert manager.start() == {"late": "OSError: address in use"}
    manager.publish(klines())
    (late,) = Recorder.made
    wait_until(lambda: late.seen)
    assert manager.stop(time.monotonic() + STOP_S) == []


def test_a_failed_setup_is_emitted(run):
    """Down at the first failure, up when it works; once each."""
    events = RecordedEvents()
    ConsumerManager.register_consumer("late", LateSetup)
    manager = ConsumerManager(["late"], events=events)
    manager.start()
    wait_until(lambda: len(events.names) == 2)
    assert events.names == ["sink_down", "sink_up"]
    assert [fields["sink"] for fields in events.fields] == ["late", "late"]
    assert manager.stop(time.monotonic() + STOP_S) == []


def test_a_consumer_that_refuses_everything_is_emitted_as_down(run):
    """Not for one envelope, but where none succeeds for a while; up with the first that does."""
    events = RecordedEvents()
    ConsumerManager.register_consumer("Broken", Broken)
    manager = ConsumerManager(["Broken"], ConsumerOptions(lasting_s=0.0), events)
    manager.start()
    for number in range(3):
        manager.publish(klines(number))
    (broken,) = Recorder.made
    assert isinstance(broken, Broken)
    wait_until(lambda: len(broken.seen) == 3)
    assert events.names == ["sink_down"]
    broken.is_broken = False
    manager.publish(klines(3))
    wait_until(lambda: events.names == ["sink_down", "sink_up"])
    assert manager.stop(time.monotonic() + STOP_S) == []


def test_trouble_that_raises_nothing_is_emitted(run):
    """An output that tries again by itself, as the file does, sets `trouble`."""
    events = RecordedEvents()
    ConsumerManager.register_consumer("Recorder", Recorder)
    manager = ConsumerManager(["Recorder"], ConsumerOptions(lasting_s=0.0), events)
    manager.start()
    (recorder,) = Recorder.made
    recorder.trouble = OSError("disk full")
    manager.publish(klines(0))
    wait_until(lambda: events.names == ["sink_down"])
    recorder.trouble = None
    manager.publish(klines(1))
    wait_until(lambda: events.names == ["sink_down", "sink_up"])
    assert manager.stop(time.monotonic() + STOP_S) == []


def test_trouble_that_ends_between_envelopes_is_emitted_at_once(run):
    """What waited is written by the clock: a quiet market must not leave its sink down."""
    events = RecordedEvents()

    class Healing(Recorder):
        tick_s = 0.05

        def tick(self) -> None:
            if events.names:
                self.trouble = None

    ConsumerManager.register_consumer("Healing", Healing)
    manager = ConsumerManager(["Healing"], ConsumerOptions(lasting_s=0.0), events)
    manager.start()
    Recorder.made[0].trouble = OSError("disk full")
    manager.publish(klines(0))
    wait_until(lambda: events.names == ["sink_down", "sink_up"])
    assert manager.stop(time.monotonic() + STOP_S) == []


def test_a_flood_of_prices_costs_no_kline(run):
    """A consumer that hangs keeps the klines its queue holds, whatever else comes."""
    manager, (stuck,) = run(Stuck)
    manager.publish(price())
    wait_until(lambda: stuck.seen)
    for number in range(10):
        manager.publish(klines(number))
    for _ in range(100):
        manager.publish(price())
    assert manager.stats()["Stuck"].queued == 20
    Stuck.release.set()
    wait_until(lambda: len(stuck.seen) == 21)
    assert [envelope["data_type"] for envelope in stuck.seen[1:11]] == ["klines"] * 10


def test_a_queue_may_keep_the_first_instead_of_the_last(run):
    """drop_newest: what has waited longest is what one gets."""
    manager, (stuck,) = run(type("First", (Stuck,), {"overflow": "drop_newest"}))
    manager.publish(klines(0))
    wait_until(lambda: stuck.seen)
    for number in range(1, 100):
        manager.publish(klines(number))
    assert (manager.stats()["First"].queued, manager.stats()["First"].dropped) == (10, 89)
    Stuck.release.set()
    wait_until(lambda: len(stuck.seen) == 11)
    assert [one["data"][0]["timestamp"] for one in stuck.seen] == [
        one.data[0].timestamp for one in map(klines, range(11))
    ]


@pytest.mark.parametrize("wrong", [{"overflow": "drop_all"}, {"queue_size": 0}], ids=["policy", "size"])
def test_a_wrong_queue_is_a_settings_error(wrong):
    """Refused at the start with what is allowed, not found out in a flood."""
    (name,) = wrong
    ConsumerManager.register_consumer("odd", type("Odd", (Recorder,), wrong))
    with pytest.raises(ConsumerSettingsError, match=rf"Odd\.{name} is .*allowed: "):
        ConsumerManager(["odd"])


def test_a_stop_delivers_what_is_queued(run):
    """Nothing that was published before the stop is lost."""
    manager, (recorder,) = run(Recorder)
    for number in range(5_000):
        manager.publish(klines(number))
    assert manager.stop(time.monotonic() + 10) == []
    assert len(recorder.seen) == 5_000
    assert not recorder.is_running


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no niceness of their own")
def test_an_output_that_computes_much_stands_back_and_no_other_thread_does() -> None:
    """By its class; where the process has a greater niceness already, by that."""
    niceness: dict[str, int] = {}

    class Heavy(BaseConsumer):
        niceness: ClassVar[int] = 10

        def setup(self) -> None:
            niceness[self.name] = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    class Light(Heavy):
        niceness: ClassVar[int] = 0

    before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    workers = [Worker(Heavy("heavy"), "heavy"), Worker(Light("light"), "light")]
    for worker in workers:
        worker.start()
    for worker in workers:
        assert worker.wait_settled(time.monotonic() + STOP_S) is None
        worker.begin_stop(time.monotonic() + STOP_S)
        assert worker.join(time.monotonic() + STOP_S)
    assert niceness == {"heavy": max(10, before), "light": before}
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before
