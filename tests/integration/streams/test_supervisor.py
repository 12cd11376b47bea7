"""Threads per entry, on real sockets: started, called again, revived, stopped."""

import base64
import hashlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import structlog

from streams import ConnectBudget, Dialer, Supervisor, current
from tests.integration.streams.conftest import STOP_S, Harness
from tests.support.callbacks import Recorded
from tests.support.scripted_exchange import ScriptedExchange
from tests.support.waiting import wait_until


def stream_threads() -> list[str]:
    return sorted(thread.name for thread in threading.enumerate() if thread.name.startswith("stream-"))


def test_each_entry_has_a_thread_of_its_name(harness: Harness) -> None:
    """So that a stack dump can be read."""
    feed = harness.feed()
    harness.start(
        ("A", feed.run, ("trades", "AUSDT", Recorded())),
        ("B", feed.run, ("ticker", "BUSDT", Recorded())),
    )
    assert stream_threads() == ["stream-A", "stream-B"]


def test_wrong_entries_at_start_are_raised_all_at_once_and_nothing_starts() -> None:
    """One start, one list of errors."""
    streams: list[dict[str, object]] = [
        {"name": "A", "func": print, "args": ()},
        {"name": "B"},
        {"func": print, "args": ()},
    ]
    with pytest.raises(ValueError, match=r"(?s)STREAMS\[1\] 'B': .*\nSTREAMS\[2\]: "):
        Supervisor(streams).start()
    assert stream_threads() == []


def test_entries_of_another_process_get_no_thread(harness: Harness) -> None:
    """Neither at the start nor when they are appended."""
    feed = harness.feed()
    entries = [(name, feed.run, ("trades", f"{name}USDT", Recorded())) for name in ("A", "B", "C")]
    harness.start(*entries[:2], owns=lambda entry: entry.name != "B")
    harness.streams.append({"name": "C", "func": feed.run, "args": entries[2][2]})
    harness.wait(lambda: stream_threads() == ["stream-A", "stream-C"])


def test_the_running_list_is_followed(harness: Harness, exchange: ScriptedExchange) -> None:
    """Appended: a thread soon. Removed: its thread ends. Replaced: the new one runs."""
    feed, sink = harness.feed(), Recorded()
    harness.start(("A", feed.run, ("trades", "AUSDT", sink)))
    harness.wait(lambda: harness.state("A") == "live")
    started_s = time.monotonic()
    harness.streams.append({"name": "B", "func": feed.run, "args": ("trades", "BUSDT", sink)})
    harness.wait(lambda: harness.state("B") == "live")
    assert time.monotonic() - started_s < 10
    del harness.streams[0]
    harness.wait(lambda: stream_threads() == ["stream-B"])
    harness.streams[0] = {"name": "B", "func": feed.run, "args": ("trades", "CUSDT", sink)}
    harness.wait(lambda: ["publicTrade.CUSDT"] in exchange.subscribed)
    harness.wait(lambda: stream_threads() == ["stream-B"])


def test_a_wrong_entry_on_the_running_list_is_logged_once_and_left_out(harness: Harness) -> None:
    """The others run on; corrected, it starts."""
    supervisor = harness.start(("A", harness.feed().run, ("trades", "AUSDT", Recorded())))
    wrong: dict[str, object] = {"name": "B", "func": harness.feed().run}
    with structlog.testing.capture_logs() as logs:
        harness.streams.append(wrong)
        for _ in range(5):
            supervisor.tick()
        errors = [line for line in logs if line["event"] == "stream_entry_wrong"]
        assert len(errors) == 1
        assert '"args" is missing' in errors[0]["problem"]
        wrong["args"] = ("trades", "BUSDT", Recorded())
        harness.wait(lambda: harness.state("B") == harness.state("A") == "live")


def test_a_plain_function_is_called_again_after_the_backoff(harness: Harness) -> None:
    """It returned, or raised: both mean once more."""
    calls: list[float] = []

    def plain(what: str) -> None:
        calls.append(time.monotonic())
        if len(calls) % 2:
            raise KeyError(what)
        current().stop.wait(0.01)

    harness.start(("T", plain, ("now and then",)))
    harness.wait(lambda: len(calls) >= 6)


def test_a_server_that_is_down_is_not_stormed(harness: Harness, exchange: ScriptedExchange) -> None:
    """Ten streams with hardly any backoff stay within the process's budget."""
    exchange.closes_at_once = True
    harness.budget = ConnectBudget(connects=25, window_s=300)
    feed = harness.feed()
    entries = [(f"T{i}", feed.run, ("trades", "BTCUSDT", Recorded())) for i in range(10)]
    supervisor = harness.start(*entries, reconnect_delay_s=0.001, reconnect_cap_s=0.002)
    harness.wait(lambda: all(status.state == "waiting_for_budget" for status in supervisor.status()))
    assert exchange.requests == 25
    assert harness.budget.try_acquire("127.0.0.1") > 0


def test_ten_restarts_leave_every_stream_alive(harness: Harness, exchange: ScriptedExchange) -> None:
    """Back within the backoff each time, with as many threads as before."""
    feed = harness.feed()
    supervisor = harness.start(*[(f"T{i}", feed.run, ("trades", f"C{i}USDT", Recorded())) for i in range(5)])
    for _ in range(10):
        harness.wait(lambda: all(status.state == "live" for status in supervisor.status()))
        exchange.reset()
        harness.wait(
            lambda: all(status.state != "live" for status in supervisor.status()) or len(exchange.sessions) == 5
        )
    harness.wait(lambda: all(status.state == "live" for status in supervisor.status()))
    assert len(stream_threads()) == 5
    assert all(status.connects == 11 for status in supervisor.status())


def test_attempts_run_out_where_they_are_counted(harness: Harness, free_port: int) -> None:
    """RECONNECT_MAX_ATTEMPTS=2 against a port without a listener."""
    harness.exchange = ScriptedExchange()
    harness.exchange.port = free_port
    supervisor = harness.start(("T", harness.feed().run, ("trades", "AUSDT", Recorded())), reconnect_max_attempts=2)
    harness.wait(lambda: supervisor.gave_up == ["T"])
    supervisor.tick()
    wait_until(lambda: stream_threads() == [])  # it says so just before it ends
    assert supervisor.status()[0].connects == 3
    assert supervisor.unrevivable == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_dead_thread_is_revived_and_counted(harness: Harness) -> None:
    """A user's sys.exit() ends the thread, not the stream."""
    calls: list[int] = []

    def once() -> None:
        calls.append(1)
        if len(calls) == 1:
            raise SystemExit(1)
        current().succeeded()
        current().stop.wait()

    supervisor = harness.start(("T", once, ()))
    harness.wait(lambda: harness.state() == "live")
    assert supervisor.status()[0].revivals == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_always_dies_is_reported_unrevivable(harness: Harness) -> None:
    """Main exits with 4 rather than pretend."""

    def never() -> None:
        raise SystemExit(1)

    supervisor = harness.start(("T", never, ()))
    harness.wait(lambda: supervisor.unrevivable)
    supervisor.tick()
    assert supervisor.unrevivable == ["T"]


def test_status_shows_what_a_log_line_needs(harness: Harness, exchange: ScriptedExchange) -> None:
    """Messages are data alone, ages come from data alone."""
    sink = Recorded()
    supervisor = harness.start(("T", harness.feed().run, ("trades", "BTCUSDT", sink)))
    harness.wait(lambda: exchange.pings > 0)
    before = supervisor.status()[0]
    assert (before.messages, before.connects, before.last_data_age_s) == (0, 1, None)
    exchange.send(b'{"topic":"publicTrade.BTCUSDT"}', b'{"topic":"publicTrade.BTCUSDT"}')
    harness.wait(lambda: supervisor.status()[0].messages == 2)
    age_s = supervisor.status()[0].last_data_age_s
    assert age_s is not None
    assert 0 <= age_s < 5


def test_stopping_under_load_is_prompt_and_leaves_no_thread(harness: Harness, exchange: ScriptedExchange) -> None:
    """Sixteen streams in full flood end at once, each with its marker."""
    feed, sinks = harness.feed(ping_interval_s=20), [Recorded() for _ in range(16)]
    supervisor = harness.start(*[(f"T{i}", feed.run, ("trades", "BTCUSDT", sink)) for i, sink in enumerate(sinks)])
    harness.wait(lambda: all(status.state == "live" for status in supervisor.status()))
    payload = b'{"topic":"publicTrade.BTCUSDT","pad":"' + b"x" * 300 + b'"}'
    frame = bytes([0x81, 126]) + len(payload).to_bytes(2, "big") + payload
    done = threading.Event()

    def flood() -> None:
        while not done.is_set():
            try:
                exchange.send_raw(frame * 100)
            except OSError:
                return

    flooder = threading.Thread(target=flood, name="flood", daemon=True)
    flooder.start()
    harness.wait(lambda: min(status.messages for status in supervisor.status()) > 1000)
    started_s = time.monotonic()
    assert supervisor.stop(STOP_S) == []
    took_s = time.monotonic() - started_s
    done.set()
    flooder.join(5)
    assert took_s < STOP_S / 2
    assert stream_threads() == []
    assert all(sink.marks[-1][0] == "down" for sink in sinks)


def test_idle_streams_stop_at_once(harness: Harness) -> None:
    """A read that would wait for seconds is woken."""
    feed = harness.feed(ping_interval_s=20, pong_timeout_s=10, subscribe_timeout_s=10)
    supervisor = harness.start(*[(f"T{i}", feed.run, ("trades", "BTCUSDT", Recorded())) for i in range(8)])
    harness.wait(lambda: all(status.state == "live" for status in supervisor.status()))
    started_s = time.monotonic()
    assert supervisor.stop(STOP_S) == []
    assert time.monotonic() - started_s < STOP_S / 4, "they would wait for 10 s or more"


def test_a_function_that_ignores_the_stop_is_named_and_does_not_hold_it_up(harness: Harness) -> None:
    """The deadline holds; the thread is a daemon."""
    release = threading.Event()
    supervisor = harness.start(("deaf", release.wait, (30,)), ("good", lambda: current().stop.wait(), ()))
    try:
        started_s = time.monotonic()
        assert supervisor.stop(0.3) == ["deaf"]
        assert time.monotonic() - started_s < 10
    finally:
        release.set()
    wait_until(lambda: stream_threads() == [])


@pytest.fixture
def mute_port() -> Iterator[int]:
    """A listener that takes connections and sends nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_a_stop_during_the_handshake_is_prompt(harness: Harness, mute_port: int) -> None:
    """The exchange took the connection and never answered."""
    harness.exchange = ScriptedExchange()
    harness.exchange.port = mute_port
    feed = harness.feed(dialer=Dialer(harness.budget, connect_timeout_s=30, reader=harness.reader))
    supervisor = harness.start(("T", feed.run, ("trades", "AUSDT", Recorded())))
    harness.wait(lambda: harness.state() == "connecting")
    started_s = time.monotonic()
    assert supervisor.stop(STOP_S) == []
    assert time.monotonic() - started_s < 15
    wait_until(lambda: stream_threads() == [])


def test_frames_that_come_with_the_handshake_are_not_lost(harness: Harness) -> None:
    """One segment with upgrade, acknowledgement and data: websocket-client must leave the frames in the socket."""
    harness.exchange = ScriptedExchange()
    sink = Recorded()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        harness.exchange.port = listener.getsockname()[1]
        harness.start(("T", harness.feed(ping_interval_s=20).run, ("trades", "BTCUSDT", sink)))
        session, _ = listener.accept()
        with session:
            head = session.recv(4096)
            key = next(line[19:].strip() for line in head.split(b"\r\n") if line.startswith(b"Sec-WebSocket-Key: "))
            accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
            upgrade = (
                b"HTTP/1.1 101 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n"
            )
            payload = b'{"topic":"publicTrade.BTCUSDT","n":1}'
            session.sendall(upgrade % accept + bytes([0x81, len(payload)]) + payload)
            harness.wait(lambda: sink.payloads == [payload])


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_callback_that_ends_its_thread_ends_no_other(harness: Harness, exchange: ScriptedExchange) -> None:
    """KeyboardInterrupt out of one callback: that stream is revived, its neighbour keeps its connection."""

    class Leaver(Recorded):
        def __call__(self, payload: bytes) -> None:
            super().__call__(payload)
            if len(self.seen) == len(self.marks) + 1:
                raise KeyboardInterrupt

    leaver, neighbour = Leaver(), Recorded()
    payload = b'{"topic":"publicTrade.BTCUSDT"}'
    run = harness.feed().run
    harness.start(("T", run, ("trades", "BTCUSDT", leaver)), ("N", run, ("trades", "BTCUSDT", neighbour)))
    harness.wait(lambda: [harness.state("T"), harness.state("N")] == ["live", "live"])
    exchange.send(payload)
    harness.wait(lambda: len(exchange.subscribed) == 3 and harness.state("T") == "live")
    assert neighbour.marks == [("up", ("BTCUSDT",))]
    assert neighbour.payloads == [payload]
