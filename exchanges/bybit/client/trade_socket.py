"""Order entry over the trading socket: requests go out, answers come back by reqId. docs: websocket/trade/guideline.

`TradeSocket.run` is the function of a supervised stream thread; the other methods are for any thread. A request is sent
once: when its answer stays away, its future ends with NetworkError, and the order must be looked up by its orderLinkId.
"""

import json
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import structlog

from exchanges.bybit.client.calls import Call, Keys
from exchanges.bybit.client.dispatch import Callback, on_running_loop
from exchanges.bybit.client.errors import (
    BadAnswerError,
    BybitError,
    NetworkError,
    RateLimitError,
    class_of_code,
    code_of,
)
from exchanges.bybit.client.limits import Permit, reset_ms_of, reset_wait_s
from exchanges.bybit.client.order import has_ids
from exchanges.bybit.client.private_stream import KEEPALIVE, AuthHandshake, auth_message
from exchanges.bybit.client.results import Result, Row
from exchanges.bybit.protocol import PING
from model.ports import Dial, Link

log = structlog.get_logger()

TICK_S = 0.01  # requests are sent by the thread that reads: this is what one waits at most, for 0.3 % of a core
ANSWER_TIMEOUT_S = 10.0
WAITING_MOST = 1_000  # requests not sent yet; the limits let fewer pass in ten seconds
ENDED = "the connection ended before the answer"

Waiting = Future[Result[Row]]


@dataclass(eq=False, slots=True)
class Pending:
    """One request without an answer yet."""

    req_id: str
    op: str
    call: Call
    permit: Permit | None
    future: Waiting
    deadline_s: float
    sent_s: float = 0.0

    def fail(self, kind: type[BybitError], text: str, **details: Any) -> None:
        """End the future with an error; without effect where it has ended."""
        if not self.future.done():
            self.future.set_exception(kind(text, endpoint=f"WS {self.op}", params=self.call.params, **details))

    def fail_unanswered(self, text: str, *, was_sent: bool) -> None:
        """End the future of a request whose answer stays away."""
        self.fail(NetworkError, text, is_retry_safe=not was_sent, may_be_done=was_sent)


class TradeSocket:
    """One authenticated connection for orders."""

    def __init__(
        self,
        url: str,
        keys: Keys,
        *,
        dial: Dial,
        now_ms: Callable[[], int],
        recv_window_ms: int,
        record_answer: Callable[[Call, Mapping[str, Any]], None] = lambda _call, _message: None,
    ) -> None:
        """`record_answer` is given every answer that has a code."""
        self._url, self._keys, self._dial, self._now_ms, self._record_answer = url, keys, dial, now_ms, record_answer
        self._recv_window_ms = recv_window_ms
        self._lock = threading.Lock()
        self._queue: deque[Pending] = deque()
        self._sent: dict[str, Pending] = {}
        self._handshake: AuthHandshake | None = None

    def submit(self, op: str, call: Call, permit: Permit | None, timeout_s: float = ANSWER_TIMEOUT_S) -> Waiting:
        """Send a request as soon as the socket is there; its future ends by the deadline, with BybitError at worst."""
        future: Waiting = Future()
        order = Pending(str(uuid.uuid4()), op, call, permit, future, time.monotonic() + timeout_s)
        with self._lock:
            if len(self._queue) >= WAITING_MOST:
                raise RateLimitError(f"{WAITING_MOST} requests wait to be sent", endpoint=call.endpoint)
            self._queue.append(order)
        return future

    def run(self) -> None:
        """One connection's life; raises ConnectionError."""
        auth = auth_message(self._keys, self._now_ms())
        link = self._dial(self._url)
        if link is None:
            return
        handshake = self._handshake = AuthHandshake("trade")
        try:
            link.send(auth)
            link.read_until_closed(_TradeSession(self, link, handshake), **KEEPALIVE, tick_s=TICK_S)
        finally:
            link.close()
            self._lost()

    def expire(self, now_s: float) -> None:
        """Fail requests past their deadline, sent or not; called by the supervisor thread while no connection runs."""
        with self._lock:
            late = [order for order in (*self._queue, *self._sent.values()) if order.deadline_s <= now_s]
            self._queue = deque(order for order in self._queue if order.deadline_s > now_s)
            for order in late:
                self._sent.pop(order.req_id, None)
        for order in late:
            was_sent = order.sent_s > 0
            order.fail_unanswered("no answer in time" if was_sent else "not connected", was_sent=was_sent)

    def send_waiting(self, link: Link) -> None:
        """Send the waiting requests. Stream thread only."""
        while True:
            with self._lock:
                if not self._queue:
                    return
                order = self._queue.popleft()
                self._sent[order.req_id] = order
                order.sent_s = time.monotonic()
            link.send(self._text(order))

    def _text(self, order: Pending) -> str:
        """The request as pybit 5.17 writes it (_websocket_trading.py), with the time of sending."""
        header = {"X-BAPI-TIMESTAMP": str(self._now_ms()), "X-BAPI-RECV-WINDOW": str(self._recv_window_ms)}
        args = [dict(order.call.params)]
        return json.dumps({"reqId": order.req_id, "header": header, "op": order.op, "args": args})

    def answered(self, message: Mapping[str, Any]) -> None:
        """Read an answer; one that no request waits for any more is logged."""
        with self._lock:
            order = self._sent.pop(str(message.get("reqId") or ""), None)
        if order is None:
            log.warning("trade_answer_unmatched", op=message.get("op"), code=message.get("retCode"))
            return
        header = message.get("header")
        headers = {name: str(value) for name, value in header.items()} if isinstance(header, dict) else {}
        if order.permit is not None:
            order.permit.settle(order.sent_s, time.monotonic())
        code, data = code_of(message), message.get("data")
        if code is None or (code == 0 and order.op == "order.create" and not has_ids(data)):
            text = f"no answer of Bybit's: retCode {message.get('retCode')!r:.60}, data {data!r:.60}"
            order.fail(BadAnswerError, text, may_be_done=True)
        elif code == 0:
            if order.permit is not None:
                order.permit.read_headers(headers)
            self._record_answer(order.call, message)
            if not order.future.done():
                order.future.set_result(Result(data if data is not None else {}, message, headers))
        else:
            self._record_answer(order.call, message)
            self._refused(order, code, str(message.get("retMsg", "")), reset_ms_of(headers))

    def _refused(self, order: Pending, code: int, text: str, reset_ms: int) -> None:
        kind = class_of_code(code)
        if kind is RateLimitError and order.permit is not None:
            order.permit.bucket.refused(reset_wait_s(reset_ms, self._now_ms()))
        is_safe, may_be_done = kind.remedy in ("wait", "resync"), kind.remedy == "retry"
        order.fail(kind, text, code=code, is_retry_safe=is_safe, may_be_done=may_be_done, reset_ms=reset_ms)

    def _lost(self) -> None:
        """Fail what was sent on the ended connection; waiting requests leave on the next one."""
        with self._lock:
            sent, self._sent = list(self._sent.values()), {}
        for order in sent:
            order.fail_unanswered(ENDED, was_sent=True)


class _TradeSession:
    """The receiver of one connection; see model.ports.Receiver."""

    never_blocks = False
    deliver_all = None
    floor = b""

    def __init__(self, socket: TradeSocket, link: Link, handshake: AuthHandshake) -> None:
        self.prefix = b"\x00"  # no JSON begins with it: everything arrives at `other`
        self.deliver: Callable[[bytes], object] = self.other
        self._socket, self._link, self._handshake = socket, link, handshake

    def other(self, payload: bytes) -> bool:
        """Read the answer to auth, pongs and answers."""
        if not self._handshake.is_open:
            if self._handshake.answered(payload):
                self._link.succeeded()
            return False
        try:
            message = json.loads(payload)
        except (ValueError, RecursionError):
            self.fault("malformed_json", payload)
            return False
        if isinstance(message, dict) and message.get("op") != "pong":
            self._socket.answered(message)
        return False

    def ping(self) -> None:
        """Send a ping."""
        self._link.send(PING)

    def pong(self, payload: bytes) -> None:
        """Ignore it: any frame is a sign of life."""

    def failed(self, payload: bytes, error: BaseException) -> None:
        """Log an answer that could not be read."""
        log.error("trade_answer_failed", size=len(payload), exc_info=error)

    def fault(self, cause: str, sample: bytes) -> None:
        """Log a frame that is none of Bybit's."""
        log.warning("trade_stream_fault", cause=cause, size=len(sample))

    def tick(self, now_s: float) -> None:
        """Send waiting requests, fail those past their deadline."""
        self._handshake.tick(now_s)
        if self._handshake.is_open:
            self._socket.send_waiting(self._link)
        self._socket.expire(now_s)


def completion_callback(callback: Callback | None, error_callback: Any) -> Callable[[Waiting], None]:
    """The function that a finished order's future calls; an error without an error callback is logged."""
    good = on_running_loop(callback) if callback is not None else None
    bad = on_running_loop(error_callback) if error_callback is not None else None

    def call_back(future: Waiting) -> None:
        error = future.exception()
        if error is None:
            if good is not None:
                good(dict(future.result().raw))
        elif bad is not None:
            bad(error)
        else:
            log.warning("trade_request_failed", error=str(error))

    return call_back


def copy_outcome(done: Waiting, other: Waiting) -> None:
    """Copy the outcome of a finished future to another one."""
    error = done.exception()
    if error is None:
        other.set_result(done.result())
    else:
        other.set_exception(error)
