"""The REST read client of an exchange: GET requests within the budgets of its API, repeated where that helps.

Blocks the calling thread, and no longer than its limits allow; any number of threads may call. Knows no exchange: what
an answer is, the venue's `SortAnswer` says. Sends nothing but reads.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import Any, Literal, TypeVar, overload
from urllib.parse import urlencode, urlsplit

import msgspec
import requests
import structlog

from exchanges.buckets import Bucket, Ticket
from exchanges.rest_limits import BreakerOpenError, SiteLimits, limits_of_site
from exchanges.retries import JITTER_FLOOR, READS, SLICE_S, RetryPolicy
from exchanges.transport import Answer, Failure, send
from model.context import current
from model.pacing import Backoff, LogThrottle
from model.ports import HistoryError
from model.problems import Problem, cause_of_status
from network.http import Session

LIMITED_S = 2.0  # after a refusal for the rate without Retry-After, at least; the window where that is longer
RETRY_AFTER_MOST_S = 3 * 86_400.0  # Binance bans for three days at most (docs: rest-api/limits)

CONNECT_TIMEOUT_S = 3.05  # a little more than TCP's first retransmission
READ_TIMEOUT_S = 5.0  # between two pieces of an answer
REQUEST_TIMEOUT_S = 30.0  # from the name to the last byte
POOL_SIZE = 8  # connections kept; more threads than this at once open and close their own
BODY_MOST_BYTES = 64 * 1024 * 1024  # the largest known, exchangeInfo of Binance spot, has some 20 MB
TEXT_CHARACTERS = 200  # of an answer that is no answer of the exchange

BANS: Mapping[int, float | None] = MappingProxyType({403: None, 418: 120.0, 451: None})
"""Seconds without a request after these HTTP statuses where the answer has no Retry-After; None: the breaker's own."""

log = structlog.get_logger()

Params = Mapping[str, object]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Budget:
    """At most `weight` in any `per_s` seconds, counted under `key` for all clients of one process and exchange."""

    weight: int
    per_s: float
    key: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an answer is. `used`: the weight of this window by the exchange's own headers, this request included.
    `problem`: why the exchange is not reached or refuses this address; the client sets it.

    "temporary" is repeated, "limited" after a pause (`retry_after_s`, the Retry-After of the headers, the window), and
    "final" is not: the exchange refuses the request itself. After "banned" nothing is sent until it is over.
    """

    kind: Literal["ok", "temporary", "limited", "banned", "final"]
    text: str = ""
    retry_after_s: float | None = None
    used: int | None = None
    problem: Problem | None = None


SortAnswer = Callable[[int, Mapping[str, str], Any], Verdict]
"""Says what an answer is by its HTTP status, headers (names in lower case) and decoded body. Raises nothing."""


class RestClient:
    """Reads of one address of an exchange. Thread safe; opens nothing before the first request."""

    def __init__(
        self,
        url: str,
        *,
        budgets: Mapping[str, Budget],
        sort: SortAnswer,
        stop: threading.Event,
        headers: Mapping[str, str] = MappingProxyType({}),
        limits: SiteLimits | None = None,
        session: requests.Session | None = None,
        request_timeout_s: float = REQUEST_TIMEOUT_S,
        read_timeout_s: float = READ_TIMEOUT_S,
        retries: RetryPolicy = READS,
        sort_status: Callable[[int, bytes], Verdict] = lambda status, body: verdict_of_status(status, body),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`url` is scheme, host and port; `limits` and `session` None: the process's, its own.

        `sort_status` says what an answer is whose body is no JSON.
        `stop`, once set, ends every wait and request with HistoryError. Raises CertificatesError.
        """
        self.url = url.rstrip("/")
        self._host = urlsplit(url).netloc.rpartition("@")[2]
        self._budgets, self._sort, self._sort_status = budgets, sort, sort_status
        self._stop, self._headers, self._retries = stop, dict(headers), retries
        self._timeout = (CONNECT_TIMEOUT_S, read_timeout_s)
        self._limits = limits or limits_of_site(url)
        self._session = session or Session(request_timeout_s, POOL_SIZE, stop, most_bytes=BODY_MOST_BYTES)
        self._clock = clock
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._throttle = LogThrottle()

    @property
    def counts(self) -> Mapping[str, int]:
        """How many answers there were of each kind of Verdict, and how many requests without an answer: "no_answer"."""
        with self._lock:
            return dict(self._counts)

    def close(self) -> None:
        """Close the kept connections; a later request opens new ones."""
        self._session.close()

    @overload
    def get(self, path: str, params: Params = ..., *, budget: str | None, weight: int = ...) -> Any: ...
    @overload
    def get(
        self,
        path: str,
        params: Params = ...,
        *,
        budget: str | None,
        weight: int = ...,
        read: Callable[[Any], T],
        method: Literal["GET", "POST"] = ...,
    ) -> T: ...
    def get(
        self,
        path: str,
        params: Params = MappingProxyType({}),
        *,
        budget: str | None,
        weight: int = 1,
        read: Callable[[Any], Any] = lambda body: body,
        method: Literal["GET", "POST"] = "GET",
    ) -> Any:
        """Return `read` of the decoded body of a good answer; parameters that are None are left out.

        `method` POST: of a read that the exchange has posted, without a body.
        A body of which `read` raises ValueError or msgspec.ValidationError is read again. Raises HistoryError: with
        `is_final` where the exchange refuses the request itself. `budget` None: the limit of the address alone;
        KeyError for one that is not declared.
        """
        query = {name: value for name, value in params.items() if value is not None}
        call = _Call(f"{path}?{urlencode(query)}" if query else path, f"{method} {path} {query}", weight, method)
        verdict, found, _ = self._ask(call, budget, read)
        if verdict.kind != "ok":
            raise _refusal(call, verdict)
        return found

    def pass_on(self, path: str, params: Params, *, budget: str | None, weight: int = 1) -> tuple[Answer, bool]:
        """Return the exchange's answer to a GET as it is, and whether it is a good one: else it refuses the request.

        Raises HistoryError as `get` does, but for such a refusal.
        """
        call = _Call(f"{path}?{urlencode(params)}" if params else path, f"GET {path}", weight, "GET")
        verdict, _, reply = self._ask(call, budget, lambda body: body)
        if reply is None or verdict.kind not in ("ok", "final"):
            raise _refusal(call, verdict)
        return reply, verdict.kind == "ok"

    def _ask(self, call: "_Call", budget: str | None, read: Callable[[Any], Any]) -> tuple[Verdict, Any, Answer | None]:
        """Send until it helps no more; the last verdict, what `read` made of a good answer, and the answer itself."""
        declared = None if budget is None else self._budgets[budget]
        bucket, policy = None, self._retries
        deadline_s = self._clock() + policy.total_s
        if declared is not None:
            bucket = self._limits.bucket_of(declared.key, declared.weight, declared.per_s)
            deadline_s += policy.windows * declared.per_s
        backoff = Backoff(policy.backoff_s, floor=JITTER_FLOOR)
        most = {"temporary": policy.attempts, "limited": policy.refusals}
        tries: Counter[str] = Counter()
        verdict: Verdict | None = None
        while True:
            try:
                verdict, found, reply = self._attempt(call, bucket, deadline_s, read)
            except HistoryError as error:  # it was stopped, or would wait too long for its permit
                raise _because(error, verdict) from None
            if verdict.kind == "ok":
                return verdict, found, reply
            tries[verdict.kind] += 1
            if tries[verdict.kind] == most.get(verdict.kind, 1):
                return verdict, None, reply
            self._log_repeat(call, verdict)
            if verdict.kind == "temporary":  # what is limited waits for its permit, which is paused
                wait_s = max(backoff.next_s(), verdict.retry_after_s or 0.0)
                self._wait(wait_s, call, deadline_s, verdict.text, verdict.problem)

    # -- one attempt ---------------------------------------------------------------------------------------------

    def _attempt(
        self, call: "_Call", bucket: Bucket | None, deadline_s: float, read: Callable[[Any], Any]
    ) -> tuple[Verdict, Any, Answer | None]:
        """Send once, and apply what the answer says of limits; returns what `read` made of a good one."""
        ticket = self._acquire(call, bucket, deadline_s)
        request = requests.Request(call.method, self.url + call.target, headers=self._headers)
        reply = send(self._session, request, self._timeout, self._clock)
        if bucket is not None and ticket is not None:
            bucket.answered(ticket, reply.sent_s, reply.back_s)
        self._check_open(call)
        if isinstance(reply, Failure):
            self._count("no_answer")
            return Verdict("temporary", reply.text, problem=reply.problem), None, None
        verdict, body = self._judge(reply)
        if verdict.used is not None and bucket is not None:
            bucket.adjust(bucket.limit, bucket.limit - verdict.used)
        found = None
        if verdict.kind == "ok":
            try:
                found = read(body)
            except (ValueError, msgspec.ValidationError) as error:
                text = f"the answer makes no sense: {error}"
                verdict = Verdict("temporary", text, problem=Problem("odd_answer", self._host, text))
        elif verdict.kind == "limited":
            self._pause(bucket, verdict)
        elif verdict.kind == "banned":
            assert verdict.problem is not None
            pause_s = self._limits.address.ban(verdict.retry_after_s, verdict.text, verdict.problem)
            verdict = replace(verdict, problem=replace(verdict.problem, pause_s=pause_s))
        self._count(verdict.kind)
        return verdict, found, reply

    def _judge(self, reply: Answer) -> tuple[Verdict, Any]:
        """The verdict of an answer, with its problem where it is no good one, and the decoded body."""
        headers = {name.lower(): value for name, value in reply.headers.items()}
        try:
            body = msgspec.json.decode(reply.body)
        except (msgspec.DecodeError, RecursionError):
            verdict, body = self._sort_status(reply.status, reply.body), None
        else:
            verdict = self._sort(reply.status, headers, body)
        if verdict.kind == "ok":
            return verdict, body
        status = f"HTTP {reply.status}: " if reply.status != 200 else ""
        text, pause_s = f"{status}{verdict.text}".removesuffix(": "), verdict.retry_after_s
        if pause_s is None:
            pause_s = retry_after_s(headers)
        if verdict.kind == "banned":
            pause_s = BANS.get(reply.status) if pause_s is None else min(pause_s, RETRY_AFTER_MOST_S)
        problem = self._problem(verdict.kind, reply.status, text, pause_s)
        return Verdict(verdict.kind, text, pause_s, verdict.used, problem), body

    def _problem(self, kind: str, status: int, text: str, pause_s: float | None) -> Problem | None:
        """The problem of an answer that is no good one; None where the exchange refuses the request itself."""
        if kind == "final":
            return None
        if status != 200:
            return Problem(cause_of_status(status), self._host, text, pause_s, status)
        cause = {"limited": "http_429", "banned": "http_403"}.get(kind, "odd_answer")
        return Problem(cause, self._host, text, pause_s)

    def _pause(self, bucket: Bucket | None, verdict: Verdict) -> None:
        """Let all requests of the budget wait, or of the address where the request has none."""
        usual_s = LIMITED_S if bucket is None else max(LIMITED_S, bucket.window_s)
        pause_s = min(verdict.retry_after_s or usual_s, RETRY_AFTER_MOST_S)
        if bucket is None:
            self._limits.address.pause(pause_s)
        else:
            bucket.refused(pause_s)

    # -- waiting -------------------------------------------------------------------------------------------------

    def _acquire(self, call: "_Call", bucket: Bucket | None, deadline_s: float) -> Ticket | None:
        """Wait for the budget, and for the limit of the address."""
        self._check_open(call)
        address, ticket = self._limits.address, None
        try:
            if bucket is not None:
                ticket = bucket.enqueue(call.weight)
                try:
                    while (wait_s := bucket.try_acquire(ticket)) > 0:
                        self._wait_for_permit(wait_s, call, deadline_s)
                finally:
                    bucket.leave(ticket)
            while (wait_s := address.try_acquire()) > 0:
                self._wait_for_permit(wait_s, call, deadline_s)
        except BreakerOpenError as error:
            raise HistoryError(f"{call.name}: not sent: {error}", problem=error.problem) from None
        return ticket

    def _wait_for_permit(self, wait_s: float, call: "_Call", deadline_s: float) -> None:
        if self._limits.address.banned_s > 0:
            self._limits.address.try_acquire()  # raises
        text = f"the limit allows the next request in {wait_s:.1f} s"
        if self._clock() + wait_s > deadline_s:
            raise HistoryError(f"{call.name}: not sent: {text}")
        self._wait(min(wait_s, SLICE_S), call, deadline_s, text)

    def _wait(self, wait_s: float, call: "_Call", deadline_s: float, text: str, problem: Problem | None = None) -> None:
        if self._clock() + wait_s > deadline_s:
            raise HistoryError(f"{call.name}: {text}", problem=problem)
        self._stop.wait(wait_s)
        self._check_open(call, problem)

    def _check_open(self, call: "_Call", problem: Problem | None = None) -> None:
        if self._stop.is_set():
            raise HistoryError(f"{call.name}: stopped", problem=problem)

    def _log_repeat(self, call: "_Call", verdict: Verdict) -> None:
        with self._lock:
            held = self._throttle.allow(verdict.kind, self._clock())
        if held is not None:
            log.debug("rest_retried", request=call.name, cause=verdict.kind, error=verdict.text, held_back=held)

    def _count(self, kind: str) -> None:
        with self._lock:
            self._counts[kind] += 1


def _because(error: HistoryError, last: Verdict | None) -> HistoryError:
    """The error of a call that was not sent again, with what the exchange answered before."""
    if last is None or error.problem is not None:
        return error
    return HistoryError(f"{error}: {last.text}", problem=last.problem)


def _refusal(call: "_Call", verdict: Verdict) -> HistoryError:
    return HistoryError(f"{call.name}: {verdict.text}", is_final=verdict.kind == "final", problem=verdict.problem)


@dataclass(frozen=True, slots=True)
class _Call:
    target: str
    name: str
    weight: int
    method: str


def ask(
    url: str, path: str, *, budget: Budget, weight: int = 1, sort: SortAnswer, read: Callable[[Any], T], **client: Any
) -> T:
    """POST for what a WebSocket connection needs before it is dialled, such as a token: for StreamProtocol.resolve.

    Blocks the stream's thread until that is stopped; raises ConnectionError. `client`: more arguments of RestClient.
    """
    asker = RestClient(url, budgets={budget.key: budget}, sort=sort, stop=current().stop, **client)
    try:
        return asker.get(path, budget=budget.key, weight=weight, read=read, method="POST")
    except HistoryError as error:
        raise ConnectionError(str(error)) from error
    finally:
        asker.close()


def shown(body: bytes) -> str:
    """The begin of a body in one line, for errors and logs."""
    return " ".join(body[: 4 * TEXT_CHARACTERS].decode("utf-8", "replace").split())[:TEXT_CHARACTERS]


def verdict_of_status(status: int, body: bytes = b"") -> Verdict:
    """What an answer is by its HTTP status alone: for what is no JSON, and where a venue has nothing to add."""
    text = shown(body)
    if status == 200:
        return Verdict("temporary", f"no JSON: {text}")
    if status in BANS:
        return Verdict("banned", text)
    if status == 429:
        return Verdict("limited", text)
    if 400 <= status < 500 and status not in (407, 408):
        return Verdict("final", text)
    return Verdict("temporary", text)


def verdict_of_code(
    status: int,
    code: Any,
    text: str,
    *,
    limited: Container[Any] = (),
    temporary: Container[Any] = (),
    final: Container[Any] = (),
    used: int | None = None,
) -> Verdict:
    """What a refusal is by the exchange's code; one that is not known is judged by its status."""
    for kind, codes in (("limited", limited), ("temporary", temporary), ("final", final)):
        if code in codes:
            return Verdict(kind, text, used=used)  # type: ignore[arg-type]
    return Verdict(verdict_of_status(status).kind, text, used=used)


def sorter_by_code(
    good: str, *, limited: Container[str], temporary: Container[str], final: Container[str]
) -> SortAnswer:
    """Sort answers by their `code`, which is an error even with HTTP 200, and whose words are `msg`; else by status."""

    def sort(status: int, _headers: Mapping[str, str], body: Any) -> Verdict:
        code = str(body.get("code")) if isinstance(body, dict) and "code" in body else ""
        if status in BANS or not code:
            return verdict_of_status(status, b"an answer without a code")
        if code == good:
            return Verdict("ok") if status == 200 else verdict_of_status(status)
        text = f"{code} {body.get('msg') or ''}".strip()
        return verdict_of_code(status, code, text, limited=limited, temporary=temporary, final=final)

    return sort


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds by the Retry-After of an answer, a number or a date; None where it has none that can be read."""
    text = headers.get("retry-after", "").strip()
    if text.isdecimal() and len(text) < 10:
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None
