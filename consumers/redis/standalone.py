"""The Redis publisher: raw payloads and envelopes, one connection, one thread (`consumer-redis`).

Stream threads hand payloads over without waiting; what is waiting leaves in one write, one message or a thousand, by
this thread or, while it sleeps, by the one that reads the sockets. While Redis is away raw payloads drop oldest,
klines wait and arrive in order. Stores nothing.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from consumers.redis.connection import RedisLink
from consumers.redis.kline_queue import KlineLane
from consumers.redis.options import RedisOptions
from consumers.redis.output import BACKOFF_CAP_S
from consumers.redis.publisher import AUDIENCE_S, Publisher
from consumers.redis.session import Session, Traffic
from consumers.stats import ConsumerStats
from model.clock import now_ms

log = structlog.get_logger()

IDLE_LOOK_S = 0.5  # idle, nothing due: how often to look whether the server closed the connection


class RedisPublisher(Publisher):
    """Publishes to one server; the interface is `Publisher`'s."""

    step_failed = "redis_publisher_failed"
    _klines: KlineLane

    def __init__(self, options: RedisOptions) -> None:
        super().__init__(options)
        self._klines = KlineLane(self._backlog, options.main_key, self._memory)
        self._traffic = Traffic(self._raw, self._klines, self._memory, self._outages, self._backoff)
        self._flight = self._traffic.flight
        self._session: Session | None = None
        self._turns = threading.Lock()  # the connection belongs to who holds it: the thread, but while it sleeps
        self._broken: Exception | None = None  # what another thread met, for this one to deal with
        self._lost_in_flight = 0

    # -- any thread ------------------------------------------------------------------------------------

    def validate(self) -> None:
        """Raise ValueError where the URL cannot be read, without repeating it; connects to nothing."""
        try:
            RedisLink(self._options.url)
        except (ValueError, TypeError) as error:
            raise ValueError(
                "REDIS_URL: cannot be read; allowed: redis://[user:password@]host:port/db, or rediss://"
            ) from error.with_traceback(None)

    def start(self) -> None:
        """Start the threads; connecting goes on until it succeeds."""
        self._traffic.emptied_s = time.monotonic()
        super().start()

    def send_waiting(self) -> None:
        """Send the raw payloads that wait, here and now, without waiting: a wake-up less. Any thread, after `hold`."""
        is_left = True
        if self._turns.acquire(blocking=False):
            try:
                is_left = self._send_here()
            finally:
                self._turns.release()
        if not is_left:
            self._bell.listen()
        session = self._session
        if is_left or session is None or session.has_waiting:
            self._bell.ring()

    @property
    def is_connected(self) -> bool:
        """Say whether there is a connection now."""
        return self._session is not None

    def stats(self) -> ConsumerStats:
        """Count messages; `dropped` is every raw message handed over that is not known to have arrived."""
        backlog, flight = self._backlog, self._flight
        queued = len(self._raw) + len(self._klines)
        return ConsumerStats(
            queued=queued,
            delivered=flight.delivered,
            dropped=self._dropped(),
            errors=self._outages.refused,
            lag_s=time.monotonic() - self._traffic.emptied_s if queued else 0.0,
            extra={
                "connected": float(self.is_connected),
                "in_flight": len(flight),
                "receivers": flight.receivers,
                "outages": self._outages.count,
                "klines_delivered": flight.klines_delivered,
                "klines_waiting": len(self._klines),
                "klines_on_disk": backlog.on_disk,
                "klines_expired": backlog.expired,
                "klines_dropped": backlog.dropped,
                "spill_errors": backlog.spill_errors,
                "published_known": len(self._memory),
                "published_save_errors": self._memory.save_errors,
            },
        )

    def _dropped(self) -> int:
        return self._raw.dropped + self._lost_in_flight

    def _send_here(self) -> bool:
        """One turn for the sleeping thread; whether it must wake up all the same. Klines and disk are left to it."""
        session = self._session
        if session is None or self._broken is not None or self._stopping.is_set():
            return True
        try:
            session.exchange(with_klines=False)
        except Exception as error:  # noqa: BLE001 - the thread raises it, and deals with it
            self._broken = error
        return self._broken is not None or session.is_stuck

    # -- consumer-redis thread -------------------------------------------------------------------------

    def _run(self) -> None:
        with self._turns:
            super()._run()

    @contextmanager
    def _asleep(self) -> Iterator[None]:
        """Lend the connection out while this thread waits."""
        self._turns.release()
        try:
            yield
        finally:
            self._turns.acquire()

    def _step(self) -> bool:
        """Connect, read, write, or sleep, whichever is due; False when stopping and all is confirmed."""
        session = self._session
        if session is None:
            self._connect()
            return True
        if self._broken is not None:
            error, self._broken = self._broken, None
            raise error
        session.exchange(with_klines=True)
        is_idle = not (session.has_waiting or len(self._flight))
        self._memory.save_if_due(time.monotonic(), now_ms(), is_idle=is_idle)
        if session.is_stuck:
            with self._asleep():
                session.wait()
        elif not session.has_waiting:
            return self._rest(session)
        return True

    def _connect(self) -> None:
        self._backoff.attempts += 1
        link = RedisLink(self._options.url)
        link.open()
        self._session = session = Session(link, self._traffic)
        self._memory.connected()
        if self._outages.is_down or self._is_server_new:
            self._is_server_new = False
            self._klines.hold(session.opened_s + AUDIENCE_S)
        self._outages.up(self._dropped(), len(self._klines), session.opened_s)

    def _rest(self, session: Session) -> bool:
        if self._stopping.is_set():
            if not len(self._flight) and not len(self._klines):
                return False
            with self._asleep():
                session.wait()
            return True
        self._bell.listen()
        if session.has_waiting:
            return True
        with self._asleep():
            is_rung = self._bell.sleep(session.look_s if len(self._flight) else IDLE_LOOK_S)
        if not is_rung and self._broken is None:
            session.receive()  # nobody rang: a closed connection is seen here
        return True

    def _lose(self, error: Exception) -> None:
        session, dropped = self._session, self._dropped()
        self._close()
        self._outages.down(error, dropped, time.monotonic())
        if session is not None:
            self._memory.save_if_due(time.monotonic(), now_ms())
            if time.monotonic() - session.opened_s > BACKOFF_CAP_S:
                self._backoff.attempts = 0
        self._pause()

    def _close(self) -> int:
        """Let go of the connection; returns how many raw messages that leaves without a reply."""
        session, self._session = self._session, None
        if session is not None:
            session.close()
        raw, klines = self._flight.lose()
        self._lost_in_flight += raw
        self._klines.put_back(klines)
        return raw

    def _finish(self) -> None:
        raw = self._close()
        self._lost_in_flight += len(self._raw)
        self._klines.absorb(now_ms())
        self._memory.end()
        waiting = len(self._backlog)
        lost = self._backlog.save()
        if waiting or raw:
            log.warning("redis_stopped_unsent", kline_messages_kept=waiting, klines_lost=lost, raw_in_flight=raw)
