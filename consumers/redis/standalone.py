"""The Redis publisher: raw payloads and envelopes, one connection, one thread (`consumer-redis`).

Stream threads hand payloads over without waiting; what waits leaves in one write, one message or a thousand. The
connection belongs to its owner, the holder of `_connection_lock`: this thread, or, while it sleeps, the thread that
reads the sockets. While Redis is away the oldest raw payloads are dropped, klines wait and arrive in order.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from consumers.health import ConsumerStats
from consumers.redis.connection import RedisLink
from consumers.redis.kline_queue import KlineSender
from consumers.redis.options import RedisOptions
from consumers.redis.publisher import Publisher
from consumers.redis.session import PublisherState, Session
from model.clock import now_ms
from model.events import NO_EVENTS, EventSink

ROUND_LIMIT_S = 0.002  # how long the klines of one write wait for a round of reads
IDLE_LOOK_S = 0.5  # idle, nothing due: how often to look whether the server closed the connection


class RedisPublisher(Publisher):
    """Publishes to one server; the interface is `Publisher`'s."""

    _klines: KlineSender

    def __init__(self, options: RedisOptions, events: EventSink = NO_EVENTS) -> None:
        super().__init__(options, events)
        self._klines = KlineSender(self._backlog, options.main_key, self._checkpoint, options.refused_pause_s)
        self._state = PublisherState(
            self.raw,
            self._klines,
            self._checkpoint,
            self._logger,
            self._backoff,
            options.reply_deadline_s,
        )
        self._in_flight = self._state.in_flight
        self._session: Session | None = None
        self._connection_lock = threading.Lock()  # held by the connection's owner: the thread, but while it sleeps
        self._broken: Exception | None = None  # of another owner: this thread raises it

    # -- any thread ------------------------------------------------------------------------------------

    def validate(self) -> None:
        """Raise ValueError where the URL cannot be read, without repeating it; connects to nothing."""
        try:
            RedisLink(self._options.url)
        except (ValueError, TypeError) as error:
            raise ValueError(
                "REDIS_URL: cannot be read; allowed: redis://[user:password@]host:port/db, or rediss://"
            ) from error.with_traceback(None)

    def round_finished(self) -> None:
        """Send the raw payloads that wait, here and now, without waiting: a wake-up less. Any thread."""
        is_left = True
        if self._connection_lock.acquire(blocking=False):
            try:
                is_left = self._send_as_owner()
            finally:
                self._connection_lock.release()
        if not is_left:
            self.wake.is_armed = True
        if is_left or self._has_new:  # other threads put klines meanwhile; those that wait, the thread knows of
            self.wake.set()

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection now."""
        return self._session is not None

    def stats(self) -> ConsumerStats:
        """Count messages; `dropped` is every raw message handed over without a reply that it arrived."""
        in_flight = self._in_flight
        return self._stats(
            delivered=in_flight.delivered,
            klines_delivered=in_flight.klines_delivered,
            errors=self._state.refused,
            lag_s=time.monotonic() - self._state.emptied_s,
            in_flight=in_flight.count,
            receivers=in_flight.receivers,
            published_known=len(self._checkpoint),
        )

    def _send_as_owner(self) -> bool:
        """Send for the sleeping thread; whether it must wake up all the same. Klines and disk are left to it."""
        session = self._session
        if session is None or self._broken is not None or self._stopping.is_set():
            return True
        try:
            return session.exchange(with_klines=False) or self._checkpoint.has_commands
        except Exception as error:  # noqa: BLE001 - the thread raises it, and deals with it
            self._broken = error
        return True

    # -- consumer-redis thread -------------------------------------------------------------------------

    def _run(self) -> None:
        with self._connection_lock:
            super()._run()

    @contextmanager
    def _asleep(self) -> Iterator[None]:
        """Release the connection while this thread waits."""
        self._connection_lock.release()
        try:
            yield
        finally:
            self._connection_lock.acquire()

    def _step(self) -> bool:
        """Connect, read, write, or sleep, whichever is due; False when stopping and all is confirmed."""
        session = self._session
        if session is None:
            self._connect()
            return True
        if self._broken is not None:
            error, self._broken = self._broken, None
            raise error
        is_stuck = session.exchange(with_klines=True)
        is_idle = not (session.has_waiting or self._in_flight.count)
        self._checkpoint.note_if_due(time.monotonic(), now_ms(), is_idle=is_idle)
        if is_stuck:
            with self._asleep():
                session.wait()
        elif not session.has_waiting:
            return self._sleep(session)
        else:  # many klines: payloads that are read meanwhile do not wait for all of them
            with self._asleep():
                self.reads.give_way(ROUND_LIMIT_S)
        return True

    def _connect(self) -> None:
        self._backoff.attempts += 1
        link = RedisLink(self._options.url, self._options.connect_timeout_s)
        link.open()
        self._session = session = Session(link, self._state)
        self._checkpoint.connected()
        if self.health.is_down or self._is_server_new:
            self._is_server_new = False
            self._klines.pause(session.opened_s + self._options.subscribers_wait_s)
        self._record_up(len(self._klines))

    def _sleep(self, session: Session) -> bool:
        if self._stopping.is_set():
            if not self._in_flight.count and not len(self._klines):
                return False
            with self._asleep():
                session.wait()
            return True
        self.wake.arm()
        if session.has_waiting:
            return True
        look_s = session.look_s if self._in_flight.count else IDLE_LOOK_S
        with self._asleep():
            was_set = self.wake.wait(min(look_s, self._klines.due_in_s(time.monotonic())))
        if not was_set and self._broken is None:
            session.receive(time.monotonic())  # nothing came: a closed connection is seen here
        return True

    def _lose(self, error: Exception) -> None:
        if self._session is not None:
            self._checkpoint.note_if_due(time.monotonic(), now_ms())
            if time.monotonic() - self._session.opened_s > self._options.backoff_cap_s:
                self._backoff.attempts = 0
        super()._lose(error)

    def _close(self) -> int:
        session, self._session = self._session, None
        if session is not None:
            session.close()
        raw, klines = self._in_flight.lose()
        self._lost += raw
        self._klines.put_back(klines)
        return raw
