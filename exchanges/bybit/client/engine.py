"""One request from its permit and signature to its answer or error, and whether it is sent again.

Generators only, see steps.py: the same code serves both clients and the collector's REST. Reads are repeated; a call
that changes something is repeated only where the exchange answered that it did nothing.
"""

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import structlog

from exchanges.bybit.client.calls import Call
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
from exchanges.bybit.client.limits import (
    ADDRESS_WAIT_MOST_S,
    REFUSED_WAIT_MOST_S,
    HostLimits,
    Permit,
    cost_of,
    limits_of,
    reset_ms_of,
    reset_wait_s,
)
from exchanges.bybit.client.pybit_http import Catalogue, make_call, make_request
from exchanges.bybit.client.rounding import OrderRounding
from exchanges.bybit.client.server_time import SAMPLES, ServerTime
from exchanges.bybit.client.steps import Send, Steps, Wait
from exchanges.bybit.client.times import MICROSECONDS_ABOVE, SECONDS_BELOW
from exchanges.rest_limits import BreakerOpenError
from exchanges.retries import JITTER_FLOOR, SLICE_S, RetryPolicy
from exchanges.transport import Answer, Failure, Reply
from model.pacing import Backoff, LogThrottle

log = structlog.get_logger()

RESYNCS = 2  # repeats after 10002
SERVER_TIME = make_call("GET", "/v5/market/time", {}, is_signed=False)

CATALOGUE = Catalogue()

T = TypeVar("T")


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
    retry_until_s: float  # when the last repeat may begin: its pause must not outlast the deadline
    backoff: Backoff


class Engine:
    """Requests of one connection, as steps. Shared by the services of a client; thread safe."""

    def __init__(
        self,
        connection: ConnectionManager,
        mode: LimitMode = "wait",
        *,
        limits: HostLimits | None = None,
        round_prices: bool = True,
        retries: RetryPolicy | None = None,
        stop: threading.Event | None = None,
        clock: Callable[[], float] = lambda: time.monotonic(),  # looked up at each call: a program may move it
    ) -> None:
        """`stop`, once set, ends every wait with ClosedError; `clock` is monotonic, in seconds."""
        self.connection, self.mode = connection, mode
        self.rounding = OrderRounding(self._send_until_answered, clock) if round_prices else None  # of prices and sizes
        self.limits = limits or limits_of(connection)
        self.time = ServerTime(connection.now_ms, clock)
        self.stop = stop or threading.Event()
        self._retries, self._clock = retries or RetryPolicy(), clock
        self._throttle = LogThrottle()
        self._keys = connection.keys
        if connection.uid:
            self.limits.assign_uid(connection.api_key, connection.uid)

    def ask(self, name: str, params: Mapping[str, Any]) -> Steps[Envelope]:
        """Call pybit's endpoint `name`; raises BybitError."""
        return self.perform(CATALOGUE.call(name, params))

    def perform(self, call: Call) -> Steps[Envelope]:
        """Make one call, again where that is safe; raises BybitError.

        An order that is refused for a reason that a changed tick or lot size explains is sent again where they changed.
        """
        if call.is_signed and not self._keys:
            raise AuthError("this call needs api_key and api_secret", endpoint=call.endpoint, params=call.params)
        fitted = yield from self.fitted(call)
        try:
            envelope = yield from self._send_until_answered(fitted)
        except BybitError as error:
            if self.rounding is None or not self.rounding.refused(fitted, error.code):
                raise
            again = yield from self.fitted(call)
            if again == fitted:
                raise
            fitted, envelope = again, (yield from self._send_until_answered(again))
        self.record_answer(fitted, envelope.raw)
        return envelope

    def fitted(self, call: Call) -> Steps[Call]:
        """The call with prices and sizes rounded to the instrument's tick and lot size."""
        return call if self.rounding is None else (yield from self.rounding.fitted(call))

    def record_answer(self, call: Call, raw: Mapping[str, Any]) -> None:
        """Record an answer: one that may refuse an order for its price or size has tick and lot size read again."""
        if self.rounding is not None:
            self.rounding.answered(call, raw)

    def _send_until_answered(self, call: Call) -> Steps[Envelope]:
        return self._send_and_convert(call, lambda envelope: envelope)

    def _send_and_convert(self, call: Call, convert: Callable[[Envelope], T]) -> Steps[T]:
        _ = self.connection.base_url  # raises where the address of REST is not known
        policy, deadline_s = self._retries, self._clock() + self._retries.total_s
        retry_until_s = deadline_s - policy.backoff_s * float(2**policy.attempts)
        plan = _Plan(deadline_s, self.mode == "wait", retry_until_s, Backoff(policy.backoff_s, floor=JITTER_FLOOR))
        counts: dict[str, int] = {}
        while True:
            try:
                return convert((yield from self._attempt(call, plan)))
            except BybitError as error:
                counts[error.remedy] = counts.get(error.remedy, 0) + 1
                yield from self._remedy(error, call, plan, counts[error.remedy])

    def measure_time(self) -> Steps[int]:
        """Measure the exchange's time; returns the offset of the host's clock, ms."""
        for _ in range(SAMPLES):
            yield from self.perform(SERVER_TIME)
        log.info("rest_time_measured", offset_ms=self.time.offset_ms, uncertainty_ms=self.time.uncertainty_ms)
        return self.time.offset_ms

    # one attempt

    def _attempt(self, call: Call, plan: _Plan) -> Steps[Envelope]:
        if call.is_signed and not self.time.is_known:
            yield from self.measure_time()
        permit = yield from self.acquire(call, plan.deadline_s if plan.can_wait else 0.0)
        request = make_request(call, self._keys, self.time.now_ms(), self.connection.recv_window)
        reply = yield Send(request)
        assert reply is not None
        if permit is None:
            return self._read(call, reply)
        permit.settle(reply.sent_s, reply.back_s)
        envelope = self._read(call, reply)
        permit.read_headers(envelope.headers)
        return envelope

    def acquire(self, call: Call, deadline_s: float) -> Steps[Permit | None]:
        """Wait for a permit by all limits until the monotonic `deadline_s`; raises RateLimitError, ClosedError."""
        bucket = self.limits.bucket(call, self.connection.api_key)
        if bucket is None:
            yield from self._acquire_address(call, deadline_s)
            return None
        ticket = bucket.enqueue(cost_of(call))
        try:
            while (wait_s := bucket.try_acquire(ticket)) > 0:
                yield from self._wait(wait_s, call, deadline_s)
            yield from self._acquire_address(call, deadline_s)
        finally:
            bucket.leave(ticket)
        return Permit(bucket, ticket)

    def _acquire_address(self, call: Call, deadline_s: float) -> Steps[None]:
        try:
            while (wait_s := self.limits.address.try_acquire()) > 0:
                yield from self._wait(wait_s, call, deadline_s)
        except BreakerOpenError as error:
            raise BannedError(str(error), endpoint=call.endpoint, params=call.params, is_retry_safe=True) from None

    def _wait(self, wait_s: float, call: Call, deadline_s: float, slice_s: float = SLICE_S) -> Steps[None]:
        self._check_open(call)
        if self._clock() + min(wait_s, slice_s) > deadline_s:
            text = f"no permit: the limit allows the next request in {wait_s:.2f} s"
            raise RateLimitError(text, endpoint=call.endpoint, params=call.params, is_retry_safe=True)
        yield Wait(min(wait_s, slice_s))
        self._check_open(call)

    def _check_open(self, call: Call) -> None:
        if self.stop.is_set():
            raise ClosedError("the client is closed", endpoint=call.endpoint)

    # what came of it

    def _read(self, call: Call, reply: Reply) -> Envelope:
        """The envelope of a reply, or its BybitError raised; takes the exchange's time from it."""
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
        if code is None or (code != 0 and not raw.keys() & {"retMsg", "ret_msg"}):
            raise _failed(call, BadAnswerError, f"no answer of Bybit's: {_text(reply.body)}", reply, None)
        return {**raw, "retCode": code}

    def _remedy(self, error: BybitError, call: Call, plan: _Plan, count: int) -> Steps[None]:
        """Do what the error requires and return where the call may be sent again; raise the error where not."""
        if error.remedy == "breaker" and error.http_status is not None:
            self.limits.address.ban()
        remedy = "retry" if error.remedy == "resync" and not call.is_signed else error.remedy
        policy = self._retries
        if remedy == "wait" and plan.can_wait and self._was_refused(error, count):
            self._pause(error, call)
        elif remedy == "resync" and count <= RESYNCS:
            self.time.forget()
            yield from self.measure_time()
        elif (
            remedy == "retry" and error.is_retry_safe and count < policy.attempts and self._clock() < plan.retry_until_s
        ):
            self._log("rest_retried", endpoint=call.endpoint, error=str(error), attempt=count)
            wait_s = plan.backoff.next_s()
            yield from self._wait(wait_s, call, plan.deadline_s, slice_s=wait_s)
        else:
            raise error

    def _was_refused(self, error: BybitError, count: int) -> bool:
        """Whether the exchange refused the call for its rate, not this client's own limit, and it may be sent again."""
        most = self._retries.refusals
        return error.http_status is not None and (most is None or count < most)

    def _pause(self, error: BybitError, call: Call) -> None:
        """After 10006: all calls of this endpoint, or of the address, wait until the window is over, and not longer.

        The first request right then gets the place that becomes free; another process of the UID has to make room.
        """
        bucket = self.limits.bucket(call, self.connection.api_key)
        most_s = ADDRESS_WAIT_MOST_S if bucket is None else REFUSED_WAIT_MOST_S
        wait_s = reset_wait_s(error.reset_ms, self.time.now_ms(), most_s)
        self._log("rest_rate_limited", endpoint=call.endpoint, wait_s=round(wait_s, 2))
        if bucket is not None:
            bucket.refused(wait_s)
        else:
            self.limits.address.pause(wait_s)

    def _log(self, event: str, **fields: Any) -> None:
        if (held := self._throttle.allow(event, self._clock())) is not None:
            log.info(event, held_back=held, **fields)


def server_time_ms(result: Any) -> int:
    """The time in a result of market/time; raises BadAnswerError where it has none."""
    text = str(result.get("timeNano")) if isinstance(result, dict) else ""
    if not text.isdecimal():
        raise BadAnswerError(f"no time: timeNano is {text!r:.60}", endpoint=SERVER_TIME.endpoint, is_retry_safe=True)
    return int(text) // 1_000_000


def _failed(call: Call, kind: type[BybitError], text: str, reply: Answer, code: int | None) -> BybitError:
    may_be_done = not call.is_read and kind.remedy == "retry"  # the exchange had it, and what it did is not known
    return kind(
        text,
        code=code,
        http_status=reply.status,
        endpoint=call.endpoint,
        params=call.params,
        is_retry_safe=kind.remedy not in ("none", "breaker") and not may_be_done,
        may_be_done=may_be_done,
        reset_ms=reset_ms_of(reply.headers),
    )


def _text(body: bytes) -> str:
    return " ".join(body[:400].decode("utf-8", "replace").split())
