"""The reader's thread over real sockets: whatever happens to one, or to the thread, no thread waits for ever."""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from streams.reader import Reader, SocketPoll
from tests.support.waiting import wait_until


class Work:
    """A socket pair of which the reader reads one end."""

    def __init__(self) -> None:
        self.sock, self.other = socket.socketpair()
        self.got = b""
        self.is_over = False
        self.on_read: Callable[[], object] = lambda: None

    def read(self) -> bool:
        try:
            data = self.sock.recv(65536)
        except BlockingIOError:
            return not self.is_over
        except OSError:
            return False
        self.on_read()
        self.got += data
        return bool(data)

    def keep(self, _now_s: float) -> bool:
        return not self.is_over

    def has(self, data: bytes) -> bool:
        return self.got == data


class Waiting:
    """A thread in `Reader.read`, and how that ended."""

    def __init__(self, reader: Reader, work: Work) -> None:
        self.error: Exception | None = None
        self.work = work
        self._reader = reader
        self.thread = threading.Thread(target=self._run, name="stream-x", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self._reader.read(self.work)
        except Exception as error:  # noqa: BLE001 - for the test to look at
            self.error = error

    def ended(self) -> bool:
        self.thread.join(5)
        return not self.thread.is_alive()


Start = Callable[..., Waiting]


@pytest.fixture(params=["epoll", "poll"], autouse=True)
def waits_by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Linux, and as elsewhere."""
    if request.param == "poll":
        monkeypatch.delattr("select.epoll")


@pytest.fixture
def start() -> Iterator[Start]:
    """Begin to read on a thread of its own; all are ended."""
    begun: list[tuple[Reader, Waiting]] = []

    def begin(reader: Reader, work: Work | None = None) -> Waiting:
        begun.append((reader, Waiting(reader, work or Work())))
        return begun[-1][1]

    yield begin
    for reader, _ in begun:
        reader.stop()
    for _, waiting in begun:
        assert waiting.ended()
        waiting.work.sock.close()
        waiting.work.other.close()


def test_a_connection_that_is_over_lets_its_thread_go(start: Start) -> None:
    """And that of no other thread."""
    reader = Reader()
    one, other = start(reader), start(reader)
    one.work.other.send(b"x")
    wait_until(lambda: one.work.got == b"x")
    one.work.other.close()
    assert one.ended()
    assert one.error is None
    other.work.other.send(b"y")
    wait_until(lambda: other.work.got == b"y")


def test_a_connection_that_ends_when_it_is_woken_may_have_data_in_the_same_round(start: Start) -> None:
    """Its data first, then its end; the thread and the other connections go on."""
    reader = Reader(tick_s=60.0)
    one, other = start(reader), start(reader)
    for work in (one.work, other.work):  # the round that takes a connection up reads it, too: not the one meant here
        work.other.send(b"a")
        wait_until(partial(work.has, b"a"))

    def prepare() -> None:  # on the reader's thread: its next round finds both
        other.work.keep = lambda _now_s: False  # type: ignore[method-assign]
        reader.wake(other.work)
        other.work.other.send(b"y")

    one.work.on_read = prepare
    one.work.other.send(b"x")
    assert other.ended()
    assert (other.error, other.work.got) == (None, b"ay")
    one.work.on_read = lambda: None
    one.work.other.send(b"z")
    wait_until(lambda: one.work.got == b"axz")


def test_a_connection_that_is_woken_is_looked_after_at_once(start: Start) -> None:
    """Not at the next tick, for a caller of `wake` waits. What ends the connection then releases its thread."""
    reader = Reader(tick_s=60.0)
    one, other = start(reader), start(reader)
    wait_until(lambda: reader.connections == 2)
    kept: list[float] = []
    one.work.keep = lambda _now_s: kept.append(_now_s) is None  # type: ignore[method-assign]  # this one alone
    reader.wake(one.work)
    wait_until(lambda: kept)
    other.work.is_over = True
    reader.wake(other.work)
    assert other.ended()
    reader.wake(other.work)
    one.work.other.send(b"x")
    wait_until(lambda: one.work.got == b"x")


def test_a_dead_reader_releases_every_thread_and_is_replaced(start: Start) -> None:
    """Also of threads that notice it late, when a new one runs already: none takes it for a stop."""

    def break_it() -> None:
        raise SystemError("broken")

    reader = Reader()
    one, other = start(reader), start(reader)
    wait_until(lambda: reader.connections == 2)
    one.work.on_read = break_it
    one.work.other.send(b"x")
    assert one.ended()
    late = start(reader)
    assert other.ended()
    assert isinstance(one.error, ConnectionError)
    assert isinstance(other.error, ConnectionError)
    late.work.other.send(b"y")
    wait_until(lambda: late.work.got == b"y")


def test_a_thread_that_cannot_be_started_is_tried_again(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error for the caller; no thread waits for one that never ran."""
    reader = Reader()
    real = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "reader":
            raise RuntimeError("can't start new thread")
        real(thread)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        waiting = start(reader)
        assert waiting.ended()
    assert isinstance(waiting.error, ConnectionError)
    again = start(reader)
    again.work.other.send(b"x")
    wait_until(lambda: again.work.got == b"x")


def test_a_descriptor_number_that_is_used_again_ends_no_connection(start: Start) -> None:
    """A socket closed while it is registered: the kernel gives its number to the next."""
    reader = Reader()
    closed, witness = start(reader), start(reader)
    wait_until(lambda: reader.connections == 2)
    work, number = Work(), closed.work.sock.fileno()
    closed.work.sock.close()
    with work.sock as first:
        work.sock = socket.socket(fileno=os.dup2(first.fileno(), number))
    heir = start(reader, work)
    heir.work.other.send(b"x")
    wait_until(lambda: heir.work.got == b"x")
    closed.work.is_over = True
    assert closed.ended()
    assert not heir.error
    assert not witness.error
    witness.work.other.send(b"y")
    wait_until(lambda: witness.work.got == b"y")


def test_a_closed_socket_is_an_error_not_a_stop(start: Start) -> None:
    """Closed before the reader has got to it."""
    work = Work()
    work.sock.close()
    waiting = start(Reader(), work)
    assert waiting.ended()
    assert isinstance(waiting.error, ConnectionError)


def test_a_callback_that_hangs_does_not_hang_the_stop(start: Start) -> None:
    """Aggregator and outputs have the rest of the deadline."""
    reader, release, hangs = Reader(), threading.Event(), threading.Event()
    waiting = start(reader)
    waiting.work.on_read = lambda: (hangs.set(), release.wait(10))
    waiting.work.other.send(b"x")
    assert hangs.wait(5)
    begin_s = time.monotonic()
    reader.stop()
    took_s = time.monotonic() - begin_s
    release.set()
    assert took_s < 8.0, "it hangs for 10"


def test_deadlines_are_kept_during_a_flood(start: Start) -> None:
    """One socket that always has data does not delay the deadlines of others."""
    reader = Reader()
    flood, quiet = start(reader), start(reader)
    stop = threading.Event()

    def send() -> None:
        with flood.work.other as peer:
            while not stop.is_set():
                peer.send(b"x" * 60_000)

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    wait_until(lambda: len(flood.work.got) > 1_000_000)
    quiet.work.is_over = True
    assert quiet.ended()
    stop.set()
    sender.join(5)


def test_a_socket_that_lives_on_elsewhere_is_not_waited_for() -> None:
    """A process that was started meanwhile has a copy for a moment: epoll goes on to report its number."""
    poll, work = SocketPoll(), Work()
    try:
        poll.register(work.sock, work)
        copy = os.dup(work.sock.fileno())
        work.sock.close()
        poll.forget(work)
        work.other.send(b"x")
        assert poll.wait(0.0) == []
        os.close(copy)
    finally:
        poll.close()
        work.other.close()


class Listener:
    """A listener that records its calls among other events."""

    def __init__(self, events: list[str]) -> None:
        self._events = events

    def round_started(self) -> None:
        self._events.append("started")

    def round_finished(self) -> None:
        self._events.append("finished")


def test_a_long_round_is_finished_in_parts(start: Start) -> None:
    """What many full sockets bring neither gathers in memory nor waits for the last of them."""
    events: list[str] = []
    reader = Reader([Listener(events)], flush_after_s=0.0)
    waiting = [start(reader) for _ in range(4)]
    wait_until(lambda: reader.connections == 4)
    release = threading.Event()
    first = waiting[0].work
    first.on_read = lambda: release.wait(5)
    first.other.send(b"x")
    for each in waiting[1:]:
        each.work.on_read = lambda: events.append("read")
        each.work.other.send(b"y")
    release.set()
    wait_until(lambda: events.count("read") == 3)
    wait_until(lambda: events[-1] == "finished")
    reads = [index for index, event in enumerate(events) if event == "read"]
    assert "finished" in events[reads[0] : reads[1]]
    assert events.count("started") == events.count("finished")
