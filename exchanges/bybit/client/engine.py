"""How one request is made: its turn, its signature, its answer or error, and whether it is made again.

Generators only, see steps.py: the same lines serve both clients. Reads are repeated; what changes something only where
the exchange said that it did nothing.
"""

import json
import random
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog

from exchanges.bybit.client.connection import ConnectionManager, LimitMode
from exchanges.bybit.client.errors import (
    UNCHANGED_CODES,
    AuthError,
    BadAnswerError,
    BannedError,
    BybitError,
    ClosedError,
    NetworkError,
    RateLimitError,
    class_of_code,
    class_of_status,
    code_of,
)
from exchanges.bybit.client.limits import RESET_HEADER, HostLimits, Turn, cost_of, limits_of, reset_wait_s
from exchanges.bybit.client.pybit_http import Call, Catalogue, make_call, make_request
from exchanges.bybit.client.steps import Send, Steps, Wait
from exchanges.bybit.client.ticks import InstrumentSteps
from exchanges.bybit.client.times import MICROSECONDS_ABOVE, SECONDS_BELOW
from exchanges.bybit.client.timesync import SAMPLES, ServerTime
from exchanges.bybit.client.transport import Answer, Failure, Reply
from exchanges.bybit.limits import NoTurnError

log = structlog.get_logger()

ATTEMPTS = 4  # of a read that fails at the server or on the way
RESYNCS = 2  # repeats after 10002
BACKOFF_S = 0.3  # the first of the doubling, jittered waits
TURN_LIMIT_S = 60.0  # whoever waits longer for a turn, refusals included, is told so instead
SLICE_S = 0.5  # a waiter looks again at least this often: the breaker may open, the client may close
SERVER_TIME = make_call("GET", "/v5/market/time", {}, is_signed=False)

CATALOGUE = Catalogue()


@dataclass(frozen=True, slots=True)
class Envelope:
    """One good answer: `raw` as decoded, `headers` as received."""

    raw: Mapping[str, Any]
    headers: Mapping[str, str] = field(repr=False)

    @property
    def result(self) -> Any:
        """The `result` part; {} where the answer has none, or null."""
        result = self.raw.get("result")
        return {} if result is None else result


@dataclass(frozen=True, slots=True)
class _Plan:
    """How long one call may go on."""

    deadline_s: float
    can_wait: bool

    @property
    def retry_s(self) -> float:
        """When the last repeat may begin: its pause must not outlast the deadline."""
        return self.deadline_s - BACKOFF_S * float(2**ATTEMPTS)


class Engine:
    """Requests of one connection, as steps. Shared by the services of a client; thread safe."""

    def __init__(
        self,
        connection: ConnectionManager,
        mode: LimitMode = "wait",
        *,
        limits: HostLimits | None = None,
        round_prices: bool = True,
    ) -> None:
        self.connection, self.mode = connection, mode
        self.steps = InstrumentSteps(self._performed) if round_prices else None  # of prices and sizes
        self.limits = limits or limits_of(connection)
        self.time = ServerTime(connection.now_ms)
        self.stop = threading.Event()
        self._keys = connection.keys
        if connection.uid:
            self.limits.belongs(connection.api_key, connection.uid)

    def ask(self, name: str, params: Mapping[str, Any]) -> Steps[Envelope]:
        """Call pybit's endpoint `name`."""
        return self.perform(CATALOGUE.call(name, params))

    def perform(self, call: Call) -> Steps[Envelope]:
        """Make one call, again where that is safe; raises BybitError.

        An order that is refused for what the instrument's steps may be the reason of is sent again where they changed.
        """
        if call.is_signed and not self._keys:
            raise AuthError("this call needs api_key and api_secret", endpoint=call.endpoint, params=call.params)
        fitted = yield from self.fitted(call)
        try:
            envelope = yield from self._performed(fitted)
        except BybitError as error:
            if self.steps is None or not self.steps.refused(fitted, error.code):
                raise
            again = yield from self.fitted(call)
            if again == fitted:
                raise
            fitted, envelope = again, (yield from self._performed(again))
        self.noted(fitted, envelope.raw)
        return envelope

    def fitted(self, call: Call) -> Steps[Call]:
        """The call with prices and sizes on the instrument's steps."""
        return call if self.steps is None else (yield from self.steps.fitted(call))

    def noted(self, call: Call, raw: Mapping[str, Any]) -> None:
        """Take an answer for what it says of the instrument's steps."""
        if self.steps is not None:
            self.steps.answered(call, raw)

    def _performed(self, call: Call) -> Steps[Envelope]:
        _ = self.connection.base_url  # raises where nobody said where REST is
        plan = _Plan(time.monotonic() + TURN_LIMIT_S, self.mode == "wait")
        counts: dict[str, int] = {}
        while True:
            try:
                return (yield from self._attempt(call, plan))
            except BybitError as error:
                counts[error.remedy] = counts.get(error.remedy, 0) + 1
                yield from self._remedy(error, call, plan, counts[error.remedy])

    def measure_time(self) -> Steps[int]:
        """Ask for the exchange's time; the offset of the host's clock, ms."""
        for _ in range(SAMPLES):
            yield from self.perform(SERVER_TIME)
        log.info("bybit_time_measured", offset_ms=self.time.offset_ms, uncertainty_ms=self.time.uncertainty_ms)
        return self.time.offset_ms

    # one attempt

    def _attempt(self, call: Call, plan: _Plan) -> Steps[Envelope]:
        if call.is_signed and not self.time.is_known:
            yield from self.measure_time()
        turn = yield from self.turn(call, plan.deadline_s if plan.can_wait else 0.0)
        request = make_request(call, self._keys, self.time.now_ms(), self.connection.recv_window)
        reply = yield Send(request)
        assert reply is not None
        if turn is None:
            return self._read(call, reply)
        turn.arrived(reply.sent_s, reply.back_s)
        envelope = self._read(call, reply)
        turn.told(envelope.headers)
        return envelope

    def turn(self, call: Call, deadline_s: float) -> Steps[Turn | None]:
        """Wait for a turn by all limits until the monotonic `deadline_s`; raises RateLimitError, ClosedError."""
        bucket = self.limits.bucket(call, self.connection.api_key)
        if bucket is None:
            yield from self._address_turn(call, deadline_s)
            return None
        ticket = bucket.join(cost_of(call))
        try:
            while (wait_s := bucket.turn(ticket)) > 0:
                yield from self._wait(wait_s, call, deadline_s)
            yield from self._address_turn(call, deadline_s)
        finally:
            bucket.leave(ticket)
        return Turn(bucket, ticket)

    def _address_turn(self, call: Call, deadline_s: float) -> Steps[None]:
        try:
            while (wait_s := self.limits.address.try_acquire()) > 0:
                yield from self._wait(wait_s, call, deadline_s)
        except NoTurnError as error:
            raise BannedError(str(error), endpoint=call.endpoint, params=call.params, is_retry_safe=True) from None

    def _wait(self, wait_s: float, call: Call, deadline_s: float) -> Steps[None]:
        if self.stop.is_set():
            raise ClosedError("the client is closed", endpoint=call.endpoint)
        if time.monotonic() + min(wait_s, SLICE_S) > deadline_s:
            text = f"no turn: the limit allows the next request in {wait_s:.2f} s"
            raise RateLimitError(text, endpoint=call.endpoint, params=call.params, is_retry_safe=True)
        yield Wait(min(wait_s, SLICE_S))

    # what came of it

    def _read(self, call: Call, reply: Reply) -> Envelope:
        """The envelope, or the BybitError that it is; learns the time from it."""
        if isinstance(reply, Failure):
            safe = call.is_read or not reply.was_sent
            raise NetworkError(
                reply.text, endpoint=call.endpoint, params=call.params, is_retry_safe=safe, may_be_done=not safe
            )
        raw = self._decoded(call, reply)
        server_ms, code = raw.get("time"), raw["retCode"]
        if isinstance(server_ms, int) and SECONDS_BELOW < server_ms < MICROSECONDS_ABOVE:
            self.time.observe(server_ms, reply.sent_s, reply.back_s)
        if code == 0 or (code in UNCHANGED_CODES and call.path.startswith("/v5/position/")):
            return Envelope(raw, reply.headers)
        raise _failed(call, class_of_code(code), str(raw.get("retMsg", "")), reply, code)

    def _decoded(self, call: Call, reply: Answer) -> dict[str, Any]:
        if reply.status != 200:
            raise _failed(call, class_of_status(reply.status), _text(reply.body), reply, None)
        try:
            raw = json.loads(reply.body)
        except (ValueError, RecursionError):
            raise _failed(call, BadAnswerError, f"no JSON: {_text(reply.body)}", reply, None) from None
        code = code_of(raw) if isinstance(raw, dict) else None
        if code is None:
            raise _failed(call, BadAnswerError, f"no answer of Bybit's: {_text(reply.body)}", reply, None)
        return {**raw, "retCode": code}

    def _remedy(self, error: BybitError, call: Call, plan: _Plan, count: int) -> Steps[None]:
        """Do what the error asks for and return where the call may be made again; raise it where not."""
        if error.remedy == "breaker" and error.http_status is not None:
            self.limits.address.ban()
        can_repeat = error.http_status is not None or isinstance(error, NetworkError)  # not one of our own making
        if error.remedy == "wait" and can_repeat and plan.can_wait:
            yield from self._pause(error, call, plan)
        elif error.remedy == "resync" and count <= RESYNCS:
            self.time.forget()
            yield from self.measure_time()
        elif error.remedy == "retry" and error.is_retry_safe and count < ATTEMPTS and time.monotonic() < plan.retry_s:
            log.info("bybit_retry", endpoint=call.endpoint, error=str(error), attempt=count)
            yield from self._wait(backoff_s(count), call, plan.deadline_s)
        else:
            raise error

    def _pause(self, error: BybitError, call: Call, plan: _Plan) -> Steps[None]:
        """After 10006: everybody of this endpoint waits until the window is over, and not a moment longer.

        Who comes right then gets the place that becomes free; another process of the UID has to make room.
        """
        wait_s = reset_wait_s(error.reset_ms, self.time.now_ms())
        bucket = self.limits.bucket(call, self.connection.api_key)
        log.info("bybit_rate_limited", endpoint=call.endpoint, wait_s=round(wait_s, 2))
        if bucket is not None:
            bucket.refused(wait_s)
        else:
            yield from self._wait(wait_s, call, plan.deadline_s)


def server_time_ms(result: Any) -> int:
    """What market/time says; raises BadAnswerError where that is no time."""
    text = str(result.get("timeNano")) if isinstance(result, dict) else ""
    if not text.isdecimal():
        raise BadAnswerError(f"no time: timeNano is {text!r:.60}", endpoint=SERVER_TIME.endpoint, is_retry_safe=True)
    return int(text) // 1_000_000


def backoff_s(count: int) -> float:
    """Seconds before the repeat after `count` failures."""
    return random.uniform(0.5, 1.0) * BACKOFF_S * float(2 ** (count - 1))  # noqa: S311 - jitter, not cryptography


def _failed(call: Call, kind: type[BybitError], text: str, reply: Answer, code: int | None) -> BybitError:
    may_be_done = not call.is_read and kind.remedy == "retry"  # the exchange had it, and what it did is not known
    reset = reply.headers.get(RESET_HEADER, "")
    return kind(
        text,
        code=code,
        http_status=reply.status,
        endpoint=call.endpoint,
        params=call.params,
        is_retry_safe=kind.remedy not in ("none", "breaker") and not may_be_done,
        may_be_done=may_be_done,
        reset_ms=int(reset) if reset.isdecimal() else 0,
    )


def _text(body: bytes) -> str:
    return " ".join(body[:400].decode("utf-8", "replace").split())
